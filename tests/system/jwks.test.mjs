// The keys of [auth] jwks_url, fetched by auracode-fetch from a real server: rotated, refused when bad, kept when the
// server or the network is gone.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Authority } from './certificates.mjs';
import { Instance, run, source, until } from './harness.mjs';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

class Key {
    constructor(kid, type = 'ec') {
        this.kid = kid;
        this.alg = type === 'ec' ? 'ES256' : 'RS256';
        Object.assign(this, type === 'ec' ? crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }) : crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }));
    }

    get jwk() {
        return { ...this.publicKey.export({ format: 'jwk' }), kid: this.kid, alg: this.alg, use: 'sig' };
    }

    token({ alg = this.alg, secret, ...more } = {}) {
        const text = `${encode({ alg, typ: 'JWT', kid: this.kid })}.${encode({ sub: crypto.randomUUID(), exp: Math.floor(Date.now() / 1000) + 600, ...more })}`;
        const signature = secret ? crypto.createHmac('sha256', secret).update(text).digest()
            : crypto.sign('sha256', Buffer.from(text), { key: this.privateKey, ...(this.alg === 'ES256' && { dsaEncoding: 'ieee-p1363' }) });
        return `${text}.${signature.toString('base64url')}`;
    }
}

const [first, second, third] = [new Key('k1'), new Key('k2', 'rsa'), new Key('k3')];
const set = (...keys) => JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
let authority, server, daemon, answer, asked = 0, lastAsked, addresses = 0, other, misled = 0;

// Each from an address of its own, since one has few refusals.
const status = async (token) => (await daemon.api('GET', '/v1/auth/me', {
    headers: { authorization: `Bearer ${token}` },
    host: { host: '127.0.0.1', port: daemon.apiPort, localAddress: `127.1.${++addresses >> 8 & 255}.${addresses & 255}` },
})).status;
const serve = (body, head = {}) => { answer = (response) => response.writeHead(200, { 'content-type': 'application/json', ...head }).end(body); };
const url = () => `https://localhost:${server.address().port}/.well-known/jwks.json`;
const logged = (pattern) => (daemon.wholeLog.match(pattern) ?? []).length;

// Ended, it is started again and fetches at once.
async function fetchAgain() {
    const before = asked, pid = daemon.hostProgram('auracode-fetch');
    process.kill(pid, 'SIGKILL');
    await until('it asks again', () => asked > before, 20000);
}

