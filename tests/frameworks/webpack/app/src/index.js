import title from './title.js';

const heading = document.querySelector('h1'), button = document.querySelector('button');
let count = 0;
const show = () => {
    heading.textContent = title;
    button.textContent = `Count is ${count}`;
};
button.onclick = () => { count++; show(); };
show();
module.hot?.accept('./title.js', show);
