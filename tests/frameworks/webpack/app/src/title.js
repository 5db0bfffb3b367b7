export default 'Get started';
