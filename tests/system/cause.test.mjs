// Every end names its cause, in the API and the CLI, and never one that is not true.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Instance, until } from './harness.mjs';

const MIB = 1 << 20;
const limits = { memory: 192 * MIB, pids: 48 };
// Takes memory until somebody stops it.
const HOG = 'const kept = []; for (;;) kept.push(Buffer.alloc(4 << 20, 1));';

let daemon, id;

before(async () => {
    daemon = await Instance.start();
    ({ id } = await daemon.create({ limits }));
});
after(() => daemon?.stop());

// What a process object and an exec result have in common, without what the case does not speak of.
function told({ exit_code, signal, cause, cause_text, cause_detail, limits_hit }) {
    assert.equal(typeof cause_text, 'string');
    assert.ok(Array.isArray(limits_hit));
    return { exit_code, signal, cause, cause_text, cause_detail, limits_hit };
}

const processes = async () => (await daemon.ok('GET', `/v1/sandboxes/${id}/processes`)).processes;

// A background process and the promise of how it ended.
async function background(command) {
    const socket = await daemon.stream(id, { argv: ['/bin/bash', '-c', command] });
    await socket.outputs(/up/);
    const process = (await processes()).find(({ state }) => state === 'running');
    return { process, ended: socket.ended };
}

test('an exit by itself', async () => {
    assert.deepEqual(told(await daemon.exec(id, 'exit 7')), {
        exit_code: 7, signal: null, cause: 'exited', cause_text: 'exited with code 7', cause_detail: {}, limits_hit: [],
    });
});

test('a signal by itself, whose sender nobody can know', async () => {
    assert.deepEqual(told(await daemon.exec(id, 'kill -SEGV $$')), {
        exit_code: null, signal: 'SIGSEGV', cause: 'signal', cause_text: 'killed by SIGSEGV',
        cause_detail: { signal: 'SIGSEGV', sender: 'unknown' }, limits_hit: [],
    });
});

test('a SIGKILL by another process of the sandbox is no OOM kill', async () => {
    const { process, ended } = await background('echo up; exec sleep 100');
    await daemon.output(id, `kill -9 ${process.pid}`);
    const end = told(await ended);
    assert.equal(end.cause, 'signal');
    assert.deepEqual(end.cause_detail, { signal: 'SIGKILL', sender: 'unknown' });
});

test('a time limit', async () => {
    const end = told(await daemon.exec(id, 'sleep 100', { timeout_ms: 200 }));
    assert.equal(end.cause, 'timeout');
    assert.equal(end.cause_text, 'killed: its time limit of 200 ms was over');
    assert.deepEqual(end.cause_detail, { signal: 'SIGKILL', sender: 'init', timeout_ms: 200 });
});

test('a request; but a request for another signal is not what killed it', async () => {
    const asked = await background('echo up; exec sleep 100');
    await daemon.ok('DELETE', `/v1/sandboxes/${id}/processes/${asked.process.process_id}?signal=SIGTERM`);
    const end = told(await asked.ended);
    assert.equal(end.cause, 'request');
    assert.equal(end.cause_text, 'killed by SIGTERM on request');
    assert.deepEqual(end.cause_detail, { signal: 'SIGTERM', sender: 'api' });

    const other = await background("trap 'kill -9 $$' USR1; echo up; while :; do sleep 0.05; done");
    await daemon.ok('DELETE', `/v1/sandboxes/${id}/processes/${other.process.process_id}?signal=SIGUSR1`);
    const kill = told(await other.ended);
    assert.equal(kill.signal === 'SIGUSR1' ? 'request' : 'signal', kill.cause);
});

test('out of memory, with the peak and the limit', async () => {
    const end = told(await daemon.exec(id, ['node', '-e', HOG]));
    assert.equal(end.cause, 'oom', JSON.stringify(end));
    assert.equal(end.signal, 'SIGKILL');
    assert.equal(end.cause_detail.sender, 'kernel');
    assert.equal(end.cause_detail.memory_limit_bytes, limits.memory);
    assert.ok(end.cause_detail.memory_peak_bytes > limits.memory * 0.9, JSON.stringify(end));
    assert.match(end.cause_text, /^killed: out of memory \(peak \d+ MiB of 192 MiB\)/);
    assert.ok(end.limits_hit.includes('memory'));

    const shown = await daemon.cli(['exec', id, '--', 'node', '-e', HOG]);
    assert.equal(shown.code, 137);
    assert.match(shown.stderr, /^auracode: killed: out of memory \(peak \d+ MiB of 192 MiB\)$/m);
});

