// Landlock: what the policies that ship give up, each with the same probe under a policy without the section, where it
// must come through; and what must go on working under them.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Instance, until } from './harness.mjs';
import { policiesWith } from './hostile/hostile.mjs';

const EACCES = 'Permission denied';
let daemon, policies, abi;
const boxes = {};
const addPolicy = (name, body) =>
    fs.writeFileSync(path.join(policies.folder, `${name}.json`), JSON.stringify({ name, extends: 'default', seccomp: {}, ...body }));

before(async () => {
    policies = policiesWith(() => {});
    const bare = JSON.parse(fs.readFileSync(path.join(policies.folder, 'default.json'), 'utf8'));
    delete bare.landlock;
    fs.writeFileSync(path.join(policies.folder, 'bare.json'), JSON.stringify({ ...bare, name: 'bare' }));
    addPolicy('ports', { landlock: { tcp: { bind: [3000], connect: [3000, 3001] } } });
    addPolicy('shut', { landlock: { sandbox: [{ paths: ['/app'], access: ['read'], reason: 'too little for an init' }] } });
    daemon = await Instance.start({ sandbox: { policies: policies.folder } });
    for (const policy of ['default', 'strict', 'builder', 'bare', 'ports'])
        boxes[policy] = (await daemon.create({ policy, egress: 'none' })).id;
    abi = Number((await check('landlock in kernel')).detail.match(/ABI (\d+)/)?.[1] ?? 0);
});
after(async () => {
    await daemon?.stop();
    policies?.remove();
});

async function check(name) {
    const { stdout } = await daemon.cli(['doctor', '--json']);
    return JSON.parse(stdout).checks.find((one) => one.name === name);
}

// The command's outcome: its output, or what it was refused with.
async function outcome(policy, command, options) {
    const { exit_code, stdout, stderr } = await daemon.exec(boxes[policy], command, options);
    return exit_code === 0 ? stdout.trim() : stderr.trim();
}

// [what, as whom, under which policy, command, from which ABI on it is refused]
const probes = [
    ['the user writes where somebody left a folder open', 'user', 'default', 'echo x > /opt/open/file', 1],
    ['the user makes a folder there', 'user', 'default', 'mkdir /opt/open/folder-$$', 1],
    ['the user removes what is there', 'user', 'default', 'rm /opt/open/there', 1],
    ['the user links to it from the project', 'user', 'default', 'ln -s /opt/open /app/way-$$ && echo x > /app/way-$$/file', 1],
    ['the user cuts off a file that is open to all', 'user', 'default', `perl -e 'truncate("/opt/open/cut", 0) or die "$!\\n"'`, 3],
    ['root changes the image', 'root', 'strict', 'echo x > /usr/local/bin/file', 1],
    ['root changes the settings of the image', 'root', 'strict', 'echo x >> /etc/environment', 1],
    ['the user executes from /tmp', 'user', 'strict', 'cp /bin/true /tmp/run-$$ && /tmp/run-$$', 1],
    ['root executes from /dev/shm', 'root', 'strict', 'cp /bin/true /dev/shm/run-$$ && /dev/shm/run-$$', 1],
];

test('what each policy gives up is refused, and comes through where the policy is silent', async (t) => {
    for (const box of [boxes.default, boxes.bare, boxes.strict])
        await daemon.exec(box, 'mkdir -m 777 /opt/open; touch /opt/open/there /opt/open/cut; chmod 666 /opt/open/*', { user: 'root' });
    for (const [what, user, policy, command, from] of probes)
        await t.test(what, async () => {
            const said = await outcome(policy, command, { user });
            if (abi >= from) assert.match(said, new RegExp(EACCES));
            else assert.equal(said, '');
            assert.equal(await outcome('bare', command, { user }), '');
        });
});

test('TCP ports are those of the policy, and all where it is silent', async (t) => {
    const script = (kind, port) => ['node', '-e', kind === 'bind'
        ? `require("net").createServer().on("error", (e) => console.log(e.code)).listen(${port}, "127.0.0.1", function () { console.log("bound"); this.close(); })`
        : `require("net").connect(${port}, "127.0.0.1").on("error", (e) => console.log(e.code))`];
    // Nobody listens: refused by the network is not refused by Landlock.
    for (const [kind, port, expected] of [['bind', 3000, 'bound'], ['bind', 4000, 'EACCES'], ['connect', 3001, 'ECONNREFUSED'], ['connect', 4000, 'EACCES']])
        await t.test(`${kind} ${port}`, async () => {
            const free = kind === 'bind' ? 'bound' : 'ECONNREFUSED';
            assert.equal(await outcome('ports', script(kind, port)), abi >= 4 ? expected : free);
            assert.equal(await outcome('bare', script(kind, port)), free);
        });
});

