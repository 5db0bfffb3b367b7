// Sandboxes as resources: their states, listing, idempotency, and what bad input gets.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fs from 'node:fs';
import net from 'node:net';
import { Instance, once, until } from './harness.mjs';

let daemon;
before(async () => { daemon = await Instance.start(); });
after(() => daemon?.stop());

test('a sandbox is created, found, stopped, started and removed', async () => {
    const created = await daemon.create({ name: 'first', labels: { team: 'a' }, env: { GREETING: 'hello' } });
    assert.match(created.id, /^[a-z2-7]{12}$/);
    assert.equal(created.state, 'running');
    assert.equal(created.name, 'first');
    assert.equal(created.template, 'node');
    assert.equal(created.url, `http://${created.id}.localhost:${daemon.proxyPort}/`);

    const one = `/v1/sandboxes/${created.id}`;
    assert.deepEqual((await daemon.ok('GET', one)).labels, { team: 'a' });
    assert.equal(await daemon.output(created.id, 'echo $GREETING'), 'hello\n');
    await daemon.write(created.id, 'kept.txt', 'kept');

    assert.equal((await daemon.ok('POST', `${one}/stop`)).state, 'stopped');
    assert.equal((await daemon.refused('POST', `${one}/exec`, { body: { command: 'true' } })).status, 409);
    assert.equal((await daemon.ok('POST', `${one}/start`)).state, 'running');
    assert.equal(await daemon.output(created.id, 'cat kept.txt; echo $GREETING'), 'kepthello\n');

    await daemon.remove(created.id);
    assert.equal((await daemon.refused('GET', one)).code, 'sandbox_not_found');
    await daemon.noTraces([created.id]);
});

test('stopping what is stopped and starting what runs changes nothing', async () => {
    const { id } = await daemon.create();
    const one = `/v1/sandboxes/${id}`;
    assert.equal((await daemon.ok('POST', `${one}/start`)).state, 'running');
    await daemon.ok('POST', `${one}/stop`);
    assert.equal((await daemon.ok('POST', `${one}/stop`)).state, 'stopped');
    await daemon.remove(id);
});

test('listing goes page by page and filters by label and state', async () => {
    const made = [];
    for (let i = 0; i < 5; i++) made.push((await daemon.create({ labels: { page: i < 3 ? 'yes' : 'no' } })).id);
    const seen = [];
    let cursor = '';
    do {
        const page = await daemon.ok('GET', `/v1/sandboxes?limit=2${cursor && `&cursor=${cursor}`}`);
        assert.ok(page.sandboxes.length <= 2);
        seen.push(...page.sandboxes.map(({ id }) => id));
        cursor = page.next_cursor;
    } while (cursor);
    assert.deepEqual(new Set(seen).size, seen.length);
    assert.ok(made.every((id) => seen.includes(id)));

    const labelled = await daemon.ok('GET', '/v1/sandboxes?label=page%3Dyes');
    assert.deepEqual(labelled.sandboxes.map(({ id }) => id).sort(), made.slice(0, 3).sort());
    await daemon.ok('POST', `/v1/sandboxes/${made[0]}/stop`);
    const stopped = await daemon.ok('GET', '/v1/sandboxes?state=stopped');
    assert.deepEqual(stopped.sandboxes.map(({ id }) => id), [made[0]]);
    await Promise.all(made.map((id) => daemon.remove(id)));
});

test('an idempotency key makes a repeated create answer with the first sandbox', async () => {
    const create = (key) => daemon.ok('POST', '/v1/sandboxes', {
        body: { template: 'node' }, headers: { 'idempotency-key': key },
    });
    const [first, second] = [await create('one'), await create('one')];
    const other = await create('two');
    assert.equal(first.id, second.id);
    assert.notEqual(first.id, other.id);
    await Promise.all([first.id, other.id].map((id) => daemon.remove(id)));
});

test('two requests with one idempotency key at the same time make one sandbox', async () => {
    const create = () => daemon.api('POST', '/v1/sandboxes', {
        body: { template: 'node' }, headers: { 'idempotency-key': 'race' },
    });
    const answers = await Promise.all([create(), create(), create()]);
    const ids = new Set(answers.filter(({ status }) => status < 300).map(({ body }) => body.id));
    assert.equal(ids.size, 1);
    assert.ok(answers.every(({ status }) => status < 300 || status === 409));
    await daemon.remove([...ids][0]);
});

test('limits hold inside', async () => {
    const { id } = await daemon.create({ limits: { memory: 134217728, pids: 32 } });
    const stats = await daemon.ok('GET', `/v1/sandboxes/${id}/stats`);
    assert.equal(stats.memory_limit_bytes, 134217728);
    assert.equal(stats.pids_limit, 32);
    const hog = await daemon.exec(id, ['node', '-e', 'const a = []; for (;;) a.push(Buffer.alloc(1 << 22, 1))']);
    assert.equal(hog.signal, 'SIGKILL');
    const forks = await daemon.exec(id, 'for i in $(seq 100); do sleep 100 & done; wait', { timeout_ms: 3000 });
    assert.notEqual(forks.exit_code, 0);
    assert.match(forks.stderr, /fork|Resource temporarily unavailable/);
    assert.equal(await daemon.output(id, 'echo alive'), 'alive\n');
    assert.ok((await daemon.ok('GET', `/v1/sandboxes/${id}/stats`)).oom_kills >= 1);
    await daemon.remove(id);
});

