// HTTP/2 towards browsers: requests, bodies, WebSockets over streams, and what a hostile client may try.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http2 from 'node:http2';
import { after, before, test } from 'node:test';
import { Authority, replace } from './certificates.mjs';
import { CODE, Connection, END_HEADERS, END_STREAM, TYPE, block, frame, headers, indexed, reference } from './h2-frames.mjs';
import { Instance, once, until } from './harness.mjs';

const SERVER = `
    const { createServer } = require('http'), { createHash } = require('crypto');
    const seen = [];
    createServer((q, r) => {
        if (q.url === '/seen') return r.end(JSON.stringify(seen));
        seen.push(q.method + ' ' + q.url);
        if (q.url === '/headers') return r.end(JSON.stringify(q.rawHeaders));
        if (q.url.startsWith('/zeros/')) return r.end(Buffer.alloc(Number(q.url.slice(7))));
        if (q.url.startsWith('/known/')) { const n = Number(q.url.slice(7)); r.setHeader('content-length', n); return r.end(Buffer.alloc(n)); }
        if (q.url === '/hints') { r.writeEarlyHints({ link: '</a.css>; rel=preload' }); return r.end('hinted'); }
        if (q.url === '/trailers') { r.writeHead(200, { trailer: 'x-sum' }); r.write('body'); r.addTrailers({ 'X-Sum': '42' }); return r.end(); }
        if (q.url === '/silent') return setTimeout(() => r.end('late'), 1500);
        if (q.url === '/cut') { r.writeHead(200, { 'content-length': 100 }); r.write('part'); return setImmediate(() => q.socket.destroy()); }
        if (q.url === '/empty') { r.writeHead(204); return r.end(); }
        if (q.url === '/early') { r.writeHead(413); return r.end('too much'); }
        if (q.url === '/sum') { let n = 0; q.on('data', (d) => n += d.length).on('end', () => r.end(n + ' ' + JSON.stringify(q.trailers) + ' ' + (q.headers['transfer-encoding'] ?? q.headers['content-length']))); return; }
        r.end('hello ' + q.url);
    }).on('upgrade', (q, c) => {
        const accept = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
        c.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
        c.on('data', (d) => c.write(d)).on('end', () => c.end()).on('error', () => {});
    }).listen(3000, '127.0.0.1');`;

let authority, daemon, id, pair, session;

before(async () => {
    authority = new Authority();
    pair = authority.issue('main', ['preview.localhost', '*.preview.localhost']);
    daemon = await Instance.start({ proxy: { domain: 'preview.localhost' }, tls: { certificate: pair.certificate, key: pair.key } });
    ({ id } = await daemon.create({ egress: 'none' }));
    await daemon.write(id, 'server.js', SERVER);
    await daemon.devServer(id, { command: 'node server.js', port: 3000 });
    session = await connect();
});
after(async () => {
    session?.destroy();
    await daemon?.stop();
    authority?.remove();
});

const name = () => `${id}.preview.localhost`;
const target = () => ({ host: '127.0.0.1', port: daemon.proxyTlsPort, servername: name(), ca: authority.pem });

async function connect(options = {}) {
    const opened = http2.connect(`https://${name()}:${daemon.proxyTlsPort}`, { ...target(), ...options, lookup: (host, o, done) =>
        o.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4) });
    opened.on('error', () => {});
    await once(opened, 'remoteSettings');
    return opened;
}

// {status, headers, body, trailers, interim}; rejects when the stream is reset.
function request(path, { method = 'GET', headers: more = {}, body, over = session, trailers } = {}) {
    return new Promise((resolve, reject) => {
        const stream = over.request({ ':method': method, ':path': path, ...more }, { waitForTrailers: trailers !== undefined, endStream: body === undefined && !trailers });
        const chunks = [], interim = [];
        let answer, tail;
        stream.on('headers', (h) => interim.push(h)).on('response', (h) => { answer = h; }).on('trailers', (h) => { tail = h; });
        if (trailers) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
        // Answered and told to send no more (NO_ERROR) in the middle of a write, Node's stream waits for good.
        stream.on('end', () => setImmediate(() => stream.writableFinished || stream.destroy()));
        stream.on('data', (data) => chunks.push(data)).on('error', reject).on('close', () => answer ? resolve({
            status: answer[':status'], headers: answer, body: Buffer.concat(chunks), trailers: tail, interim, code: stream.rstCode,
        }) : reject(new Error(`no answer (${stream.rstCode})`)));
        if (body !== undefined) stream.end(body);
        else if (trailers) stream.end();
    });
}

