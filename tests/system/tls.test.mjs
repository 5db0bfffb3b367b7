// TLS: certificates, their choice by name and their renewal, on the API.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Authority, replace, serialOf } from './certificates.mjs';
import { Instance, Stream, once, run, until } from './harness.mjs';

let authority, daemon, main, other, token;

before(async () => {
    authority = new Authority();
    main = authority.issue('main', ['localhost', '*.preview.localhost']);
    other = authority.issue('other', ['api.example.test'], { key: 'rsa:2048' });
    daemon = await Instance.start({
        tls: { certificate: `${main.certificate}, ${other.certificate}`, key: `${main.key}, ${other.key}`, hsts: 31536000 },
    });
    token = (await daemon.ok('POST', '/v1/tokens', { body: { name: 'tls', scopes: ['admin'] } })).token;
});
after(async () => {
    await daemon?.stop();
    authority?.remove();
});

const connect = (options = {}) => new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port: daemon.apiTlsPort, servername: 'localhost', ca: authority.pem, ...options },
        () => resolve(socket));
    socket.on('error', reject);
});

const serialFor = async (options) => {
    const socket = await connect(options);
    const serial = serialOf(socket);
    socket.destroy();
    return serial;
};

function get(path, headers = {}, agent = false) {
    return new Promise((resolve, reject) => {
        https.get({ host: '127.0.0.1', port: daemon.apiTlsPort, servername: 'localhost', ca: authority.pem, path, agent,
            headers: { host: 'localhost', ...headers } }, (response) => {
            const chunks = [];
            response.on('data', (data) => chunks.push(data)).on('end', () => resolve({
                status: response.statusCode, headers: response.headers, socket: response.socket, body: Buffer.concat(chunks).toString(),
            }));
        }).on('error', reject);
    });
}

const bearer = () => ({ authorization: `Bearer ${token}` });

// What both programs and the daemon say to a SIGHUP. `verdicts`: how many lines of the pattern to wait for.
async function reload(pattern, verdicts) {
    const count = () => (daemon.log.match(pattern) ?? []).length;
    const before = count();
    process.kill(daemon.pid, 'SIGHUP');
    await until(`${pattern} is logged`, () => count() >= before + verdicts);
}

test('the API answers over TLS, and only to a token', async () => {
    assert.equal((await get('/v1/sandboxes')).status, 401);
    const answer = await get('/v1/sandboxes', bearer());
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['strict-transport-security'], 'max-age=31536000');
    const inClear = await daemon.api('GET', '/v1/version');
    assert.equal(inClear.headers['strict-transport-security'], undefined);
});

test('a client gets the certificate of the name that it asks for, the first for any other', async () => {
    assert.equal(await serialFor(), main.serial);
    assert.equal(await serialFor({ servername: 'abc.preview.localhost' }), main.serial);
    assert.equal(await serialFor({ servername: 'api.example.test' }), other.serial);
    assert.equal(await serialFor({ servername: 'elsewhere.test', rejectUnauthorized: false }), main.serial);
    assert.equal(await serialFor({ servername: '', rejectUnauthorized: false }), main.serial);
});

