#!/usr/bin/env node
// A thousand WebSocket clients on one daemon, ten thousand messages a second fanned out to them: in each of ten sessions one
// agent writes what ninety-nine browsers get. Beside it the same through a bare fan-out in Node (chat-peer.mjs), which
// checks, keeps and bounds nothing. --check makes a missed bar the exit status.
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { Instance, once, userToken } from '../../tests/system/harness.mjs';
import { bar, quantile } from './lib.mjs';

const { WebSocket } = createRequire(new URL('../../tests/system/', import.meta.url))('ws');
const SESSIONS = 10;
const BROWSERS = 99; // of a session, beside its agent
const RATE = 10000; // deliveries a second
const SECONDS = 5;
const ROUNDS = 3;
const CLIENTS = SESSIONS * (BROWSERS + 1);
const MEMORY_A_CLIENT = 64 << 10;
const SECRET = 'a secret of at least thirty-two bytes';
const FILLER = 'x'.repeat(200);

const status = (pid, key) => Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
function cpuMs(pid) {
    const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10; // USER_HZ is 100
}

async function connect(url, session) {
    const socket = new WebSocket(url, { perMessageDeflate: false, localAddress: `127.0.1.${session + 1}` });
    await once(socket, 'open');
    return socket;
}

// {agents: [...], browsers: [...]}; `url(session, role)`.
async function join(url) {
    const agents = [], browsers = [];
    for (let session = 0; session < SESSIONS; session++) {
        agents.push(await connect(url(session, 'agent'), session));
        browsers.push(...await Promise.all(Array.from({ length: BROWSERS }, () => connect(url(session, 'user'), session))));
    }
    return { agents, browsers };
}

// Latencies in ms of everything that was delivered; all of it must be.
async function load({ agents, browsers }) {
    const latencies = [], expected = RATE * SECONDS;
    let sent = 0, done;
    const finished = new Promise((resolve) => { done = resolve; });
    const take = (data) => {
        const { type, data: { text } } = JSON.parse(data);
        if (type !== 'agent_partial') return;
        latencies.push(performance.now() - Number(text.split(' ')[0]));
        if (latencies.length >= expected) done();
    };
    for (const browser of browsers) browser.on('message', take);
    const began = performance.now(), messages = Math.ceil(expected / BROWSERS);
    const timer = setInterval(() => {
        const due = Math.min(messages, Math.floor((performance.now() - began) / 1000 * RATE / BROWSERS));
        for (; sent < due; sent++) {
            const text = `${performance.now()} ${FILLER}`;
            agents[sent % SESSIONS].send(JSON.stringify({ id: 'p', type: 'agent_partial', timestamp: Date.now(), data: { text } }));
        }
        if (sent === messages) clearInterval(timer);
    }, 5);
    await finished;
    const seconds = (performance.now() - began) / 1000;
    for (const browser of browsers) browser.off('message', take);
    return { latencies, rate: latencies.length / seconds };
}

const instance = await Instance.start({ log: { level: 'info' }, auth: { jwt_secret: SECRET } });
const peer = spawn(process.execPath, [new URL('./chat-peer.mjs', import.meta.url).pathname], { stdio: ['ignore', 'pipe', 'inherit'] });
try {
    const [port] = await once(peer.stdout, 'data');
    const token = userToken(crypto.randomUUID(), SECRET);
    const as = { headers: { authorization: `Bearer ${token}` }, host: { host: '127.0.0.1', port: instance.apiPort } };
    const sessions = [];
    for (let i = 0; i < SESSIONS; i++) sessions.push((await instance.ok('POST', '/v1/sessions', { ...as, body: { title: 'load' } })).id);
    const contenders = [
        { name: 'auracode', pid: instance.hostProgram('auracode-api'),
            url: (i, role) => `ws://127.0.0.1:${instance.apiPort}/v1/sessions/${sessions[i]}/ws?auth_token=${token}&role=${role}` },
        { name: 'bare Node', pid: peer.pid, url: (i) => `ws://127.0.0.1:${Number(port)}/${i}` },
    ];
    for (const contender of contenders) {
        const before = status(contender.pid, 'VmRSS');
        contender.clients = await join(contender.url);
        contender.idle = status(contender.pid, 'VmRSS') - before;
        Object.assign(contender, { before, latencies: [], rates: [], cpu: 0, delivered: 0 });
    }
    for (let round = 0; round < ROUNDS; round++)
        for (const contender of contenders) {
            const cpu = cpuMs(contender.pid);
            const { latencies, rate } = await load(contender.clients);
            contender.cpu += cpuMs(contender.pid) - cpu;
            contender.delivered += latencies.length;
            contender.latencies.push(...latencies);
            contender.rates.push(rate);
        }
    console.log(`chat: ${CLIENTS} clients in ${SESSIONS} sessions, ${RATE} messages a second offered\n`);
    console.log('|           | delivered/s | p50 ms | p99 ms | CPU us a message | KB a client, idle | most |');
    console.log('|-----------|------------:|-------:|-------:|-----------------:|------------------:|-----:|');
    for (const contender of contenders) {
        const times = contender.latencies.sort((a, b) => a - b);
        contender.p99 = quantile(times, 0.99);
        contender.most = (status(contender.pid, 'VmHWM') - contender.before) / CLIENTS;
        const cells = [Math.min(...contender.rates).toFixed(0).padStart(11), quantile(times, 0.5).toFixed(2).padStart(6), contender.p99.toFixed(2).padStart(6),
            (contender.cpu * 1000 / contender.delivered).toFixed(1).padStart(16), (contender.idle / CLIENTS / 1024).toFixed(1).padStart(17),
            (contender.most / 1024).toFixed(1).padStart(4)];
        console.log(`| ${contender.name.padEnd(9)} | ${cells.join(' | ')} |`);
    }
    const [ours] = contenders;
    bar(`all ${RATE} messages a second are delivered`, Math.min(...ours.rates) > RATE * 0.95);
    bar(`a client costs at most ${MEMORY_A_CLIENT >> 10} KB, also under load`, ours.most <= MEMORY_A_CLIENT);
    for (const { clients } of contenders) for (const socket of [...clients.agents, ...clients.browsers]) socket.terminate();
} finally {
    peer.kill();
    await instance.stop();
}