// Each with the status it must get and what the message must name.
const badCreates = [
    ['no JSON', '{"template":', 400, /JSON/i],
    ['no object', '[]', 400, /./],
    ['nothing', '', 400, /./],
    ['duplicate keys', '{"template":"node","template":"node"}', 400, /JSON|duplicate/i],
    ['bad UTF-8', Buffer.from('{"template":"\xff"}', 'latin1'), 400, /./],
    ['deep nesting', `${'{"labels":'.repeat(5000)}1${'}'.repeat(5000)}`, 400, /./],
    ['no template', {}, 400, /template/],
    ['an unknown field', { template: 'node', colour: 'red' }, 400, /colour/],
    ['a wrong type', { template: 7 }, 400, /template/],
    ['a template that is a path', { template: '../../etc' }, 400, /template/],
    ['an unknown template', { template: 'no-such-template' }, 404, /no-such-template/],
    ['too little memory', { template: 'node', limits: { memory: 1 } }, 400, /memory/],
    ['too much memory', { template: 'node', limits: { memory: 2 ** 60 } }, 400, /memory/],
    ['a negative limit', { template: 'node', limits: { pids: -5 } }, 400, /pids/],
    ['a fraction of a process', { template: 'node', limits: { pids: 20.5 } }, 400, /pids/],
    ['no CPU', { template: 'node', limits: { cpu: 0 } }, 400, /cpu/],
    ['an unknown limit', { template: 'node', limits: { gpus: 1 } }, 400, /gpus/],
    ['an unknown egress', { template: 'node', egress: 'all' }, 400, /egress/],
    ['an unknown policy', { template: 'node', policy: 'no-such-policy' }, 400, /policy/],
    ['env with "=" in a name', { template: 'node', env: { 'A=B': '1' } }, 400, /env/],
    ['env with an empty name', { template: 'node', env: { '': '1' } }, 400, /env/],
    ['env of numbers', { template: 'node', env: { A: 1 } }, 400, /env/],
    ['too many labels', { template: 'node', labels: Object.fromEntries([...Array(33).keys()].map((i) => [`k${i}`, 'v'])) }, 400, /labels/],
    ['NUL in a string', '{"template":"node","name":"a\\u0000b"}', 400, /./],
];

test('a bad create is refused by name of what is wrong, and makes nothing', async (t) => {
    const before = (await daemon.ok('GET', '/v1/sandboxes')).sandboxes.length;
    for (const [what, body, status, message] of badCreates) {
        await t.test(what, async () => {
            const headers = body?.constructor === Object ? {} : { 'content-type': 'application/json' };
            const refusal = await daemon.refused('POST', '/v1/sandboxes', { body, headers });
            assert.equal(refusal.status, status, refusal.message);
            assert.match(refusal.message, message);
        });
    }
    assert.equal((await daemon.ok('GET', '/v1/sandboxes')).sandboxes.length, before);
});

const badRequests = [
    ['GET', '/nothing', 404],
    ['GET', '/v1/sandboxes/aaaaaaaaaaaa', 404],
    ['GET', '/v1/sandboxes/AAAAAAAAAAAA', 404],
    ['GET', '/v1/sandboxes/..%2f..%2fetc', 404],
    ['DELETE', '/v1/sandboxes/aaaaaaaaaaaa', 404],
    ['POST', '/v1/sandboxes/aaaaaaaaaaaa/start', 404],
    ['GET', '/v1/sandboxes/aaaaaaaaaaaa/stats', 404],
    ['PUT', '/v1/sandboxes', 405],
    ['DELETE', '/v1/version', 405],
    ['GET', '/v1/sandboxes?limit=0', 400],
    ['GET', '/v1/sandboxes?limit=many', 400],
    ['GET', '/v1/sandboxes?state=sleeping', 400],
    ['GET', `/v1/${'a'.repeat(20000)}`, [404, 414]],
];

for (const [method, url, status] of badRequests)
    test(`${method} ${url.slice(0, 60)} is answered ${status}`, async () => {
        const refusal = await daemon.refused(method, url);
        assert.ok([status].flat().includes(refusal.status), `${refusal.status} ${refusal.message}`);
    });

test('a body of the wrong media type is 415, one that is too large 413', async () => {
    const headers = { 'content-type': 'text/plain' };
    assert.equal((await daemon.refused('POST', '/v1/sandboxes', { body: '{"template":"node"}', headers })).status, 415);
    const body = `{"template":"${'x'.repeat(3 << 20)}"}`;
    const large = daemon.api('POST', '/v1/sandboxes', { body, headers: { 'content-type': 'application/json' } });
    // The server may close while we still send: then the answer is lost, which is as good.
    const { status } = await large.catch((error) => ({ status: error.code }));
    assert.ok([413, 'EPIPE', 'ECONNRESET'].includes(status), status);
});

