// Policies: what each holds, which files are refused and how, and that a reload is all or nothing.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Instance, until } from './harness.mjs';
import { arm, policiesWith } from './hostile/hostile.mjs';

const MiB = 1 << 20;
let daemon, policies;
const file = (name) => path.join(policies.folder, `${name}.json`);
const read = (name) => JSON.parse(fs.readFileSync(file(name), 'utf8'));
const write = (name, value) => fs.writeFileSync(file(name), typeof value === 'string' ? value : JSON.stringify(value, null, 1));

before(async () => {
    policies = policiesWith(() => {});
    daemon = await Instance.start({ sandbox: { policies: policies.folder } });
});
after(async () => {
    await daemon?.stop();
    policies?.remove();
});

// The daemon's answer to SIGHUP: the line that it logs.
async function reload() {
    const count = () => (daemon.log.match(/reload: /g) ?? []).length;
    const before = count();
    process.kill(daemon.pid, 'SIGHUP');
    await until('the reload is logged', () => count() > before);
    return daemon.log.split('\n').filter((line) => line.includes('reload: ')).at(-1);
}

const NODE_SERVER = 'require("http").createServer((q, r) => r.end("served")).listen(3000, "127.0.0.1")';
const SHMGET = 29;

for (const [name, expected] of [['default', 'ok'], ['builder', 'ok'], ['strict', 'errno 1']])
    test(`a web server runs under ${name}, and System V IPC is ${expected}`, async () => {
        const { id } = await daemon.create({ policy: name });
        const probe = await arm(daemon, id);
        await daemon.write(id, 'server.js', NODE_SERVER);
        await daemon.devServer(id, { command: 'node server.js', port: 3000 });
        assert.equal((await daemon.preview(id, '/')).body.toString(), 'served');
        for (const user of ['user', 'root'])
            assert.equal((await probe(['call', SHMGET, 0, 4096, 0o600], { user })).replace(/ \d+$/, (n) => (expected === 'ok' ? '' : n)), expected);
        await daemon.remove(id);
    });

test('limits and egress come from the request, then the policy, then the configuration', async () => {
    const strict = await daemon.create({ policy: 'strict' });
    assert.deepEqual([strict.policy, strict.egress, strict.limits.memory, strict.limits.cpu, strict.limits.pids], ['strict', 'none', 512 * MiB, 0.5, 128]);
    const asked = await daemon.create({ policy: 'strict', egress: 'restricted', limits: { memory: 300 * MiB } });
    assert.deepEqual([asked.egress, asked.limits.memory, asked.limits.pids], ['restricted', 300 * MiB, 128]);
    const usual = await daemon.create();
    assert.deepEqual([usual.policy, usual.egress, usual.limits.memory], ['default', 'restricted', 1024 * MiB]);
    assert.equal(await daemon.output(strict.id, 'ulimit -n'), '16384\n');
    assert.notEqual(await daemon.output(usual.id, 'ulimit -n'), '16384\n');
    await Promise.all([strict, asked, usual].map(({ id }) => daemon.remove(id)));
});

test('an unknown policy is refused with the names that there are', async () => {
    const refusal = await daemon.refused('POST', '/v1/sandboxes', { body: { template: 'node', policy: 'lax' } });
    assert.equal(refusal.status, 400);
    for (const word of ['policy', 'lax', 'default', 'strict', 'builder']) assert.match(refusal.message, new RegExp(word));
});

// [what, how default.json is spoilt, what the daemon must say]
const bad = [
    ['no JSON', '{"name": "default",\n "seccomp": {]', /default\.json.*line 2/],
    ['an unknown member', (p) => { p.colour = 1; }, /default\.json.*`colour`/],
    ['another name than the file\'s', (p) => { p.name = 'other'; }, /`name`.*default/],
    ['no seccomp', (p) => { delete p.seccomp; }, /`seccomp`/],
    ['an empty list of calls', (p) => { p.seccomp.allow = []; }, /`seccomp\.allow`/],
    ['a call that is none', (p) => { p.seccomp.allow.push('raed'); }, /raed/],
    ['a denied call that is none', (p) => { p.seccomp.deny[0].names.push('muont'); }, /muont/],
    ['a reason that is missing', (p) => { delete p.seccomp.deny[1].reason; }, /seccomp\.deny\[1\]\.reason/],
    ['an unknown action', (p) => { p.seccomp.rules[0].action = 'log'; }, /seccomp\.rules\[0\]\.action.*allow/],
    ['an exception that is no number', (p) => { p.seccomp.rules.find((rule) => rule.except).except.values = ['x']; }, /except\.values\[0\].*integer/],
    ['an exception past 32 bits', (p) => { p.seccomp.rules.find((rule) => rule.except).except.values = [4294967296]; }, /except\.values\[0\].*4294967295/],
    ['a masked path elsewhere', (p) => { p.masked_paths.push('/etc/passwd'); }, /`masked_paths\[\d+\]`.*\/proc/],
    ['a masked path that climbs', (p) => { p.masked_paths.push('/proc/../etc'); }, /`masked_paths\[\d+\]`/],
    ['an unknown rlimit', (p) => { p.rlimits.files = 1; }, /`rlimits\.files`/],
    ['a limit out of bounds', (p) => { p.limits = { memory: 1 }; }, /`limits\.memory`/],
    ['an unknown egress', (p) => { p.egress = 'all'; }, /`egress`/],
    ['a base that there is none of', (p) => { p.extends = 'nothing'; }, /nothing/],
    ['a base that is itself', (p) => { p.extends = 'default'; }, /`extends`/],
    ['capabilities', (p) => { p.capabilities = ['CAP_SYS_ADMIN']; }, /`capabilities`/],
];

