// Each program killed with SIGKILL while a preview WebSocket is open and a command runs: sandboxes live on, new
// requests work within two seconds, and nothing leaks.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance, once, until } from './harness.mjs';

const RECOVERY_MS = 2000;
let daemon, id, socket, command;

const echoServer = `
    const { createHash } = require('crypto');
    const s = require('http').createServer((q, r) => r.end('up'));
    s.on('upgrade', (q, c) => { const key = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
        c.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + key + '\\r\\n\\r\\n');
        c.on('error', () => {});
        c.on('data', (d) => { if ((d[0] & 15) === 8) return c.end(); const n = d[1] & 127, m = d.subarray(2, 6);
            c.write(Buffer.concat([Buffer.from([0x81, n]), d.subarray(6, 6 + n).map((b, i) => b ^ m[i & 3])])); }); });
    s.listen(3000, '127.0.0.1');`;

before(async () => {
    daemon = await Instance.start();
    ({ id } = await daemon.create({ egress: 'restricted', name: 'survivor' }));
    await daemon.write(id, 'server.js', echoServer);
    await daemon.devServer(id, { command: 'node server.js', port: 3000 });
});
after(() => daemon?.stop());

// A preview's WebSocket and a running command, both seen to work.
beforeEach(async () => {
    socket = new WebSocket(`ws://127.0.0.1:${daemon.proxyPort}/`, { headers: { host: `${id}.localhost:${daemon.proxyPort}` } });
    await once(socket, 'open');
    socket.on('error', () => {});
    await echo();
    command = await daemon.stream(id, { argv: ['sh', '-c', 'echo $$; while read l; do echo "got $l"; done'], stdin: true });
    await command.outputs(/^\d+\n/);
});

async function echo() {
    const answer = once(socket, 'message');
    socket.send('hello');
    assert.equal((await answer)[0].toString(), 'hello');
}

const alive = (pid) => fs.existsSync(`/proc/${pid}`);

// The process that the command's shell is, seen from the sandbox.
async function commandLives() {
    const pid = command.stdout.split('\n')[0];
    return (await daemon.exec(id, ['test', '-d', `/proc/${pid}`])).exit_code === 0;
}

async function works(since) {
    await until('a command runs again', async () =>
        (await daemon.api('POST', `/v1/sandboxes/${id}/exec`, { body: { command: 'echo back' } }).catch(() => null))?.body?.stdout === 'back\n', RECOVERY_MS);
    await until('the preview answers again', async () =>
        (await daemon.preview(id).catch(() => null))?.body?.toString() === 'up', RECOVERY_MS);
    const elapsed = performance.now() - since;
    assert.ok(elapsed < RECOVERY_MS, `${elapsed} ms`);
}

async function newOnesWork() {
    const other = await daemon.create({ egress: 'restricted' });
    assert.equal(await daemon.output(other.id, 'echo new'), 'new\n');
    await daemon.remove(other.id);
    await daemon.noTraces([other.id]);
}

async function killProgram(name) {
    const pid = daemon.hostProgram(name);
    process.kill(pid, 'SIGKILL');
    const since = performance.now();
    await until(`${name} is gone`, () => !alive(pid), RECOVERY_MS);
    return since;
}

test('auracode-api killed: the preview goes on, commands live', async () => {
    const since = await killProgram('auracode-api');
    await echo();
    await works(since);
    assert.equal(await commandLives(), true);
    await newOnesWork();
    await echo();
    socket.close();
});

test('auracode-proxy killed: the command goes on, the preview is back', async () => {
    const since = await killProgram('auracode-proxy');
    command.send('still\n');
    await command.outputs(/got still/);
    await works(since);
    await newOnesWork();
    command.endInput();
    assert.equal((await command.ended).exit_code, 0);
});

test('auracoded killed: preview and command go on without it, it adopts what runs', async () => {
    const generation = (await daemon.ok('GET', `/v1/sandboxes/${id}`)).generation;
    await daemon.killDaemon();
    await echo();
    command.send('orphan\n');
    await command.outputs(/got orphan/);
    const since = performance.now();
    await daemon.startDaemon();
    await works(since);
    await echo();
    command.send('adopted\n');
    await command.outputs(/got adopted/);
    const found = await daemon.ok('GET', `/v1/sandboxes/${id}`);
    assert.equal(found.state, 'running');
    assert.equal(found.generation, generation, 'adopted, not started again');
    await newOnesWork();
    command.endInput();
    await command.ended;
    socket.close();
});

test('auracoded restarted: previews, commands and programs go on', async () => {
    const before = daemon.programPids();
    await daemon.restartDaemon();
    await echo();
    command.send('kept\n');
    await command.outputs(/got kept/);
    assert.deepEqual(daemon.programPids(), before);
    assert.equal((await daemon.ok('GET', `/v1/sandboxes/${id}`)).state, 'running');
    await newOnesWork();
    command.endInput();
    assert.equal((await command.ended).exit_code, 0);
    socket.close();
});

