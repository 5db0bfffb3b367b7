// The main job: an unmodified Vite app in a sandbox, bound to localhost only, previewed in a real browser, where a
// file written over the API changes the page without a reload.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { openBrowser } from './browser.mjs';
import { Instance, once } from './harness.mjs';

let daemon, browser, id, service;
before(async () => {
    daemon = await Instance.start();
    browser = await openBrowser();
    ({ id } = await daemon.create({ template: 'react-vite', egress: 'none' }));
    service = await daemon.devServer(id);
});
after(async () => {
    await browser?.close();
    await daemon?.stop();
});

test('the template is as create-vite made it, and listens on localhost alone', async () => {
    const config = (await daemon.read(id, 'vite.config.ts')).toString();
    assert.doesNotMatch(config, /host|allowedHosts|hmr/);
    const { ports } = await daemon.ok('GET', `/v1/sandboxes/${id}/ports`);
    const { addresses } = ports.find(({ port }) => port === service.port);
    assert.ok(addresses.every((address) => ['127.0.0.1', '::1'].includes(address)), addresses.join());
});

test('a file written over the API changes the DOM by HMR, and the counter keeps its state', async () => {
    const page = await browser.context.newPage();
    const problems = [];
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('requestfailed', (request) => problems.push(`${request.url()}: ${request.failure()?.errorText}`));
    await page.goto(service.url, { waitUntil: 'load' });
    const counter = page.getByRole('button', { name: /count is/i });
    await counter.click();
    await counter.click();
    assert.match(await counter.textContent(), /count is 2/i);
    await page.evaluate(() => { window.notReloaded = true; });

    const file = 'src/App.tsx';
    const before = (await daemon.read(id, file)).toString();
    assert.match(before, /<h1>[^<]*<\/h1>/);
    await daemon.write(id, file, before.replace(/<h1>[^<]*<\/h1>/, '<h1>Changed over the API</h1>'));
    await page.getByRole('heading', { name: 'Changed over the API' }).waitFor({ timeout: 10000 });
    assert.match(await counter.textContent(), /count is 2/i);
    assert.equal(await page.evaluate(() => window.notReloaded), true);

    const css = (await daemon.read(id, 'src/index.css')).toString();
    await daemon.write(id, 'src/index.css', `${css}\nbody { outline: 3px solid rgb(1, 2, 3); }\n`);
    await page.waitForFunction(() => getComputedStyle(document.body).outlineColor === 'rgb(1, 2, 3)', null, { timeout: 10000 });
    assert.match(await counter.textContent(), /count is 2/i);
    assert.equal(await page.evaluate(() => window.notReloaded), true);
    assert.deepEqual(problems, []);
    await page.close();
});

test('a syntax error shows in Vite\'s overlay and goes away when mended', async () => {
    const page = await browser.context.newPage();
    await page.goto(service.url);
    const file = 'src/App.tsx';
    const good = (await daemon.read(id, file)).toString();
    await daemon.write(id, file, `${good}\nconst = ;`);
    await page.locator('vite-error-overlay').waitFor({ state: 'attached', timeout: 10000 });
    await daemon.write(id, file, good);
    await page.locator('vite-error-overlay').waitFor({ state: 'detached', timeout: 10000 });
    await page.close();
});

test('the address with the port and the path form lead to the same app', async () => {
    const byPort = await daemon.preview(id, '/', { port: service.port });
    assert.equal(byPort.status, 200);
    assert.match(byPort.body.toString(), /\/@vite\/client/);
    const host = { host: '127.0.0.1', port: daemon.proxyPort };
    const byPath = await daemon.api('GET', `/p/${id}/${service.port}/`, { host, headers: { host: `localhost:${daemon.proxyPort}` } });
    assert.equal(byPath.status, 200);
});

test('a page waits for its dev server and opens by itself', async () => {
    const other = await daemon.create({ template: 'react-vite', egress: 'none' });
    const page = await browser.context.newPage();
    await daemon.ok('PUT', `/v1/sandboxes/${other.id}/dev-server`, { body: {} });
    await page.goto(other.url, { waitUntil: 'commit' });
    await page.getByRole('button', { name: /count is/i }).waitFor({ timeout: 30000 });
    await page.close();
    await daemon.remove(other.id);
});

