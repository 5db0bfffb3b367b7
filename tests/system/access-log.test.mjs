// The access log: one JSON object a request, whatever was sent, without tokens; each once over rotations, restarts and
// replacements of the proxy; and a disk that is full or hangs keeps no preview waiting.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Authority } from './certificates.mjs';
import { Instance, once, until } from './harness.mjs';

const SIZE = 262144, KEEP = 8, MiB = 1 << 20;
const SERVER = `
    const { createServer } = require('http'), { createHash } = require('crypto');
    createServer((q, r) => {
        if (q.url.startsWith('/hold')) return void r.write('held');
        if (q.url.startsWith('/silent')) return;
        if (q.url.startsWith('/slow')) return void setTimeout(() => r.end('slow'), 150);
        if (q.url.endsWith('?paced')) return void setTimeout(() => r.end('paced'), 25);
        if (q.url.startsWith('/cut')) { r.writeHead(200, { 'content-length': 100 }); r.write('part'); return setImmediate(() => q.socket.destroy()); }
        if (q.url.startsWith('/mute')) return q.socket.destroy();
        if (q.url.startsWith('/missing')) r.statusCode = 404;
        q.resume(); q.on('end', () => r.end('ok'));
    }).on('upgrade', (q, c) => {
        const accept = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
        c.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
        c.on('data', (d) => c.write(d)).on('end', () => c.end()).on('error', () => {});
    }).listen(3000, '127.0.0.1');`;

let authority, daemon, folder, disk, log, id, hidden, token;

// A small file system of its own, in a folder that the proxy's user cannot enter.
function makeDisk() {
    folder = fs.mkdtempSync('/tmp/auracode-log.');
    disk = path.join(folder, 'disk');
    const image = path.join(folder, 'image');
    fs.writeFileSync(image, '');
    fs.truncateSync(image, 16 * MiB);
    execFileSync('mke2fs', ['-q', '-t', 'ext4', '-m', '0', image]);
    fs.mkdirSync(disk);
    execFileSync('mount', ['-o', 'loop', image, disk]);
    log = path.join(disk, 'access.log');
}

async function make(access) {
    const sandbox = await daemon.create({ egress: 'none', access });
    await daemon.write(sandbox.id, 'server.js', SERVER);
    await daemon.devServer(sandbox.id, { command: 'node server.js', port: 3000 });
    return sandbox.id;
}

before(async () => {
    makeDisk();
    authority = new Authority();
    const pair = authority.issue('main', ['localhost', '*.localhost']);
    daemon = await Instance.start({
        proxy: { access_log: log, access_log_size: SIZE, access_log_keep: KEEP, head_timeout_ms: 500, upstream_timeout_ms: 700 },
        tls: { certificate: pair.certificate, key: pair.key },
    });
    [id, hidden] = [await make('public'), await make('private')];
    ({ token } = await daemon.ok('POST', `/v1/sandboxes/${hidden}/preview-tokens`, { body: {} }));
});
after(async () => {
    await daemon?.stop();
    authority?.remove();
    if (fs.existsSync(disk)) execFileSync('umount', [disk]);
    fs.rmSync(folder, { recursive: true });
});

// Every line that there is; each must be JSON.
const files = () => fs.readdirSync(disk).filter((name) => name.startsWith('access.log') || name === 'moved');
const inodes = () => files().map((name) => `${name} ${fs.statSync(path.join(disk, name), { throwIfNoEntry: false })?.ino}`).join();
// All of them, of one moment: a rotation in between is not looked at.
function bytes() {
    for (;;) {
        const before = inodes();
        try {
            const all = Buffer.concat(files().map((name) => fs.readFileSync(path.join(disk, name))));
            if (inodes() === before) return all;
        } catch (error) {
            if (error.code !== 'ENOENT') throw error;
        }
    }
}
const text = () => bytes().toString();
const wholeLines = (all) => all.subarray(0, all.lastIndexOf('\n') + 1); // what is being written may lack its end
const parse = (all) => all.split('\n').slice(0, -1).map((line) => JSON.parse(line));
const lines = () => {
    const all = wholeLines(bytes());
    assert.ok(Buffer.from(all.toString()).equals(all), 'not UTF-8');
    return parse(all.toString());
};
const line = (url) => until(`the line of ${url}`, () => lines().find(({ path: asked }) => asked === url));

