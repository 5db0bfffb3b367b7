// Every framework as it comes from npm, unchanged, in Chromium: the page loads, runs and takes an edit by hot module
// replacement, under each name that a preview has: ID.localhost, PORT-ID.localhost, and behind nginx, which ends TLS.
// Nothing reloads but what the framework itself reloads. And once more below /p/ID/PORT/, wherever the framework can serve
// below a path.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openBrowser } from './browser.mjs';
import { Authority } from './certificates.mjs';
import { Instance } from './harness.mjs';
import { startNginx } from './nginx.mjs';

// `file` holds the heading "Get started"; `hmr`: what an edit of it does to the page. `keeps`: the count stays as well.
// `below`: files that a project needs to serve below a path; null where it cannot.
const frameworks = [
    { template: 'react-vite', file: 'src/App.tsx', hmr: 'update', keeps: true },
    { template: 'fw-vite-vue', file: 'src/components/HelloWorld.vue', hmr: 'update', keeps: true },
    { template: 'fw-vite-svelte', file: 'src/App.svelte', hmr: 'update', keeps: false },
    { template: 'fw-sveltekit', file: 'src/routes/+page.svelte', hmr: 'update', keeps: false,
        below: { 'vite.config.ts': `
            import { sveltekit } from '@sveltejs/kit/vite';
            export default { plugins: [sveltekit({ paths: { base: process.env.AURACODE_BASE_PATH as any } })] };` } },
    { template: 'fw-nuxt', file: 'app/app.vue', hmr: 'update', keeps: true },
    { template: 'fw-next', file: 'app/page.tsx', hmr: 'update', keeps: true,
        below: { 'next.config.ts': 'export default { basePath: process.env.AURACODE_BASE_PATH };' } },
    { template: 'fw-astro', file: 'src/pages/index.astro', hmr: 'reload', below: null },
    { template: 'fw-webpack', file: 'src/title.js', hmr: 'update', keeps: true, below: null },
];

let daemon, browser, authority, nginx;
before(async () => {
    daemon = await Instance.start();
    authority = new Authority();
    nginx = await startNginx(daemon.proxyPort, authority.issue('preview', ['*.localhost']));
    browser = await openBrowser({ ignoreHTTPSErrors: true });
});
after(async () => {
    await browser?.close();
    await nginx?.close();
    authority?.remove();
    await daemon?.stop();
});

// A page of which every load and every failure is counted.
async function open(url) {
    const page = await browser.context.newPage();
    const seen = { loads: 0, problems: [], sockets: [] };
    page.on('load', () => { seen.loads++; });
    page.on('pageerror', (error) => seen.problems.push(error.message));
    page.on('response', (response) => {
        if (response.status() >= 400 && !response.url().endsWith('/favicon.ico')) seen.problems.push(`${response.status()} ${response.url()}`);
    });
    page.on('websocket', (socket) => {
        seen.sockets.push(socket.url());
        socket.on('socketerror', (error) => seen.problems.push(`${socket.url()}: ${error}`));
    });
    await page.goto(url, { waitUntil: 'load' });
    return { page, seen };
}

// The button counts only once the framework's script runs; a click before that is lost, so it is tried again.
async function count(page) {
    const button = page.getByRole('button', { name: /count is/i });
    await page.waitForFunction(() => {
        const found = [...document.querySelectorAll('button')].find((one) => /count is/i.test(one.textContent));
        if (!found) return false;
        if (/count is 0/i.test(found.textContent)) found.click();
        return /count is [1-9]/i.test(found.textContent);
    }, null, { timeout: 30000, polling: 50 });
    return button.textContent();
}

// `rooted`: paths that the project itself spells from the root, which below a path are another's.
async function checkName(framework, id, url, round, rooted = []) {
    const { page, seen } = await open(url);
    const before = (await daemon.read(id, framework.file)).toString();
    await page.getByRole('heading', { level: 1 }).first().waitFor({ timeout: 30000 });
    const counted = await count(page);
    assert.equal(seen.loads, 1, `${url} was loaded ${seen.loads} times before any edit`);
    await page.evaluate(() => { window.notReloaded = true; });

    const heading = `Edited ${round} times`;
    await daemon.write(id, framework.file, before.replace(/Get started|Edited \d times/, heading));
    await page.getByRole('heading', { name: heading }).waitFor({ timeout: 30000 });
    const kept = await page.evaluate(() => window.notReloaded === true);
    assert.equal(kept, framework.hmr === 'update', `${url}: ${kept ? 'not ' : ''}reloaded by the edit`);
    if (framework.keeps) assert.equal(await page.getByRole('button', { name: /count is/i }).textContent(), counted);
    assert.ok(seen.sockets.length > 0, 'no WebSocket was opened');
    const { host } = new URL(url);
    for (const socket of seen.sockets) assert.equal(new URL(socket).host, host);
    assert.deepEqual(seen.problems.filter((problem) => !rooted.some((path) => problem === `404 http://${host}${path}`)), []);
    await page.close();
}

for (const framework of frameworks)
    test(`${framework.template} under each name`, async () => {
        const { id } = await daemon.create({ template: framework.template, egress: 'none', limits: { cpu: 2 } });
        const service = await daemon.devServer(id);
        const names = [`http://${id}.localhost:${daemon.proxyPort}/`, `http://${service.port}-${id}.localhost:${daemon.proxyPort}/`,
            `https://${id}.localhost:${nginx.port}/`];
        for (const [round, url] of names.entries()) await checkName(framework, id, url, round + 1);
        await daemon.remove(id);
    });

// Vite makes its cache anew and is ready before it has: what comes meanwhile waits, and no page is loaded twice.
for (const framework of frameworks.filter(({ template }) => /vite|svelte/.test(template)))
    test(`${framework.template} without the optimizer's cache`, async () => {
        const { id } = await daemon.create({ template: framework.template, egress: 'none', limits: { cpu: 2 } });
        await daemon.output(id, 'rm -rf node_modules/.vite');
        await daemon.devServer(id);
        await checkName(framework, id, `http://${id}.localhost:${daemon.proxyPort}/`, 1);
        await daemon.remove(id);
    });

for (const framework of frameworks.filter(({ below }) => below !== null))
    test(`${framework.template} below a path`, async () => {
        const { id } = await daemon.create({ template: framework.template, egress: 'none', limits: { cpu: 2 } });
        for (const [file, text] of Object.entries(framework.below ?? {})) await daemon.write(id, file, text);
        const { path } = await daemon.devServer(id, { path_form: true });
        assert.match(path, new RegExp(`^/p/${id}/\\d+/$`));
        await checkName(framework, id, `http://127.0.0.1:${daemon.proxyPort}${path}`, 1, ['/icons.svg']);
        await daemon.remove(id);
    });
