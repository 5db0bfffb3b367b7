// What holds for a sandbox's disk, of whichever kind it is: what the kernel does at the limits of bytes and inodes, what
// stats say, changes while it runs, and what is left afterwards. Run by disk.test.mjs and disk-quota.test.mjs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Instance, until } from './harness.mjs';
import { arm } from './hostile/hostile.mjs';

export const MiB = 1 << 20;
export const ENOSPC = 28, EDQUOT = 122;
export const LIMITS = { disk: 64 * MiB, inodes: 2048, memory: 256 * MiB };
export const MKFS = {
    ext4: ['mke2fs', '-q', '-t', 'ext4', '-O', 'project,quota', '-E', 'quotatype=prjquota'],
    xfs: ['mkfs.xfs', '-q'],
    btrfs: ['mkfs.btrfs', '-q', '-f'],
};

// A file system with project quotas on a loop device, or why the kernel cannot have one.
export function quotaFileSystem(type) {
    const folder = fs.mkdtempSync('/tmp/auracode-disk.');
    const mount = path.join(folder, 'mount'), image = path.join(folder, 'image');
    fs.chmodSync(folder, 0o755);
    fs.mkdirSync(mount);
    fs.writeFileSync(image, '');
    fs.truncateSync(image, 1024 * MiB);
    execFileSync(MKFS[type][0], [...MKFS[type].slice(1), image]);
    const remove = () => fs.rmSync(folder, { recursive: true });
    try {
        execFileSync('mount', ['-o', type === 'btrfs' ? 'loop' : 'loop,prjquota', image, mount], { stdio: 'pipe' });
    } catch (error) {
        remove();
        return { missing: `kernel: no quotas on ${type}: ${String(error.stderr).split('\n')[0]}` };
    }
    const quiet = () => { execFileSync('umount', [mount]); remove(); }; // fails if anything is still in use
    if (type === 'btrfs') {
        execFileSync('btrfs', ['quota', 'enable', mount]);
        execFileSync('btrfs', ['quota', 'rescan', '-w', mount], { stdio: 'ignore' });
    } else if (!/prjquota|pquota/.test(fs.readFileSync('/proc/mounts', 'utf8').split('\n').find((line) => line.includes(mount)))) {
        quiet();
        return { missing: `kernel: ${type} does not enforce project quotas` };
    }
    return { stateDir: path.join(mount, 'state'), remove: quiet };
}

export const numbers = (text, pattern) => {
    const match = text.match(pattern);
    assert.ok(match, text);
    return match.slice(1).map(Number);
};

