// Sessions and chat messages over REST, on both databases, with API keys and with JWTs: what is kept, in which
// order, whose it is, and what is left after a kill.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import zlib from 'node:zlib';
import { Instance, until } from './harness.mjs';
import { Postgres, Sqlite } from './postgres.mjs';

const SECRET = 'a secret of at least thirty-two bytes';
const { privateKey, publicKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function jwt(claims, { alg = 'HS256', secret = SECRET } = {}) {
    const payload = { sub: crypto.randomUUID(), role: 'authenticated', aud: 'authenticated', exp: Math.floor(Date.now() / 1000) + 600, ...claims };
    const text = `${encode({ alg, typ: 'JWT', ...(alg === 'ES256' && { kid: 'k1' }) })}.${encode(payload)}`;
    const signature = alg === 'ES256'
        ? crypto.sign('sha256', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' })
        : crypto.createHmac('sha256', secret).update(text).digest();
    return `${text}.${signature.toString('base64url')}`;
}

// (zlib.crc32 came with Node 22.)
function crc32(data) {
    let crc = ~0;
    for (const byte of data) {
        crc ^= byte;
        for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc >>> 0;
}

for (const [name, Database] of [['SQLite', Sqlite], ['PostgreSQL', Postgres]]) {
    describe(name, () => {
        let database, daemon, alice, bob, keysDir;
        const as = (token) => ({ headers: { authorization: `Bearer ${token}` }, host: { host: '127.0.0.1', port: daemon.apiPort } });
        const create = (token, body = {}) => daemon.ok('POST', '/v1/sessions', { ...as(token), body: { title: 'A todo app', ...body } });
        const agent = new http.Agent({ keepAlive: true, maxSockets: 24 });
        const say = (token, session, content, more = {}) => daemon.ok('POST', `/v1/sessions/${session}/messages`, {
            ...as(token), agent, body: { type: 'user', sender: 'USER', content, ...more },
        });
        const list = async (token, session, query = '') => (await daemon.ok('GET', `/v1/sessions/${session}/messages${query}`, as(token))).messages;

        before(async () => {
            database = await Database.start();
            keysDir = fs.mkdtempSync('/tmp/auracode-keys.');
            const jwks = path.join(keysDir, 'jwks.json');
            fs.writeFileSync(jwks, JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }] }));
            daemon = await Instance.start({
                ...(database.url && { database: { url: database.url, pool: 4 } }),
                auth: { jwt_secret: SECRET, jwks_url: `file:${jwks}`, audience: 'authenticated' },
            });
            alice = jwt({ sub: crypto.randomUUID() });
            bob = jwt({ sub: crypto.randomUUID() }, { alg: 'ES256' });
        });
        after(async () => {
            agent.destroy();
            await daemon?.stop();
            await database?.stop();
            if (keysDir) fs.rmSync(keysDir, { recursive: true });
        });

        test('a session is made, read, changed, listed and removed', async () => {
            const made = await create(alice, { description: 'with dates', sandbox_id: 'abcdefghijkl', iframe_url: 'http://abcdefghijkl.localhost:7080/' });
            assert.match(made.id, /^[0-9a-f-]{36}$/);
            assert.equal(made.is_active, true);
            assert.equal(made.thumbnail, null);
            assert.equal(made.created_at, made.updated_at);
            assert.deepEqual(await daemon.ok('GET', `/v1/sessions/${made.id}`, as(alice)), made);
            const changed = await daemon.ok('PATCH', `/v1/sessions/${made.id}`, { ...as(alice), body: { title: 'Notes', description: null, is_active: false } });
            assert.equal(changed.title, 'Notes');
            assert.equal(changed.description, null);
            assert.equal(changed.is_active, false);
            assert.equal(changed.sandbox_id, 'abcdefghijkl');
            assert.ok(changed.updated_at >= made.updated_at);
            assert.deepEqual((await daemon.ok('GET', '/v1/sessions', as(alice))).sessions, [changed]);
            await daemon.ok('DELETE', `/v1/sessions/${made.id}`, as(alice));
            assert.equal((await daemon.refused('GET', `/v1/sessions/${made.id}`, as(alice))).code, 'session_not_found');
            assert.deepEqual((await daemon.ok('GET', '/v1/sessions', as(alice))).sessions, []);
        });

        // A PNG of one colour, with a comment in it.
        const png = (width = 2, height = 2, text = '') => {
            const chunk = (type, data) => {
                const body = Buffer.concat([Buffer.from(type), data]), length = Buffer.alloc(4), crc = Buffer.alloc(4);
                length.writeUInt32BE(data.length);
                crc.writeUInt32BE(crc32(body));
                return Buffer.concat([length, body, crc]);
            };
            const header = Buffer.alloc(13);
            header.writeUInt32BE(width, 0);
            header.writeUInt32BE(height, 4);
            header.set([8, 0, 0, 0, 0], 8); // 8 bits of grey
            const rows = Buffer.alloc((Math.min(width, 4096) + 1) * Math.min(height, 4096));
            return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), ...(text ? [chunk('tEXt', Buffer.from(`Comment\0${text}`))] : []),
                chunk('IDAT', zlib.deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
        };

        test('a session has a thumbnail, its owner\'s alone, until it goes', async () => {
            const { id, updated_at } = await create(alice), url = `/v1/sessions/${id}/thumbnail`;
            const put = (token, body, headers = { 'content-type': 'image/png' }) => daemon.api('PUT', url, { ...as(token), headers: { ...as(token).headers, ...headers }, body });
            const get = (token, headers = {}) => daemon.api('GET', url, { ...as(token), headers: { ...as(token).headers, ...headers } });
            assert.equal((await get(alice)).body.error.code, 'thumbnail_not_found');
            assert.equal((await daemon.refused('DELETE', url, as(alice))).code, 'thumbnail_not_found');
            const first = await put(alice, png());
            assert.equal(first.status, 200, JSON.stringify(first.body));
            assert.equal(first.body.thumbnail, url);
            assert.ok(first.body.updated_at >= updated_at);
            assert.equal((await daemon.ok('GET', `/v1/sessions/${id}`, as(alice))).thumbnail, url);
            const shown = await get(alice);
            assert.deepEqual(shown.body, png());
            assert.equal(shown.headers['content-type'], 'image/png');
            assert.equal(shown.headers['x-content-type-options'], 'nosniff');
            assert.equal(shown.headers.etag, first.headers.etag);
            assert.equal((await get(alice, { 'if-none-match': shown.headers.etag })).status, 304);
            const largest = png(4096, 4096, 'x'.repeat(900000));
            const second = await put(alice, largest, {});
            assert.equal(second.status, 200, JSON.stringify(second.body));
            assert.notEqual(second.headers.etag, first.headers.etag);
            assert.deepEqual((await get(alice, { 'if-none-match': shown.headers.etag })).body, largest);

            const broken = png();
            broken[20] ^= 1; // no longer what the checksum of the header says
            const cases = [
                [png(4097, 1), 'invalid_png', 400], [png(1, 4097), 'invalid_png', 400], [png(0x7fffffff, 0x7fffffff), 'invalid_png', 400], [png(0, 1), 'invalid_png', 400],
                [broken, 'invalid_png', 400], [png().subarray(0, 20), 'invalid_png', 400], [Buffer.from('\xff\xd8\xff\xe0 a JPEG', 'latin1'), 'invalid_png', 400],
                [Buffer.from('<svg onload="alert(1)"/>'), 'invalid_png', 400], [Buffer.alloc(0), 'invalid_png', 400],
                [png(2, 2, 'x'.repeat(1 << 20)), 'body_too_large', 413],
            ];
            for (const [body, code, status] of cases) {
                const answer = await put(alice, body);
                assert.equal(answer.body.error?.code, code, `${body.length} bytes: ${JSON.stringify(answer.body)}`);
                assert.equal(answer.status, status);
            }
            assert.equal((await put(alice, png(), { 'content-type': 'image/svg+xml' })).status, 415);
            const chunked = await put(alice, Readable.from([png(2, 2, 'x'.repeat(1 << 20))]));
            assert.equal(chunked.body.error.code, 'body_too_large', 'also where no length is told');
            assert.deepEqual((await get(alice)).body, largest, 'what was refused changed nothing');

            for (const answer of [await put(bob, png()), await get(bob), await daemon.api('DELETE', url, as(bob))])
                assert.deepEqual([answer.status, answer.body.error.code], [404, 'session_not_found']);
            assert.deepEqual((await daemon.api('GET', url, { raw: true })).body, largest, 'an admin sees all');
            await daemon.ok('DELETE', url, as(alice));
            assert.equal((await daemon.ok('GET', `/v1/sessions/${id}`, as(alice))).thumbnail, null);
            assert.equal((await get(alice)).status, 404);
            await put(alice, png());
            await daemon.ok('DELETE', `/v1/sessions/${id}`, as(alice));
            assert.equal((await get(alice)).body.error.code, 'session_not_found');
        });

        test('bad fields are named', async () => {
            const bad = [
                [{}, 'title'], [{ title: '' }, 'title'], [{ title: 'x'.repeat(513) }, 'title'], [{ title: 'x', sandbox_id: '../etc' }, 'sandbox_id'],
                [{ title: 'x', is_active: 'yes' }, 'is_active'], [{ title: 'x', colour: 'red' }, 'colour'], [{ title: 'x', user_id: 'bob' }, 'user_id'],
            ];
            for (const [body, field] of bad) {
                const { status, error } = await daemon.refused('POST', '/v1/sessions', { ...as(alice), body });
                assert.equal(status, 400);
                assert.equal(error.detail.field, field, error.message);
            }
            const { id } = await create(alice);
            const messages = [
                [{ sender: 'USER', content: '' }, 'type'], [{ type: 'shout', sender: 'USER', content: '' }, 'type'],
                [{ type: 'user', sender: 'NOBODY', content: '' }, 'sender'], [{ type: 'user', sender: 'USER' }, 'content'],
                [{ type: 'user', sender: 'USER', content: 'x', id: '1'.repeat(36) }, 'id'], [{ type: 'user', sender: 'USER', content: 'x', message_data: 3 }, 'message_data'],
            ];
            for (const [body, field] of messages)
                assert.equal((await daemon.refused('POST', `/v1/sessions/${id}/messages`, { ...as(alice), body })).error.detail.field, field);
            assert.deepEqual(await list(alice, id), []);
            await daemon.ok('DELETE', `/v1/sessions/${id}`, as(alice));
        });

        test('pages of sessions neither skip nor repeat', async () => {
            const owner = jwt({});
            const made = [];
            for (let i = 0; i < 7; i++) made.push((await create(owner, { title: `s${i}` })).id);
            const seen = [];
            let cursor = '';
            do {
                const page = await daemon.ok('GET', `/v1/sessions?limit=3${cursor && `&cursor=${cursor}`}`, as(owner));
                assert.ok(page.sessions.length <= 3);
                seen.push(...page.sessions.map(({ id }) => id));
                cursor = page.next_cursor;
            } while (cursor);
            assert.equal(seen.length, 7);
            assert.deepEqual([...seen].sort(), [...made].sort());
            assert.equal((await daemon.refused('GET', '/v1/sessions?cursor=nonsense', as(owner))).error.detail.field, 'cursor');
        });

        test('messages are kept once, in order, and read in pages', async () => {
            const { id } = await create(alice);
            const name = crypto.randomUUID();
            const first = await say(alice, id, 'Build a todo app', { id: name, message_data: { a: [1, { b: 'ü' }] } });
            assert.equal(first.id, name);
            assert.deepEqual(first.message_data, { a: [1, { b: 'ü' }] });
            const again = await daemon.api('POST', `/v1/sessions/${id}/messages`, { ...as(alice), body: { type: 'user', sender: 'USER', content: 'another text', id: name } });
            assert.equal(again.status, 200);
            assert.deepEqual(again.body, first);
            for (let i = 1; i < 10; i++) await say(alice, id, `m${i}`, { type: 'assistant', sender: 'ASSISTANT' });
            const all = await list(alice, id);
            assert.deepEqual(all.map(({ content }) => content), ['Build a todo app', ...Array.from({ length: 9 }, (_, i) => `m${i + 1}`)]);
            assert.deepEqual(await list(alice, id, `?since=${all[4].seq}&limit=2`), all.slice(5, 7));
            assert.deepEqual(await list(alice, id, `?before=${all[4].seq}&limit=2`), [all[3], all[2]]);
            const session = await daemon.ok('GET', `/v1/sessions/${id}`, as(alice));
            assert.ok(session.updated_at >= all[9].created_at);
            const other = await create(alice);
            assert.equal((await daemon.refused('POST', `/v1/sessions/${other.id}/messages`, { ...as(alice), body: { type: 'user', sender: 'USER', content: 'x', id: name } })).code, 'message_id_taken');
        });

        test('messages that are appended side by side come in one order, which no reader skips', async () => {
            const { id } = await create(alice);
            let done = false;
            const seen = [];
            const reader = (async () => {
                for (let since = 0, last = false; !last;) {
                    last = done;
                    const page = await list(alice, id, `?since=${since}&limit=256`);
                    seen.push(...page);
                    since = page.at(-1)?.seq ?? since;
                }
            })();
            await Promise.all(Array.from({ length: 120 }, (_, i) => say(alice, id, `${i}`)));
            done = true;
            await reader;
            assert.equal(new Set(seen.map(({ content }) => content)).size, 120);
            assert.deepEqual(seen.map(({ seq }) => seq), [...seen.map(({ seq }) => seq)].sort((a, b) => a - b));
        });

        test('what is another\'s is not there', async () => {
            const { id } = await create(alice);
            await say(alice, id, 'secret');
            const requests = [
                ['GET', `/v1/sessions/${id}`], ['PATCH', `/v1/sessions/${id}`, { title: 'stolen' }], ['DELETE', `/v1/sessions/${id}`],
                ['DELETE', `/v1/sessions/${id}?sandbox=true`], ['GET', `/v1/sessions/${id}/messages`],
                ['POST', `/v1/sessions/${id}/messages`, { type: 'user', sender: 'USER', content: 'forged' }],
            ];
            const nobody = crypto.randomUUID();
            for (const [method, url, body] of requests) {
                const refusal = await daemon.refused(method, url, { ...as(bob), body });
                const absent = await daemon.refused(method, url.replace(id, nobody), { ...as(bob), body });
                assert.equal(refusal.status, 404, `${method} ${url}: ${refusal.message}`);
                assert.equal(refusal.code, absent.code);
                assert.equal(refusal.message.replace(id, nobody), absent.message);
            }
            assert.deepEqual((await daemon.ok('GET', '/v1/sessions', as(bob))).sessions, []);
            assert.deepEqual((await daemon.ok('POST', '/v1/sessions:deduplicate', as(bob))).removed, []);
            assert.deepEqual((await list(alice, id)).map(({ content }) => content), ['secret']);
            assert.equal((await daemon.ok('GET', `/v1/sessions/${id}`, as(alice))).title, 'A todo app');
        });

        test('duplicates of a session go, the last stays, and so does one with messages', async () => {
            const owner = jwt({});
            const [spoken] = [await create(owner, { title: 'same' })];
            await create(owner, { title: 'same' });
            const last = await create(owner, { title: 'same' });
            await create(owner, { title: 'other' });
            await say(owner, spoken.id, 'x');
            const { removed } = await daemon.ok('POST', '/v1/sessions:deduplicate', as(owner));
            const left = (await daemon.ok('GET', '/v1/sessions', as(owner))).sessions.map(({ id }) => id);
            assert.equal(removed.length + left.length, 4);
            assert.ok(left.includes(spoken.id));
            assert.ok(!removed.includes(spoken.id));
            assert.ok(removed.length >= 1 && (left.includes(last.id) || removed.includes(last.id)));
            assert.deepEqual((await daemon.ok('POST', '/v1/sessions:deduplicate', as(owner))).removed, []);
        });

        test('a session\'s sandbox goes with it only when asked for, and only the caller\'s', async () => {
            const box = async (token) => daemon.ok('POST', '/v1/sandboxes', { ...as(token), body: { template: 'node', egress: 'none' } });
            const [own, kept, foreign] = [await box(alice), await box(alice), await box(bob)];
            for (const [sandbox, query] of [[own, '?sandbox=true'], [kept, ''], [foreign, '?sandbox=true']]) {
                const { id } = await create(alice, { sandbox_id: sandbox.id });
                await daemon.ok('DELETE', `/v1/sessions/${id}${query}`, as(alice));
            }
            const { sandboxes } = await daemon.ok('GET', '/v1/sandboxes?limit=64');
            const left = sandboxes.map(({ id }) => id);
            assert.deepEqual([own, kept, foreign].map(({ id }) => left.includes(id)), [false, true, true]);
        });

        test('forged, expired and foreign JWTs are refused', async () => {
            const bad = [
                jwt({}, { secret: 'another secret, also of thirty-two bytes' }), jwt({ exp: 1 }), jwt({ aud: 'other' }), jwt({ role: 'anon' }), jwt({ sub: '' }),
                `${encode({ alg: 'none' })}.${encode({ sub: 'x', exp: 4e9, aud: 'authenticated' })}.`, jwt({}).replace(/.$/, (c) => (c === 'A' ? 'B' : 'A')).slice(0, -2),
                jwt({}, { secret: publicKey.export({ type: 'spki', format: 'pem' }) }),
            ];
            for (const token of bad) assert.equal((await daemon.refused('GET', '/v1/sessions', as(token))).status, 401);
        });

        test('an API key has sessions too, and its owner\'s name makes the user', async () => {
            const key = async (owner) => (await daemon.ok('POST', '/v1/tokens', { body: { name: owner, owner, scopes: ['sandboxes'] } })).token;
            const [carol, carolAgain, dave] = [await key('carol'), await key('carol'), await key('dave')];
            const { id } = await create(carol);
            assert.equal((await daemon.ok('GET', `/v1/sessions/${id}`, as(carolAgain))).id, id);
            assert.equal((await daemon.refused('GET', `/v1/sessions/${id}`, as(dave))).status, 404);
            assert.equal((await daemon.ok('GET', `/v1/sessions/${id}`)).id, id, 'an admin sees all');
        });

        test('the suite of the database layer passes on this database', () => {
            if (name === 'SQLite') return; // make check has run it
            database.run('createdb', '-h', database.dir, '-O', 'aura', 'unit');
            execFileSync(path.join(process.env.AURACODE_BUILD ?? '', 'tests/unit/api-db'), [], {
                env: { ...process.env, AURACODE_TEST_DATABASE: database.url.replace('/aura?', '/unit?') }, stdio: ['ignore', 'pipe', 'pipe'],
            });
        });

        if (name === 'PostgreSQL')
            test('an API that is told to end while the database hangs ends well', async () => {
                const backends = database.query('SELECT pid FROM pg_stat_activity WHERE usename = \'aura\'').map(([pid]) => Number(pid));
                const api = daemon.hostProgram('auracode-api');
                for (const pid of backends) process.kill(pid, 'SIGSTOP');
                try {
                    const waiting = daemon.api('GET', '/v1/sessions', as(alice)).then(({ status }) => status, ({ code }) => code);
                    await daemon.ok('GET', '/healthz', { raw: true }); // the other one has been taken before
                    process.kill(api, 'SIGTERM');
                    assert.equal(await waiting, 503);
                    await until('it has ended', () => !daemon.hostPrograms('auracode-api').includes(api), 20000);
                } finally {
                    for (const pid of backends) process.kill(pid, 'SIGCONT');
                }
                await until('the next one serves', async () => (await daemon.api('GET', '/readyz').catch(() => null))?.status === 200, 20000);
                assert.doesNotMatch(daemon.wholeLog, /Fatal error in GNU libmicrohttpd/);
            });

        test('killed again and again, it keeps each acknowledged message once and in order', async () => {
            const { id } = await create(alice);
            const acknowledged = [];
            const kills = 6;
            let killed = 0;
            const kill = async () => {
                if (name === 'PostgreSQL' && killed % 2) {
                    await database.kill();
                    await database.startServer();
                } else {
                    process.kill(daemon.hostProgram('auracode-api'), 'SIGKILL');
                }
                killed++;
            };
            for (let i = 0; i < 15 * kills; i++) {
                const message = { id: crypto.randomUUID(), type: 'user', sender: 'USER', content: `${i}` };
                const dying = i % 15 === 7 ? kill() : null;
                // As a client does: again until it is acknowledged, by the same id.
                await until(`message ${i} is acknowledged`, async () => {
                    const answer = await daemon.api('POST', `/v1/sessions/${id}/messages`, { ...as(alice), body: message }).catch(() => null);
                    if (answer && ![200, 201].includes(answer.status)) assert.ok([429, 503].includes(answer.status), `${answer.status} ${JSON.stringify(answer.body)}`);
                    return answer && answer.status < 300;
                }, 30000);
                acknowledged.push(message.id);
                await dying;
            }
            assert.equal(killed, kills);
            const kept = [];
            for (let page; !page || page.length; kept.push(...page)) page = await list(alice, id, `?since=${kept.at(-1)?.seq ?? 0}&limit=50`);
            assert.deepEqual(kept.map((message) => message.id), acknowledged);
        });

        if (name === 'PostgreSQL') {
            test('without its database it says so, and goes on when it is back', async () => {
                await database.kill();
                await until('it is not ready', async () => (await daemon.api('GET', '/readyz')).status === 503);
                const answers = await Promise.all(Array.from({ length: 3 }, () => daemon.api('GET', '/v1/version', as(alice))));
                assert.ok(answers.every(({ status }) => status === 200), 'a JWT needs no database');
                const waiting = create(alice, { title: 'patient' });
                await database.startServer();
                assert.equal((await waiting).title, 'patient');
                await until('it is ready', async () => (await daemon.api('GET', '/readyz')).status === 200);
            });

            test('row-level security is on, and its policies are the seed\'s', () => {
                const rows = database.query("SELECT tablename, policyname FROM pg_policies WHERE schemaname = 'public' ORDER BY tablename");
                assert.deepEqual(rows, [
                    ['chat_messages', 'Users can only access their own chat messages'], ['sessions', 'Users can only access their own sessions'],
                ]);
                assert.deepEqual(database.query("SELECT count(*) FROM pg_class WHERE relname IN ('sessions', 'chat_messages') AND relrowsecurity"), [['2']]);
            });
        }
    });
}

