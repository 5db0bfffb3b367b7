#!/usr/bin/env node
// The preview proxy beside HAProxy and nginx of Debian, in one run on one machine: the same backend program (backend.c)
// inside a sandbox for ours and on loopback for the peers, the load from wrk and websocket.c on the host. Rounds are
// interleaved, since a machine's mood changes; printed is the median of the rounds.
//
//   node contrib/bench/proxy.mjs [--check] [--rounds N] [--seconds N] [--only 1k,1m,ws,idle] [--against haproxy,nginx,log]
//
// `log` is ours once more, with [proxy] access_log on. --check makes a missed bar the exit status; the bars it checks lie below the targets, for a machine that is busy.
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Instance, once, run, until } from '../../tests/system/harness.mjs';
import { bar, isCheck, quantile } from './lib.mjs';

const option = (name, standard) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? standard : process.argv[at + 1];
};
const ROUNDS = Number(option('rounds', isCheck ? 3 : 5));
const SECONDS = Number(option('seconds', isCheck ? 2 : 3));
const CASES = option('only', '1k,1m,ws,idle').split(',');
const AGAINST = option('against', 'haproxy,nginx').split(',');
const ECHOES = 20000;
// A proxied WebSocket is two descriptors of the proxy's: where the limit is lower, fewer are held.
const DESCRIPTORS = Number(execFileSync('bash', ['-c', 'ulimit -n unlimited 2>/dev/null; ulimit -Hn']).toString().trim());
const IDLE = Math.min(10000, Math.floor(DESCRIPTORS / 2) - 500);
const PORT = 3000; // of the backend in the sandbox

const here = path.dirname(new URL(import.meta.url).pathname);
const folder = fs.mkdtempSync('/tmp/auracode-bench.');
const children = [];
const median = (values) => quantile([...values].sort((a, b) => a - b), 0.5);

function compile(name) {
    const file = path.join(folder, name);
    execFileSync('cc', ['-D_GNU_SOURCE', '-O2', '-static', '-o', file, path.join(here, `${name}.c`)]);
    return file;
}

// A program of ours that runs until the end; `ready` is a line it prints, or a condition.
async function start(file, args, ready) {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    children.push(child);
    child.stderr.on('data', (data) => process.env.AURACODE_TEST_VERBOSE && process.stderr.write(data));
    if (typeof ready === 'string') {
        for await (const data of child.stdout.iterator({ destroyOnReturn: false })) if (data.toString().includes(ready)) break;
    } else {
        await until(`${file} answers`, () => {
            if (child.exitCode !== null) throw new Error(`${file} ended with ${child.exitCode}`);
            return ready();
        });
    }
    return child;
}

async function freePort() {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

const answers = (port) => async () => (await fetch(`http://127.0.0.1:${port}/1k`).catch(() => null))?.status === 200;

async function startHaproxy(port, backend) {
    const file = path.join(folder, 'haproxy.cfg');
    fs.writeFileSync(file, `
global
    nbthread 2
    no strict-limits
    maxconn ${IDLE + 100}
    tune.maxaccept 64
defaults
    mode http
    maxconn ${IDLE + 100}
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 4h
    option http-keep-alive
    option forwardfor
    option splice-auto
    http-reuse always
frontend front
    bind 127.0.0.1:${port}
    default_backend back
backend back
    server one 127.0.0.1:${backend} pool-max-conn 128
`);
    return start('haproxy', ['-db', '-q', '-f', file], answers(port));
}

async function startNginx(port, backend) {
    const file = path.join(folder, 'nginx.conf');
    fs.writeFileSync(file, `
daemon off;
pid ${folder}/nginx.pid;
error_log /dev/null;
worker_processes 2;
worker_rlimit_nofile ${DESCRIPTORS};
events { worker_connections ${DESCRIPTORS}; }
http {
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 65;
    client_body_temp_path ${folder}/body;
    proxy_temp_path ${folder}/proxy;
    fastcgi_temp_path ${folder}/fastcgi;
    uwsgi_temp_path ${folder}/uwsgi;
    scgi_temp_path ${folder}/scgi;
    map $http_upgrade $connection_of { default upgrade; '' ''; }
    upstream back { server 127.0.0.1:${backend}; keepalive 128; keepalive_requests 100000000; }
    server {
        listen 127.0.0.1:${port} reuseport backlog=4096;
        location / {
            proxy_pass http://back;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Connection $connection_of;
            proxy_set_header Upgrade $http_upgrade;
            proxy_buffers 16 64k;
            proxy_busy_buffers_size 128k;
            proxy_max_temp_file_size 0;
            proxy_read_timeout 4h;
        }
    }
}
`);
    return start('nginx', ['-p', folder, '-c', file], answers(port));
}

// CPU time in ms of a process and its children so far.
function cpuMs(pid) {
    const of = (id) => {
        const fields = fs.readFileSync(`/proc/${id}/stat`, 'utf8').replace(/.*\) /, '').split(' ');
        return (Number(fields[11]) + Number(fields[12])) * 10; // USER_HZ is 100
    };
    return [pid, ...childrenOf(pid)].reduce((sum, id) => sum + of(id), 0);
}