test('out of memory in a child of the command, which tells of it by its own exit code', async () => {
    const end = told(await daemon.exec(id, `node -e '${HOG}'; exit $?`));
    assert.equal(end.cause, 'exited', JSON.stringify(end));
    assert.equal(end.exit_code, 137);
    assert.ok(end.limits_hit.includes('memory'));
    assert.match(end.cause_text, /^exited with code 137; limits that were hit: memory/);
    assert.equal(end.cause_detail.memory_limit_bytes, limits.memory);
    // That kill was of no child of the init: it must not be put down to the next one that dies.
    const next = told(await daemon.exec(id, 'sleep 0.3; kill -9 $$'));
    assert.equal(next.cause, 'signal', JSON.stringify(next));
});

// Children until there can be no more; bash would retry for 15 s.
const SPAWN_ALL = `const { spawn } = require('node:child_process');
    const children = Array.from({ length: 80 }, () => spawn('sleep', ['100']).on('error', () => {}));`;

test('the limit of processes', async () => {
    const end = told(await daemon.exec(id, ['node', '-e',
        `${SPAWN_ALL} for (const child of children) if (child.pid) child.kill(); process.exitCode = 3;`]));
    assert.equal(end.exit_code, 3, JSON.stringify(end));
    assert.deepEqual(end.limits_hit, ['pids']);
    assert.equal(end.cause_text, 'exited with code 3; limits that were hit: pids');
    assert.equal(end.cause_detail.pids_limit, limits.pids);
});

test('a command that cannot start for the limit of processes: the error names limit and value', async () => {
    const full = await background(`exec node -e "${SPAWN_ALL} console.log('up')"`);
    const refusal = await daemon.refused('POST', `/v1/sandboxes/${id}/exec`, { body: { argv: ['true'] } });
    await daemon.ok('DELETE', `/v1/sandboxes/${id}/processes/${full.process.process_id}?signal=SIGKILL`);
    assert.equal(refusal.code, 'pids_limit');
    assert.equal(refusal.status, 409);
    assert.match(refusal.message, /limits\.pids.*\b48\b/);
    assert.equal(told(await full.ended).cause, 'request');
});

test('a file system that is full, told by a command and by the file API', async () => {
    const small = await daemon.create({ limits: { ...limits, tmp: 2 * MIB } });
    const end = told(await daemon.exec(small.id, 'dd if=/dev/zero of=/tmp/fill bs=64k'));
    assert.equal(end.exit_code, 1, JSON.stringify(end));
    assert.equal(end.cause, 'exited');
    assert.deepEqual(end.limits_hit, ['tmp']);
    const shown = await daemon.cli(['exec', small.id, '--', 'sh', '-c', 'exit 4']);
    assert.equal(shown.code, 4);
    assert.equal(shown.stderr, 'auracode: exited with code 4; limits that were hit: tmp\n');

    await daemon.output(small.id, 'rm /tmp/fill');
    assert.deepEqual(told(await daemon.exec(small.id, 'true')).limits_hit, []);
    const refusal = await daemon.refused('PUT', `/v1/sandboxes/${small.id}/files?path=/tmp/large`, {
        body: Buffer.alloc(4 * MIB, 1), headers: { 'content-type': 'application/octet-stream' },
    });
    assert.equal(refusal.code, 'disk_full');
    assert.equal(refusal.status, 507);
    assert.match(refusal.message, /\/tmp\/large.*limits\.tmp/);
    await daemon.remove(small.id);
});

test('the CLI lists how processes ended, and says nothing where there is nothing to say', async () => {
    await daemon.ok('POST', `/v1/sandboxes/${id}/exec`, { body: { argv: ['sh', '-c', 'kill -9 $$'], background: true, name: 'x' } });
    const row = await until('its end is listed', async () =>
        (await daemon.cli(['ps', id])).stdout.split('\n').find((line) => /kill -9 \$\$.*killed/.test(line)));
    assert.match(row, /^\d+\s+exited\s+\S+\s+sh -c kill -9 \$\$\s+killed by SIGKILL$/);
    assert.equal((await daemon.cli(['exec', id, '--', 'sh', '-c', 'exit 3'])).stderr, '');
});

