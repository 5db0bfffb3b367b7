// What the benchmarks share: the clock, the container to compare with, the table.
// They need the clients of the system tests (npm ci in tests/system), templates and root, as those do; see
// tests/system/harness.mjs for the environment.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { templates } from '../../tests/system/harness.mjs';

export const isCheck = process.argv.includes('--check');

// The times in ms of `count` runs, sorted, after a few that warm caches up.
export async function measure(count, work) {
    const times = [];
    for (let i = -3; i < count; i++) {
        const began = performance.now();
        await work(i);
        if (i >= 0) times.push(performance.now() - began);
    }
    return times.sort((a, b) => a - b);
}

// Of sorted times; q: 0 to 1.
export const quantile = (times, q) => times[Math.min(times.length - 1, Math.floor(times.length * q))];
export const p50 = (times) => quantile(times, 0.5);
const p95 = (times) => quantile(times, 0.95);

// Runs a program that must succeed; spawned the same way for every contender.
export function must(file, args, options = {}) {
    const result = spawnSync(file, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options });
    if (result.status !== 0) throw new Error(`${file} ${args.join(' ')}: ${result.error ?? result.stderr}`);
}

// A runc bundle on the base root file system, with the limits that a sandbox has by default.
export function makeBundle(dir, args) {
    must('runc', ['spec'], { cwd: dir });
    const file = path.join(dir, 'config.json');
    const config = JSON.parse(fs.readFileSync(file, 'utf8'));
    config.root = { path: path.join(templates, 'base/layer'), readonly: true };
    Object.assign(config.process, { terminal: false, args });
    config.linux.resources = {
        memory: { limit: 1 << 30 }, cpu: { quota: 100000, period: 100000 }, pids: { limit: 512 },
    };
    fs.writeFileSync(file, JSON.stringify(config));
    return dir;
}

// rows: [[name, times]]; the first is ours.
export function report(title, rows) {
    console.log(title);
    for (const [name, times] of rows) {
        const ratio = p50(rows[0][1]) / p50(times);
        console.log(`  ${name.padEnd(34)} p50 ${p50(times).toFixed(2).padStart(8)} ms   p95 ${
            p95(times).toFixed(2).padStart(8)} ms   ours/this ${ratio.toFixed(2)}`);
    }
}

// With --check a missed bar is the exit status.
export function bar(what, isMet) {
    console.log(`  ${isMet ? 'met' : 'MISSED'}: ${what}`);
    if (!isMet && isCheck) process.exitCode = 1;
}
