// A dev server that restarts, in each way in which dev servers do, fails no request: what comes while it is away waits.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance } from './harness.mjs';

let daemon;
before(async () => { daemon = await Instance.start(); });
after(() => daemon?.stop());

// SIGUSR2: closes its port, opens it again and says so. SIGTERM: closes its port at once and ends later.
const SERVER = `
    const http = require('http'), { createHash } = require('crypto');
    const make = () => http.createServer((q, r) => r.end('pid ' + process.pid)).on('upgrade', (q, c) => {
        const key = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
        c.on('error', () => {}).resume().end('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + key + '\\r\\n\\r\\n\\x88\\x00');
    });
    let server = make().listen(3000, '127.0.0.1');
    process.on('SIGUSR2', () => {
        server.close();
        server.closeAllConnections();
        setTimeout(() => { server = make().listen(3000, '127.0.0.1', () => console.log('back')); }, 150);
    });
    process.on('SIGTERM', () => { server.close(); setTimeout(() => process.exit(0), Number(process.env.LINGER ?? 0)); });`;

// Requests and WebSockets one after the other on several connections, until told to stop; what failed is kept.
class Load {
    failures = [];
    done = 0;
    #stop = false;
    #loops;

    constructor(id, { gets = 6, sockets = 2, path = '/', headers = {} } = {}) {
        this.headers = { host: `${id}.localhost:${daemon.proxyPort}`, accept: '*/*', ...headers };
        this.path = path;
        this.agent = new http.Agent({ keepAlive: true });
        this.#loops = [...Array(gets).fill(() => this.get()), ...Array(sockets).fill(() => this.socket())].map((one) => this.#loop(one));
    }

    async #loop(one) {
        while (!this.#stop) {
            try {
                await one();
                this.done++;
            } catch (error) {
                this.failures.push(error.message);
            }
        }
    }

    async get() {
        const { status, body } = await daemon.api('GET', this.path, {
            agent: this.agent, headers: this.headers, host: { host: '127.0.0.1', port: daemon.proxyPort },
        });
        if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
    }

    async socket() {
        const socket = new WebSocket(`ws://127.0.0.1:${daemon.proxyPort}${this.path}`, { headers: this.headers });
        await new Promise((resolve, reject) => {
            socket.on('open', resolve);
            socket.on('error', reject);
        });
        socket.terminate();
    }

    async end() {
        this.#stop = true;
        await Promise.all(this.#loops);
        this.agent.destroy();
        return this.failures;
    }
}

// Follows the log of the dev server; resolves with the next line that matches.
async function follow(id) {
    const response = await daemon.request('GET', `/v1/sandboxes/${id}/logs?source=dev-server&follow=true`);
    let text = '', wake = () => {};
    response.on('data', (data) => { text += data; wake(); });
    response.on('error', () => {});
    return {
        next: async (pattern) => {
            while (!pattern.test(text)) await new Promise((resolve) => { wake = resolve; });
            text = text.replace(new RegExp(`^[^]*?${pattern.source}`), '');
        },
        close: () => response.destroy(),
    };
}

async function sandbox() {
    const { id } = await daemon.create({ egress: 'none' });
    await daemon.write(id, 'server.js', SERVER);
    await daemon.devServer(id, { command: 'exec node server.js', port: 3000 });
    return id;
}

const again = async (id, body = {}) => {
    await daemon.ok('PUT', `/v1/sandboxes/${id}/dev-server`, { body: { command: 'exec node server.js', port: 3000, ...body } });
    const service = await daemon.ok('GET', `/v1/sandboxes/${id}/dev-server?wait=ready&timeout_ms=30000`);
    assert.equal(service.state, 'ready', JSON.stringify(service));
};

test('100 restarts under load fail no request', async () => {
    const id = await sandbox(), log = await follow(id), load = new Load(id);
    for (let i = 0; i < 96; i++) {
        if (i % 2) {
            await again(id);
        } else {
            await daemon.exec(id, ['pkill', '-USR2', '-f', '^node server.js']);
            await log.next(/back\n/);
        }
    }
    for (let i = 0; i < 4; i++) {
        const { process_id: before } = await daemon.ok('GET', `/v1/sandboxes/${id}/dev-server`);
        await daemon.exec(id, ['pkill', '-KILL', '-f', '^node server.js']);
        for (let service; service?.state !== 'ready' || service.process_id === before;)
            service = await daemon.ok('GET', `/v1/sandboxes/${id}/dev-server?wait=ready&timeout_ms=30000`);
    }
    assert.deepEqual(await load.end(), []);
    assert.ok(load.done > 500, `${load.done} requests`);
    log.close();
    await daemon.remove(id);
});

test('one that closes its port and takes its time to end', async () => {
    const id = await sandbox();
    await again(id, { env: { LINGER: '4000' } });
    const load = new Load(id);
    await again(id);
    assert.deepEqual(await load.end(), []);
    await daemon.remove(id);
});

test('another port of the project comes back as well', async () => {
    const id = await sandbox();
    await daemon.write(id, 'api.js', SERVER.replaceAll('3000', '3001'));
    const api = await daemon.stream(id, { argv: ['node', 'api.js'] });
    const port = { port: 3001, headers: { accept: 'application/json' } };
    for (let status; status !== 200;) ({ status } = await daemon.preview(id, '/', port));
    for (let i = 0; i < 5; i++) {
        await daemon.exec(id, ['pkill', '-USR2', '-f', '^node api.js']);
        const { status, body } = await daemon.preview(id, '/', port);
        assert.equal(status, 200, JSON.stringify(body));
        await api.outputs(new RegExp(`(back\\n){${i + 1}}`));
    }
    await daemon.exec(id, ['pkill', '-KILL', '-f', '^node api.js']);
    await daemon.remove(id);
});

test('one that does not come back is told as crashed, not waited for', async () => {
    const { id } = await daemon.create({ egress: 'none' });
    await daemon.ok('PUT', `/v1/sandboxes/${id}/dev-server`, { body: { command: 'exit 3', auto_restart: false } });
    await daemon.ok('GET', `/v1/sandboxes/${id}/dev-server?wait=ready`);
    const { status, body } = await daemon.preview(id, '/', { headers: { accept: 'application/json' } });
    assert.equal(status, 502);
    assert.equal(body.error.code, 'crashed');
    await daemon.remove(id);
});

test('Vite restarts itself under load and fails no request', async () => {
    const { id } = await daemon.create({ template: 'react-vite', egress: 'none' });
    await daemon.devServer(id);
    const config = (await daemon.read(id, 'vite.config.ts')).toString(), log = await follow(id);
    const load = new Load(id, { sockets: 0, path: '/src/main.tsx' });
    for (let i = 0; i < 10; i++) {
        await daemon.write(id, 'vite.config.ts', `${config}// ${i}\n`);
        await log.next(/server restarted/);
    }
    assert.deepEqual(await load.end(), []);
    log.close();
    await daemon.remove(id);
});
