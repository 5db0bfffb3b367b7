// The resource suite: one sandbox takes all it can get of something. It hits its limit inside, the cause is recorded,
// and meanwhile the neighbour and the host go on.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Instance, until } from './harness.mjs';
import { allowAllCalls, arm, policiesWith } from './hostile/hostile.mjs';

const MiB = 1 << 20;
const LIMITS = { memory: 256 * MiB, pids: 64, tmp: 32 * MiB };
const EPERM = 1, EAGAIN = 11, ENFILE = 23, EMFILE = 24, ENOSPC = 28, EDQUOT = 122;

let daemon, neighbour, attacker, probe;
before(async () => {
    daemon = await Instance.start();
    neighbour = await daemon.create({ name: 'neighbour', egress: 'none' });
    attacker = await daemon.create({ name: 'attacker', egress: 'none', limits: LIMITS });
    probe = await arm(daemon, attacker.id);
});
after(() => daemon?.stop());

// What must hold during and after every attack.
async function othersAreWell() {
    assert.equal(await daemon.output(neighbour.id, 'echo fine'), 'fine\n');
    assert.equal((await daemon.api('GET', '/healthz')).status, 200);
}

// Runs the attack in the background; looks at the others while it runs, and gives its end.
async function attack(args, id = attacker.id) {
    const { process_id } = await daemon.exec(id, ['/home/user/probe', ...args.map(String)], { background: true, timeout_ms: 120000 });
    await othersAreWell();
    const end = await until(`the end of ${args[0]}`, async () => {
        const process = await daemon.ok('GET', `/v1/sandboxes/${id}/processes/${process_id}`);
        return process.state === 'exited' && process;
    }, 120000);
    const log = await daemon.api('GET', `/v1/sandboxes/${id}/processes/${process_id}/logs`, { raw: true });
    await othersAreWell();
    return { ...end, stdout: log.body.toString().trim() };
}

const numbers = (text, pattern) => {
    const match = text.match(pattern);
    assert.ok(match, text);
    return match.slice(1).map(Number);
};

test('a fork bomb meets the pids limit', async () => {
    const end = await attack(['forks']);
    const [made, errno] = numbers(end.stdout, /^ok (\d+) errno (\d+)/);
    assert.equal(errno, EAGAIN);
    assert.ok(made > 10 && made < LIMITS.pids, `${made}`);
    assert.equal(end.cause, 'exited');
    assert.deepEqual(end.limits_hit, ['pids']);
    const stats = await daemon.ok('GET', `/v1/sandboxes/${attacker.id}/stats`);
    assert.ok(stats.pids < 10, JSON.stringify(stats));
});

test('a memory hog is killed, with its peak told, and its sandbox lives', async () => {
    const end = await attack(['memory', 1024]);
    assert.equal(end.cause, 'oom', JSON.stringify(end));
    assert.equal(end.signal, 'SIGKILL');
    assert.ok(end.cause_detail.memory_limit_bytes === LIMITS.memory, JSON.stringify(end.cause_detail));
    assert.ok(end.cause_detail.memory_peak_bytes > LIMITS.memory / 2, JSON.stringify(end.cause_detail));
    assert.equal(await daemon.output(attacker.id, 'echo alive'), 'alive\n');
    assert.ok((await daemon.ok('GET', `/v1/sandboxes/${attacker.id}/stats`)).oom_kills >= 1);
});

test('memory within the limit is given', async () => {
    assert.equal((await attack(['memory', 128])).stdout, 'ok 128');
});

test('a full /tmp is told as full, and empties again', async () => {
    const [written, errno] = numbers((await attack(['fill', '/tmp/full'])).stdout, /^ok (\d+) errno (\d+)/);
    assert.equal(errno, ENOSPC);
    assert.ok(written <= LIMITS.tmp && written > LIMITS.tmp / 2, `${written}`);
    await daemon.output(attacker.id, ['rm', '/tmp/full']);
    await daemon.output(attacker.id, 'echo again > /tmp/again');
});

test('inodes of /tmp run out inside, not outside', async () => {
    await daemon.output(attacker.id, 'mkdir -p /tmp/many');
    const [made, errno] = numbers((await attack(['many', '/tmp/many'])).stdout, /^ok (\d+) errno (\d+)/);
    assert.equal(errno, ENOSPC);
    assert.ok(made > 100 && made < 1e6, `${made}`);
    await daemon.output(attacker.id, ['rm', '-r', '/tmp/many']);
});

test('a flood of descriptors meets the limit of the process', async () => {
    const before = Number(fs.readFileSync('/proc/sys/fs/file-nr', 'utf8').split('\t')[0]);
    const [made, errno] = numbers((await attack(['descriptors'])).stdout, /^ok (\d+) errno (\d+)/);
    assert.ok([EMFILE, ENFILE].includes(errno), `${errno}`);
    assert.ok(made < 2e6 && before > 0, `${made}`);
});

test('inotify runs out inside', async () => {
    const [instances, refused, watches, last] = numbers((await attack(['watches', '/tmp/watches'])).stdout,
        /^ok (\d+) errno (\d+) watches (\d+) errno (\d+)/);
    assert.ok([EMFILE, ENOSPC].includes(refused), `${refused}`);
    assert.ok([ENOSPC, EMFILE, EDQUOT].includes(last), `${last}`);
    assert.ok(instances > 0 && watches > 0);
    await daemon.output(neighbour.id, ['node', '-e', 'require("fs").watch("/app").close()']);
    await daemon.output(attacker.id, ['rm', '-r', '/tmp/watches']);
});

