// HTTP/1.1 as RFC 9110 and 9112 want it of a proxy, and every shape of request smuggling and response splitting: a table
// (http-cases.json) of raw bytes, sent to the real proxy by a socket, with a dev server in a sandbox that records the raw
// bytes that reach it and answers with the bytes of the table.
//
// A case: `send`, a string or a list of strings, {wait: REGEX of what must have come back} and {end: true}, the client's
// half-close; `status`, of all answers that come back (null: how much of them still comes is a matter of time); `seen`, a
// regex for each request that reaches the dev server (none: nothing may); `answer` and `not`, regexes for what comes back;
// `closed`, whether the proxy then ends the connection (false: it must serve one more request; null: not looked at). The dev
// server's side: `reply`, `early` (before the body has come), `hangup`, `echo` (a tunnel). In all of it {n} is the case's
// own name, {id} and {other} the sandboxes, {H} a Host field, {x:N} N letters and {lines:N} N header fields.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Instance, slow } from './harness.mjs';

const cases = JSON.parse(fs.readFileSync(new URL('http-cases.json', import.meta.url), 'utf8'));

const RECORDER = `
    const replies = JSON.parse(require('fs').readFileSync('/app/replies.json', 'utf8')), seen = {};
    const end = (text, head) => {
        const from = head.length;
        if (/\\r\\ntransfer-encoding: chunked/i.test(head)) {
            const last = /(^|\\r\\n)0\\r\\n([^\\r\\n]+\\r\\n)*\\r\\n/.exec(text.slice(from));
            return last ? from + last.index + last[0].length : -1;
        }
        const length = Number(/\\r\\ncontent-length: (\\d+)/i.exec(head)?.[1] ?? 0);
        return text.length >= from + length ? from + length : -1;
    };
    require('net').createServer((socket) => {
        let text = '', echo = false, early = false;
        socket.on('error', () => {}).on('data', (data) => {
            if (echo) return socket.write(data);
            text += data.toString('latin1');
            for (let at; (at = text.indexOf('\\r\\n\\r\\n')) >= 0;) {
                const head = text.slice(0, at + 4), name = /case-\\d+(-after)?/.exec(head)?.[0] ?? '';
                const { reply, hangup, ...how } = replies[name] ?? {};
                if (how.early && !early) socket.write(how.early, 'latin1');
                early = true;
                const to = end(text, head);
                if (to < 0) return;
                early = false;
                (seen[name] ??= []).push(text.slice(0, to));
                text = text.slice(to);
                const body = 'from:' + name + '\\n';
                socket.write(reply ?? 'HTTP/1.1 200 OK\\r\\nContent-Length: ' + body.length + '\\r\\n\\r\\n' + body, 'latin1');
                if (hangup) return socket.end();
                if (how.echo) { echo = true; socket.write(text, 'latin1'); return; }
            }
        });
    }).listen(3000, '127.0.0.1');
    require('http').createServer((q, r) => r.setHeader('content-type', 'application/json').end(JSON.stringify(seen))).listen(3001, '127.0.0.1');`;

let daemon;
const ids = {};

const fill = (text, n) => text.replace(/\{(\w+)(?::(\d+))?\}/g, (whole, word, count) => ({
    n, id: ids.id, other: ids.other, ID: ids.id?.toUpperCase(), H: `Host: ${ids.id}.localhost\r\n`,
    x: 'x'.repeat(count), lines: 'X: y\r\n'.repeat(count),
}[word] ?? whole));
const name = (index) => `case-${index + 1}`;

before(async () => {
    daemon = await Instance.start();
    [{ id: ids.id }, { id: ids.other }] = await Promise.all([daemon.create({ egress: 'none' }), daemon.create({ egress: 'none' })]);
    const replies = Object.fromEntries(cases.map(({ reply, early, hangup, echo }, index) =>
        [name(index), { ...(reply !== undefined && { reply: fill(reply, name(index)) }), early, hangup, echo }]));
    for (const id of Object.values(ids)) {
        await daemon.write(id, 'replies.json', JSON.stringify(replies));
        await daemon.write(id, 'recorder.js', RECORDER);
        await daemon.devServer(id, { command: 'node recorder.js', port: 3000 });
    }
});
after(() => daemon?.stop());