test('what cannot be executed is an error that names it', async () => {
    const refusal = await daemon.refused('POST', `/v1/sandboxes/${id}/exec`, { body: { argv: ['/no/such/program'] } });
    assert.equal(refusal.code, 'exec_failed');
    assert.match(refusal.message, /\/no\/such\/program/);
});

test('a forbidden system call is named, made by itself or by a program that it started', async () => {
    const source = path.join(daemon.dir, 'foreign.c');
    const program = path.join(daemon.dir, 'foreign');
    // getpid of i386, with that architecture's entry; or of x32, with its bit in the number.
    fs.writeFileSync(source, `#include <sys/syscall.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            int r;
            if (argc > 1) return syscall(0x40000000 | 39) < 0;
            __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
            return 0;
        }`);
    execFileSync('gcc', ['-static', '-o', program, source]);
    await daemon.write(id, 'foreign', fs.readFileSync(program));
    await daemon.output(id, 'chmod +x foreign');

    const i386 = told(await daemon.exec(id, ['/app/foreign']));
    assert.equal(i386.cause, 'seccomp', JSON.stringify(i386));
    assert.equal(i386.cause_text, 'killed: forbidden system call `getpid` (number 20) of i386');
    assert.deepEqual(i386.cause_detail,
        { signal: 'SIGKILL', sender: 'init', syscall: 'getpid', syscall_number: 20, arch: 'i386' });

    const x32 = told(await daemon.exec(id, './foreign x32; exit $?'));
    assert.equal(x32.cause, 'exited');
    assert.equal(x32.exit_code, 137);
    assert.equal(x32.cause_detail.arch, 'x32');
    assert.equal(x32.cause_detail.syscall, 'getpid');

    const shown = await daemon.cli(['exec', id, '--', '/app/foreign']);
    assert.match(shown.stderr, /^auracode: killed: forbidden system call `getpid`/m);
});

test('the dev server tells its cause in the same words', async () => {
    const dev = `/v1/sandboxes/${id}/dev-server`;
    await daemon.ok('PUT', dev, { body: { command: ['node', '-e', HOG], auto_restart: false } });
    const crashed = await daemon.ok('GET', `${dev}?wait=ready&timeout_ms=60000`);
    assert.equal(crashed.state, 'crashed');
    assert.equal(crashed.cause, 'oom', JSON.stringify(crashed));
    assert.match(crashed.cause_text, /out of memory/);
    assert.equal(crashed.cause_detail.memory_limit_bytes, limits.memory);
    assert.match((await daemon.cli(['logs', id])).stderr, /^auracode: the dev server crashed: killed: out of memory/m);

    await daemon.ok('PUT', dev, { body: { command: ['/no/such'], auto_restart: false } }).catch(() => {});
    const missing = await daemon.ok('GET', dev);
    assert.equal(missing.cause, 'spawn_failed');
    assert.match(missing.cause_text, /\/no\/such/);
    await daemon.ok('DELETE', dev);
});

// ---- sandboxes

const cause = ({ state, cause, cause_text, cause_detail }) => ({ state, cause, cause_text, cause_detail });
const shown = async (sandbox) => cause(await daemon.ok('GET', `/v1/sandboxes/${sandbox}`));
const end = (sandbox) => until('its end is told', async () => {
    const found = await shown(sandbox);
    return found.state !== 'running' && found.state !== 'stopping' && found;
});

// A new sandbox with a command that runs in it, and the answer to that.
async function busy() {
    const sandbox = await daemon.create({ limits });
    assert.deepEqual(cause(sandbox), { state: 'running', cause: null, cause_text: null, cause_detail: null });
    const stream = await daemon.stream(sandbox.id, { argv: ['/bin/sh', '-c', 'echo up; sleep 100'] });
    await stream.outputs(/up/);
    return { id: sandbox.id, stream };
}

