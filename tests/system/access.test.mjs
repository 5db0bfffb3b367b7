// Private previews: who is let in (by query, cookie, header, bearer), for how long, and that the dev server sees nothing of it.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import path from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { WebSocket } from 'ws';
import { openBrowser } from './browser.mjs';
import { Authority } from './certificates.mjs';
import { Instance, once, run, slow, until } from './harness.mjs';

// Remembers and logs all that it was asked; the page talks over a WebSocket and shows what becomes of it.
const SERVER = `
    const { createServer } = require('http'), { createHash } = require('crypto');
    const seen = [];
    const PAGE = '<!doctype html><title>p</title><p id=shown>the preview</p><p id=ws></p><img src="/picture">' +
        '<script>const w = new WebSocket(location.origin.replace("http", "ws") + "/socket"), t = document.getElementById("ws");' +
        'w.onopen = () => t.textContent = "open"; w.onclose = () => t.textContent = "closed"</script>';
    const note = (q) => { seen.push([q.method, q.url, q.rawHeaders]); console.log(q.method, q.url, JSON.stringify(q.rawHeaders)); };
    const serve = (port) => createServer((q, r) => {
        if (q.url === '/seen') return r.end(JSON.stringify(seen));
        note(q);
        if (q.url === '/set') {
            r.setHeader('set-cookie', ['auracode_token_x=evil', '__host-auracode_token_x=evil; Secure; Path=/', '=auracode_token_x=evil', 'own=1; Path=/', 'auracode=1']);
            return r.end();
        }
        if (q.url === '/stream') { r.write('begun'); return; }
        if (q.url === '/silent') return;
        if (q.url.startsWith('/page')) { r.setHeader('content-type', 'text/html'); return r.end(PAGE); }
        if (q.headers.origin) {
            r.setHeader('access-control-allow-origin', q.headers.origin);
            r.setHeader('access-control-allow-credentials', 'true');
        }
        r.end(port + ' ' + q.method + ' ' + q.url);
    }).on('upgrade', (q, c) => {
        note(q);
        const accept = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
        c.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
        c.on('data', () => {}).on('end', () => c.end()).on('error', () => {});
    }).listen(port, '127.0.0.1');
    serve(3000); serve(3001);`;

const HTML = { accept: 'text/html,*/*' };
let authority, daemon, id, other, shared, token;

async function start(access) {
    const { id: made } = await daemon.create({ egress: 'none', access });
    await daemon.write(made, 'server.js', SERVER);
    await daemon.devServer(made, { command: 'node server.js', port: 3000 });
    return made;
}

const share = (of = id, body = {}) => daemon.ok('POST', `/v1/sandboxes/${of}/preview-tokens`, { body });
const revoke = (of = id) => daemon.ok('DELETE', `/v1/sandboxes/${of}/preview-tokens`);
const setAccess = (access, of = id) => daemon.ok('PATCH', `/v1/sandboxes/${of}`, { body: { access } });

before(async () => {
    authority = new Authority();
    const pair = authority.issue('main', ['preview.localhost', '*.preview.localhost']);
    daemon = await Instance.start({ proxy: { domain: 'preview.localhost', frame_origins: '*' }, tls: { certificate: pair.certificate, key: pair.key } });
    [id, other] = [await start('private'), await start('private')];
    shared = (await share(other)).token;
});
after(async () => {
    await daemon?.stop();
    authority?.remove();
});
beforeEach(async () => { ({ token } = await share()); });

const host = (of, port, secure) => `${port ? `${port}-` : ''}${of}.preview.localhost:${secure ? daemon.proxyTlsPort : daemon.proxyPort}`;

// {status, headers, body} of a preview.
function get(url, { of = id, port, secure = false, method = 'GET', headers = {}, body } = {}) {
    return new Promise((resolve, reject) => {
        const options = { host: '127.0.0.1', port: secure ? daemon.proxyTlsPort : daemon.proxyPort, agent: false, method, path: url,
            headers: { host: host(of, port, secure), ...headers }, servername: `${of}.preview.localhost`, ca: authority.pem };
        (secure ? https : http).request(options, (response) => {
            const chunks = [];
            response.on('data', (data) => chunks.push(data)).on('error', reject)
                .on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() }));
        }).on('error', reject).end(body);
    });
}
const cookieOf = ({ headers }) => headers['set-cookie'][0].split(';')[0];
const status = async (...args) => (await get(...args)).status;

