// Policies: what each holds, which files are refused and how, by the daemon and by the schema, and that a reload is all
// or nothing.
import Ajv from 'ajv/dist/2020.js';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Instance, source, until } from './harness.mjs';
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
    const count = () => (daemon.wholeLog.match(/reload: /g) ?? []).length;
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

// The schema that ships, as an editor or a pipeline would use it.
const schemaAccepts = new Ajv({ strict: true, strictTypes: false, strictRequired: false, allErrors: true })
    .compile(JSON.parse(fs.readFileSync(path.join(source, 'policies/policy.schema.json'), 'utf8')));
const exceptRule = (p) => p.seccomp.rules.find((rule) => rule.except);
const landmark = (text, what) => text.slice(0, text.indexOf(what)).split('\n').length;
const call = (names) => ({ names, reason: 'a test' });

// [what, how default.json is spoilt, what the daemon must say, words of the file whose line it must name, and why the
// schema cannot say it where it cannot]
const bad = [
    ['no JSON', '{"name": "default",\n "seccomp": {]', /default\.json:2: /],
    ['no object', '[]', /default\.json:1: expected an object/],
    ['a member twice', '{"name": "default",\n "name": "default",\n "seccomp": {}}', /default\.json:2: dup/],
    ['an unknown member', (p) => { p.colour = 1; }, /`colour`: unknown/, '"colour"'],
    ['an unknown member with a dot', (p) => { p['limits.cpu'] = 1; }, /`limits\.cpu`: unknown/, '"limits.cpu"'],
    ['null', (p) => { p.rlimits.core = null; }, /`rlimits\.core`: .*null/, '"core"'],
    ['another name than the file\'s', (p) => { p.name = 'other'; }, /`name`.*default/, '"other"', 'the file\'s name'],
    ['a name that is none', (p) => { p.name = 'Über'; }, /`name`/, '"name"'],
    ['no name', (p) => { delete p.name; }, /`name`: is required/, '{'],
    ['no seccomp', (p) => { delete p.seccomp; }, /`seccomp`/, '{'],
    ['an empty list of calls', (p) => { p.seccomp.allow = []; }, /`seccomp\.allow`/, '"allow"'],
    ['a call that is none', (p) => { p.seccomp.allow.push('raed'); }, /`seccomp\.allow\[\d+\]`: `raed`/, '"raed"', 'the names of system calls'],
    ['a call that is none in a group', (p) => { p.seccomp.allow.push(call(['read', 'raed'])); }, /`seccomp\.allow\[\d+\]\.names\[1\]`: `raed`/, '"raed"', 'the names of system calls'],
    ['a group without a reason', (p) => { p.seccomp.allow.push({ names: ['read'] }); }, /`seccomp\.allow\[\d+\]\.reason`/],
    ['a number for a call', (p) => { p.seccomp.allow.push(1); }, /`seccomp\.allow\[\d+\]`: expected a string, or/],
    ['a denied call that is none', (p) => { p.seccomp.deny[0].names.push('muont'); }, /`seccomp\.deny\[0\]\.names\[\d+\]`: `muont`/, '"muont"', 'the names of system calls'],
    ['a reason that is missing', (p) => { delete p.seccomp.deny[1].reason; }, /seccomp\.deny\[1\]\.reason/, '{\n    "names": [\n     "unshare"'],
    ['a reason that is empty', (p) => { p.seccomp.deny[1].reason = ''; }, /seccomp\.deny\[1\]\.reason.*1 to 256/],
    ['a comment that is none', (p) => { p.seccomp.comment = 1; }, /`seccomp\.comment`.*string/, '"comment": 1'],
    ['an unknown action', (p) => { p.seccomp.rules[0].action = 'log'; }, /seccomp\.rules\[0\]\.action.*allow/, '"log"'],
    ['an unknown word in a comparison', (p) => { p.seccomp.rules[3].args[0].maks = 1; }, /`seccomp\.rules\[3\]\.args\[0\]\.maks`: unknown/, '"maks"'],
    ['a mask past 32 bits', (p) => { p.seccomp.rules[3].args[0].mask = 4294967296; }, /`seccomp\.rules\[3\]\.args\[0\]\.mask`.*4294967295/, '4294967296'],
    ['a seventh argument', (p) => { p.seccomp.rules[3].args[0].index = 6; }, /`seccomp\.rules\[3\]\.args\[0\]\.index`.*0 to 5/, '"index": 6'],
    ['an argument twice', (p) => { p.seccomp.rules[3].args.push(p.seccomp.rules[3].args[0]); }, /`seccomp\.rules\[3\]\.args\[1\]\.index`.*once/, null, 'an argument twice'],
    ['arguments beside an exception', (p) => { exceptRule(p).args = p.seccomp.rules[1].args; }, /`seccomp\.rules\[\d+\]\.args`.*except/],
    ['an exception that is no number', (p) => { exceptRule(p).except.values = ['x']; }, /except\.values\[0\].*integer/, '"x"'],
    ['an exception past 32 bits', (p) => { exceptRule(p).except.values = [4294967296]; }, /except\.values\[0\].*4294967295/, '4294967296'],
    ['calls removed from no base', (p) => { p.seccomp.remove = [call(['read'])]; }, /`seccomp\.remove`.*extends/, '"remove"'],
    ['a masked path elsewhere', (p) => { p.masked_paths.push('/etc/passwd'); }, /`masked_paths\[\d+\]`.*\/proc/, '/etc/passwd'],
    ['a masked path that climbs', (p) => { p.masked_paths[1].paths.push('/proc/../etc'); }, /`masked_paths\[1\]\.paths\[\d+\]`/, '/proc/../etc'],
    ['a masked path with a slash at its end', (p) => { p.read_only_paths.push('/proc/sys/'); }, /`read_only_paths\[1\]`/, '"/proc/sys/"'],
    ['an unknown rlimit', (p) => { p.rlimits.files = 1; }, /`rlimits\.files`/, '"files"'],
    ['a negative rlimit', (p) => { p.rlimits.stack = -1; }, /`rlimits\.stack`.*0 to/, '"stack"'],
    ['a fraction', '{"name": "default", "seccomp": {"allow": ["read"]},\n"rlimits": {"nofile": 1.0}}', /json:2: field `rlimits\.nofile`.*integer/, null, '1.0 is an integer'],
    ['a limit out of bounds', (p) => { p.limits = { memory: 1 }; }, /`limits\.memory`/, '"memory"'],
    ['a limit between none and the least', (p) => { p.limits = { tmp: 1 }; }, /`limits\.tmp`.*0 or at least 1048576/, '"tmp"'],
    ['too little of a core', (p) => { p.limits = { cpu: 0.001 }; }, /`limits\.cpu`.*0\.01/, '"cpu"'],
    ['an unknown egress', (p) => { p.egress = 'all'; }, /`egress`/, '"all"'],
    ['a base that there is none of', (p) => { p.extends = 'nothing'; }, /`extends`.*nothing/, '"nothing"', 'whether the base is there'],
    ['a base that is itself', (p) => { p.extends = 'default'; }, /`extends`/, '"extends"', 'what the base extends'],
    ['a Landlock path that is relative', (p) => { p.landlock.user[1].paths[0] = 'app'; }, /`landlock\.user\[1\]\.paths\[0\]`.*absolute/],
    ['a Landlock path that climbs', (p) => { p.landlock.user[1].paths[0] = '/app/..'; }, /`landlock\.user\[1\]\.paths\[0\]`/, '"/app/.."'],
    ['a Landlock path with a slash at its end', (p) => { p.landlock.user[1].paths[0] = '/app/'; }, /`landlock\.user\[1\]\.paths\[0\]`/, '"/app/"'],
    ['a Landlock access that is none', (p) => { p.landlock.sandbox[0].access[1] = 'wirte'; }, /`landlock\.sandbox\[0\]\.access\[1\]`: expected one of "read", "write"/, '"wirte"'],
    ['a Landlock rule without a reason', (p) => { delete p.landlock.sandbox[0].reason; }, /`landlock\.sandbox\[0\]\.reason`/],
    ['Landlock without a rule', (p) => { p.landlock.sandbox = []; }, /`landlock\.sandbox`.*1 to 64/, '"sandbox"'],
    ['a scope that is none', (p) => { p.landlock.scopes = ['tcp']; }, /`landlock\.scopes\[0\]`.*"signal"/, '"tcp"'],
    ['a port that is none', (p) => { p.landlock.tcp = { connect: [80, 65536] }; }, /`landlock\.tcp\.connect\[1\]`.*65535/, '    65536'],
    ['capabilities as a list', (p) => { p.capabilities = ['CAP_SYS_ADMIN']; }, /`capabilities`: expected an object/, '"capabilities"'],
    ['a capability above the init\'s ceiling', (p) => { p.capabilities.init.push('CAP_SYS_ADMIN'); }, /`capabilities\.init\[4\]`: `CAP_SYS_ADMIN` is above the ceiling.*CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_KILL/, '"CAP_SYS_ADMIN"'],
    ['a capability for processes', (p) => { p.capabilities.processes.push('CAP_KILL'); }, /`capabilities\.processes\[0\]`: `CAP_KILL` is above the ceiling.*no capability/],
];

