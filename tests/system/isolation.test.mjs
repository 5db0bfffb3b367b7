// What a sandbox's processes can do, and whom they can reach.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Instance } from './harness.mjs';

let daemon, first, second;
before(async () => {
    daemon = await Instance.start();
    first = await daemon.create({ name: 'first', egress: 'restricted' });
    second = await daemon.create({ name: 'second', egress: 'restricted' });
});
after(() => daemon?.stop());

// A connection out of a sandbox: "open" or the error's code. Refused and dropped packets are both closed doors.
const knock = (host, port) => ['node', '-e', `
    const s = require('net').connect({ host: '${host}', port: ${port}, timeout: 3000 });
    s.on('connect', () => { console.log('open'); process.exit(); });
    s.on('timeout', () => { console.log('ETIMEDOUT'); process.exit(); });
    s.on('error', (e) => { console.log(e.code); process.exit(); });`];

test('a sandbox reaches its own port and no other sandbox\'s', async () => {
    await daemon.write(first.id, 'server.js', `require('http').createServer((q, r) => r.end('mine')).listen(3000, '0.0.0.0')`);
    await daemon.devServer(first.id, { command: 'node server.js', port: 3000 });
    assert.equal(await daemon.output(first.id, knock('127.0.0.1', 3000)), 'open\n');
    assert.notEqual(await daemon.output(second.id, knock('127.0.0.1', 3000)), 'open\n');
    const addresses = JSON.parse(await daemon.output(first.id, ['node', '-p',
        'JSON.stringify(Object.values(os.networkInterfaces()).flat().filter((a) => !a.internal).map((a) => a.address.split("%")[0]))']));
    assert.ok(addresses.length > 0, 'restricted egress has an interface');
    for (const address of addresses.filter((text) => !text.includes(':')))
        assert.notEqual(await daemon.output(second.id, knock(address, 3000)), 'open\n', address);
});

test('neither the daemon nor anything else on the host is reached', async () => {
    const server = net.createServer((socket) => socket.end('host'));
    await new Promise((resolve) => server.listen(0, '0.0.0.0', resolve));
    const hostAddresses = ['127.0.0.1', '127.0.0.53', ...Object.values((await import('node:os')).networkInterfaces()).flat()
        .filter(({ family }) => family === 'IPv4').map(({ address }) => address)];
    const gateway = (await daemon.exec(first.id, "awk '$2 == \"00000000\" { print $3 }' /proc/net/route")).stdout.trim();
    if (gateway) hostAddresses.push(gateway.match(/../g).reverse().map((byte) => parseInt(byte, 16)).join('.'));
    for (const address of new Set(hostAddresses))
        for (const port of [server.address().port, daemon.apiPort, daemon.proxyPort])
            assert.notEqual(await daemon.output(first.id, knock(address, port)), 'open\n', `${address}:${port}`);
    for (const target of ['169.254.169.254', '10.0.0.1', '172.16.0.1', '192.168.0.1'])
        assert.notEqual(await daemon.output(first.id, knock(target, 80)), 'open\n', target);
    await new Promise((resolve) => server.close(resolve));
});

test('with egress none there is loopback alone', async () => {
    const { id } = await daemon.create({ egress: 'none' });
    assert.equal(await daemon.output(id, 'ls /sys/class/net 2>/dev/null || tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " "'), 'lo\n');
    assert.notEqual(await daemon.output(id, knock('1.1.1.1', 443)), 'open\n');
    await daemon.remove(id);
});

test('files of one sandbox are not in another, nor the host\'s in either', async () => {
    await daemon.write(first.id, 'secret.txt', 'first only');
    assert.notEqual((await daemon.exec(second.id, 'cat /app/secret.txt')).exit_code, 0);
    assert.equal((await daemon.exec(second.id, 'grep -rl "first only" /app /tmp /home 2>/dev/null')).exit_code, 1);
    for (const file of [daemon.stateDir, daemon.socket, '/etc/shadow-', '/var/lib/auracode'])
        assert.notEqual((await daemon.exec(first.id, ['ls', file])).exit_code, 0, file);
});

test('processes of the host and of other sandboxes are invisible', async () => {
    await daemon.exec(first.id, 'exec sleep 4711', { background: true });
    assert.match(await daemon.output(first.id, ['pgrep', '-f', 'sleep 4711']), /\d/);
    assert.equal((await daemon.exec(second.id, ['pgrep', '-f', 'sleep 4711'])).exit_code, 1);
    const pids = (await daemon.output(second.id, 'ls /proc | grep -E "^[0-9]+$"')).trim().split('\n');
    assert.ok(pids.length < 10, pids.join());
    assert.equal((await daemon.exec(second.id, ['cat', '/proc/1/environ'])).stdout, '');
});

