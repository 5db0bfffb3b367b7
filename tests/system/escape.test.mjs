// The escape suite: each probe attacks one hold of the threat table, in a sandbox under the policies that ship, and
// again where the hold is taken out: in a sandbox whose policy has none of them, or, for what the filters of the daemon
// and of the init hold as well, outside of every sandbox. There the same probe must come through, so a probe that would
// not see a hole fails. Holds that are code, not policy, are taken out by tests/holds/run.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Instance, run, templates } from './harness.mjs';
import { allowAllCalls, arm, policiesWith, unconfined } from './hostile/hostile.mjs';

const { EPERM, ENOSYS } = os.constants.errno;
const held = (errno) => `errno ${errno}`;

let daemon, id, probe, bare, bareDaemon, bareId, bareProbe, outside;
before(async () => {
    daemon = await Instance.start();
    ({ id } = await daemon.create({ egress: 'none' }));
    probe = await arm(daemon, id);
    bare = policiesWith((policy) => {
        allowAllCalls(policy);
        policy.masked_paths = [];
        policy.read_only_paths = [];
    });
    bareDaemon = await Instance.start({ sandbox: { policies: bare.folder } });
    ({ id: bareId } = await bareDaemon.create({ egress: 'none' }));
    bareProbe = await arm(bareDaemon, bareId);
    outside = await unconfined();
});
after(async () => {
    bare?.remove();
    outside?.remove();
    await Promise.all([daemon?.stop(), bareDaemon?.stop()]);
});

// [what, the probe's arguments, its answer where the hold is in place]
const CLONE_NEWUSER = 0x10000000, CLONE_NEWNS = 0x20000, CLONE_NEWNET = 0x40000000;
const calls = [
    ['nested namespaces by unshare', ['nested'], held(EPERM)],
    ['a user namespace by clone', ['clone', CLONE_NEWUSER], held(EPERM)],
    ['a mount namespace in a user namespace by clone', ['clone', CLONE_NEWUSER | CLONE_NEWNS], held(EPERM)],
    ['a network namespace in a user namespace by clone', ['clone', CLONE_NEWUSER | CLONE_NEWNET], held(EPERM)],
    ['namespaces by clone3, whose flags no filter sees (CVE-2021-41133)', ['clone3', CLONE_NEWUSER], held(ENOSYS)],
    ['io_uring', ['io_uring'], held(ENOSYS)],
    ['a key in the keyring of the uid', ['key'], held(EPERM)],
    ['ptrace of a child', ['attach'], held(EPERM)],
    ['a file handle', ['handle', '/app'], held(EPERM)],
    ['a socket of the virtual machine\'s host', ['socket', 40, 1, 0], held(ENOSYS)],
    ['a socket of the kernel\'s crypto', ['socket', 38, 5, 0], held(ENOSYS)],
    ['a packet socket', ['socket', 17, 3, 0], held(ENOSYS)],
    ['a personality', ['call', 135, 0x0040000], held(ENOSYS)],
    ['mount with bad pointers', ['call', 165, 1, 1, 1, 0, 0], held(EPERM)],
    ['the new mount interface: open_tree', ['call', 428, -100, 1, 0], held(EPERM)],
    ['perf events', ['call', 298, 1, 0, -1, -1, 0], held(EPERM)],
    ['BPF', ['call', 321, 0, 1, 8], held(EPERM)],
    ['a page fault handler of user space', ['call', 323, -1], held(EPERM)],
    ['reading another process\'s memory', ['call', 310, 0, 1, 1, 1, 1, 0], held(EPERM)],
    ['a descriptor of another process', ['call', 438, -1, 0, 0], held(EPERM)],
];

for (const [what, args, answer] of calls)
    for (const user of ['user', 'root'])
        test(`${what} is stopped for ${user}, and seen where it is not`, async (t) => {
            assert.equal(await probe(args, { user }), answer);
            const without = [await bareProbe(args, { user }), await outside(args, { user })];
            // Before Linux 6.4 or so the privilege is looked at before the arguments.
            if (what === 'BPF' && without.every((text) => text === answer) && fs.readFileSync('/proc/sys/kernel/unprivileged_bpf_disabled', 'utf8').trim() !== '0')
                return t.skip('kernel: refuses BPF to the unprivileged by itself');
            assert.ok(without.some((text) => text !== answer), without.join());
        });

