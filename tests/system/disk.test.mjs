// Disks on any host: images, what becomes of them when the host is short of room, and sandboxes of older versions.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ENOSPC, LIMITS, MiB, numbers, suite } from './disk-suite.mjs';
import { Instance, run, templates, until } from './harness.mjs';
import { arm } from './hostile/hostile.mjs';

// An ordinary one, of so many MiB.
function smallFileSystem(size) {
    const folder = fs.mkdtempSync('/tmp/auracode-disk.');
    const mount = path.join(folder, 'mount'), image = path.join(folder, 'image');
    fs.chmodSync(folder, 0o755);
    fs.mkdirSync(mount);
    fs.writeFileSync(image, '');
    fs.truncateSync(image, size * MiB);
    execFileSync('mke2fs', ['-q', '-t', 'ext4', '-m', '0', image]);
    execFileSync('mount', ['-o', 'loop', image, mount]);
    return { mount, stateDir: path.join(mount, 'state'), remove: () => { execFileSync('umount', [mount]); fs.rmSync(folder, { recursive: true }); } };
}

describe('image, on a state directory of any kind', () => suite('image', () => ({})));

describe('images on a host that has less room than they were promised', () => {
    const RESERVE = 192 * MiB;
    let daemon, place;
    const host = () => { const now = fs.statfsSync(daemon.stateDir); return now.bavail * now.bsize; };

    before(async () => {
        place = smallFileSystem(768);
        daemon = await Instance.start({ sandbox: { disk_backend: 'image', disk_reserve: RESERVE } }, { stateDir: place.stateDir });
    });
    after(async () => {
        try {
            await daemon?.stop();
        } finally {
            place.remove();
        }
    });

    test('a full host closes them: a full disk inside, no I/O error; room on the host opens them again', async () => {
        const box = await daemon.create({ egress: 'none', limits: { memory: 128 * MiB, disk: 4096 * MiB } });
        const probe = await arm(daemon, box.id);
        const [written, errno] = numbers(await probe(['fill', '/app/full']), /^ok (\d+) errno (\d+)/);
        assert.equal(errno, ENOSPC);
        assert.ok(written > 256 * MiB && written < 768 * MiB, `${written}`);
        assert.ok(host() > 0);
        const other = await daemon.refused('POST', '/v1/sandboxes', { body: { template: 'node', egress: 'none' } });
        assert.match(other.message, /MiB left.*disk_reserve/);
        await daemon.killDaemon(); // the next one finds it closed
        await daemon.startDaemon();
        assert.notEqual((await daemon.exec(box.id, 'head -c 4M /dev/zero > /app/more && sync /app/more')).exit_code, 0);
        await daemon.output(box.id, 'rm -f /app/full /app/more; sync /app');
        await until('the space is back on the host', () => { execFileSync('sync', ['-f', daemon.stateDir]); return host() > 2 * RESERVE; });
        await until('the disk is open again', async () =>
            (await daemon.ok('GET', `/v1/sandboxes/${box.id}/stats`)).disk_limit_bytes === 4096 * MiB);
        await daemon.output(box.id, 'head -c 64M /dev/zero > /app/again && sync /app/again');
        for (const { id } of (await daemon.ok('GET', '/v1/sandboxes?state=failed')).sandboxes) await daemon.remove(id);
    });
});

describe('sandboxes of versions that knew no disks', () => {
    let daemon;
    before(async () => { daemon = await Instance.start({ sandbox: { disk_backend: 'plain' } }); });
    after(() => daemon?.stop());

    test('they go on as they are, without a limit, which inspect and doctor say', async () => {
        const { id } = await daemon.create({ egress: 'none', limits: LIMITS });
        const consumed = await daemon.create({ egress: 'none' });
        await daemon.output(id, 'echo old > /app/old');
        await daemon.killDaemon();
        const file = path.join(daemon.stateDir, 'sandboxes', id, 'config.json');
        const config = JSON.parse(fs.readFileSync(file, 'utf8'));
        delete config.disk;
        fs.writeFileSync(file, JSON.stringify(config));
        daemon.writeConfig({});
        await daemon.startDaemon();
        assert.equal((await daemon.ok('GET', `/v1/sandboxes/${id}`)).disk, 'plain');
        await daemon.ok('POST', `/v1/sandboxes/${id}/stop`);
        await daemon.ok('POST', `/v1/sandboxes/${id}/start`);
        assert.equal(await daemon.output(id, 'cat /app/old; head -c 80M /dev/zero > /app/much; echo $?'), 'old\n0\n');
        assert.equal((await daemon.ok('GET', `/v1/sandboxes/${id}/stats`)).disk_limit_bytes, -1);
        const checks = JSON.parse((await daemon.cli(['doctor', '--json'])).stdout).checks;
        const check = checks.find(({ name }) => name === 'limit disk');
        assert.equal(check.status, 'degraded');
        assert.match(check.detail, /\(plain\) has NO limit/);
        const fresh = await daemon.create({ egress: 'none' });
        assert.notEqual(fresh.disk, 'plain');
        await daemon.ok('POST', `/v1/sandboxes/${consumed.id}/stop`);
        const name = `plain-${process.pid}`;
        await daemon.ok('POST', '/v1/templates', { body: { name, sandbox: consumed.id, consume: true } });
        await daemon.ok('DELETE', `/v1/templates/${name}`);
    });

    test('one of them becomes a template where templates lie on a file system of their own', async () => {
        const place = smallFileSystem(64);
        fs.symlinkSync(path.join(templates, 'base'), path.join(place.mount, 'base'));
        let other;
        try {
            other = await Instance.start({ sandbox: { disk_backend: 'plain', templates: place.mount } });
            const { id } = await other.create({ template: 'base', egress: 'none' });
            await other.output(id, 'echo kept > /app/kept');
            await other.ok('POST', `/v1/sandboxes/${id}/stop`);
            await other.ok('POST', '/v1/templates', { body: { name: 'moved', sandbox: id, consume: true } });
            assert.equal((await other.refused('GET', `/v1/sandboxes/${id}`)).status, 404);
            const made = await other.create({ template: 'moved', egress: 'none' });
            assert.equal(await other.output(made.id, 'cat /app/kept'), 'kept\n');
        } finally {
            try {
                await other?.stop();
            } finally {
                place.remove();
            }
        }
    });

    test('--check says what limits the disks of new sandboxes', async () => {
        const { stdout } = await run(daemon.program('auracoded'), ['--check', '--config', daemon.config, '--state-dir', daemon.stateDir]);
        assert.match(stdout, /^ok +disk limits +(image|project): /m);
    });
});