// A text of the table, or the policy that a function of the table made of the good one.
function spoilt(good, spoil) {
    if (typeof spoil === 'string') return spoil;
    const policy = structuredClone(good);
    spoil(policy);
    return JSON.stringify(policy, null, 1);
}

test('a bad file is refused by file, line, field and what is allowed, and the old policies stay', async (t) => {
    const good = read('default');
    for (const [what, spoil, message, words] of bad)
        await t.test(what, async () => {
            const text = spoilt(good, spoil);
            write('default', text);
            const said = await reload();
            assert.match(said, message);
            assert.match(said, /default\.json:\d+: /);
            if (words) assert.match(said, new RegExp(`default\\.json:${landmark(text, words)}: `), said);
            assert.match(said, /stay as they were/);
        });
    const { id } = await daemon.create({ egress: 'none' });
    assert.equal(await daemon.output(id, 'echo works'), 'works\n');
    await daemon.remove(id);
    write('default', good);
    assert.match(await reload(), /read again/);
});

test('the schema takes what the daemon takes and refuses what it refuses, but for what no schema can say', async (t) => {
    for (const name of fs.readdirSync(path.join(source, 'policies')).filter((name) => !name.includes('.schema.')))
        assert.ok(schemaAccepts(JSON.parse(fs.readFileSync(path.join(source, 'policies', name), 'utf8'))), `${name}: ${JSON.stringify(schemaAccepts.errors)}`);
    const good = read('default');
    for (const [what, spoil, , , beyond] of bad)
        await t.test(what, () => {
            let value;
            try {
                value = JSON.parse(spoilt(good, spoil));
            } catch {
                return; // no JSON: no schema either
            }
            if (what === 'a member twice') return; // gone with JSON.parse
            assert.equal(schemaAccepts(value), beyond !== undefined, beyond ?? 'the schema takes what the daemon refuses');
        });
});