// Sends bytes as they stand; gives all that comes until the end.
async function raw(bytes, { end = true } = {}) {
    const socket = net.connect(daemon.proxyPort, '127.0.0.1'), chunks = [];
    socket.on('data', (data) => chunks.push(data)).on('error', () => {});
    if (end) socket.end(bytes);
    else socket.write(bytes);
    await new Promise((resolve) => socket.once('close', resolve));
    return Buffer.concat(chunks);
}
const head = (target, fields = '', of = id) => `GET ${target} HTTP/1.1\r\nHost: ${of}.localhost:${daemon.proxyPort}\r\nConnection: close\r\n${fields}\r\n`;

test('a line says what was asked, by whom, and what came of it', async () => {
    const began = Date.now();
    await daemon.preview(id, '/slow?a=b', { headers: { 'user-agent': 'tester', referer: 'http://x.example/y', 'x-request-id': 'r-1' } });
    const entry = await line('/slow?a=b');
    assert.match(entry.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Date.parse(entry.time) >= began - 1 && Date.parse(entry.time) <= Date.now());
    const { time, bytes_in, bytes_out, duration_ms, upstream_ms, ...rest } = entry;
    assert.deepEqual(rest, {
        sandbox: id, port: 3000, host: `${id}.localhost:${daemon.proxyPort}`, client: '127.0.0.1', method: 'GET', path: '/slow?a=b',
        user_agent: 'tester', referer: 'http://x.example/y', request_id: 'r-1', protocol: 'HTTP/1.1', tls: false, status: 200, answer: null,
        websocket: false, upstream_reused: false, ended: 'done',
    });
    assert.ok(upstream_ms >= 140 && duration_ms >= upstream_ms && duration_ms < 5000, `${upstream_ms} of ${duration_ms}`);
    assert.ok(time && bytes_in > 0 && bytes_out > 0);
    assert.equal(fs.statSync(log).mode & 0o777, 0o640);
    assert.equal(fs.statSync(log).uid, 0);
});

test('bytes are those of the request and its answer, also on a connection that serves several', async () => {
    const host = `Host: ${id}.localhost:${daemon.proxyPort}\r\n`;
    const first = `GET /bytes/1 HTTP/1.1\r\n${host}\r\n`;
    const second = `POST /bytes/2 HTTP/1.1\r\n${host}Content-Length: 100000\r\nConnection: close\r\n\r\n${'x'.repeat(100000)}`;
    const got = await raw(first + second, { end: false });
    const [one, two] = [await line('/bytes/1'), await line('/bytes/2')];
    assert.equal(one.bytes_in, first.length);
    assert.equal(two.bytes_in, second.length);
    assert.equal(one.bytes_out + two.bytes_out, got.length);
    assert.equal(two.method, 'POST');
    assert.equal(two.upstream_reused, true);
});

test('protocols: HTTP/1.0, HTTP/2 over TLS', async () => {
    await raw(`GET /old HTTP/1.0\r\nHost: ${id}.localhost\r\n\r\n`);
    assert.equal((await line('/old')).protocol, 'HTTP/1.0');
    const session = http2.connect(`https://${id}.localhost:${daemon.proxyTlsPort}`, {
        ca: authority.pem, servername: `${id}.localhost`, checkServerIdentity: () => undefined, // no wildcard goes below a single label
        lookup: (host, options, done) => (options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)),
    });
    const stream = session.request({ ':path': '/new', 'user-agent': 'two' });
    stream.resume();
    await once(stream, 'end');
    session.close();
    const { protocol, tls, user_agent, status } = await line('/new');
    assert.deepEqual([protocol, tls, user_agent, status], ['HTTP/2', true, 'two', 200]);
});

