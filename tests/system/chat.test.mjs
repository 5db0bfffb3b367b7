// The message WebSocket of a session: browsers and agents with the `ws` package, on the real daemon, with both databases.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance, once, slow, userToken } from './harness.mjs';
import { Postgres, Sqlite } from './postgres.mjs';

const SECRET = 'a secret of at least thirty-two bytes';
const jwt = (sub, claims) => userToken(sub, SECRET, claims);

let daemon, alice, bob;

// One end of a session: messages as they come, and promises for those to come.
class Client {
    messages = [];
    #waiting = new Set();

    constructor(url, options) {
        this.socket = new WebSocket(url, options);
        this.closed = new Promise((resolve) => this.socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() })));
        this.socket.on('message', (data, binary) => {
            assert.equal(binary, false);
            this.messages.push(JSON.parse(data));
            for (const check of [...this.#waiting]) check();
        });
    }

    static async open(path, token, options) {
        const client = new Client(`ws://127.0.0.1:${daemon.apiPort}${path}${path.includes('?') ? '&' : '?'}auth_token=${token}`, options);
        await once(client.socket, 'open');
        return client;
    }

    send(message) {
        this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
    }

    // The first message, or the first after `from`, that this is true of.
    next(what, test, timeoutMs = 20000) {
        const check = typeof test === 'string' ? ({ type }) => type === test : test;
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => {
                this.#waiting.delete(look);
                reject(new Error(`(${this.messages.length} messages, ${this.socket.readyState}) no ${what} within ${timeoutMs} ms, but ${JSON.stringify(this.messages).slice(0, 300)}`));
            }, timeoutMs * slow);
            const look = () => {
                const found = this.messages.find(check);
                if (!found) return;
                clearTimeout(timer);
                this.#waiting.delete(look);
                resolve(found);
            };
            this.#waiting.add(look);
            look();
        });
    }

    // What it has got once a ping sent now has come back.
    async settled() {
        const id = crypto.randomUUID();
        this.send({ id, type: 'ping' });
        await this.next('pong', (message) => message.type === 'ping' && message.id === id);
        return this.messages.filter(({ type }) => type !== 'ping');
    }

    async close() {
        this.socket.close();
        await this.closed;
    }
}

const as = (token) => ({ headers: { authorization: `Bearer ${token}` }, host: { host: '127.0.0.1', port: daemon.apiPort } });
const session = (token = alice) => daemon.ok('POST', '/v1/sessions', { ...as(token), body: { title: 'x' } });
const pair = async (id, query = '') => [await Client.open(`/v1/sessions/${id}/ws${query}`, alice), await Client.open(`/v1/sessions/${id}/ws?role=agent`, alice)];

