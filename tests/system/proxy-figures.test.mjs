// What the proxy counts, as an administrator reads it: in GET /metrics and in a sandbox's stats.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { Instance, once, until } from './harness.mjs';

const SERVER = `
    require('http').createServer((q, r) => {
        if (q.url === '/hold') return void r.write('held');
        if (q.url === '/missing') { r.statusCode = 404; return r.end('no'); }
        if (q.url === '/slow') return void setTimeout(() => r.end('slow'), 120);
        q.resume(); q.on('end', () => r.end(q.url === '/big' ? Buffer.alloc(300000) : 'ok'));
    }).listen(3000, '127.0.0.1');`;

let daemon, id;
before(async () => {
    daemon = await Instance.start();
    ({ id } = await daemon.create({ egress: 'none' }));
    await daemon.write(id, 'server.js', SERVER);
    await daemon.devServer(id, { command: 'node server.js', port: 3000 });
});
after(() => daemon?.stop());

// {'name{labels}': value}; every line must be of the format.
async function metrics() {
    const { status, headers, body } = await daemon.api('GET', '/metrics', { raw: true });
    assert.equal(status, 200);
    assert.match(headers['content-type'], /^text\/plain; version=0\.0\.4/);
    const values = {};
    for (const line of body.toString().trimEnd().split('\n')) {
        if (/^# (HELP|TYPE) [a-z_]+ ./.test(line)) continue;
        const [, series, value] = /^([a-z_]+(?:\{[^}]*\})?) (-?[\d.]+)$/.exec(line) ?? assert.fail(line);
        assert.ok(!(series in values), `${series} twice`);
        values[series] = Number(value);
    }
    return values;
}

const of = (values, name, labels = '') => values[`auracode_proxy_${name}{sandbox="${id}"${labels}}`];

// An answer is counted before its client has all of it, its bytes when they have gone.
const settled = (check) => until('the figures are there', async () => {
    const values = await metrics();
    return check(values) && values;
});

test('requests by class, bytes both ways and latencies are counted, and nothing else', async () => {
    const before = await metrics();
    assert.equal(before[Object.keys(before).find((name) => name.startsWith('auracode_build_info'))], 1);
    for (let i = 0; i < 5; i++) await daemon.preview(id, '/');
    await daemon.preview(id, '/missing');
    await daemon.preview(id, '/big');
    await daemon.preview(id, '/', { method: 'POST', body: Buffer.alloc(100000) });
    await daemon.preview(id, '/slow');
    const values = await settled((now) => of(now, 'connections') === 0 && of(now, 'connections_total') >= 9);
    assert.equal(of(values, 'requests_total', ',status="2xx"'), 8);
    assert.equal(of(values, 'requests_total', ',status="4xx"'), 1);
    assert.equal(of(values, 'requests_total', ',status="5xx"'), 0);
    assert.equal(of(values, 'connections_total'), 9);
    const sent = of(values, 'sent_bytes_total'), received = of(values, 'received_bytes_total');
    assert.ok(sent > 300000 && sent < 310000, `${sent}`);
    assert.ok(received > 100000 && received < 110000, `${received}`);
    assert.equal(of(values, 'upstream_seconds_count'), 9);
    assert.equal(of(values, 'upstream_seconds_bucket', ',le="+Inf"'), 9);
    assert.ok(of(values, 'upstream_seconds_bucket', ',le="0.1"') <= 8, 'the slow one is in its bucket');
    assert.ok(of(values, 'upstream_seconds_sum') >= 0.12);
    const stats = await daemon.ok('GET', `/v1/sandboxes/${id}/stats`);
    assert.equal(stats.preview_requests, 9);
    assert.equal(stats.preview_sent_bytes, sent);
    assert.equal(stats.preview_received_bytes, received);
    assert.equal(stats.preview_connections, 0);
});

test('what is at work shows, a killed proxy takes it along and leaves the counters', async () => {
    const held = [];
    for (let i = 0; i < 3; i++) {
        const response = await daemon.request('GET', '/hold', {
            host: { host: '127.0.0.1', port: daemon.proxyPort }, headers: { host: `${id}.localhost:${daemon.proxyPort}` },
        });
        response.on('error', () => {});
        await once(response, 'data');
        held.push(new Promise((resolve) => response.once('close', resolve)));
    }
    const before = await settled((now) => of(now, 'connections') === 3);
    assert.equal((await daemon.ok('GET', `/v1/sandboxes/${id}/stats`)).preview_connections, 3);
    const old = daemon.hostProgram('auracode-proxy');
    process.kill(old, 'SIGKILL');
    await Promise.all(held);
    const after = await settled((now) => of(now, 'connections') === 0);
    assert.equal(of(after, 'requests_total', ',status="2xx"'), of(before, 'requests_total', ',status="2xx"'));
    assert.equal((await daemon.preview(id, '/')).status, 200);
    await settled((now) => of(now, 'connections_total') === of(before, 'connections_total') + 1);
});

test('a killed supervisor leaves them too', async () => {
    const before = await metrics();
    await daemon.killDaemon();
    await daemon.startDaemon();
    assert.equal(of(await metrics(), 'connections_total'), of(before, 'connections_total'));
    assert.equal((await daemon.preview(id, '/')).status, 200);
    await settled((now) => of(now, 'connections_total') === of(before, 'connections_total') + 1);
});

test('names that are guessed are not counted, and a removed sandbox is forgotten', async () => {
    const { id: brief } = await daemon.create({ egress: 'none' });
    await daemon.preview(brief, '/', { port: 3000 });
    await settled((now) => `auracode_proxy_connections_total{sandbox="${brief}"}` in now);
    for (const guess of ['aaaaaaaaaaaa', 'bbbbbbbbbbbb']) assert.equal((await daemon.preview(guess, '/')).status, 404);
    await daemon.remove(brief);
    const values = await settled((now) => !Object.keys(now).some((name) => name.includes(brief)));
    assert.ok(!Object.keys(values).some((name) => /aaaaaaaaaaaa|bbbbbbbbbbbb/.test(name)));
});

test('only administrators read them; the file is nobody else\'s', async () => {
    const { status } = await daemon.api('GET', '/metrics', { host: { host: '127.0.0.1', port: daemon.apiPort } });
    assert.equal(status, 401);
    const { mode, uid } = fs.statSync(`${daemon.runDir}/figures`);
    assert.equal(mode & 0o777, 0o600);
    assert.equal(uid, 0);
});