function socket(url, { of = id, secure = false, headers = {} } = {}) {
    const ws = new WebSocket(`${secure ? 'wss' : 'ws'}://127.0.0.1:${secure ? daemon.proxyTlsPort : daemon.proxyPort}${url}`,
        { headers: { host: host(of, 0, secure), ...headers }, servername: `${of}.preview.localhost`, ca: authority.pem });
    ws.on('error', () => {});
    return ws;
}
const refusedSocket = async (...args) => (await once(socket(...args), 'unexpected-response'))[1].statusCode;

// What must happen soon, without anybody asking.
function soon(what, promise) {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), 10000 * slow); });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Everything that a dev server was told since it began, and what it has logged of it.
async function told(of = id) {
    const { token: fresh } = await share(of);
    const { body } = await get('/seen', { of, headers: { 'x-auracode-token': fresh } });
    const logs = (await daemon.api('GET', `/v1/sandboxes/${of}/logs`, { raw: true })).body.toString();
    return { seen: JSON.parse(body), text: body + logs };
}

test('without a token there is a page for people and JSON for programs, and the dev server is asked nothing', async () => {
    const before = (await told()).seen.length;
    const page = await get('/', { headers: HTML });
    assert.equal(page.status, 401);
    assert.match(page.headers['content-type'], /text\/html/);
    assert.match(page.headers['www-authenticate'], /^Bearer/);
    assert.equal(page.headers['referrer-policy'], 'no-referrer');
    assert.equal(page.headers['cache-control'], 'no-store');
    assert.match(page.body, /This preview is private/);
    const json = await get('/', { headers: { accept: 'application/json' } });
    assert.equal(json.status, 401);
    assert.equal(JSON.parse(json.body).error.code, 'token_missing');
    for (const [url, options] of [['/', { method: 'POST', body: 'x' }], ['/.auracode/status', {}], ['/', { port: 3001 }], ['/', { secure: true }],
        [`/p/${id}/3000/`, { headers: { host: `127.0.0.1:${daemon.proxyPort}` } }]])
        assert.equal(await status(url, options), 401, url);
    assert.equal(await refusedSocket('/socket'), 401);
    assert.equal((await told()).seen.length, before);
});

test('a wrong, expired, revoked or another sandbox\'s token is refused, wherever it stands', async () => {
    const { token: early } = await share();
    await revoke();
    ({ token } = await share());
    const { token: brief } = await share(id, { expires_in_s: 1 });
    await until('the new one opens', async () => await status('/', { headers: { 'x-auracode-token': token } }) === 200);
    await until('the brief one has expired', async () => await status('/', { headers: { 'x-auracode-token': brief } }) === 403);
    const forged = token.slice(0, -64) + createHmac('sha256', '0'.repeat(64)).update(token.slice(0, -64)).digest('hex');
    const later = token.slice(0, 15) + 'f' + token.slice(16);
    for (const bad of [early, brief, shared, forged, later, token.slice(0, -1), `${token}0`, token.toUpperCase(), 'x', '']) {
        for (const headers of [{ 'x-auracode-token': bad }, { cookie: `auracode_token_${id}=${bad}` }])
            assert.equal(await status('/', { headers }), 403, `${JSON.stringify(headers)}`);
        const answer = await get(`/?auracode_token=${bad}`, { headers: HTML });
        assert.equal(answer.status, 403, bad);
        assert.match(answer.body, /revoked/);
        assert.equal(answer.headers['set-cookie'], undefined);
    }
    assert.equal(await status('/', { headers: { authorization: `Bearer ${shared}` } }), 403);
    assert.equal(await refusedSocket(`/socket?auracode_token=${shared}`), 403);
    const json = await get(`/?auracode_token=${shared}`);
    assert.equal(JSON.parse(json.body).error.code, 'token_refused');
});

