// What one sandbox may take of the proxy, and how long it waits: every limit of [proxy] is met from outside.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Instance, once } from './harness.mjs';

const MiB = 1 << 20;
const LIMITS = {
    max_connections_per_sandbox: 3, bandwidth_per_sandbox: '4MiB', head_timeout_ms: 600, idle_timeout_ms: 900, upstream_timeout_ms: 1200,
};
const SERVER = `
    const held = [];
    require('http').createServer((q, r) => {
        if (q.url === '/never') return;
        if (q.url === '/hold') { r.write('held'); held.push(r); return; }
        if (q.url === '/release') for (const one of held.splice(0)) one.end();
        if (q.url === '/big') return r.end(Buffer.alloc(${8 * MiB}));
        if (q.url === '/chunks') { r.write(Buffer.alloc(${4 * MiB})); return r.end(Buffer.alloc(${4 * MiB})); }
        let n = 0;
        q.on('data', (d) => { n += d.length; });
        q.on('end', () => r.end('read ' + n));
    }).listen(3000, '127.0.0.1');`;

let daemon, id, other;
before(async () => {
    daemon = await Instance.start({ proxy: LIMITS });
    [id, other] = await Promise.all([0, 1].map(async () => {
        const { id: box } = await daemon.create({ egress: 'none' });
        await daemon.write(box, 'server.js', SERVER);
        await daemon.devServer(box, { command: 'node server.js', port: 3000 });
        return box;
    }));
});
after(() => daemon?.stop());

const target = () => ({ host: '127.0.0.1', port: daemon.proxyPort });
const host = (box) => `${box}.localhost:${daemon.proxyPort}`;

async function timed(work) {
    const began = performance.now();
    const result = await work();
    return { ...result, ms: performance.now() - began };
}

test('connections beyond the limit get 429, those of another sandbox do not, and room is found again', async () => {
    const held = [];
    for (let i = 0; i < LIMITS.max_connections_per_sandbox; i++) {
        const response = await daemon.request('GET', '/hold', { host: target(), headers: { host: host(id) } });
        const ended = i > 0 ? once(response, 'end') : null;
        await once(response, 'data');
        held.push({ response, ended });
    }
    const { status, headers, body } = await daemon.preview(id, '/');
    assert.equal(status, 429);
    assert.equal(body.error.code, 'too_many_connections');
    assert.equal(headers['retry-after'], '1');
    assert.equal((await daemon.preview(other, '/')).status, 200);
    const [{ response: first }] = held;
    const closed = new Promise((resolve) => first.once('close', resolve));
    first.on('error', () => {});
    first.destroy();
    await closed;
    for (let freed = false; !freed;) freed = (await daemon.preview(id, '/release')).status === 200;
    await Promise.all(held.map(({ ended }) => ended));
    assert.equal((await daemon.preview(id, '/')).status, 200);
});

for (const [what, options] of [
    ['a body that is spliced', { url: '/big' }], ['a chunked one', { url: '/chunks' }],
    ['an upload', { url: '/', method: 'POST', body: Buffer.alloc(8 * MiB) }],
]) {
    test(`bandwidth: ${what} takes its time, another sandbox's does not`, async () => {
        const [{ status, ms, body }, quick] = await Promise.all([
            timed(() => daemon.preview(id, options.url, options)), timed(() => daemon.preview(other, '/')),
        ]);
        assert.equal(status, 200);
        assert.ok(body.length === 8 * MiB || body.toString() === `read ${8 * MiB}`);
        assert.ok(ms > 1500, `8 MiB at 4 MiB/s took ${ms} ms`);
        assert.ok(quick.ms < ms / 2, `${quick.ms} ms beside ${ms} ms`);
    });
}

test('a dev server that does not answer: 504 after upstream_timeout_ms', async () => {
    const { status, body, ms } = await timed(() => daemon.preview(id, '/never'));
    assert.equal(status, 504);
    assert.equal(body.error.code, 'upstream_timeout');
    assert.ok(ms >= LIMITS.upstream_timeout_ms - 50, `${ms} ms`);
});

test('a head that does not end: 408 after head_timeout_ms', async () => {
    const socket = net.connect(daemon.proxyPort, '127.0.0.1');
    const { text, ms } = await timed(async () => {
        socket.write(`GET / HTTP/1.1\r\nHost: ${host(id)}\r\n`);
        const chunks = [];
        for await (const chunk of socket) chunks.push(chunk);
        return { text: Buffer.concat(chunks).toString() };
    });
    assert.match(text, /^HTTP\/1\.1 408 /);
    assert.ok(ms >= LIMITS.head_timeout_ms - 50, `${ms} ms`);
});

test('a connection without requests is closed after idle_timeout_ms', async () => {
    const agent = new http.Agent({ keepAlive: true });
    const free = once(agent, 'free');
    assert.equal((await daemon.preview(id, '/', { agent })).status, 200);
    const [socket] = await free;
    const { ms } = await timed(async () => void await once(socket, 'close'));
    assert.ok(ms >= LIMITS.idle_timeout_ms - 100, `${ms} ms`);
    agent.destroy();
});

test('a value out of range is refused by its name', async () => {
    for (const [key, value] of [['max_connections_per_sandbox', -1], ['bandwidth_per_sandbox', 'much'], ['head_timeout_ms', 0]]) {
        const { error } = await Instance.start({ proxy: { [key]: value } }).then(() => ({}), (error) => ({ error }));
        assert.match(String(error), new RegExp(key), `${key} = ${value}`);
    }
});
