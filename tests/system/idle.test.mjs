// [sandbox] idle_timeout: a sandbox that nobody uses is paused, and goes on with the next request; one that somebody has
// paused does not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance, once, slow, until } from './harness.mjs';

// Counts its own time, which stands still while it is frozen.
const SERVER = `
    const { createServer } = require('http'), { createHash } = require('crypto');
    let ticks = 0;
    setInterval(() => ticks++, 10);
    createServer((q, r) => r.end(q.url === '/ticks' ? String(ticks) : 'ok')).on('upgrade', (q, c) => {
        const accept = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
        c.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
        c.on('data', () => {}).on('end', () => c.end()).on('error', () => {});
    }).listen(3000, '127.0.0.1');`;
const ROUNDS = 9;

let daemon, id;
before(async () => {
    daemon = await Instance.start({ sandbox: { idle_timeout: 1 } });
    id = await make();
});
after(() => daemon?.stop());

async function make(body = {}) {
    const sandbox = await daemon.create({ egress: 'none', ...body });
    await daemon.write(sandbox.id, 'server.js', SERVER);
    await daemon.devServer(sandbox.id, { command: 'node server.js', port: 3000 });
    return sandbox.id;
}

const get = (of = id) => daemon.ok('GET', `/v1/sandboxes/${of}`);
const asleep = (of = id) => until(`${of} sleeps`, async () => {
    const sandbox = await get(of);
    return sandbox.state === 'paused' && sandbox;
}, 20000);
const pause = (of = id) => daemon.ok('POST', `/v1/sandboxes/${of}/pause`);
const resume = (of = id) => daemon.ok('POST', `/v1/sandboxes/${of}/resume`);
const times = (of, state) => daemon.wholeLog.split(`sandbox ${of}: ${state}`).length - 1;

test('a sandbox that nobody uses is paused, says why, and stands still until a request comes', async () => {
    const ticks = Number((await daemon.preview(id, '/ticks')).body), began = performance.now();
    const sandbox = await asleep();
    assert.deepEqual([sandbox.cause, sandbox.cause_text], ['idle', 'paused, since nobody used it for 1 s']);
    assert.match((await daemon.cli(['ls'])).stdout, new RegExp(`${id}\\s+-\\s+paused`));
    assert.match((await daemon.cli(['inspect', id])).stdout, /cause\s+idle/);
    const events = (await daemon.cli(['events', id, '--json'])).stdout;
    assert.match(events, /"state":\s*"paused"/);
    assert.match(events, /"cause":\s*"idle"/);
    const { memory_bytes } = await daemon.ok('GET', `/v1/sandboxes/${id}/stats`);
    assert.ok(memory_bytes > 0);
    await until('it has stood still for a while', () => performance.now() - began > 3000);
    assert.equal((await daemon.preview(id, '/.auracode/bridge')).status, 200);
    assert.equal((await get()).state, 'paused', 'neither its figures nor what the proxy itself serves wakes it');
    const after = Number((await daemon.preview(id, '/ticks')).body);
    assert.ok(after - ticks < 230, `${after - ticks} ticks of 10 ms in ${performance.now() - began} ms`);
    const { state, cause } = await get();
    assert.deepEqual([state, cause], ['running', null]);
});

test('the request that wakes it waits for no more than a moment', async (t) => {
    const took = async () => {
        const began = performance.now();
        const { status } = await daemon.preview(id, '/');
        assert.equal(status, 200);
        return performance.now() - began;
    };
    const plain = [], waking = [];
    for (let i = 0; i < ROUNDS; i++) {
        await asleep();
        waking.push(await took());
        plain.push(await took());
    }
    const median = (values) => values.sort((a, b) => a - b)[ROUNDS >> 1];
    const extra = median(waking) - median(plain);
    t.diagnostic(`waking: p50 ${median(waking).toFixed(2)} ms, awake: ${median(plain).toFixed(2)} ms, extra ${extra.toFixed(2)} ms`);
    assert.ok(extra < 20 * slow, `${extra} ms`);
});

