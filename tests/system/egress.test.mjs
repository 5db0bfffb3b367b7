// Installing packages: through restricted egress it works, with none it fails fast and says why.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Instance } from './harness.mjs';

let daemon;
before(async () => { daemon = await Instance.start(); });
after(() => daemon?.stop());

const invalid = [
    ['an unknown mode', { mode: 'all' }, /egress\.mode.*none/], ['a number', 7, /egress/], ['rules without allow', { mode: 'none', rules: [{ bundle: 'npm' }] }, /egress\.rules/],
    ['an unknown member', { mode: 'allow', rule: [] }, /egress\.rule/], ['too many rules', { mode: 'allow', rules: Array(65).fill({ domain: 'a.b' }) }, /egress\.rules.*64/],
    ...[
        ['nothing in it', {}, /domain.*cidr.*bundle/], ['two in one', { domain: 'a.b', cidr: '1.1.1.1' }, /one of/], ['a name with a space', { domain: 'a b.c' }, /domain/],
        ['a name that is not ASCII', { domain: 'bücher.example' }, /punycode/], ['a wildcard in the middle', { domain: 'a.*.b' }, /domain/], ['the wildcard alone', { domain: '*' }, /domain/],
        ['a label of 64', { domain: `${'a'.repeat(64)}.b` }, /domain/], ['a name of 260', { domain: 'a.'.repeat(130) }, /domain/], ['port 0', { domain: 'a.b', ports: [0] }, /ports\[0\].*65535/],
        ['port 65536', { cidr: '1.1.1.1', ports: [80, 65536] }, /ports\[1\]/], ['a port as text', { domain: 'a.b', ports: ['80'] }, /ports\[0\]/], ['no port', { domain: 'a.b', ports: [] }, /ports/],
        ['17 ports', { domain: 'a.b', ports: Array(17).fill(80) }, /ports.*16/], ['another protocol', { cidr: '1.1.1.1', protocol: 'icmp' }, /protocol.*tcp/],
        ['host bits', { cidr: '1.1.1.1/24' }, /cidr.*24/], ['/33', { cidr: '1.1.1.0/33' }, /cidr/], ['IPv6', { cidr: '2001:db8::/32' }, /IPv4/], ['loopback', { cidr: '127.0.0.1/32' }, /cannot/],
        ['no bundle of that name', { bundle: 'nope' }, /bundle.*npm/], ['a bundle with ports', { bundle: 'npm', ports: [1] }, /bundle/],
    ].map(([what, rule, message]) => [what, { mode: 'allow', rules: [{ domain: 'fine.example' }, rule] }, new RegExp(`egress\\.rules\\[1\\].*(?:${message.source})|${message.source}`)]),
];
test('rules that are none are refused by their place, at create and later', async () => {
    const { id } = await daemon.create({ egress: 'none' });
    for (const [what, egress, message] of invalid) {
        const made = await daemon.refused('POST', '/v1/sandboxes', { body: { template: 'node', egress } });
        assert.equal(made.status, 400, `${what}: ${made.message}`);
        assert.match(made.message, message, what);
        const changed = await daemon.refused('PATCH', `/v1/sandboxes/${id}`, { body: { egress, name: 'other' } });
        assert.match(changed.message, message, what);
    }
    assert.deepEqual([(await daemon.ok('GET', `/v1/sandboxes/${id}`)).egress, (await daemon.ok('GET', '/v1/sandboxes')).sandboxes.length], ['none', 1]);
    await daemon.remove(id);
});