for (const policy of ['default', 'strict'])
    test(`commands of ${policy} see and signal one another, in terminals too`, async () => {
        const { process_id } = await daemon.exec(boxes[policy], ['sleep', '1000'], { background: true });
        const inside = Number(await outcome(policy, ['pgrep', '-x', 'sleep']));
        assert.match(await outcome(policy, `readlink /proc/${inside}/exe; ls /proc/${inside}/fd | wc -l`), /\/sleep\n[1-9]/);
        const stream = await daemon.stream(boxes[policy], { command: `tty && stty size && kill ${inside}`, tty: true, rows: 7, cols: 77 });
        await stream.ended;
        assert.match(stream.stdout, /\/dev\/pts\/\d+\r\n7 77/);
        await until('it has ended', async () => {
            const process = await daemon.ok('GET', `/v1/sandboxes/${boxes[policy]}/processes/${process_id}`);
            return process.state !== 'running';
        });
    });

test('files are linked and renamed across folders, and git, npm and sockets work, under every policy', async () => {
    const script = `set -e
        rm -rf work && mkdir -p work/a work/b && cd work
        echo x > a/f && ln a/f b/hard && ln -s a/f soft && mv b/hard a/moved && mv a/moved /home/user/moved && mv /home/user/moved b
        mv a c && test "$(cat c/f)" = x && truncate -s 0 c/f && rm -r c b soft
        mkfifo pipe && rm pipe
        node -e 'const s = require("net").createServer().listen("socket", () => s.close())'
        echo '{"name":"x","version":"1.0.0","scripts":{"t":"node -p 6*7"}}' > package.json
        npm run --silent t
        echo x > /tmp/f && mv /tmp/f . && echo 400 > /proc/self/oom_score_adj 2>/dev/null || true
        echo gone > /dev/null; cat f`;
    for (const policy of ['default', 'builder', 'strict']) assert.equal(await outcome(policy, script), '42\nx', policy);
});

test('root installs packages under default and builder', async () => {
    const script = `set -e
        cd /root && mkdir -p pkg/DEBIAN pkg/opt/thing pkg/usr/bin pkg/etc
        printf 'Package: thing\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@example.org>\\nDescription: a test\\n' > pkg/DEBIAN/control
        printf '#!/bin/sh\\nmkdir /thing && mv /thing /thing-moved && ldconfig\\n' > pkg/DEBIAN/postinst && chmod 755 pkg/DEBIAN/postinst
        printf '#!/bin/sh\\necho installed\\n' > pkg/usr/bin/thing && chmod 755 pkg/usr/bin/thing && echo conf > pkg/etc/thing.conf
        dpkg-deb --build pkg thing.deb > /dev/null && dpkg -i thing.deb > /dev/null
        thing && rm -r /thing-moved && dpkg -r thing > /dev/null`;
    for (const policy of ['default', 'builder']) assert.equal(await outcome(policy, script, { user: 'root' }), 'installed', policy);
});

test('doctor tells of the sandboxes that run without', async () => {
    const said = await check('sandbox landlock');
    assert.equal(said.status, 'degraded', said.detail);
    assert.match(said.detail, abi > 0 ? new RegExp(`${boxes.bare}: it was started without`) : /started without/);
    await daemon.remove(boxes.bare);
    const { status, detail } = await check('sandbox landlock');
    assert.equal(status, abi > 0 ? 'active' : 'degraded', detail);
});

test('a policy that leaves the init too little fails at the step, by name', async () => {
    const { id } = await daemon.create({ policy: 'shut', egress: 'none' });
    const { status, message } = await daemon.refused('POST', `/v1/sandboxes/${id}/exec`, { body: { argv: ['true'] } }).catch(() => ({}));
    if (abi > 0) {
        assert.ok(status >= 400, `${status}`);
        assert.match(message, /Permission denied/);
    }
    await daemon.remove(id);
});
