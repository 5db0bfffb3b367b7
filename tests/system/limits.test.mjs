// Limits: what the kernel was told, what it does, what stats say of it, and changes while a sandbox runs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Instance, until } from './harness.mjs';

const MiB = 1 << 20;
let daemon;
before(async () => { daemon = await Instance.start(); });
after(() => daemon?.stop());

const read = (file) => { try { return fs.readFileSync(file, 'utf8').trim(); } catch { return null; } };

// The group's folders in all hierarchies, by the folder names alone: v1, v2 or both.
function folders(id) {
    const found = [];
    const walk = (folder, depth) => {
        for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
            if (!entry.isDirectory()) continue;
            const child = path.join(folder, entry.name);
            if (entry.name === daemon.cgroup) found.push(path.join(child, id));
            else if (depth > 0) walk(child, depth - 1);
        }
    };
    walk('/sys/fs/cgroup', 3);
    return found;
}

// The content of the first of these files that the kernel has for the sandbox.
const kernel = (id, ...files) => folders(id)
    .flatMap((folder) => files.map((file) => read(path.join(folder, file)))).find((text) => text !== null);
const number = (...args) => Number(kernel(...args));
const keyed = (key, id, ...files) => Number(kernel(id, ...files)?.match(new RegExp(`^${key} (\\d+)$`, 'm'))?.[1]);

const stats = (id) => daemon.ok('GET', `/v1/sandboxes/${id}/stats`);
const patch = (id, body) => daemon.ok('PATCH', `/v1/sandboxes/${id}`, { body });
const v2 = fs.existsSync('/sys/fs/cgroup/cgroup.controllers');

// What the kernel must hold for some limits, in the words of either version.
function assertKernel(id, limits) {
    assert.equal(number(id, 'memory.max', 'memory.limit_in_bytes'), limits.memory);
    if (v2) assert.equal(number(id, 'memory.swap.max'), limits.swap);
    else assert.equal(number(id, 'memory.memsw.limit_in_bytes'), limits.memory + limits.swap);
    if (limits.memory_high) assert.equal(number(id, 'memory.high', 'memory.soft_limit_in_bytes'), limits.memory_high);
    assert.equal(kernel(id, 'cpu.max', 'cpu.cfs_quota_us'), v2 ? `${limits.cpu * 100000} 100000` : `${limits.cpu * 100000}`);
    assert.equal(number(id, 'cpu.weight', 'cpu.shares'), v2 ? limits.cpu_weight : Math.floor(limits.cpu_weight * 10.24));
    assert.equal(number(id, 'pids.max'), limits.pids);
}

const first = { memory: 256 * MiB, memory_high: 200 * MiB, swap: 0, cpu: 0.5, cpu_weight: 50, pids: 64 };

test('every limit reaches the kernel, from the create on, after a change up and down, and after a restart', async () => {
    const { id, limits } = await daemon.create({ limits: first });
    assert.deepEqual({ ...limits, ...first }, limits);
    assertKernel(id, first);
    const up = { memory: 512 * MiB, memory_high: 0, swap: 64 * MiB, cpu: 1.5, cpu_weight: 400, pids: 128 };
    assert.deepEqual((await patch(id, { limits: up })).limits.memory, up.memory);
    assertKernel(id, up);
    assert.equal(kernel(id, 'memory.high') ?? 'max', 'max');
    await patch(id, { limits: first });
    assertKernel(id, first);
    await daemon.ok('POST', `/v1/sandboxes/${id}/stop`);
    const rest = { ...first, memory: 300 * MiB, memory_high: 128 * MiB };
    assert.equal((await patch(id, { limits: rest })).state, 'stopped');
    await daemon.ok('POST', `/v1/sandboxes/${id}/start`);
    assertKernel(id, rest);
    await daemon.remove(id);
});

test('a change outlives the daemon', async () => {
    const { id } = await daemon.create();
    await patch(id, { limits: { pids: 77 }, name: 'changed', labels: { a: 'b' } });
    await daemon.killDaemon();
    await daemon.startDaemon();
    const sandbox = await daemon.ok('GET', `/v1/sandboxes/${id}`);
    assert.equal(sandbox.limits.pids, 77);
    assert.equal(sandbox.name, 'changed');
    assert.deepEqual(sandbox.labels, { a: 'b' });
    assert.equal(number(id, 'pids.max'), 77);
    await daemon.remove(id);
});

const bad = [
    [{ limits: { memory: 1 } }, /limits\.memory/], [{ limits: { cpu: 0 } }, /limits\.cpu/],
    [{ limits: { cpu_weight: 0 } }, /limits\.cpu_weight/], [{ limits: { memory_high: 5 } }, /limits\.memory_high/],
    [{ limits: { io_read_bps: 3 } }, /limits\.io_read_bps/], [{ limits: { pids: 100, gpus: 1 } }, /gpus/],
    [{ limits: { pids: 100 }, name: 7 }, /name/], [{ limits: { pids: 100 }, labels: { 'A b': 'x' } }, /labels/],
    [{ limits: { pids: 100 }, template: 'other' }, /template/],
];