// The end of a raw conversation with a server: all that it says until it closes.
async function talk(target, text, { end = true } = {}) {
    const socket = net.connect(target);
    const chunks = [];
    socket.on('data', (data) => chunks.push(data));
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(text);
    if (end) socket.end();
    await new Promise((resolve) => socket.once('close', resolve));
    return Buffer.concat(chunks).toString();
}

// A client that goes away in the middle.
async function leave(target, text) {
    const socket = net.connect(target);
    socket.on('error', () => {});
    await once(socket, 'connect');
    if (text) await new Promise((resolve) => socket.write(text, resolve));
    socket.destroy();
    await new Promise((resolve) => socket.once('close', resolve));
}

test('a head of 100 MB is cut off', async () => {
    for (const target of [{ path: daemon.socket }, { host: '127.0.0.1', port: daemon.proxyPort }]) {
        const socket = net.connect(target);
        let answer = '', sent = 0;
        const line = `X-Filler: ${'a'.repeat(65536)}\r\n`;
        const closed = new Promise((resolve) => socket.once('close', resolve));
        socket.on('error', () => {});
        socket.on('data', (data) => { answer += data; });
        socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n');
        while (sent < 100e6 && !socket.destroyed && socket.writable) {
            sent += line.length;
            if (!socket.write(line)) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed]);
        }
        await closed;
        assert.ok(sent < 20e6, `${sent} bytes of a head were accepted`);
        if (answer) assert.match(answer, /^HTTP\/1\.1 4\d\d /);
    }
});

test('half requests and garbage leave the servers as they were', async () => {
    const halves = ['', 'GET', 'GET / HTTP/1.1\r\n', 'POST /v1/sandboxes HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"te',
        '\x16\x03\x01\x02\x00\x01\x00'];
    const pieces = ['GET / HTTP/9.9\r\n\r\n', 'GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n',
        'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'];
    for (const target of [{ path: daemon.socket }, { host: '127.0.0.1', port: daemon.proxyPort }]) {
        for (const half of halves) await leave(target, half);
        for (const piece of pieces) {
            const answer = await talk(target, piece);
            if (answer) assert.match(answer, /^HTTP\/1\.[01] [45]\d\d /, JSON.stringify(piece));
        }
    }
    assert.equal((await daemon.api('GET', '/healthz')).status, 200);
    assert.equal((await daemon.preview('aaaaaaaaaaaa')).status, 404);
});

test('version, health and readiness answer', async () => {
    assert.match((await daemon.ok('GET', '/v1/version')).version, /^\d+\.\d+\.\d+/);
    assert.equal((await daemon.api('GET', '/healthz')).status, 200);
    assert.equal((await daemon.api('GET', '/readyz')).status, 200);
});

test('TCP needs a key; the unix socket trusts root', async () => {
    const host = { host: '127.0.0.1', port: daemon.apiPort };
    for (const authorization of [undefined, 'Bearer ak_wrong', 'Basic cm9vdDpyb290', 'Bearer ']) {
        const headers = authorization ? { authorization } : {};
        assert.equal((await daemon.refused('GET', '/v1/sandboxes', { host, headers })).status, 401);
    }
    const made = await daemon.ok('POST', '/v1/tokens', { body: { name: 'test', scopes: ['sandboxes'] } });
    const headers = { authorization: `Bearer ${made.token}` };
    const { id } = await daemon.ok('POST', '/v1/sandboxes', { host, headers, body: { template: 'node' } });
    assert.ok((await daemon.ok('GET', '/v1/sandboxes', { host, headers })).sandboxes.some((one) => one.id === id));
    await daemon.remove(id);
});

test('a second daemon on the same state directory is refused', async () => {
    const first = daemon.pid;
    const { run } = await import('./harness.mjs');
    const second = await run(`/proc/${first}/exe`, ['--config', daemon.config, '--state-dir', daemon.stateDir,
        '--run-dir', `${daemon.dir}/run2`], { timeoutMs: 10000 });
    assert.notEqual(second.code, 0);
    assert.match(second.stderr, /already|in use|another/i);
    assert.equal((await daemon.api('GET', '/readyz')).status, 200);
});

test('a daemon that is told to stop while it makes sandboxes still stops all of them', async () => {
    const other = await Instance.start();
    const creates = Array.from({ length: 4 }, () =>
        other.api('POST', '/v1/sandboxes', { body: { template: 'base', egress: 'none' } }).catch(() => {}));
    await until('one is being made', () => fs.readdirSync(`${other.stateDir}/sandboxes`).length > 0);
    await other.terminate();
    await Promise.all(creates);
    await other.startDaemon();
    const { sandboxes } = await other.ok('GET', '/v1/sandboxes');
    assert.ok(sandboxes.length > 0);
    assert.deepEqual(sandboxes.filter(({ state }) => state !== 'stopped'), []);
    await other.stop();
});
