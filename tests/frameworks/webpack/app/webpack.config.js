const HtmlWebpackPlugin = require('html-webpack-plugin');

module.exports = { entry: './src/index.js', plugins: [new HtmlWebpackPlugin({ template: './src/index.html' })] };