test('a bad change is refused by the name of its field, and nothing has changed', async () => {
    const { id } = await daemon.create({ limits: first });
    const before = await daemon.ok('GET', `/v1/sandboxes/${id}`);
    for (const [body, message] of bad) {
        const answer = await daemon.refused('PATCH', `/v1/sandboxes/${id}`, { body });
        assert.equal(answer.status, 400, JSON.stringify(body));
        assert.match(answer.message, message);
        assert.deepEqual(await daemon.ok('GET', `/v1/sandboxes/${id}`), before);
        assertKernel(id, first);
    }
    assert.equal((await daemon.refused('PATCH', '/v1/sandboxes/aaaaaaaaaaaa', { body: {} })).status, 404);
    await daemon.remove(id);
});

test('what the kernel refuses takes back what was changed before it', async () => {
    const { id } = await daemon.create({ limits: { ...first, tmp: 64 * MiB } });
    await daemon.output(id, 'head -c 40M /dev/zero > /tmp/full');
    const answer = await daemon.refused('PATCH', `/v1/sandboxes/${id}`, {
        body: { limits: { memory: first.memory - 32 * MiB, pids: 99, shm: 8 * MiB, tmp: 16 * MiB } },
    });
    assert.match(answer.message, /limits\.tmp/);
    assertKernel(id, first);
    assert.equal((await daemon.ok('GET', `/v1/sandboxes/${id}`)).limits.tmp, 64 * MiB);
    await patch(id, { limits: { tmp: 48 * MiB, shm: 8 * MiB } });
    assert.match(await daemon.output(id, 'df -B1 --output=size /tmp /dev/shm'), new RegExp(`${48 * MiB}\\s+${8 * MiB}`));
    await daemon.remove(id);
});

// A process that holds `bytes` of memory and says so.
const holder = (bytes) => ['node', '-e', `globalThis.a = Buffer.alloc(${bytes}, 1); console.log('held'); setInterval(() => {}, 1e6)`];

async function background(id, argv) {
    const started = await daemon.exec(id, argv, { background: true });
    const logs = `/v1/sandboxes/${id}/processes/${started.process_id}/logs`;
    await until('the process says that it holds', async () =>
        String((await daemon.api('GET', logs, { raw: true })).body).includes('held'), 60000);
    return started.process_id;
}

test('memory below what is in use: v1 refuses and names it, v2 makes room by killing', async () => {
    const { id } = await daemon.create({ limits: { memory: 512 * MiB } });
    await background(id, holder(200 * MiB));
    const { status, body } = await daemon.api('PATCH', `/v1/sandboxes/${id}`, { body: { limits: { memory: 128 * MiB, pids: 99 } } });
    if (v2) {
        assert.equal(status, 200, JSON.stringify(body));
        await until('the kernel has made room', async () => (await stats(id)).memory_bytes <= 128 * MiB);
    } else {
        assert.equal(status, 400);
        assert.match(body.error.message, /limits\.memory.*\d+ bytes are in use/);
        assert.equal(number(id, 'memory.limit_in_bytes'), 512 * MiB);
        assert.equal(number(id, 'memory.memsw.limit_in_bytes'), 512 * MiB);
        assert.equal((await daemon.ok('GET', `/v1/sandboxes/${id}`)).limits.memory, 512 * MiB);
    }
    assert.equal(await daemon.output(id, 'echo alive'), 'alive\n');
    await daemon.remove(id);
});

test('stats are the figures of the kernel, and move with what a process does', async () => {
    const { id } = await daemon.create({ limits: { memory: 512 * MiB, cpu: 1, pids: 100 } });
    const before = await stats(id);
    assert.equal(before.memory_limit_bytes, 512 * MiB);
    assert.equal(before.pids_limit, 100);
    await daemon.output(id, ['node', '-e', 'const end = process.cpuUsage().user + 1e6; while (process.cpuUsage().user < end);']);
    await background(id, holder(100 * MiB));
    const low = [number(id, 'memory.current', 'memory.usage_in_bytes'), number(id, 'cpuacct.usage') || keyed('usage_usec', id, 'cpu.stat') * 1000];
    const now = await stats(id);
    const high = [number(id, 'memory.peak', 'memory.max_usage_in_bytes'), number(id, 'cpuacct.usage') || keyed('usage_usec', id, 'cpu.stat') * 1000];
    assert.ok(now.cpu_ns - before.cpu_ns >= 1e9, `${now.cpu_ns - before.cpu_ns}`);
    assert.ok(now.cpu_ns >= low[1] && now.cpu_ns <= high[1], `${low[1]} ${now.cpu_ns} ${high[1]}`);
    assert.ok(now.cpu_user_ns - before.cpu_user_ns >= 0.9e9);
    assert.ok(now.memory_bytes - before.memory_bytes >= 100 * MiB, `${before.memory_bytes} ${now.memory_bytes}`);
    assert.ok(Math.abs(now.memory_bytes - low[0]) < 16 * MiB && now.memory_peak_bytes <= high[0]);
    assert.ok(now.memory_peak_bytes >= now.memory_bytes);
    assert.equal(now.pids, number(id, 'pids.current'));
    assert.equal(now.oom_kills, 0);
    await daemon.remove(id);
});