test('the client is whom the trusted proxies saw, not whom somebody claims', async () => {
    await daemon.preview(id, '/for/1', { headers: { 'x-forwarded-for': '203.0.113.9' } });
    assert.equal((await line('/for/1')).client, '203.0.113.9');
    await daemon.preview(id, '/for/2', { headers: { 'x-forwarded-for': '198.51.100.1, 203.0.113.9, 127.0.0.1' } });
    assert.equal((await line('/for/2')).client, '203.0.113.9');
    await daemon.preview(id, '/for/3', { headers: { 'x-forwarded-for': '"<script>' } });
    assert.equal((await line('/for/3')).client, '127.0.0.1');
});

test('no token is in the log, wherever it was given', async () => {
    const HTML = { accept: 'text/html' };
    const nested = `/token/6?to=${encodeURIComponent(`http://x/?auracode_token=${token}`)}`;
    assert.equal((await daemon.preview(hidden, `/token/1?x=1&auracode_token=${token}&y=2`, { headers: HTML })).status, 302);
    assert.equal((await daemon.preview(hidden, `/token/2?auracode_token=${token}`, { method: 'POST' })).status, 200);
    await daemon.preview(hidden, '/token/3', { headers: { 'x-auracode-token': token } });
    await daemon.preview(hidden, '/token/4', { headers: { cookie: `auracode_token_${hidden}=${token}`, referer: `http://${hidden}.localhost/?auracode_token=${token}` } });
    await daemon.preview(hidden, `/token/5/${token}`, { headers: { authorization: `Bearer ${token}`, 'user-agent': token, 'x-request-id': `id ${token}` } });
    await daemon.preview(id, nested);
    assert.equal((await daemon.preview(hidden, '/token/7?auracode_token=wrong')).status, 403);
    assert.equal((await daemon.preview(hidden, '/token/8')).status, 401);
    assert.equal((await line('/token/1?x=1&auracode_token=***&y=2')).answer, 'token_redirect');
    assert.equal((await line('/token/2?auracode_token=***')).status, 200);
    assert.match((await line('/token/4')).referer, /\?auracode_token=\*\*\*$/);
    assert.equal((await line('/token/5/***')).user_agent, '***');
    const { status, answer } = await line('/token/7?auracode_token=***');
    assert.deepEqual([status, answer], [403, 'token_refused']);
    assert.equal((await line('/token/8')).answer, 'token_missing');
    assert.ok(!text().includes(token) && !text().includes('wrong'));
});

test('bytes of any kind stay one line of JSON', async () => {
    await raw(Buffer.concat([Buffer.from(head('/bytes?"\\{', 'User-Agent: a"\\').slice(0, -2)), Buffer.from([0xff, 0xfe, 0xc3, 0xa4, 0x09, 0xed, 0xa0, 0x80]), Buffer.from('\r\nReferer: ","ended":"forged\r\n\r\n')]));
    await raw(head('/control', 'User-Agent: a\x01b\r\n'));
    await raw(Buffer.from('GET /\x00\xff HTTP/1.1\r\n\r\n', 'latin1'));
    await raw(head(`/long/${'"'.repeat(5000)}`, `User-Agent: ${'\\'.repeat(5000)}\r\n`));
    await daemon.preview(id, '/last-of-hostile');
    await line('/last-of-hostile');
    const all = lines();
    const odd = all.find(({ referer }) => referer === '","ended":"forged');
    assert.equal(odd.user_agent, 'a"\\\ufffd\ufffdä\t\ufffd\ufffd\ufffd');
    assert.equal(odd.ended, 'done');
    const long = all.find(({ path: asked }) => asked?.startsWith('/long/'));
    assert.ok(long.path.endsWith('"…') && long.path.length < 1100 && long.user_agent.endsWith('…'), long.path);
    const refused = all.filter(({ status, path: asked }) => status === 400 && asked === null);
    assert.ok(refused.length >= 2 && refused.every(({ answer, sandbox, method }) => answer && sandbox === null && method === null), JSON.stringify(refused));
});

