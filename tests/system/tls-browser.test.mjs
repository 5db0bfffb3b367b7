// A Vite app over TLS and HTTP/2 in Chromium: it loads, and changes by hot module replacement over a secure WebSocket.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openBrowser } from './browser.mjs';
import { Authority } from './certificates.mjs';
import { Instance } from './harness.mjs';

let authority, daemon, browser, id, service;

before(async () => {
    authority = new Authority();
    const pair = authority.issue('main', ['preview.localhost', '*.preview.localhost']);
    daemon = await Instance.start({ proxy: { domain: 'preview.localhost' }, tls: { certificate: pair.certificate, key: pair.key } });
    browser = await openBrowser({ ignoreHTTPSErrors: true });
    ({ id } = await daemon.create({ template: 'react-vite', egress: 'none' }));
    service = await daemon.devServer(id);
});
after(async () => {
    await browser?.close();
    await daemon?.stop();
    authority?.remove();
});

test('the app loads over HTTP/2, and a written file changes the page by HMR', async () => {
    const page = await browser.context.newPage();
    const problems = [], sockets = [];
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => { if (message.type() === 'error') problems.push(message.text()); });
    page.on('requestfailed', (request) => problems.push(`${request.url()}: ${request.failure()?.errorText}`));
    page.on('websocket', (socket) => sockets.push(socket.url()));
    assert.match(service.url, /^https:/);
    await page.goto(service.url, { waitUntil: 'load' });
    const protocols = await page.evaluate(() => performance.getEntries().map((entry) => entry.nextHopProtocol).filter(Boolean));
    assert.ok(protocols.length > 5);
    assert.deepEqual([...new Set(protocols)], ['h2']);
    const counter = page.getByRole('button', { name: /count is/i });
    await counter.click();
    await page.evaluate(() => { window.notReloaded = true; });
    const source = (await daemon.read(id, 'src/App.tsx')).toString();
    await daemon.write(id, 'src/App.tsx', source.replace(/<h1>[^<]*<\/h1>/, '<h1>Changed over TLS</h1>'));
    await page.getByRole('heading', { name: 'Changed over TLS' }).waitFor({ timeout: 10000 });
    assert.match(await counter.textContent(), /count is 1/i);
    assert.equal(await page.evaluate(() => window.notReloaded), true);
    assert.ok(sockets.some((url) => url.startsWith(`wss://${id}.preview.localhost:${daemon.proxyTlsPort}/`)), sockets.join());
    assert.deepEqual(problems, []);
    await page.close();
});
