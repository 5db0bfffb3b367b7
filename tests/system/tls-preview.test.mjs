// Previews over TLS: HTTP/1.1 and WebSockets by the name of the sandbox, renewal, redirects, what the dev server is told.
import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Authority, replace, serialOf } from './certificates.mjs';
import { Instance, once, until } from './harness.mjs';

const SERVER = `
    const { createServer } = require('http'), { createHash } = require('crypto');
    createServer((q, r) => {
        if (q.url === '/headers') return r.end(JSON.stringify(q.headers));
        if (q.url === '/redirect') { r.writeHead(302, { location: 'http://localhost:3000/there' }); return r.end(); }
        if (q.url.startsWith('/zeros/')) return r.end(Buffer.alloc(Number(q.url.slice(7))));
        if (q.url === '/hsts') { r.setHeader('strict-transport-security', 'max-age=1; preload'); return r.end('x'); }
        if (q.url === '/sum') { let n = 0; q.on('data', (d) => n += d.length).on('end', () => r.end(String(n))); return; }
        r.end('hello ' + q.url);
    }).on('upgrade', (q, c) => {
        const accept = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
        c.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
        c.on('data', (d) => { // small text frames, unmasked and echoed
            const n = d[1] & 127, mask = d.subarray(2, 6);
            if ((d[0] & 15) === 8) return c.end(Buffer.from([0x88, 0]));
            c.write(Buffer.concat([Buffer.from([0x81, n]), Buffer.from(d.subarray(6, 6 + n).map((b, i) => b ^ mask[i & 3]))]));
        }).on('error', () => {});
    }).listen(3000, '127.0.0.1');`;

let authority, daemon, id, pair;

before(async () => {
    authority = new Authority();
    pair = authority.issue('main', ['preview.localhost', '*.preview.localhost']);
    daemon = await Instance.start({
        proxy: { domain: 'preview.localhost' },
        tls: { certificate: pair.certificate, key: pair.key, hsts: 600, redirect: 'yes' },
    });
    ({ id } = await daemon.create({ egress: 'none' }));
    await daemon.write(id, 'server.js', SERVER);
    await daemon.devServer(id, { command: 'node server.js', port: 3000 });
});
after(async () => {
    await daemon?.stop();
    authority?.remove();
});

const name = () => `${id}.preview.localhost`;
const target = () => ({ host: '127.0.0.1', port: daemon.proxyTlsPort, servername: name(), ca: authority.pem });

function request(path, { method = 'GET', headers = {}, body, agent = false } = {}) {
    return new Promise((resolve, reject) => {
        https.request({ ...target(), agent, method, path, headers: { host: `${name()}:${daemon.proxyTlsPort}`, ...headers } }, (response) => {
            const chunks = [];
            response.on('data', (data) => chunks.push(data)).on('error', reject).on('end', () => resolve({
                status: response.statusCode, headers: response.headers, socket: response.socket, body: Buffer.concat(chunks),
            }));
        }).on('error', reject).end(body);
    });
}

const open = (options = {}) => new Promise((resolve, reject) => {
    const socket = tls.connect({ ...target(), ...options }, () => resolve(socket));
    socket.on('error', reject);
});

test('the URL of a sandbox says https, and leads to its dev server', async () => {
    const { url } = await daemon.ok('GET', `/v1/sandboxes/${id}`);
    assert.equal(url, `https://${name()}:${daemon.proxyTlsPort}/`);
    const { status, body } = await request('/page');
    assert.equal(`${status} ${body}`, '200 hello /page');
});

test('the dev server is told of https, and its own URLs come back with it', async () => {
    const headers = JSON.parse((await request('/headers', { headers: { origin: `https://${name()}:${daemon.proxyTlsPort}` } })).body);
    assert.equal(headers['x-forwarded-proto'], 'https');
    assert.match(headers.forwarded, /proto=https$/);
    assert.equal(headers.origin, 'http://localhost:3000');
    assert.equal(headers.host, 'localhost:3000');
    assert.equal((await request('/redirect')).headers.location, `https://${name()}:${daemon.proxyTlsPort}/there`);
});

test('HSTS is ours, on responses and on pages, and never in clear', async () => {
    for (const path of ['/page', '/hsts'])
        assert.equal((await request(path)).headers['strict-transport-security'], 'max-age=600');
    const page = await request('/', { headers: { host: 'nobody.preview.localhost', accept: 'text/html' } });
    assert.equal(page.status, 404);
    assert.equal(page.headers['strict-transport-security'], 'max-age=600');
});

test('requests in clear are sent to https, with their path and method kept', async () => {
    const answer = await daemon.api('POST', '/a/b?c=d', {
        host: { host: '127.0.0.1', port: daemon.proxyPort }, headers: { host: `${name()}:${daemon.proxyPort}` }, body: 'x',
    });
    assert.equal(answer.status, 308);
    assert.equal(answer.headers.location, `https://${name()}:${daemon.proxyTlsPort}/a/b?c=d`);
    assert.equal(answer.headers['strict-transport-security'], undefined);
});

