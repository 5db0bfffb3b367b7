// WebSocket frames, whole and broken, as websocket-cases.json has them: sent over a raw socket to the API.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Instance, once, slow, source } from './harness.mjs';

const { cases } = JSON.parse(fs.readFileSync(path.join(source, 'tests/system/websocket-cases.json'), 'utf8'));
let daemon;
before(async () => { daemon = await Instance.start(); });
after(() => daemon?.stop());

function bytes(payload) {
    if (typeof payload === 'string') return Buffer.from(payload);
    if (payload.repeat) return Buffer.from(payload.repeat[0].repeat(payload.repeat[1]));
    if (payload.hex !== undefined) return Buffer.concat([Buffer.from(payload.hex, 'hex'), payload.then ? bytes(payload.then) : Buffer.alloc(0)]);
    const message = { type: 'ping', id: payload.ping, data: {} };
    const room = (payload.pad ?? 0) - JSON.stringify({ ...message, data: { p: '' } }).length;
    return Buffer.from(JSON.stringify(room >= 0 ? { ...message, data: { p: 'x'.repeat(room) } } : message));
}

function frame([fin, rsv, opcode, payload, { mask = true, length } = {}]) {
    const data = bytes(payload);
    const size = length ? Buffer.concat([Buffer.from([127]), Buffer.from(length, 'hex')])
        : data.length < 126 ? Buffer.from([data.length])
            : data.length < 65536 ? Buffer.from([126, data.length >> 8, data.length & 255])
                : Buffer.concat([Buffer.from([127, 0, 0, 0, 0]), Buffer.from([data.length >>> 24, data.length >> 16 & 255, data.length >> 8 & 255, data.length & 255])]);
    if (mask) size[0] |= 128;
    const key = mask ? crypto.randomBytes(4) : Buffer.alloc(0);
    const body = mask ? data.map((byte, i) => byte ^ key[i & 3]) : data;
    return Buffer.concat([Buffer.from([fin << 7 | rsv << 4 | opcode]), size, key, body]);
}

// The frames that came, and whether the connection has ended.
class Raw {
    #data = Buffer.alloc(0);
    frames = [];
    ended = false;
    #wake = () => {};

    static async open() {
        const raw = new Raw();
        raw.socket = net.connect(daemon.socket);
        raw.socket.on('error', () => {});
        await once(raw.socket, 'connect');
        raw.socket.write(`GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${crypto.randomBytes(16).toString('base64')}\r\n\r\n`);
        raw.socket.on('data', (data) => raw.#take(data));
        raw.socket.on('close', () => { raw.ended = true; raw.#wake(); });
        await raw.until(() => raw.upgraded);
        return raw;
    }

    #take(data) {
        this.#data = Buffer.concat([this.#data, data]);
        if (!this.upgraded) {
            const end = this.#data.indexOf('\r\n\r\n');
            if (end < 0) return;
            assert.match(this.#data.subarray(0, end).toString(), /^HTTP\/1\.1 101 /);
            this.upgraded = true;
            this.#data = this.#data.subarray(end + 4);
        }
        for (;;) {
            if (this.#data.length < 2) break;
            const short = this.#data[1] & 127;
            const head = short === 126 ? 4 : short === 127 ? 10 : 2;
            if (this.#data.length < head) break;
            const length = short === 126 ? this.#data.readUInt16BE(2) : short === 127 ? Number(this.#data.readBigUInt64BE(2)) : short;
            if (this.#data.length < head + length) break;
            assert.equal(this.#data[1] & 128, 0, 'a server does not mask');
            this.frames.push({ opcode: this.#data[0] & 15, payload: this.#data.subarray(head, head + length) });
            this.#data = this.#data.subarray(head + length);
        }
        this.#wake();
    }

    until(condition) {
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => reject(new Error(`nothing more came; frames: ${this.frames.map(({ opcode, payload }) => `${opcode} ${payload.toString().slice(0, 100)}`)}`)), 8000 * slow);
            this.#wake = () => {
                if (!condition()) return;
                clearTimeout(timer);
                resolve();
            };
            this.#wake();
        });
    }

    async next() {
        await this.until(() => this.frames.length > 0 || this.ended);
        return this.frames.shift() ?? null;
    }
}

const check = {
    async echo(raw, id) {
        const got = await raw.next();
        assert.equal(got?.opcode, 1);
        assert.deepEqual([JSON.parse(got.payload).type, JSON.parse(got.payload).id], ['ping', id]);
    },
    async perhaps(raw, id) {
        await raw.until(() => raw.frames.length > 0 || raw.ended);
        if (raw.frames[0]?.opcode === 1) await check.echo(raw, id);
    },
    async error(raw, code) {
        const got = await raw.next();
        assert.equal(got?.opcode, 1);
        assert.equal(JSON.parse(got.payload).data.code, code);
        raw.socket.write(frame([1, 0, 1, { ping: 'lives' }]));
        await check.echo(raw, 'lives');
    },
    async pong(raw, payload) {
        const got = await raw.next();
        assert.deepEqual([got?.opcode, got?.payload.toString('hex')], [10, bytes(payload).toString('hex')]);
    },
    async close(raw, codes) {
        const got = await raw.next();
        const code = !got ? 0 : got.payload.length ? got.payload.readUInt16BE(0) : 1005;
        if (got) assert.equal(got.opcode, 8, got.payload.toString());
        assert.ok(codes.includes(code), `closed with ${code}, not ${codes}`);
        await raw.until(() => raw.ended);
        assert.deepEqual(raw.frames, [], 'nothing follows');
    },
};

for (const { name, send, chop, expect } of cases)
    test(name, async () => {
        const raw = await Raw.open();
        const data = Buffer.concat(send.map(frame));
        for (let at = 0; at < data.length; at += chop ?? data.length) raw.socket.write(data.subarray(at, at + (chop ?? data.length)));
        for (const step of expect) {
            const [[kind, value]] = Object.entries(step);
            await check[kind](raw, value);
        }
        raw.socket.destroy();
    });

test('an address has as many connections of the API as configured, another has its own, and room is found again', async () => {
    const other = await Instance.start({ api: { max_connections_per_address: 3 } });
    try {
        const open = async (localAddress) => {
            const socket = net.connect({ port: other.apiPort, host: '127.0.0.1', localAddress });
            socket.on('error', () => {});
            await once(socket, 'connect');
            socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
            const answer = await new Promise((resolve) => socket.once('data', (data) => resolve(data.toString())).once('close', () => resolve('')));
            return { socket, answer };
        };
        const held = [await open('127.0.0.2'), await open('127.0.0.2'), await open('127.0.0.2')];
        for (const { answer } of held) assert.match(answer, /^HTTP\/1\.1 200 /);
        assert.equal((await open('127.0.0.2')).answer, '');
        const beside = await open('127.0.0.3');
        assert.match(beside.answer, /^HTTP\/1\.1 200 /);
        held[0].socket.destroy();
        for (let again = { answer: '' }; !again.answer; again.socket.destroy()) again = await open('127.0.0.2');
        for (const { socket } of [...held, beside]) socket.destroy();
    } finally {
        await other.stop();
    }
});
