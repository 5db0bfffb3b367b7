#!/usr/bin/env node
// The round trip of a command in something that runs already: exec of true over the control API, over the CLI, and
// `runc exec`. --check makes a missed bar the exit status.
import fs from 'node:fs';
import { Instance } from '../../tests/system/harness.mjs';
import { bar, makeBundle, measure, must, p50, report } from './lib.mjs';

const COUNT = 200;
const EXEC_P50_MS = 5;
const instance = await Instance.start({ log: { level: 'info' } });
const bundle = makeBundle(fs.mkdtempSync('/tmp/auracode-bench.'), ['/bin/sleep', '600']);
const container = `auracode-bench-${process.pid}`;

try {
    const { id } = await instance.create({ egress: 'none' });
    must('runc', ['run', '--detach', '--bundle', bundle, container], { stdio: 'ignore' });
    const api = await measure(COUNT, () => instance.exec(id, ['/bin/true']));
    const cli = await measure(COUNT, () => must(instance.cliProgram, ['exec', id, '/bin/true'], {
        env: { AURACODE_SOCKET: instance.socket },
    }));
    const runc = await measure(COUNT, () => must('runc', ['exec', container, '/bin/true']));
    report('exec', [['API exec true', api], ['CLI exec true', cli], ['runc exec true', runc]]);
    console.log(`  ${p50(api) < EXEC_P50_MS ? 'met' : 'missed'}: API exec p50 is under ${EXEC_P50_MS} ms on a machine that is idle`);
    bar('API exec is faster than runc exec', p50(api) < p50(runc)); // a ratio holds on a busy machine too
} finally {
    must('runc', ['delete', '--force', container]);
    fs.rmSync(bundle, { recursive: true });
    await instance.stop();
}