const text = async (...args) => (await request(...args)).body.toString();

// Name and value of each field that the dev server got.
async function fieldsOf(more) {
    const raw = JSON.parse(await text('/headers', { headers: more }));
    return raw.flatMap((value, i) => i % 2 ? [] : [[value.toLowerCase(), raw[i + 1]]]);
}

test('ALPN settles on h2, and requests are answered side by side', async () => {
    assert.equal(session.alpnProtocol, 'h2');
    const paths = Array.from({ length: 200 }, (_, i) => `/page/${i}`);
    assert.deepEqual(await Promise.all(paths.map((path) => text(path))), paths.map((path) => `hello ${path}`));
});

test('the dev server gets HTTP/1.1 as from any browser', async () => {
    const fields = await fieldsOf({ cookie: ['a=1', 'b=2', 'c=3'], 'x-mixed': 'Value', te: 'trailers', origin: `https://${name()}:${daemon.proxyTlsPort}` });
    const get = (wanted) => fields.filter(([field]) => field === wanted).map(([, value]) => value);
    assert.deepEqual(get('host'), ['localhost:3000']);
    assert.deepEqual(get('cookie'), ['a=1; b=2; c=3']);
    assert.deepEqual(get('x-mixed'), ['Value']);
    assert.deepEqual(get('x-forwarded-proto'), ['https']);
    assert.deepEqual(get('origin'), ['http://localhost:3000']);
    for (const hop of ['te', 'transfer-encoding', 'upgrade']) assert.deepEqual(get(hop), []);
    assert.ok(!fields.some(([field]) => field.startsWith(':')));
});

test('no field of the HTTP/1.1 connection reaches the browser', async () => {
    const { headers: got } = await request('/zeros/10');
    for (const field of ['connection', 'keep-alive', 'transfer-encoding', 'upgrade']) assert.equal(got[field], undefined);
});

test('bodies of many sizes pass whole, both ways, with and without a length', async () => {
    for (const size of [0, 1, 16383, 16384, 16385, 65535, 65536, 100000, 5000000]) {
        assert.equal((await request(`/zeros/${size}`)).body.length, size);
        assert.equal((await request(`/known/${size}`)).body.length, size);
        const body = Buffer.alloc(size);
        assert.equal(await text('/sum', { method: 'POST', body }), `${size} {} chunked`);
        assert.equal(await text('/sum', { method: 'POST', body, headers: { 'content-length': size } }), `${size} {} ${size}`);
    }
});

test('trailers pass both ways', async () => {
    const down = await request('/trailers');
    assert.equal(down.body.toString(), 'body');
    assert.equal(down.trailers['x-sum'], '42');
    assert.match(await text('/sum', { method: 'POST', trailers: { 'x-end': 'yes' } }), /^0 {"x-end":"yes"} chunked/);
});

test('HEAD, 204, 103 and a refusal before the body has come', async () => {
    const head = await request('/known/1000', { method: 'HEAD' });
    assert.equal(`${head.status} ${head.headers['content-length']} ${head.body.length}`, '200 1000 0');
    assert.equal((await request('/empty')).status, 204);
    const hinted = await request('/hints');
    assert.deepEqual(hinted.interim.map((h) => h[':status']), [103]);
    assert.equal(hinted.body.toString(), 'hinted');
    const early = await request('/early', { method: 'POST', body: Buffer.alloc(3000000) });
    assert.equal(early.status, 413);
    assert.equal(await text('/after'), 'hello /after');
});

test('a response that the dev server cuts off is not taken for whole', async () => {
    await assert.rejects(request('/cut'), /INTERNAL_ERROR|code 2/);
    assert.equal(await text('/after-cut'), 'hello /after-cut');
});

