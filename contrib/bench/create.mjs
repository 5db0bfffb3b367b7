#!/usr/bin/env node
// From nothing to the end of a first process: a sandbox over the control API (its creation with overlay, limits,
// seccomp and init, then an exec of true), against `runc run` and `bwrap --unshare-all` of true on the same files, one
// after the other in one run, since machines differ. --check makes a missed bar the exit status.
import fs from 'node:fs';
import path from 'node:path';
import { Instance, templates } from '../../tests/system/harness.mjs';
import { bar, makeBundle, measure, must, p50, report } from './lib.mjs';

const COUNT = 40;
const instance = await Instance.start({ log: { level: 'info' } });
const bundle = makeBundle(fs.mkdtempSync('/tmp/auracode-bench.'), ['/bin/true']);

// Removal is outside the clock, as it is outside every request's path.
async function measureSandboxes() {
    const created = [];
    const whole = [];
    for (let i = -3; i < COUNT; i++) {
        const began = performance.now();
        const { id } = await instance.create({ egress: 'none' });
        const between = performance.now();
        await instance.exec(id, ['/bin/true']);
        const ended = performance.now();
        await instance.remove(id);
        if (i < 0) continue;
        created.push(between - began);
        whole.push(ended - began);
    }
    const inOrder = (a, b) => a - b;
    return { created: created.sort(inOrder), whole: whole.sort(inOrder) };
}

try {
    const { created, whole } = await measureSandboxes();
    const runc = await measure(COUNT, (i) =>
        must('runc', ['run', '--bundle', bundle, `auracode-bench-${process.pid}-${i + 3}`]));
    const bwrap = await measure(COUNT, () => must('bwrap', [
        '--unshare-all', '--ro-bind', path.join(templates, 'base/layer'), '/', '--proc', '/proc', '--dev', '/dev',
        '/bin/true',
    ]));
    report('create', [
        ['sandbox: create + exec true', whole], ['sandbox: create alone', created], ['runc run true', runc],
        ['bwrap --unshare-all true', bwrap],
    ]);
    bar('create to first process is not slower than runc run', p50(whole) <= p50(runc));
} finally {
    fs.rmSync(bundle, { recursive: true });
    await instance.stop();
}