test('a process has no capability, no way to new privileges, a seccomp filter, and three descriptors', async () => {
    const status = await daemon.output(first.id, ['cat', '/proc/self/status']);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
        assert.match(status, new RegExp(`^${set}:\\t0+$`, 'm'));
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Seccomp:\t2$/m);
    assert.match(status, /^Uid:\t1000\t1000\t1000\t1000$/m);
    assert.match(status, /^Gid:\t1000\t1000\t1000\t1000$/m);
    assert.deepEqual((await daemon.output(first.id, 'ls /proc/$$/fd; true')).trim().split('\n'), ['0', '1', '2']);
    const root = await daemon.output(first.id, ['cat', '/proc/self/status'], { user: 'root' });
    assert.match(root, /^CapEff:\t0+$/m);
});

test('a terminal leaks no descriptor either', async () => {
    // Its own, where 3 is the folder that it reads: a shell that makes a pipeline has more for a moment.
    const stream = await daemon.stream(first.id, { argv: ['ls', '-m', '/proc/self/fd'], tty: true });
    await stream.ended;
    assert.match(stream.stdout, /^0, 1, 2, 3\s*$/);
});

test('user ids outside are the sandbox\'s own range, different for each', async () => {
    const owner = (id) => {
        const pid = fs.readdirSync('/proc').find((name) => /^\d+$/.test(name)
            && (() => { try { return fs.readFileSync(`/proc/${name}/cgroup`, 'utf8').includes(id); } catch { return false; } })());
        assert.ok(pid, `no process of ${id}`);
        return fs.readFileSync(`/proc/${pid}/uid_map`, 'utf8').trim().split(/\s+/).map(Number);
    };
    const [a, b] = [owner(first.id), owner(second.id)];
    assert.equal(a[2], 65536);
    assert.ok(a[1] >= 65536 && b[1] >= 65536);
    assert.ok(Math.abs(a[1] - b[1]) >= 65536);
});