const childrenOf = (pid) =>
    fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

// Resident bytes of a process and its children; shared pages once for each.
function residentBytes(pid) {
    const of = (id) => Number(/^Rss:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${id}/smaps_rollup`, 'utf8'))[1]) * 1024;
    return [pid, ...childrenOf(pid)].reduce((sum, id) => sum + of(id), 0);
}

const microseconds = (text) => {
    const [, number, unit] = /^([\d.]+)(us|ms|s)$/.exec(text);
    return Number(number) * { us: 1, ms: 1000, s: 1e6 }[unit];
};

async function wrk(contender, url) {
    const before = contender.pid ? cpuMs(contender.pid) : 0;
    const { stdout, code } = await run('wrk', [
        '-t2', '-c32', `-d${SECONDS}s`, '--latency', '-H', `Host: ${contender.host}`, `http://127.0.0.1:${contender.port}${url}`,
    ]);
    if (code !== 0 || /Non-2xx|Socket errors/.test(stdout)) throw new Error(`${contender.name}: ${stdout}`);
    const requests = Number(/(\d+) requests in/.exec(stdout)[1]);
    return {
        rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)[1]),
        p50: microseconds(/^ +50% +(\S+)/m.exec(stdout)[1]),
        p99: microseconds(/^ +99% +(\S+)/m.exec(stdout)[1]),
        cpu: contender.pid ? (cpuMs(contender.pid) - before) * 1000 / requests : 0,
    };
}

async function echoes(contender) {
    const { stdout, stderr, code } = await run(programs.websocket, [contender.port, contender.host, 'rtt', ECHOES].map(String));
    if (code !== 0) throw new Error(`${contender.name}: ${stdout}${stderr}`);
    const times = stdout.trim().split('\n').map((ns) => ns / 1000).sort((a, b) => a - b);
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}

// ABC BCA CAB...: no contender always follows the same one.
async function interleave(measure) {
    const results = new Map(contenders.map((contender) => [contender.name, []]));
    for (let round = 0; round < ROUNDS; round++)
        for (let i = 0; i < contenders.length; i++) {
            const contender = contenders[(i + round) % contenders.length];
            results.get(contender.name).push(await measure(contender));
        }
    const keys = Object.keys(results.get('auracode')[0]);
    return new Map([...results].map(([name, rounds]) =>
        [name, Object.fromEntries(keys.map((key) => [key, median(rounds.map((values) => values[key]))]))]));
}

function table(title, headings, rows) {
    const cells = [headings, ...rows.map((row) => row.map(String))];
    const widths = headings.map((_, i) => Math.max(...cells.map((row) => row[i].length)));
    const line = (row) => `| ${row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(' | ')} |`;
    console.log(`\n${title}\n`);
    console.log(line(headings));
    console.log(`|${widths.map((width, i) => `${'-'.repeat(width + (i ? 1 : 2))}${i ? ':' : ''}`).join('|')}|`);
    for (const row of cells.slice(1)) console.log(line(row));
}

const ratio = (ours, theirs) => (ours / theirs).toFixed(2);

