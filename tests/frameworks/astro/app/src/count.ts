export function count(shown: Element) {
    shown.parentElement!.addEventListener('click', () => { shown.textContent = String(Number(shown.textContent) + 1); });
}