export function suite(kind, makePlace) {
    let daemon, box, neighbour, probe, place;
    const countsInodes = kind !== 'btrfs';
    const isTold = kind !== 'btrfs'; // statfs tells of the limit, which is what the init sees
    const stats = (id = box.id) => daemon.ok('GET', `/v1/sandboxes/${id}/stats`);
    // What btrfs tells as used is what a transaction has committed.
    const commit = () => (kind === 'btrfs' ? execFileSync('btrfs', ['filesystem', 'sync', daemon.stateDir]) : execFileSync('sync', ['-f', daemon.stateDir]));
    const patch = (limits, id = box.id) => daemon.ok('PATCH', `/v1/sandboxes/${id}`, { body: { limits } });
    const fill = async (file, options) => numbers(await probe(['fill', file], options), /^ok (\d+) errno (\d+)/);
    const left = async () => Number((await daemon.output(box.id, 'df -B1 --output=avail /app | tail -1')).trim());

    before(async () => {
        place = makePlace();
        daemon = await Instance.start({ sandbox: { disk_backend: kind } }, { stateDir: place.stateDir });
        box = await daemon.create({ egress: 'none', limits: LIMITS });
        neighbour = await daemon.create({ egress: 'none', limits: LIMITS });
        probe = await arm(daemon, box.id);
    });
    after(async () => {
        try {
            await daemon?.stop();
        } finally {
            place.remove?.();
        }
    });

    test('a sandbox says what its disk is, and its figures are those of its limits', async () => {
        assert.equal(box.disk, kind);
        const now = await stats();
        assert.equal(now.disk_limit_bytes, LIMITS.disk);
        if (countsInodes) assert.ok(now.inodes_limit >= LIMITS.inodes && now.inodes_limit < LIMITS.inodes + 512, `${now.inodes_limit}`);
        else assert.equal(now.inodes_limit, -1);
        assert.ok(now.disk_bytes > 0 && now.disk_bytes < 4 * MiB, `${now.disk_bytes}`);
        const { stdout } = await daemon.cli(['doctor', '--json']);
        const check = JSON.parse(stdout).checks.find(({ name }) => name === 'limit disk');
        assert.equal(check.status, 'active', check.detail);
    });

    for (const user of ['user', 'root'])
        test(`${user} fills the disk up to the limit and no further; neighbour and host go on`, async () => {
            const host = fs.statfsSync(daemon.stateDir);
            const [written, errno] = await fill(user === 'root' ? '/root/full' : '/app/full', { user });
            assert.ok([ENOSPC, EDQUOT].includes(errno), `${errno}`);
            assert.ok(written <= LIMITS.disk && written > LIMITS.disk - 8 * MiB, `${written}`);
            const now = await stats();
            assert.ok(now.disk_bytes <= now.disk_limit_bytes && now.disk_bytes >= written, JSON.stringify(now));
            assert.equal(now.disk_limit_bytes, LIMITS.disk);
            const after = fs.statfsSync(daemon.stateDir);
            assert.ok((host.bfree - after.bfree) * host.bsize < LIMITS.disk + 256 * MiB);
            await daemon.output(neighbour.id, 'head -c 20M /dev/zero > /app/fine && rm /app/fine');
            assert.equal((await daemon.api('GET', '/healthz')).status, 200);
            await daemon.output(box.id, ['rm', '-f', user === 'root' ? '/root/full' : '/app/full'], { user });
            await daemon.output(box.id, 'head -c 20M /dev/zero > /app/again && rm /app/again');
        });

    test('a full disk is told as the limit that was hit, and an upload names it', async () => {
        const full = await daemon.exec(box.id, 'cat /dev/zero > /app/full');
        assert.notEqual(full.exit_code, 0);
        if (isTold) assert.deepEqual(full.limits_hit, ['disk'], JSON.stringify(full));
        const refused = await daemon.refused('PUT', `/v1/sandboxes/${box.id}/files?path=upload`, { body: Buffer.alloc(8 * MiB) });
        assert.equal(refused.code, 'disk_full');
        assert.match(refused.message, /limits\.disk/);
        await daemon.output(box.id, 'rm /app/full && touch /app/again');
    });

    test('inodes run out inside; neighbour and host go on', async () => {
        await daemon.output(box.id, 'mkdir /app/many');
        if (!countsInodes) { // they are paid for in bytes
            const before = await stats();
            await daemon.output(box.id, 'cd /app/many && seq 20000 | xargs touch && sync /app', { timeout_ms: 60000 });
            commit();
            assert.ok((await stats()).disk_bytes - before.disk_bytes > 20000 * 100);
            await daemon.output(box.id, 'rm -r /app/many');
            return;
        }
        const host = fs.statfsSync(daemon.stateDir);
        const [made, errno] = numbers(await probe(['many', '/app/many'], { timeout_ms: 300000 }), /^ok (\d+) errno (\d+)/);
        assert.ok([ENOSPC, EDQUOT].includes(errno), `${errno}`);
        const now = await stats();
        assert.ok(made > LIMITS.inodes - 256 && made < LIMITS.inodes + 512, `${made}`);
        assert.equal(now.inodes, now.inodes_limit);
        assert.deepEqual((await daemon.exec(box.id, 'true')).limits_hit, ['inodes']);
        const after = fs.statfsSync(daemon.stateDir);
        assert.ok((host.bfree - after.bfree) * host.bsize < LIMITS.disk + 256 * MiB);
        await daemon.output(neighbour.id, 'touch /app/fine');
        await daemon.output(box.id, 'rm -r /app/many && touch /app/again');
        assert.ok((await stats()).inodes < now.inodes - made + 16);
    });

    test('what is counted: folders, whiteouts, copies of the template\'s files; hard links once', async () => {
        await daemon.output(box.id, 'rm -rf /app/*');
        const used = async () => { await daemon.output(box.id, 'sync /app'); commit(); return stats(); };
        const start = await used();
        const inodes = (later, earlier, least, most = least) => {
            const more = later.inodes - earlier.inodes;
            if (countsInodes) assert.ok(more >= least && more <= most, `${more}, not ${least} to ${most}`);
        };
        await daemon.output(box.id, 'head -c 10M /dev/urandom > /app/ten');
        const one = await used();
        assert.ok(Math.abs(one.disk_bytes - start.disk_bytes - 10 * MiB) < 128 * 1024, `${one.disk_bytes - start.disk_bytes}`);
        inodes(one, start, 1);
        await daemon.output(box.id, 'for i in 1 2 3; do ln /app/ten /app/link$i; done');
        inodes(await used(), one, 0);
        assert.ok((await used()).disk_bytes - one.disk_bytes < MiB);
        await daemon.output(box.id, 'mkdir -p /app/a/b/c');
        inodes(await used(), one, 3);
        const before = await used();
        await daemon.output(box.id, 'rm /etc/debian_version', { user: 'root' }); // a whiteout, and /etc with it
        const whiteout = await used();
        inodes(whiteout, before, 1, 2);
        const size = Number(await daemon.output(box.id, 'stat -c %s $(readlink -f /usr/bin/perl || readlink -f /bin/bash)'));
        await daemon.output(box.id, 'touch $(readlink -f /usr/bin/perl || readlink -f /bin/bash)', { user: 'root' });
        const copied = await used();
        assert.ok(copied.disk_bytes - whiteout.disk_bytes >= size, `${copied.disk_bytes - whiteout.disk_bytes} of ${size}`);
        await daemon.output(box.id, 'mv /app/ten /home/user/ten');
        inodes(await used(), copied, 0);
        const df = Number((await daemon.output(box.id, 'df -B1 --output=used /app | tail -1')).trim());
        if (isTold) assert.ok(Math.abs(df - copied.disk_bytes) <= MiB, `df ${df}, stats ${copied.disk_bytes}`);
        await daemon.output(box.id, 'rm -rf /app/* /home/user/ten');
    });

    test('nobody inside moves a file out of its accounting', async () => {
        await daemon.output(box.id, 'echo mine > /app/mine');
        for (const user of ['user', 'root'])
            for (const project of kind === 'project' ? [0, 7] : [7]) // elsewhere there is none but 0
                assert.match(await probe(['project', '/app/mine', project], { user }), /^errno/);
    });

    test('the limit changes while it runs, up and down; below what is in use the disk is full until something goes', async () => {
        await patch({ disk: 128 * MiB });
        assert.equal((await stats()).disk_limit_bytes, 128 * MiB);
        const [written] = await fill('/app/full');
        assert.ok(written > 112 * MiB && written <= 128 * MiB, `${written}`);
        if (kind === 'btrfs') { // which could then not delete either
            const refused = await daemon.refused('PATCH', `/v1/sandboxes/${box.id}`, { body: { limits: { disk: 96 * MiB } } });
            assert.match(refused.message, /limits\.disk.*bytes are in use/);
            await daemon.output(box.id, 'rm /app/full');
            commit();
            await patch({ disk: LIMITS.disk });
            return;
        }
        await patch({ disk: 96 * MiB });
        const over = await stats();
        assert.equal(over.disk_limit_bytes, 96 * MiB);
        assert.ok(over.disk_bytes > 112 * MiB);
        assert.equal(await left(), 0);
        assert.notEqual((await daemon.exec(box.id, 'head -c 1M /dev/zero > /app/more')).exit_code, 0);
        await daemon.output(box.id, 'truncate -s 32M /app/full && rm -f /app/more');
        await daemon.output(box.id, 'head -c 32M /dev/zero > /app/more');
        assert.notEqual((await daemon.exec(box.id, 'head -c 64M /dev/zero > /app/more')).exit_code, 0);
        await daemon.output(box.id, 'rm /app/full /app/more');
        await patch({ disk: LIMITS.disk });
    });

    test('limits.inodes changes where the kind can do that, and is refused by name where not', async () => {
        if (kind !== 'project') {
            const refused = await daemon.refused('PATCH', `/v1/sandboxes/${box.id}`, { body: { limits: { inodes: 4096, disk: 65 * MiB } } });
            assert.match(refused.message, kind === 'image' ? /limits\.inodes.*limits\.disk/ : /limits\.inodes.*btrfs/);
            assert.equal((await stats()).disk_limit_bytes, LIMITS.disk);
            return;
        }
        await patch({ inodes: 4096 });
        assert.equal((await stats()).inodes_limit, 4096);
        await patch({ inodes: LIMITS.inodes });
        assert.equal((await stats()).inodes_limit, LIMITS.inodes);
    });

    test('a limit far above: at once, or with the next start', async () => {
        await daemon.output(box.id, 'echo kept > /app/kept');
        const { status, body } = await daemon.api('PATCH', `/v1/sandboxes/${box.id}`, { body: { limits: { disk: 4096 * MiB } } });
        if (status !== 200) {
            assert.match(body.error.message, /limits\.disk.*while the sandbox runs/);
            assert.equal((await stats()).disk_limit_bytes, LIMITS.disk);
            await daemon.ok('POST', `/v1/sandboxes/${box.id}/stop`);
            await patch({ disk: 4096 * MiB });
            await daemon.ok('POST', `/v1/sandboxes/${box.id}/start`);
        }
        assert.equal((await stats()).disk_limit_bytes, 4096 * MiB);
        assert.equal(await daemon.output(box.id, 'cat /app/kept'), 'kept\n');
        await patch({ disk: LIMITS.disk });
        assert.equal((await stats()).disk_limit_bytes, LIMITS.disk);
    });

    test('a killed daemon leaves the limit in force, and the next one can change it', async () => {
        const running = await daemon.stream(box.id, { argv: ['sh', '-c', 'read line; exec cat /dev/zero > /app/full'], stdin: true });
        await daemon.killDaemon();
        running.send('go\n');
        const end = await running.ended;
        assert.notEqual(end.exit_code, 0);
        await daemon.startDaemon();
        const now = await stats();
        assert.ok(now.disk_bytes <= LIMITS.disk && now.disk_bytes > LIMITS.disk - 8 * MiB, JSON.stringify(now));
        await patch({ disk: 80 * MiB });
        await daemon.output(box.id, 'head -c 12M /dev/zero > /app/more && rm /app/more /app/full');
        commit();
        await patch({ disk: LIMITS.disk });
    });

    test('stopped and started, its files and limits are there; stopped, nothing of the machine is held', async () => {
        await daemon.output(box.id, 'echo mine > /app/mine; mkdir -p /app/dir; chmod 700 /app/dir');
        await daemon.ok('POST', `/v1/sandboxes/${box.id}/stop`);
        await patch({ disk: 100 * MiB });
        commit();
        await daemon.ok('POST', `/v1/sandboxes/${box.id}/start`);
        assert.equal(await daemon.output(box.id, 'cat /app/mine; stat -c %a:%U /app/dir'), 'mine\n700:user\n');
        assert.equal((await stats()).disk_limit_bytes, 100 * MiB);
        await patch({ disk: LIMITS.disk });
        for (let i = 0; i < 5; i++) {
            await daemon.ok('POST', `/v1/sandboxes/${box.id}/stop`);
            await daemon.ok('POST', `/v1/sandboxes/${box.id}/start`);
        }
        assert.equal(await daemon.output(box.id, 'cat /app/mine'), 'mine\n');
    });

    test('a template is made from a sandbox with such a disk, by copy and by consuming it', async () => {
        const name = `disk-${kind}-${process.pid}`;
        const remove = async (template) => daemon.ok('DELETE', `/v1/templates/${template}`);
        await daemon.output(box.id, 'echo from > /app/from; ln -s from /app/link; rm -f /etc/hostname.none');
        await daemon.output(box.id, 'rm /etc/issue', { user: 'root' });
        await daemon.ok('POST', `/v1/sandboxes/${box.id}/stop`);
        await daemon.ok('POST', '/v1/templates', { body: { name, sandbox: box.id } });
        const child = await daemon.create({ template: name, egress: 'none', limits: LIMITS });
        const look = 'cat /app/link; stat -c %U /app/from; test ! -e /etc/issue && echo gone';
        assert.equal(await daemon.output(child.id, look), 'from\nuser\ngone\n');
        assert.ok((await stats(child.id)).disk_bytes < 4 * MiB, 'the template counts for nobody');
        await daemon.output(child.id, 'echo more > /app/more');
        await daemon.ok('POST', `/v1/sandboxes/${child.id}/stop`);
        await daemon.ok('POST', '/v1/templates', { body: { name: `${name}-2`, sandbox: child.id, consume: true } });
        await daemon.noTraces([child.id]);
        const grandchild = await daemon.create({ template: `${name}-2`, egress: 'none', limits: LIMITS });
        assert.equal(await daemon.output(grandchild.id, `${look}; cat /app/more`), 'from\nuser\ngone\nmore\n');
        await daemon.remove(grandchild.id);
        await daemon.noTraces([grandchild.id]);
        await remove(`${name}-2`);
        await remove(name);
        await daemon.ok('POST', `/v1/sandboxes/${box.id}/start`);
    });

    test('a removed sandbox gives its space back', async () => {
        const used = () => { const now = fs.statfsSync(daemon.stateDir); return (now.blocks - now.bfree) * now.bsize; };
        const { id } = await daemon.create({ egress: 'none', limits: LIMITS });
        await daemon.output(id, 'head -c 50M /dev/urandom > /app/full; sync /app/full');
        commit();
        const before = used();
        await daemon.remove(id);
        await daemon.noTraces([id]);
        await until('the space is back', () => { commit(); return before - used() > 40 * MiB; }, 60000);
    });

    test('where the host is short of space no sandbox starts, and the error says what is short', async () => {
        await daemon.terminate();
        daemon.writeConfig({ sandbox: { disk_backend: kind, disk_reserve: '1000T' } });
        await daemon.startDaemon();
        const refused = await daemon.refused('POST', `/v1/sandboxes/${box.id}/start`, {});
        assert.match(refused.message, /MiB left.*disk_reserve/);
        await daemon.terminate();
        daemon.writeConfig({ sandbox: { disk_backend: kind } });
        await daemon.startDaemon();
        await daemon.ok('POST', `/v1/sandboxes/${box.id}/start`);
        await daemon.ok('POST', `/v1/sandboxes/${neighbour.id}/start`);
    });
}
