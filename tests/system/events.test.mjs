// WS /v1/events: states, dev servers, ports and ends of processes as they happen, again after an absence, and only to
// those who may see the sandbox.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance, once, until } from './harness.mjs';

let daemon;
before(async () => { daemon = await Instance.start(); });
after(() => daemon?.stop());

const SERVER = 'require("http").createServer((q, r) => r.end("up")).listen(3000, "127.0.0.1");';

class Watch {
    events = [];

    static async open(query = '', { key, over } = {}) {
        const watch = new Watch();
        watch.socket = over ?? new WebSocket(key ? `ws://127.0.0.1:${daemon.apiPort}/v1/events${query}` : `ws+unix://${daemon.socket}:/v1/events${query}`,
            { headers: key ? { authorization: `Bearer ${key}` } : {} });
        watch.socket.on('message', (data) => watch.events.push(JSON.parse(data)));
        watch.closed = new Promise((resolve) => watch.socket.on('close', resolve));
        await once(watch.socket, 'open');
        await watch.next(({ type }) => type === 'replayed');
        return watch;
    }

    next(matches) {
        return until('the event comes', () => this.events.find(matches));
    }

    of(id) {
        return this.events.filter((event) => event.sandbox_id === id);
    }

    close() {
        this.socket.terminate();
    }
}