test('what ended a request', async () => {
    const begin = (url, of = id) => new Promise((resolve, reject) => {
        const request = http.get({ host: '127.0.0.1', port: daemon.proxyPort, path: url, headers: { host: `${of}.localhost` } }, resolve);
        request.on('error', reject);
    });
    const held = await begin('/hold/gone');
    await once(held, 'data');
    held.destroy();
    assert.equal((await line('/hold/gone')).ended, 'client_gone');
    await assert.rejects(daemon.preview(id, '/cut/1'));
    const cut = await line('/cut/1');
    assert.deepEqual([cut.status, cut.ended], [200, 'upstream_lost']);
    assert.equal((await daemon.preview(id, '/mute', { method: 'POST' })).status, 502);
    const mute = await line('/mute');
    assert.deepEqual([mute.status, mute.answer, mute.upstream_ms, mute.ended], [502, 'bad_response', null, 'upstream_lost']);
    assert.equal((await daemon.preview(id, '/silent/1')).status, 504);
    const silent = await line('/silent/1');
    assert.deepEqual([silent.answer, silent.ended], ['upstream_timeout', 'timeout_upstream']);
    assert.match((await raw(`GET /never HTTP/1.1\r\nHost: ${id}`, { end: false })).toString(), /^HTTP\/1\.1 408 /);
    await until('the line of the slow head', () => lines().find(({ status, ended }) => status === 408 && ended === 'timeout_head'));
    await daemon.preview('aaaaaaaaaaaa', '/nowhere');
    const nowhere = await line('/nowhere');
    assert.deepEqual([nowhere.status, nowhere.answer, nowhere.port, nowhere.ended], [404, 'sandbox_not_found', null, 'done']);
    assert.equal((await daemon.preview(id, '/.auracode/bridge')).status, 200);
    const bridge = await line('/.auracode/bridge');
    assert.deepEqual([bridge.status, bridge.answer, bridge.ended], [200, 'bridge', 'done']);
    const private_ = await begin(`/hold/private?auracode_token=${token}&z`, hidden).then(async (redirected) => {
        assert.equal(redirected.statusCode, 302);
        redirected.resume();
        return new Promise((resolve, reject) => http.get({ host: '127.0.0.1', port: daemon.proxyPort, path: '/hold/private', headers: { host: `${hidden}.localhost`, 'x-auracode-token': token } }, resolve).on('error', reject));
    });
    private_.on('error', () => {});
    await once(private_, 'data');
    await daemon.ok('DELETE', `/v1/sandboxes/${hidden}/preview-tokens`);
    assert.equal((await line('/hold/private')).ended, 'access_ended');
});

