// Two hundred creates and removes leave no cgroup, mount, namespace, interface, process or file.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { Instance, until } from './harness.mjs';
import { findTraces } from './traces.mjs';

const COUNT = 200;
const AT_ONCE = 8;

let daemon;
before(async () => { daemon = await Instance.start(); });
after(() => daemon?.stop());

function measure() {
    const pids = [daemon.pid, daemon.hostProgram('auracode-api'), daemon.hostProgram('auracode-proxy')];
    return {
        traces: findTraces(daemon).length,
        interfaces: fs.readdirSync('/sys/class/net').length,
        descriptors: pids.map((pid) => fs.readdirSync(`/proc/${pid}/fd`).length),
        mounts: fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length,
    };
}

async function cycle(i) {
    const { id } = await daemon.create({ egress: i % 2 ? 'restricted' : 'none' });
    if (i % 4 === 0) assert.equal(await daemon.output(id, 'echo x > /app/file; echo ok'), 'ok\n');
    if (i % 10 === 0) await daemon.ok('POST', `/v1/sandboxes/${id}/stop`);
    await daemon.remove(id);
    return id;
}

test(`${COUNT} creates and removes leave nothing`, { timeout: 300000 }, async () => {
    await cycle(1);
    await daemon.noTraces([await cycle(0)]);
    const before = measure();
    const ids = [];
    let next = 0;
    await Promise.all([...Array(AT_ONCE)].map(async () => {
        while (next < COUNT) ids.push(await cycle(next++));
    }));
    assert.equal(ids.length, COUNT);
    assert.deepEqual((await daemon.ok('GET', '/v1/sandboxes')).sandboxes, []);
    await daemon.noTraces(ids);
    await until('counts are as before', () => {
        const now = measure();
        return now.traces <= before.traces && now.interfaces <= before.interfaces && now.mounts <= before.mounts
            && now.descriptors.every((count, i) => count <= before.descriptors[i] + 4);
    }, 10000).catch(() => assert.deepEqual(measure(), before));
});