test('inotify instances are counted for each sandbox: whoever holds all takes none from neighbour and host', async () => {
    const holders = await Promise.all([1, 2, 3].map(() => daemon.stream(attacker.id, { argv: ['/home/user/probe', 'hold-watches'] })));
    await Promise.all(holders.map((holder) => holder.outputs(/^ok \d+/)));
    assert.notEqual((await daemon.exec(attacker.id, ['node', '-e', 'require("fs").watch("/app").close()'])).exit_code, 0);
    await daemon.output(neighbour.id, ['node', '-e', 'require("fs").watch("/app").close()']);
    fs.watch('/tmp').close();
    for (const holder of holders) holder.control({ type: 'signal', signal: 'SIGKILL' });
    await Promise.all(holders.map((holder) => holder.ended));
    await daemon.output(attacker.id, ['node', '-e', 'require("fs").watch("/app").close()']);
});

// The kernel counts keys by uid. A sandbox's uids have none, whatever the policy allows: the daemon's own filter holds for
// all that it starts.
test('keys: none can be made, with the policies that ship and with one that allows every call', async () => {
    const firstId = 65536, bare = policiesWith(allowAllCalls);
    const other = await Instance.start({ sandbox: { policies: bare.folder } });
    try {
        const bareProbe = await arm(other, (await other.create({ egress: 'none' })).id);
        for (const one of [probe, bareProbe])
            for (const user of ['user', 'root']) assert.equal(await one(['keys'], { user }), `ok 0 errno ${EPERM}`);
        const owners = fs.readFileSync('/proc/key-users', 'utf8').trim().split('\n').map((line) => parseInt(line));
        assert.ok(owners.includes(0) && owners.every((uid) => uid < firstId), `${owners}`);
    } finally {
        await other.stop();
        bare.remove();
    }
});

test('zombies by the thousand are reaped by the init', async () => {
    assert.equal((await attack(['zombies', 3000])).stdout, 'ok 3000');
    await until('no zombie is left', async () =>
        (await daemon.output(attacker.id, 'cat /proc/[0-9]*/stat 2>/dev/null | grep -c ") Z " || true')).trim() === '0');
});

test('a flood of logs stays in its ring, whoever does not read it', async () => {
    const rss = (pid) => Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB$/m)[1]) / 1024;
    const { process_id } = await daemon.exec(attacker.id, ['/home/user/probe', 'flood', String(512 * MiB)], { background: true });
    const pids = [daemon.pid, daemon.hostProgram('auracode-api')];
    const before = pids.map(rss);
    const reader = await daemon.request('GET', `/v1/sandboxes/${attacker.id}/processes/${process_id}/logs?follow=true`);
    reader.pause(); // never read
    await until('the flood has ended', async () => {
        await othersAreWell();
        return (await daemon.ok('GET', `/v1/sandboxes/${attacker.id}/processes/${process_id}`)).state === 'exited';
    }, 120000);
    reader.destroy();
    const { log_first: first, log_next: next } = await daemon.ok('GET', `/v1/sandboxes/${attacker.id}/processes/${process_id}`);
    assert.ok(next - first <= 2 * MiB, `${next - first} bytes kept`);
    assert.ok(next >= 512 * MiB);
    for (const [i, pid] of pids.entries()) assert.ok(rss(pid) - before[i] < 128, `${pid} grew from ${before[i]} to ${rss(pid)} MiB`);
});

test('a huge answer of a dev server that nobody takes does not fill the proxy', async () => {
    await daemon.write(attacker.id, 'huge.js', `
        require('http').createServer((q, r) => { const b = Buffer.alloc(1 << 20); const go = () => { while (r.write(b)); r.once('drain', go); }; go(); })
            .listen(3000, '127.0.0.1');`);
    await daemon.write(neighbour.id, 'small.js', `require('http').createServer((q, r) => r.end('small')).listen(3000, '127.0.0.1')`);
    await daemon.exec(attacker.id, 'node huge.js', { background: true });
    await daemon.devServer(neighbour.id, { command: 'node small.js', port: 3000 });
    await until('the huge server listens', async () => (await daemon.ok('GET', `/v1/sandboxes/${attacker.id}/ports`)).ports.some(({ port }) => port === 3000));
    const proxy = daemon.hostProgram('auracode-proxy');
    const rss = () => Number(fs.readFileSync(`/proc/${proxy}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB$/m)[1]) / 1024;
    const before = rss();
    const slow = await Promise.all([...Array(20)].map(() => new Promise((resolve, reject) => {
        const socket = net.connect(daemon.proxyPort, '127.0.0.1', () => socket.write(`GET / HTTP/1.1\r\nHost: 3000-${attacker.id}.localhost\r\n\r\n`));
        socket.once('readable', () => resolve(socket)); // the head has come; nothing is read
        socket.on('error', reject);
    })));
    for (let i = 0; i < 20; i++) assert.equal((await daemon.preview(neighbour.id, '/')).body.toString(), 'small');
    assert.ok(rss() - before < 64, `the proxy grew from ${before} to ${rss()} MiB`);
    for (const socket of slow) socket.destroy();
});

test('the sandbox that did all this is removed like any other', async () => {
    await daemon.remove(attacker.id);
    await daemon.noTraces([attacker.id]);
    await othersAreWell();
});