test('a Supabase database keeps its users, roles and policies', async () => {
    const database = await Postgres.start();
    let daemon;
    try {
        const user = crypto.randomUUID();
        database.run('psql', '-h', database.dir, '-d', 'aura', '-v', 'ON_ERROR_STOP=1', '-c', `
            CREATE ROLE authenticated NOLOGIN NOINHERIT; GRANT authenticated TO aura; CREATE SCHEMA auth;
            CREATE TABLE auth.users (id uuid PRIMARY KEY, email text, encrypted_password text, created_at timestamptz DEFAULT now(), instance_id uuid);
            CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
                $$ SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
            GRANT USAGE ON SCHEMA auth TO authenticated, aura; GRANT SELECT, INSERT, REFERENCES ON auth.users TO aura; GRANT CREATE ON SCHEMA public TO aura;
            INSERT INTO auth.users (id, email) VALUES ('${user}', 'a@b.c');`);
        daemon = await Instance.start({ database: { url: database.url }, auth: { jwt_secret: SECRET } });
        const as = (sub) => ({ headers: { authorization: `Bearer ${jwt({ sub })}` }, host: { host: '127.0.0.1', port: daemon.apiPort } });
        const made = await daemon.ok('POST', '/v1/sessions', { ...as(user), body: { title: 'x' } });
        assert.equal(made.user_id, user);
        const { status, code } = await daemon.refused('POST', '/v1/sessions', { ...as(crypto.randomUUID()), body: { title: 'x' } });
        assert.deepEqual([status, code], [403, 'user_unknown']);
        assert.deepEqual(database.query('SELECT count(*) FROM auth.users'), [['1']], 'nobody was added');
        // As supabase-js would ask, over PostgREST: the role and the claims are set, and there is no WHERE.
        const [[seen]] = database.query(`SET ROLE authenticated; SET request.jwt.claims = '{"sub":"${crypto.randomUUID()}"}'; SELECT count(*) FROM sessions`).slice(-1);
        assert.equal(seen, '0');
    } finally {
        await daemon?.stop();
        await database.stop();
    }
});
