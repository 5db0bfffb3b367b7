// The proxy is replaced under load: it finishes what it has begun while its successor accepts, and nobody notices.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance, once, until } from './harness.mjs';

const RESTARTS = 5;
const CLIENTS = 16;

let daemon, id;
before(async () => {
    daemon = await Instance.start();
    ({ id } = await daemon.create({ egress: 'none' }));
    await daemon.write(id, 'server.js', `
        const { createHash } = require('crypto');
        const body = 'x'.repeat(200000);
        const s = require('http').createServer((q, r) => {
            if (q.url === '/slow') return void setTimeout(() => r.end('slow'), 300);
            r.end(q.url === '/large' ? body : 'small'); });
        s.on('upgrade', (q, c) => { const key = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
            c.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + key + '\\r\\n\\r\\n');
            c.on('error', () => {});
            c.on('data', (d) => { if ((d[0] & 15) === 8) return c.end(); const n = d[1] & 127, m = d.subarray(2, 6);
                c.write(Buffer.concat([Buffer.from([0x81, n]), d.subarray(6, 6 + n).map((b, i) => b ^ m[i & 3])])); }); });
        s.listen(3000, '127.0.0.1');`);
    await daemon.devServer(id, { command: 'node server.js', port: 3000 });
});
after(() => daemon?.stop());

const isAlive = (pid) => {
    try {
        process.kill(pid, 0);
        return true;
    } catch {
        return false;
    }
};

// The daemon's youngest proxy; while one leaves there are two.
const proxies = () => daemon.hostPrograms('auracode-proxy');
const present = () => Math.max(...proxies());

test(`${RESTARTS} restarts under load: no request is refused, none fails`, async () => {
    const keeping = new http.Agent({ keepAlive: true });
    const lengths = { '/': 5, '/slow': 4, '/large': 200000 };
    let running = true, done = 0;
    const load = async (first) => {
        for (let i = first; running; i++) {
            const url = i % 7 === 0 ? '/slow' : i % 3 === 0 ? '/large' : '/';
            const { status, body } = await daemon.preview(id, url, { agent: i % 5 === 0 ? false : keeping });
            assert.equal(status, 200);
            assert.equal(body.length, lengths[url]);
            done++;
        }
    };
    const clients = Array.from({ length: CLIENTS }, (_, i) => load(i));
    for (let i = 0; i < RESTARTS; i++) {
        const old = present();
        const before = done;
        process.kill(old, 'SIGTERM');
        await Promise.race([until('the old proxy has gone', () => !isAlive(old)), ...clients]);
        await Promise.race([until('the new one serves', () => done > before + 4 * CLIENTS), ...clients]);
        assert.ok(!proxies().includes(old));
    }
    running = false;
    await Promise.all(clients);
    keeping.destroy();
    assert.ok(done > RESTARTS * CLIENTS);
});

test('a WebSocket goes on while the successor serves; one that is told to go as well waits for its turn', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.proxyPort}/`, { headers: { host: `${id}.localhost:${daemon.proxyPort}` } });
    await once(socket, 'open');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const echo = async (word) => {
        const answer = once(socket, 'message');
        socket.send(word);
        assert.equal((await answer)[0].toString(), word);
    };
    await echo('before');
    const old = present();
    process.kill(old, 'SIGTERM');
    await until('the successor is there', () => present() !== old);
    assert.equal((await daemon.preview(id, '/')).status, 200);
    await echo('while it leaves');
    const second = present();
    process.kill(second, 'SIGTERM');
    await until('it has gone', () => !isAlive(second));
    assert.ok(proxies().length <= 2);
    assert.equal((await daemon.preview(id, '/')).status, 200);
    await closed; // the old one's time is up
    await until('the old one has gone', () => !isAlive(old));
});
