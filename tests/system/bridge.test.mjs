// The bridge: what goes wrong in a preview, seen by Chromium, arrives at the API, and the page is what it was without.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import zlib from 'node:zlib';
import { openBrowser } from './browser.mjs';
import { Authority } from './certificates.mjs';
import { Instance, once, until } from './harness.mjs';

const TAG = /<script nonce="[0-9a-f]{32}" src="\/\.auracode\/bridge\?v=[0-9a-f]{8}"><\/script>/;
const PAGE = '<!doctype html><html lang="en"><!-- <head> --><head><title>p</title></head><body><p>text</p></body></html>';

// A page is what its URL says: `run`, an inline script; `csp`, `ro`, `meta`, policies; `form`, how it is sent. /asked tells
// which requests there were, /gate opens what `form=late` waits for.
const SERVER = `
    const http = require('http'), zlib = require('zlib');
    const page = ${JSON.stringify(PAGE)};
    let asked = [], open;
    const forms = {
        length: (r, body) => { r.setHeader('content-length', Buffer.byteLength(body)); r.end(body); },
        chunked: (r, body) => { r.write(body.slice(0, 20)); r.end(body.slice(20)); },
        bytes: async (r, body) => { for (const c of body) await new Promise((done) => r.write(c, done)); r.end(); },
        gzip: (r, body) => { r.setHeader('content-encoding', 'gzip'); r.end(zlib.gzipSync(body)); },
        late: (r, body) => { r.write(body.slice(0, body.indexOf('<title>'))); open = () => r.end(body.slice(body.indexOf('<title>'))); },
        long: (r, body) => forms.length(r, body + 'x'.repeat(1 << 20)),
        utf16: (r, body) => forms.length(r, Buffer.from('\\ufeff' + body, 'utf16le')),
        none: (r) => forms.length(r, ''),
    };
    http.createServer((q, r) => {
        const url = new URL(q.url, 'http://x'), get = (name) => url.searchParams.get(name);
        asked.push({ method: q.method, path: url.pathname, headers: q.headers });
        if (url.pathname === '/asked') { r.end(JSON.stringify(asked)); asked = []; return; }
        if (url.pathname === '/gate') { open(); r.end(); return; }
        if (url.pathname === '/missing') { r.statusCode = 503; r.end(); return; }
        if (url.pathname === '/.auracode/bridge') { r.end('the dev server'); return; }
        if (url.pathname.startsWith('/none')) { r.statusCode = 404; r.end(); return; }
        r.setHeader('content-type', 'text/html');
        r.setHeader('etag', '"one"');
        r.setHeader('last-modified', 'Mon, 01 Jan 2024 00:00:00 GMT');
        if (q.headers['if-none-match'] === '"one"') { r.statusCode = 304; r.end(); return; }
        if (get('csp')) r.setHeader('content-security-policy', get('csp'));
        if (get('ro')) r.setHeader('content-security-policy-report-only', get('ro'));
        r.statusCode = Number(get('status') ?? 200);
        const meta = get('meta') ? '<meta http-equiv="content-security-policy" content="' + get('meta') + '">' : '';
        const run = get('run') ? '<script nonce="n1">' + get('run') + '</script>' : '';
        const body = page.replace('<title>', () => meta + '<title>').replace('</body>', () => run + '</body>');
        forms[get('form') ?? 'length'](r, body);
    }).listen(3000, '127.0.0.1');`;

let authority, daemon, browser, id, feed;
const events = [];

before(async () => {
    authority = new Authority();
    const pair = authority.issue('main', ['localhost', '*.localhost']);
    daemon = await Instance.start({ tls: { certificate: pair.certificate, key: pair.key } });
    browser = await openBrowser({ ignoreHTTPSErrors: true });
    feed = daemon.ws('/v1/events');
    feed.on('message', (data) => events.push(JSON.parse(data)));
    await once(feed, 'open');
    id = await serve(daemon);
});
after(async () => {
    feed?.terminate();
    await browser?.close();
    await daemon?.stop();
    authority?.remove();
});

async function serve(instance, body = {}) {
    const { id } = await instance.create({ egress: 'none', ...body });
    await instance.write(id, 'server.js', SERVER);
    await instance.devServer(id, { command: 'node server.js', port: 3000 });
    return id;
}