test('a network that is not public is for admins', async () => {
    const { token } = await daemon.ok('POST', '/v1/tokens', { body: { name: 'tenant', scopes: ['sandboxes'], owner: 'tenant' } });
    const as = { headers: { authorization: `Bearer ${token}` }, host: { host: '127.0.0.1', port: daemon.apiPort } };
    const { id } = await daemon.ok('POST', '/v1/sandboxes', { ...as, body: { template: 'node', egress: { mode: 'allow', rules: [{ cidr: '203.0.113.0/24' }] } } });
    for (const cidr of ['10.0.0.5/32', '169.254.169.254', '192.168.0.0/16', '100.64.0.0/10', '172.16.0.0/12', '0.0.0.0/0', '8.0.0.0/5', daemon.subnet]) {
        const egress = { mode: 'allow', rules: [{ domain: 'a.b' }, { cidr }] };
        for (const [method, url, body] of [['POST', '/v1/sandboxes', { template: 'node', egress }], ['PATCH', `/v1/sandboxes/${id}`, { egress }]]) {
            const { status, code, message } = await daemon.refused(method, url, { ...as, body });
            assert.deepEqual([status, code], [403, 'egress_forbidden'], `${method} ${cidr}: ${message}`);
            assert.ok(message.includes('egress.rules[1]') && message.includes(cidr), message);
        }
    }
    await daemon.ok('PATCH', `/v1/sandboxes/${id}`, { body: { egress: { mode: 'allow', rules: [{ cidr: '10.0.0.5/32' }] } } });
    await daemon.remove(id);
});

test('the command line takes rules', async () => {
    const made = await daemon.cli(['create', 'node', '--allow', 'npm', '--allow', '*.example.com:443', '--allow', '10.0.0.5/32:5432+5433']);
    assert.equal(made.code, 0, made.stderr);
    const id = made.stdout.trim();
    assert.deepEqual((await daemon.ok('GET', `/v1/sandboxes/${id}`)).egress, { mode: 'allow', rules: [
        { bundle: 'npm' }, { domain: '*.example.com', ports: [443] }, { cidr: '10.0.0.5/32', ports: [5432, 5433] }] });
    const changed = await daemon.cli(['set', id, '--egress', 'restricted']);
    assert.match(changed.stdout, /egress: restricted/);
    assert.match((await daemon.cli(['inspect', id])).stdout, /^egress\s+restricted/m);
    for (const rule of ['a_b', 'x.y:0', 'x.y:', '1.2.3.4/99', 'x.y:80+z']) {
        const bad = await daemon.cli(['create', 'node', '--allow', rule]);
        assert.equal(bad.code, 2 - (rule === 'a_b'), `${rule}: ${bad.stderr}`);
        assert.ok(bad.stderr.includes(rule.split(':')[0]), bad.stderr);
    }
    await daemon.remove(id);
});

test('npm install works where egress is restricted', async () => {
    const { id } = await daemon.create({ egress: 'restricted' });
    await daemon.write(id, 'package.json', '{"name":"app","version":"1.0.0","private":true}');
    const result = await daemon.exec(id, 'npm install --no-audit --no-fund is-odd@3.0.1', { timeout_ms: 120000 });
    assert.equal(result.exit_code, 0, result.stdout + result.stderr);
    assert.equal(await daemon.output(id, ['node', '-p', 'require("is-odd")(3)']), 'true\n');
    const stats = await daemon.ok('GET', `/v1/sandboxes/${id}/stats`);
    assert.ok(stats.network_rx_bytes > 1000, JSON.stringify(stats));
    await daemon.remove(id);
    await daemon.noTraces([id]);
});

test('npm install fails at once where egress is none, and the cause can be seen', async () => {
    const { id } = await daemon.create({ egress: 'none' });
    await daemon.write(id, 'package.json', '{"name":"app","version":"1.0.0","private":true}');
    const result = await daemon.exec(id, 'npm install --no-audit --no-fund is-odd@3.0.1', { timeout_ms: 60000 });
    assert.equal(result.cause, 'exited', 'npm must give up by itself');
    assert.notEqual(result.exit_code, 0);
    assert.ok(result.duration_ms < 15000, `${result.duration_ms} ms`);
    assert.match(`${result.stdout}${result.stderr}${JSON.stringify(result.hint ?? '')}`, /egress/i,
        `${result.stdout}${result.stderr}`);
    await daemon.remove(id);
});

test('names are resolved where egress is restricted, and not where it is none', async () => {
    const lookup = ['node', '-e', 'require("dns").lookup("registry.npmjs.org", (e, a) => console.log(e ? e.code : "found"))'];
    const open = await daemon.create({ egress: 'restricted' });
    const closed = await daemon.create({ egress: 'none' });
    assert.notEqual(await daemon.output(closed.id, lookup), 'found\n');
    assert.equal((await daemon.exec(open.id, ['npm', 'ping', '--loglevel=error'])).exit_code, 0);
    await Promise.all([open.id, closed.id].map((id) => daemon.remove(id)));
});