before(async () => {
    authority = new Authority();
    const { certificate, key } = authority.issue('localhost', ['localhost']);
    server = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, (request, response) => {
        asked++;
        lastAsked = performance.now();
        answer(response);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    other = http.createServer((request, response) => { misled++; response.end(set(third)); });
    await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
    answer = (response) => response.writeHead(503).end();
    daemon = await Instance.start({ auth: { jwks_url: url(), jwks_ca_file: authority.file } });
});
after(async () => {
    await daemon?.stop();
    for (const one of [server, other]) {
        one?.closeAllConnections();
        one?.close();
    }
    authority?.remove();
});

test('until the first set is there tokens are refused; then they are taken', async () => {
    await until('it was asked', () => asked > 0);
    assert.equal(await status(first.token()), 401);
    await until('the log tells of it', () => logged(/jwks_url `https:\/\/localhost:\d+\S*`: status 503/g) === 1);
    assert.equal(logged(/no token of RS256 or ES256 is taken until/g), 1);
    serve(set(first, second));
    await until('its keys are taken', async () => await status(first.token()) === 200, 20000);
    assert.equal(await status(second.token()), 200);
    assert.equal(await status(third.token()), 401);
});

test('a new key is taken within seconds, and one that was withdrawn is refused', async (t) => {
    serve(set(second, third));
    const from = performance.now();
    await until('the new key is taken', async () => await status(third.token()) === 200, 35000);
    assert.equal(await status(first.token()), 401);
    assert.equal(await status(second.token()), 200);
    t.diagnostic(`taken after ${Math.round(performance.now() - from)} ms`);
});

test('a flood of unknown keys has it asked no more than every 30 s', async () => {
    const before = asked;
    await Promise.all(Array.from({ length: 40 }, (_, i) => status(new Key(`unknown-${i}`).token())));
    assert.equal(await status(second.token()), 200);
    assert.ok(asked - before <= 1, `${asked - before} times`);
});

test('a public key is no secret', async () => {
    for (const secret of [second.publicKey.export({ type: 'spki', format: 'pem' }), JSON.stringify(second.jwk), second.jwk.n, Buffer.from(second.jwk.n, 'base64url')])
        assert.equal(await status(second.token({ alg: 'HS256', secret })), 401);
    assert.equal(await status(`${encode({ alg: 'none', kid: 'k2' })}.${encode({ sub: 'x', exp: 4e9 })}.`), 401);
});

for (const [what, reply, message] of [
    ['garbage', (response) => response.end('<html>not found</html>'), /expected a JWK set/],
    ['an empty set', (response) => response.end('{"keys":[]}'), /expected a JWK set/],
    ['a set of secrets alone', (response) => response.end('{"keys":[{"kty":"oct","kid":"k2","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}'), /expected a JWK set/],
    ['an answer without end', (response) => {
        const more = () => { while (response.write('x'.repeat(65536))); };
        response.on('drain', more);
        response.on('error', () => {});
        more();
    }, /more than 262144 bytes/],
    ['a redirection', (response) => response.writeHead(302, { location: `http://127.0.0.1:${other.address().port}/` }).end(), /redirections are not followed/],
    ['a refusal', (response) => response.writeHead(404).end(set(third)), /status 404/],
    ['a slow server', () => {}, /[Tt]ime/],
])
    test(`${what} leaves the keys as they are, and the log says so`, async () => {
        const before = daemon.wholeLog.length;
        answer = reply;
        await fetchAgain();
        await until('the log tells of it', () => message.test(daemon.wholeLog.slice(before)), 20000);
        assert.equal(await status(second.token()), 200);
        assert.equal(await status(first.token()), 401);
        assert.equal(misled, 0, 'it went elsewhere');
        serve(set(second, third));
    });

test('a server that another authority vouches for is not believed', async () => {
    const stranger = new Authority();
    try {
        const { certificate, key } = stranger.issue('localhost', ['localhost']);
        const before = daemon.wholeLog.length;
        server.setSecureContext({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });
        process.kill(daemon.hostProgram('auracode-fetch'), 'SIGKILL');
        await until('the log tells of it', () => /certificate/.test(daemon.wholeLog.slice(before)), 20000);
        assert.equal(await status(second.token()), 200);
    } finally {
        stranger.remove();
        const { certificate, key } = authority.issue('again', ['localhost']);
        server.setSecureContext({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });
    }
});

test('killed, the API has the keys again at once, and so has the next daemon without network', async () => {
    await fetchAgain();
    process.kill(daemon.hostProgram('auracode-api'), 'SIGKILL');
    await until('the next one serves', async () => (await daemon.api('GET', '/readyz').catch(() => null))?.status === 200);
    assert.equal(await status(second.token()), 200);
    const kept = JSON.parse(fs.readFileSync(path.join(daemon.stateDir, 'jwks.json'), 'utf8'));
    assert.deepEqual([kept.url, kept.keys], [url(), set(second, third)]);
    const { port } = server.address();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await daemon.terminate();
    await daemon.startDaemon();
    assert.equal(await status(second.token()), 200);
    await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
});

test('it is asked again when the answer is no longer fresh, but not before 60 s', async () => {
    // Told by the file, since a token of an unknown key would have it asked.
    const kept = () => JSON.parse(fs.readFileSync(path.join(daemon.stateDir, 'jwks.json'), 'utf8')).keys;
    serve(set(first, third), { 'cache-control': 'public, max-age=1' });
    await fetchAgain();
    await until('its keys are kept', () => kept() === set(first, third));
    const from = lastAsked;
    serve(set(second, third));
    await until('it is asked again', () => kept() === set(second, third), 70000);
    assert.ok(lastAsked - from > 59000, `after ${lastAsked - from} ms`);
    await until('the API has them too', async () => await status(second.token()) === 200);
    assert.equal(await status(first.token()), 401);
});

test('what a hostile fetcher hands over leaves the keys as they are', async () => {
    const line = (key) => fs.readFileSync(`/proc/${daemon.hostProgram('auracode-fetch')}/status`, 'utf8').match(new RegExp(`^${key}:\\s+(\\d+)`, 'm'))[1];
    const ask = (id, op, fds) => ({ do: 'ask', text: JSON.stringify({ id, op }), fds });
    const orders = [{ do: 'connect' }, ask(2, 'hello'), ask(3, 'jwks.put', ['sealed:100'])];
    const peer = await run('python3', [path.join(source, 'tests/system/peer.py'), path.join(daemon.runDir, 'supervisor.sock'), line('Uid'), line('Gid')],
        { stdin: orders.map((order) => `${JSON.stringify(order)}\n`).join('') });
    assert.ok(JSON.parse(peer.stdout.trim().split('\n')[2]).reply.ok, peer.stdout);
    await until('the API refuses what is no set', () => /the keys stay as they were/.test(daemon.wholeLog));
    assert.equal(await status(second.token()), 200);
});

test('it runs confined, as doctor says, and is not there where there is nothing to fetch', async () => {
    const found = async () => (await daemon.ok('GET', '/v1/doctor')).checks.find(({ name }) => name === 'auracode-fetch');
    await until('it is confined', async () => (await found()).status === 'active').catch(async () => assert.fail((await found()).detail));
    const text = fs.readFileSync(`/proc/${daemon.hostProgram('auracode-fetch')}/status`, 'utf8');
    assert.match(text, /^CapBnd:\s0+$/m);
    assert.match(text, /^Seccomp:\s2$/m);
    assert.doesNotMatch(text, /^Uid:\s0\s/m);
    const plain = await Instance.start();
    try {
        assert.deepEqual(plain.hostPrograms('auracode-fetch'), []);
        assert.ok(!(await plain.ok('GET', '/v1/doctor')).checks.some(({ name }) => name === 'auracode-fetch'));
    } finally {
        await plain.stop();
    }
});

test('URLs that are not to be believed are refused at the start', async () => {
    for (const bad of ['http://example.com/jwks', 'ftp://example.com/jwks', 'http://localhost.example.com/', 'http://localhost:x@example.com/', 'jwks.json']) {
        daemon.writeConfig({ auth: { jwks_url: bad } });
        const { code, stderr } = await run(daemon.program('auracoded'), ['--config', daemon.config, '--check']);
        assert.notEqual(code, 0, bad);
        assert.match(stderr, /auth\.jwks_url/);
    }
});