// [what, how default.json is changed]: both must take it.
const odd = [
    ['comments in every object', (p) => {
        for (const object of [p, p.seccomp, p.seccomp.allow[0], p.seccomp.deny[0], p.seccomp.rules[0], p.seccomp.rules[0].args[0], exceptRule(p).except,
            p.capabilities, p.masked_paths[0], p.landlock, p.landlock.user[0], p.rlimits]) object.comment = 'why';
        p.limits = { comment: 'why', cpu: 0.01 };
    }],
    ['plain lists', (p) => { p.masked_paths = p.masked_paths.flatMap(({ paths }) => paths); p.seccomp.allow = p.seccomp.allow.flatMap(({ names }) => names); }],
    ['the bounds of limits', (p) => { p.limits = { memory: 67108864, memory_high: 0, swap: 0, cpu: 1024, cpu_weight: 10000, pids: 16, disk: 67108864, inodes: 1024, io_read_bps: 65536, io_write_bps: 0, tmp: 1048576, shm: 0, log: 262144 }; }],
    ['fewer capabilities', (p) => { p.capabilities = { init: ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP'] }; }],
    ['hidden folders and ports', (p) => { p.landlock = { user: [{ paths: ['/', '/a/.b', '/a/...'], access: ['read', 'execute'], reason: 'r' }], tcp: { bind: [0, 65535], connect: [] } }; }],
    ['nothing but calls', (p) => { for (const key of Object.keys(p)) if (!['name', 'seccomp'].includes(key)) delete p[key]; }],
];

test('what is unusual but right is taken by the daemon and by the schema', async (t) => {
    const good = read('default');
    for (const [what, change] of odd)
        await t.test(what, async () => {
            const policy = structuredClone(good);
            change(policy);
            assert.ok(schemaAccepts(policy), JSON.stringify(schemaAccepts.errors));
            write('default', policy);
            assert.match(await reload(), /read again/);
        });
    write('default', good);
    await reload();
});

test('a fault in what a policy extends is told with that file and line', async () => {
    const good = read('default');
    const text = spoilt(good, (p) => { p.seccomp.rules[2].args[0].index = 9; });
    const candidate = path.join(policies.folder, 'candidate');
    fs.writeFileSync(candidate, '{"name": "x", "extends": "default", "seccomp": {}}');
    write('default', text);
    const { code, stderr } = await daemon.cli(['policy', 'check', candidate]);
    write('default', good);
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`/default\\.json:${landmark(text, '"index": 9')}: field \`seccomp\\.rules\\[2\\]\\.args\\[0\\]\\.index\`: expected 0 to 5`));
    assert.doesNotMatch(stderr, /candidate/);
});

test('a policy takes capabilities from the init, and none of them by accident', async () => {
    const effective = async (id) => (await daemon.output(id, ['grep', '^CapBnd', '/proc/1/status'])).split('\t')[1].trim();
    const good = read('default');
    write('default', { ...good, capabilities: { init: ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP'] } });
    await reload();
    const less = await daemon.create({ egress: 'none' });
    write('default', good);
    await reload();
    const usual = await daemon.create({ egress: 'none' });
    assert.deepEqual([await effective(less.id), await effective(usual.id)], ['00000000000001c0', '00000000000001e0']);
    await Promise.all([less, usual].map(({ id }) => daemon.remove(id)));
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
    const allowed = strict.seccomp.allow.flatMap(({ names }) => names);
    assert.ok(!allowed.includes('shmget') && allowed.includes('read'));
    assert.ok(strict.masked_paths.flatMap(({ paths }) => paths).includes('/proc/kcore'));
    assert.equal((await daemon.refused('GET', '/v1/policies/lax')).code, 'policy_not_found');
    const table = (await daemon.cli(['policy', 'ls'])).stdout;
    assert.match(table, /^strict +- +1 /m);
    const shown = await daemon.cli(['policy', 'show', 'strict']);
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /shmget.*System V IPC/);
    assert.match(shown.stdout, /\/proc\/kcore/);
    assert.match(shown.stdout, /^ {2}execute below \/usr, \/opt, \/app, \/home\/user: programs/m);
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
    for (const [text, message] of [['{"name": "x",\n}', /candidate:2: /], ['{"name": "x"}', /seccomp/],
        ['{"name":"x","extends":"default","seccomp":{"remove":[{"names":["raed"],"reason":"r"}]}}', /raed/],
        ['{"name":"x","extends":"none","seccomp":{}}', /none/]]) {
        const { code, stderr } = await check(text);
        assert.equal(code, 1, stderr);
        assert.match(stderr, message);
        assert.match(stderr, new RegExp(`^auracode: ${candidate}:\\d+: `));
    }
    assert.deepEqual((await daemon.ok('GET', '/v1/policies')).policies.length, 3);
});
