// The dev server as a service: detection, readiness, logs, crashes and restarts.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Instance, until } from './harness.mjs';

const server = (text) => `require('http').createServer((q, s) => s.end(${JSON.stringify(text)}))
    .listen(process.env.PORT ?? 3000, '127.0.0.1', () => console.log('listening on', process.env.PORT));`;

let daemon;
before(async () => { daemon = await Instance.start(); });
after(() => daemon?.stop());

async function sandbox(files = {}) {
    const { id } = await daemon.create({ egress: 'none' });
    for (const [name, content] of Object.entries(files)) await daemon.write(id, name, content);
    return { id, url: `/v1/sandboxes/${id}/dev-server` };
}

test('the dev script of package.json is found, started and announced ready once it answers', async () => {
    const { id, url } = await sandbox({
        'package.json': JSON.stringify({ scripts: { dev: 'node server.js' } }), 'server.js': server('hello'),
    });
    assert.equal((await daemon.ok('GET', url)).state, 'stopped');
    const service = await daemon.devServer(id);
    assert.ok(service.port > 0);
    assert.equal(service.address, '127.0.0.1');
    assert.equal(service.restarts, 0);
    assert.equal(service.url, `http://${id}.localhost:${daemon.proxyPort}/`);
    assert.equal((await daemon.preview(id)).body.toString(), 'hello');
    const { ports } = await daemon.ok('GET', `/v1/sandboxes/${id}/ports`);
    assert.ok(ports.some(({ port }) => port === service.port));
    await daemon.remove(id);
});

test('a given command and port are used', async () => {
    const { id } = await sandbox({ 'server.js': server('given') });
    const service = await daemon.devServer(id, { command: 'node server.js', port: 4321 });
    assert.equal(service.port, 4321);
    assert.equal((await daemon.preview(id, '/', { port: 4321 })).body.toString(), 'given');
    await daemon.remove(id);
});

test('without a dev script there is a clear refusal', async () => {
    const { id, url } = await sandbox();
    const refusal = await daemon.refused('PUT', url, { body: {} });
    assert.ok([400, 404, 409].includes(refusal.status), String(refusal.status));
    assert.match(refusal.message, /package\.json|dev/);
    await daemon.remove(id);
});

test('a crash is told with its cause and last lines', async () => {
    const { id, url } = await sandbox({ 'bad.js': 'console.error("cannot find the thing"); process.exit(9)' });
    await daemon.ok('PUT', url, { body: { command: 'node bad.js', auto_restart: false } });
    const service = await daemon.ok('GET', `${url}?wait=ready&timeout_ms=20000`);
    assert.equal(service.state, 'crashed');
    assert.match(service.cause_text, /9/);
    assert.ok(service.last_lines.some((line) => line.includes('cannot find the thing')), service.last_lines.join('\n'));
    const page = await daemon.preview(id, '/', { headers: { accept: 'text/html' } });
    assert.equal(page.status, 502);
    assert.match(page.body.toString(), /cannot find the thing/);
    await daemon.remove(id);
});

test('the page of a crash does not run what a sandbox printed', async () => {
    const { id, url } = await sandbox({ 'bad.js': 'console.error("<script>alert(1)</script>"); process.exit(1)' });
    await daemon.ok('PUT', url, { body: { command: 'node bad.js', auto_restart: false } });
    await daemon.ok('GET', `${url}?wait=ready&timeout_ms=20000`);
    const page = (await daemon.preview(id, '/', { headers: { accept: 'text/html' } })).body.toString();
    assert.doesNotMatch(page, /<script>alert/);
    assert.match(page, /&lt;script/);
    await daemon.remove(id);
});

test('a dev server that dies comes back by itself', async () => {
    const { id, url } = await sandbox({ 'server.js': server('again') });
    const first = await daemon.devServer(id, { command: 'node server.js', port: 3000, auto_restart: true });
    await daemon.exec(id, ['pkill', '-KILL', '-f', 'server.js']);
    await until('restarted', async () => {
        const service = await daemon.ok('GET', `${url}?wait=ready&timeout_ms=20000`);
        return service.state === 'ready' && service.restarts >= 1 && service.process_id !== first.process_id;
    }, 30000);
    assert.equal((await daemon.preview(id)).body.toString(), 'again');
    await daemon.remove(id);
});

test('its log is kept and followed', async () => {
    const { id } = await sandbox({
        'server.js': `${server('logs')}\nprocess.on('SIGUSR2', () => console.log('asked to speak'));`,
    });
    await daemon.devServer(id, { command: 'node server.js', port: 3000 });
    const follow = await daemon.request('GET', `/v1/sandboxes/${id}/logs?source=dev-server&follow=true`);
    let text = '', asked = false;
    for await (const chunk of follow) {
        text += chunk;
        if (text.includes('listening on') && !asked) {
            asked = true;
            await daemon.exec(id, ['pkill', '-USR2', '-f', '^node server.js']);
        }
        if (text.includes('asked to speak')) break;
    }
    assert.match(text, /listening on 3000/);
    await daemon.remove(id);
});

test('stopping it ends its processes', async () => {
    const { id, url } = await sandbox({ 'server.js': server('stop') });
    await daemon.devServer(id, { command: 'node server.js', port: 3000 });
    await daemon.ok('DELETE', url);
    assert.equal((await daemon.ok('GET', url)).state, 'stopped');
    assert.equal((await daemon.exec(id, ['pgrep', '-f', 'server.js'])).exit_code, 1);
    await daemon.remove(id);
});

test('requests wait while it starts', async () => {
    const { id, url } = await sandbox({
        'slow.js': `const fs = require('fs'); const look = () => fs.existsSync('/tmp/go') && require('http')
            .createServer((q, s) => s.end('finally')).on('error', () => {}).listen(3000, '127.0.0.1');
            fs.watch('/tmp', look); look(); setInterval(() => {}, 1000);`,
    });
    await daemon.ok('PUT', url, { body: { command: 'node slow.js', port: 3000 } });
    const starting = await daemon.preview(id, '/', { headers: { accept: 'text/html' } });
    assert.ok([200, 503].includes(starting.status));
    assert.match(starting.body.toString(), /start/i);
    const waiting = daemon.preview(id, '/data.json', { headers: { accept: 'application/json' } });
    await daemon.exec(id, 'touch /tmp/go');
    const answer = await waiting;
    assert.equal(answer.body.toString(), 'finally');
    await daemon.remove(id);
});

const bad = [
    [{ port: 0 }, /port/], [{ port: 65536 }, /port/], [{ command: '' }, /command/], [{ command: 7 }, /command/],
    [{ comand: 'x' }, /comand/], [{ command: 'x', auto_restart: 'yes' }, /auto_restart/],
];
for (const [body, message] of bad)
    test(`${JSON.stringify(body)} is refused`, async () => {
        const { id, url } = await sandbox();
        const refusal = await daemon.refused('PUT', url, { body });
        assert.equal(refusal.status, 400);
        assert.match(refusal.message, message);
        await daemon.remove(id);
    });
