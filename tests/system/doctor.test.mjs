// What `auracode doctor` says of the isolation, against the kernel's own figures, with holds in place and with holds
// taken away.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import path from 'node:path';
import { Instance, once, until } from './harness.mjs';

let daemon, sandbox;

before(async () => {
    daemon = await Instance.start();
    sandbox = await daemon.create({ limits: { memory: 256 << 20, pids: 77 } });
});
after(() => daemon.stop());

async function doctor() {
    const { stdout } = await daemon.cli(['doctor', '--json']);
    return Object.fromEntries(JSON.parse(stdout).checks.map((check) => [check.name, check]));
}

const status = (pid) => Object.fromEntries(fs.readFileSync(`/proc/${pid}/status`, 'utf8').trim().split('\n')
    .map((line) => line.split(/:\s+/)));

test('every hold of the host programs is in force, and doctor says so', async () => {
    const report = await doctor();
    for (const name of ['auracode-api', 'auracode-proxy']) {
        const pid = daemon.hostProgram(name);
        const own = status(pid);
        assert.notEqual(own.Uid.split('\t')[0], '0');
        for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
            assert.equal(own[set], '0000000000000000', `${name} ${set}`);
        assert.equal(own.NoNewPrivs, '1');
        assert.equal(own.Seccomp, '2');
        const root = fs.readdirSync(`/proc/${pid}/root`);
        for (const folder of ['usr', 'etc', 'bin', 'home', 'dev']) assert.ok(!root.includes(folder), `${name}: ${root}`);
        assert.equal(report[name].status, 'active', report[name].detail);
        assert.match(report[name].detail, new RegExp(`^pid ${pid}, uid ${own.Uid.split('\t')[0]},`));
    }
    const own = status(daemon.pid);
    assert.equal(own.NoNewPrivs, '1');
    assert.equal(own.Seccomp, '2');
    assert.equal(report.auracoded.status, 'active', report.auracoded.detail);
});

test('nothing but its own descriptors reaches a host program, and no secret its environment', async () => {
    for (const name of ['auracode-api', 'auracode-proxy']) {
        const pid = daemon.hostProgram(name);
        const links = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => fs.readlinkSync(`/proc/${pid}/fd/${fd}`));
        const odd = links.filter((link) => !/^(socket:|anon_inode:|pipe:|\/dev\/null|\/memfd:)/.test(link)
            && !link.startsWith(path.join(daemon.stateDir, 'api/')));
        assert.deepEqual(odd, [], name);
        const environment = fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean)
            .map((entry) => entry.split('=')[0]);
        assert.deepEqual(environment.filter((key) => !['PATH', 'AURACODE_FDS', 'JOURNAL_STREAM'].includes(key)), []);
    }
});

test('a sandbox shows its namespaces, its init and its limits', async () => {
    const report = await doctor();
    assert.equal(report['sandbox namespaces'].status, 'active', report['sandbox namespaces'].detail);
    assert.equal(report['sandbox init'].status, 'active', report['sandbox init'].detail);
    assert.match(report['limit pids'].detail, new RegExp(`${sandbox.id} is 77`));
    assert.match(report['limit memory'].detail, new RegExp(`${sandbox.id} is ${256 << 20}`));
    assert.match(report['limit cpu'].detail, /is \d+/);
    assert.equal(report['egress filter'].status, 'active', report['egress filter'].detail);
});

test('the filters of auracoded, of the init and of the policy are all in force inside', async () => {
    const own = await daemon.output(sandbox.id, ['cat', '/proc/self/status']);
    assert.match(own, /^Seccomp_filters:\s+3$/m);
});

test('what the kernel lacks is called absent', async () => {
    const report = await doctor();
    const lsm = fs.existsSync('/sys/kernel/security/lsm') ? fs.readFileSync('/sys/kernel/security/lsm', 'utf8') : null;
    if (lsm !== null) {
        assert.equal(report['landlock in kernel'].status, lsm.includes('landlock') ? 'active' : 'absent');
    } else {
        assert.notEqual(report['security modules'].status, 'active');
    }
});

test('an unconfined process in the place of the proxy is not called confined', async () => {
    // A daemon that starts again keeps the programs of its predecessor by pid and start time: put another there.
    const proxy = daemon.hostProgram('auracode-proxy');
    const { uid, gid } = fs.statSync(`/proc/${proxy}`);
    await daemon.killDaemon();
    process.kill(proxy, 'SIGKILL');
    const other = spawn('sleep', ['1000'], { uid: uid || undefined, gid: gid || undefined, stdio: 'ignore' });
    const ended = once(other, 'exit');
    const file = path.join(daemon.runDir, 'programs.json');
    const programs = JSON.parse(fs.readFileSync(file, 'utf8'));
    const ticks = await until('it has a start time', () => {
        const text = fs.readFileSync(`/proc/${other.pid}/stat`, 'utf8');
        return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[19]);
    });
    programs['auracode-proxy'] = { pid: other.pid, start_time: ticks };
    fs.writeFileSync(file, JSON.stringify(programs));
    try {
        await daemon.startDaemon();
        const report = (await doctor())['auracode-proxy'];
        assert.notEqual(report.status, 'active', report.detail);
        assert.match(report.detail, new RegExp(`^pid ${other.pid}, .*no_new_privs OFF, seccomp OFF, .*the HOST's`));
        assert.ok(report.advice);
        const { code, stdout } = await daemon.cli(['doctor']);
        assert.equal(code, 1, stdout);
        assert.match(stdout, /^auracode-proxy +(degraded|absent)/m);
    } finally {
        other.kill('SIGKILL');
        await ended;
    }
    await until('the proxy is confined again', async () => (await doctor())['auracode-proxy'].status === 'active');
});