test('what types into a terminal is stopped, whatever the high bits say', async (t) => {
    for (const [name, request] of [['TIOCSTI', 0x5412], ['TIOCSTI, high bits set', 0x7fff00005412], ['TIOCLINUX', 0x541c]])
        for (const user of ['user', 'root'])
            await t.test(`${name} as ${user}`, async () => {
                const run = async (instance, box) => {
                    const stream = await instance.stream(box, {
                        argv: ['/home/user/probe', 'tty-push', String(request)], tty: true, stdin: true, user,
                    });
                    await stream.ended;
                    return stream.stdout.trim().split('\r\n').at(-1);
                };
                assert.equal(await run(daemon, id), held(EPERM));
                assert.notEqual(await run(bareDaemon, bareId), held(EPERM));
            });
});

test('a terminal belongs to a session of its own', async () => {
    const stream = await daemon.stream(id, { argv: ['/home/user/probe', 'session'], tty: true, stdin: true });
    await stream.ended;
    const [, sid, pgid, terminal] = stream.stdout.match(/sid (\d+) pgid (\d+) terminal (\d+)/);
    assert.equal(sid, terminal);
    assert.equal(sid, pgid);
});

test('the gates to other instruction sets are shut', async () => {
    assert.equal((await probe.run(['int80'])).cause, 'seccomp');
    const x32 = await probe.run(['x32']);
    assert.ok(x32.cause === 'seccomp' || x32.stdout.trim() === held(ENOSYS), JSON.stringify(x32));
});

test('every call that the policy denies answers EPERM, every call that it does not know ENOSYS', async () => {
    const unknown = [...Array(40).keys()].map((i) => 470 + i).concat([600, 9999]);
    for (const user of ['user', 'root']) {
        const lines = (await probe(['calls', ...unknown], { user })).split('\n');
        assert.equal(lines.length, unknown.length);
        for (const line of lines) assert.match(line, new RegExp(` errno ${ENOSYS}$`));
    }
});

// ---- what a process starts with

test('securebits are locked', async () => {
    const [, bits] = (await probe(['securebits'], { user: 'root' })).match(/^ok (\d+)$/);
    const NOROOT = 3, NO_SETUID_FIXUP = 12, KEEP_CAPS_LOCKED = 32, NO_AMBIENT = 192;
    assert.equal(Number(bits) & (NOROOT | NO_SETUID_FIXUP | KEEP_CAPS_LOCKED | NO_AMBIENT), NOROOT | NO_SETUID_FIXUP | KEEP_CAPS_LOCKED | NO_AMBIENT);
});

test('a set-user-id program gives nothing', async () => {
    await daemon.output(id, 'for d in /tmp /var/tmp; do cp /usr/bin/id $d/sid && chmod 4755 $d/sid; done', { user: 'root' });
    for (const folder of ['/tmp', '/var/tmp']) {
        assert.equal(await daemon.output(id, ['stat', '-c', '%u %a', `${folder}/sid`]), '0 4755\n');
        assert.equal(await daemon.output(id, [`${folder}/sid`, '-u']), '1000\n');
    }
});

test('a working folder and every descriptor lie inside', async () => {
    const script = 'readlink /proc/$$/cwd /proc/$$/root /proc/$$/exe; ls -l /proc/$$/fd | sed 1d | sed "s/.* -> //"';
    const [cwd, root, exe, ...fds] = (await daemon.output(id, ['/bin/sh', '-c', script])).trim().split('\n');
    assert.deepEqual([cwd, root], ['/app', '/']);
    assert.doesNotMatch(exe, /unreachable|deleted/);
    assert.equal(fds.length, 3, fds.join());
    for (const name of fds) assert.match(name, /^(\/dev\/null|pipe:\[\d+\]|socket:\[\d+\])$/);
});

test('user names are names, not numbers (CVE-2026-30892)', async () => {
    for (const user of ['1', '0', '+0', ' root', 'root ', 'root\n', '1000', 'ROOT', 'user:root', '', 'nobody', 0])
        assert.equal((await daemon.refused('POST', `/v1/sandboxes/${id}/exec`, { body: { command: 'id', user } })).status, 400, String(user));
});

// ---- the init