test('the CPU limit throttles', async () => {
    const { id } = await daemon.create({ limits: { cpu: 0.1 } });
    const before = await stats(id);
    await daemon.output(id, ['node', '-e', 'const end = process.cpuUsage().user + 3e5; while (process.cpuUsage().user < end);']);
    const now = await stats(id);
    assert.ok(now.cpu_throttled_periods > before.cpu_throttled_periods, JSON.stringify(now));
    assert.ok(now.cpu_throttled_ns > before.cpu_throttled_ns);
    assert.ok(now.cpu_periods >= now.cpu_throttled_periods);
    // a period allows 10 ms; the kernel may lend at its borders
    const used = now.cpu_ns - before.cpu_ns, periods = now.cpu_periods - before.cpu_periods;
    assert.ok(used <= (periods + 5) * 10e6 * 1.5, `${used} ns in ${periods} periods`);
    await daemon.remove(id);
});

test('a memory hog is killed and counted, a fork beyond the limit is refused and counted', async () => {
    const { id } = await daemon.create({ limits: { memory: 128 * MiB, pids: 32 } });
    assert.equal((await daemon.exec(id, holder(1024 * MiB))).signal, 'SIGKILL');
    const forks = await daemon.exec(id, 'for i in $(seq 100); do sleep 100 & done; kill $(jobs -p)', { timeout_ms: 20000 });
    assert.match(forks.stderr, /fork|Resource temporarily unavailable/);
    const now = await stats(id);
    assert.ok(now.oom_kills >= 1 && now.oom_kills === keyed('oom_kill', id, 'memory.events', 'memory.oom_control'), JSON.stringify(now));
    assert.ok(now.pids_refused >= 1);
    assert.ok(now.memory_peak_bytes <= 128 * MiB);
    await daemon.remove(id);
});

test('more processes are allowed at once when the limit is raised', async () => {
    const { id } = await daemon.create({ limits: { pids: 32 } });
    const many = 'for i in $(seq 100); do sleep 100 & done; n=$(jobs -p | wc -l); kill $(jobs -p); echo $n';
    assert.notEqual(String((await daemon.exec(id, many, { timeout_ms: 60000 })).stdout).trim(), '100');
    await patch(id, { limits: { pids: 256 } });
    assert.equal((await daemon.output(id, many, { timeout_ms: 60000 })).trim(), '100');
    await daemon.remove(id);
});

test('an IO limit lies on the disk of the state directory, or is refused by name where there is none', async () => {
    const answer = await daemon.api('POST', '/v1/sandboxes', {
        body: { template: 'node', limits: { io_read_bps: 8 * MiB, io_write_bps: 4 * MiB } },
    });
    if (answer.status === 201) {
        const { id } = answer.body;
        const lines = kernel(id, 'io.max') ?? `${kernel(id, 'blkio.throttle.read_bps_device')}\n${kernel(id, 'blkio.throttle.write_bps_device')}`;
        assert.match(lines, new RegExp(`${8 * MiB}`));
        assert.match(lines, new RegExp(`${4 * MiB}`));
        const write = () => daemon.output(id, 'dd if=/dev/zero of=/app/much bs=1M count=12 oflag=direct 2>&1 | sed -n "s/.*, \\([0-9.e-]*\\) s,.*/\\1/p"', { timeout_ms: 60000 });
        const slow = Number(await write());
        assert.ok(slow > 2, `12 MiB at 4 MiB/s took ${slow} s`);
        await patch(id, { limits: { io_read_bps: 0, io_write_bps: 0 } });
        assert.doesNotMatch(kernel(id, 'io.max', 'blkio.throttle.read_bps_device') ?? '', new RegExp(`${8 * MiB}`));
        assert.ok(Number(await write()) < slow, 'without the limit it is faster');
        await daemon.remove(id);
    } else {
        assert.match(answer.body.error.message, /limits\.io_read_bps/);
        for (const { id } of (await daemon.ok('GET', '/v1/sandboxes?state=failed')).sandboxes) await daemon.remove(id);
    }
});

