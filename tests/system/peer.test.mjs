// The supervisor's socket, spoken to by a hostile program that has become one of its users: garbage, every operation
// out of order, the other's operations, descriptors nobody asked for, requests without end. The real programs go on
// meanwhile, and nothing may be touched or grow.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { after, before, beforeEach, afterEach, test } from 'node:test';
import { Instance, source, until } from './harness.mjs';

// [name, roles, states] of every row of the table: a new operation is tested without being asked for.
const table = [...fs.readFileSync(path.join(source, 'src/supervisor/operations.c'), 'utf8')
    .matchAll(/^ {4}\{"([a-z._]+)", ([A-Z_]+), ([A-Z_()| ]+),\s+(?:FIELDS\((\w+)\)|NULL)/gm)]
    .map(([, name, roles, states, fields]) => ({ name, roles, states, fields }));
const needsSandbox = (op) => /IN\(|LISTED|LINKED|ALIVE|AT_REST/.test(op.states);
const nobody = { uid: 65533, gid: 65533 };
const absent = 'aaaaaaaaaaaa';

let daemon, running, stopped, ruled, users, pid, peers;

const realUser = (name) => {
    const line = (key) => Number(fs.readFileSync(`/proc/${daemon.hostProgram(name)}/status`, 'utf8')
        .match(new RegExp(`^${key}:\\s+(\\d+)`, 'm'))[1]);
    return { uid: line('Uid'), gid: line('Gid') };
};
const descriptors = () => fs.readdirSync(`/proc/${daemon.pid}/fd`).length;
const memory = () => Number(fs.readFileSync(`/proc/${daemon.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) * 1024;

class Peer {
    #lines;
    #id = 0;

    static async connect(user, { hello = false } = {}) {
        const peer = new Peer();
        // Not from the source folder: the user may not be allowed to read it.
        const program = fs.readFileSync(path.join(source, 'tests/system/peer.py'), 'utf8');
        const child = spawn('python3', ['-c', program, path.join(daemon.runDir, 'supervisor.sock'), user.uid, user.gid],
            { stdio: ['pipe', 'pipe', 'inherit'] });
        peer.child = child;
        peer.#lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
        peers.push(peer);
        peer.open = (await peer.order({ do: 'connect' })).open;
        if (hello) assert.ok((await peer.call('hello')).ok);
        return peer;
    }

    async order(order) {
        this.child.stdin.write(`${JSON.stringify(order)}\n`);
        const { value, done } = await this.#lines.next();
        assert.ok(!done, 'the peer has ended');
        return JSON.parse(value);
    }

    ask(text, fds) {
        return this.order({ do: 'ask', ...(Buffer.isBuffer(text) ? { base64: text.toString('base64') } : { text }), fds });
    }

    // {ok} or {error}; fails when the connection ends.
    async call(op, params = {}, fds) {
        const { reply, closed } = await this.ask(JSON.stringify({ id: ++this.#id, op, ...params }), fds);
        assert.ok(!closed && reply, `${op} ${JSON.stringify(params)} ended the connection`);
        assert.equal(reply.id, this.#id);
        return reply;
    }

    async refused(op, params, code, fds) {
        const { ok, error } = await this.call(op, params, fds);
        assert.ok(!ok, `${op} ${JSON.stringify(params)} was done: ${JSON.stringify(ok)}`);
        if (code) assert.equal(error.code, code, `${op} ${JSON.stringify(params)}: ${JSON.stringify(error)}`);
        return error;
    }

    end() {
        this.child.kill('SIGKILL');
    }
}

const sandboxes = async () => (await daemon.ok('GET', '/v1/sandboxes?limit=64')).sandboxes
    .map(({ id, state }) => `${id} ${state}`).sort();
let expected;

before(async () => {
    daemon = await Instance.start({ auth: { jwks_url: 'https://127.0.0.1:1/' } });
    running = (await daemon.create({ egress: 'none' })).id;
    stopped = (await daemon.create({ egress: 'none' })).id;
    ruled = (await daemon.create({ egress: { mode: 'allow', rules: [{ domain: 'example.com', ports: [443] }] } })).id;
    await daemon.ok('POST', `/v1/sandboxes/${stopped}/stop`);
    await until('the fetcher runs', () => daemon.hostPrograms('auracode-fetch').length === 1);
    users = {
        api: realUser('auracode-api'), proxy: realUser('auracode-proxy'), resolver: realUser('auracode-resolver'), fetch: realUser('auracode-fetch'),
    };
    expected = await sandboxes();
});
after(() => daemon.stop());

beforeEach(() => {
    peers = [];
    pid = daemon.pid;
});

// After every test: the same supervisor, no descriptor more, no sandbox touched, and the real API is answered.
let atRest;
beforeEach(() => { atRest = descriptors(); });
afterEach(async () => {
    for (const peer of peers) peer.end();
    assert.equal(daemon.pid, pid);
    assert.deepEqual(await sandboxes(), expected);
    assert.equal(await daemon.output(running, ['echo', 'served']), 'served\n');
    await until('the supervisor holds no descriptor more than before', () => descriptors() <= atRest);
});

test('the table was found', () => {
    assert.ok(table.length >= 13, JSON.stringify(table));
    assert.ok(table.some(({ name }) => name === 'sandbox.create') && table.some(({ name }) => name === 'hello'));
});

test('a user that is neither is refused at the connection', async () => {
    assert.equal((await Peer.connect(nobody)).open, false);
    assert.equal((await Peer.connect(users.proxy)).open, true);
});

test('before hello nothing but hello is legal, and hello is legal once', async () => {
    for (const role of ['api', 'proxy', 'resolver', 'fetch']) {
        const peer = await Peer.connect(users[role]);
        for (const { name } of table.filter((op) => op.name !== 'hello'))
            assert.match((await peer.refused(name, { sandbox: running })).code, /^(refused|wrong_state)$/, name);
        assert.ok((await peer.call('hello')).ok);
        await peer.refused('hello', {}, 'wrong_state');
        await peer.refused('hello', { protocol: 'one' }, 'wrong_state');
    }
});

test('the proxy may ask for none of the operations of the API', async () => {
    const peer = await Peer.connect(users.proxy, { hello: true });
    for (const { name } of table.filter(({ roles }) => roles === 'ROLE_API')) {
        await peer.refused(name, { sandbox: running }, 'refused');
        await peer.refused(name, {}, 'refused');
    }
    const { ok } = await peer.call('sandbox.get', { sandbox: running });
    assert.deepEqual(Object.keys(ok.sandbox).sort(), ['access', 'access_epoch', 'id', 'sleeps', 'state']);
});

test('the resolver may ask for its own operations only, and open nothing for a sandbox that has no rules', async () => {
    const peer = await Peer.connect(users.resolver, { hello: true });
    for (const { name } of table.filter(({ roles }) => !/RESOLVER|ALL/.test(roles))) {
        await peer.refused(name, { sandbox: running }, 'refused');
        await peer.refused(name, {}, 'refused');
    }
    const grant = { name: 'example.com', addresses: ['203.0.113.1'], seconds: 60 };
    await peer.refused('egress.get', { sandbox: running }, 'no_egress');
    await peer.refused('egress.sockets', { sandbox: running }, 'no_egress');
    await peer.refused('egress.allow', { sandbox: running, ...grant }, 'refused');
    await peer.refused('egress.allow', { sandbox: stopped, ...grant }, 'wrong_state');
    assert.deepEqual((await peer.call('egress.list')).ok.sandboxes, [ruled]);
    assert.deepEqual((await peer.call('egress.get', { sandbox: ruled })).ok.domains, ['example.com']);
    for (const wrong of [{ name: 'example.org' }, { name: 'www.example.com' }, { addresses: ['203.0.113.1', '10.0.0.1'] }, { addresses: ['127.0.0.1'] }])
        await peer.refused('egress.allow', { sandbox: ruled, ...grant, ...wrong }, 'refused');
    for (const wrong of [{ addresses: ['::1'] }, { addresses: [] }, { addresses: ['x'] }, { seconds: 0 }, { seconds: 1e9 }, { addresses: Array(33).fill('203.0.113.1') }])
        await peer.refused('egress.allow', { sandbox: ruled, ...grant, ...wrong }, 'invalid_field');
    assert.ok((await peer.call('egress.allow', { sandbox: ruled, ...grant })).ok);
});

test('the fetcher may hand over keys and ask nothing, and only what cannot change or be waited for is taken', async () => {
    const peer = await Peer.connect(users.fetch, { hello: true });
    for (const { name } of table.filter(({ roles }) => !/FETCH|ALL/.test(roles))) {
        await peer.refused(name, { sandbox: running }, 'refused');
        await peer.refused(name, {}, 'refused');
    }
    await peer.refused('jwks.put', {});
    for (const file of ['/dev/null', '/dev/zero', '/etc/passwd', 'pipe', 'memfd']) await peer.refused('jwks.put', {}, undefined, [file]);
    assert.match((await peer.refused('jwks.put', {}, undefined, ['sealed:300000'])).message, /262144/);
    assert.equal(fs.existsSync(path.join(daemon.stateDir, 'jwks.json')), false);
});

test('wrong types, unknown fields and wrong values are refused by name, for every operation', async () => {
    const peer = await Peer.connect(users.api, { hello: true });
    const proxy = await Peer.connect(users.proxy, { hello: true });
    const resolver = await Peer.connect(users.resolver, { hello: true });
    const fetcher = await Peer.connect(users.fetch, { hello: true });
    const asker = (op) => ({ ROLE_PROXY: proxy, ROLE_RESOLVER: resolver, ROLE_FETCH: fetcher })[op.roles] ?? peer;
    for (const op of table.filter(({ name }) => name !== 'hello')) {
        const error = await asker(op).refused(op.name, { no_such_field: 1 }, 'unknown_field');
        assert.equal(error.field, 'no_such_field');
        if (!needsSandbox(op)) continue;
        for (const value of [1, true, [], {}, '', 'A', '../../../../', 'a'.repeat(12000), running.slice(1), `${running}x`])
            assert.equal((await asker(op).refused(op.name, { sandbox: value })).code, 'invalid_field', op.name);
        assert.ok(await asker(op).refused(op.name, {}));
    }
    const wrong = [
        ['sandbox.create', { template: 1 }, 'template'], ['sandbox.create', { template: 'node', env: [] }, 'env'],
        ['sandbox.create', { template: 'node', limits: { memory: 1 } }, 'limits.memory'],
        ['sandbox.create', { template: 'node', limits: { memory: 2 ** 62 } }, 'limits.memory'],
        ['sandbox.create', { template: 'node', limits: { cpu: 'x' } }, 'limits.cpu'],
        ['sandbox.create', { template: 'node', limits: { pids: -1 } }, 'limits.pids'],
        ['sandbox.create', { template: 'node', policy: '../../etc/passwd' }, 'policy'],
        ['sandbox.create', { template: '../../etc' }, 'template'],
        ['sandbox.list', { limit: 65 }, 'limit'], ['sandbox.list', { after: '../x' }, 'after'],
        ['sandbox.stop', { sandbox: running, grace_ms: -1 }, 'grace_ms'],
        ['sandbox.stop', { sandbox: running, grace_ms: 60001 }, 'grace_ms'],
        ['sandbox.sockets', { sandbox: running, inet: 9 }, 'inet'],
        ['sandbox.sockets', { sandbox: running, inet6: 1.5 }, 'inet6'],
        ['sandbox.report', { sandbox: running, port: 1, report: { kind: 'x', message: '' } }, 'report.kind'],
        ['sandbox.report', { sandbox: running, port: 1, report: { kind: 'error', message: 'x'.repeat(4097) } }, 'report.message'],
        ['sandbox.report', { sandbox: running, port: 65536, report: {} }, 'port'],
        ['template.create', { name: '../x', sandbox: stopped }, 'name'],
        ['template.create', { name: 'x', sandbox: stopped, dev: 1 }, 'dev'],
    ];
    for (const [op, params, field] of wrong) {
        const error = await asker(table.find(({ name }) => name === op)).refused(op, params);
        assert.ok(error.field === field || error.message.includes(field), `${op}: ${JSON.stringify(error)}`);
    }
    for (const name of ['/', '..', '.new.x', 'a/../b', 'x\n']) await peer.refused('template.remove', { name });
});

test('a proxy that keeps leaving has no more than one successor at a time', async () => {
    const peer = await Peer.connect(users.proxy, { hello: true });
    const first = daemon.hostProgram('auracode-proxy');
    for (let i = 0; i < 5; i++) {
        const { ok, error } = await peer.call('program.leave');
        assert.ok(ok || error.code === 'program_leaving', JSON.stringify(error));
        assert.ok(daemon.hostPrograms('auracode-proxy').length <= 2);
    }
    await until('the first was told to end', () => !daemon.hostPrograms('auracode-proxy').includes(first));
    await until('one is left', () => daemon.hostPrograms('auracode-proxy').length === 1);
});

test('an operation is legal only in the states that the table names', async () => {
    const peer = await Peer.connect(users.api, { hello: true });
    const proxy = await Peer.connect(users.proxy, { hello: true });
    const resolver = await Peer.connect(users.resolver, { hello: true });
    const others = {
        'sandbox.report': { port: 1, report: {} },
        'template.create': { name: 'x' }, 'egress.count': { queries: 1, refusals: 1 },
        'egress.allow': { name: 'example.com', addresses: ['203.0.113.1'], seconds: 60 },
    };
    for (const op of table.filter(needsSandbox))
        await ({ ROLE_PROXY: proxy, ROLE_RESOLVER: resolver }[op.roles] ?? peer).refused(op.name, { sandbox: absent, ...others[op.name] }, 'sandbox_not_found');
    for (const name of ['sandbox.connect', 'sandbox.sockets'])
        await peer.refused(name, { sandbox: stopped }, 'sandbox_not_running');
    await peer.refused('template.create', { sandbox: running, name: 'x' }, 'wrong_state');
});

test('garbage ends the connection and nothing else', async () => {
    const deep = '['.repeat(30000);
    const garbage = [
        'x', '', '[]', '{}', 'null', '{"id":1}', '{"op":"hello"}', '{"id":"1","op":"hello"}', '{"id":1.5,"op":"hello"}',
        '{"id":1,"op":7}', '{"id":1,"id":2,"op":"hello"}', '{"id":1,"op":"hello"}{"id":2,"op":"hello"}',
        '{"id":99999999999999999999999,"op":"hello"}', '{"id":1,"op":"sandbox.get\\u0000"}',
        `{"id":1,"op":"hello","pid":${deep}`, `{"id":1,"op":"x","a":${'{"a":'.repeat(9000)}`,
        Buffer.from('{"id":1,"op":"hel\0lo"}'), Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]),
        Buffer.from('{"id":1,"op":"\xc3\x28"}', 'latin1'), Buffer.alloc(65537, 0x20), Buffer.alloc(150000, 0x7b),
    ];
    for (const packet of garbage.filter((one) => one.length > 0)) {
        const peer = await Peer.connect(users.api);
        const { closed, reply } = await peer.ask(packet);
        assert.ok(closed && !reply, `${String(packet).slice(0, 60)}: ${JSON.stringify(reply)}`);
        peer.end();
    }
});

test('descriptors that nobody asked for are closed', async () => {
    const peer = await Peer.connect(users.api, { hello: true });
    const before = descriptors();
    for (const { name } of table)
        await peer.refused(name, { sandbox: absent }, undefined, Array(16).fill('null'));
    // those of the last are closed behind its answer
    await until('they are closed', () => descriptors() <= before);
    const { closed } = await peer.ask('{"id":1,"op":"hello"}', Array(40).fill('null'));
    assert.ok(closed, 'more than a packet may carry');
});

test('a peer that never reads is not read, and costs no memory', async () => {
    const peer = await Peer.connect(users.api, { hello: true });
    const before = memory();
    const { sent } = await peer.order({ do: 'flood', text: '{"id":NUMBER,"op":"sandbox.list"}', count: 200000 });
    assert.ok(sent < 200000, `${sent} requests were taken without an answer being read`);
    assert.equal((await daemon.api('GET', '/v1/templates')).status, 200);
    assert.ok(memory() - before < 48 << 20, `${memory() - before} bytes more`);
});

test('an init that hangs holds no request for good', async () => {
    const peer = await Peer.connect(users.proxy, { hello: true });
    const state = JSON.parse(fs.readFileSync(path.join(daemon.runDir, 'sandboxes', running, 'state.json'), 'utf8'));
    const init = state.init_pid;
    assert.match(fs.readFileSync(`/proc/${init}/comm`, 'utf8'), /auracode-/);
    process.kill(init, 'SIGSTOP');
    try {
        await peer.refused('sandbox.connect', { sandbox: running }, 'init_timeout');
    } finally {
        process.kill(init, 'SIGCONT');
    }
    assert.ok((await peer.call('sandbox.connect', { sandbox: running })).ok);
});

test('a user has a few connections, not as many as it likes', async () => {
    const peer = await Peer.connect(users.proxy);
    const { open } = await peer.order({ do: 'hold', count: 20 });
    assert.ok(open <= 3, `${open} more were accepted`);
    assert.equal((await daemon.preview(running)).status < 600, true);
});

test('a listener is taken back only if it listens where it should', async () => {
    const programs = ['auracode-api', 'auracode-proxy'].map((name) => daemon.hostProgram(name));
    await daemon.killDaemon();
    // so that the hostile one comes first
    for (const program of programs) process.kill(program, 'SIGSTOP');
    try {
        await daemon.startDaemon({ ready: false });
        await until('the new supervisor listens', () => daemon.wholeLog.includes('goes on') && daemon.wholeLog.match(/ serves /g).length > 1);
        const api = await Peer.connect(users.api), proxy = await Peer.connect(users.proxy);
        for (const kind of ['null', 'closed-tcp', 'tcp', 'unix'])
            for (const [peer, name] of [[api, 'http-unix'], [api, 'http-tcp'], [proxy, 'proxy']]) {
                const error = await peer.refused('hello', { listeners: [name] }, 'invalid_field', [kind]);
                assert.equal(error.field, 'listeners[0]', `${kind} as ${name}`);
            }
        await api.refused('hello', { listeners: ['proxy'] }, 'invalid_field', ['tcp']);
        await api.refused('hello', { listeners: ['http-tcp', 'http-tcp'] }, 'invalid_field', ['tcp']);
        await api.refused('hello', { listeners: [] }, 'invalid_field', ['tcp']);
    } finally {
        for (const program of programs) process.kill(program, 'SIGCONT');
    }
    pid = daemon.pid;
    // The real ones hand theirs back: a successor serves on them.
    await until('the API is connected', async () => (await daemon.api('GET', '/readyz').catch(() => null))?.status === 200);
    process.kill(programs[0], 'SIGKILL');
    await until('a new API serves', async () => (await daemon.api('GET', '/readyz').catch(() => null))?.status === 200
        && daemon.hostProgram('auracode-api') !== programs[0]);
    atRest = descriptors() + 1; // the new supervisor's own number; that it does not grow is what the others show
});