const base = (sandbox = id) => `http://${sandbox}.localhost:${daemon.proxyPort}`;
const address = (query, sandbox) => `${base(sandbox)}/?${new URLSearchParams(query)}`;
const listed = async (sandbox, since = 0) => (await daemon.ok('GET', `/v1/sandboxes/${sandbox}/browser-errors?since=${since}`)).errors;
// In the list, and as the event of the same id.
async function reported(sandbox, matches) {
    const error = await until('the error is reported', async () => (await listed(sandbox)).find(matches));
    const { id: event, timestamp, ...data } = error;
    const told = await until('the event comes', () => events.find((one) => one.id === event));
    assert.equal(told.type, 'browser.error');
    assert.equal(told.sandbox_id, sandbox);
    assert.deepEqual(told.data, data);
    assert.ok(Math.abs(Date.now() - timestamp) < 60000);
    return error;
}
const text = (part) => ({ message }) => message.includes(part);
const asked = async (instance = daemon, sandbox = id) => JSON.parse((await instance.preview(sandbox, '/asked')).body);
const html = { accept: 'text/html' };
const report = (body, headers = {}, sandbox = id) => daemon.preview(sandbox, '/.auracode/bridge', {
    method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers },
});
const oneError = (message) => ({ reports: [{ kind: 'error', message }] });

// What the page has done is told with what went wrong.
async function visit(url, work = async () => {}) {
    const page = await browser.context.newPage();
    const log = [];
    page.on('console', (message) => log.push(message.text()));
    page.on('requestfailed', (request) => log.push(`${request.url()}: ${request.failure()?.errorText}`));
    page.on('response', (response) => log.push(`${response.status()} ${response.url()}`));
    try {
        await page.goto(url, { waitUntil: 'load' });
        await work(page);
    } catch (error) {
        error.message += `\n--- the page\n${log.join('\n')}\n${await page.content()}`;
        throw error;
    } finally {
        await page.close();
    }
}

test('errors, rejections, console.error, failed requests and resources arrive, in the list and as events', async () => {
    const run = `
        setTimeout(function later() { throw new TypeError('thrown here'); });
        Promise.reject(new RangeError('nobody caught'));
        console.error('logged %s: %o', 'well', { a: 1 }, 2);
        fetch('/missing', { method: 'post' });
        fetch('http://127.0.0.1:9/away').catch(() => {});
        const x = new XMLHttpRequest(); x.open('GET', '/missing?x'); x.send();
        const y = new XMLHttpRequest(); y.open('PUT', 'http://127.0.0.1:9/xhr'); y.send();
        document.body.append(Object.assign(new Image(), { src: '/none.png' }), Object.assign(document.createElement('script'), { src: '/none.js' }));`;
    const url = address({ run });
    await visit(url, async () => {
        const thrown = await reported(id, text('thrown here'));
        assert.equal(thrown.kind, 'error');
        assert.equal(thrown.message, 'Uncaught TypeError: thrown here');
        assert.equal(thrown.source, url);
        assert.ok(thrown.line >= 1 && thrown.column > 0);
        assert.match(thrown.stack, /^TypeError: thrown here\n +at later /);
        assert.equal(thrown.page, url);
        assert.equal(thrown.port, 3000);
        const rejected = await reported(id, text('nobody caught'));
        assert.equal(rejected.kind, 'rejection');
        assert.equal(rejected.message, 'RangeError: nobody caught');
        assert.match(rejected.stack, /^RangeError/);
        assert.equal((await reported(id, text('logged'))).message, 'logged well: {"a":1} 2');
        const missing = await reported(id, text('POST was answered'));
        assert.deepEqual([missing.kind, missing.status, missing.url], ['request', 503, `${base()}/missing`]);
        const away = await reported(id, text('GET failed'));
        assert.deepEqual([away.status, away.url], [0, 'http://127.0.0.1:9/away']);
        assert.equal((await reported(id, text('GET was answered'))).url, `${base()}/missing?x`);
        assert.equal((await reported(id, text('PUT failed'))).url, 'http://127.0.0.1:9/xhr');
        assert.equal((await reported(id, text('<img>'))).url, `${base()}/none.png`);
        assert.equal((await reported(id, text('<script>'))).url, `${base()}/none.js`);
    });
    const { stdout } = await daemon.cli(['events', id]);
    assert.match(stdout, /browser\.error +Uncaught TypeError: thrown here \(http:.*:\d+\)\n/);
    const all = await listed(id);
    const [first] = all;
    assert.deepEqual(await listed(id, first.id), all.slice(1));
    await daemon.ok('DELETE', `/v1/sandboxes/${id}/browser-errors`);
    assert.deepEqual(await listed(id), []);
});