test('a bad file is refused by name, field and what is allowed, and the old policies stay', async (t) => {
    const good = read('default');
    for (const [what, spoil, message] of bad)
        await t.test(what, async () => {
            const policy = structuredClone(good);
            if (typeof spoil === 'function') spoil(policy);
            write('default', typeof spoil === 'function' ? policy : spoil);
            const said = await reload();
            assert.match(said, message);
            assert.match(said, /default\.json/);
            assert.match(said, /stay as they were/);
        });
    const { id } = await daemon.create({ egress: 'none' });
    assert.equal(await daemon.output(id, 'echo works'), 'works\n');
    await daemon.remove(id);
    write('default', good);
    assert.match(await reload(), /read again/);
});

test('a good reload holds for what is started afterwards', async () => {
    const { id } = await daemon.create({ egress: 'none' });
    const policy = read('default');
    write('default', { ...policy, rlimits: { nofile: 5000 } });
    assert.match(await reload(), /read again/);
    assert.notEqual(await daemon.output(id, 'ulimit -n'), '5000\n');
    await daemon.ok('POST', `/v1/sandboxes/${id}/stop`, { body: {} });
    await daemon.ok('POST', `/v1/sandboxes/${id}/start`, { body: {} });
    assert.equal(await daemon.output(id, 'ulimit -n'), '5000\n');
    write('default', policy);
    await reload();
    await daemon.remove(id);
});

test('the daemon does not start with a bad file, and names it', async () => {
    const spoilt = policiesWith((policy) => { policy.seccomp.allow.push('raed'); });
    const started = await Instance.start({ sandbox: { policies: spoilt.folder } }).catch((error) => error);
    if (started instanceof Instance) await started.stop();
    spoilt.remove();
    assert.match(started.message, /default\.json.*raed/);
});

test('policies are listed and shown, resolved, by REST and CLI', async () => {
    const { id } = await daemon.create({ policy: 'strict' });
    const { policies: list } = await daemon.ok('GET', '/v1/policies');
    assert.deepEqual(list.map(({ name }) => name).sort(), ['builder', 'default', 'strict']);
    assert.deepEqual(list.filter((one) => one.default).map(({ name }) => name), ['default']);
    assert.equal(list.find(({ name }) => name === 'strict').sandboxes, 1);
    const strict = await daemon.ok('GET', '/v1/policies/strict');
    assert.ok(!strict.seccomp.allow.includes('shmget') && strict.seccomp.allow.includes('read'));
    assert.ok(strict.masked_paths.includes('/proc/kcore'));
    assert.equal((await daemon.refused('GET', '/v1/policies/lax')).code, 'policy_not_found');
    const table = (await daemon.cli(['policy', 'ls'])).stdout;
    assert.match(table, /^strict +- +1 /m);
    const shown = await daemon.cli(['policy', 'show', 'strict']);
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /shmget.*System V IPC/);
    assert.match(shown.stdout, /\/proc\/kcore/);
    assert.deepEqual(JSON.parse((await daemon.cli(['policy', 'show', 'strict', '--json'])).stdout), strict);
    assert.equal((await daemon.cli(['policy', 'show', 'lax'])).code, 3);
    await daemon.remove(id);
});

test('a file is checked before the daemon reads it', async () => {
    const candidate = path.join(policies.folder, 'candidate');
    const check = async (text) => {
        fs.writeFileSync(candidate, text);
        return daemon.cli(['policy', 'check', candidate]);
    };
    const good = await check(fs.readFileSync(file('strict')));
    assert.deepEqual([good.code, good.stdout], [0, `${candidate}: valid\n`]);
    for (const [text, message] of [['{"name": "x",\n}', /line 2/], ['{"name": "x"}', /seccomp/],
        ['{"name":"x","extends":"default","seccomp":{"remove":[{"names":["raed"],"reason":"r"}]}}', /raed/],
        ['{"name":"x","extends":"none","seccomp":{}}', /none/]]) {
        const { code, stderr } = await check(text);
        assert.equal(code, 1, stderr);
        assert.match(stderr, message);
        assert.match(stderr, /candidate/);
    }
    assert.deepEqual((await daemon.ok('GET', '/v1/policies')).policies.length, 3);
});