test('the init can be neither read, written, traced, nor executed again (CVE-2019-5736, CVE-2016-8659)', async () => {
    for (const user of ['user', 'root'])
        for (const file of ['exe', 'mem', 'environ', 'maps', 'root', 'cwd', 'fd/3', 'map_files'])
            for (const flags of [0, 1, 2]) {
                const answer = await probe(['open', `/proc/1/${file}`, flags], { user });
                assert.match(answer, /^errno/, `/proc/1/${file} with ${flags} as ${user}`);
            }
    for (const user of ['user', 'root']) assert.equal(await bareProbe(['attach', 1], { user }), held(EPERM));
    assert.match(await outside(['open', '/proc/self/mem', 0]), /^ok/, 'what is not the init\'s');
});

test('the init runs from sealed memory, and the host\'s file is as it was', async () => {
    const pid = daemon.initOf(id);
    assert.match(fs.readlinkSync(`/proc/${pid}/exe`), /^\/memfd:auracode-init \(deleted\)$/);
    const F_GET_SEALS = 1034, SEAL_SHRINK_GROW_WRITE = 15;
    const seals = await run('python3', ['-c', `import fcntl; print(fcntl.fcntl(open("/proc/${pid}/exe"), ${F_GET_SEALS}))`]);
    assert.equal(Number(seals.stdout) & SEAL_SHRINK_GROW_WRITE, SEAL_SHRINK_GROW_WRITE, seals.stderr);
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    assert.match(status, /^NoNewPrivs:\t1$/m);
    const effective = BigInt('0x' + status.match(/^CapEff:\t([0-9a-f]+)$/m)[1]);
    const SETUID_SETGID_SETPCAP_KILL = (1n << 7n) | (1n << 6n) | (1n << 8n) | (1n << 5n);
    assert.equal(effective & ~SETUID_SETGID_SETPCAP_KILL, 0n, status);
    const hash = (file) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');
    assert.equal(hash(`/proc/${pid}/exe`), hash(daemon.program('auracode-init')));
});

// ---- views of the kernel

test('masked paths show nothing, and did show something', async () => {
    const readable = ['/proc/cmdline', '/proc/locks', '/proc/diskstats', '/proc/vmstat', '/proc/pressure', '/sys/devices/virtual/block', '/sys/devices/system/node', '/proc/keys', '/proc/key-users', '/proc/interrupts', '/proc/modules', '/sys/fs', '/sys/kernel', '/sys/module', '/sys/block', '/sys/dev'];
    const script = `for p in ${readable.join(' ')}; do if [ -d $p ]; then n=$(ls -A $p | wc -l); else n=$(cat $p 2>/dev/null | wc -c); fi; echo $p $n; done`;
    const sizes = async (instance, box) => Object.fromEntries((await instance.output(box, script, { user: 'root' })).trim().split('\n')
        .map((line) => line.split(' ')).map(([name, n]) => [name, Number(n)]));
    const covered = await sizes(daemon, id), open = await sizes(bareDaemon, bareId);
    assert.deepEqual(Object.entries(covered).filter(([, n]) => n > 0), []);
    assert.ok(Object.values(open).filter((n) => n > 0).length >= 10, JSON.stringify(open));
});

test('neither the load of the host nor what lies behind other sandboxes\' disks is told', async () => {
    const backing = 'cat /sys/block/*/loop/backing_file /sys/devices/virtual/block/*/loop/backing_file /sys/class/block/*/loop/backing_file 2>/dev/null | wc -l';
    assert.equal(await daemon.output(id, backing, { user: 'root' }), '0\n');
    assert.deepEqual(JSON.parse(await daemon.output(id, ['node', '-p', 'JSON.stringify(os.loadavg())'])), [0, 0, 0]);
    assert.match(await daemon.output(id, 'ps -eo pid,stat,args && uptime'), /load average: 0\.00, 0\.00, 0\.00/);
});

test('what the kernel takes settings by is read-only', async () => {
    const write = (file) => ['sh', '-c', `cat ${file} > /tmp/now && cat /tmp/now > ${file}`];
    const files = ['/proc/sys/kernel/msgmax', '/proc/sys/fs/mqueue/queues_max', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv4/ip_default_ttl', '/proc/sys/kernel/core_pattern', '/proc/sys/fs/binfmt_misc/register',
        '/proc/sys/vm/drop_caches'];
    // Covered: what is written there is lost.
    assert.match(await daemon.output(id, ['sh', '-c', 'stat -c %t:%T /proc/sysrq-trigger 2>&1 || true'], { user: 'root' }), /^1:3$|No such file/m);
    for (const file of files) assert.notEqual((await daemon.exec(id, write(file), { user: 'root' })).exit_code, 0, file);
    assert.equal((await bareDaemon.exec(bareId, write(files[0]), { user: 'root' })).exit_code, 0, 'without the hold, the limits of System V IPC are root\'s');
});

