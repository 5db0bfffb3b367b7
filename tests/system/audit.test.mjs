// The audit trail on both databases: which requests leave a record, what is in it and what never is, that a change of
// the trail is found, that kills lose nothing that was acknowledged, and that old records go.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance, once, source, until, userToken } from './harness.mjs';
import { Postgres } from './postgres.mjs';

const JWT_SECRET = 'a secret of at least thirty-two bytes';
const SECRET = 'the-secret-of-a-body';
const NOBODY = 'aaaaaaaaaaaa';
const DAY = 24 * 3600 * 1000;

const jwt = (sub) => userToken(sub, JWT_SECRET);

// The route table as the source has it: none can be forgotten here.
const routes = (() => {
    const text = fs.readFileSync(path.join(source, 'src/api/routes.c'), 'utf8');
    const bases = Object.fromEntries([...text.matchAll(/#define (BOX|SESSION|WEBHOOK)\s+"([^"]*)"/g)].map(([, name, value]) => [name, value]));
    const found = [...text.matchAll(/\{METHOD_(\w+),\s+(BOX|SESSION|WEBHOOK)?\s*(?:"([^"]*)")?,\s+SCOPE_(\w+),\s+(BODY_\w+),\s+([\w |]+),/g)]
        .map(([, method, base, rest, scope, body, flags]) => ({ method, pattern: (bases[base] ?? '') + (rest ?? ''), scope, body, flags }));
    assert.equal(found.length, text.split('{METHOD_').length - 1, 'every row was understood');
    return found;
})();
const audited = routes.filter(({ method, flags }) => method !== 'GET' || flags.includes('ROUTE_AUDITED'));

// Where a route leads when nothing of what it names is there, and what it is asked for.
function absent({ method, pattern, body, flags }) {
    const names = [];
    const url = pattern.replace(/\{(\w+)\}/g, (_, name) => {
        names.push({ id: NOBODY, session_id: crypto.randomUUID() }[name] ?? '77');
        return names.at(-1);
    });
    const target = names.length ? pattern.replace(/^\/v1\//, '').replace(/\{.*/, names[0]) : undefined;
    const query = url.endsWith('/files') ? `?path=${SECRET}` : flags.includes('ROUTE_WEBSOCKET') ? `?auth_token=${SECRET}` : '';
    const type = body === 'BODY_STREAM' ? 'application/octet-stream' : 'application/json';
    const content = body === 'BODY_STREAM' ? SECRET : body === 'BODY_JSON' ? JSON.stringify({ unknown: SECRET }) : undefined;
    return { method, url: url + query, target, item: names[1], operation: `${method} ${pattern}`, type, content };
}

class Sqlite {
    static start() {
        return new Sqlite();
    }

    url = '';

    script(daemon, text) {
        execFileSync('python3', ['-c', 'import sqlite3, sys\nsqlite3.connect(sys.argv[1], timeout=20).executescript(sys.stdin.read())',
            path.join(daemon.stateDir, 'api/auracode.db')], { input: `BEGIN IMMEDIATE; ${text}; COMMIT;` });
    }

    stop() {}
}

Postgres.prototype.script = function script(daemon, text) {
    const file = path.join(this.dir, 'script.sql');
    fs.writeFileSync(file, `SET search_path TO auracode; BEGIN; ${text}; COMMIT;`);
    this.run('psql', '-h', this.dir, '-d', 'aura', '-q', '-v', 'ON_ERROR_STOP=1', '-f', file);
};

for (const [name, Database] of [['SQLite', Sqlite], ['PostgreSQL', Postgres]]) {
    describe(name, () => {
        let database, daemon, admin, reader, alice;
        const as = (token, localAddress = '127.0.0.1') => ({
            headers: token ? { authorization: `Bearer ${token}` } : {}, host: { host: '127.0.0.1', port: daemon.apiPort, localAddress },
        });
        const page = (query) => daemon.ok('GET', `/v1/audit?${/limit=/.test(query) ? '' : 'limit=1000&'}${query}`);
        // The number of the last record, once all that was asked before has its own.
        const last = async () => {
            const marker = (await daemon.api('DELETE', `/v1/sandboxes/${NOBODY}`)).headers['x-request-id'];
            return until('the marker\'s record', async () => {
                const [record] = (await page('before=9223372036854775807&limit=1')).records;
                return record?.request === marker && record.seq;
            });
        };
        // The records behind `seq` once there are `count` of them.
        const behind = async (seq, count) => {
            let records;
            await until(`${count} records behind ${seq}`, async () => {
                ({ records } = await page(`since=${seq}`));
                return records.length >= count;
            }).catch(() => assert.equal(records.length, count, JSON.stringify(records.slice(-3))));
            return records;
        };
        const verify = () => daemon.ok('GET', '/v1/audit/verify');
        const key = (owner, ...scopes) => daemon.ok('POST', '/v1/tokens', { body: { name: owner, owner, scopes } });

        before(async () => {
            database = await Database.start();
            daemon = await Instance.start({ ...(database.url && { database: { url: database.url, pool: 4 } }), auth: { jwt_secret: JWT_SECRET } });
            [admin, reader] = [await key('root', 'admin'), await key('reader', 'read')];
            alice = jwt('alice');
            for (let i = 0; i < 30; i++) await daemon.api('DELETE', `/v1/sandboxes/${NOBODY}`);
            await last();
        });
        after(async () => {
            await daemon?.stop();
            await database?.stop();
        });

        test('every route that changes something leaves its record, also where it is refused', async () => {
            const callers = [
                { how: 'none', token: null, subject: null, address: '127.0.0.2' },
                { how: 'api_key', token: reader.token, subject: 'reader', address: '127.0.0.3', key: reader.id },
                { how: 'api_key', token: admin.token, subject: 'root', address: '127.0.0.4', key: admin.id },
                { how: 'peer', subject: null, address: null, uid: 0 },
            ];
            const start = await last(), asked = [], statuses = new Set();
            for (const [i, route] of audited.entries())
                for (const caller of callers) {
                    const ask = absent(route);
                    // Fresh addresses for those without a key, who may not fail often from one.
                    const address = caller.how === 'none' ? `127.0.1.${i + 1}` : caller.address;
                    const where = caller.how === 'peer' ? { headers: {} } : as(caller.token, address);
                    const answer = await daemon.api(ask.method, ask.url, {
                        ...where, headers: { ...where.headers, ...(ask.content && { 'content-type': ask.type }) }, body: ask.content,
                    });
                    // Where nobody is asked who he is, nobody is known.
                    const known = route.flags.includes('ROUTE_PUBLIC') ? { how: 'none', subject: null } : caller;
                    asked.push({ ...ask, caller: { ...known, address }, status: answer.status, error: answer.body?.error?.code, request: answer.headers['x-request-id'] });
                    statuses.add(answer.status);
                }
            for (const status of [401, 403, 404, 400, 426]) assert.ok(statuses.has(status), `${[...statuses]}`);
            const records = await behind(start, asked.length);
            assert.equal(records.length, asked.length);
            for (const [i, { caller, ...ask }] of asked.entries()) {
                const { seq, time, hash, ...record } = records[i];
                assert.equal(seq, start + 1 + i);
                assert.ok(Math.abs(time - Date.now()) < 600000);
                assert.match(hash, /^[0-9a-f]{64}$/);
                assert.deepEqual(record, {
                    subject: caller.subject, auth: caller.how, ...('uid' in caller && { uid: caller.uid }), ...(caller.key && { key: caller.key }),
                    address: caller.address, operation: ask.operation, target: ask.target ?? null, ...(ask.item && { item: ask.item }),
                    status: ask.status, ...(ask.error && { error: ask.error }), request: ask.request,
                });
            }
            const text = JSON.stringify(records);
            for (const secret of [SECRET, admin.token, reader.token]) assert.ok(!text.includes(secret));
        });

        test('what changes nothing leaves none', async () => {
            const start = await last();
            for (const { method, pattern } of routes.filter((route) => !audited.includes(route)))
                await daemon.api(method, pattern.replace('{id}', NOBODY).replace(/\{\w+\}/g, crypto.randomUUID()));
            const { headers } = await daemon.api('POST', '/v1/sandboxes', { body: { template: 'no-such-template' } });
            assert.deepEqual((await behind(start, 1)).map(({ request }) => request), [headers['x-request-id']]);
        });

        test('a sandbox\'s life, a session\'s, and no secret of them', async () => {
            const start = await last();
            const made = await daemon.ok('POST', '/v1/sandboxes', { ...as(alice), body: { template: 'node', env: { TOKEN: SECRET }, egress: 'none' } });
            const box = `/v1/sandboxes/${made.id}`;
            await daemon.ok('POST', `${box}/exec`, { ...as(alice), body: { command: `echo ${SECRET}` } });
            const socket = new WebSocket(`ws://127.0.0.1:${daemon.apiPort}${box}/exec?auth_token=${alice}`);
            await once(socket, 'open');
            socket.close();
            await once(socket, 'close');
            await daemon.ok('PUT', `${box}/files?path=${SECRET}`, { ...as(alice), body: Buffer.from(SECRET) });
            const stranger = await daemon.refused('DELETE', box, as(jwt('bob')));
            assert.equal(stranger.status, 404);
            await daemon.ok('DELETE', box, as(alice));
            const session = await daemon.ok('POST', '/v1/sessions', { ...as(alice), body: { title: SECRET } });
            await daemon.ok('DELETE', `/v1/sessions/${session.id.toUpperCase()}`, as(alice));
            const records = await behind(start, 8);
            const target = `sandboxes/${made.id}`, BOX = '/v1/sandboxes/{id}';
            assert.deepEqual(records.map((record) => [record.subject, record.auth, record.operation, record.target, record.error ?? record.status]), [
                ['alice', 'jwt', 'POST /v1/sandboxes', target, 201], ['alice', 'jwt', `POST ${BOX}/exec`, target, 200],
                ['alice', 'jwt', `GET ${BOX}/exec`, target, 101], ['alice', 'jwt', `PUT ${BOX}/files`, target, records[4 - 1].status],
                ['bob', 'jwt', `DELETE ${BOX}`, target, 'sandbox_not_found'], ['alice', 'jwt', `DELETE ${BOX}`, target, 204],
                ['alice', 'jwt', 'POST /v1/sessions', `sessions/${session.id}`, 201],
                ['alice', 'jwt', 'DELETE /v1/sessions/{session_id}', `sessions/${session.id}`, 204],
            ]);
            assert.ok(records[3].status < 300);
            const text = JSON.stringify(records);
            for (const secret of [SECRET, alice]) assert.ok(!text.includes(secret));

            const of = async (query) => (await page(`since=${start}&${query}`)).records;
            assert.deepEqual(await of(`sandbox=${made.id}`), records.slice(0, 6));
            assert.deepEqual(await of(`session=${session.id}`), records.slice(6));
            assert.deepEqual(await of('subject=bob'), [records[4]]);
            assert.deepEqual(await of(`subject=alice&sandbox=${made.id}`), records.filter((_, i) => i < 6 && i !== 4));
            const listed = await daemon.cli(['audit', 'ls', '--sandbox', made.id, '--since', `${start}`]);
            assert.equal(listed.code, 0, listed.stderr);
            assert.match(listed.stdout, /alice +jwt +127\.0\.0\.1 +POST \/v1\/sandboxes\/\{id\}\/exec +sandboxes\/\w+ +200/);
            assert.equal(listed.stdout.trim().split('\n').length, 7);
            const json = JSON.parse((await daemon.cli(['audit', '--json', '--limit', '2'])).stdout);
            assert.deepEqual(json, { records: [records[7], records[6]], more: true });
        });

        test('a login names the account that it was, never the password', async () => {
            const start = await last(), password = 'a password of some length', wrong = 'another one, which is wrong';
            const user = await daemon.ok('POST', '/v1/users', { body: { name: 'carol', password } });
            const login = (text) => daemon.api('POST', '/v1/auth/login', { ...as(null), body: { user: 'carol', password: text } });
            assert.equal((await login(wrong)).status, 401);
            const { token } = (await login(password)).body;
            const { id } = await daemon.ok('POST', '/v1/sessions', { ...as(token), body: { title: 'hers' } });
            const records = await behind(start, 4);
            assert.deepEqual(records.slice(1).map((record) => [record.subject, record.auth, record.operation, record.target, record.error ?? record.status]), [
                [null, 'none', 'POST /v1/auth/login', null, 'login_failed'], [user.id, 'account', 'POST /v1/auth/login', null, 200],
                [user.id, 'account', 'POST /v1/sessions', `sessions/${id}`, 201],
            ]);
            for (const secret of [password, wrong, token, 'carol']) assert.ok(!JSON.stringify(records).includes(secret), secret);
        });

        test('pages neither skip nor repeat', async () => {
            const all = (await page('since=0')).records, seen = [];
            for (let since = 0, more = true; more;) {
                const part = await daemon.ok('GET', `/v1/audit?since=${since}&limit=7`);
                assert.ok(part.records.length <= 7);
                seen.push(...part.records);
                ({ more } = part);
                since = part.records.at(-1).seq;
            }
            assert.deepEqual(seen, all);
            assert.deepEqual((await page(`before=${all[9].seq}&limit=3`)).records, [all[8], all[7], all[6]]);
        });

        test('only admins read it, and bad queries are named', async () => {
            const worker = await key('worker', 'sandboxes');
            for (const token of [reader.token, worker.token, alice])
                for (const url of ['/v1/audit', '/v1/audit/verify'])
                    assert.equal((await daemon.refused('GET', url, as(token))).status, 403);
            assert.equal((await daemon.api('GET', '/v1/audit', as(admin.token))).status, 200);
            for (const [query, field] of [['limit=0', '?limit'], ['limit=1001', '?limit'], ['sandbox=x', '?sandbox'], ['session=x', '?session'], ['since=1&before=2', '?before'], ['who=x', '?who']])
                assert.equal((await daemon.refused('GET', `/v1/audit?${query}`)).error.detail.field, field);
        });

        test('refusals for want of tokens are counted, not recorded', async () => {
            const start = await last();
            let limited = 0;
            for (let i = 0; i < 60; i++) {
                const { status } = await daemon.refused('POST', '/v1/tokens', as('nonsense', '127.0.2.1'));
                assert.ok([401, 429].includes(status));
                limited += status === 429;
            }
            assert.ok(limited > 20, `${limited}`);
            const counted = (records) => records.filter(({ operation }) => operation === 'audit.rate_limited').reduce((sum, { count }) => sum + count, 0);
            await until('they are counted', async () => counted((await page(`since=${start}`)).records) === limited, 25000);
            const records = (await page(`since=${start}`)).records;
            assert.equal(records.filter(({ operation }) => operation === 'POST /v1/tokens').length, 60 - limited);
        });

        test('a change, a gap, a swap and a cut are found and named', async () => {
            const { records } = await page('since=0');
            assert.deepEqual(await verify(), { ok: true, records: records.length, last: { seq: records.at(-1).seq, hash: records.at(-1).hash } });
            const whole = await daemon.cli(['audit', 'verify']);
            assert.equal(whole.code, 0, whole.stdout + whole.stderr);
            assert.ok(whole.stdout.includes(records.at(-1).hash));
            let before = '0'.repeat(64);
            for (const { hash, ...record } of records) {
                assert.equal(hash, crypto.createHash('sha256').update(before + JSON.stringify(record)).digest('hex'), 'by the documented formula');
                before = hash;
            }
            const k = records[20].seq, { hash: _, ...forged } = { ...records[20], subject: 'mallory' };
            const forgedHash = crypto.createHash('sha256').update(records[19].hash + JSON.stringify(forged)).digest('hex');
            const cases = [
                ['a changed record', `UPDATE audit SET record = replace(record, '"status":', '"status":1') WHERE seq = ${k}`, k],
                ['a changed subject', `UPDATE audit SET subject = 'mallory' WHERE seq = ${k}`, k],
                ['a changed target', `UPDATE audit SET target = 'sandboxes/${NOBODY}x' WHERE seq = ${k}`, k],
                ['a changed time', `UPDATE audit SET time = time - 1 WHERE seq = ${k}`, k],
                ['a changed hash', `UPDATE audit SET hash = '${'f'.repeat(64)}' WHERE seq = ${k}`, k],
                ['a record with its hash made anew', `UPDATE audit SET subject = 'mallory', record = '${JSON.stringify(forged)}', hash = '${forgedHash}' WHERE seq = ${k}`, k + 1],
                ['a removed record', `DELETE FROM audit WHERE seq = ${k}`, k],
                ['two that changed places', `UPDATE audit SET seq = 0 WHERE seq = ${k}; UPDATE audit SET seq = ${k} WHERE seq = ${k + 3}; UPDATE audit SET seq = ${k + 3} WHERE seq = 0`, k],
                ['the first one gone', 'DELETE FROM audit WHERE seq = 1', 1],
                ['the first ones gone as if pruned', `UPDATE audit_anchor SET seq = ${k}, hash = '${records[20].hash}'; DELETE FROM audit WHERE seq <= ${k}`, k],
                ['the last one gone', `DELETE FROM audit WHERE seq = ${records.at(-1).seq}`, records.at(-1).seq],
                ['all gone', 'DELETE FROM audit', 1],
                ['a record more', `INSERT INTO audit SELECT ${records.at(-1).seq + 1}, time, subject, target, record, hash FROM audit WHERE seq = ${k}`, records.at(-1).seq + 1],
            ];
            database.script(daemon, 'CREATE TABLE saved AS SELECT * FROM audit; CREATE TABLE saved_anchor AS SELECT * FROM audit_anchor');
            for (const [what, script, bad] of cases) {
                database.script(daemon, script);
                const found = await verify();
                assert.equal(found.ok, false, what);
                assert.equal(found.first_bad, bad, `${what}: ${JSON.stringify(found)}`);
                const told = await daemon.cli(['audit', 'verify']);
                assert.equal(told.code, 1, what);
                assert.match(told.stdout, new RegExp(`\\b${bad}\\b`), what);
                database.script(daemon, 'DELETE FROM audit; INSERT INTO audit SELECT * FROM saved; DELETE FROM audit_anchor; INSERT INTO audit_anchor SELECT * FROM saved_anchor');
                assert.equal((await verify()).ok, true, `after ${what}`);
            }
            database.script(daemon, 'DROP TABLE saved; DROP TABLE saved_anchor');
        });

        if (name === 'PostgreSQL')
            test('records wait for a database that is away', async () => {
                const start = await last();
                await database.kill();
                const asked = [];
                for (let i = 0; i < 20; i++) asked.push((await daemon.api('DELETE', `/v1/sandboxes/${NOBODY}`)).headers['x-request-id']);
                await database.startServer();
                await until('the database is back', async () => (await daemon.api('GET', '/readyz')).status === 200, 20000);
                assert.deepEqual((await behind(start, 20)).map(({ request }) => request), asked);
                assert.equal((await verify()).ok, true);
            });

        test('a killed API loses no record of what it acknowledged a second before', async () => {
            const start = await last(), acknowledged = new Map(), kills = [];
            const until_ = performance.now() + 6000;
            while (performance.now() < until_ || kills.length < 3) {
                const answer = await daemon.api('DELETE', `/v1/sandboxes/${NOBODY}`).catch(() => null);
                if (answer?.status === 404) acknowledged.set(answer.headers['x-request-id'], performance.now());
                if (performance.now() < until_ - 4500 + 1500 * kills.length) continue;
                kills.push(performance.now());
                process.kill(daemon.hostProgram('auracode-api'), 'SIGKILL');
                await until('the API is back', async () => (await daemon.api('GET', '/readyz').catch(() => null))?.status === 200, 20000);
            }
            await last();
            const seen = new Set();
            for (let since = start, more = true; more;) {
                const part = await page(`since=${since}`);
                for (const { request } of part.records) seen.add(request);
                ({ more } = part);
                since = part.records.at(-1).seq;
            }
            const lost = [...acknowledged].filter(([request]) => !seen.has(request));
            for (const [request, time] of lost)
                assert.ok(kills.some((kill) => time <= kill && kill - time < 1000), `${request} was acknowledged long before a kill`);
            assert.ok(acknowledged.size - lost.length > 100, `${acknowledged.size} - ${lost.length}`);
            assert.equal((await verify()).ok, true);
        });

        test('an API that ends in order writes all of them', async () => {
            const start = await last(), api = daemon.hostProgram('auracode-api'), asked = [];
            for (let i = 0; i < 50; i++) asked.push((await daemon.api('DELETE', `/v1/sandboxes/${NOBODY}`)).headers['x-request-id']);
            process.kill(api, 'SIGTERM');
            await until('the API has ended and is back', async () => !daemon.hostPrograms('auracode-api').includes(api)
                && (await daemon.api('GET', '/readyz').catch(() => null))?.status === 200, 20000);
            assert.deepEqual((await behind(start, 50)).map(({ request }) => request), asked);
        });

        test('what is older than keep_days goes, and the rest can still be verified', async () => {
            await daemon.terminate();
            const rows = [], old = 4500, fresh = 30;
            let hash = '0'.repeat(64);
            for (let seq = 1; seq <= old + fresh; seq++) {
                const time = Date.now() - (seq <= old ? 91 : 89) * DAY;
                const record = JSON.stringify({ seq, time, subject: null, auth: 'unix', uid: 0, address: null, operation: 'DELETE /v1/sandboxes/{id}', target: `sandboxes/${NOBODY}`, status: 204, request: `${seq}` });
                hash = crypto.createHash('sha256').update(hash + record).digest('hex');
                rows.push(`(${seq}, ${time}, '', 'sandboxes/${NOBODY}', '${record}', '${hash}')`);
            }
            database.script(daemon, `DELETE FROM audit; UPDATE audit_anchor SET seq = 0, hash = '${'0'.repeat(64)}'; INSERT INTO audit VALUES ${rows.join(', ')}`);
            await daemon.startDaemon();
            const { records } = await until('the old ones are gone', async () => {
                const part = await page('since=0');
                return part.records[0]?.seq === old + 1 && part;
            }, 20000);
            const pruned = records.filter(({ operation }) => operation === 'audit.prune');
            assert.deepEqual(pruned.map(({ through, seq }) => [through, seq]), [[old, old + fresh + 1]]);
            assert.deepEqual(await verify(), { ok: true, records: records.length, last: { seq: records.at(-1).seq, hash: records.at(-1).hash } });
        });
    });
}