test('bodies of many sizes pass whole, both ways', async () => {
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    for (const size of [0, 1, 16383, 16384, 16385, 81920, 100000, 5000000]) {
        assert.equal((await request(`/zeros/${size}`, { agent })).body.length, size);
        assert.equal((await request('/sum', { agent, method: 'POST', body: Buffer.alloc(size) })).body.toString(), `${size}`);
    }
    agent.destroy();
});

test('a client that reads slowly gets everything, and holds up nobody', async () => {
    const socket = await open();
    socket.pause();
    socket.write(`GET /zeros/20000000 HTTP/1.1\r\nHost: ${name()}\r\nConnection: close\r\n\r\n`);
    for (let i = 0; i < 20; i++) assert.equal((await request('/page')).status, 200);
    let got = 0;
    socket.on('data', (data) => { got += data.length; });
    socket.resume();
    await once(socket, 'end');
    assert.ok(got > 20000000, `${got} bytes`);
    socket.destroy();
});

test('the same strict parser stands behind TLS', async () => {
    for (const [head, status] of [
        ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
        [`POST / HTTP/1.1\r\nHost: ${name()}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
        [`GET / HTTP/1.1\nHost: ${name()}\n\n`, 400],
    ]) {
        const socket = await open();
        socket.write(head);
        const [data] = await once(socket, 'data');
        assert.match(data.toString(), new RegExp(`^HTTP/1.1 ${status} `));
        socket.destroy();
    }
});

test('pipelined requests in one record are answered in order', async () => {
    const socket = await open();
    let text = '';
    socket.on('data', (data) => { text += data; });
    const get = (path, more = '') => `GET ${path} HTTP/1.1\r\nHost: ${name()}\r\n${more}\r\n`;
    socket.write(get('/1') + get('/2') + get('/3', 'Connection: close\r\n'));
    await once(socket, 'end');
    assert.deepEqual(text.match(/hello \/\d/g), ['hello /1', 'hello /2', 'hello /3']);
});

test('a session is resumed by its ticket', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
        const first = tls.connect({ ...target(), minVersion: version, maxVersion: version });
        first.resume(); // TLS 1.3 sends it behind the handshake
        const [session] = await once(first, 'session');
        first.destroy();
        const second = await open({ minVersion: version, maxVersion: version, session });
        assert.ok(second.isSessionReused(), version);
        second.destroy();
    }
});

test('a WebSocket lives on over a renewal, and new connections get the new certificate', async () => {
    const socket = new WebSocket(`wss://${name()}:${daemon.proxyTlsPort}/`, { ca: authority.pem, lookup: (host, options, done) =>
        options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4) });
    await once(socket, 'open');
    const echo = async (text) => {
        socket.send(text);
        assert.equal((await once(socket, 'message'))[0].toString(), text);
    };
    await echo('before');
    const renewed = authority.issue('renewed', ['preview.localhost', '*.preview.localhost']);
    replace(pair, renewed);
    process.kill(daemon.pid, 'SIGHUP');
    await until('a new connection gets it', async () => {
        const probe = await open();
        const serial = serialOf(probe);
        probe.destroy();
        return serial === renewed.serial;
    });
    await echo('after');
    socket.close();
    await once(socket, 'close');
});

test('handshakes that hang are closed in their time, and garbage at once', async () => {
    const slow = net.connect(daemon.proxyTlsPort, '127.0.0.1');
    slow.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]));
    slow.resume();
    const started = performance.now();
    const hung = new Promise((resolve) => { slow.on('error', () => {}).on('close', resolve); });
    const plain = net.connect(daemon.proxyTlsPort, '127.0.0.1');
    plain.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    // A reset is as good an end: what it sent after its first bytes was never read.
    const refused = new Promise((resolve) => { plain.on('error', () => {}).on('close', resolve); });
    plain.resume();
    await refused;
    assert.ok(performance.now() - started < 5000, 'garbage is refused at once');
    assert.equal((await request('/page')).status, 200);
    await hung;
    assert.ok(performance.now() - started > 5000, 'a slow one has its time');
});

test('a hundred connections that say nothing cost no other its handshake', async () => {
    const idle = await Promise.all(Array.from({ length: 100 }, async () => {
        const socket = net.connect(daemon.proxyTlsPort, '127.0.0.1');
        await once(socket, 'connect');
        return socket;
    }));
    assert.equal((await request('/page')).status, 200);
    for (const socket of idle) socket.destroy();
});

test('plain http goes on beside it where nothing redirects', async () => {
    const page = await new Promise((resolve, reject) => http.get({ host: '127.0.0.1', port: daemon.proxyPort, path: '/',
        headers: { host: 'localhost' } }, resolve).on('error', reject));
    page.resume();
    assert.equal(page.statusCode, 404);
});