test('TLS 1.2 and 1.3 are spoken, and nothing older', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
        const socket = await connect({ minVersion: version, maxVersion: version });
        assert.equal(socket.getProtocol(), version);
        socket.destroy();
    }
    await assert.rejects(connect({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }));
    await assert.rejects(connect({ maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' }), 'no key exchange without forward secrecy');
});

test('the command line takes https and an authority, for requests and for terminals', async () => {
    const { id } = await daemon.create({ egress: 'none' });
    const cli = (args, env) => run(daemon.cliProgram, args,
        { env: { AURACODE_HOST: `https://localhost:${daemon.apiTlsPort}`, AURACODE_TOKEN: token, ...env } });
    const listed = await cli(['--cacert', authority.file, 'ls', '--json']);
    assert.equal(listed.code, 0, listed.stderr);
    assert.ok(listed.stdout.includes(id));
    const executed = await cli(['exec', id, '--', 'sh', '-c', 'echo out; exit 7'], { AURACODE_CACERT: authority.file });
    assert.equal(executed.code, 7, executed.stderr);
    assert.equal(executed.stdout, 'out\n');
    const long = await cli(['exec', id, '--', 'head', '-c', '3000000', '/dev/zero'], { AURACODE_CACERT: authority.file });
    assert.equal(long.stdout.length, 3000000);
    const stranger = await cli(['ls']);
    assert.notEqual(stranger.code, 0);
    assert.match(stranger.stderr, /certificate of https:\/\/localhost:\d+ is not trusted.*--cacert/);
    await daemon.remove(id);
});

test('a renewed certificate goes to new connections; open ones live on', async () => {
    const { id } = await daemon.create({ egress: 'none' });
    const socket = new WebSocket(`wss://localhost:${daemon.apiTlsPort}/v1/sandboxes/${id}/exec`,
        { ca: authority.pem, headers: bearer() });
    const stream = new Stream(socket);
    await once(socket, 'open');
    socket.send(JSON.stringify({ argv: ['cat'], stdin: true }));
    stream.send('before\n');
    await stream.outputs(/before/);
    const old = { ...main };
    const renewed = authority.issue('renewed', ['localhost', '*.preview.localhost']);
    replace(main, renewed);
    main.serial = renewed.serial;
    assert.equal(await serialFor(), old.serial, 'nothing happens before the signal');
    await reload(/certificate `.*main\.pem`/g, 1);
    assert.equal(await serialFor(), renewed.serial);
    stream.send('after\n');
    await stream.outputs(/after/);
    stream.endInput();
    assert.equal((await stream.ended).exit_code, 0);
    await daemon.remove(id);
});

test('a bad pair is refused by name and reason, and the old one stays', async () => {
    const stranger = authority.issue('stranger', ['localhost']);
    const expired = authority.issue('expired', ['localhost'], { days: -1 });
    const good = { certificate: fs.readFileSync(main.certificate), key: fs.readFileSync(main.key) };
    const cases = [
        ['a key of another certificate', { key: stranger.key }, /main\.key` is not the key of the certificate in `.*main\.pem`/g],
        ['an expired one', { certificate: expired.certificate, key: expired.key }, /certificate in `.*main\.pem` expired on \d{4}-/g],
        ['no PEM', { certificate: authority.write('text', 'hello') }, /main\.pem` holds no PEM certificate/g],
        ['no key', { key: authority.write('no-key', 'hello') }, /main\.key` holds no PEM private key/g],
        ['an encrypted key', { key: authority.encrypt(main.key) }, /main\.key` is encrypted/g],
        ['binary', { certificate: authority.write('der', Buffer.from([0x30, 0x82, 0xff, 0xfe])) }, /main\.pem` is not text: expected PEM/g],
        ['much too large', { certificate: authority.write('large', 'x'.repeat(300000)) }, /main\.pem` is larger than/g],
    ];
    for (const [what, files, pattern] of cases) {
        for (const part of ['certificate', 'key']) fs.copyFileSync(files[part] ?? main[part], `${main[part]}.bad`);
        for (const part of ['certificate', 'key']) fs.renameSync(`${main[part]}.bad`, main[part]);
        await reload(pattern, 1);
        assert.equal(await serialFor(), main.serial, what);
        for (const part of ['certificate', 'key']) fs.writeFileSync(main[part], good[part]);
    }
    fs.renameSync(main.key, `${main.key}.away`);
    await reload(/reload: open `.*main\.key`: No such file.*stay as they were/g, 1);
    fs.renameSync(`${main.key}.away`, main.key);
    await reload(/certificate `.*main\.pem`/g, 1);
    assert.equal(await serialFor(), main.serial);
});

test('a key is readable by nobody but its owner, however the programs are looked at', async () => {
    const api = daemon.hostProgram('auracode-api');
    const open = fs.readdirSync(`/proc/${api}/fd`).map((fd) => fs.readlinkSync(`/proc/${api}/fd/${fd}`));
    assert.deepEqual(open.filter((file) => file.includes('auracode-certificates')), []);
});

test('a daemon that was killed hands its successor\'s files to the programs that went on', async () => {
    await daemon.killDaemon();
    const renewed = authority.issue('meanwhile', ['localhost', '*.preview.localhost']);
    replace(main, renewed);
    main.serial = renewed.serial;
    await daemon.startDaemon();
    await until('the API has them', async () => await serialFor() === renewed.serial);
});

test('a connection that never finishes its handshake is closed and holds up nobody', async () => {
    const slow = net.connect(daemon.apiTlsPort, '127.0.0.1');
    await once(slow, 'connect');
    slow.write(Buffer.from([0x16, 0x03, 0x01]));
    assert.equal((await get('/healthz')).status, 200);
    slow.destroy();
    const plain = net.connect(daemon.apiTlsPort, '127.0.0.1');
    plain.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    plain.resume();
    await once(plain, 'close');
});

async function check(certificate, key) {
    const config = `${daemon.config}.check`;
    fs.writeFileSync(config, `[tls]\ncertificate = ${certificate}\nkey = ${key}\n[proxy]\nuser = ${fs.readFileSync(daemon.config, 'utf8').match(/user = (.*(?:proxy|nobody))/)[1]}\n`);
    const { stdout, code } = await run(daemon.program('auracoded'), ['--check', '--config', config,
        '--libexec-dir', daemon.program('auracode-proxy').replace(/\/[^/]*$/, '')]);
    return { code, lines: stdout.split('\n').filter((line) => line.includes(' certificate ')) };
}

test('--check tells names and the last day, and what is wrong', async () => {
    const good = await check(`${main.certificate},${other.certificate}`, `${main.key},${other.key}`);
    assert.equal(good.lines.length, 2);
    assert.match(good.lines[0], /^ok +certificate +`.*main\.pem` for localhost, \*\.preview\.localhost until \d{4}-\d\d-\d\d \((89|90) days\)$/);
    assert.match(good.lines[1], /for api\.example\.test until/);
    const soon = authority.issue('soon', ['soon.test'], { days: 3 });
    assert.match((await check(soon.certificate, soon.key)).lines[0], /^warn .*soon\.test until/);
    const alone = authority.write('alone.pem', fs.readFileSync(soon.certificate, 'utf8').split('-----END CERTIFICATE-----')[0] + '-----END CERTIFICATE-----\n');
    assert.match((await check(alone, soon.key)).lines[0], /^warn .*without the certificate of its issuer/);
    const wrong = await check(main.certificate, other.key);
    assert.match(wrong.lines[0], /^MISSING .*is not the key of/);
    assert.equal(wrong.code, 1);
    assert.match((await check('/nowhere.pem', main.key)).lines[0], /^MISSING .*open `\/nowhere\.pem`: No such file/);
});

test('a daemon with half a configuration does not start, and says what is missing', async () => {
    const start = async (text) => {
        const config = `${daemon.config}.bad`;
        fs.writeFileSync(config, text);
        const { code, stderr } = await run(daemon.program('auracoded'), ['--config', config]);
        assert.equal(code, 1);
        return stderr;
    };
    assert.match(await start('[proxy]\ntls_listen = 127.0.0.1:7443\n'), /tls\.certificate.*expected a file, since proxy\.tls_listen is set/);
    assert.match(await start('[tls]\ncertificate = /a.pem, /b.pem\nkey = /a.key\n'), /tls\.key.*1 files for the 2 of tls\.certificate/);
    assert.match(await start('[tls]\nhsts = forever\n'), /tls\.hsts.*a whole number from 0/);
    assert.match(await start('[tls]\nredirect = yes\n'), /no proxy\.tls_listen to redirect to/);
});
