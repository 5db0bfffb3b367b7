// The installed daemon as systemd runs it: auracoded.service with a delegated cgroup. For tests/vm/run only.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { run, templates, until } from '../system/harness.mjs';

const DROP_IN = '/run/systemd/system/auracoded.service.d/templates.conf';
const CONFIG = '/run/auracode-service-test.conf';

const journal = async () => (await run('journalctl', ['--no-pager', '-n', '40', '-u', 'auracode*'])).stdout;

async function must(file, ...args) {
    const result = await run(file, args);
    assert.equal(result.code, 0, `${file} ${args.join(' ')}: ${result.stdout}${result.stderr}${result.code ? await journal() : ''}`);
    return result.stdout.trim();
}

const property = (name, unit = 'auracoded.service') => must('systemctl', 'show', '--value', '--property', name, unit);
const group = async () => `/sys/fs/cgroup${await property('ControlGroup', 'auracode-sandboxes.service')}`;

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

const init = async () => JSON.parse(await must('auracode', 'inspect', 'box', '--json')).generation;
const output = () => must('auracode', 'exec', 'box', '--', 'cat', '/tmp/kept');
const ruleset = async () => `${await must('nft', 'list', 'ruleset')}${await must('ip', 'rule')}${await must('ip', '-o', 'link')}`;

test('the unit starts without a network, and runs a sandbox with limits in its own cgroup', async () => {
    await must('systemctl', 'start', 'auracoded.service');
    assert.equal(await property('ActiveState'), 'active');
    await must('auracode', 'create', 'node', '--name', 'box');
    assert.equal(await must('auracode', 'exec', 'box', '--', 'node', '-p', '6*7'), '42');
    const own = await group();
    const groups = fs.readdirSync(own, { recursive: true }).filter((name) => name.endsWith('/memory.max'))
        .map((name) => fs.readFileSync(`${own}/${name}`, 'utf8').trim());
    assert.ok(groups.some((limit) => limit !== 'max'), `no memory.max is set below ${own}: ${groups}`);
    assert.match(await ruleset(), /table inet auracode/);
});

test('a restart and a crash keep the sandbox and the rules of its network', async () => {
    await must('auracode', 'exec', 'box', '--', 'sh', '-c', 'echo kept >/tmp/kept');
    const before = await init();
    for (const command of [['restart'], ['kill', '--kill-whom=main', '--signal=KILL']]) {
        const pid = await property('MainPID');
        await must('systemctl', ...command, 'auracoded.service');
        await until('another daemon serves', async () => await property('ActiveState') === 'active' && await property('MainPID') !== pid
            && (await run('auracode', ['ls'])).code === 0, 4000).catch(async (error) => { throw new Error(`${error.message}\n${await journal()}`); });
        assert.equal(await init(), before, command[0]);
        assert.equal(await output(), 'kept', command[0]);
        assert.match(await ruleset(), /table inet auracode/);
    }
});

test('a stop ends it all and leaves nothing: no process, cgroup, link, table or routing rule', async () => {
    const own = await group();
    await must('systemctl', 'stop', 'auracoded.service');
    assert.equal(await property('Result'), 'success');
    await until('the cgroup is gone', () => !fs.existsSync(own));
    assert.doesNotMatch(await ruleset(), /table inet auracode|prohibit|: ac/);
});
