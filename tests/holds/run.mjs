#!/usr/bin/env node
// Proves that the tests of the code's holds can fail: takes out one hold at a time in a copy of the source, builds that,
// and runs the tests that must then be red. Closes with `N passed, N failed`; a hold whose tests stay green has failed.
//
//     tests/holds/run.mjs [PATTERN]     holds whose name matches; all of them without
//
// Needs what the system tests need (see tests/system/harness.mjs) and ./autogen.sh; about 20 seconds a hold.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { holds } from './holds.mjs';

const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const pattern = new RegExp(process.argv[2] ?? '');
const scratch = fs.mkdtempSync('/tmp/auracode-holds.');
fs.chmodSync(scratch, 0o755); // the daemon's unprivileged programs are executed from it
const tree = path.join(scratch, 'source'), build = path.join(scratch, 'build');

function must(file, args, cwd) {
    const { status, stdout, stderr } = spawnSync(file, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 26 });
    assert.equal(status, 0, `${file} ${args.join(' ')}\n${stdout}${stderr}`);
}

const make = () => must('make', ['--no-print-directory', '-s', `-j${os.cpus().length}`], build);

function prepare() {
    fs.cpSync(source, tree, { recursive: true, filter: (from) => !/\/(\.git|build-(?!aux)[^/]*|autom4te\.cache)$/.test(from), verbatimSymlinks: true, preserveTimestamps: true });
    fs.mkdirSync(build);
    must(path.join(tree, 'configure'), ['--quiet', 'CFLAGS=-O1'], build);
    make();
}

// The source without the hold; gives what puts it back.
function takeOut({ name, edits }) {
    const saved = new Map();
    for (const [file, there, instead] of edits) {
        const full = path.join(tree, file), text = fs.readFileSync(full, 'utf8');
        assert.equal(text.split(there).length, 2, `${name}: ${file} must hold once: ${there}`);
        if (!saved.has(full)) saved.set(full, text);
        fs.writeFileSync(full, text.replace(there, () => instead));
    }
    return () => { for (const [full, text] of saved) fs.writeFileSync(full, text); };
}

// {red, counts}: red when a test failed, and not just could not start.
function runTests([file, names]) {
    const { stdout } = spawnSync('node', ['--test', '--test-reporter=tap', `--test-name-pattern=${names}`, `tests/system/${file}.test.mjs`], {
        cwd: tree, encoding: 'utf8', timeout: 120000, maxBuffer: 1 << 26, env: { ...process.env, AURACODE_BUILD: build },
    });
    const number = (what) => Number(stdout.match(new RegExp(`^# ${what} (\\d+)`, 'm'))?.[1] ?? 0);
    return { red: number('fail') > 0 && !/hookFailed/.test(stdout), counts: `${number('pass')} passed, ${number('fail')} failed` };
}

let good = 0, bad = 0;
try {
    prepare();
    for (const hold of holds.filter(({ name }) => pattern.test(name))) {
        const putBack = takeOut(hold);
        try {
            make();
            const { red, counts } = runTests(hold.test);
            red ? good++ : bad++;
            console.log(`${red ? 'red  ' : 'GREEN'} without "${hold.name}": ${hold.test.join(', ')} (${counts})`);
        } finally {
            putBack();
        }
    }
} finally {
    fs.rmSync(scratch, { recursive: true, force: true });
}
console.log(`${good} passed, ${bad} failed`);
process.exitCode = bad > 0 || good === 0 ? 1 : 0;
