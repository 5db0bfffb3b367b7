// An authority of the test's own, and certificates that it issues, by openssl.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

export class Authority {
    #dir;
    #serial = 1;

    constructor() {
        this.#dir = fs.mkdtempSync('/tmp/auracode-certificates.');
        this.file = path.join(this.#dir, 'ca.pem');
        this.#openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
            '-subj', '/CN=AuraCode test authority', '-keyout', this.#at('ca.key'), '-out', this.file);
    }

    get pem() {
        return fs.readFileSync(this.file);
    }

    #at(name) {
        return path.join(this.#dir, name);
    }

    #openssl(...args) {
        return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
    }

    // {certificate, key, pem, text}: files, and their content. `days` may be negative: it has expired.
    issue(name, names, { days = 90, key = 'ec' } = {}) {
        const files = { certificate: this.#at(`${name}.pem`), key: this.#at(`${name}.key`) };
        const request = this.#at('request');
        const kind = key === 'ec' ? ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] : [key];
        fs.writeFileSync(this.#at('extensions'), `subjectAltName=${names.map((dns) => `DNS:${dns}`).join(',')}\n`);
        this.#openssl('req', '-newkey', ...kind, '-nodes', '-subj', `/CN=${names[0]}`, '-keyout', files.key, '-out', request);
        const leaf = this.#at('leaf');
        this.#openssl('x509', '-req', '-in', request, '-CA', this.file, '-CAkey', this.#at('ca.key'), '-days', `${days}`,
            '-set_serial', `${++this.#serial}`, '-extfile', this.#at('extensions'), '-out', leaf);
        fs.writeFileSync(files.certificate, Buffer.concat([fs.readFileSync(leaf), this.pem]));
        fs.chmodSync(files.key, 0o600);
        return { ...files, serial: this.#serial };
    }

    write(name, content) {
        fs.writeFileSync(this.#at(name), content, { mode: 0o600 });
        return this.#at(name);
    }

    // The key with a passphrase.
    encrypt(file) {
        const target = `${file}.encrypted`;
        this.#openssl('pkcs8', '-topk8', '-in', file, '-passout', 'pass:secret', '-out', target);
        return target;
    }

    remove() {
        fs.rmSync(this.#dir, { recursive: true, force: true });
    }
}

// Puts one pair's files in the place of another's, as certbot's renewal does.
export function replace(target, source) {
    for (const part of ['certificate', 'key']) {
        fs.copyFileSync(source[part], `${target[part]}.new`);
        fs.renameSync(`${target[part]}.new`, target[part]);
    }
}

export function serialOf(socket) {
    const { serialNumber } = socket.getPeerCertificate();
    assert.ok(serialNumber, 'the server showed a certificate');
    return parseInt(serialNumber, 16);
}