test('a stream that reads nothing stops neither the others nor grows us', async () => {
    const slow = await connect({ settings: { initialWindowSize: 0 } });
    const stuck = slow.request({ ':path': '/zeros/50000000' });
    stuck.on('error', () => {});
    await once(stuck, 'response');
    for (let i = 0; i < 20; i++) assert.equal(await text(`/beside/${i}`), `hello /beside/${i}`);
    const rss = Number(fs.readFileSync(`/proc/${daemon.hostProgram('auracode-proxy')}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]);
    assert.ok(rss < 300000, `${rss} KiB`);
    slow.destroy();
});

test('an upload that the dev server does not read stops at the window', async () => {
    const stream = session.request({ ':method': 'POST', ':path': '/silent' });
    let sent = 0;
    for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(65536), () => { sent += 65536; });
    const [answer] = await once(stream, 'response');
    assert.equal(answer[':status'], 200);
    assert.ok(sent < 100 * 65536);
    stream.on('error', () => {});
    stream.close(CODE.CANCEL);
});

test('one stream\'s cancellation closes its request and nothing else', async () => {
    const stream = session.request({ ':path': '/silent' });
    stream.on('error', () => {});
    const other = text('/silent');
    stream.close(CODE.CANCEL);
    await once(stream, 'close');
    assert.equal(await other, 'late');
});

test('a WebSocket takes a stream (RFC 8441)', async () => {
    assert.equal(session.remoteSettings.enableConnectProtocol, true);
    const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws', 'sec-websocket-version': '13', origin: `https://${name()}` });
    const [answer] = await once(stream, 'response');
    assert.equal(answer[':status'], 200);
    assert.equal(answer['sec-websocket-accept'], undefined);
    for (const size of [1, 1000, 200000]) {
        let got = 0;
        stream.write(Buffer.alloc(size));
        while (got < size) got += (await once(stream, 'data'))[0].length;
        assert.equal(got, size);
    }
    stream.end();
    await once(stream, 'close');
    assert.equal(stream.rstCode, 0);
    assert.equal(await text('/after-ws'), 'hello /after-ws');
});

test('an open stream lives on over a renewal of the certificate', async () => {
    const open = text('/silent');
    const renewed = authority.issue('renewed', ['preview.localhost', '*.preview.localhost']);
    replace(pair, renewed);
    process.kill(daemon.pid, 'SIGHUP');
    await until('a new connection gets it', async () => {
        const fresh = await connect();
        const serial = parseInt(fresh.socket.getPeerCertificate().serialNumber, 16);
        fresh.destroy();
        return serial === renewed.serial;
    });
    assert.equal(await open, 'late');
    assert.equal(await text('/old-connection'), 'hello /old-connection');
});

// ---- what no honest client says: each request, and what becomes of its stream

const pseudo = (change = {}) => Object.entries({ ':method': 'GET', ':scheme': 'https', ':authority': name(), ':path': '/hidden', ...change }).filter(([, value]) => value !== undefined);
const MALFORMED = { reset: CODE.PROTOCOL_ERROR };
const CASES = [
    ['CR LF in a value', () => [...pseudo(), ['x-a', 'b\r\nx-smuggled: c']], MALFORMED],
    ['LF in a value', () => [...pseudo(), ['x-a', 'b\nc']], MALFORMED],
    ['NUL in a value', () => [...pseudo(), ['x-a', 'b\0c']], MALFORMED],
    ['a space before a value', () => [...pseudo(), ['x-a', ' b']], MALFORMED],
    ['CR LF in a name', () => [...pseudo(), ['x-a\r\nx-smuggled', 'b']], MALFORMED],
    ['a colon in a name', () => [...pseudo(), ['x-a:', 'b']], MALFORMED],
    ['a space in a name', () => [...pseudo(), ['x a', 'b']], MALFORMED],
    ['an empty name', () => [...pseudo(), ['', 'b']], MALFORMED],
    ['capitals in a name', () => [...pseudo(), ['X-A', 'b']], MALFORMED],
    ['Transfer-Encoding', () => [...pseudo({ ':method': 'POST' }), ['transfer-encoding', 'chunked']], MALFORMED],
    ['Connection', () => [...pseudo(), ['connection', 'close']], MALFORMED],
    ['Keep-Alive', () => [...pseudo(), ['keep-alive', '1']], MALFORMED],
    ['Proxy-Connection', () => [...pseudo(), ['proxy-connection', 'x']], MALFORMED],
    ['Upgrade', () => [...pseudo(), ['upgrade', 'websocket']], MALFORMED],
    ['TE: gzip', () => [...pseudo(), ['te', 'gzip']], MALFORMED],
    ['a space in :path', () => pseudo({ ':path': '/a HTTP/1.1' }), MALFORMED],
    ['CR LF in :path', () => pseudo({ ':path': '/ HTTP/1.1\r\nx: y' }), MALFORMED],
    ['a :path without a slash', () => pseudo({ ':path': 'hidden' }), MALFORMED],
    ['an empty :path', () => pseudo({ ':path': '' }), MALFORMED],
    ['an absolute :path', () => pseudo({ ':path': 'https://other/hidden' }), MALFORMED],
    ['a fragment in :path', () => pseudo({ ':path': '/a#b' }), { status: 400 }],
    ['* as :path of GET', () => pseudo({ ':path': '*' }), MALFORMED],
    ['CR LF in :method', () => pseudo({ ':method': 'GET / HTTP/1.1\r\nx: y\r\n' }), MALFORMED],
    ['a space in :method', () => pseudo({ ':method': 'GET /' }), MALFORMED],
    ['CR LF in :authority', () => pseudo({ ':authority': `${name()}\r\nx: y` }), MALFORMED],
    ['a space in :authority', () => pseudo({ ':authority': `${name()} x` }), MALFORMED],
    ['user information in :authority', () => pseudo({ ':authority': `user@${name()}` }), { status: 400 }],
    [':scheme http', () => pseudo({ ':scheme': 'http' }), MALFORMED],
    ['CR LF in :scheme', () => pseudo({ ':scheme': 'https\r\n' }), MALFORMED],
    ['no :method', () => pseudo({ ':method': undefined }), MALFORMED],
    ['no :scheme', () => pseudo({ ':scheme': undefined }), MALFORMED],
    ['no :path', () => pseudo({ ':path': undefined }), MALFORMED],
    ['no host at all', () => pseudo({ ':authority': undefined }), MALFORMED],
    ['two :path', () => [...pseudo(), [':path', '/other']], MALFORMED],
    ['two :method', () => [[':method', 'POST'], ...pseudo()], MALFORMED],
    ['an unknown pseudo-header', () => [...pseudo(), [':extra', 'x']], MALFORMED],
    [':status in a request', () => [[':status', '200'], ...pseudo()], MALFORMED],
    ['a pseudo-header behind a field', () => [['x-a', 'b'], ...pseudo()], MALFORMED],
    ['another Host than :authority', () => [...pseudo(), ['host', 'other.preview.localhost']], MALFORMED],
    ['two Host', () => [...pseudo({ ':authority': undefined }), ['host', name()], ['host', name()]], MALFORMED],
    ['CONNECT', () => [[':method', 'CONNECT'], [':authority', name()]], { status: 405 }],
    ['TRACE', () => pseudo({ ':method': 'TRACE' }), { status: 405 }],
    ['a protocol that is none of ours', () => [...pseudo({ ':method': 'CONNECT' }), [':protocol', 'connect-udp']], { status: 501 }, END_HEADERS],
    [':protocol without CONNECT', () => [...pseudo(), [':protocol', 'websocket']], MALFORMED],
    ['a WebSocket that ends with its headers', () => [...pseudo({ ':method': 'CONNECT' }), [':protocol', 'websocket']], MALFORMED],
    ['a WebSocket with a length', () => [...pseudo({ ':method': 'CONNECT' }), [':protocol', 'websocket'], ['content-length', '5']], MALFORMED, END_HEADERS],
    ['Content-Length that is no number', () => [...pseudo({ ':method': 'POST' }), ['content-length', '1x']], MALFORMED, END_HEADERS],
    ['Content-Length with a sign', () => [...pseudo({ ':method': 'POST' }), ['content-length', '+1']], MALFORMED, END_HEADERS],
    ['two Content-Length', () => [...pseudo({ ':method': 'POST' }), ['content-length', '1'], ['content-length', '2']], MALFORMED, END_HEADERS],
    ['Content-Length without a body', () => [...pseudo({ ':method': 'POST' }), ['content-length', '5']], MALFORMED],
    ['a head of more than 64 KiB', () => [...pseudo(), ...Array.from({ length: 20 }, (_, i) => [`x-${i}`, 'v'.repeat(4000)])], { status: 431 }, END_STREAM],
    ['more fields than 256', () => [...pseudo(), ...Array.from({ length: 300 }, (_, i) => [`x-${i}`, 'v'])], { status: 431 }],
    ['a :path of more than 16 KiB', () => pseudo({ ':path': `/${'p'.repeat(17000)}` }), { status: 414 }],
];

// Header blocks of more than a frame go on in CONTINUATION frames.
function sendHeaders(connection, stream, fields, flags = END_STREAM | END_HEADERS) {
    const bytes = block(fields), parts = [];
    for (let at = 0; at === 0 || at < bytes.length; at += 16384) parts.push(bytes.subarray(at, at + 16384));
    connection.write(...parts.map((part, i) => {
        const end = i === parts.length - 1 ? END_HEADERS : 0;
        return i === 0 ? frame(TYPE.HEADERS, (flags & END_STREAM) | end, stream, part) : frame(TYPE.CONTINUATION, end, stream, part);
    }));
}

for (const [what, fields, expected, flags] of CASES)
    test(`refused or bounded: ${what}`, async () => {
        const connection = await Connection.open(target());
        sendHeaders(connection, 1, fields(), flags);
        assert.deepEqual(await connection.outcome(1), expected);
        sendHeaders(connection, 3, pseudo({ ':path': '/next' }));
        assert.deepEqual(await connection.outcome(3), { status: 200 }, 'the connection goes on');
        connection.destroy();
    });

test('nothing of what was refused has reached the dev server', async () => {
    const seen = JSON.parse(await text('/seen'));
    assert.deepEqual(seen.filter((line) => /hidden|smuggled/.test(line)), []);
});

test('a body that differs from its length is refused, and never completed', async () => {
    for (const data of ['12', '1234567']) {
        const connection = await Connection.open(target());
        connection.write(headers(1, [...pseudo({ ':method': 'POST', ':path': '/sum' }), ['content-length', '5']], END_HEADERS),
            frame(TYPE.DATA, END_STREAM, 1, Buffer.from(data)));
        assert.deepEqual(await connection.outcome(1), MALFORMED);
        connection.destroy();
    }
});

test('a client that ignores its window is ended', async () => {
    const connection = await Connection.open(target());
    connection.write(headers(1, pseudo({ ':method': 'POST', ':path': '/silent' }), END_HEADERS),
        ...Array.from({ length: 10 }, () => frame(TYPE.DATA, 0, 1, Buffer.alloc(16384))));
    const end = await connection.find((f) => f.type === TYPE.GOAWAY || f.type === TYPE.RST_STREAM);
    assert.equal(end.payload.readUInt32BE(end.type === TYPE.GOAWAY ? 4 : 0), CODE.FLOW_CONTROL_ERROR);
    connection.destroy();
});

// ---- floods: the connection is told to calm down and closed, and the next one is served

async function flood(name, make, { count = 100000, batch = 200, codes = [CODE.ENHANCE_YOUR_CALM] } = {}) {
    const connection = await Connection.open(target());
    let sent = 0;
    try {
        for (; sent < count && connection.write(make(sent, batch)); sent += batch)
            await new Promise(setImmediate);
        assert.ok(sent < count, `${name}: ${sent} were taken`);
        const code = await connection.goaway();
        assert.ok(codes.includes(code), `${name}: ${code} after ${sent}`);
        await connection.closed;
    } finally {
        connection.destroy();
    }
    const fresh = await connect();
    assert.equal(await text('/calm', { over: fresh }), 'hello /calm');
    fresh.destroy();
}

const many = (batch, make) => Buffer.concat(Array.from({ length: batch }, (_, i) => make(i)));
const cancel = Buffer.from([0, 0, 0, CODE.CANCEL]);

test('rapid reset is bounded (CVE-2023-44487)', () => flood('resets', (at, batch) => many(batch, (i) => {
    const stream = 2 * (at + i) + 1;
    return Buffer.concat([headers(stream, pseudo({ ':path': '/silent' })), frame(TYPE.RST_STREAM, 0, stream, cancel)]);
})));

test('resets that we are made to send are bounded too', () => flood('malformed', (at, batch) => many(batch, (i) =>
    headers(2 * (at + i) + 1, [...pseudo(), ['connection', 'x']]))));

test('pings are bounded', () => flood('pings', (at, batch) => many(batch, () => frame(TYPE.PING, 0, 0, Buffer.alloc(8)))));

test('settings are bounded', () => flood('settings', (at, batch) => many(batch, () => frame(TYPE.SETTINGS, 0, 0))));

test('priorities and window updates are bounded', async () => {
    await flood('priorities', (at, batch) => many(batch, () => frame(TYPE.PRIORITY, 0, 5, Buffer.from([0, 0, 0, 0, 1]))));
    await flood('windows', (at, batch) => many(batch, () => frame(TYPE.WINDOW_UPDATE, 0, 0, Buffer.from([0, 0, 0, 1]))));
});

test('empty data is bounded', async () => {
    let first = true;
    await flood('data', (at, batch) => {
        const open = first ? headers(1, pseudo({ ':method': 'POST', ':path': '/sum' }), END_HEADERS) : Buffer.alloc(0);
        first = false;
        return Buffer.concat([open, many(batch, () => frame(TYPE.DATA, 0, 1))]);
    });
});

test('a header block without end is bounded (CVE-2024-27316)', () => flood('continuations', (at, batch) => Buffer.concat([
    at === 0 ? frame(TYPE.HEADERS, END_STREAM, 1, block(pseudo())) : Buffer.alloc(0),
    many(batch, () => frame(TYPE.CONTINUATION, 0, 1, block([['x-a', 'b']]))),
]), { batch: 4, codes: [CODE.ENHANCE_YOUR_CALM, CODE.PROTOCOL_ERROR, CODE.INTERNAL_ERROR] }));

test('an HPACK bomb is bounded', async () => {
    const connection = await Connection.open(target());
    const references = Buffer.concat(Array.from({ length: 16000 }, () => reference(62)));
    connection.write(frame(TYPE.HEADERS, END_STREAM, 1, Buffer.concat([block(pseudo()), indexed('x-bomb', 'v'.repeat(4000))])),
        frame(TYPE.CONTINUATION, END_HEADERS, 1, references));
    assert.equal(await connection.goaway(), CODE.ENHANCE_YOUR_CALM);
    await connection.closed;
});

test('what is no HTTP/2 is told so and closed', async () => {
    const connection = new Connection(target());
    await connection.ready;
    connection.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await connection.closed;
    const garbage = await Connection.open(target());
    garbage.write(frame(TYPE.DATA, 0, 0, Buffer.from('x')));
    assert.equal(await garbage.goaway(), CODE.PROTOCOL_ERROR);
    await garbage.closed;
});

test('more streams than a hundred at a time are refused one by one', async () => {
    const connection = await Connection.open(target());
    connection.write(...Array.from({ length: 101 }, (_, i) => headers(2 * i + 1, pseudo({ ':path': '/silent' }))));
    const refused = await connection.find((f) => f.type === TYPE.RST_STREAM || f.type === TYPE.GOAWAY);
    assert.equal(refused.stream, 201);
    connection.destroy();
});

test('a restart of the proxy finishes what streams have begun, and says goodbye', async () => {
    const own = await connect();
    const goodbye = once(own, 'goaway');
    const begun = text('/silent', { over: own });
    process.kill(daemon.hostProgram('auracode-proxy'), 'SIGTERM');
    assert.equal(await begun, 'late');
    assert.equal((await goodbye)[0], CODE.NO_ERROR);
    const next = await connect();
    assert.equal(await text('/successor', { over: next }), 'hello /successor');
    next.destroy();
    own.destroy();
});