const key = async (owner) => (await daemon.ok('POST', '/v1/tokens', { body: { name: `events-${owner}`, owner, scopes: ['sandboxes'] } })).token;
const refusal = (query, headers = {}) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.apiPort}/v1/events${query}`, { headers });
    socket.on('unexpected-response', (_, response) => { resolve(response.statusCode); socket.terminate(); });
    socket.on('open', () => reject(new Error('opened')));
    socket.on('error', () => {});
});

test('a sandbox\'s life is told in order', async () => {
    const watch = await Watch.open();
    const { id } = await daemon.create({ egress: 'none', name: 'told' });
    await daemon.write(id, 'server.js', SERVER);
    await daemon.devServer(id, { command: 'exec node server.js', port: 3000 });
    await watch.next(({ type, data }) => type === 'dev_server.state' && data.service.state === 'ready');
    await watch.next(({ type, data }) => type === 'ports' && data.ports.some(({ port }) => port === 3000));
    await daemon.exec(id, 'exit 7');
    const exit = await watch.next(({ type, data }) => type === 'process.exit' && data.process.exit_code === 7);
    assert.equal(exit.sandbox_id, id);
    await daemon.ok('POST', `/v1/sandboxes/${id}/stop`);
    await daemon.remove(id);
    await watch.next(({ type, data, sandbox_id }) => type === 'sandbox.state' && sandbox_id === id && data.state === 'removed');
    const mine = watch.of(id);
    const states = mine.filter(({ type }) => type === 'sandbox.state').map(({ data }) => data.state);
    assert.deepEqual(states, ['creating', 'running', 'stopping', 'stopped', 'removing', 'removed']);
    const stopped = mine.find(({ type, data }) => type === 'sandbox.state' && data.state === 'stopped');
    assert.equal(stopped.data.cause, 'request');
    assert.match(stopped.data.url, new RegExp(id));
    for (const [i, event] of mine.entries()) {
        assert.ok(Number.isSafeInteger(event.id) && (i === 0 || event.id > mine[i - 1].id));
        assert.ok(Math.abs(Date.now() - event.timestamp) < 60000);
    }
    watch.close();
});

test('who comes back with the last id gets what came since, once; also of what was removed', async () => {
    const first = await Watch.open();
    const { id } = await daemon.create({ egress: 'none' });
    await first.next(({ sandbox_id, data }) => sandbox_id === id && data.state === 'running');
    first.close();
    const { id: last } = first.events.at(-1);
    await daemon.exec(id, 'exit 3');
    await daemon.remove(id);
    const again = await Watch.open(`?since=${last}`);
    assert.deepEqual(again.of(id).map(({ type, data }) => data.state && type === 'sandbox.state' ? data.state : `${type} ${data.process.exit_code}`),
        ['process.exit 3', 'removing', 'removed']);
    assert.ok(again.events.every((event) => event.type !== 'gap' && event.id > last));
    again.close();
    const behind = await Watch.open(`?since=${again.events.at(-1).id}`);
    assert.deepEqual(behind.events.map(({ type }) => type), ['replayed']);
    behind.close();
});

test('one sandbox alone; another\'s cannot be told from one that is not there', async () => {
    const [ann, bob] = [await key('ann'), await key('bob')];
    const make = async (token) => (await daemon.ok('POST', '/v1/sandboxes', { body: { template: 'node', egress: 'none' }, headers: { authorization: `Bearer ${token}` }, host: { host: '127.0.0.1', port: daemon.apiPort } })).id;
    const hers = await make(ann), his = await make(bob);
    const all = await Watch.open('?since=0'), she = await Watch.open('?since=0', { key: ann }), one = await Watch.open(`?since=0&sandbox=${his}`);
    await daemon.exec(hers, 'exit 1');
    await daemon.exec(his, 'exit 2');
    await all.next(({ type, sandbox_id }) => type === 'process.exit' && sandbox_id === his);
    await one.next(({ type }) => type === 'process.exit');
    await she.next(({ type }) => type === 'process.exit');
    assert.ok(all.of(hers).length > 0);
    assert.deepEqual([...new Set(she.events.filter(({ sandbox_id }) => sandbox_id).map(({ sandbox_id }) => sandbox_id))], [hers]);
    assert.deepEqual([...new Set(one.events.filter(({ sandbox_id }) => sandbox_id).map(({ sandbox_id }) => sandbox_id))], [his]);
    const auth = { authorization: `Bearer ${ann}` };
    assert.equal(await refusal(`?sandbox=${his}`, auth), 404);
    assert.equal(await refusal('?sandbox=aaaaaaaaaaaa', auth), 404);
    assert.equal(await refusal('?sandbox=No', auth), 400);
    assert.equal(await refusal('?since=x', auth), 400);
    assert.equal(await refusal(''), 401);
    for (const watch of [all, she, one]) watch.close();
    await Promise.all([hers, his].map((id) => daemon.remove(id)));
});

test('one that makes noise is counted, costs no other its history, and a gap is told', async () => {
    const { id: quiet } = await daemon.create({ egress: 'none' });
    const { id } = await daemon.create({ egress: 'none' });
    const watch = await Watch.open();
    const { id: start } = watch.events.at(-1);
    await daemon.exec(quiet, 'exit 5');
    const many = Array.from({ length: 300 }, (_, i) => daemon.exec(id, `exit ${i % 100}`));
    await Promise.all(many);
    const dropped = await watch.next(({ type }) => type === 'events.dropped');
    assert.equal(dropped.sandbox_id, id);
    assert.ok(dropped.data.count > 0);
    for (let second = 0; second < 5; second++) {
        const before = Date.now();
        await Promise.all(Array.from({ length: 40 }, (_, i) => daemon.exec(id, `exit ${i}`)));
        await until('the next second', () => Date.now() - before > 1000);
    }
    const again = await Watch.open(`?since=${start}`);
    assert.ok(again.of(quiet).some(({ type }) => type === 'process.exit'), 'the other\'s history is there');
    assert.deepEqual(again.events.filter(({ type }) => type === 'gap').map(({ sandbox_id }) => sandbox_id), [id]);
    assert.ok(again.of(id).length <= 65);
    watch.close();
    again.close();
    await Promise.all([quiet, id].map((one) => daemon.remove(one)));
});

test('it is a socket to listen to: who speaks is closed; a restarted API tells that it knows nothing from before', async () => {
    const rude = await Watch.open();
    rude.socket.send('hello');
    assert.equal(await rude.closed, 1008);
    const { id: before } = rude.events.at(-1);
    const { id } = await daemon.create({ egress: 'none' });
    const pid = daemon.programPids()['auracode-api'];
    process.kill(pid, 'SIGKILL');
    await until('another API', () => daemon.programPids()['auracode-api'] !== pid);
    await daemon.exec(id, 'exit 4');
    const watch = await until('it serves', () => Watch.open(`?since=${before}`).catch(() => null));
    assert.equal(watch.events[0].type, 'gap');
    assert.equal(watch.events[0].sandbox_id, undefined);
    await daemon.exec(id, 'exit 6');
    await watch.next(({ type, data }) => type === 'process.exit' && data.process.exit_code === 6);
    watch.close();
    await daemon.killDaemon();
    const orphan = await Watch.open();
    await daemon.startDaemon();
    await daemon.remove(id);
    await orphan.next(({ sandbox_id, data }) => sandbox_id === id && data.state === 'removed');
    orphan.close();
});

test('`auracode events` prints them, and follows over a restart of the API', async () => {
    const { id } = await daemon.create({ egress: 'none', name: 'followed' });
    await daemon.exec(id, 'exit 9');
    const printed = await until('they are kept', async () => {
        const { code, stdout, stderr } = await daemon.cli(['events', 'followed']);
        assert.equal(code, 0, stderr);
        return /process\.exit/.test(stdout) && stdout;
    });
    assert.match(printed, new RegExp(`^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d\\.\\d{3}  ${id}  sandbox\\.state     running`, 'm'));
    const child = spawn(daemon.cliProgram, ['events', '--follow', '--json', 'followed'], { env: { AURACODE_SOCKET: daemon.socket }, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (data) => { out += data; });
    await until('what is kept', () => /"exit_code":9/.test(out));
    process.kill(daemon.programPids()['auracode-api'], 'SIGKILL');
    await until('what comes', async () => {
        await daemon.exec(id, 'exit 11').catch(() => {});
        return /"exit_code":11/.test(out);
    });
    for (const line of out.trim().split('\n')) JSON.parse(line);
    child.kill();
    await once(child, 'exit');
    assert.match((await daemon.cli(['events', '--since', 'x'])).stderr, /--since/);
    assert.notEqual((await daemon.cli(['events', 'nobody'])).code, 0);
    await daemon.remove(id);
});
