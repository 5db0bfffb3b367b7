#!/usr/bin/env node
// The preview of one sandbox while another has a fork bomb, a memory hog, a disk fill and a log flood at once: the 99th
// percentile of its answers beside that of quiet rounds in between. --check makes a missed bar the exit status.
import { Instance, until } from '../../tests/system/harness.mjs';
import { arm } from '../../tests/system/hostile/hostile.mjs';
import http from 'node:http';
import { bar, quantile, report } from './lib.mjs';

const ROUNDS = 5;
const REQUESTS = 1000;
const MOST = 3;
const MiB = 1 << 20;
const ATTACKS = {
    'fork bomb': 'while :; do /home/user/probe forks; done',
    'memory hog': 'while :; do /home/user/probe memory 4096; done',
    'disk fill': 'while :; do /home/user/probe fill /app/full; rm -f /app/full; done',
    'log flood': 'exec /home/user/probe flood',
};

const instance = await Instance.start({ log: { level: 'info' } });
const sorted = (times) => times.sort((a, b) => a - b);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

async function round(id) {
    const times = [];
    for (let i = 0; i < REQUESTS; i++) {
        const start = performance.now();
        const { status } = await instance.preview(id, '/', { agent });
        if (status !== 200) throw new Error(`the preview answered ${status}`);
        times.push(performance.now() - start);
    }
    return sorted(times);
}

async function rage(id) {
    await Promise.all(Object.values(ATTACKS).map((command) => instance.exec(id, command, { background: true })));
    let wasFull = false;
    await until('the attacks are under way', async () => {
        const { oom_kills, pids, disk_bytes, disk_limit_bytes } = await instance.ok('GET', `/v1/sandboxes/${id}/stats`);
        wasFull ||= disk_bytes > disk_limit_bytes - 4 * MiB;
        return oom_kills > 0 && pids > 20 && wasFull;
    }, 60000);
}

try {
    const victim = await instance.create({ egress: 'none' });
    await instance.write(victim.id, 'server.js', `
        const body = Buffer.alloc(1024, 'x');
        require('http').createServer((q, r) => r.end(body)).listen(3000, '127.0.0.1');`);
    await instance.devServer(victim.id, { command: 'node server.js', port: 3000 });
    const quiet = [], raging = [];
    await round(victim.id);
    for (let i = 0; i < ROUNDS; i++) {
        quiet.push(await round(victim.id));
        const attacker = await instance.create({ egress: 'none', limits: { memory: 512 * MiB, cpu: 1, pids: 256, disk: 128 * MiB } });
        await arm(instance, attacker.id);
        await rage(attacker.id);
        const stats = () => instance.ok('GET', `/v1/sandboxes/${attacker.id}/stats`);
        const before = await stats(), began = performance.now();
        raging.push(await round(victim.id));
        const share = ((await stats()).cpu_ns - before.cpu_ns) / 1e6 / (performance.now() - began);
        if (!(share > 0.3)) throw new Error(`the attacks had ${share} processors in the round: they had ended`);
        await instance.remove(attacker.id);
    }
    report('neighbour', [['preview, quiet', sorted(quiet.flat())], ['preview, beside the attacks', sorted(raging.flat())]]);
    const p99 = (rounds) => quantile(sorted(rounds.map((times) => quantile(times, 0.99))), 0.5);
    const ratio = p99(raging) / p99(quiet);
    console.log(`  p99, median of ${ROUNDS} rounds: quiet ${p99(quiet).toFixed(2)} ms, beside the attacks ${p99(raging).toFixed(2)} ms, ratio ${ratio.toFixed(2)}`);
    bar(`p99 beside the attacks is within ${MOST} times the quiet one`, ratio <= MOST);
} finally {
    agent.destroy();
    await instance.stop();
}