test('a WebSocket has one line, at its end', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.proxyPort}/socket/1`, { headers: { host: `${id}.localhost` } });
    await once(socket, 'open');
    const pong = once(socket, 'pong');
    socket.on('message', () => {});
    await daemon.preview(id, '/while-open');
    await line('/while-open');
    assert.ok(!lines().some(({ path: asked }) => asked === '/socket/1'));
    socket.terminate();
    pong.catch(() => {});
    const entry = await line('/socket/1');
    assert.deepEqual([entry.websocket, entry.status, entry.upstream_reused, typeof entry.upstream_ms], [true, 101, false, 'number']);
    assert.ok(['done', 'client_gone'].includes(entry.ended), entry.ended);
    assert.equal(lines().filter(({ path: asked }) => asked === '/socket/1').length, 1);
});

// Requests with paths of their own until `until` says so or `count` were made; gives the paths that were answered.
async function load(name, { count = Infinity, clients = 8, over = () => false, pad = '' } = {}) {
    const agent = new http.Agent({ keepAlive: true }), paths = [];
    let next = 0;
    await Promise.all(Array.from({ length: clients }, async () => {
        while (next < count && !over()) {
            const url = `/${name}/${next++}${pad}`;
            assert.equal((await daemon.preview(id, url, { agent })).status, 200);
            paths.push(url);
        }
    }));
    agent.destroy();
    return paths;
}

// Each of them once, in whichever file.
async function eachOnce(name, paths) {
    const found = () => lines().map(({ path: asked }) => asked).filter((asked) => asked?.startsWith(`/${name}/`));
    await until(`${paths.length} lines of ${name}`, () => found().length >= paths.length).catch(() => {});
    assert.deepEqual(found().sort(), paths.sort());
}

const rotated = () => files().filter((name) => /\.\d+$/.test(name));

test('at its size the file is rotated, and no line is lost or doubled', async () => {
    const paths = await load('rotate', { count: 900, pad: `?${'p'.repeat(500)}` });
    await eachOnce('rotate', paths);
    assert.ok(rotated().length >= 2, `${rotated()}`);
    for (const name of rotated()) assert.ok(fs.statSync(path.join(disk, name)).size >= SIZE, name);
    await load('many', { count: 1800, pad: `?${'p'.repeat(1500)}` });
    await until('the oldest is gone', () => rotated().length === KEEP && rotated().includes(`access.log.${KEEP}`));
    assert.ok(!fs.existsSync(`${log}.${KEEP + 1}`));
});

test('SIGHUP opens the file again, as logrotate needs it', async () => {
    let over = false;
    const loading = load('hup', { over: () => over, clients: 4, pad: '?paced' });
    await until('there are lines', () => lines().some(({ path: asked }) => asked?.startsWith('/hup/')));
    fs.renameSync(log, path.join(disk, 'moved'));
    process.kill(daemon.pid, 'SIGHUP');
    await until('lines in the new file', () => fs.existsSync(log) && fs.readFileSync(log, 'utf8').includes('/hup/'));
    over = true;
    await eachOnce('hup', await loading);
});

test('successors of the proxy and of the daemon go on with the same file', async () => {
    let over = false, done = 0;
    const loading = load('restart', { over: () => (done++, over), clients: 4, pad: '?paced' });
    for (let i = 0; i < 3; i++) {
        const old = Math.max(...daemon.hostPrograms('auracode-proxy')), before = done;
        process.kill(old, 'SIGTERM');
        await until('the successor serves alone', () => done > before + 20 && !daemon.hostPrograms('auracode-proxy').includes(old), 20000);
    }
    over = true;
    await eachOnce('restart', await loading);
    await daemon.restartDaemon();
    await eachOnce('again', await load('again', { count: 200 }));
});

const lost = async () => Number(/^auracode_proxy_access_log_lost_total (\d+)$/m.exec((await daemon.api('GET', '/metrics', { raw: true })).body)[1]);

test('a full disk loses lines, which are counted, and keeps nobody waiting', async () => {
    assert.equal(await lost(), 0);
    const filler = path.join(disk, 'filler');
    try {
        const fd = fs.openSync(filler, 'w');
        assert.throws(() => { for (;;) fs.writeSync(fd, Buffer.alloc(4096)); }, { code: 'ENOSPC' });
        fs.closeSync(fd);
        await load('full', { count: 300, pad: `?${'p'.repeat(500)}` });
        await until('losses are counted', async () => await lost() > 0);
    } finally {
        fs.rmSync(filler);
    }
    await daemon.preview(id, '/after-full');
    const tail = () => text().split('\n').find((entry) => entry.includes('"/after-full"'));
    JSON.parse(await until('the log goes on', tail));
});

test('a disk that hangs keeps nobody waiting, and gets every line when it is back', async () => {
    const count = 400, before = await lost();
    let paths;
    execFileSync('fsfreeze', ['--freeze', disk]);
    try {
        paths = await load('frozen', { count });
        assert.ok(!fs.readFileSync(log, 'utf8').includes('/frozen/'));
    } finally {
        execFileSync('fsfreeze', ['--unfreeze', disk]);
    }
    const found = () => text().split('\n').map((entry) => /"path":"(\/frozen\/\d+)"/.exec(entry)?.[1]).filter(Boolean);
    await until('every line is there', () => found().length === count);
    assert.deepEqual(found().sort(), paths.sort());
    assert.equal(await lost(), before);
});

test('a file that cannot be one is refused, by the name of its setting', async () => {
    for (const [access_log, message] of [['relative.log', /proxy\.access_log.*not an absolute path/], [folder, /proxy\.access_log.*directory/i],
        ['/dev/null', /proxy\.access_log|no regular file/], ['/nowhere/at/all', /proxy\.access_log.*No such file/]]) {
        const broken = await Instance.start({ proxy: { access_log } }).then((started) => started.stop().then(() => null), (error) => error);
        assert.match(broken?.message ?? 'it started', message);
    }
});