test('a token in the query becomes a cookie, by a redirect to the same place without it', async () => {
    for (const [asked, location] of [
        ['/a?auracode_token=T', '/a'], ['/a?x=1&auracode_token=T&y=2', '/a?x=1&y=2'], ['/a?auracode_token=T&y', '/a?y'],
        ['/a?&&auracode_token=T', '/a?&&'.replace(/&$/, '')], ['//evil.example/?auracode_token=T', '/.//evil.example/'],
        ['/\\evil.example/?auracode_token=T', '/./\\evil.example/'],
    ]) {
        const answer = await get(asked.replace('T', token));
        assert.equal(answer.status, 302, asked);
        assert.equal(answer.headers.location, location);
        assert.equal(new URL(answer.headers.location, `http://${host(id)}`).host, host(id));
        assert.equal(answer.headers['cache-control'], 'no-store');
        assert.equal(answer.headers['referrer-policy'], 'no-referrer');
        assert.equal(answer.body, '');
    }
    const clear = (await get(`/?auracode_token=${token}`)).headers['set-cookie'][0];
    assert.match(clear, new RegExp(`^auracode_token_${id}=${token}; Path=/; Max-Age=\\d+; HttpOnly; SameSite=None; Secure; Partitioned$`));
    const secure = (await get(`/?auracode_token=${token}`, { secure: true })).headers['set-cookie'][0];
    assert.match(secure, new RegExp(`^__Host-auracode_token_${id}=${token}; Path=/; Max-Age=\\d+; HttpOnly; SameSite=None; Secure; Partitioned$`));
    assert.ok(Math.abs(Number(secure.match(/Max-Age=(\d+)/)[1]) - 3600) <= 60);
});

test('cookie, header and bearer open pages, WebSockets, other ports and the path form', async () => {
    const ways = [{ cookie: cookieOf(await get(`/?auracode_token=${token}`)) }, { 'x-auracode-token': token }, { authorization: `Bearer ${token}` },
        // a sibling may have put others before it
        { cookie: `auracode_token_${id}=x; a=b; auracode_token_${other}=${shared}; auracode_token_${id}=${token}` }];
    for (const headers of ways) {
        assert.equal((await get('/x', { headers })).body, '3000 GET /x');
        assert.equal((await get('/x', { headers, method: 'POST', body: 'data' })).body, '3000 POST /x');
        assert.equal((await get('/x', { headers, port: 3001 })).body, '3001 GET /x');
        assert.equal((await get(`/p/${id}/3001/x`, { headers: { ...headers, host: `127.0.0.1:${daemon.proxyPort}` } })).body, '3001 GET /x');
        const ws = socket('/socket', { headers });
        await once(ws, 'open');
        ws.terminate();
    }
    const cookie = cookieOf(await get(`/?auracode_token=${token}`, { secure: true }));
    assert.equal((await get('/x', { headers: { cookie }, secure: true })).body, '3000 GET /x');
    assert.equal(await status('/x', { headers: { cookie: `auracode_token_${id}=${token}` }, secure: true }), 401, 'a sibling could have set it');
});

test('a token in the query opens a WebSocket and a POST as it is, and is taken out', async () => {
    for (const secure of [false, true]) {
        const ws = socket(`/socket?a=1&auracode_token=${token}&b=2`, { secure });
        await once(ws, 'open');
        ws.terminate();
    }
    assert.equal((await get(`/x?auracode_token=${token}&b`, { method: 'POST', body: 'x' })).body, '3000 POST /x?b');
    assert.ok((await told()).seen.some(([, url]) => url === '/socket?a=1&b=2'));
});

test('over HTTP/2 it is the same', async () => {
    const session = http2.connect(`https://${host(id, 0, true)}`, { host: '127.0.0.1', servername: `${id}.preview.localhost`, ca: authority.pem,
        lookup: (name, o, done) => o.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4) });
    await once(session, 'remoteSettings');
    const ask = async (path, headers = {}, end = true) => {
        const stream = session.request({ ':path': path, ...headers }, { endStream: end });
        const [answer] = await once(stream, 'response');
        return { stream, status: answer[':status'], headers: answer };
    };
    assert.equal((await ask('/x')).status, 401);
    const redirect = await ask(`/x?auracode_token=${token}`);
    assert.equal(redirect.status, 302);
    const cookie = cookieOf(redirect);
    assert.match(cookie, /^__Host-auracode_token_/);
    assert.equal((await ask('/x', { cookie })).status, 200);
    const connect = { ':method': 'CONNECT', ':protocol': 'websocket', 'sec-websocket-version': '13' };
    assert.equal((await ask('/socket', connect, false)).status, 401);
    const { status: opened, stream } = await ask(`/socket?auracode_token=${token}`, connect, false);
    assert.equal(opened, 200);
    stream.on('error', () => {});
    const closed = new Promise((resolve) => stream.once('close', resolve));
    await revoke();
    await soon('what was open is closed', closed);
    assert.equal((await ask('/x', { cookie })).status, 403);
    session.destroy();
});