test('what is large, endless or no text at all arrives as far as it fits', async () => {
    const run = `
        console.error('large', Array(1000).fill({}), (() => { const o = {}; return o.o = o; })());
        for (let i = 0; i < 4; i++) reportError(Object.assign(new Error('\\ud800' + '\\u5b57'.repeat(5000)), { name: 'Wide' + i }));`;
    await visit(address({ run }), async () => {
        assert.match((await reported(id, text('large'))).message, /^large \[object Array\] \[object Object\]$/);
        for (let i = 0; i < 4; i++)
            assert.match((await reported(id, text(`Wide${i}`))).message, /\u5b57{1000}/);
    });
});

test('the page\'s own functions do what they did, and nothing is told twice', async () => {
    const run = `
        for (let i = 0; i < 100; i++) console.error('again');
        for (let i = 0; i < 100; i++) console.error('many ' + i);
        window.left = [...Object.keys(window).filter((name) => /bridge|auracode/i.test(name)), ...document.querySelectorAll('script[src]')];
        window.kept = (async () => [(await fetch('/asked')).ok, await fetch('http://127.0.0.1:9/').catch((e) => e.constructor === TypeError)])();
        window.unhandled = new Promise((done) => addEventListener('unhandledrejection', (e) => done(String(e.reason))));
        fetch('http://127.0.0.1:9/alone');`;
    await visit(address({ run }), async (page) => {
        assert.deepEqual(await page.evaluate('left'), []);
        assert.deepEqual(await page.evaluate('kept'), [true, true]);
        assert.match(await page.evaluate('unhandled'), /^TypeError/);
        await reported(id, text('many'));
    });
    const all = (await listed(id)).map(({ message }) => message);
    assert.equal(all.filter((message) => message === 'again').length, 1);
    assert.ok(all.length <= 20, all.join());
});

// What the page's own script may do must be the same with the bridge as without.
const POLICIES = [
    { csp: "script-src 'nonce-n1'" },
    { csp: "default-src 'none'; script-src 'nonce-n1'" },
    { csp: "script-src 'nonce-n1' 'strict-dynamic'; connect-src 'none'" },
    { csp: "default-src 'none' 'unsafe-inline'" },
    { csp: "script-src 'unsafe-inline'; connect-src 'none'" },
    { csp: "default-src 'none'; script-src-elem 'unsafe-inline'; img-src *" },
    { csp: "default-src 'self' 'unsafe-inline', script-src http: 'unsafe-inline'" },
    { ro: "default-src 'none'" },
];
for (const policy of POLICIES)
    test(`under ${JSON.stringify(policy)} the bridge works, and the page's scripts as before`, async () => {
        const label = `under ${JSON.stringify(policy)}`;
        await visit(address({ ...policy, run: `document.title = 'ran'; console.error(${JSON.stringify(label)})` }), async (page) => {
            assert.equal(await page.title(), 'ran');
            await reported(id, ({ message }) => message === label);
        });
    });