for (const [name, Database] of [['SQLite', Sqlite], ['PostgreSQL', Postgres]]) {
    describe(name, () => {
        let database;
        before(async () => {
            database = await Database.start();
            daemon = await Instance.start({
                ...(database.url && { database: { url: database.url, pool: 4 } }),
                auth: { jwt_secret: SECRET }, sandbox: { template: 'node', egress: 'none' },
            });
            [alice, bob] = [jwt(crypto.randomUUID()), jwt(crypto.randomUUID())];
        });
        after(async () => {
            await daemon?.stop();
            await database?.stop();
        });

        test('the flow of the public Beam demo', async () => {
            const browser = await Client.open('/', alice);
            browser.send({ type: 'init', timestamp: Date.now(), data: {} });
            const init = await browser.next('init', 'init', 60000);
            assert.match(init.data.sandbox_id, /^[a-z2-7]{12}$/);
            assert.equal(init.data.url, `http://${init.data.sandbox_id}.localhost:${daemon.proxyPort}/`);
            assert.equal(init.data.exists, false);
            assert.equal(init.session_id, init.data.session_id);
            assert.ok(browser.messages.some(({ type, data }) => type === 'update_in_progress' && data.stage === 'sandbox'), 'progress was told');
            const row = await daemon.ok('GET', `/v1/sessions/${init.session_id}`, as(alice));
            assert.equal(row.sandbox_id, init.data.sandbox_id);
            assert.equal(row.iframe_url, init.data.url);

            const agent = await Client.open(`/v1/sessions/${init.session_id}/ws?role=agent`, alice);
            browser.send({ id: 'u1', type: 'user', timestamp: 17, data: { text: 'Build a todo app' } });
            const user = await agent.next('user', 'user');
            assert.deepEqual([user.id, user.data.text, user.data.sender, user.timestamp], ['u1', 'Build a todo app', 'USER', 17]);
            for (const text of ['I', 'I will', 'I will build']) agent.send({ id: 'a1', type: 'agent_partial', data: { text } });
            await browser.next('the last partial', ({ type, data }) => type === 'agent_partial' && data.text === 'I will build');
            agent.send({ id: 'a1', type: 'agent_final', data: { text: 'I will build it' } });
            const final = await browser.next('final', 'agent_final');
            assert.equal(final.id, 'a1');
            await daemon.write(init.data.sandbox_id, 'src/todo.js', 'export {};');
            agent.send({ type: 'update_file', data: { path: 'src/todo.js' } });
            assert.equal((await browser.next('update_file', 'update_file')).data.path, 'src/todo.js');
            const watched = await browser.next('file_updated', ({ type, data }) => type === 'file_updated' && data.changes.some(({ path }) => path === 'src/todo.js'));
            assert.equal(watched.data.overflow, false);
            agent.send({ type: 'update_completed', data: {} });
            const completed = await browser.next('update_completed', 'update_completed');
            assert.equal(typeof completed.data.dev_server, 'string');
            const asked = { id: 'p1', type: 'ping', timestamp: 5, data: { n: 1 } };
            browser.send(asked);
            assert.deepEqual(await browser.next('ping', 'ping'), asked);

            // Another tab: the sandbox is there, and the past comes in order, as it was sent.
            const tab = await Client.open('/?since=0', alice);
            tab.send({ type: 'init', data: { session_id: init.session_id } });
            const again = await tab.next('init', 'init');
            assert.deepEqual([again.data.sandbox_id, again.data.url], [init.data.sandbox_id, init.data.url]);
            await tab.next('the past', ({ id }) => id === 'a1');
            assert.deepEqual(tab.messages.filter(({ data }) => data.seq).map(({ id, type, data }) => [id, type, data.text]),
                [['u1', 'user', 'Build a todo app'], ['a1', 'agent_final', 'I will build it']]);
            const { messages } = await daemon.ok('GET', `/v1/sessions/${init.session_id}/messages`, as(alice));
            assert.deepEqual(messages.map(({ type, sender, content }) => [type, sender, content]),
                [['user', 'USER', 'Build a todo app'], ['assistant', 'ASSISTANT', 'I will build it']]);
            await Promise.all([browser, agent, tab].map((client) => client.close()));
        });

        test('init names a private preview by a URL that opens it, also after its tokens were revoked', async () => {
            const { id } = await session();
            const open = async () => {
                const client = await Client.open(`/v1/sessions/${id}/ws`, alice);
                client.send({ type: 'init' });
                const { data } = await client.next('init', 'init', 60000);
                await client.close();
                return data;
            };
            const answer = async (url) => {
                const { host, pathname, search } = new URL(url);
                return (await daemon.api('GET', pathname + search, { host: { host: '127.0.0.1', port: daemon.proxyPort }, headers: { host, accept: 'text/html' } })).status;
            };
            const { sandbox_id: box, url: before } = await open();
            assert.doesNotMatch(before, /token/);
            await daemon.ok('PATCH', `/v1/sandboxes/${box}`, { body: { access: 'private' } });
            assert.equal(await answer(before), 401);
            const { url: first } = await open();
            assert.match(first, new RegExp(`^${before}\\?auracode_token=pt_`));
            assert.equal(await answer(first), 302);
            await daemon.ok('DELETE', `/v1/sandboxes/${box}/preview-tokens`);
            assert.equal(await answer(first), 403);
            assert.equal(await answer((await open()).url), 302);
            assert.equal((await daemon.ok('GET', `/v1/sessions/${id}`, as(alice))).iframe_url, before);
        });

        test('code_files brings the project\'s texts, and load_code asks for them', async () => {
            const { id } = await session();
            const [browser] = await pair(id);
            browser.send({ id: 'early', type: 'load_code' });
            assert.equal((await browser.next('refusal', 'error')).data.code, 'sandbox_not_running');
            browser.send({ type: 'init' });
            const { data: { sandbox_id } } = await browser.next('init', 'init', 60000);
            await daemon.write(sandbox_id, 'src/a.txt', 'ä');
            await daemon.write(sandbox_id, 'node_modules/x/index.js', 'no');
            await daemon.write(sandbox_id, 'bin.dat', Buffer.from([0, 1, 2]));
            browser.send({ id: 'q1', type: 'load_code' });
            const files = await browser.next('code_files', 'code_files');
            assert.equal(files.id, 'q1');
            assert.equal(files.data.files['src/a.txt'], 'ä');
            assert.deepEqual(Object.keys(files.data.files).filter((name) => /node_modules|bin\.dat/.test(name)), []);
            assert.equal(files.data.truncated, false);
            await browser.close();
        });

        test('a sandbox that was stopped is started again, and one that is another\'s is not used', async () => {
            const { id } = await session();
            const foreign = await daemon.ok('POST', '/v1/sandboxes', { ...as(bob), body: { template: 'node', egress: 'none' } });
            const [first] = await pair(id);
            first.send({ type: 'init' });
            const { data: { sandbox_id } } = await first.next('init', 'init', 60000);
            await daemon.ok('POST', `/v1/sandboxes/${sandbox_id}/stop`, as(alice));
            assert.equal((await first.next('the end', ({ type, data }) => type === 'error' && data.code === 'sandbox_ended')).session_id, id);
            first.messages.length = 0;
            first.send({ type: 'init' });
            const again = await first.next('init', 'init', 60000);
            assert.deepEqual([again.data.sandbox_id, again.data.exists], [sandbox_id, true]);
            await first.close();
            const theft = await daemon.ok('POST', '/v1/sessions', { ...as(alice), body: { title: 'theft', sandbox_id: foreign.id } });
            const thief = await Client.open(`/v1/sessions/${theft.id}/ws`, alice);
            thief.send({ type: 'init' });
            const made = await thief.next('init', 'init', 60000);
            assert.notEqual(made.data.sandbox_id, foreign.id);
            assert.equal(made.data.exists, false);
            await thief.close();
        });

        test('two who ask at once get the same sandbox', async () => {
            const { id } = await session();
            const clients = await Promise.all(Array.from({ length: 4 }, () => Client.open(`/v1/sessions/${id}/ws`, alice)));
            for (const client of clients) client.send({ type: 'init' });
            const ids = await Promise.all(clients.map(async (client) => (await client.next('init', 'init', 60000)).data.sandbox_id));
            assert.equal(new Set(ids).size, 1);
            await Promise.all(clients.map((client) => client.close()));
        });

        test('a bad message is answered with the field, and the connection lives', async () => {
            const { id } = await session();
            const [browser, agent] = await pair(id);
            const bad = [
                ['{', '', 'malformed_json'], ['[]', '(message)'], ['null', '', null], [{}, 'type'], [{ type: 'shout' }, 'type'], [{ type: 'assistant', data: { text: 'x' } }, 'type'],
                [{ type: 'user' }, 'data.text'], [{ type: 'user', data: { text: '' } }, 'data.text'], [{ type: 'user', data: { text: 5 } }, 'data.text'],
                [{ type: 'user', data: [] }, 'data'], [{ type: 'user', data: { text: 'x' }, id: 7 }, 'id'], [{ type: 'user', data: { text: 'x' }, id: 'x'.repeat(129) }, 'id'],
                [{ type: 'user', data: { text: 'x' }, timestamp: 'now' }, 'timestamp'], [{ type: 'user', data: { text: 'x'.repeat(524289) } }, 'data.text'],
                [{ type: 'init', session_id: crypto.randomUUID() }, 'session_id'], [{ type: 'init', data: { template: '../x' } }, 'data.template'],
            ];
            for (const [message, field, code = 'invalid_field'] of bad) {
                browser.messages.length = 0;
                browser.send(message);
                const error = await browser.next('error', 'error');
                assert.equal(typeof error.data.error, 'string');
                if (field) assert.equal(error.data.field, field, error.data.error);
                if (code) assert.equal(error.data.code, code, error.data.error);
            }
            agent.send({ type: 'user', data: { text: 'x' } });
            assert.equal((await agent.next('error', 'error')).data.field, 'type');
            browser.messages.length = 0;
            browser.socket.send(Buffer.from('{"type":"ping"}'), { binary: true });
            assert.equal((await browser.next('error', 'error')).data.code, 'malformed_json');
            browser.send({ id: 'ok', type: 'user', data: { text: 'still here' } });
            assert.equal((await agent.next('user', 'user')).data.text, 'still here');
            await Promise.all([browser.close(), agent.close()]);
        });

        test('several browsers and agents: each side hears the other, and its like', async () => {
            const { id } = await session();
            const [browsers, agents] = [[], []];
            for (let i = 0; i < 3; i++) {
                const [browser, agent] = await pair(id);
                browsers.push(browser);
                agents.push(agent);
            }
            browsers[0].send({ id: 'm', type: 'user', data: { text: 'hello' } });
            agents[0].send({ id: 'n', type: 'update_in_progress', data: { text: 'working' } });
            await Promise.all([...browsers.slice(1), ...agents].map((client) => client.next('hello', ({ id: got }) => got === 'm')));
            await Promise.all([...browsers, ...agents.slice(1)].map((client) => client.next('working', ({ id: got }) => got === 'n')));
            assert.equal((await browsers[0].settled()).filter(({ id: got }) => got === 'm').length, 0, 'nobody hears himself');
            await Promise.all([...browsers, ...agents].map((client) => client.close()));
        });

        test('acknowledgements come when a message is kept, once an id', async () => {
            const { id } = await session();
            const browser = await Client.open(`/v1/sessions/${id}/ws?acks=true`, alice);
            const other = await Client.open(`/v1/sessions/${id}/ws`, alice);
            for (let i = 0; i < 50; i++) browser.send({ id: `m${i % 25}`, type: 'user', data: { text: `${i % 25}` } });
            await browser.settled();
            await browser.next('the last', () => browser.messages.filter(({ type }) => type === 'ack').length === 50);
            const acks = browser.messages.filter(({ type }) => type === 'ack');
            for (let i = 0; i < 25; i++) assert.equal(acks[i].data.seq, acks[i + 25].data.seq);
            const { messages } = await daemon.ok('GET', `/v1/sessions/${id}/messages?limit=100`, as(alice));
            assert.deepEqual(messages.map(({ content }) => content), Array.from({ length: 25 }, (_, i) => `${i}`));
            assert.equal((await other.settled()).filter(({ type }) => type === 'user').length, 25);
            await Promise.all([browser.close(), other.close()]);
        });

        test('replay: all that was missed, in order, then what is new, none twice', async () => {
            const { id } = await session();
            const [browser, agent] = await pair(id, '?acks=true');
            // As many as may wait to be kept.
            for (let sent = 0; sent < 450;) {
                for (const most = Math.min(450, sent + 225); sent < most; sent++) browser.send({ id: `r${sent}`, type: 'user', data: { text: `${sent}` } });
                await browser.next('all acknowledged', () => browser.messages.filter(({ type }) => type === 'ack').length === sent, 60000);
            }
            const seqs = browser.messages.filter(({ type }) => type === 'ack').map(({ data }) => data.seq);
            const late = await Client.open(`/v1/sessions/${id}/ws?since=${seqs[99]}`, alice);
            for (let i = 450; i < 500; i++) browser.send({ id: `r${i}`, type: 'user', data: { text: `${i}` } });
            await late.next('the last', ({ data }) => data.text === '499', 60000);
            assert.deepEqual(late.messages.map(({ data }) => Number(data.text)), Array.from({ length: 400 }, (_, i) => i + 100));
            agent.send({ id: 'p', type: 'agent_partial', data: { text: 'half a' } });
            await late.next('partial', 'agent_partial');
            const later = await Client.open(`/v1/sessions/${id}/ws`, alice);
            assert.deepEqual((await later.settled()).map(({ type, data }) => [type, data.text]), [['agent_partial', 'half a']], 'a text that is being written');
            await Promise.all([browser, agent, late, later].map((client) => client.close()));
        });

        test('another tenant: 404 before the upgrade, an error after it', async () => {
            const { id } = await session();
            const refused = new Client(`ws://127.0.0.1:${daemon.apiPort}/v1/sessions/${id}/ws?auth_token=${bob}`);
            const [error] = await once(refused.socket, 'error').catch((reason) => [reason]);
            assert.match(String(error), /404/);
            const stranger = new Client(`ws://127.0.0.1:${daemon.apiPort}/v1/sessions/${id}/ws?auth_token=nonsense`);
            const [unknown] = await once(stranger.socket, 'error').catch((reason) => [reason]);
            assert.match(String(unknown), /401/);
            const client = await Client.open('/', bob);
            client.send({ type: 'init', session_id: id });
            assert.equal((await client.next('error', 'error')).data.code, 'session_not_found');
            client.send({ type: 'user', data: { text: 'x' } });
            assert.equal((await client.next('no session', ({ data }) => data.code === 'no_session')).type, 'error');
            await client.close();
        });

        test('large messages are compressed where the client can, and a bomb is refused', async () => {
            const { id } = await session();
            const [browser, agent] = await pair(id);
            assert.match(browser.socket.extensions, /permessage-deflate/);
            const plain = await Client.open(`/v1/sessions/${id}/ws`, alice, { perMessageDeflate: false });
            assert.equal(plain.socket.extensions, '');
            const text = 'The quick brown fox. '.repeat(20000);
            let before = browser.socket._socket.bytesRead;
            agent.send({ id: 'big', type: 'assistant', data: { text } });
            for (const client of [browser, plain]) assert.equal((await client.next('big', ({ id: got }) => got === 'big')).data.text, text);
            assert.ok(browser.socket._socket.bytesRead - before < text.length / 10, 'it came compressed');
            assert.ok(plain.socket._socket.bytesRead > text.length);
            browser.send({ type: 'user', data: { text: 'a'.repeat(4 << 20) } });
            assert.equal((await browser.closed).code, 1009);
            await Promise.all([agent, plain].map((client) => client.close()));
        });

        test('one that does not read is told and closed, and comes back with since', async () => {
            const { id } = await session();
            const [reader, agent] = await pair(id);
            const sleeper = await Client.open(`/v1/sessions/${id}/ws`, alice, { perMessageDeflate: false });
            sleeper.socket._socket.pause();
            const noise = crypto.randomBytes(150000).toString('hex');
            for (let i = 0; i < 60; i++) {
                agent.send({ id: `s${i}`, type: 'assistant', data: { text: `${i}:${noise}` } });
                await reader.next(`message ${i}`, ({ id: got }) => got === `s${i}`);
            }
            sleeper.socket._socket.resume();
            assert.equal((await sleeper.closed).code, 1013);
            assert.equal(sleeper.messages.at(-1).data.code, 'slow_reader');
            const last = sleeper.messages.filter(({ data }) => data.seq).at(-1)?.data.seq ?? 0;
            const back = await Client.open(`/v1/sessions/${id}/ws?since=${last}`, alice);
            await back.next('the last', ({ id: got }) => got === 's59');
            assert.equal(sleeper.messages.filter(({ data }) => data.seq).length + back.messages.filter(({ data }) => data.seq).length, 60);
            await Promise.all([reader, agent, back].map((client) => client.close()));
        });
    });
}