test('restarted with another configuration, programs are replaced; nothing is refused and the preview\'s WebSocket goes on', async () => {
    const before = daemon.programPids(), ask = () => daemon.preview(id), all = () => Object.values(daemon.programPids());
    let asking = true;
    const asked = (async () => { let n = 0; for (; asking; n++) assert.equal((await ask()).status, 200); return n; })();
    daemon.writeConfig({ proxy: { frame_origins: 'https://chat.example' }, log: { level: 'info' } });
    await daemon.restartDaemon();
    await until('each program is another', () => Object.keys(before).every((name) => (daemon.programPids()[name] ?? before[name]) !== before[name]), 20000);
    await until('the proxy has the new configuration', async () => /chat\.example/.test((await ask()).headers['content-security-policy']));
    await echo();
    asking = false;
    assert.ok(await asked > 0);
    assert.ok(all().every(alive));
    socket.close();
    await newOnesWork();
    daemon.writeConfig({});
    await daemon.restartDaemon();
    await until('and back', async () => !/chat\.example/.test((await ask()).headers['content-security-policy']), 20000);
    command.socket.terminate();
});

test('auracoded killed in the middle of creates and removes: all are finished or undone', async () => {
    const made = await Promise.all([...Array(4)].map(() => daemon.create({ egress: 'restricted' })));
    const during = [
        ...[...Array(4)].map(() => daemon.api('POST', '/v1/sandboxes', { body: { template: 'node', egress: 'restricted' }, timeoutMs: 8000 })),
        ...made.map((one) => daemon.api('DELETE', `/v1/sandboxes/${one.id}`, { timeoutMs: 8000 })),
    ].map((request) => request.catch((error) => ({ status: error.code })));
    await daemon.killDaemon();
    await until('what was half made is gone without the next one', () => daemon.processes('auracode-stage').length === 0);
    await daemon.startDaemon();
    await Promise.all(during);
    const { sandboxes } = await daemon.ok('GET', '/v1/sandboxes');
    for (const one of sandboxes.filter((box) => box.id !== id)) {
        assert.ok(['running', 'failed', 'stopped', 'removing'].includes(one.state), one.state);
        await daemon.remove(one.id);
    }
    const all = [...made, ...sandboxes].map((box) => box.id).filter((box) => box !== id);
    await daemon.noTraces(all);
    await works(performance.now());
    socket.close();
    command.socket.terminate();
});

// While the next one's first process holds copies of the daemon's descriptors, those of a lost connection among them.
test('an init that dies before it has answered whoever wants to talk to it, while others start, takes nobody down', async () => {
    const pid = daemon.pid;
    for (let round = 0; round < 6; round++) {
        const box = await daemon.create({ egress: 'none' });
        const init = daemon.initOf(box.id);
        process.kill(init, 'SIGSTOP');
        const asking = daemon.preview(box.id).catch((error) => error);
        const others = Promise.all([...Array(6)].map(() => daemon.create({ egress: 'none' })));
        await until('one is being made', () => daemon.processes('auracode-stage').length > 0);
        process.kill(init, 'SIGKILL');
        const made = await others;
        await asking;
        for (const { id: one } of [box, ...made]) await daemon.remove(one);
    }
    assert.equal(daemon.pid, pid);
    assert.ok(alive(pid));
    socket.close();
    command.socket.terminate();
});

test('auracode killed: the command it ran ends with it, all else goes on', async () => {
    const { spawn } = await import('node:child_process');
    const client = spawn(daemon.cliProgram, ['exec', id, 'sh', '-c', 'echo running; exec sleep 5150'],
        { env: { AURACODE_SOCKET: daemon.socket }, stdio: ['ignore', 'pipe', 'inherit'] });
    await once(client.stdout, 'data');
    client.kill('SIGKILL');
    await once(client, 'exit');
    await works(performance.now());
    await until('its command is gone', async () => (await daemon.exec(id, ['pgrep', '-f', 'sleep 5150'])).exit_code === 1, RECOVERY_MS);
    await echo();
    command.send('mine\n');
    await command.outputs(/got mine/);
    socket.close();
    command.socket.terminate();
});

test('a sandbox\'s init killed: the sandbox says that it failed, its neighbours do not notice', async () => {
    const other = await daemon.create({ egress: 'restricted' });
    process.kill(daemon.initOf(other.id), 'SIGKILL');
    const dead = await until('its end is told', async () => {
        const found = await daemon.ok('GET', `/v1/sandboxes/${other.id}`);
        return found.state !== 'running' && found.state !== 'stopping' && found;
    }, RECOVERY_MS);
    assert.ok(['failed', 'stopped'].includes(dead.state), dead.state);
    assert.equal(dead.cause, 'signal');
    assert.equal((await daemon.refused('POST', `/v1/sandboxes/${other.id}/exec`, { body: { command: 'true' } })).status, 409);
    await echo();
    assert.equal((await daemon.ok('POST', `/v1/sandboxes/${other.id}/start`)).state, 'running');
    assert.equal(await daemon.output(other.id, 'echo again'), 'again\n');
    await daemon.remove(other.id);
    await daemon.noTraces([other.id]);
    command.send('bye\n');
    await command.outputs(/got bye/);
    command.endInput();
    socket.close();
});