test('headers are rewritten for the dev server, upgrades too', async () => {
    const { id: box } = await daemon.create({ egress: 'none' });
    await daemon.write(box, 'echo.js', `
        const s = require('http').createServer((q, r) => r.setHeader('content-type', 'application/json') && r.end(JSON.stringify(q.headers)));
        s.on('upgrade', (q, c) => { c.end('HTTP/1.1 418 Teapot\\r\\nx-seen: ' + JSON.stringify(q.headers) + '\\r\\ncontent-length: 0\\r\\n\\r\\n'); });
        s.listen(3000, '127.0.0.1');`);
    await daemon.devServer(box, { command: 'node echo.js', port: 3000 });
    const name = `${box}.localhost:${daemon.proxyPort}`;
    const headers = { origin: `http://${name}`, referer: `http://${name}/page` };
    const check = (seen) => {
        assert.equal(seen.host, 'localhost:3000');
        assert.equal(seen.origin, 'http://localhost:3000');
        assert.equal(seen['x-forwarded-host'], name);
        assert.equal(seen['x-forwarded-proto'], 'http');
        assert.ok(seen['x-forwarded-for']);
    };
    const { body: seen } = await daemon.preview(box, '/', { headers });
    check(seen);
    assert.equal(seen.referer, 'http://localhost:3000/page');
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.proxyPort}/`, { headers: { ...headers, host: name } });
    const [, response] = await new Promise((resolve) => socket.once('unexpected-response', (...values) => resolve(values)));
    assert.equal(response.statusCode, 418);
    check(JSON.parse(response.headers['x-seen']));
    response.resume();
    await daemon.remove(box);
});

test('large bodies, slow streams and WebSockets pass both ways', async () => {
    const { id: box } = await daemon.create({ egress: 'none' });
    await daemon.write(box, 'big.js', `
        const { createHash } = require('crypto');
        const s = require('http').createServer((q, r) => {
            if (q.url === '/events') { r.writeHead(200, { 'content-type': 'text/event-stream' }); r.write('data: one\\n\\n');
                process.once('SIGUSR2', () => r.end('data: two\\n\\n')); return; }
            if (q.url === '/big') { const block = Buffer.alloc(1 << 20, 7); let n = 0;
                const go = () => { while (n++ < 100) if (!r.write(block)) return r.once('drain', go); r.end(); }; return go(); }
            const hash = createHash('sha256'); q.on('data', (d) => hash.update(d)); q.on('end', () => r.end(hash.digest('hex'))); });
        s.on('upgrade', (q, c) => { const key = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
            c.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + key + '\\r\\n\\r\\n');
            c.on('data', (d) => { if ((d[0] & 15) === 8) return c.end(); const n = d[1] & 127, m = d.subarray(2, 6);
                c.write(Buffer.concat([Buffer.from([0x81, n]), d.subarray(6, 6 + n).map((b, i) => b ^ m[i & 3])])); }); });
        s.listen(3000, '127.0.0.1');`);
    await daemon.devServer(box, { command: 'node big.js', port: 3000 });

    const { createHash } = await import('node:crypto');
    const upload = Buffer.alloc(100 << 20, 5);
    const hashed = await daemon.preview(box, '/', { method: 'POST', body: upload });
    assert.equal(hashed.body.toString(), createHash('sha256').update(upload).digest('hex'));
    assert.equal((await daemon.preview(box, '/big')).body.length, 100 << 20);

    const target = { host: '127.0.0.1', port: daemon.proxyPort };
    const headers = { host: `${box}.localhost:${daemon.proxyPort}` };
    const events = await daemon.request('GET', '/events', { host: target, headers });
    let text = '';
    for await (const chunk of events) {
        if (!text) await daemon.exec(box, ['pkill', '-USR2', '-f', '^node big.js']);
        text += chunk;
    }
    assert.equal(text, 'data: one\n\ndata: two\n\n');

    const socket = new WebSocket(`ws://127.0.0.1:${daemon.proxyPort}/`, { headers });
    await once(socket, 'open');
    for (const word of ['ping', 'pong']) {
        const answer = once(socket, 'message');
        socket.send(word);
        assert.equal((await answer)[0].toString(), word);
    }
    socket.close();
    await daemon.remove(box);
});

test('hosts that name no sandbox get no sandbox', async () => {
    const target = { host: '127.0.0.1', port: daemon.proxyPort };
    for (const host of ['localhost', 'aaaaaaaaaaaa.localhost', `x-${id}.localhost`, `99999-${id}.localhost`, `${id}.example.com`,
        `0-${id}.localhost`, `${id}`, `${id}.localhost.evil.example`, '127.0.0.1']) {
        const { status, body } = await daemon.api('GET', '/', { host: target, headers: { host } });
        assert.ok([400, 404, 421].includes(status), `${host}: ${status}`);
        assert.doesNotMatch(body.toString(), /vite/i, host);
    }
});

test('a port that nobody listens on is told as that', async () => {
    const { status } = await daemon.preview(id, '/', { port: 9 });
    assert.equal(status, 502);
});
