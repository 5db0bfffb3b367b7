// What is outside of the machine under test: services that tell where they were reached, and a name server that answers
// what the test tells it to. Runs in a network namespace of its own; one JSON object a line on stdin: {zone}; on stdout:
// {"ready":true}, then {"asked":{name,type,tcp}} for every question.
import dgram from 'node:dgram';
import net from 'node:net';
import os from 'node:os';
import readline from 'node:readline';
import packet from 'dns-packet';

const [address, ...ports] = process.argv.slice(2);
let zone = {};
const say = (object) => process.stdout.write(`${JSON.stringify(object)}\n`);

// zone[name] = {a: [addresses], ttl, cname, truncate, garbage, rcode}
function answer(query, tcp) {
    const { id, questions: [question] } = packet.decode(query);
    const name = question.name.toLowerCase();
    const entry = zone[name];
    say({ asked: { name, type: question.type, tcp } });
    if (entry?.silent) return [];
    const answers = [];
    for (let at = name, i = 0; zone[at] && i < 8; at = zone[at].cname, i++) {
        const { a = [], ttl = 60, cname } = zone[at];
        if (cname) answers.push({ type: 'CNAME', name: at, ttl, data: cname });
        if (question.type === 'A') answers.push(...a.map((data) => ({ type: 'A', name: at, ttl, data })));
        if (!cname) break;
    }
    const flags = packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | (entry ? entry.rcode ?? 0 : 3);
    const good = { type: 'response', id, flags, questions: [question], answers };
    if (entry?.truncate && !tcp) return [packet.encode({ ...good, flags: flags | packet.TRUNCATED_RESPONSE, answers: [] })];
    if (!entry?.garbage) return [packet.encode(good)];
    // first what must be ignored, then the truth
    const wrong = (changes) => packet.encode({ ...good, answers: [{ type: 'A', name, ttl: 60, data: '203.0.113.99' }], ...changes });
    return [Buffer.from('garbage'), Buffer.alloc(0), packet.encode(good).subarray(0, 20), wrong({ id: id ^ 1 }), wrong({ type: 'query' }),
        wrong({ questions: [{ ...question, name: 'other.test' }] }), wrong({ questions: [] }), packet.encode(good)];
}

const udp = dgram.createSocket('udp4');
udp.on('message', (query, from) => {
    for (const wire of answer(query, false)) udp.send(wire, from.port, from.address);
});
const tcp = net.createServer((socket) => {
    let input = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (data) => {
        input = Buffer.concat([input, data]);
        if (input.length < 2 || input.length < 2 + input.readUInt16BE()) return;
        const [wire] = answer(input.subarray(2), true).slice(-1);
        socket.end(Buffer.concat([Buffer.from([wire.length >> 8, wire.length & 255]), wire]));
    });
});
// One for each address: an answer comes from where it was asked.
const echoes = Object.values(os.networkInterfaces()).flat().filter(({ family }) => family === 'IPv4').map((own) => {
    const echo = dgram.createSocket('udp4');
    echo.on('message', (data, from) => echo.send(data, from.port, from.address));
    return new Promise((resolve) => echo.bind(9999, own.address, resolve));
});
// Tells the address that it was reached at, then echoes.
const services = ports.flatMap((port) => ['0.0.0.0', '::'].map((host) => net.createServer((socket) => {
    socket.on('error', () => {});
    socket.write(`${socket.localAddress}:${socket.localPort}\n`);
    socket.pipe(socket);
}).listen({ port: Number(port), host, ipv6Only: true })));

await Promise.all([
    new Promise((resolve) => udp.bind(53, address, resolve)), new Promise((resolve) => tcp.listen(53, address, resolve)),
    ...echoes,
    ...services.map((service) => new Promise((resolve) => service.once('listening', resolve))),
]);
for await (const line of (say({ ready: true }), readline.createInterface({ input: process.stdin }))) {
    ({ zone } = JSON.parse(line));
    say({ zone: true });
}
process.exit(0);
