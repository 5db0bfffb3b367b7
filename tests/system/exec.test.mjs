// Commands in a sandbox: run to the end, in the background, and interactively.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Instance, once, until } from './harness.mjs';

let daemon, id;
before(async () => {
    daemon = await Instance.start();
    ({ id } = await daemon.create({ egress: 'none', env: { FROM_SANDBOX: 'box' } }));
});
after(() => daemon?.stop());

test('a command gives its output, status and time', async () => {
    const result = await daemon.exec(id, 'echo out; echo err >&2; exit 3');
    assert.equal(result.exit_code, 3);
    assert.equal(result.signal, null);
    assert.equal(result.cause, 'exited');
    assert.equal(result.stdout, 'out\n');
    assert.equal(result.stderr, 'err\n');
    assert.equal(result.truncated, false);
    assert.ok(result.duration_ms >= 0 && result.duration_ms < 10000);
});

test('argv runs without a shell, as user in /app', async () => {
    assert.equal(await daemon.output(id, ['printf', '%s|', '$HOME', '*', 'a b']), '$HOME|*|a b|');
    assert.equal(await daemon.output(id, 'whoami; id -u; pwd; echo $HOME'), 'user\n1000\n/app\n/home/user\n');
});

test('cwd, env, user and stdin are taken', async () => {
    assert.equal(await daemon.output(id, 'pwd', { cwd: '/tmp' }), '/tmp\n');
    assert.equal(await daemon.output(id, 'echo $A $FROM_SANDBOX', { env: { A: 'given' } }), 'given box\n');
    assert.equal(await daemon.output(id, 'echo $FROM_SANDBOX', { env: { FROM_SANDBOX: 'request' } }), 'request\n');
    assert.equal(await daemon.output(id, 'id -u', { user: 'root' }), '0\n');
    assert.equal(await daemon.output(id, 'wc -c', { stdin: 'x'.repeat(100000) }), '100000\n');
    assert.equal(await daemon.output(id, 'cat'), '');
});

test('a command that leaves its input unread ends as itself', async () => {
    for (let i = 0; i < 40; i++) { // lost in about one of ten where it was lost
        const ends = await Promise.all([...Array(4)].map(() => daemon.exec(id, ['echo', 'x'], { stdin: 'unread' })));
        assert.deepEqual(ends.map(({ exit_code, stdout }) => [exit_code, stdout]), Array(4).fill([0, 'x\n']));
    }
});

test('a signal is told as one', async () => {
    const result = await daemon.exec(id, 'kill -SEGV $$');
    assert.equal(result.exit_code, null);
    assert.equal(result.signal, 'SIGSEGV');
    assert.equal(result.cause, 'signal');
});

test('a timeout kills the whole group, grandchildren too', async () => {
    const result = await daemon.exec(id, '(trap "" TERM; sleep 987) & sleep 986', { timeout_ms: 300 });
    assert.equal(result.cause, 'timeout');
    assert.ok(result.duration_ms >= 300 && result.duration_ms < 5000, `${result.duration_ms} ms`);
    assert.equal((await daemon.exec(id, ['pgrep', '-f', 'sleep 98[67]'])).exit_code, 1);
});

test('large output is clipped and says so', async () => {
    const result = await daemon.exec(id, 'head -c 20000000 /dev/zero | tr "\\0" x; echo; echo end');
    assert.equal(result.exit_code, 0);
    assert.equal(result.truncated, true);
    assert.ok(result.stdout.length < 17e6);
});

test('output that is no UTF-8 does not break the answer', async () => {
    const result = await daemon.exec(id, "printf 'a\\377b'");
    assert.equal(result.exit_code, 0);
    assert.match(result.stdout, /^a.+b$/s);
});

const bad = [
    ['nothing to run', {}, 400],
    ['an empty argv', { argv: [] }, 400],
    ['argv of numbers', { argv: [1] }, 400],
    ['argv and command', { argv: ['true'], command: 'true' }, 400],
    ['an unknown field', { command: 'true', shell: 'zsh' }, 400],
    ['an unknown user', { command: 'true', user: 'nobody-such' }, 400],
    ['a numeric user', { command: 'true', user: '0' }, 400],
    ['a negative timeout', { command: 'true', timeout_ms: -1 }, 400],
    ['a bad env', { command: 'true', env: { 'A=': 'x' } }, 400],
];
for (const [what, body, status] of bad)
    test(`${what} is refused`, async () => {
        assert.equal((await daemon.refused('POST', `/v1/sandboxes/${id}/exec`, { body })).status, status);
    });

test('a program or folder that is not there is named', async () => {
    const url = `/v1/sandboxes/${id}/exec`;
    const missing = await daemon.refused('POST', url, { body: { argv: ['/no/such/program'] } });
    assert.equal(missing.code, 'exec_failed');
    assert.match(missing.message, /\/no\/such\/program/);
    const folder = await daemon.refused('POST', url, { body: { command: 'true', cwd: '/app/nowhere' } });
    assert.match(folder.message, /nowhere/);
});