test('what a policy forbids stays forbidden, and a report that it blocks is no new one', async () => {
    await visit(address({ csp: "script-src 'self'", run: 'document.title = "ran"' }), async (page) => {
        assert.equal(await page.title(), 'p');
        assert.equal(await page.evaluate(() => fetch('data:,x').then(() => true)), true);
    });
    const page = await browser.context.newPage();
    const blocked = [];
    page.on('console', (message) => { if (/bridge' because it violates|bridge.*violates the following/.test(message.text())) blocked.push(message.text()); });
    await page.goto(address({ meta: "connect-src 'none'", run: "console.error('not heard')" }));
    await until('the report is blocked', () => blocked.length > 0);
    await page.evaluate(() => console.error('nor this'));
    await until('the next is blocked', () => blocked.length > 1);
    await page.close();
    await visit(address({ run: "console.error('heard')" }), () => reported(id, text('heard')));
    assert.ok((await listed(id)).every(({ message }) => !/not heard|nor this|bridge/.test(message)));
    assert.equal(blocked.length, 2);
});

for (const form of ['length', 'chunked', 'bytes', 'long'])
    test(`sent as ${form}, the document is the dev server's but for the tag behind <head>`, async () => {
        const expected = PAGE + (form === 'long' ? 'x'.repeat(1 << 20) : '');
        const { body, headers, status } = await daemon.preview(id, `/?form=${form}`, { headers: { ...html, 'accept-encoding': 'gzip' } });
        assert.equal(status, 200);
        assert.equal(body.toString().replace(TAG, ''), expected);
        assert.equal(body.toString().search(TAG), expected.indexOf('<title>'));
        assert.equal(headers['content-length'], form === 'chunked' || form === 'bytes' ? undefined : String(body.length));
        assert.deepEqual([headers.etag, headers['last-modified']], [undefined, undefined]);
    });

test('the tag goes out as soon as <head> has come', async () => {
    const host = `${id}.localhost:${daemon.proxyPort}`;
    const request = http.request({ host: '127.0.0.1', port: daemon.proxyPort, path: '/?form=late', headers: { host, ...html } }).end();
    const [response] = await once(request, 'response');
    const ended = once(response, 'end');
    let got = '';
    response.on('data', (data) => { got += data; });
    await until('the tag comes', () => TAG.test(got));
    assert.ok(!got.includes('<title>'));
    await daemon.preview(id, '/gate');
    await ended;
    assert.equal(got.replace(TAG, ''), PAGE);
});

test('a document is asked for anew and plain; all else passes as it is', async () => {
    await asked();
    const conditions = { 'if-none-match': '"one"', 'accept-encoding': 'gzip' };
    const fetched = { ...conditions, accept: 'text/html', 'sec-fetch-dest': 'empty' };
    const same = [
        await daemon.preview(id, '/', { headers: fetched }),
        await daemon.preview(id, '/', { headers: conditions }),
        await daemon.preview(id, '/', { method: 'HEAD', headers: { ...html, ...conditions } }),
    ];
    assert.deepEqual(same.map(({ status }) => status), [304, 304, 304]);
    const { status, body } = await daemon.preview(id, '/', { headers: { ...html, ...conditions } });
    assert.equal(status, 200);
    assert.match(body.toString(), TAG);
    const seen = (await asked()).filter(({ path }) => path === '/').map(({ headers }) => [headers['if-none-match'], headers['accept-encoding']]);
    assert.deepEqual(seen, [['"one"', 'gzip'], ['"one"', 'gzip'], ['"one"', 'gzip'], [undefined, 'identity']]);
    const zipped = await daemon.preview(id, '/?form=gzip', { headers: html });
    assert.equal(zlib.gunzipSync(zipped.body).toString(), PAGE);
    assert.equal(zipped.headers.etag, '"one"');
    const wide = await daemon.preview(id, '/?form=utf16', { headers: html });
    assert.equal(wide.body.toString('utf16le'), `\ufeff${PAGE}`);
    const empty = await daemon.preview(id, '/?form=none', { headers: html });
    assert.equal(empty.body.length, 0);
    const error = await daemon.preview(id, '/?status=500', { headers: html });
    assert.deepEqual([error.status, error.body.toString().replace(TAG, '')], [500, PAGE]);
});

test('in the path form the script and its reports are below the prefix', async () => {
    const host = `localhost:${daemon.proxyPort}`, prefix = `/p/${id}/3000`;
    const { body } = await daemon.api('GET', `${prefix}/`, { headers: { host, ...html }, host: { host: '127.0.0.1', port: daemon.proxyPort } });
    assert.match(body.toString(), new RegExp(`src="${prefix}/\\.auracode/bridge\\?`));
    await visit(`http://${host}${prefix}/?run=console.error('by the path')`, () => reported(id, text('by the path')));
});

test('over TLS and HTTP/2 it works as well', async () => {
    await visit(`https://${id}.localhost:${daemon.proxyTlsPort}/?csp=default-src 'none' 'unsafe-inline'&run=console.error('over tls')`,
        () => reported(id, text('over tls')));
});

test('the path is the proxy\'s: nothing of it reaches the dev server, and what is no report is refused', async () => {
    await asked();
    const script = await daemon.preview(id, '/.auracode/bridge?v=1');
    assert.match(script.headers['content-type'], /^text\/javascript/);
    assert.match(script.headers['cache-control'], /immutable/);
    const codes = [];
    for (const answer of [
        await report('{'), await report({}), await report({ reports: [{ kind: 'x', message: '' }] }),
        await report(oneError('x'), { 'content-type': 'text/plain' }),
        await report(`{"reports":[],"x":"${'x'.repeat(70000)}"}`),
        await daemon.preview(id, '/.auracode/bridge', { method: 'POST', body: '{}', headers: { 'transfer-encoding': 'chunked', 'content-type': 'application/json' } }),
        await daemon.preview(id, '/.auracode/bridge', { method: 'OPTIONS', headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' } }),
        await daemon.preview(id, '/.auracode/bridge', { method: 'PUT' }),
    ])
        codes.push(`${answer.status} ${answer.body.error?.code}`);
    assert.deepEqual(codes, ['400 invalid_report', '400 invalid_report', '400 invalid_report', '415 not_json', '413 reports_too_large',
        '411 length_required', '405 method_not_allowed', '405 method_not_allowed']);
    assert.deepEqual((await asked()).map(({ path }) => path), ['/asked']);
});

test('a private preview takes reports with its token only, which a page that was opened with it has', async () => {
    const sandbox = await serve(daemon, { access: 'private' });
    assert.equal((await report(oneError('from outside'), {}, sandbox)).status, 401);
    assert.equal((await daemon.preview(sandbox, '/.auracode/bridge')).status, 401);
    const { token } = await daemon.ok('POST', `/v1/sandboxes/${sandbox}/preview-tokens`, { body: {} });
    await visit(`${base(sandbox)}/?${new URLSearchParams({ auracode_token: token, run: "console.error('from inside')" })}`,
        async () => {
            const { page } = await reported(sandbox, text('from inside'));
            assert.doesNotMatch(page, /auracode_token/);
        });
    assert.ok((await listed(sandbox)).every(({ message }) => message !== 'from outside'));
});

test('the errors of another\'s sandbox are not there, neither as events nor in the list', async () => {
    const key = async (owner, scopes) => (await daemon.ok('POST', '/v1/tokens', { body: { name: `${owner}-${scopes}`, owner, scopes } })).token;
    const as = (token) => ({ headers: { authorization: `Bearer ${token}` }, host: { host: '127.0.0.1', port: daemon.apiPort } });
    const [alice, mallory, reader] = [await key('alice', ['sandboxes']), await key('mallory', ['sandboxes']), await key('alice', ['read'])];
    const { id: hers } = await daemon.ok('POST', '/v1/sandboxes', { body: { template: 'node', egress: 'none' }, ...as(alice) });
    await daemon.write(hers, 'server.js', SERVER);
    await daemon.devServer(hers, { command: 'node server.js', port: 3000 });
    const { WebSocket } = await import('ws');
    const told = [];
    const watch = new WebSocket(`ws://127.0.0.1:${daemon.apiPort}/v1/events`, { headers: { authorization: `Bearer ${mallory}` } });
    watch.on('message', (data) => told.push(JSON.parse(data)));
    await once(watch, 'open');
    assert.equal((await report(oneError('hers'), {}, hers)).status, 204);
    await reported(hers, text('hers'));
    const url = `/v1/sandboxes/${hers}/browser-errors`;
    for (const method of ['GET', 'DELETE'])
        assert.equal((await daemon.refused(method, url, as(mallory))).code, 'sandbox_not_found');
    assert.equal((await daemon.ok('GET', url, as(reader))).errors.length, 1);
    assert.equal((await daemon.refused('DELETE', url, as(reader))).status, 403);
    const { id: his } = await daemon.ok('POST', '/v1/sandboxes', { body: { template: 'node', egress: 'none' }, ...as(mallory) });
    await until('his own events come', () => told.some(({ sandbox_id }) => sandbox_id === his));
    assert.ok(told.every(({ sandbox_id }) => sandbox_id !== hers));
    watch.terminate();
});

test('a flood of reports is held at the proxy, and those of others come through', async () => {
    const flooder = await serve(daemon);
    const reports = Array.from({ length: 50 }, (_, i) => ({ kind: 'error', message: `flood ${i} ${'x'.repeat(900)}` }));
    const started = performance.now();
    const answers = await Promise.all(Array.from({ length: 200 }, () => report({ reports }, {}, flooder)));
    assert.equal((await report(oneError('in between'))).status, 204);
    await reported(id, text('in between'));
    const statuses = new Set(answers.map(({ status }) => status));
    assert.deepEqual([...statuses].sort(), [204, 429]);
    const seconds = (performance.now() - started) / 1000;
    const { errors } = await daemon.ok('GET', `/v1/sandboxes/${flooder}/browser-errors`);
    assert.ok(errors.length > 0 && errors.length <= 41 + 10 * seconds, `${errors.length} in ${seconds} s`);
});

test('turned off, nothing is inserted, and no path is taken', async () => {
    const plain = await Instance.start({ proxy: { bridge: 'no' } });
    try {
        const sandbox = await serve(plain);
        const { body, headers } = await plain.preview(sandbox, '/', { headers: { ...html, 'accept-encoding': 'gzip' } });
        assert.equal(body.toString(), PAGE);
        assert.equal(headers.etag, '"one"');
        assert.equal((await plain.preview(sandbox, '/.auracode/bridge')).body.toString(), 'the dev server');
        const seen = await asked(plain, sandbox);
        assert.equal(seen.find(({ headers }) => headers.accept === 'text/html').headers['accept-encoding'], 'gzip');
    } finally {
        await plain.stop();
    }
});

test('of a Vite app: errors of its code, its overlay with file, line and message; and hot replacement goes on', async () => {
    const { id: app } = await daemon.create({ template: 'react-vite', egress: 'none' });
    await daemon.devServer(app);
    const source = (await daemon.read(app, 'src/App.tsx')).toString();
    await visit(`http://${app}.localhost:${daemon.proxyPort}/`, async (page) => {
        const counter = page.getByRole('button', { name: /count is/i });
        await counter.click();
        await page.evaluate(() => { window.notReloaded = true; });
        await daemon.write(app, 'src/App.tsx', source.replace(/<h1>[^<]*<\/h1>/, '<h1>Changed</h1>'));
        await page.getByRole('heading', { name: 'Changed' }).waitFor({ timeout: 10000 });
        assert.match(await counter.textContent(), /count is 1/i);
        assert.equal(await page.evaluate(() => window.notReloaded), true);
        assert.deepEqual(await listed(app), []);

        await daemon.write(app, 'src/App.tsx', source.replace('return (', 'return (<'));
        const overlay = await reported(app, ({ kind }) => kind === 'overlay');
        assert.match(overlay.source, /\/app\/src\/App\.tsx$/);
        assert.ok(Math.abs(overlay.line - source.slice(0, source.indexOf('return (')).split('\n').length) <= 1, JSON.stringify(overlay));
        assert.match(overlay.message, /Unexpected token/);

        await daemon.write(app, 'src/App.tsx', source.replace(/<h1>[^<]*<\/h1>/, '<h1>Mended</h1>')
            .replace(/onClick=\{\(\) => [^}]*\}/, "onClick={() => { throw new Error('count is too high'); }}"));
        await page.getByRole('heading', { name: 'Mended' }).waitFor({ timeout: 10000 });
        await counter.click({ timeout: 10000 });
        const thrown = await reported(app, ({ kind, message }) => kind === 'error' && message.includes('count is too high'));
        assert.match(thrown.stack, /src\/App\.tsx/);
    });
});

for (const [template, file, before] of [['fw-next', 'app/page.tsx', 'return <'], ['fw-webpack', 'src/title.js', 'export']])
    test(`of ${template}: its page says nothing, and its overlay what is wrong in which file`, async () => {
        const { id: app } = await daemon.create({ template, egress: 'none', limits: { cpu: 2 } });
        await daemon.devServer(app);
        const source = (await daemon.read(app, file)).toString();
        await visit(`http://${app}.localhost:${daemon.proxyPort}/`, async (page) => {
            await page.waitForFunction(() => {
                const button = [...document.querySelectorAll('button')].find((one) => /count is/i.test(one.textContent));
                button?.click();
                return /count is [1-9]/i.test(button?.textContent);
            }, null, { timeout: 30000 });
            assert.deepEqual((await listed(app)).filter(({ url }) => !url?.endsWith('/favicon.ico')), []);
            await daemon.write(app, file, source.replace(before, `%%% ${before}`));
            const overlay = await reported(app, ({ kind }) => kind === 'overlay');
            assert.ok(`${overlay.source} ${overlay.message} ${overlay.frame}`.includes(file), JSON.stringify(overlay));
        });
        await daemon.remove(app);
    });