async function requests(title, url, targets) {
    const results = await interleave((contender) => wrk(contender, url));
    const ours = results.get('auracode'), haproxy = results.get('haproxy') ?? ours;
    table(title, ['', 'requests/s', 'p50 us', 'p99 us', 'CPU us a request', 'ours/this'], [...results].map(([name, { rate, p50, p99, cpu }]) =>
        [name, Math.round(rate), Math.round(p50), Math.round(p99), cpu ? cpu.toFixed(1) : '-', ratio(ours.rate, rate)]));
    const { rate, checked, p99 } = targets;
    const least = isCheck ? checked : rate;
    bar(`at least ${least.toFixed(2)} times HAProxy's requests a second`, ours.rate >= least * haproxy.rate);
    if (p99) bar(`p99 is at most ${isCheck ? 3 : 1} times HAProxy's`, ours.p99 <= haproxy.p99 * (isCheck ? 3 : 1));
}

async function roundTrips() {
    const results = await interleave(echoes);
    const ours = results.get('auracode'), haproxy = results.get('haproxy') ?? ours;
    table(`WebSocket echo of 32 bytes, one after the other (${ECHOES} a round)`, ['', 'p50 us', 'p99 us', 'ours/this (p50)'],
        [...results].map(([name, { p50, p99 }]) => [name, p50.toFixed(1), p99.toFixed(1), ratio(ours.p50, p50)]));
    const most = isCheck ? 1.3 : 1;
    bar(`a round trip is at most ${most} times HAProxy's`, ours.p50 <= most * haproxy.p50);
}

async function hold(contender) {
    const before = residentBytes(contender.pid);
    const client = await start(programs.websocket, [contender.port, contender.host, 'idle', IDLE].map(String), 'open');
    const bytes = (residentBytes(contender.pid) - before) / IDLE;
    const text = [];
    client.stdout.on('data', (data) => text.push(data));
    const ended = once(client, 'close');
    client.stdin.end();
    await ended;
    if (!Buffer.concat(text).includes(`alive ${IDLE}`)) throw new Error(`${contender.name}: not all are alive`);
    return bytes;
}

async function idle() {
    const rows = [];
    for (const contender of contenders.filter(({ pid }) => pid)) rows.push([contender.name, Math.round(await hold(contender))]);
    table(`${IDLE} idle WebSockets: resident bytes of the proxy for each`, ['', 'bytes', 'ours/this'],
        rows.map(([name, bytes]) => [name, bytes, ratio(rows[0][1], bytes)]));
    bar('less than 10 KB each', rows[0][1] < 10240);
}

async function startInSandbox(instance) {
    const { id } = await instance.create({ egress: 'none', limits: { cpu: os.cpus().length } });
    await instance.write(id, '/home/user/backend', fs.readFileSync(programs.backend));
    await instance.output(id, ['chmod', '755', '/home/user/backend']);
    await instance.devServer(id, { command: `/home/user/backend ${PORT}`, port: PORT });
    return `${id}.localhost:${instance.proxyPort}`;
}

async function startLogged() {
    const instance = await Instance.start({ log: { level: 'info' }, proxy: { access_log: path.join(folder, 'access.log') } });
    instances.push(instance);
    return { port: instance.proxyPort, host: await startInSandbox(instance), pid: instance.hostProgram('auracode-proxy') };
}

const instance = await Instance.start({ log: { level: 'info' } });
const instances = [instance];
const programs = {}, contenders = [];
try {
    for (const name of ['backend', 'websocket']) programs[name] = compile(name);
    const backend = await freePort();
    const peers = { haproxy: startHaproxy, nginx: startNginx, log: startLogged };
    contenders.push({ name: 'auracode', port: instance.proxyPort, host: await startInSandbox(instance), pid: instance.hostProgram('auracode-proxy') });
    await start(programs.backend, [String(backend)], 'listening');
    for (const name of AGAINST) {
        const port = await freePort();
        const peer = await peers[name](port, backend);
        contenders.push({ name, port: peer.host ? peer.port : port, host: peer.host ?? 'localhost', pid: peer.pid });
    }
    contenders.push({ name: 'no proxy', port: backend, host: 'localhost' });
    const cases = {
        '1k': () => requests('1 KB, keep-alive, 32 connections', '/1k', { rate: 1.1, checked: 0.75, p99: true }),
        '1m': () => requests('1 MB, keep-alive, 32 connections', '/1m', { rate: 1.5, checked: 0.9 }),
        ws: roundTrips,
        idle,
    };
    for (const name of CASES) await cases[name]();
} finally {
    for (const child of children) child.kill();
    for (const each of instances) await each.stop();
    fs.rmSync(folder, { recursive: true, force: true });
}