test('a revocation, the end of a token and a change of access close what is open, and nothing else', async () => {
    const neighbour = socket('/socket', { of: other, headers: { 'x-auracode-token': shared } });
    await once(neighbour, 'open');
    const openBoth = async (of, headers) => {
        const ws = socket('/socket', { of, headers });
        await once(ws, 'open');
        const stream = http.get({ host: '127.0.0.1', port: daemon.proxyPort, path: '/stream', headers: { host: host(of), ...headers } });
        stream.on('error', () => {});
        const [response] = await once(stream, 'response');
        response.on('error', () => {});
        await once(response, 'data');
        response.resume();
        const closed = Promise.all([new Promise((resolve) => ws.once('close', resolve)), new Promise((resolve) => response.once('close', resolve))]);
        return { closed }; // not awaited here
    };
    const silent = get('/silent', { headers: { 'x-auracode-token': token } });
    await until('it waits for an answer', async () => (await told()).seen.some(([, url]) => url === '/silent'));
    let { closed } = await openBoth(id, { 'x-auracode-token': token });
    await revoke();
    await soon('what was open is closed', closed);
    assert.equal(await status('/', { headers: { 'x-auracode-token': token } }), 403);
    assert.equal(JSON.parse((await soon('who waits is told', silent)).body).error.code, 'token_refused');

    const { token: brief, expires_at: end } = await share(id, { expires_in_s: 2 });
    ({ closed } = await openBoth(id, { 'x-auracode-token': brief }));
    await soon('what was open is closed', closed);
    assert.ok(Date.now() >= end - 50, 'not before its time');

    await setAccess('public');
    await until('it is public', async () => await status('/') === 200);
    ({ closed } = await openBoth(id, {}));
    assert.equal((await setAccess('private')).access, 'private');
    await soon('what was open is closed', closed);
    assert.equal(await status('/'), 401);
    assert.equal(neighbour.readyState, WebSocket.OPEN);
    neighbour.terminate();
});

test('the dev server never sees a token: not in URLs, headers or its log, while all else passes', async () => {
    const cookie = `a=1; auracode_token_${id}=${token};b="2" ; __Host-auracode_token_${id}=${token}; auracode_token=3`;
    await get('/all?keep=1', { headers: { cookie, 'x-auracode-token': token, authorization: `Bearer ${token}`, referer: `http://${host(id)}/?auracode_token=${token}` } });
    await get('/only', { headers: { cookie: `auracode_token_${id}=${token}` } });
    await get('/basic', { headers: { 'x-auracode-token': token, authorization: 'Bearer of.another.kind', referer: `http://${host(id)}/from?x` } });
    await get(`/post?auracode_token=${token}`, { method: 'PUT', body: 'x' });
    const { seen, text } = await told();
    const headersOf = (url) => seen.findLast(([, asked]) => asked === url)[2].reduce((all, value, i, list) =>
        i % 2 ? all : { ...all, [value.toLowerCase()]: list[i + 1] }, {});
    const all = headersOf('/all?keep=1');
    assert.equal(all.cookie, 'a=1;b="2" ; auracode_token=3');
    assert.equal(all.authorization ?? all['x-auracode-token'] ?? all.referer, undefined);
    assert.equal(headersOf('/only').cookie, undefined);
    assert.equal(headersOf('/basic').authorization, 'Bearer of.another.kind');
    assert.equal(headersOf('/basic').referer, 'http://localhost:3000/from?x');
    assert.ok(seen.some(([method, url]) => method === 'PUT' && url === '/post'));
    assert.doesNotMatch(text, /pt_[a-z2-7]{12}/);
});

test('a dev server can set any cookie but ours', async () => {
    const { headers } = await get('/set', { headers: { 'x-auracode-token': token } });
    assert.deepEqual(headers['set-cookie'], ['own=1; Path=/', 'auracode=1']);
});

