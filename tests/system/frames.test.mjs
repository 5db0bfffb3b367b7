// Who may show a preview in a frame: the origins of [proxy] frame_origins, whatever the dev server says. Seen by Chromium.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { openBrowser } from './browser.mjs';
import { Instance, run } from './harness.mjs';

const POLICY = "default-src 'self'; frame-ancestors 'none'; img-src *";
const SERVER = `
    require('http').createServer((q, r) => {
        r.setHeader('content-type', 'text/html');
        if (q.url !== '/silent') {
            r.setHeader('x-frame-options', 'DENY');
            r.setHeader('content-security-policy', [${JSON.stringify(POLICY)}, "frame-ancestors 'none'"]);
            r.setHeader('content-security-policy-report-only', "frame-ancestors 'none'");
        }
        r.end('<!doctype html><title>p</title><p id=shown>the preview</p>');
    }).listen(3000, '127.0.0.1');`;

let daemon, id, browser, allowed, other, framed;

// A page of another site that embeds `framed`.
async function site() {
    const server = http.createServer((request, response) => {
        response.setHeader('content-type', 'text/html');
        response.end(`<!doctype html><title>chat</title><iframe src="${framed}"></iframe>`);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { server, origin: `http://localhost:${server.address().port}` };
}

before(async () => {
    [allowed, other] = [await site(), await site()];
    daemon = await Instance.start({ proxy: { frame_origins: allowed.origin } });
    browser = await openBrowser();
    ({ id } = await daemon.create({ egress: 'none' }));
    await daemon.write(id, 'server.js', SERVER);
    await daemon.devServer(id, { command: 'node server.js', port: 3000 });
});
after(async () => {
    await browser?.close();
    await daemon?.stop();
    for (const one of [allowed, other])
        one?.server.close();
});

// What the frame holds once the page has loaded, for which it waits for the frame, refused or not.
async function shown(origin) {
    const page = await browser.context.newPage();
    await page.goto(origin, { waitUntil: 'load' });
    const text = await page.frames()[1].evaluate(() => document.getElementById('shown')?.textContent ?? null);
    await page.close();
    return text;
}

test('an origin of the list embeds a preview, and no other does, whatever the dev server says', async () => {
    for (const path of ['/', '/silent']) {
        framed = `http://${id}.localhost:${daemon.proxyPort}${path}`;
        assert.equal(await shown(allowed.origin), 'the preview', path);
        assert.equal(await shown(other.origin), null, path);
    }
});

test('the other directives of the dev server stay, and its reports', async () => {
    const { headers } = await daemon.preview(id, '/');
    assert.equal(headers['x-frame-options'], undefined);
    assert.equal(headers['content-security-policy'],
        `default-src 'self'; img-src *, , frame-ancestors 'self' ${allowed.origin}`);
    assert.equal(headers['content-security-policy-report-only'], "frame-ancestors 'none'");
});

test('what would end the field or the directive is refused, and the key is named', async () => {
    for (const [origins, message] of [
        ['https://a.example, https://b.example', /proxy\.frame_origins.*expected origins such as/],
        ["https://a.example; script-src 'none'", /proxy\.frame_origins.*expected origins such as/],
        ['https://é.example', /proxy\.frame_origins.*expected origins such as/],
    ]) {
        const config = `${daemon.config}.bad`;
        fs.writeFileSync(config, `[proxy]\nframe_origins = ${origins}\n`);
        const { code, stderr } = await run(daemon.program('auracoded'), ['--config', config]);
        assert.equal(code, 1);
        assert.match(stderr, message);
    }
});