const seenBy = async (id) => (await daemon.preview(id, '/', { port: 3001 })).body;

// A client of raw bytes; all that comes back is kept.
class Raw {
    #wake = () => {};

    constructor() {
        this.text = '';
        this.ended = false;
        this.socket = net.connect({ port: daemon.proxyPort, host: '127.0.0.1', allowHalfOpen: true });
        this.socket.on('data', (data) => { this.text += data.toString('latin1'); this.#wake(); });
        for (const event of ['end', 'close', 'error']) this.socket.on(event, () => { this.ended = true; this.#wake(); });
    }

    write(text) {
        return new Promise((resolve) => this.socket.write(Buffer.from(text, 'latin1'), () => resolve()));
    }

    // Until the condition holds, or nothing more can come.
    async until(what, condition) {
        let late = false;
        const timer = setTimeout(() => { late = true; this.#wake(); }, 20000 * slow);
        while (!condition() && !this.ended && !late) await new Promise((resolve) => { this.#wake = resolve; });
        clearTimeout(timer);
        assert.ok(condition(), `${what}: ${late ? 'not in time' : 'ended'} after ${JSON.stringify(this.text.slice(0, 1000))}`);
    }

    get statuses() {
        return [...this.text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status));
    }
}

async function send(raw, steps, n) {
    for (const step of [steps].flat()) {
        if (typeof step === 'string') await raw.write(fill(step, n));
        else if (step.wait) await raw.until(step.wait, () => new RegExp(step.wait).test(raw.text));
        else raw.socket.end();
    }
}

async function finish(raw, one, n) {
    const { closed = false, status } = one;
    if (closed) {
        await raw.until('the proxy ends the connection', () => raw.ended);
        return raw.text;
    }
    await raw.until('all answers', () => raw.statuses.length >= status.length);
    for (const pattern of one.answer ?? []) await raw.until(pattern, () => new RegExp(fill(pattern, n)).test(raw.text));
    const { text } = raw;
    if (closed === null) return text;
    // What is left of a body may still come; the next answer tells that all of it has.
    await raw.write(fill(`GET /${n}-after HTTP/1.1\r\n{H}\r\n`));
    await raw.until('the connection serves one more request', () => raw.text.includes(`from:${n}-after\n`));
    return raw.text.slice(0, raw.text.lastIndexOf('HTTP/1.1 200'));
}

for (const [index, one] of cases.entries())
    test(one.name, async () => {
        const n = name(index), raw = new Raw();
        try {
            await send(raw, one.send, n);
            const text = await finish(raw, one, n);
            const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status));
            if (one.status) assert.deepEqual(statuses, one.status, text.slice(0, 500));
            for (const pattern of one.answer ?? []) assert.match(text, new RegExp(fill(pattern, n)));
            for (const pattern of one.not ?? []) assert.doesNotMatch(raw.text, new RegExp(pattern));
        } finally {
            raw.socket.destroy();
        }
        const seen = (await seenBy(ids[one.to ?? 'id']))[n] ?? [];
        const expected = one.seen ?? [];
        assert.equal(seen.length, expected.length, JSON.stringify(seen));
        for (const [i, pattern] of expected.entries()) assert.match(seen[i], new RegExp(fill(pattern, n)));
    });

test('nothing that was hidden in another request reached a dev server', async () => {
    for (const id of Object.values(ids)) assert.doesNotMatch(JSON.stringify(await seenBy(id)), /smuggled/);
});

test('a slow head is ended, and does not keep others out (slowloris)', async () => {
    const sockets = await Promise.all([...Array(200)].map(() => new Promise((resolve) => {
        const socket = net.connect(daemon.proxyPort, '127.0.0.1', () => socket.write('GET / HT', () => resolve(socket)));
        socket.on('error', () => {});
    })));
    assert.equal((await daemon.preview(ids.id, '/quick')).status, 200);
    const raw = new Raw();
    await raw.write('GET / HT');
    await raw.until('it is told and ended', () => raw.ended);
    assert.deepEqual(raw.statuses, [408]);
    for (const socket of [...sockets, raw.socket]) socket.destroy();
});