test('preflights between two ports of one sandbox are answered, those of strangers are not', async () => {
    const ask = (origin, more = {}) => get('/api', { method: 'OPTIONS', port: 3001, headers: {
        origin, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'content-type', ...more } });
    const before = (await told()).seen.length;
    for (const origin of [`http://${host(id)}`, `http://${host(id, 4000)}`]) {
        const { status: code, headers } = await ask(origin);
        assert.equal(code, 204);
        assert.equal(headers['access-control-allow-origin'], origin);
        assert.equal(headers['access-control-allow-methods'], 'PUT');
        assert.equal(headers['access-control-allow-headers'], 'content-type');
        assert.equal(headers['access-control-allow-credentials'], 'true');
    }
    for (const origin of [`http://${host(other)}`, 'http://localhost:3000', 'https://evil.example', 'null', `https://${host(id, 0, true)}`])
        assert.equal((await ask(origin)).status, 401, origin);
    assert.equal((await ask(`http://${host(id)}`, { 'access-control-request-method': '' })).status, 401);
    assert.equal((await told()).seen.length, before);
});

test('a sandbox that is not there is answered as ever', async () => {
    for (const headers of [{}, { 'x-auracode-token': token }, { cookie: `auracode_token_aaaaaaaaaaaa=${token}` }]) {
        const { status: code, body } = await get(`/?auracode_token=${token}`, { of: 'aaaaaaaaaaaa', headers });
        assert.equal(code, 404);
        assert.equal(JSON.parse(body).error.code, 'sandbox_not_found');
    }
});

test('a public sandbox needs none, and keeps one out of its URL all the same', async () => {
    await setAccess('public', other);
    await until('it is public', async () => await status('/x', { of: other }) === 200);
    const answer = await get('/x?auracode_token=nonsense&b=1', { of: other });
    assert.equal(`${answer.status} ${answer.headers.location} ${answer.headers['set-cookie']}`, '302 /x?b=1 undefined');
    assert.equal((await get('/x', { of: other, headers: { cookie: `auracode_token_${other}=x` } })).body, '3000 GET /x');
    await setAccess('private', other);
});

test('the API says what it takes, and who may', async () => {
    const url = `/v1/sandboxes/${id}/preview-tokens`;
    const made = await share(id, { expires_in_s: 60, port: 3001 });
    assert.equal(made.token.length, 103);
    assert.ok(Math.abs(made.expires_at - Date.now() - 60000) < 5000);
    assert.equal(made.url, `https://${host(id, 3001, true)}/?auracode_token=${made.token}`);
    for (const [body, field] of [[{ expires_in_s: 0 }, 'expires_in_s'], [{ expires_in_s: 2592001 }, 'expires_in_s'], [{ port: 65536 }, 'port'], [{ x: 1 }, 'x']]) {
        const { status: code, message } = await daemon.refused('POST', url, { body });
        assert.equal(code, 400);
        assert.match(message, new RegExp(field));
    }
    assert.match((await daemon.refused('PATCH', `/v1/sandboxes/${id}`, { body: { access: 'secret' } })).message, /access.*"public", "private"/);
    assert.equal((await daemon.refused('POST', '/v1/sandboxes/aaaaaaaaaaaa/preview-tokens', { body: {} })).status, 404);
    const sandbox = await daemon.ok('GET', `/v1/sandboxes/${id}`);
    assert.equal(`${sandbox.access} ${sandbox.access_epoch}`, 'private undefined');
    const key = async (name, scope) => (await daemon.ok('POST', '/v1/tokens', { body: { name, scopes: [scope] } })).token;
    const at = { host: '127.0.0.1', port: daemon.apiPort };
    const [stranger, reader] = [await key('stranger', 'sandboxes'), await key('reader', 'read')];
    for (const method of ['POST', 'DELETE']) {
        const headers = { authorization: `Bearer ${stranger}` };
        assert.equal((await daemon.refused(method, url, { host: at, headers, ...(method === 'POST' && { body: {} }) })).status, 404);
        assert.equal((await daemon.refused(method, url, { host: at, headers: { authorization: `Bearer ${reader}` }, ...(method === 'POST' && { body: {} }) })).status, 403);
    }
    assert.equal(await status('/', { headers: { 'x-auracode-token': token } }), 200, 'nobody has revoked it');
});

