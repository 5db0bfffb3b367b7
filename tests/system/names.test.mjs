// Two ports of one project in Chromium, which believe that they are localhost:3000 and localhost:3001: cross-origin calls
// with preflight and credentials, cookies, redirects and Refresh, each under the name that the browser knows.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openBrowser } from './browser.mjs';
import { Authority } from './certificates.mjs';
import { Instance } from './harness.mjs';
import { startNginx } from './nginx.mjs';

// The API allows what it thinks is its one front end, by name, as projects do.
const PROJECT = `
    const http = require('http');
    http.createServer((q, r) => {
        const routes = {
            '/': () => r.setHeader('content-type', 'text/html').end('<!doctype html><title>front</title><h1>front</h1>'),
            '/moved': () => r.writeHead(302, { location: 'http://localhost:3000/?moved' }).end(),
            '/to-api': () => r.writeHead(302, { location: 'http://127.0.0.1:3001/hello' }).end(),
            '/refresh': () => r.writeHead(200, { refresh: '0; url=http://localhost:3000/?refreshed', 'content-type': 'text/html' }).end('wait'),
            '/cookies': () => r.writeHead(200, { 'set-cookie': ['one=1; Domain=localhost; Path=/', 'two=2; Secure; HttpOnly; SameSite=None; Path=/',
                'three=3; Domain=.localhost; Path=/seen'] }).end('set'),
            '/seen': () => r.end(q.headers.cookie ?? 'none'),
        };
        (routes[q.url.split('?')[0]] ?? (() => r.writeHead(404).end()))();
    }).listen(3000, '127.0.0.1');
    http.createServer((q, r) => {
        r.setHeader('access-control-allow-origin', 'http://localhost:3000');
        r.setHeader('access-control-allow-credentials', 'true');
        if (q.method === 'OPTIONS') return r.writeHead(204, { 'access-control-allow-methods': 'PUT', 'access-control-allow-headers': 'x-mine, content-type' }).end();
        r.setHeader('content-type', 'application/json');
        r.end(JSON.stringify({ origin: q.headers.origin ?? null, host: q.headers.host, method: q.method, mine: q.headers['x-mine'] ?? null }));
    }).listen(3001, '127.0.0.1');`;

let daemon, browser, authority, nginx, id;
before(async () => {
    daemon = await Instance.start();
    authority = new Authority();
    nginx = await startNginx(daemon.proxyPort, authority.issue('preview', ['*.localhost']));
    browser = await openBrowser({ ignoreHTTPSErrors: true });
    ({ id } = await daemon.create({ egress: 'none' }));
    await daemon.write(id, 'project.js', PROJECT);
    await daemon.devServer(id, { command: 'node project.js', port: 3000 });
});
after(async () => {
    await browser?.close();
    await nginx?.close();
    authority?.remove();
    await daemon?.stop();
});

// [how, the front end's origin, the API's]
const forms = () => {
    const plain = (name) => `http://${name}.localhost:${daemon.proxyPort}`;
    const tls = (name) => `https://${name}.localhost:${nginx.port}`;
    return [['by id', plain(id), plain(`3001-${id}`)], ['by port', plain(`3000-${id}`), plain(`3001-${id}`)],
        ['behind nginx with TLS', tls(id), tls(`3001-${id}`)]];
};

for (const [index, how] of ['by id', 'by port', 'behind nginx with TLS'].entries())
    test(`a page calls another port of its project: ${how}`, async () => {
        const [, front, api] = forms()[index];
        const page = await browser.context.newPage();
        await page.goto(front);
        const answer = await page.evaluate(async (url) => {
            const response = await fetch(url, { method: 'PUT', headers: { 'x-mine': 'yes', 'content-type': 'application/json' }, body: '{}', credentials: 'include' });
            return response.json();
        }, `${api}/hello`);
        assert.deepEqual(answer, { origin: 'http://localhost:3000', host: 'localhost:3001', method: 'PUT', mine: 'yes' });
        await page.close();
    });

test('a page of elsewhere is not let in by that', async () => {
    const { id: other } = await daemon.create({ egress: 'none' });
    await daemon.write(other, 'project.js', PROJECT);
    await daemon.devServer(other, { command: 'node project.js', port: 3000 });
    const page = await browser.context.newPage();
    await page.goto(`http://${other}.localhost:${daemon.proxyPort}/`);
    const [, , api] = forms()[0];
    assert.equal(await page.evaluate((url) => fetch(url).then(() => 'read', () => 'refused'), `${api}/hello`), 'refused');
    await page.close();
    await daemon.remove(other);
});

for (const [index, how] of ['by id', 'by port', 'behind nginx with TLS'].entries())
    test(`redirects, Refresh and cookies keep the browser's name: ${how}`, async () => {
        const [, front, api] = forms()[index];
        const page = await browser.context.newPage();
        await page.goto(`${front}/moved`);
        assert.equal(page.url(), `${front}/?moved`);
        await page.goto(`${front}/to-api`);
        assert.equal(page.url(), `${api}/hello`);
        await page.goto(`${front}/refresh`, { waitUntil: 'commit' });
        await page.waitForURL(`${front}/?refreshed`);
        await page.goto(`${front}/cookies`);
        await page.goto(`${front}/seen`);
        assert.equal(await page.textContent('body'), 'three=3; one=1; two=2');
        const { hostname } = new URL(front);
        for (const cookie of await browser.context.cookies(front)) assert.equal(cookie.domain, hostname, 'the cookie is this host\'s alone');
        await page.close();
    });

test('by path: redirects and cookies stay below the prefix, where all previews share a host', async () => {
    const origin = `http://localhost:${daemon.proxyPort}`, base = `${origin}/p/${id}/3000`;
    const page = await browser.context.newPage();
    await page.goto(`${base}/moved`);
    assert.equal(page.url(), `${base}/?moved`);
    await page.goto(`${base}/cookies`);
    await page.goto(`${base}/seen`);
    assert.equal(await page.textContent('body'), 'three=3; one=1; two=2');
    assert.deepEqual(await browser.context.cookies(`${origin}/p/aaaaaaaaaaaa/3000/`), []);
    await page.close();
});

test('a proxy in front is believed only where it is trusted', async () => {
    const strict = await Instance.start({ proxy: { trusted_proxies: '192.0.2.0/24' } });
    try {
        for (const [instance, expected] of [[strict, 'http'], [daemon, 'https']]) {
            const { id: box } = await instance.create({ egress: 'none' });
            await instance.write(box, 'echo.js', `require('http').createServer((q, r) => r.setHeader('content-type', 'application/json').end(JSON.stringify(q.headers))).listen(3000, '127.0.0.1');`);
            await instance.devServer(box, { command: 'node echo.js', port: 3000 });
            const { body } = await instance.preview(box, '/', { headers: { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' } });
            assert.equal(body['x-forwarded-proto'], expected);
            assert.equal(body['x-forwarded-for'], expected === 'https' ? '203.0.113.9, 127.0.0.1' : '127.0.0.1');
            await instance.remove(box);
        }
    } finally {
        await strict.stop();
    }
});
