// The installed daemon as systemd runs it: auracoded.service with a delegated cgroup. For tests/vm/run only.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { run, templates, until } from '../system/harness.mjs';

const DROP_IN = '/run/systemd/system/auracoded.service.d/templates.conf';
const CONFIG = '/run/auracode-service-test.conf';

async function must(file, ...args) {
    const result = await run(file, args);
    assert.equal(result.code, 0, `${file} ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    return result.stdout.trim();
}

const property = (name) => must('systemctl', 'show', '--value', '--property', name, 'auracoded.service');

before(async () => {
    fs.writeFileSync(CONFIG, `[sandbox]\ntemplates = ${templates}\npolicies = /usr/local/share/auracode/policies\n`);
    fs.mkdirSync(DROP_IN.replace(/\/[^/]*$/, ''), { recursive: true });
    fs.writeFileSync(DROP_IN, '[Service]\nTimeoutStartSec=600\nTimeoutStopSec=600\nExecStart=\n'
        + `ExecStart=/usr/local/sbin/auracoded --config ${CONFIG}\n`);
    await must('systemctl', 'daemon-reload');
});

after(() => run('systemctl', ['stop', 'auracoded.service']));

test('the machine is what the daemon is promised: cgroup v2 alone, systemd, its own kernel', async () => {
    assert.equal(await must('stat', '-f', '-c', '%T', '/sys/fs/cgroup'), 'cgroup2fs');
    assert.equal(fs.readFileSync('/proc/1/comm', 'utf8').trim(), 'systemd');
});

test('--check finds nothing missing', async () => {
    const check = await run('/usr/local/sbin/auracoded', ['--config', CONFIG, '--check']);
    assert.equal(check.code, 0, check.stdout + check.stderr);
});

test('the unit starts, runs a sandbox with limits in its own cgroup, and leaves none behind', async () => {
    await must('systemctl', 'start', 'auracoded.service');
    assert.equal(await property('ActiveState'), 'active');
    await must('auracode', 'create', 'node', '--name', 'box', '--egress', 'none');
    assert.equal(await must('auracode', 'exec', 'box', '--', 'node', '-p', '6*7'), '42');
    const own = `/sys/fs/cgroup${await property('ControlGroup')}`;
    const groups = fs.readdirSync(own, { recursive: true }).filter((name) => name.endsWith('/memory.max'))
        .map((name) => fs.readFileSync(`${own}/${name}`, 'utf8').trim());
    assert.ok(groups.some((limit) => limit !== 'max'), `no memory.max is set below ${own}: ${groups}`);
    await must('systemctl', 'stop', 'auracoded.service');
    assert.equal(await property('Result'), 'success');
    await until('the cgroup is gone', () => !fs.existsSync(own));
});