test('a sandbox that was stopped, with what ran in it', async () => {
    const { id: sandbox, stream } = await busy();
    await daemon.ok('POST', `/v1/sandboxes/${sandbox}/stop`);
    const command = told(await stream.ended);
    assert.equal(command.cause, 'sandbox');
    assert.equal(command.cause_text, 'killed by SIGTERM: the sandbox was stopped');
    assert.deepEqual(await shown(sandbox),
        { state: 'stopped', cause: 'request', cause_text: 'stopped on request', cause_detail: {} });
    const inspect = await daemon.cli(['inspect', sandbox]);
    assert.match(inspect.stdout, /^cause_text\s+stopped on request$/m);
    const url = await daemon.cli(['url', sandbox]);
    assert.match(url.stderr, /stopped on request/);

    assert.equal((await daemon.ok('POST', `/v1/sandboxes/${sandbox}/start`)).cause, null);
    await daemon.remove(sandbox);
});

test('a sandbox whose init was killed from the host', async () => {
    const { id: sandbox, stream } = await busy();
    process.kill(daemon.initOf(sandbox), 'SIGKILL');
    assert.deepEqual(await end(sandbox), {
        state: 'stopped', cause: 'signal', cause_text: 'its first process was killed by SIGKILL from the host',
        cause_detail: { signal: 'SIGKILL', sender: 'host' },
    });
    await assert.rejects(stream.ended, (error) => error.code === 'sandbox_ended' && /SIGKILL from the host/.test(error.message));
    await daemon.remove(sandbox);
});

test('a sandbox whose init was killed for memory; what was killed before does not count', async () => {
    const { id: sandbox } = await daemon.create({ limits });
    assert.equal((await daemon.exec(sandbox, ['node', '-e', HOG])).cause, 'oom');
    // The kernel takes the process with the highest score. The host makes that the init: most of the memory is no
    // process's, but in files of /tmp.
    const hog = await daemon.stream(sandbox, {
        argv: ['/bin/sh', '-c', `echo 0 > /proc/self/oom_score_adj;
            dd if=/dev/zero of=/tmp/fill bs=1M count=80 2>/dev/null; echo up; read line; exec node -e "${HOG}"`], stdin: true,
    });
    await hog.outputs(/up/);
    fs.writeFileSync(`/proc/${daemon.initOf(sandbox)}/oom_score_adj`, '1000');
    hog.send('go\n');
    await assert.rejects(hog.ended, (error) =>
        error.code === 'sandbox_ended' && /out of memory \(peak \d+ MiB of 192 MiB\)/.test(error.message));
    const dead = await end(sandbox);
    assert.equal(dead.cause, 'oom');
    assert.equal(dead.cause_detail.sender, 'kernel');
    assert.equal(dead.cause_detail.memory_limit_bytes, limits.memory);

    await daemon.ok('POST', `/v1/sandboxes/${sandbox}/start`);
    assert.equal((await daemon.exec(sandbox, ['node', '-e', HOG])).cause, 'oom');
    process.kill(daemon.initOf(sandbox), 'SIGKILL');
    assert.equal((await end(sandbox)).cause, 'signal');
    await daemon.remove(sandbox);
});

test('an end that the daemon did not see is not made up; a cause survives the daemon', async () => {
    const [seen, unseen, stopped] = [await busy(), await busy(), await busy()];
    await daemon.ok('POST', `/v1/sandboxes/${stopped.id}/stop`);
    const init = daemon.initOf(unseen.id);
    await daemon.killDaemon();
    process.kill(init, 'SIGKILL');
    await until('the init is gone', () => !fs.existsSync(`/proc/${init}`) || /^State:\sZ/m.test(fs.readFileSync(`/proc/${init}/status`, 'utf8')));
    await daemon.startDaemon();

    const lost = await shown(unseen.id);
    assert.equal(lost.state, 'stopped');
    assert.equal(lost.cause, 'lost');
    assert.equal(lost.cause_text, 'ended while the daemon was away; how is not known');
    assert.equal((await shown(stopped.id)).cause, 'request');

    assert.equal((await shown(seen.id)).state, 'running');
    process.kill(daemon.initOf(seen.id), 'SIGKILL');
    const adopted = await end(seen.id);
    assert.equal(adopted.cause, 'lost');
    assert.match(adopted.cause_text, /how is not known/);
    for (const { id: sandbox } of [seen, unseen, stopped]) await daemon.remove(sandbox);
});
