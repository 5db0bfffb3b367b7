// HTTP/2 as bytes: frames and uncompressed header blocks, so that a test can say what no client would.
import tls from 'node:tls';

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const TYPE = { DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9 };
export const END_STREAM = 1, END_HEADERS = 4;
export const CODE = { NO_ERROR: 0, PROTOCOL_ERROR: 1, INTERNAL_ERROR: 2, FLOW_CONTROL_ERROR: 3, CANCEL: 8, COMPRESSION_ERROR: 9, ENHANCE_YOUR_CALM: 11 };

export function frame(type, flags, stream, payload = Buffer.alloc(0)) {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
}

function integer(value, prefix, first = 0) {
    const max = (1 << prefix) - 1;
    if (value < max) return Buffer.from([first | value]);
    const bytes = [first | max];
    for (value -= max; value >= 128; value >>>= 7) bytes.push((value & 127) | 128);
    return Buffer.from([...bytes, value]);
}

const string = (text) => {
    const bytes = Buffer.from(text, 'latin1');
    return Buffer.concat([integer(bytes.length, 7), bytes]);
};

// Literals without indexing and without Huffman coding: any name, any value.
export const block = (fields) => Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), string(name), string(value)]));
export const indexed = (name, value) => Buffer.concat([Buffer.from([0x40]), string(name), string(value)]);
export const reference = (index) => integer(index, 7, 0x80);

export const headers = (stream, fields, flags = END_STREAM | END_HEADERS) => frame(TYPE.HEADERS, flags, stream, block(fields));

// A connection that has sent its preface. `frames`: what has come; `closed`: resolves with all of it at the end.
export class Connection {
    frames = [];
    #left = Buffer.alloc(0);
    #waiting = new Set();

    constructor(options) {
        this.socket = tls.connect({ ...options, ALPNProtocols: ['h2'] });
        this.ready = new Promise((resolve, reject) => this.socket.once('secureConnect', resolve).once('error', reject));
        this.closed = new Promise((resolve) => this.socket.once('close', () => resolve(this.frames)));
        this.socket.on('error', () => {});
        this.socket.on('data', (data) => this.#take(data));
        this.socket.on('close', () => this.#check());
    }

    static async open(options, settings = Buffer.alloc(0)) {
        const connection = new Connection(options);
        await connection.ready;
        connection.socket.write(Buffer.concat([PREFACE, frame(TYPE.SETTINGS, 0, 0, settings)]));
        return connection;
    }

    #check() {
        for (const check of [...this.#waiting]) check();
    }

    #take(data) {
        this.#left = Buffer.concat([this.#left, data]);
        while (this.#left.length >= 9 && this.#left.length >= 9 + this.#left.readUIntBE(0, 3)) {
            const length = this.#left.readUIntBE(0, 3);
            this.frames.push({ type: this.#left[3], flags: this.#left[4], stream: this.#left.readUInt32BE(5), payload: this.#left.subarray(9, 9 + length) });
            this.#left = this.#left.subarray(9 + length);
        }
        this.#check();
    }

    // False once the peer has closed.
    write(...buffers) {
        if (this.socket.destroyed || !this.socket.writable) return false;
        this.socket.write(Buffer.concat(buffers));
        return true;
    }

    // The first frame that matches, now or later; undefined when the connection closes without.
    find(predicate) {
        return new Promise((resolve) => {
            const check = () => {
                const found = this.frames.find(predicate);
                if (!found && !this.socket.destroyed) return;
                this.#waiting.delete(check);
                resolve(found);
            };
            this.#waiting.add(check);
            check();
        });
    }

    // {reset: code}, {goaway: code} or {status}: what became of a stream.
    async outcome(stream) {
        const found = await this.find((f) => (f.stream === stream && (f.type === TYPE.RST_STREAM || f.type === TYPE.HEADERS)) || f.type === TYPE.GOAWAY);
        if (!found) return { closed: true };
        if (found.type === TYPE.GOAWAY) return { goaway: found.payload.readUInt32BE(4) };
        if (found.type === TYPE.RST_STREAM) return { reset: found.payload.readUInt32BE(0) };
        return { status: statusOf(found.payload) };
    }

    async goaway() {
        return (await this.find((f) => f.type === TYPE.GOAWAY))?.payload.readUInt32BE(4);
    }

    destroy() {
        this.socket.destroy();
    }
}

// :status is the first field: indexed from the static table, or a literal with that name.
function statusOf(payload) {
    const table = { 8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500 };
    if (payload[0] & 0x80) return table[payload[0] & 0x7f];
    const length = payload[1] & 0x7f;
    if (!(payload[1] & 0x80)) return Number(payload.subarray(2, 2 + length).toString());
    let bits = '';
    for (const byte of payload.subarray(2, 2 + length)) bits += byte.toString(2).padStart(8, '0');
    let text = '';
    // Huffman codes of the digits (RFC 7541, appendix B)
    const codes = { '00000': '0', '00001': '1', '00010': '2', '011001': '3', '011010': '4', '011011': '5', '011100': '6', '011101': '7', '011110': '8', '011111': '9' };
    while (text.length < 3) {
        const code = [5, 6].map((n) => bits.slice(0, n)).find((c) => codes[c]);
        text += codes[code];
        bits = bits.slice(code.length);
    }
    return Number(text);
}