// What programs inside size themselves by. node's own figures, coreutils', procps' and the files.
const seen = async (id) => JSON.parse(await daemon.output(id, ['node', '-e', `
    const os = require('os'), fs = require('fs'), run = (c) => require('child_process').execSync(c, { encoding: 'utf8' }).trim();
    const file = (name) => fs.readFileSync(name, 'utf8');
    console.log(JSON.stringify({
        nproc: Number(run('nproc')), cpus: os.cpus().length, parallelism: os.availableParallelism(),
        processors: file('/proc/cpuinfo').match(/^processor/mg).length, stat: file('/proc/stat').match(/^cpu[0-9]/mg).length,
        online: file('/sys/devices/system/cpu/online').trim(), total: os.totalmem(),
        meminfo: Number(file('/proc/meminfo').match(/^MemTotal: +([0-9]+) kB$/m)[1]) * 1024,
        free: os.freemem(), swap: Number(file('/proc/meminfo').match(/^SwapTotal: +([0-9]+) kB$/m)[1]) * 1024,
    }))`]));
const hostCpus = os.availableParallelism();

function assertSeen(view, memory, cpus) {
    const n = Math.min(cpus, hostCpus);
    assert.deepEqual({ ...view, nproc: n, cpus: n, parallelism: n, processors: n, stat: n, online: n === 1 ? '0' : `0-${n - 1}`,
        total: memory, meminfo: memory, swap: 0 }, view);
    assert.ok(view.free <= memory);
}

test('programs inside see their limits as the machine, also after a change and a restart of the daemon', async () => {
    const { id } = await daemon.create({ limits: { memory: 256 * MiB, cpu: 0.5 } });
    assertSeen(await seen(id), 256 * MiB, 1);
    const started = await daemon.exec(id, ['sleep', '1000'], { background: true });
    await patch(id, { limits: { memory: 384 * MiB, cpu: 1.5 } });
    assertSeen(await seen(id), 384 * MiB, 2);
    const { pid } = await daemon.ok('GET', `/v1/sandboxes/${id}/processes/${started.process_id}`);
    const allowed = async () => (await daemon.output(id, ['sh', '-c', `taskset -p ${pid} || grep Cpus_allowed: /proc/${pid}/status`])).trim();
    const wide = await allowed();
    await daemon.killDaemon();
    await daemon.startDaemon();
    await patch(id, { limits: { memory: 256 * MiB, cpu: 1 } });
    assertSeen(await seen(id), 256 * MiB, 1);
    if (hostCpus > 1) assert.notEqual(await allowed(), wide, 'a process that ran before the change keeps to its CPUs too');
    await daemon.remove(id);
});

test('sandboxes of one CPU are spread over the CPUs', { skip: hostCpus < 2 && 'one CPU' }, async () => {
    const boxes = await Promise.all([1, 2].map(() => daemon.create({ limits: { cpu: 1 } })));
    const lists = await Promise.all(boxes.map(({ id }) => daemon.output(id, ['grep', 'Cpus_allowed_list', '/proc/self/status'])));
    assert.notEqual(lists[0], lists[1]);
    await Promise.all(boxes.map(({ id }) => daemon.remove(id)));
});

test('the views cannot be written, replaced or unmounted from inside', async () => {
    const { id } = await daemon.create({ limits: { memory: 256 * MiB, cpu: 1 } });
    for (const user of ['user', 'root'])
        for (const file of ['/proc/meminfo', '/proc/cpuinfo', '/proc/stat', '/sys/devices/system/cpu/online'])
            for (const attempt of [`echo x > ${file}`, `chmod 777 ${file}`, `umount ${file}`, `umount -l ${file}`,
                `mount -o remount,rw,bind ${file}`, `mv /etc/hostname ${file}`, `rm -f ${file}`, `mount -t proc proc /proc`])
                assert.notEqual((await daemon.exec(id, attempt, { user })).exit_code, 0, `${user}: ${attempt}`);
    assertSeen(await seen(id), 256 * MiB, 1);
    await daemon.remove(id);
});

test('`auracode set` changes limits, `stats` shows them', async () => {
    const { id } = await daemon.create();
    const set = await daemon.cli(['set', id, '--memory', '640MiB', '--cpu', '0.75', '--swap', '0', '--json']);
    assert.equal(set.code, 0, set.stderr);
    const { limits } = JSON.parse(set.stdout);
    assert.deepEqual([limits.memory, limits.cpu, limits.swap], [640 * MiB, 0.75, 0]);
    const shown = JSON.parse((await daemon.cli(['stats', id, '--json'])).stdout);
    assert.equal(shown.memory_limit_bytes, 640 * MiB);
    assert.equal((await daemon.cli(['set', id])).code, 2);
    assert.equal((await daemon.cli(['set', id, '--cpu-weight', '20000'])).code, 1);
    await daemon.remove(id);
});
