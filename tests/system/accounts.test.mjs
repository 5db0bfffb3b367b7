// Built-in accounts on both databases: made by an admin, logging in with a password, ended at once; what a login
// tells and what it costs, and where a password is not.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance, once, run, slow, until } from './harness.mjs';
import { Postgres, Sqlite } from './postgres.mjs';

const SECRET = 'a secret of at least thirty-two bytes';
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600;

function sign(claims, secret, alg = 'HS256') {
    const text = `${encode({ alg, typ: 'JWT' })}.${encode(claims)}`;
    return `${text}.${alg === 'none' ? '' : crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
}

const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));

// Types the lines into a program on a terminal of its own, each when it asks; gives what the terminal showed.
const TYPE = `
import os, pty, sys
lines = sys.argv[1].split(',')
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b''
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    shown += data
    if lines and shown.endswith(b': '):
        os.write(fd, lines.pop(0).encode() + b'\\n')
os.write(1, shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

for (const [name, Database] of [['SQLite', Sqlite], ['PostgreSQL', Postgres]]) {
    describe(name, () => {
        let database, daemon, users = 0;
        const passwords = [];
        const tcp = (localAddress) => ({ host: '127.0.0.1', port: daemon.apiPort, ...(localAddress && { localAddress }) });
        const as = (token) => ({ headers: { authorization: `Bearer ${token}` }, host: tcp() });
        const add = async (fields = {}) => {
            const body = { name: `user-${++users}`, password: `pass word ${crypto.randomUUID()}`, ...fields };
            passwords.push(body.password);
            return { ...await daemon.ok('POST', '/v1/users', { body }), password: body.password };
        };
        // Without `host`: over the unix socket, where only the name is limited.
        const login = (user, password, options) => daemon.api('POST', '/v1/auth/login', { body: { user, password }, ...options });
        const enter = async ({ name: user, password }) => {
            const { status, body } = await login(user, password);
            assert.equal(status, 200, JSON.stringify(body));
            return body.token;
        };
        const statusOf = async (token) => (await daemon.api('GET', '/v1/auth/me', as(token))).status;

        before(async () => {
            database = await Database.start();
            daemon = await Instance.start({
                ...(database.url && { database: { url: database.url, pool: 4 } }),
                auth: { jwt_secret: SECRET, login_token_ttl_s: 600 },
            });
        });
        after(async () => {
            await daemon?.stop();
            await database?.stop();
        });

        test('an admin adds, lists, changes and removes users', async () => {
            const made = await add({ name: 'Ada@Example.com' });
            assert.match(made.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f-]{21}$/);
            assert.deepEqual([made.name, made.disabled], ['Ada@Example.com', false]);
            const { status, code } = await daemon.refused('POST', '/v1/users', { body: { name: 'ada@example.COM', password: 'long enough' } });
            assert.deepEqual([status, code], [409, 'user_exists']);
            const { users: [found], ...rest } = await daemon.ok('GET', '/v1/users?name=ADA@example.com');
            assert.equal(found.id, made.id);
            assert.deepEqual(rest, {});
            assert.deepEqual((await daemon.ok('GET', '/v1/users?name=nobody')).users, []);
            assert.ok((await daemon.ok('GET', '/v1/users')).users.some(({ id }) => id === made.id));
            assert.equal((await daemon.ok('PATCH', `/v1/users/${made.id}`, { body: { disabled: true } })).disabled, true);
            await daemon.ok('DELETE', `/v1/users/${made.id}`);
            for (const [method, id] of [['DELETE', made.id], ['PATCH', made.id], ['PATCH', 'ada'], ['DELETE', 'ada']])
                assert.equal((await daemon.refused(method, `/v1/users/${id}`, { body: method === 'PATCH' ? { disabled: false } : undefined })).code, 'user_not_found');
            assert.notEqual((await add({ name: 'ada@example.com' })).id, made.id, 'the name is free again, the id is not');
        });

        test('bad names and passwords are refused by field, and no answer quotes a password', async () => {
            const good = 'a good password';
            const cases = [
                [{ name: '', password: good }, 'name'], [{ name: 'a b', password: good }, 'name'], [{ name: 'ä', password: good }, 'name'],
                [{ name: 'x'.repeat(255), password: good }, 'name'], [{ name: 'x' }, 'password'], [{ name: 'x', password: 'seven77' }, 'password'],
                [{ name: 'x', password: 'p'.repeat(1025) }, 'password'], [{ name: 'x', password: 12345678 }, 'password'],
                [{ name: 'x', password: 'a\u0001good password' }, 'password'],
            ];
            for (const [body, field] of cases) {
                const { status, error } = await daemon.refused('POST', '/v1/users', { body });
                assert.deepEqual([status, error.detail.field], [400, field], JSON.stringify(body));
                if (body.password) assert.ok(!JSON.stringify(error).includes(body.password), 'it quotes the password');
            }
            const { message } = await daemon.refused('POST', '/v1/auth/login', {
                body: '{"user": "x", "password": hunterhunter}', headers: { 'content-type': 'application/json' },
            });
            assert.doesNotMatch(message, /hunter/);
            const long = await daemon.refused('POST', '/v1/auth/login', { body: { user: 'x', password: 'p'.repeat(20000) } });
            assert.equal(long.status, 413, 'nobody need be known to send it');
            assert.equal((await daemon.refused('PATCH', `/v1/users/${crypto.randomUUID()}`, { body: {} })).status, 400);
            const user = await add({ password: 'p'.repeat(1024), name: `${'x'.repeat(242)}@example.com` });
            assert.equal((await login(user.name, 'p'.repeat(1024))).status, 200);
            assert.equal((await login(user.name, `${'p'.repeat(1023)}q`)).status, 401, 'the last byte counts');
        });

        test('who logs in is a user like one of a JWT: with sessions and sandboxes of its own', async () => {
            const [ada, bob] = [await add(), await add()];
            const { status, body } = await login(ada.name.toUpperCase(), ada.password, { host: tcp() });
            assert.equal(status, 200);
            assert.deepEqual(body.user, { id: ada.id, name: ada.name });
            assert.ok(Math.abs(body.expires_at - Date.now() - 600000) < 60000, 'login_token_ttl_s');
            assert.equal(claimsOf(body.token).exp * 1000, body.expires_at);
            assert.deepEqual(await daemon.ok('GET', '/v1/auth/me', as(body.token)), {
                sub: ada.id, role: 'authenticated', scopes: ['sandboxes', 'read'], kind: 'account', user_id: ada.id,
            });
            const { records } = await until('the audit trail names who logged in', async () => {
                const found = await daemon.ok('GET', `/v1/audit?subject=${ada.id}`);
                return found.records.length > 0 && found;
            });
            assert.deepEqual(records.map(({ operation, auth, status: answered }) => [operation, auth, answered]), [['POST /v1/auth/login', 'account', 200]]);
            const other = await enter(bob);
            const session = await daemon.ok('POST', '/v1/sessions', { ...as(body.token), body: { title: 'mine' } });
            assert.equal(session.user_id, ada.id);
            assert.equal((await daemon.refused('GET', `/v1/sessions/${session.id}`, as(other))).status, 404);
            const box = await daemon.ok('POST', '/v1/sandboxes', { ...as(body.token), body: { template: 'node', egress: 'none' } });
            assert.equal(box.owner, ada.id);
            assert.equal((await daemon.refused('GET', `/v1/sandboxes/${box.id}`, as(other))).status, 404);
            for (const [method, url] of [['GET', '/v1/users'], ['POST', '/v1/users'], ['GET', '/v1/tokens'], ['PATCH', `/v1/users/${ada.id}`]])
                assert.equal((await daemon.refused(method, url, { ...as(body.token), body: method === 'GET' ? undefined : { name: 'evil', password: 'long enough' } })).status, 403);
        });

        test('everyone can ask who they are', async () => {
            const { token } = await daemon.ok('POST', '/v1/tokens', { body: { name: 'ci', owner: 'carol', scopes: ['read'] } });
            const sub = crypto.randomUUID();
            const jwt = sign({ sub, role: 'service_role', exp: inAnHour() }, SECRET);
            const ask = async (options) => {
                const { kind, role, scopes, sub: subject } = await daemon.ok('GET', '/v1/auth/me', options);
                return [kind, role, scopes, subject];
            };
            assert.deepEqual(await ask(), ['peer', 'service_role', ['admin', 'sandboxes', 'read'], null]);
            assert.deepEqual(await ask(as(token)), ['api_key', 'authenticated', ['read'], 'carol']);
            assert.deepEqual(await ask(as(jwt)), ['jwt', 'service_role', ['admin', 'sandboxes', 'read'], sub]);
            assert.equal((await daemon.refused('GET', '/v1/auth/me', { host: tcp() })).status, 401);
        });

        test('unknown, disabled and wrong are told apart by neither answer nor time', async () => {
            const [user, off] = [await add(), await add()];
            await daemon.ok('PATCH', `/v1/users/${off.id}`, { body: { disabled: true } });
            const attempts = { wrong: [user.name, 'a wrong password'], unknown: ['nobody-of-that-name', user.password], off: [off.name, off.password] };
            const times = {}, answers = {};
            for (let round = 0; round < 4; round++)
                for (const [what, [who, password]] of Object.entries(attempts)) {
                    const from = performance.now();
                    const { status, body, headers } = await login(who, password);
                    (times[what] ??= []).push(performance.now() - from);
                    (answers[what] ??= []).push(JSON.stringify([status, body, headers['www-authenticate']]));
                }
            assert.equal(new Set(Object.values(answers).flat()).size, 1, JSON.stringify(answers));
            assert.match(answers.wrong[0], /^\[401,.*login_failed/);
            // Whoever hashes nothing answers in a twentieth of the time.
            const [wrong, unknown, disabled] = ['wrong', 'unknown', 'off'].map((what) => Math.min(...times[what]));
            assert.ok(unknown > wrong / 2 && wrong > unknown / 2, `unknown ${unknown} ms, wrong ${wrong} ms`);
            assert.ok(disabled > wrong / 2, `disabled ${disabled} ms, wrong ${wrong} ms`);
        });

        test('a name has 5 attempts, then one in 10 s; those that succeed do not count', async () => {
            const [user, other] = [await add(), await add()];
            for (let i = 0; i < 8; i++) await enter(user);
            for (let i = 0; i < 5; i++) assert.equal((await login(user.name.toUpperCase(), 'a wrong password')).status, 401);
            for (const [who, password] of [[user.name, 'a wrong password'], [user.name, user.password]]) {
                const { status, headers, body } = await login(who, password);
                assert.deepEqual([status, body.error.code], [429, 'rate_limited']);
                assert.ok(headers['retry-after'] >= 1 && headers['retry-after'] <= 10, headers['retry-after']);
            }
            await enter(other);
        });

        test('an address has 30 attempts, whatever the names', async () => {
            const user = await add();
            const attempt = (i, address) => login(`stranger-${i}`, 'a wrong password', { host: tcp(address) });
            const statuses = [];
            for (let i = 0; i < 34; i++) statuses.push((await attempt(i, '127.0.0.77')).status);
            assert.deepEqual([...new Set(statuses.slice(0, 30))], [401]);
            assert.ok(statuses.slice(30).includes(429), `${statuses}`);
            const { status, headers } = await until('it is limited', async () => {
                const answer = await attempt(99, '127.0.0.77');
                return answer.status === 429 && answer;
            });
            assert.ok(status === 429 && headers['retry-after'] >= 1 && headers['retry-after'] <= 2, headers['retry-after']);
            assert.equal((await login(user.name, user.password, { host: tcp('127.0.0.78') })).status, 200, 'others go on');
        });

        test('more than can wait are told to come back, and nobody else waits for them', async () => {
            const waves = Array.from({ length: 120 }, (_, i) => login(`flood-${i}`, 'a wrong password'));
            const answers = await Promise.all(waves);
            const of = (status) => answers.filter((answer) => answer.status === status);
            assert.equal(of(401).length + of(503).length, 120, [...new Set(answers.map(({ status }) => status))].join());
            assert.ok(of(401).length >= 32, `${of(401).length} were checked`);
            assert.ok(of(503).length > 0);
            for (const { body, headers } of of(503)) assert.deepEqual([body.error.code, headers['retry-after']], ['busy', '1']);
        });

        test('the event loop goes on while 20 log in', async (t) => {
            const made = [];
            for (let i = 0; i < 20; i++) made.push(await add());
            let running = true;
            const all = Promise.all(made.map(enter)).finally(() => { running = false; });
            const times = [];
            while (running) {
                const from = performance.now();
                assert.equal((await daemon.api('GET', '/healthz')).status, 200);
                times.push(performance.now() - from);
            }
            await all;
            times.sort((a, b) => a - b);
            const p99 = times[Math.ceil(times.length * 0.99) - 1];
            t.diagnostic(`/healthz meanwhile: p50 ${times[times.length >> 1].toFixed(1)} ms, p99 ${p99.toFixed(1)} ms of ${times.length}`);
            assert.ok(times.length > 10 && p99 < 200 * slow, `p99 ${p99} ms of ${times.length}`);
        });

        test('another password, disabling and removing end all tokens and what they have open, at once', async () => {
            const changes = {
                password: (user) => daemon.ok('PATCH', `/v1/users/${user.id}`, { body: { password: 'another password' } }),
                disabled: (user) => daemon.ok('PATCH', `/v1/users/${user.id}`, { body: { disabled: true } }),
                removed: (user) => daemon.ok('DELETE', `/v1/users/${user.id}`),
            };
            const bystander = await enter(await add());
            for (const [what, change] of Object.entries(changes)) {
                const user = await add();
                const tokens = [await enter(user), await enter(user)];
                for (const token of tokens) assert.equal(await statusOf(token), 200);
                const sockets = [tokens[0], bystander].map((token) => new WebSocket(`ws://127.0.0.1:${daemon.apiPort}/v1/events?auth_token=${token}`));
                await Promise.all(sockets.map((socket) => once(socket, 'open')));
                await change(user);
                for (const token of tokens) assert.equal(await statusOf(token), 401, what);
                await until('its socket is closed', () => sockets[0].readyState === WebSocket.CLOSED);
                assert.equal(sockets[1].readyState, WebSocket.OPEN, 'another\'s stays');
                sockets[1].terminate();
                assert.equal((await login(user.name, user.password)).status, 401);
                if (what === 'password') assert.equal((await login(user.name, 'another password')).status, 200);
                if (what !== 'disabled') continue;
                await daemon.ok('PATCH', `/v1/users/${user.id}`, { body: { disabled: false } });
                assert.equal(await statusOf(tokens[0]), 401, 'an old token does not come back');
                assert.equal(await statusOf(await enter(user)), 200);
            }
        });

        test('an API key\'s WebSockets are closed when it is revoked', async () => {
            const key = await daemon.ok('POST', '/v1/tokens', { body: { name: 'short', scopes: ['read'] } });
            const socket = new WebSocket(`ws://127.0.0.1:${daemon.apiPort}/v1/events?auth_token=${key.token}`);
            await once(socket, 'open');
            await daemon.ok('DELETE', `/v1/tokens/${key.id}`);
            await until('it is closed', () => socket.readyState === WebSocket.CLOSED);
        });

        test('WebSockets and followed logs end with the JWT that they came with, others go on', async () => {
            const { id } = await daemon.create({ egress: 'none' });
            const sub = crypto.randomUUID(), now = Math.floor(Date.now() / 1000);
            const token = (exp) => sign({ sub, role: 'service_role', exp }, SECRET);
            const [short, long] = [token(now - 60 + 4), token(now + 600)]; // 60 s of skew are allowed
            const urls = [`/v1/events`, `/v1/sandboxes/${id}/watch`, `/v1/sandboxes/${id}/exec`];
            const open = (bearer) => urls.map((url) => new WebSocket(`ws://127.0.0.1:${daemon.apiPort}${url}?auth_token=${bearer}`));
            const ending = open(short), staying = open(long);
            await Promise.all([...ending, ...staying].map((socket) => once(socket, 'open')));
            await Promise.all(ending.map((socket) => once(socket, 'close')));
            assert.ok(Date.now() >= (now + 4) * 1000 - 100, 'not before its time');
            assert.ok(staying.every(({ readyState }) => readyState === WebSocket.OPEN));
            for (const socket of staying) socket.terminate();
            assert.equal(await statusOf(short), 401);
            await daemon.remove(id);
        });

        test('neither issuer signs for the other, and nothing but its key makes a token', async () => {
            const user = await add();
            const token = await enter(user);
            const claims = claimsOf(token);
            const { key } = JSON.parse(fs.readFileSync(path.join(daemon.stateDir, 'login-key.json'), 'utf8'));
            assert.equal(await statusOf(sign(claims, key)), 200, 'the key is the key');
            const forged = {
                'signed with jwt_secret': sign(claims, SECRET),
                'of the configured issuer, signed with the key of accounts': sign({ sub: user.id, role: 'service_role', exp: inAnHour() }, key),
                'of another issuer': sign({ ...claims, iss: 'elsewhere' }, key),
                'for another audience': sign({ ...claims, aud: 'authenticated' }, key),
                'with no signature': sign(claims, '', 'none'),
                'of an earlier epoch': sign({ ...claims, epoch: claims.epoch - 1 }, key),
                'of a later epoch': sign({ ...claims, epoch: claims.epoch + 1 }, key),
                'without an epoch': sign({ ...claims, epoch: undefined }, key),
                'of a user that is not there': sign({ ...claims, sub: crypto.randomUUID() }, key),
                'expired': sign({ ...claims, exp: Math.floor(Date.now() / 1000) - 3600 }, key),
                'with an empty key': sign(claims, ''),
            };
            for (const [what, value] of Object.entries(forged)) assert.equal(await statusOf(value), 401, what);
            assert.equal(fs.statSync(path.join(daemon.stateDir, 'login-key.json')).mode & 0o777, 0o600);
        });

        test('a killed API forgets neither users nor their tokens', async () => {
            const user = await add();
            const token = await enter(user);
            const pid = daemon.hostProgram('auracode-api');
            process.kill(pid, 'SIGKILL');
            await until('the next one serves', async () => (await daemon.api('GET', '/readyz').catch(() => null))?.status === 200);
            assert.notEqual(daemon.hostProgram('auracode-api'), pid);
            assert.equal(await statusOf(token), 200);
            await enter(user);
        });

        test('killed while passwords are hashed, it comes back', async () => {
            const user = await add();
            const lost = Array.from({ length: 10 }, (_, i) => login(`lost-${i}`, 'a wrong password').catch(() => null));
            process.kill(daemon.hostProgram('auracode-api'), 'SIGTERM');
            await Promise.all(lost);
            await until('the next one lets in', async () => (await login(user.name, user.password).catch(() => null))?.status === 200);
        });

        test('the command line has verbs for it', async () => {
            const secret = `cli ${crypto.randomUUID()}`;
            passwords.push(secret);
            const added = await daemon.cli(['user', 'add', 'Eve', '--password-stdin'], { stdin: `${secret}\n` });
            assert.equal(added.code, 0, added.stderr);
            const id = added.stdout.trim();
            assert.equal((await login('eve', secret)).body.user.id, id);
            assert.match((await daemon.cli(['user', 'ls'])).stdout, new RegExp(`${id}\\s+Eve\\s+enabled`));
            assert.equal(JSON.parse((await daemon.cli(['user', 'disable', 'eve', '--json'])).stdout).disabled, true);
            assert.match((await daemon.cli(['user', 'ls'])).stdout, /Eve\s+disabled/);
            assert.equal((await daemon.cli(['user', 'enable', 'EVE'])).code, 0);
            assert.equal((await daemon.cli(['user', 'passwd', 'eve', '--password-stdin'], { stdin: 'short\n' })).code, 1);
            assert.equal((await daemon.cli(['user', 'passwd', 'eve', '--password-stdin'], { stdin: 'no newline at the end' })).code, 0);
            assert.equal((await login('eve', 'no newline at the end')).status, 200);
            assert.equal(JSON.parse((await daemon.cli(['user', 'ls', '--json'])).stdout).users.find(({ name: who }) => who === 'Eve').id, id);
            assert.equal((await daemon.cli(['user', 'rm', 'eve'])).code, 0);
            assert.equal((await daemon.cli(['user', 'rm', 'eve'])).code, 3);
            const pipe = await daemon.cli(['user', 'add', 'mallory'], { stdin: 'from a pipe\n' });
            assert.equal(pipe.code, 1);
            assert.match(pipe.stderr, /--password-stdin/);
        });

        test('on a terminal it asks twice, and shows nothing of what is typed', async () => {
            const secret = `typed-${crypto.randomUUID()}`;
            passwords.push(secret);
            const type = (lines, ...args) => run('python3', ['-c', TYPE, lines, daemon.cliProgram, ...args], { env: { AURACODE_SOCKET: daemon.socket } });
            const { code, stdout } = await type(`${secret},${secret}`, 'user', 'add', 'typist');
            assert.equal(code, 0, stdout);
            assert.match(stdout, /Password: \s*Again: \s*[0-9a-f-]{36}/);
            assert.ok(!stdout.includes(secret), stdout);
            assert.equal((await login('typist', secret)).status, 200);
            const different = await type(`${secret},${secret}x`, 'user', 'passwd', 'typist');
            assert.equal(different.code, 1);
            assert.match(different.stdout, /the two are not the same/);
        });

        test('no password is in the log or in the database, which holds yescrypt hashes', async () => {
            await daemon.refused('POST', '/v1/auth/login', { body: { user: 'x', password: `${passwords[0]}` } });
            const places = { log: daemon.wholeLog };
            if (name === 'PostgreSQL')
                places.dump = database.run('pg_dump', '-h', database.dir, 'aura');
            else
                for (const file of fs.readdirSync(path.join(daemon.stateDir, 'api')))
                    places[file] = fs.readFileSync(path.join(daemon.stateDir, 'api', file), 'latin1');
            assert.ok(Object.values(places).some((text) => text.includes('$y$jBT$')), 'hashes of the cost that is documented');
            for (const [place, text] of Object.entries(places)) {
                assert.ok(text.length > 0, place);
                for (const password of passwords) assert.ok(!text.includes(password), `${place} holds a password`);
            }
        });

        if (name === 'PostgreSQL') {
            test('accounts are invisible to the role of users, even where they were granted', () => {
                assert.throws(() => database.query('SET ROLE authenticated; SELECT count(*) FROM auracode.accounts'), /permission denied/);
                database.query('GRANT SELECT ON auracode.accounts TO authenticated');
                assert.deepEqual(database.query('SET ROLE authenticated; SELECT count(*) FROM auracode.accounts').slice(-1), [['0']]);
                assert.ok(Number(database.query('SELECT count(*) FROM auracode.accounts')[0][0]) > 0);
            });

            test('a change that another program made counts within 10 s', async () => {
                const user = await add();
                const token = await enter(user);
                assert.equal(await statusOf(token), 200);
                database.query(`UPDATE auracode.accounts SET epoch = epoch + 1 WHERE id = '${user.id}'`);
                await until('the token is refused', async () => await statusOf(token) === 401, 12000);
            });
        }
    });
}
