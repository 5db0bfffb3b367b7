// Request smuggling and its relatives: heads that two programs might read differently, sent as raw bytes. Each is
// refused with its status and the connection closed, and nothing of it reaches the dev server.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Instance } from './harness.mjs';

let daemon, id, other;
const SERVER = `
    const seen = [];
    require('http').createServer((q, r) => { if (q.url === '/seen') return r.end(JSON.stringify(seen));
        let body = ''; q.on('data', (d) => body += d).on('end', () => { seen.push(q.method + ' ' + q.url); r.end('mine:' + q.url + ':' + body); }); })
        .on('upgrade', (q, c) => { seen.push('UPGRADE ' + q.url); c.end('HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n'); })
        .listen(3000, '127.0.0.1');`;

before(async () => {
    daemon = await Instance.start();
    [{ id }, { id: other }] = await Promise.all([daemon.create({ egress: 'none' }), daemon.create({ egress: 'none' })]);
    for (const box of [id, other]) {
        await daemon.write(box, 'server.js', SERVER);
        await daemon.devServer(box, { command: 'node server.js', port: 3000 });
    }
});
after(() => daemon?.stop());

// What comes back for raw bytes until the proxy closes, or until `enough` matches.
function raw(text, enough) {
    return new Promise((resolve, reject) => {
        let answer = '';
        const socket = net.connect(daemon.proxyPort, '127.0.0.1', () => socket.write(Buffer.from(text, 'latin1')));
        const timer = setTimeout(() => { socket.destroy(); reject(new Error(`still open after ${JSON.stringify(answer)}`)); }, 30000);
        const done = () => { clearTimeout(timer); socket.destroy(); resolve(answer); };
        socket.on('data', (data) => {
            answer += data.toString('latin1');
            if (enough?.test(answer)) done();
        });
        socket.on('close', done);
        socket.on('error', done);
    });
}

const host = () => `Host: ${id}.localhost\r\n`;
const get = (line, more = '') => `GET ${line} HTTP/1.1\r\n${host()}${more}\r\n`;
const post = (more, body) => `POST / HTTP/1.1\r\n${host()}${more}\r\n${body}`;
const hidden = () => `GET /smuggled HTTP/1.1\r\n${host()}\r\n`;
const chunked = 'Transfer-Encoding: chunked\r\n';

// [what, the bytes, the statuses allowed]
const shapes = [
    ['Content-Length and Transfer-Encoding', () => post(`Content-Length: 4\r\n${chunked}`, `0\r\n\r\n${hidden()}`)],
    ['Transfer-Encoding and Content-Length', () => post(`${chunked}Content-Length: 4\r\n`, `0\r\n\r\n${hidden()}`)],
    ['two Content-Lengths that differ', () => post('Content-Length: 0\r\nContent-Length: 50\r\n', hidden())],
    ['a list of Content-Lengths that differ', () => post('Content-Length: 0, 50\r\n', hidden())],
    ['a Content-Length with a sign', () => post('Content-Length: +5\r\n', 'abcde')],
    ['a negative Content-Length', () => post('Content-Length: -1\r\n', '')],
    ['a hexadecimal Content-Length', () => post('Content-Length: 0x5\r\n', 'abcde')],
    ['a Content-Length past 64 bits', () => post('Content-Length: 18446744073709551621\r\n', 'abcde')],
    ['a Content-Length with a space inside', () => post('Content-Length: 1 0\r\n', 'abcdefghij')],
    ['an empty Content-Length', () => post('Content-Length: \r\n', '')],
    ['an unknown transfer coding', () => post('Transfer-Encoding: gzip\r\n', hidden()), [400, 501]],
    ['chunked not last', () => post('Transfer-Encoding: chunked, gzip\r\n', hidden()), [400, 501]],
    ['chunked twice', () => post('Transfer-Encoding: chunked, chunked\r\n', `0\r\n\r\n${hidden()}`), [400, 501]],
    ['chunked misspelt', () => post('Transfer-Encoding: xchunked\r\n', `0\r\n\r\n${hidden()}`), [400, 501]],
    ['chunked behind a vertical tab', () => post('Transfer-Encoding: \x0bchunked\r\n', `0\r\n\r\n${hidden()}`)],
    ['Transfer-Encoding with a space before the colon', () => post('Transfer-Encoding : chunked\r\n', `0\r\n\r\n${hidden()}`)],
    ['Transfer-Encoding on a folded line', () => post('X: y\r\n Transfer-Encoding: chunked\r\n', '')],
    ['Transfer-Encoding in HTTP/1.0', () => `POST / HTTP/1.0\r\n${host()}${chunked}\r\n0\r\n\r\n${hidden()}`],
    ['a bare LF behind a header', () => `GET / HTTP/1.1\r\n${host()}X: y\nTransfer-Encoding: chunked\r\n\r\n`],
    ['a bare LF behind the request line', () => `GET / HTTP/1.1\n${host()}\r\n`],
    ['a bare CR in a value', () => get('/', 'X: a\rY: b\r\n')],
    ['a NUL in a value', () => get('/', 'X: a\0b\r\n')],
    ['a NUL in a name', () => get('/', 'X\0: b\r\n')],
    ['a header without a name', () => get('/', ': b\r\n')],
    ['a header without a colon', () => get('/', 'no colon\r\n')],
    ['no Host', () => 'GET / HTTP/1.1\r\n\r\n'],
    ['two Hosts', () => get('/', `Host: ${other}.localhost\r\n`)],
    ['two Hosts that agree', () => get('/', host())],
    ['a Host with a list', () => `GET / HTTP/1.1\r\nHost: ${id}.localhost, ${other}.localhost\r\n\r\n`, [400, 404, 421]],
    ['a Host with user information', () => `GET / HTTP/1.1\r\nHost: ${other}.localhost@${id}.localhost\r\n\r\n`, [400, 404, 421]],
    ['a Host with a path', () => `GET / HTTP/1.1\r\nHost: ${id}.localhost/x\r\n\r\n`, [400, 404, 421]],
    ['a space in the target', () => get('/a b')],
    ['a control byte in the target', () => get('/a\x01b')],
    ['a fragment in the target', () => get('/a#b')],
    ['a target without a slash', () => get('a')],
    ['an unknown version', () => `GET / HTTP/1.9\r\n${host()}\r\n`, [400, 505]],
    ['HTTP/2 on a plain connection', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400, 501, 505]],
    ['HTTP/0.9', () => 'GET /\r\n\r\n', [400, 505]],
    ['a method with odd characters', () => `GE(T / HTTP/1.1\r\n${host()}\r\n`, [400, 501]],
    ['CONNECT', () => `CONNECT ${id}.localhost:3000 HTTP/1.1\r\n${host()}\r\n`, [400, 405, 501]],
    ['TRACE', () => `TRACE / HTTP/1.1\r\n${host()}\r\n`, [400, 405, 501]],
    ['a chunk size that is no number', () => post(chunked, `zz\r\n${hidden()}`)],
    ['a chunk size with a sign', () => post(chunked, `-1\r\n${hidden()}`)],
    ['a chunk size past 64 bits', () => post(chunked, `10000000000000001\r\nx\r\n0\r\n\r\n${hidden()}`)],
    ['a chunk that ends with LF alone', () => post(chunked, `1\r\na\n0\r\n\r\n${hidden()}`)],
    ['a chunk longer than it says', () => post(chunked, `1\r\nabc\r\n0\r\n\r\n${hidden()}`)],
    ['a head of 100 kB', () => get('/', `X: ${'x'.repeat(100000)}\r\n`), [431]],
    ['1,000 headers', () => get('/', 'X: y\r\n'.repeat(1000)), [431]],
    ['a target of 100 kB', () => get(`/${'x'.repeat(100000)}`), [400, 414, 431]],
];