test('/proc is the kernel\'s own, covered only where the policy says so (CVE-2019-16884, CVE-2025-52881)', async () => {
    const mounts = (await daemon.output(id, ['cat', '/proc/self/mountinfo'])).trim().split('\n').map((line) => {
        const [left, right] = line.split(' - ');
        return { target: left.split(' ')[4], root: left.split(' ')[3], options: left.split(' ')[5], type: right.split(' ')[0], super: right.split(' ')[2] };
    });
    const proc = mounts.filter(({ target }) => target === '/proc');
    assert.deepEqual(proc.map(({ type, root }) => [type, root]), [['proc', '/']]);
    const sys = mounts.find(({ target }) => target === '/sys');
    assert.match(sys.options, /\bro\b/);
    const devices = ['/null', '/zero', '/full', '/random', '/urandom', '/tty']; // single nodes of the host's /dev
    for (const { target, root, type, options } of mounts) {
        if (devices.includes(root)) continue;
        assert.match(options, /nosuid/, target);
        assert.match(options, /nodev|noexec/, `${target} ${type}`);
    }
});

test('devices are the six harmless ones', async () => {
    const numbers = (await daemon.output(id, 'stat -c "%F %n %t:%T" /dev/* | grep -E "^(character|block)" | sed "s/.* file //" | sort', { user: 'root' })).trim().split('\n');
    assert.deepEqual(numbers, ['/dev/full 1:7', '/dev/null 1:3', '/dev/random 1:8', '/dev/tty 5:0', '/dev/urandom 1:9', '/dev/zero 1:5']);
});

test('covers and terminals are the devices that they claim to be (CVE-2025-31133, CVE-2025-52565)', async () => {
    const covers = await daemon.output(id, 'stat -c "%F %t:%T" /proc/kcore /proc/keys /proc/timer_list | sort -u');
    assert.equal(covers, 'character special file 1:3\n');
    const stream = await daemon.stream(id, { command: 'stat -f -c %T /dev/pts; stat -c "%F %t" $(tty); ls /dev/pts; ls /dev/console /dev/kmsg /dev/tty0', tty: true });
    await stream.ended;
    assert.match(stream.stdout, /^devpts\r\ncharacter special file 88\r\n0\s+ptmx\r\n/);
    assert.equal(stream.stdout.match(/No such file/g)?.length, 3, stream.stdout);
});

test('neither the kernel log nor a process outside is there', async () => {
    const SYSLOG = 103, SIZE_BUFFER = 10, ESRCH = 3, KILL = 62;
    for (const user of ['user', 'root']) {
        assert.equal(await probe(['call', SYSLOG, SIZE_BUFFER, 0, 0], { user }), held(EPERM));
        for (const pid of [daemon.pid, process.pid]) assert.equal(await probe(['call', KILL, pid, 0], { user }), held(ESRCH));
        const names = await daemon.output(id, 'cat /proc/[0-9]*/comm', { user });
        assert.doesNotMatch(names, /auracoded|auracode-api|systemd/);
        assert.match(names, /^cat$/m);
    }
});

// ---- races and made-up folders