// Commands that must fail, as user and as the sandbox's root.
const refused = [
    ['a user namespace', ['unshare', '-U', 'true']],
    ['a mount namespace', ['unshare', '-m', 'true']],
    ['a network namespace', ['unshare', '-n', 'true']],
    ['a mount', ['mount', '-t', 'tmpfs', 'none', '/tmp']],
    ['unmounting', ['umount', '/proc']],
    ['remounting the root', ['mount', '-o', 'remount,rw', '/']],
    ['chroot', ['chroot', '/', '/bin/true']],
    ['a device', ['mknod', '/tmp/dev', 'b', '8', '0']],
    ['a sysctl', ['sh', '-c', 'echo 1 > /proc/sys/kernel/printk']],
    ['core_pattern', ['sh', '-c', 'echo x > /proc/sys/kernel/core_pattern']],
    // where the kernel has these two files, /dev/null covers them
    ['sysrq', ['sh', '-c', 'test "$(stat -c %t:%T /proc/sysrq-trigger)" != 1:3 && echo h > /proc/sysrq-trigger']],
    ['/sys', ['sh', '-c', 'touch /sys/x || mkdir /sys/fs/cgroup/x']],
    ['the kernel\'s memory', ['sh', '-c', 'head -c1 /proc/kcore | od -An | grep -q .']],
    ['the kernel\'s log', ['dmesg']],
    ['the host\'s name', ['hostname', 'changed']],
    ['the clock', ['date', '-s', '2000-01-01']],
    ['writing the init', ['sh', '-c', 'echo x > /proc/1/exe']],
    ['the init\'s memory', ['head', '-c1', '/proc/1/mem']],
    ['the init\'s root', ['ls', '/proc/1/root/']],
    ['the init\'s descriptors', ['sh', '-c', 'ls /proc/1/fd/ | grep .']],
    ['killing the init', ['sh', '-c', 'kill -9 1 && test ! -e /proc/1']],
];
for (const [what, argv] of refused)
    for (const user of ['user', 'root'])
        test(`${what} is refused to ${user}`, async (t) => {
            const result = await daemon.exec(first.id, argv, { user });
            if (user === 'root' && /init's/.test(what)) t.diagnostic(`exit code ${result.exit_code}`);
            assert.notEqual(result.exit_code, 0, JSON.stringify(result));
        });

// System calls by number that the filter must stop, with the errors allowed.
const calls = [
    ['clone3', 435, ['ENOSYS']], ['io_uring_setup', 425, ['ENOSYS']], ['ptrace(PTRACE_ATTACH, 1)', 101, ['EPERM', 'ESRCH', 'ENOSYS'], [16, 1]],
    ['mount', 165, ['EPERM']], ['fsopen', 430, ['EPERM', 'ENOSYS']], ['open_tree', 428, ['EPERM', 'ENOSYS']],
    ['move_mount', 429, ['EPERM', 'ENOSYS']], ['setns', 308, ['EPERM']], ['unshare(NEWUSER)', 272, ['EPERM'], [0x10000000]],
    ['keyctl', 250, ['EPERM', 'ENOSYS']], ['add_key', 248, ['EPERM', 'ENOSYS']], ['bpf', 321, ['EPERM', 'ENOSYS']],
    ['perf_event_open', 298, ['EPERM', 'ENOSYS']], ['userfaultfd', 323, ['EPERM', 'ENOSYS']], ['kexec_load', 246, ['EPERM', 'ENOSYS']],
    ['init_module', 175, ['EPERM', 'ENOSYS']], ['process_vm_readv', 310, ['EPERM', 'ENOSYS'], [1]], ['open_by_handle_at', 304, ['EPERM', 'ENOSYS']],
    ['a number from the future', 9999, ['ENOSYS']], ['quotactl', 179, ['EPERM', 'ENOSYS']], ['swapon', 167, ['EPERM', 'ENOSYS']],
    ['reboot', 169, ['EPERM', 'ENOSYS']], ['pivot_root', 155, ['EPERM', 'ENOSYS']], ['syslog', 103, ['EPERM', 'ENOSYS']],
    ['ioctl(0, TIOCSTI)', 16, ['EPERM'], [0, 0x5412, 0]], ['ioctl(0, TIOCSTI with high bits)', 16, ['EPERM'], [0, 0x100005412, 0]],
    ['ioctl(0, TIOCLINUX)', 16, ['EPERM'], [0, 0x541c, 0]],
];

test('system calls that lead to the kernel\'s rarely used corners are stopped', async () => {
    // Debian's perl, which is in the base system, makes any call by its number.
    const script = calls.map(([name, number, , args = []]) =>
        `$! = 0; my $r = syscall(${[number, ...args, 0, 0, 0].slice(0, 6).join(', ')}); print "${name}\\t", ($r == -1 ? $!+0 : "done"), "\\n";`).join('\n');
    const { constants: { errno } } = (await import('node:os')).default;
    for (const user of ['user', 'root']) {
        const lines = (await daemon.output(first.id, ['perl', '-e', script], { user })).trim().split('\n');
        assert.equal(lines.length, calls.length);
        for (const [i, [name, , allowed]] of calls.entries()) {
            const result = lines[i].split('\t')[1];
            assert.ok(allowed.some((code) => String(errno[code]) === result), `${name} as ${user}: ${result}`);
        }
    }
});

test('/dev and /proc hold what they must and no more', async () => {
    assert.equal(await daemon.output(first.id, ['stat', '-c', '%F %t:%T', '/dev/null']), 'character special file 1:3\n');
    const devices = (await daemon.output(first.id, 'ls /dev')).trim().split('\n');
    const known = ['console', 'core', 'fd', 'full', 'mqueue', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero'];
    assert.deepEqual(devices.filter((name) => !known.includes(name)), []);
    assert.equal((await daemon.exec(first.id, 'cat /proc/timer_list /proc/sched_debug /proc/kallsyms 2>/dev/null | head -c1 | grep -q .')).exit_code, 1);
});

test('the sandbox\'s mounts do not name the host\'s paths of other sandboxes', async () => {
    const mounts = await daemon.output(first.id, ['cat', '/proc/self/mountinfo']);
    assert.doesNotMatch(mounts, new RegExp(second.id));
});

test('a fork bomb and a flood of logs stay inside', async () => {
    const { id } = await daemon.create({ egress: 'none', limits: { pids: 64, memory: 268435456, disk: 134217728 } });
    const bomb = await daemon.exec(id, 'f() { f | f & }; f; sleep 1', { timeout_ms: 3000 });
    assert.ok(bomb.cause);
    assert.equal(await daemon.output(second.id, 'echo fine'), 'fine\n');
    await daemon.ok('POST', `/v1/sandboxes/${id}/stop`, { body: {} }); // what the bomb holds it gives to nobody inside
    await daemon.ok('POST', `/v1/sandboxes/${id}/start`, { body: {} });
    const flood = await daemon.exec(id, 'timeout 1 yes | head -c 200000000 >/dev/null; timeout 1 yes >&2; true');
    assert.equal(flood.exit_code, 0);
    assert.equal((await daemon.api('GET', '/healthz')).status, 200);
    const { id: third } = await daemon.create({ egress: 'none' });
    await Promise.all([id, third].map((one) => daemon.remove(one)));
});