for (const [what, bytes, statuses = [400]] of shapes)
    test(`${what} is refused`, async () => {
        const answer = await raw(bytes());
        const status = Number(answer.match(/^HTTP\/1\.1 (\d{3})/)?.[1]);
        // A body may be refused only once its head has gone on; then the answer is what the connection's end cuts off.
        assert.ok(statuses.includes(status), `${status}: ${answer.slice(0, 200)}`);
        assert.doesNotMatch(answer, /mine:\/smuggled/);
        assert.equal(answer.match(/^HTTP\/1\.1 \d{3}/gm).length, 1, 'one answer, then the end');
    });

test('no dev server saw what was hidden in another request', async () => {
    for (const box of [id, other]) {
        const seen = JSON.parse((await daemon.preview(box, '/seen')).body);
        assert.deepEqual(seen.filter((line) => /smuggled|UPGRADE/.test(line)), []);
        // GET /: the init's own question whether the server answers yet.
        if (box === other) assert.deepEqual([...new Set(seen)], ['GET /']);
    }
});

test('an absolute target wins over Host, as RFC 9112 section 3.2.2 has it', async () => {
    const answer = await raw(`GET http://${other}.localhost/absolute HTTP/1.1\r\n${host()}\r\n`, /mine:/);
    assert.match(answer, /^HTTP\/1\.1 200/);
    assert.ok(JSON.parse((await daemon.preview(other, '/seen')).body).includes('GET /absolute'));
});

test('what Connection names stays behind, and what only looks like it goes on', async () => {
    const answer = await raw(get('/fine', 'Connection: close, X-Secret\r\nX-Secret: 1\r\n'), /mine/);
    assert.match(answer, /^HTTP\/1\.1 200/);
});

test('answers that would split are refused', async () => {
    const { id: box } = await daemon.create({ egress: 'none' });
    await daemon.write(box, 'bad.js', `
        const bad = { '/lf': 'HTTP/1.1 200 OK\\r\\nX: a\\nSet-Cookie: b=c\\r\\nContent-Length: 2\\r\\n\\r\\nok',
            '/both': 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nok',
            '/two': 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nContent-Length: 3\\r\\n\\r\\nok',
            '/nul': 'HTTP/1.1 200 OK\\r\\nX: a\\0b\\r\\nContent-Length: 2\\r\\n\\r\\nok',
            '/status': 'HTTP/1.1 2000 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok', '/junk': 'junk\\r\\n\\r\\n' };
        require('net').createServer((c) => c.on('error', () => {}).on('data', (d) =>
            c.end(bad[d.toString().split(' ')[1]] ?? 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok'))).listen(3000, '127.0.0.1');`);
    await daemon.devServer(box, { command: 'node bad.js', port: 3000 });
    assert.equal((await daemon.preview(box, '/')).status, 200);
    for (const url of ['/lf', '/both', '/two', '/nul', '/status', '/junk']) {
        const { status, headers } = await daemon.preview(box, url);
        assert.equal(status, 502, url);
        assert.equal(headers['set-cookie'], undefined, url);
    }
    await daemon.remove(box);
});

test('a slow head is ended, and does not keep others out (slowloris)', async () => {
    const sockets = await Promise.all([...Array(200)].map(() => new Promise((resolve) => {
        const socket = net.connect(daemon.proxyPort, '127.0.0.1', () => socket.write('GET / HT', () => resolve(socket)));
        socket.on('error', () => {});
    })));
    assert.equal((await daemon.preview(id, '/quick')).status, 200);
    for (const socket of sockets) socket.destroy();
});
