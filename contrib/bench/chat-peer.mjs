// What chat.mjs measures beside: the least that a fan-out in Node with the `ws` package can be. Clients of one path are a
// room; what one sends goes to all others, as it is. Prints its port; nothing is checked, kept or bounded.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const { WebSocketServer } = createRequire(new URL('../../tests/system/', import.meta.url))('ws');
const rooms = new Map();
const server = createServer();
new WebSocketServer({ server }).on('connection', (socket, { url }) => {
    const room = rooms.get(url) ?? new Set();
    rooms.set(url, room.add(socket));
    socket.on('message', (data, binary) => { for (const other of room) if (other !== socket) other.send(data, { binary }); });
    socket.on('close', () => room.delete(socket));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