test('a WebSocket wakes it, and keeps it awake', async () => {
    const other = await make();
    await asleep();
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.proxyPort}/`, { headers: { host: `${id}.localhost` } });
    await once(socket, 'open');
    const before = times(id, 'paused');
    await daemon.preview(other, '/');
    await asleep(other); // which was used last
    await daemon.preview(other, '/');
    await asleep(other);
    assert.equal(times(id, 'paused'), before);
    assert.equal((await get()).state, 'running');
    socket.terminate();
    await asleep();
    await daemon.remove(other);
});

test('fifty requests wake it once', async () => {
    await asleep();
    const before = times(id, 'running');
    const answers = await Promise.all(Array.from({ length: 50 }, () => daemon.preview(id, '/')));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.equal(times(id, 'running'), before + 1);
});

test('a command or a file of the API wakes it, and a command that runs keeps it awake', async () => {
    await asleep();
    assert.equal(await daemon.output(id, 'echo awake'), 'awake\n');
    await asleep();
    assert.equal((await daemon.read(id, 'server.js')).toString(), SERVER);
    const before = times(id, 'paused');
    await daemon.output(id, 'sleep 3');
    assert.equal(times(id, 'paused'), before);
    const stream = await daemon.stream(id, { argv: ['cat'], stdin: true });
    stream.send('x');
    await stream.outputs(/x/);
    const other = await make();
    await asleep(other);
    await daemon.remove(other);
    assert.equal(times(id, 'paused'), before);
    stream.endInput();
    await stream.ended;
    await asleep();
    await daemon.ok('PATCH', `/v1/sandboxes/${id}`, { body: { name: 'patched' } });
    assert.equal((await get()).state, 'running');
});

test('what somebody has paused wakes for nobody', async () => {
    assert.equal((await daemon.preview(id, '/')).status, 200);
    const { state, cause } = await pause();
    assert.deepEqual([state, cause], ['paused', 'request']);
    const { status, body } = await daemon.preview(id, '/');
    assert.deepEqual([status, body.error.code], [503, 'sandbox_paused']);
    assert.equal((await daemon.refused('POST', `/v1/sandboxes/${id}/exec`, { body: { command: 'true' } })).code, 'sandbox_paused');
    assert.equal((await get()).state, 'paused');
    assert.equal((await pause()).state, 'paused');
    assert.equal((await resume()).state, 'running');
    assert.equal((await daemon.preview(id, '/')).status, 200);
    await asleep();
    assert.equal((await daemon.cli(['pause', id])).code, 0);
    assert.equal((await daemon.preview(id, '/')).status, 503);
    assert.equal((await daemon.cli(['resume', id])).code, 0);
    assert.equal((await daemon.preview(id, '/')).status, 200);
    assert.equal((await resume()).state, 'running');
});

test('a private preview wakes for a good token only', async () => {
    const hidden = await make({ access: 'private' });
    const { token } = await daemon.ok('POST', `/v1/sandboxes/${hidden}/preview-tokens`, { body: {} });
    await asleep(hidden);
    const before = times(hidden, 'running');
    for (let i = 0; i < 50; i++) assert.equal((await daemon.preview(hidden, '/')).status, 401);
    assert.equal((await daemon.preview(hidden, '/', { headers: { 'x-auracode-token': `${token.slice(0, -1)}x` } })).status, 403);
    assert.equal((await daemon.preview(hidden, '/.auracode/status')).status, 401);
    assert.deepEqual([(await get(hidden)).state, times(hidden, 'running')], ['paused', before]);
    assert.equal((await daemon.preview(hidden, '/', { headers: { 'x-auracode-token': token } })).status, 200);
    await daemon.remove(hidden);
});

test('one that is removed while it wakes has its visitors told', async () => {
    for (let i = 0; i < 3; i++) {
        const doomed = await make();
        await asleep(doomed);
        const visits = Array.from({ length: 20 }, () => daemon.preview(doomed, '/'));
        const [, ...answers] = await Promise.all([daemon.remove(doomed), ...visits]);
        for (const { status } of answers) assert.ok([200, 404, 502, 503].includes(status), `${status}`);
        assert.equal((await daemon.preview(doomed, '/')).status, 404);
    }
});

test('one that sleeps can be stopped, started and removed', async () => {
    const other = await make();
    await asleep(other);
    const stopped = await daemon.ok('POST', `/v1/sandboxes/${other}/stop`);
    assert.deepEqual([stopped.state, stopped.cause], ['stopped', 'request']);
    assert.equal((await daemon.preview(other, '/')).body.error.code, 'sandbox_stopped');
    assert.equal((await daemon.ok('POST', `/v1/sandboxes/${other}/start`)).state, 'running');
    await asleep(other);
    await daemon.remove(other);
});

test('it sleeps on over the ends of the daemon and the proxy, and then wakes', async () => {
    await asleep();
    await daemon.killDaemon();
    await daemon.startDaemon();
    assert.deepEqual([(await get()).state, (await get()).cause], ['paused', 'idle']);
    assert.equal((await daemon.preview(id, '/')).status, 200);
    await asleep();
    await daemon.restartDaemon();
    assert.equal(await daemon.output(id, 'echo still'), 'still\n');
    await asleep();
    const proxy = daemon.programPids()['auracode-proxy'];
    process.kill(proxy, 'SIGKILL');
    await until('another proxy is there', () => daemon.programPids()['auracode-proxy'] !== proxy);
    assert.equal((await until('it serves', () => daemon.preview(id, '/').catch(() => null))).status, 200);
    await asleep();
    await daemon.terminate();
    await daemon.startDaemon();
    const { state, cause } = await get();
    assert.deepEqual([state, cause], ['stopped', 'shutdown']);
});