test('names that change between link and file never lead out of the project', async () => {
    await daemon.output(id, `mkdir -p race && cd race && echo inside > a && ln -s /etc/passwd b &&
        mkdir d && echo inside > d/passwd && ln -s /etc e`);
    const swapping = await Promise.all([['race/a', 'race/b'], ['race/d', 'race/e']].map((pair) =>
        daemon.exec(id, ['/home/user/probe', 'swap', ...pair.map((name) => `/app/${name}`)], { background: true })));
    const seen = { inside: 0, refused: 0 };
    for (let i = 0; i < 400; i++) {
        const file = ['race/a', 'race/b', 'race/d/passwd', 'race/e/passwd'][i % 4];
        const { status, body } = await daemon.api('GET', `/v1/sandboxes/${id}/files?path=${file}`, { raw: true });
        assert.doesNotMatch(body.toString(), /root:x:0/, file);
        if (status === 200) assert.equal(body.toString(), 'inside\n');
        seen[status === 200 ? 'inside' : 'refused']++;
        if (i % 4 === 3) {
            const put = await daemon.api('PUT', `/v1/sandboxes/${id}/files?path=race/e/new${i}`, {
                body: Buffer.from('x'), headers: { 'content-type': 'application/octet-stream' },
            });
            assert.ok(put.status < 500, `${put.status}`);
        }
    }
    assert.ok(seen.inside > 0 && seen.refused > 0, `both sides of the race were seen: ${JSON.stringify(seen)}`);
    assert.equal(await daemon.output(id, 'ls /etc | grep -c ^new || true', { user: 'root' }), '0\n');
    for (const { process_id } of swapping) await daemon.ok('DELETE', `/v1/sandboxes/${id}/processes/${process_id}?signal=SIGKILL`);
});

// A template whose layer replaces a mount point by a link: what an attacker's image may hold.
const madeUp = [
    ['dev', (layer) => fs.symlinkSync('/etc', path.join(layer, 'dev'))],
    ['proc', (layer) => fs.symlinkSync('/tmp', path.join(layer, 'proc'))],
    ['sys', (layer) => fs.symlinkSync('../../../sys', path.join(layer, 'sys'))],
    ['tmp', (layer) => fs.writeFileSync(path.join(layer, 'tmp'), 'a file')],
];

test('a template with a made-up /dev, /proc, /sys or /tmp is refused with the path (CVE-2023-27561, CVE-2025-31133)', async () => {
    const folder = fs.mkdtempSync('/tmp/auracode-made-up.');
    fs.chmodSync(folder, 0o755);
    fs.symlinkSync(path.join(templates, 'base'), path.join(folder, 'base'));
    for (const [name, make] of madeUp) {
        const layer = path.join(folder, `made-up-${name}`, 'layer');
        fs.mkdirSync(layer, { recursive: true });
        make(layer);
        fs.writeFileSync(path.join(layer, '../template.json'),
            JSON.stringify({ name: `made-up-${name}`, parent: 'base', description: 'hostile', dev: null, created_at: '2026-01-01T00:00:00Z' }));
    }
    const other = await Instance.start({ sandbox: { templates: folder } });
    try {
        const known = (await other.ok('GET', '/v1/templates')).templates.map(({ name }) => name);
        for (const [name] of madeUp) {
            assert.ok(known.includes(`made-up-${name}`), `${known}`);
            const refusal = await other.refused('POST', '/v1/sandboxes', { body: { template: `made-up-${name}`, egress: 'none' } });
            assert.match(refusal.message, new RegExp(`/${name}\\b`), refusal.message);
        }
    } finally {
        await other.stop();
        fs.rmSync(folder, { recursive: true });
    }
});

// ---- cgroups

for (const name of ['../up', 'a/../../b', '/absolute', 'with space', '.', '..', ''])
    test(`the cgroup name ${JSON.stringify(name)} is refused by the field's name`, async () => {
        const bad = await Instance.start({ sandbox: { cgroup: name } }).catch((error) => error);
        if (bad instanceof Instance) await bad.stop();
        assert.ok(bad instanceof Error, 'it started');
        assert.match(bad.message, /cgroup/);
    });

test('each start has a cgroup leaf that nothing was in before', async () => {
    const leafOf = (box) => fs.readFileSync(`/proc/${daemon.initOf(box)}/cgroup`, 'utf8').split('\n').find((line) => line.startsWith('0::')).split('/').at(-1);
    const { id: box } = await daemon.create({ egress: 'none' });
    const seen = [leafOf(box)];
    for (let i = 0; i < 2; i++) {
        await daemon.ok('POST', `/v1/sandboxes/${box}/stop`, { body: {} });
        await daemon.ok('POST', `/v1/sandboxes/${box}/start`, { body: {} });
        seen.push(leafOf(box));
    }
    assert.equal(new Set(seen).size, 3, seen.join());
    assert.deepEqual(await daemon.output(box, ['cat', '/proc/self/cgroup']).then((text) => text.match(/^0::(.*)$/m)[1]), '/');
    await daemon.remove(box);
});
