// An owner sees its own sandboxes only: whatever it asks for by another's id is answered as if it did not exist.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance } from './harness.mjs';

let daemon, mine, theirs, token, foreign, process_id;
const host = () => ({ host: '127.0.0.1', port: daemon.apiPort });
const bearer = (value) => ({ authorization: `Bearer ${value}` });

before(async () => {
    daemon = await Instance.start();
    const make = async (owner) => (await daemon.ok('POST', '/v1/tokens', { body: { name: owner, owner, scopes: ['sandboxes'] } })).token;
    [token, foreign] = [await make('alice'), await make('bob')];
    mine = await daemon.ok('POST', '/v1/sandboxes', { body: { template: 'node', name: 'mine', egress: 'none' }, headers: bearer(token), host: host() });
    theirs = await daemon.ok('POST', '/v1/sandboxes', { body: { template: 'node', name: 'theirs', egress: 'none' }, headers: bearer(foreign), host: host() });
    ({ process_id } = await daemon.exec(mine.id, 'sleep 1000', { background: true }));
    await daemon.write(mine.id, 'secret.txt', 'alice\'s');
});
after(() => daemon?.stop());

const requests = (id) => [
    ['GET', `/v1/sandboxes/${id}`], ['PATCH', `/v1/sandboxes/${id}`, {}], ['DELETE', `/v1/sandboxes/${id}`],
    ['POST', `/v1/sandboxes/${id}/start`], ['POST', `/v1/sandboxes/${id}/stop`, {}], ['GET', `/v1/sandboxes/${id}/stats`],
    ['POST', `/v1/sandboxes/${id}/exec`, { command: 'cat /app/secret.txt' }], ['GET', `/v1/sandboxes/${id}/processes`],
    ['GET', `/v1/sandboxes/${id}/processes/${process_id}`], ['DELETE', `/v1/sandboxes/${id}/processes/${process_id}`],
    ['GET', `/v1/sandboxes/${id}/processes/${process_id}/logs`], ['GET', `/v1/sandboxes/${id}/logs`],
    ['GET', `/v1/sandboxes/${id}/files?path=secret.txt`], ['PUT', `/v1/sandboxes/${id}/files?path=new.txt`, 'x'],
    ['DELETE', `/v1/sandboxes/${id}/files?path=secret.txt`], ['GET', `/v1/sandboxes/${id}/tree`],
    ['GET', `/v1/sandboxes/${id}/dev-server`], ['PUT', `/v1/sandboxes/${id}/dev-server`, { command: 'true' }],
    ['DELETE', `/v1/sandboxes/${id}/dev-server`], ['GET', `/v1/sandboxes/${id}/ports`],
];

test('every request by another owner\'s id is 404, as for an id that nobody has', async (t) => {
    const asked = requests(mine.id), nowhere = requests('aaaaaaaaaaaa');
    for (const [i, [method, url, body]] of asked.entries())
        await t.test(`${method} ${url}`, async () => {
            const ask = (where) => daemon.refused(method, where, {
                body, host: host(),
                headers: { ...bearer(foreign), ...(typeof body === 'string' && { 'content-type': 'application/octet-stream' }) },
            });
            const [refusal, absent] = [await ask(url), await ask(nowhere[i][1])];
            assert.equal(refusal.status, 404, refusal.message);
            assert.equal(refusal.code, absent.code);
            assert.equal(refusal.message.replace(mine.id, 'aaaaaaaaaaaa'), absent.message, 'the answer tells nothing');
        });
    assert.equal((await daemon.ok('GET', `/v1/sandboxes/${mine.id}`)).state, 'running');
    assert.equal((await daemon.read(mine.id, 'secret.txt')).toString(), 'alice\'s');
    assert.equal((await daemon.ok('GET', `/v1/sandboxes/${mine.id}/processes/${process_id}`)).state, 'running');
});

test('its owner may', async () => {
    const options = { headers: bearer(token), host: host() };
    assert.equal((await daemon.ok('GET', `/v1/sandboxes/${mine.id}`, options)).id, mine.id);
});

test('a listing holds the asker\'s own', async () => {
    const list = async (value) => (await daemon.ok('GET', '/v1/sandboxes', { headers: bearer(value), host: host() })).sandboxes.map(({ id }) => id);
    assert.deepEqual(await list(token), [mine.id]);
    assert.deepEqual(await list(foreign), [theirs.id]);
});

test('a WebSocket to another owner\'s sandbox is 404', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.apiPort}/v1/sandboxes/${mine.id}/exec?auth_token=${foreign}`);
    socket.on('error', () => {});
    const [, response] = await new Promise((resolve) => socket.once('unexpected-response', (...values) => resolve(values)));
    assert.equal(response.statusCode, 404);
    response.resume();
});

test('an owner cannot be claimed, nor tokens made, without the scope', async () => {
    const options = { headers: bearer(foreign), host: host() };
    const claim = await daemon.api('POST', '/v1/sandboxes', { ...options, body: { template: 'node', owner: 'alice', egress: 'none' } });
    if (claim.status === 201) {
        assert.equal(claim.body.owner, 'bob');
        await daemon.remove(claim.body.id);
    } else {
        assert.ok([400, 403].includes(claim.status), `${claim.status}`);
    }
    assert.equal((await daemon.refused('POST', '/v1/tokens', { ...options, body: { name: 'x', owner: 'alice', scopes: ['admin'] } })).status, 403);
    assert.equal((await daemon.refused('GET', '/v1/tokens', options)).status, 403);
});