test('the command line shares, ends sharing and changes who may', async () => {
    const cli = (...args) => run(daemon.program('auracode'), ['--socket', daemon.socket, ...args]);
    const url = (await cli('share', id, '--expires', '2m')).stdout.trim();
    const { searchParams } = new URL(url);
    const headers = { 'x-auracode-token': searchParams.get('auracode_token') };
    assert.equal(await status('/', { headers }), 200);
    assert.equal((await cli('unshare', id)).code, 0);
    await until('it is refused', async () => await status('/', { headers }) === 403);
    assert.match((await cli('set', id, '--access', 'private')).stdout, /access: private/);
    assert.match((await cli('help', 'share')).stdout, /--expires TIME/);
    assert.match((await cli('set', id, '--access', 'nobody')).stderr, /"public", "private"/);
});

test('up prints a URL that opens the private preview that it made', async () => {
    const { code, stdout, stderr } = await daemon.cli(['up', '--access', 'private', '--json'], { timeout: 120000 * slow });
    assert.equal(code, 0, stderr);
    const { sandbox, share: { url } } = JSON.parse(stdout);
    const secure = url.startsWith('https:');
    assert.equal(await status('/', { of: sandbox.id, secure, headers: HTML }), 401);
    assert.equal(await status(`/${new URL(url).search}`, { of: sandbox.id, secure, headers: HTML }), 302);
    await daemon.remove(sandbox.id);
});

test('key, epoch and access outlive the daemon and its programs', async () => {
    assert.equal(fs.statSync(path.join(daemon.stateDir, 'preview-key.json')).mode & 0o777, 0o600);
    const { token: before } = await share();
    await revoke();
    ({ token } = await share());
    process.kill(daemon.hostProgram('auracode-proxy'), 'SIGKILL');
    await daemon.killDaemon();
    await daemon.startDaemon();
    await until('previews are served', async () => await status('/', { headers: { 'x-auracode-token': token } }).catch(() => 0) === 200);
    assert.equal(await status('/', { headers: { 'x-auracode-token': before } }), 403);
    assert.equal(await status('/'), 401);
});

test('in Chromium, a frame of another site opens with the link, WebSocket and picture included, and closes when it is revoked', async () => {
    const browser = await openBrowser({ ignoreHTTPSErrors: true });
    let framed;
    const chat = http.createServer((request, response) => {
        response.setHeader('content-type', 'text/html');
        response.end(`<!doctype html><title>chat</title><iframe src="${framed}"></iframe>`);
    });
    await new Promise((resolve) => chat.listen(0, '127.0.0.1', resolve));
    try {
        for (const secure of [false, true]) {
            const origin = `${secure ? 'https' : 'http'}://${host(id, 0, secure)}`;
            const { token: link } = await share();
            framed = `${origin}/page?auracode_token=${link}`;
            const page = await browser.context.newPage();
            await page.goto(`http://localhost:${chat.address().port}`, { waitUntil: 'load' });
            const frame = page.frames()[1];
            assert.equal(frame.url(), `${origin}/page`);
            assert.equal(await frame.locator('#shown').textContent(), 'the preview');
            await frame.locator('#ws', { hasText: 'open' }).waitFor();
            assert.equal(await frame.evaluate(() => document.cookie), '', 'pages cannot read it');
            assert.equal(await frame.evaluate(() => document.referrer.includes('auracode_token')), false);
            await revoke();
            await frame.locator('#ws', { hasText: 'closed' }).waitFor();
            await page.reload({ waitUntil: 'load' });
            assert.match(await page.frames()[1].locator('h1').textContent(), /private/);
            await page.close();
        }
        // fetch across two ports of the project: with credentials, once both were opened with the link
        const { token: link } = await share();
        const page = await browser.context.newPage();
        for (const port of [3001, 0])
            await page.goto(`http://${host(id, port)}/page?auracode_token=${link}`);
        const put = (credentials) => page.evaluate(async ([url, mode]) => {
            const answer = await fetch(url, { method: 'PUT', credentials: mode, body: 'x' }).catch(() => null);
            return answer && answer.text();
        }, [`http://${host(id, 3001)}/api`, credentials]);
        assert.equal(await put('include'), '3001 PUT /api');
        assert.equal(await put('omit'), null);
        await page.close();
    } finally {
        await browser.close();
        chat.close();
    }
    assert.doesNotMatch((await told()).text, /pt_[a-z2-7]{12}/);
});