test('a background process is listed, logs, and ends by signal', async () => {
    const { process_id } = await daemon.exec(id, 'echo started; exec sleep 1000', { background: true });
    const one = `/v1/sandboxes/${id}/processes/${process_id}`;
    assert.equal((await daemon.ok('GET', one)).state, 'running');
    const { processes } = await daemon.ok('GET', `/v1/sandboxes/${id}/processes`);
    assert.ok(processes.some((process) => process.process_id === process_id));

    const follow = await daemon.request('GET', `${one}/logs?follow=true`);
    assert.equal(follow.statusCode, 200);
    let text = '';
    for await (const chunk of follow) {
        text += chunk;
        if (text.includes('started')) break;
    }
    await daemon.ok('DELETE', `${one}?signal=SIGTERM`);
    const ended = await daemon.stream(id, { argv: ['true'] });
    await ended.ended;
    const { state, signal } = await daemon.ok('GET', one);
    assert.deepEqual({ state, signal }, { state: 'exited', signal: 'SIGTERM' });
    assert.equal((await daemon.refused('GET', `/v1/sandboxes/${id}/processes/99999`)).status, 404);
});

test('an interactive command takes stdin piece by piece and tells its end', async () => {
    const stream = await daemon.stream(id, { argv: ['sh', '-c', 'while read l; do echo "got $l"; done; exit 7'], stdin: true });
    stream.send('one\n');
    await stream.outputs(/got one\n/);
    stream.send('two\n');
    await stream.outputs(/got two\n/);
    stream.endInput();
    assert.equal((await stream.ended).exit_code, 7);
});

test('stdout and stderr come on their own channels', async () => {
    const stream = await daemon.stream(id, { command: 'echo out; echo err >&2' });
    assert.equal((await stream.ended).exit_code, 0);
    assert.equal(stream.stdout, 'out\n');
    assert.equal(stream.stderr, 'err\n');
});

test('a terminal has its size, changes it, and passes ^C', async () => {
    const stream = await daemon.stream(id, { argv: ['bash', '--norc'], tty: true, stdin: true, rows: 31, cols: 97 });
    stream.send('stty size\n');
    await stream.outputs(/31 97/);
    stream.control({ type: 'resize', rows: 40, cols: 111 });
    stream.send('stty size\n');
    await stream.outputs(/40 111/);
    // ^C must find the child in the foreground: one that reaches bash between its fork and its tcsetpgrp() is lost.
    stream.send("sh -c 'echo fore''ground; exec sleep 1000'\n");
    await stream.outputs(/^foreground/m);
    stream.send('\x03');
    stream.send('echo "still $((40 + 2))"\n');
    await stream.outputs(/still 42/);
    stream.send('exit 5\n');
    assert.equal((await stream.ended).exit_code, 5);
});

test('50 MB stream through whole, in order', async () => {
    const stream = await daemon.stream(id, { command: 'seq 1 6500000' });
    assert.equal((await stream.ended).exit_code, 0);
    const lines = stream.stdout.split('\n');
    assert.equal(lines.length, 6500001);
    assert.equal(lines[6499999], '6500000');
    assert.ok(lines.slice(0, -1).every((line, i) => line === String(i + 1)));
});

test('a client that goes away takes its process along, unless it asked to leave it', async () => {
    for (const [query, left] of [['', 1], ['?detach=true', 0]]) {
        const stream = await daemon.stream(id, { command: 'echo here; exec sleep 765' }, query);
        await stream.outputs(/here/);
        stream.socket.terminate();
        await once(stream.socket, 'close');
        if (left) await until('the process is gone', async () => (await daemon.exec(id, ['pgrep', '-f', 'sleep 765'])).exit_code === 1);
        else assert.equal((await daemon.exec(id, ['pgrep', '-f', 'sleep 765'])).exit_code, left);
    }
    await daemon.exec(id, ['pkill', '-f', 'sleep 765']);
});

test('a bad first message is answered with an error', async () => {
    for (const first of ['{', '[]', '{"argv":[]}', '{"argv":["true"],"colour":1}']) {
        const socket = daemon.ws(`/v1/sandboxes/${id}/exec`);
        const said = [];
        socket.on('message', (data) => said.push(data.toString()));
        await once(socket, 'open');
        const closed = new Promise((resolve) => socket.once('close', resolve));
        socket.send(first);
        await closed;
        assert.ok(said.some((text) => text.includes('"error"')), `${first}: ${said}`);
    }
});

test('the WebSocket of an unknown sandbox is 404', async () => {
    const socket = daemon.ws('/v1/sandboxes/aaaaaaaaaaaa/exec');
    const [, response] = await new Promise((resolve) => socket.once('unexpected-response', (...values) => resolve(values)));
    assert.equal(response.statusCode, 404);
    response.resume();
});

test('100 commands at once all answer', async () => {
    const results = await Promise.all([...Array(100).keys()].map((i) => daemon.exec(id, `echo ${i}`)));
    assert.deepEqual(results.map(({ stdout }) => stdout), [...Array(100).keys()].map((i) => `${i}\n`));
});
