// WS …/watch: changes of the project's files, whoever makes them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Instance, once, until } from './harness.mjs';

let daemon, id;
before(async () => {
    daemon = await Instance.start();
    ({ id } = await daemon.create({ egress: 'none' }));
});
after(() => daemon?.stop());

async function watch(query = '', sandbox = id) {
    const socket = new WebSocket(`ws+unix://${daemon.socket}:/v1/sandboxes/${sandbox}/watch${query}`);
    const told = { socket, messages: [], closed: new Promise((resolve) => socket.on('close', resolve)) };
    socket.on('message', (data) => told.messages.push(JSON.parse(data)));
    told.changes = () => told.messages.filter(({ type }) => type === 'files').flatMap(({ changes }) => changes.map(({ kind, path }) => `${kind} ${path}`));
    await once(socket, 'open');
    await until('it watches', () => told.messages[0]?.type === 'watching');
    return told;
}

const refusal = (sandbox, query = '') => new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws+unix://${daemon.socket}:/v1/sandboxes/${sandbox}/watch${query}`);
    socket.on('unexpected-response', (_, response) => { resolve(response.statusCode); socket.terminate(); });
    socket.on('open', () => reject(new Error('opened')));
    socket.on('error', () => {});
});

test('what commands and the file API change is told, below the folder that was asked for', async () => {
    const [all, some, same] = [await watch(), await watch('?path=src'), await watch('?path=/app/src/')];
    await daemon.output(id, 'mkdir -p src node_modules && echo 1 > src/a.js && echo 1 > srcs.js && echo 1 > node_modules/x');
    await daemon.write(id, 'src/b.js', 'two');
    for (const told of [all, some, same]) await until('both are told', () => ['src/a.js', 'src/b.js'].every((path) => told.changes().some((change) => change.endsWith(` ${path}`))));
    await daemon.output(id, 'rm src/a.js');
    for (const told of [all, some, same]) await until('its end is told', () => told.changes().includes('removed src/a.js'));
    assert.ok(all.changes().includes('created srcs.js'));
    assert.ok(!all.changes().some((change) => change.includes('node_modules/')));
    for (const told of [some, same]) assert.deepEqual(told.changes().filter((change) => !/ src(\/|$)/.test(change)), []);
    for (const told of [all, some, same]) told.socket.terminate();
});

test('it ends with the sandbox, and for who speaks', async () => {
    const rude = await watch();
    rude.socket.send('hello');
    assert.equal(await rude.closed, 1008);
    const { id: other } = await daemon.create({ egress: 'none' });
    const told = await watch('', other);
    await daemon.ok('POST', `/v1/sandboxes/${other}/stop`);
    assert.equal(await told.closed, 1001);
    assert.equal(await refusal(other), 409);
    await daemon.remove(other);
    assert.equal(await refusal(other), 404);
    assert.equal(await refusal(id, '?depth=1'), 400);
});
