// Webhooks on both databases: what is sent and to whom, its signature, attempts again, the dead ones, and where it may
// not be sent to.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { Instance, until } from './harness.mjs';
import { Postgres, Sqlite } from './postgres.mjs';

// A receiver that keeps what it got, and answers as `answer` says.
class Receiver {
    got = [];
    answer = (request, response) => response.writeHead(204).end();

    static async start() {
        const receiver = new Receiver();
        receiver.server = http.createServer(async (request, response) => {
            const chunks = [];
            for await (const chunk of request) chunks.push(chunk);
            const body = Buffer.concat(chunks).toString();
            receiver.got.push({ method: request.method, url: request.url, headers: request.headers, body, event: JSON.parse(body) });
            receiver.answer(request, response);
        });
        await new Promise((resolve) => receiver.server.listen(0, '127.0.0.1', resolve));
        receiver.port = receiver.server.address().port;
        return receiver;
    }

    url(path, host = '127.0.0.1') {
        return `http://${host}:${this.port}${path}`;
    }

    at(path) {
        return this.got.filter(({ url }) => url === path);
    }

    stop() {
        this.server.closeAllConnections();
        return new Promise((resolve) => this.server.close(resolve));
    }
}

for (const [name, Database] of [['SQLite', Sqlite], ['PostgreSQL', Postgres]]) {
    describe(name, () => {
        let database, daemon, receiver, alice, bob;
        const settings = (more = {}) => ({
            ...(database.url && { database: { url: database.url, pool: 4 } }), webhooks: { allow_private: 'yes', retry: 1, give_up: 2, ...more },
        });
        const as = (token) => ({ headers: { authorization: `Bearer ${token}` }, host: { host: '127.0.0.1', port: daemon.apiPort } });
        const hook = (path, body = {}, who = as(alice)) => daemon.ok('POST', '/v1/webhooks', { ...who, body: { url: receiver.url(path), ...body } });
        const make = (token, body = {}) => daemon.ok('POST', '/v1/sandboxes', { ...as(token), body: { template: 'node', egress: 'none', ...body } });
        const remove = (token, id) => daemon.ok('DELETE', `/v1/sandboxes/${id}`, as(token));
        const failures = async (id) => (await daemon.ok('GET', `/v1/webhooks/${id}/failures`, as(alice))).failures;
        const states = (path, id) => receiver.at(path).filter(({ event }) => event.sandbox_id === id && event.type === 'sandbox.state').map(({ event }) => event.data.state);

        before(async () => {
            database = await Database.start();
            receiver = await Receiver.start();
            daemon = await Instance.start(settings());
            const key = async (owner) => (await daemon.ok('POST', '/v1/tokens', { body: { name: owner, owner, scopes: ['sandboxes'] } })).token;
            [alice, bob] = [await key('alice'), await key('bob')];
        });
        after(async () => {
            await daemon?.stop();
            await receiver?.stop();
            await database?.stop();
        });

        test('a webhook is made, read, changed, listed and removed, by its owner alone', async () => {
            const made = await hook('/crud', { events: ['ports'], active: false });
            assert.match(made.secret, /^whsec_[0-9a-f]{64}$/);
            const { secret, ...shown } = made, url = `/v1/webhooks/${made.id}`;
            assert.deepEqual(await daemon.ok('GET', url, as(alice)), shown);
            assert.deepEqual((await daemon.ok('GET', '/v1/webhooks', as(alice))).webhooks, [shown]);
            assert.deepEqual((await daemon.ok('GET', '/v1/webhooks', as(bob))).webhooks, []);
            assert.deepEqual((await daemon.ok('GET', '/v1/webhooks')).webhooks, [shown], 'an admin sees all');
            for (const [method, path, body] of [['GET', ''], ['PATCH', '', { active: true }], ['DELETE', ''], ['GET', '/failures'], ['POST', '/redeliver', {}]]) {
                const refusal = await daemon.refused(method, url + path, { ...as(bob), body });
                assert.deepEqual([refusal.status, refusal.code], [404, 'webhook_not_found'], `${method} ${path}`);
            }
            const changed = await daemon.ok('PATCH', url, { ...as(alice), body: { url: 'https://example.com/x', events: [], secret: 'sixteen bytes and' } });
            assert.deepEqual(changed, { ...shown, url: 'https://example.com/x', events: [] });
            await daemon.ok('DELETE', url, as(alice));
            assert.equal((await daemon.refused('GET', url, as(alice))).code, 'webhook_not_found');
        });

        test('bad fields are named', async () => {
            const bad = [
                [{}, 'url'], [{ url: 'ftp://example.com/' }, 'url'], [{ url: 'http://' }, 'url'], [{ url: 'http://user:pass@example.com/' }, 'url'], [{ url: 'file:///etc/passwd' }, 'url'],
                [{ url: 'http://example.com/', events: ['weather'] }, 'events'], [{ url: 'http://example.com/', secret: 'short' }, 'secret'], [{ url: 'http://example.com/', colour: 1 }, 'colour'],
            ];
            for (const [body, field] of bad)
                assert.equal((await daemon.refused('POST', '/v1/webhooks', { ...as(alice), body })).error.detail.field, field, JSON.stringify(body));
            const made = [];
            for (let i = 0; i < 32; i++) made.push((await daemon.ok('POST', '/v1/webhooks', { ...as(bob), body: { url: 'http://example.com/' } })).id);
            assert.equal((await daemon.refused('POST', '/v1/webhooks', { ...as(bob), body: { url: 'http://example.com/' } })).code, 'webhooks_limit');
            for (const id of made) await daemon.ok('DELETE', `/v1/webhooks/${id}`, as(bob));
        });

        test('events arrive with a signature, at those that they concern', async () => {
            const secret = 'a secret of our own';
            const hooks = [await hook('/alice', { secret }), await hook('/bob', {}, as(bob)), await hook('/admin', {}, {}), await hook('/ports', { events: ['ports'] }), await hook('/off', { active: false })];
            const { id } = await make(alice);
            await remove(alice, id);
            await until('the removal arrives', () => states('/alice', id).includes('removed') && states('/admin', id).includes('removed'), 15000);
            assert.ok(states('/alice', id).includes('running'));
            for (const path of ['/bob', '/off']) assert.deepEqual(receiver.at(path), [], path);
            assert.ok(receiver.at('/ports').every(({ event }) => event.type === 'ports'));
            const { headers, body, event, method } = receiver.at('/alice')[0];
            assert.equal(method, 'POST');
            assert.equal(headers['content-type'], 'application/json');
            assert.equal(headers['x-auracode-event'], event.type);
            assert.match(headers['x-auracode-delivery'], /^\d+$/);
            assert.match(headers['user-agent'], /^AuraCode\//);
            const [, time, mac] = headers['x-auracode-signature'].match(/^t=(\d+),v1=([0-9a-f]{64})$/);
            assert.equal(mac, crypto.createHmac('sha256', secret).update(`${time}.${body}`).digest('hex'));
            assert.ok(Math.abs(time - Date.now() / 1000) < 120);
            assert.deepEqual(Object.keys(event), ['id', 'type', 'timestamp', 'sandbox_id', 'data']);
            const all = receiver.got.map(({ headers }) => headers['x-auracode-delivery']);
            assert.equal(new Set(all).size, all.length, 'each of them once');
            for (const made of hooks) await daemon.ok('DELETE', `/v1/webhooks/${made.id}`);
        });

        test('what fails is tried again, with the same number, until it succeeds', async () => {
            let refusals = 1;
            receiver.answer = (request, response) => response.writeHead(request.url === '/flaky' && refusals-- > 0 ? 503 : 200).end('x'.repeat(200000));
            const made = await hook('/flaky', { events: ['sandbox.state'] });
            const { id } = await make(alice);
            await until('the first one came twice', () => receiver.at('/flaky').some(({ headers }, i, all) =>
                all.findIndex((other) => other.headers['x-auracode-delivery'] === headers['x-auracode-delivery']) < i), 15000);
            await remove(alice, id);
            await until('all states', () => states('/flaky', id).includes('removed'), 15000);
            assert.deepEqual(await failures(made.id), []);
            await daemon.ok('DELETE', `/v1/webhooks/${made.id}`, as(alice));
        });

        test('what fails for too long is dead, is listed, and can be sent again', async () => {
            receiver.answer = (request, response) => (request.url === '/moved' ? response.writeHead(302, { location: receiver.url('/target') }) : response.writeHead(500)).end();
            const broken = await hook('/broken', { events: ['sandbox.state'] }), moved = await hook('/moved', { events: ['sandbox.state'] });
            const { id } = await make(alice);
            await remove(alice, id);
            const dead = await until('they are dead', async () => {
                const list = await failures(broken.id);
                return list.some(({ event }) => event.data.state === 'removed') && list.length >= 2 && list;
            }, 30000);
            for (const failure of dead) {
                assert.equal(failure.status, 500);
                assert.equal(failure.error, 'status 500');
                assert.ok(failure.attempts >= 2, `${failure.attempts} attempts`);
                assert.equal(failure.event.sandbox_id, id);
            }
            const redirected = await until('so are the redirected ones', async () => { const list = await failures(moved.id); return list.length > 0 && list; }, 30000);
            assert.match(redirected[0].error, /redirects are not followed/);
            assert.deepEqual(receiver.at('/target'), []);

            receiver.answer = (request, response) => response.writeHead(200).end();
            const seen = receiver.at('/broken').length;
            const one = await daemon.ok('POST', `/v1/webhooks/${broken.id}/redeliver`, { ...as(alice), body: { delivery: dead[0].delivery } });
            assert.deepEqual(one, { redelivered: 1 });
            await until('it arrives', () => receiver.at('/broken').length > seen, 15000);
            assert.equal(receiver.at('/broken').at(-1).headers['x-auracode-delivery'], `${dead[0].delivery}`);
            const rest = await daemon.ok('POST', `/v1/webhooks/${broken.id}/redeliver`, as(alice));
            assert.equal(rest.redelivered, dead.length - 1);
            await until('the others arrive', () => receiver.at('/broken').length >= seen + dead.length, 15000);
            assert.deepEqual(await failures(broken.id), []);
            for (const { id: made } of [broken, moved]) await daemon.ok('DELETE', `/v1/webhooks/${made}`, as(alice));
        });

        test('a receiver that does not answer holds up no other, and the end of the sender loses nothing', async () => {
            const held = [];
            receiver.answer = (request, response) => (request.url === '/silent' ? held.push(response) : response.writeHead(200).end());
            const silent = await hook('/silent', { events: ['sandbox.state'] }), prompt = await hook('/prompt');
            const { id } = await make(alice);
            await until('both are asked', () => receiver.at('/silent').length > 0 && states('/prompt', id).includes('running'), 15000);
            process.kill(daemon.hostProgram('auracode-hook'), 'SIGKILL');
            await remove(alice, id);
            await until('another one sends', () => states('/prompt', id).includes('removed'), 20000);
            for (const response of held) response.destroy();
            for (const made of [silent, prompt]) await daemon.ok('DELETE', `/v1/webhooks/${made.id}`, as(alice));
        });

        test('a killed API goes on with what it had, a restarted daemon too', async () => {
            receiver.answer = (request, response) => response.writeHead(500).end();
            const made = await hook('/later', { events: ['sandbox.state'] });
            const { id } = await make(alice);
            await until('a first attempt', () => receiver.at('/later').length > 0, 15000);
            process.kill(daemon.hostProgram('auracode-api'), 'SIGKILL');
            receiver.answer = (request, response) => response.writeHead(200).end();
            const numbers = (list) => list.map(({ headers }) => headers['x-auracode-delivery']);
            const refused = receiver.at('/later'), sent = () => numbers(receiver.at('/later').slice(refused.length));
            await until('what failed is sent by the next one', () => numbers(refused).every((number) => sent().includes(number)), 70000);
            await daemon.restartDaemon();
            const before = receiver.at('/later').length;
            await remove(alice, id);
            await until('events go on', () => receiver.at('/later').length > before && states('/later', id).includes('removed'), 20000);
            await daemon.ok('DELETE', `/v1/webhooks/${made.id}`, as(alice));
        });

        test('the sender is confined, and the doctor says so', async () => {
            const pid = daemon.programPids()['auracode-hook'], status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
            assert.match(status, /^CapEff:\s+0+$/m);
            assert.match(status, /^CapBnd:\s+0+$/m);
            assert.match(status, /^NoNewPrivs:\s+1$/m);
            assert.match(status, /^Seccomp:\s+2$/m);
            assert.doesNotMatch(status, /^Uid:\s+0\b/m);
            assert.deepEqual(fs.readdirSync(`/proc/${pid}/root/etc`).filter((file) => ['passwd', 'shadow', 'auracode'].includes(file)), []);
            const finding = JSON.stringify(await daemon.ok('GET', '/v1/doctor'));
            assert.match(finding, /auracode-hook/);
            assert.doesNotMatch(finding, /the HOST's/);
        });

        test('by default nothing that is not public is reached, by address, by name or by redirect', async () => {
            await daemon.terminate();
            daemon.writeConfig(settings({ allow_private: 'no', give_up: 1 }));
            await daemon.startDaemon();
            receiver.answer = (request, response) => response.writeHead(200).end();
            const hosts = ['127.0.0.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '2130706433', '0x7f.1', '0.0.0.0', '169.254.169.254', '10.0.0.1'];
            const made = [];
            for (const host of hosts) made.push(await daemon.ok('POST', '/v1/webhooks', { ...as(alice), body: { url: receiver.url('/inside', host), events: ['sandbox.state'] } }));
            const { id } = await make(alice);
            await remove(alice, id);
            for (const [i, { id: one }] of made.entries()) {
                const list = await until(`${hosts[i]} is refused`, async () => { const found = await failures(one); return found.length > 0 && found; }, 30000);
                assert.match(list[0].error, /is not public/, `${hosts[i]}: ${list[0].error}`);
                assert.equal(list[0].status, 0);
            }
            assert.deepEqual(receiver.at('/inside'), []);
        });
    });
}
