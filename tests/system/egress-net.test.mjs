// Egress in a network of the test's own: the daemon runs in a network namespace "machine", with one link to a namespace
// "world" that holds public and private addresses, services on them, and the name server (world.mjs).
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { after, before, test } from 'node:test';
import { Instance, once, source, until } from './harness.mjs';

const machine = `acm${process.pid}`, world = `acw${process.pid}`;
const HOST = '203.0.113.2', GATEWAY = '203.0.113.1', NAMES = '203.0.113.53';
const PUBLIC = ['203.0.113.10', '203.0.113.11', '198.51.100.10', '8.8.4.4'];
// One address of each range that is not public.
const INSIDE = ['10.99.0.1', '100.64.0.1', '169.254.169.254', '172.16.5.1', '192.0.0.9', '192.168.77.1', '198.18.0.1', '240.0.0.1'];
const PORTS = ['80', '443', '5432'];
// IPv6 of the machine, and of the world: public, unique local, documentation.
const HOST6 = '2a00:1:2:3::2', GATEWAY6 = '2a00:1:2:3::1', OUTSIDE6 = ['2a00:4:5:6::1', 'fd00:7::1', '2001:db8:8::1'];

const inside = (namespace, ...command) =>
    execFileSync('nsenter', [`--net=/run/netns/${namespace}`, ...command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const ip = (...args) => execFileSync('ip', args);

const SERVICE = 7777; // of the machine itself, on every address that it has
let daemon, outside, service, asked = [];
const waiting = [];

function makeNetwork() {
    for (const name of [machine, world]) {
        ip('netns', 'add', name);
        ip('-n', name, 'link', 'set', 'lo', 'up');
    }
    ip('link', 'add', 'up0', 'netns', machine, 'type', 'veth', 'peer', 'name', 'down0', 'netns', world);
    ip('-n', machine, 'addr', 'add', `${HOST}/24`, 'dev', 'up0');
    ip('-n', machine, 'link', 'set', 'up0', 'up');
    ip('-n', machine, 'route', 'add', 'default', 'via', GATEWAY);
    ip('-n', world, 'addr', 'add', `${GATEWAY}/24`, 'dev', 'down0');
    ip('-n', world, 'link', 'set', 'down0', 'up');
    ip('-n', machine, 'addr', 'add', `${HOST6}/64`, 'dev', 'up0', 'nodad');
    ip('-n', machine, 'route', 'add', 'default', 'via', GATEWAY6);
    ip('-n', world, 'addr', 'add', `${GATEWAY6}/64`, 'dev', 'down0', 'nodad');
    for (const address of OUTSIDE6) ip('-n', world, 'addr', 'add', `${address}/128`, 'dev', 'lo', 'nodad');
    for (const address of [NAMES, ...PUBLIC, ...INSIDE.filter((one) => !one.startsWith('240'))])
        ip('-n', world, 'addr', 'add', `${address}/32`, 'dev', 'lo');
}

async function startWorld() {
    outside = spawn('nsenter', [`--net=/run/netns/${world}`, process.execPath, path.join(source, 'tests/system/world.mjs'), NAMES, ...PORTS],
        { stdio: ['pipe', 'pipe', 'inherit'] });
    readline.createInterface({ input: outside.stdout }).on('line', (line) => {
        const said = JSON.parse(line);
        if (said.asked) asked.push(said.asked);
        else waiting.shift()();
    });
    await new Promise((resolve, reject) => {
        waiting.push(resolve);
        outside.once('exit', (code) => reject(new Error(`the world ended with ${code}`)));
    });
}

const setZone = (zone) => {
    outside.stdin.write(`${JSON.stringify({ zone })}\n`);
    return new Promise((resolve) => waiting.push(resolve));
};

before(async () => {
    makeNetwork();
    await startWorld();
    service = spawn('nsenter', [`--net=/run/netns/${machine}`, process.execPath, '-e',
        `require('net').createServer((s) => { s.on('error', () => {}); s.end('service'); }).listen(${SERVICE}, '::', () => console.log('up'))`],
    { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(service.stdout, 'data');
    daemon = await Instance.start({ egress: { nameservers: NAMES } }, { netns: machine });
});
after(async () => {
    try {
        await daemon?.stop();
        assert.doesNotMatch(inside(machine, 'nft', 'list', 'ruleset'), /table/, 'the table is gone');
        assert.doesNotMatch(inside(machine, 'ip', '-o', 'link'), /: ac/, 'the links are gone');
        assert.doesNotMatch(inside(machine, 'ip', 'rule'), /520[01]:/, 'the routing rules are gone');
    } finally {
        outside?.kill();
        service?.kill();
        for (const name of [machine, world]) ip('netns', 'del', name);
    }
});

// In a sandbox: what becomes of connections and lookups, a JSON array of "reached ADDRESS:PORT" or an error code.
const PROBE = `
import dgram from 'node:dgram'; import dns from 'node:dns/promises'; import net from 'node:net';
const resolver = new dns.Resolver({ timeout: 8000, tries: 1 });
const tcp = (host, port, family = 4) => new Promise((resolve) => {
    const socket = net.connect({ host, port, family });
    const end = (word) => { socket.destroy(); resolve(word); };
    socket.setTimeout(3000, () => end('ETIMEDOUT'));
    socket.on('error', (error) => end(error.code)); socket.once('data', (data) => end('reached ' + String(data).trim()));
});
const udp = (host, port) => new Promise((resolve) => {
    const socket = dgram.createSocket('udp4');
    const end = (word) => { clearTimeout(timer); socket.close(); resolve(word); };
    const timer = setTimeout(() => end('ETIMEDOUT'), 1500);
    socket.on('error', (error) => end(error.code)); socket.once('message', () => end('reached'));
    socket.connect(port, host, (error) => error ? end(error.code) : socket.send('x'));
});
const look = async (name, type = 'A') => { try { return (await resolver.resolve(name, type)).flat().join(' '); } catch (e) { return e.code; } };
const tcp6 = (host, port) => tcp(host, port, 6);
const does = { tcp, tcp6, udp, look };
console.log(JSON.stringify(await Promise.all(JSON.parse(process.argv[2]).map(([what, ...args]) => does[what](...args)))));
`;

async function box(egress, options = {}) {
    const { id } = await daemon.create({ egress, ...options });
    await daemon.write(id, 'probe.mjs', PROBE);
    return id;
}

const probe = async (id, ...what) => JSON.parse(await daemon.output(id, ['node', 'probe.mjs', JSON.stringify(what)]));
// The kernel limits how often it tells a refusal, so that some are seen as silence.
const refused = (word) => /^(EHOSTUNREACH|ENETUNREACH|ECONNREFUSED|ETIMEDOUT|EACCES|EPERM|EINVAL)$/.test(word);
const addressOf = async (id) => (await daemon.output(id, ['node', '-p', 'require("os").networkInterfaces().eth0[0].address'])).trim();
// The host's end of its link.
const gatewayOf = async (id) => (await addressOf(id)).replace(/\d+$/, (last) => last - 1);
const allow = (...rules) => ({ mode: 'allow', rules });
const stats = (id) => daemon.ok('GET', `/v1/sandboxes/${id}/stats`);
const change = (id, egress) => daemon.ok('PATCH', `/v1/sandboxes/${id}`, { body: { egress } });

test('restricted: public addresses and names, nothing else', async () => {
    await setZone({ 'www.test': { a: [PUBLIC[0]] } });
    const id = await box('restricted'), other = await box('restricted');
    assert.deepEqual(await probe(id, ['tcp', PUBLIC[0], 443], ['tcp', PUBLIC[3], 80], ['udp', PUBLIC[1], 9999], ['look', 'www.test'], ['tcp', 'www.test', 80]),
        [`reached ${PUBLIC[0]}:443`, `reached ${PUBLIC[3]}:80`, 'reached', PUBLIC[0], `reached ${PUBLIC[0]}:80`]);
    const address = await addressOf(other);
    const gateway = await gatewayOf(id);
    const ports = [daemon.apiPort, daemon.proxyPort, SERVICE];
    assert.equal(inside(world, process.execPath, '-e', `require('net').connect(${SERVICE}, '${HOST}').pipe(process.stdout)`), 'service');
    const targets = [...INSIDE.flatMap((one) => [['tcp', one, 443], ['udp', one, 9999]]), ['tcp', address, 22], ['udp', address, 22],
        ...[HOST, gateway].flatMap((one) => ports.map((port) => ['tcp', one, port]))];
    for (const [i, word] of (await probe(id, ...targets)).entries())
        assert.ok(refused(word), `${targets[i]}: ${word}`);
});

// Addresses, a route, forwarding and a way back, as a careless admin might set them up; and neighbours, since the rules
// refuse neighbour discovery as well.
function turnOn6(id) {
    const box = ['nsenter', `--net=/proc/${daemon.initOf(id)}/ns/net`], host = ['nsenter', `--net=/run/netns/${machine}`];
    const both = (inBox, onHost) => { execFileSync(...split([...box, ...inBox])); execFileSync(...split([...host, ...onHost])); };
    const on = (link) => ['sh', '-c', `echo 0 >/proc/sys/net/ipv6/conf/${link}/disable_ipv6`];
    both(on('eth0'), on(`ac${id}`));
    both(['ip', 'addr', 'add', 'fd00:9::2/64', 'dev', 'eth0', 'nodad'], ['ip', 'addr', 'add', 'fd00:9::1/64', 'dev', `ac${id}`, 'nodad']);
    both(['ip', 'route', 'add', 'default', 'via', 'fd00:9::1'], ['sh', '-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding']);
    const mac = (address, ...command) => JSON.parse(execFileSync(...split([...command, 'ip', '-j', 'link', 'show', 'dev', address])))[0].address;
    const neighbour = (address, lladdr, dev) => ['ip', 'neigh', 'replace', address, 'lladdr', lladdr, 'dev', dev, 'nud', 'permanent'];
    for (const [near, far] of [['fd00:9::2', 'fd00:9::1'], [linkLocalIn(id), linkLocal(id)]])
        both(neighbour(far, mac(`ac${id}`, ...host), 'eth0'), neighbour(near, mac('eth0', ...box), `ac${id}`));
    ip('-n', world, 'route', 'add', 'fd00:9::/64', 'via', HOST6);
}

const split = ([file, ...args]) => [file, args];
const linkLocalOf = (namespace, dev) => JSON.parse(execFileSync('nsenter', [`--net=${namespace}`, 'ip', '-j', '-6', 'addr', 'show', 'dev', dev]))[0]
    .addr_info.find(({ scope }) => scope === 'link').local;
const linkLocal = (id) => linkLocalOf(`/run/netns/${machine}`, `ac${id}`);
const linkLocalIn = (id) => linkLocalOf(`/proc/${daemon.initOf(id)}/ns/net`, 'eth0');

test('IPv6: a sandbox has none, and gets nowhere by it where somebody turns it on', async () => {
    const id = await box('restricted');
    assert.equal(inside(machine, process.execPath, '-e', `require('net').connect(${SERVICE}, '${HOST6}').pipe(process.stdout)`), 'service');
    assert.match(inside(machine, process.execPath, '-e', `require('net').connect(443, '${OUTSIDE6[0]}')
        .once('data', (data) => process.stdout.write(data, () => process.exit()))`), /:443/);
    const targets = [...OUTSIDE6, HOST6, GATEWAY6].flatMap((one) => [['tcp6', one, 443], ['tcp6', one, SERVICE]]);
    assert.equal(await daemon.output(id, 'grep -v " lo$" /proc/net/if_inet6 | grep -v "^fe80"; true'), '');
    assert.equal(inside(machine, 'ip', '-6', 'addr', 'show', 'dev', `ac${id}`), '');
    for (const [i, word] of (await probe(id, ...targets)).entries()) assert.ok(refused(word), `${targets[i]}: ${word}`);
    turnOn6(id);
    const refusedBefore = (await stats(id)).egress_refused_packets;
    const more = [...targets, ['tcp6', 'fd00:9::1', SERVICE], ['tcp6', `${linkLocal(id)}%eth0`, SERVICE]];
    for (const [i, word] of (await probe(id, ...more)).entries()) assert.ok(refused(word), `${more[i]} with IPv6 turned on: ${word}`);
    assert.ok((await stats(id)).egress_refused_packets > refusedBefore, 'it was the rules that refused');
});

test('allow: what a name leads to, on its ports, until the answer is old; nothing by address alone', async () => {
    await setZone({ 'api.test': { a: [PUBLIC[0]], ttl: 1 }, 'any.test': { a: [PUBLIC[2]] }, 'other.test': { a: [PUBLIC[1]] } });
    const id = await box(allow({ domain: 'api.test', ports: [443] }, { domain: 'any.test' }));
    assert.ok(refused((await probe(id, ['tcp', PUBLIC[0], 443]))[0]), 'before it was asked for');
    assert.deepEqual(await probe(id, ['tcp', 'api.test', 443], ['tcp', 'any.test', 5432]), [`reached ${PUBLIC[0]}:443`, `reached ${PUBLIC[2]}:5432`]);
    const words = await probe(id, ['tcp', PUBLIC[0], 80], ['tcp', PUBLIC[1], 443], ['udp', PUBLIC[0], 9999], ['tcp', PUBLIC[3], 443]);
    assert.ok(words.every(refused), JSON.stringify(words));
    assert.deepEqual(await probe(id, ['look', 'other.test'], ['udp', PUBLIC[2], 9999]), ['EREFUSED', 'reached']);
    assert.ok(!asked.some(({ name }) => name === 'other.test'), 'a name that no rule allows is asked of nobody');
    // A connection that is open goes on when its address expires.
    const stream = await daemon.stream(id, { argv: ['node', '-e', `const s = require('net').connect(443, 'api.test');
        s.on('data', (d) => process.stdout.write(d)); process.stdin.on('data', (d) => s.write(d))`], stdin: true });
    await stream.outputs(/:443/);
    await until('the address expires', async () => refused((await probe(id, ['tcp', PUBLIC[0], 443]))[0]), 25000);
    stream.send('still here\n');
    await stream.outputs(/still here/);
    stream.control({ type: 'signal', signal: 'SIGKILL' });
});

test('allow: wildcards, networks, protocols, bundles', async () => {
    await setZone({ 'a.b.wild.test': { a: [PUBLIC[0]] }, 'wild.test': { a: [PUBLIC[1]] }, 'registry.npmjs.org': { a: [PUBLIC[3]] } });
    const id = await box(allow({ domain: '*.wild.test' }, { cidr: '198.51.100.0/24', ports: [9999], protocol: 'udp' },
        { cidr: `${PUBLIC[1]}/32`, ports: [80, 443] }, { bundle: 'npm' }));
    assert.deepEqual(await probe(id, ['tcp', 'A.b.WILD.test', 80], ['look', 'wild.test'], ['udp', PUBLIC[2], 9999], ['tcp', PUBLIC[1], 80], ['tcp', 'registry.npmjs.org', 443]),
        [`reached ${PUBLIC[0]}:80`, 'EREFUSED', 'reached', `reached ${PUBLIC[1]}:80`, `reached ${PUBLIC[3]}:443`]);
    const words = await probe(id, ['tcp', PUBLIC[2], 443], ['tcp', PUBLIC[1], 5432], ['udp', PUBLIC[1], 9999], ['tcp', PUBLIC[3], 80]);
    assert.ok(words.every(refused), JSON.stringify(words));
});

test('an admin may allow a private network, one of them, and of the host no more than it', async () => {
    const id = await box(allow({ cidr: `${INSIDE[0]}/32`, ports: [5432] }));
    const words = await probe(id, ['tcp', INSIDE[0], 5432], ['tcp', INSIDE[0], 80], ['tcp', INSIDE[5], 5432], ['tcp', HOST, SERVICE]);
    assert.equal(words[0], `reached ${INSIDE[0]}:5432`);
    assert.ok(words.slice(1).every(refused), JSON.stringify(words));
});

test('names that lead inside are refused in both modes, whatever way they take', async () => {
    const zone = { 'public.test': { a: [PUBLIC[0]] }, 'mixed.test': { a: [PUBLIC[0], '127.0.0.1'] }, 'alias.test': { cname: 'in0.test' } };
    for (const [i, address] of [...INSIDE, '127.0.0.1', '0.0.0.0', '224.0.0.1', '255.255.255.255'].entries()) zone[`in${i}.test`] = { a: [address] };
    await setZone(zone);
    const bad = Object.keys(zone).filter((name) => name !== 'public.test');
    for (const egress of ['restricted', allow({ domain: '*.test' })]) {
        const id = await box(egress);
        const before = (await stats(id)).dns_refused;
        const words = await probe(id, ...bad.map((name) => ['look', name]), ['look', 'public.test']);
        assert.deepEqual(words, [...bad.map(() => 'EREFUSED'), PUBLIC[0]], JSON.stringify(egress));
        await until('the refusals are told', async () => (await stats(id)).dns_refused >= before + bad.length);
        assert.deepEqual(await probe(id, ['look', 'public.test', 'AAAA'], ['look', '1.0.99.10.in-addr.arpa', 'PTR']),
            ['ENODATA', egress === 'restricted' ? 'ENOTFOUND' : 'EREFUSED']);
    }
});

test('aliases, cut answers, garbage before the truth, silence', async () => {
    await setZone({
        'alias.test': { cname: 'next.test', ttl: 30 }, 'next.test': { cname: 'last.test', ttl: 5 }, 'last.test': { a: [PUBLIC[2]], ttl: 60 },
        'long.test': { a: [PUBLIC[0]], truncate: true }, 'noise.test': { a: [PUBLIC[1]], garbage: true }, 'silent.test': { silent: true },
    });
    const id = await box(allow({ domain: 'alias.test' }, { domain: 'long.test' }, { domain: 'noise.test' }, { domain: 'silent.test' }));
    asked = [];
    assert.deepEqual(await probe(id, ['tcp', 'alias.test', 443], ['look', 'next.test'], ['look', 'long.test'], ['look', 'noise.test'], ['look', 'silent.test']),
        [`reached ${PUBLIC[2]}:443`, 'EREFUSED', PUBLIC[0], PUBLIC[1], 'ESERVFAIL']);
    assert.ok(asked.some(({ name, tcp }) => name === 'long.test' && tcp), 'what was cut is asked over TCP');
    assert.ok(asked.filter(({ name }) => name === 'silent.test').length > 1, 'asked again');
});

test('a live change holds at once, both ways, also for what is open', async () => {
    await setZone({ 'www.test': { a: [PUBLIC[0]] } });
    const id = await box('none');
    assert.deepEqual((await probe(id, ['look', 'www.test'], ['tcp', PUBLIC[0], 443])).map((word) => word.startsWith('reached') || word === PUBLIC[0]), [false, false]);
    await change(id, allow({ domain: 'www.test', ports: [443] }));
    await until('its names are served', async () => (await probe(id, ['look', 'www.test']))[0] === PUBLIC[0]);
    assert.deepEqual(await probe(id, ['tcp', 'www.test', 443]), [`reached ${PUBLIC[0]}:443`]);
    assert.equal((await change(id, 'restricted')).egress, 'restricted');
    assert.deepEqual(await probe(id, ['tcp', PUBLIC[1], 80]), [`reached ${PUBLIC[1]}:80`]);
    const stream = await daemon.stream(id, { argv: ['node', '-e', `const s = require('net').connect(80, '${PUBLIC[1]}');
        s.on('data', (d) => process.stdout.write(d)); s.on('error', (e) => console.log(e.code)); process.stdin.on('data', (d) => s.write(d))`], stdin: true });
    await stream.outputs(/:80/);
    await change(id, allow({ cidr: `${PUBLIC[1]}/32`, ports: [80] })); // still allowed: goes on
    stream.send('one\n');
    await stream.outputs(/one/);
    await change(id, allow({ cidr: `${PUBLIC[2]}/32` }));
    const before = (await stats(id)).egress_refused_packets;
    stream.send('two\n');
    await until('what is open is refused', async () => (await stats(id)).egress_refused_packets > before);
    assert.doesNotMatch(stream.stdout, /two/);
    assert.ok(refused((await probe(id, ['tcp', PUBLIC[1], 80]))[0]));
    stream.control({ type: 'signal', signal: 'SIGKILL' });
    const bad = await daemon.refused('PATCH', `/v1/sandboxes/${id}`, { body: { egress: allow({ bundle: 'nothing' }), name: 'renamed' } });
    assert.match(bad.message, /egress\.rules\[0\]\.bundle.*npm/);
    assert.notEqual((await daemon.ok('GET', `/v1/sandboxes/${id}`)).name, 'renamed');
    await change(id, 'none');
    await until('the link is gone', () => !inside(machine, 'ip', '-o', 'link').includes(`ac${id}`));
    assert.ok((await probe(id, ['tcp', PUBLIC[2], 80]))[0] !== `reached ${PUBLIC[2]}:80`);
});

test('a flushed ruleset is put back, addresses that were found with it', async () => {
    await setZone({ 'www.test': { a: [PUBLIC[0]], ttl: 300 } });
    const id = await box(allow({ domain: 'www.test' }));
    assert.deepEqual(await probe(id, ['tcp', 'www.test', 80]), [`reached ${PUBLIC[0]}:80`]);
    const rules = () => inside(machine, 'nft', 'list', 'ruleset');
    for (const command of [['flush', 'ruleset'], ['delete', 'table', 'inet', daemon.table], ['flush', 'table', 'inet', daemon.table]]) {
        inside(machine, 'nft', ...command);
        const from = performance.now();
        await until(`back after ${command.join(' ')}`, () => rules().includes(`jump s_${id}`) && rules().includes(PUBLIC[0]));
        console.log(`# back within ${(performance.now() - from).toFixed(0)} ms after ${command[0]} ${command[1]}`);
        const words = await probe(id, ['tcp', PUBLIC[0], 80], ['tcp', PUBLIC[1], 80], ['tcp', INSIDE[0], 80], ['tcp', HOST, SERVICE]);
        assert.equal(words[0], `reached ${PUBLIC[0]}:80`);
        assert.ok(words.slice(1).every(refused), JSON.stringify(words));
    }
});

test('while the ruleset is flushed and nobody puts it back, nothing is let out', async () => {
    const id = await box('restricted');
    assert.deepEqual(await probe(id, ['tcp', PUBLIC[1], 80]), [`reached ${PUBLIC[1]}:80`]);
    const helper = daemon.helper(), gateway = await gatewayOf(id);
    process.kill(helper, 'SIGSTOP');
    try {
        inside(machine, 'nft', 'flush', 'ruleset');
        // Without masquerade nobody answers a sandbox anyhow: the world is told the way back.
        ip('-n', world, 'route', 'add', daemon.subnet, 'via', HOST);
        const targets = [...[PUBLIC[1], ...INSIDE.slice(0, -1)].flatMap((one) => [['tcp', one, 80], ['udp', one, 9999]]),
            ['tcp', HOST, SERVICE], ['tcp', gateway, SERVICE]];
        for (const [i, word] of (await probe(id, ...targets)).entries()) assert.ok(refused(word), `${targets[i]}: ${word}`);
    } finally {
        process.kill(helper, 'SIGCONT');
        ip('-n', world, 'route', 'del', daemon.subnet);
    }
    await until('it is put back', async () => (await probe(id, ['tcp', PUBLIC[1], 80]))[0] === `reached ${PUBLIC[1]}:80`);
});

test('helper, resolver and auracoded killed: what is held stays held, and all of it comes back', async () => {
    await setZone({ 'www.test': { a: [PUBLIC[0]], ttl: 300 }, 'new.test': { a: [PUBLIC[1]] } });
    const id = await box(allow({ domain: 'www.test' }, { domain: 'new.test' })), open = await box('restricted');
    assert.deepEqual(await probe(id, ['tcp', 'www.test', 80]), [`reached ${PUBLIC[0]}:80`]);
    const holds = async (what) => {
        const words = await probe(id, ['tcp', PUBLIC[0], 80], ['tcp', PUBLIC[2], 80], ['tcp', INSIDE[0], 80]);
        assert.equal(words[0], `reached ${PUBLIC[0]}:80`, what);
        assert.ok(words.slice(1).every(refused), `${what}: ${words}`);
        assert.deepEqual((await probe(open, ['tcp', PUBLIC[2], 80], ['tcp', INSIDE[0], 80])).map(refused), [false, true], what);
    };
    const helper = daemon.helper();
    process.kill(helper, 'SIGKILL');
    await holds('helper killed');
    await until('another helper', () => daemon.helper() && daemon.helper() !== helper);
    await holds('another helper');
    const resolver = daemon.hostProgram('auracode-resolver');
    process.kill(resolver, 'SIGKILL');
    await until('another resolver serves', async () => (await probe(id, ['look', 'new.test']))[0] === PUBLIC[1]);
    await holds('another resolver');
    await daemon.killDaemon();
    await daemon.startDaemon();
    await until('names are served again', async () => (await probe(id, ['look', 'new.test']))[0] === PUBLIC[1]);
    await until('addresses are open again', async () => (await probe(id, ['tcp', PUBLIC[0], 80]))[0] === `reached ${PUBLIC[0]}:80`);
    await holds('another auracoded');
    // It is no child of the new auracoded, and the sockets were its alone.
    process.kill(daemon.programPids()['auracode-resolver'], 'SIGKILL');
    await until('a third resolver serves', async () => (await probe(open, ['look', 'www.test']))[0] === PUBLIC[0]);
    await change(id, 'restricted');
    assert.deepEqual(await probe(id, ['tcp', PUBLIC[2], 443]), [`reached ${PUBLIC[2]}:443`]);
});

test('counters tell what went out, what was refused and what was asked', async () => {
    await setZone({ 'www.test': { a: [PUBLIC[0]] } });
    const id = await box(allow({ domain: 'www.test' }));
    const first = await stats(id);
    assert.deepEqual([first.egress_accepted_packets, first.egress_refused_packets, first.dns_queries, first.dns_refused], [0, 0, 0, 0]);
    await probe(id, ['udp', PUBLIC[1], 9999]);
    assert.equal((await stats(id)).egress_refused_packets, 1);
    assert.equal((await stats(id)).egress_refused_bytes, 20 + 8 + 1);
    await probe(id, ['look', 'www.test'], ['look', 'no.example']);
    await until('both questions are told', async () => (await stats(id)).dns_queries === 2);
    assert.equal((await stats(id)).dns_refused, 1);
    await probe(id, ['udp', PUBLIC[0], 9999]);
    const last = await stats(id);
    assert.deepEqual([last.egress_accepted_packets, last.egress_accepted_bytes], [1, 29]);
    const { stdout } = await daemon.cli(['stats', id]);
    assert.match(stdout, /egress_refused_packets\s+1\b/);
    assert.match(stdout, /dns_refused\s+1\b/);
});

test('a sandbox that asks too much is refused, its neighbour is not', async () => {
    await setZone({ 'www.test': { a: [PUBLIC[0]] } });
    const id = await box('restricted'), neighbour = await box('restricted');
    const flood = await daemon.exec(id, ['node', '-e', `const s = require('dgram').createSocket('udp4'); let refused = 0, n = 0, sent = 0;
        const q = Buffer.from('0001010000010000000000000377777704746573740000010001', 'hex');
        const send = () => { if (sent++ < 3000) s.send(q, 53, '127.0.0.53'); };
        s.on('message', (m) => { if ((m[3] & 15) === 5) refused++; if (++n === 3000) { console.log(refused); process.exit(); } send(); });
        for (let i = 0; i < 40; i++) send();`], { timeout_ms: 30000 });
    assert.ok(Number(flood.stdout) > 500, flood.stdout);
    assert.deepEqual(await probe(neighbour, ['look', 'www.test']), [PUBLIC[0]]);
});

test('the resolver in a sandbox is none of its ports', async () => {
    const id = await box('restricted');
    assert.deepEqual((await daemon.ok('GET', `/v1/sandboxes/${id}/ports`)).ports, []);
});

test('how long names take', async () => {
    await setZone(Object.fromEntries([...Array(60)].map((_, i) => [`n${i}.test`, { a: [PUBLIC[0]], ttl: 300 }])));
    for (const egress of ['restricted', allow({ domain: '*.test' })]) {
        const id = await box(egress);
        const out = JSON.parse(await daemon.output(id, ['node', '-e', `const dns = require('dns').promises; const r = new dns.Resolver();
            const run = async () => { const t = []; for (let i = 0; i < 60; i++) { const from = performance.now(); await r.resolve4('n' + i + '.test'); t.push(performance.now() - from); }
            t.sort((a, b) => a - b); return t[30]; };
            (async () => { const uncached = await run(); console.log(JSON.stringify({ uncached, cached: await run() })); })()`]));
        console.log(`# ${typeof egress === 'string' ? egress : 'allow'}: p50 ${out.uncached.toFixed(2)} ms uncached, ${out.cached.toFixed(2)} ms cached`);
    }
});
