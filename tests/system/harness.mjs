// An isolated instance of the real daemon for each test file, clients for its public interfaces, and the proof
// that it left nothing behind.
//
// Environment: AURACODE_BUILD is a build or an installation directory; AURACODE_TEMPLATES is where templates were
// built (default /var/cache/auracode-test/templates); AURACODE_TEST_VERBOSE=1 passes the daemon's log through;
// AURACODE_TEST_SLOW=10 makes every time limit ten times longer, for an emulated machine.
// Needs root, as the daemon does.
//
// Instances may run side by side: each takes a slot (an abstract socket, so the kernel frees it with us), and from
// it its own cgroup, subnet and range of user ids.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { findTraces, removeTraces } from './traces.mjs';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// A JWT (HS256) of a user, for ten minutes.
export function userToken(sub, secret, claims = {}) {
    const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub, role: 'authenticated', exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`;
    return `${text}.${crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
}

export const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const build = process.env.AURACODE_BUILD ?? '/usr/local';
export const templates = process.env.AURACODE_TEMPLATES ?? '/var/cache/auracode-test/templates';
// How many times slower than a real one this machine is: every time limit is that much longer.
export const slow = Number(process.env.AURACODE_TEST_SLOW ?? 1);
const SLOTS = 64;
const IDS_A_SLOT = 64;
const IDS_FIRST = 0x60000000;

// The first of the paths that exists below the build or installation directory.
function program(name) {
    const places = ['', 'bin', 'sbin', 'libexec/auracode', 'usr/bin', 'usr/sbin', 'usr/libexec/auracode'];
    const found = places.map((place) => path.join(build, place, name)).find((file) => fs.existsSync(file));
    assert.ok(found, `${name} is not below AURACODE_BUILD=${build}`);
    return found;
}

async function takeSlot() {
    for (let slot = 0; slot < SLOTS; slot++) {
        const server = net.createServer();
        const taken = await new Promise((resolve) => {
            server.once('error', () => resolve(false));
            server.listen(`\0auracode-test-slot-${slot}`, () => resolve(true));
        });
        if (taken) return { slot, release: () => new Promise((resolve) => server.close(resolve)) };
    }
    throw new Error(`${SLOTS} instances run already`);
}

export async function freePort() {
    const server = net.createServer();
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    return port;
}

// Users that exist here, the installed ones first; they must differ, since the daemon tells them apart by uid.
function account(file, ...names) {
    const known = fs.readFileSync(file, 'utf8').split('\n').map((line) => line.split(':')[0]);
    return names.find((name) => known.includes(name));
}

// Waits for a condition of the operating system that announces itself to nobody. For anything else there is an event.
export async function until(what, condition, timeoutMs = 10000) {
    const deadline = performance.now() + timeoutMs * slow;
    for (;;) {
        const value = await condition();
        if (value) return value;
        if (performance.now() > deadline) throw new Error(`not within ${timeoutMs * slow} ms: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

export const once = (emitter, name) => new Promise((resolve, reject) => {
    emitter.once(name, (...values) => resolve(values));
    if (name !== 'error') emitter.once('error', reject);
});

// Runs a program to its end. `stdin`: string or Buffer.
export async function run(file, args, { stdin, env, cwd, timeoutMs = 120000 } = {}) {
    const child = spawn(file, args, { env: { ...process.env, ...env }, cwd, stdio: 'pipe' });
    const out = [], err = [];
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs * slow);
    child.stdout.on('data', (data) => out.push(data));
    child.stderr.on('data', (data) => err.push(data));
    child.stdin.on('error', () => {});
    if (stdin !== null) child.stdin.end(stdin ?? '');
    const [code, signal] = await once(child, 'close');
    clearTimeout(timer);
    return { code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString(), child };
}

export class Instance {
    #child;
    #slot;
    #netns;
    #log = [];

    // `stateDir`: an existing folder instead of one below the instance's own. `netns`: name of the network namespace that
    // the daemon runs in; then only its Unix socket can be reached from here.
    static async start(settings = {}, { stateDir, netns } = {}) {
        const instance = new Instance();
        instance.#netns = netns;
        instance.#slot = await takeSlot();
        const { slot } = instance.#slot;
        // Read by the daemon's unprivileged programs too, so not below a private folder.
        instance.dir = fs.mkdtempSync('/tmp/auracode-test.');
        fs.chmodSync(instance.dir, 0o755);
        instance.stateDir = stateDir ?? path.join(instance.dir, 'state');
        instance.runDir = path.join(instance.dir, 'run');
        instance.socket = path.join(instance.runDir, 'api.sock');
        instance.cgroup = `auracode-test-${slot}-${process.pid}`;
        instance.subnet = `10.214.${slot}.0/24`;
        instance.apiPort = await freePort();
        instance.proxyPort = await freePort();
        if (settings.tls) {
            instance.apiTlsPort = await freePort();
            instance.proxyTlsPort = await freePort();
        }
        instance.writeConfig(settings);
        try {
            await instance.startDaemon();
        } catch (error) {
            await instance.kill();
            throw error;
        }
        return instance;
    }

    writeConfig(settings) {
        const apiUser = account('/etc/passwd', 'auracode', 'daemon');
        const config = {
            api: { listen: `127.0.0.1:${this.apiPort}`, user: apiUser, group: account('/etc/group', 'auracode', 'daemon') },
            proxy: { listen: `127.0.0.1:${this.proxyPort}`, user: account('/etc/passwd', 'auracode-proxy', 'nobody') },
            auth: { fetch_user: account('/etc/passwd', 'auracode-fetch', 'man') },
            egress: {
                user: account('/etc/passwd', 'auracode-resolver', 'games'),
                bundles: path.join(source, 'egress/bundles.json'),
            },
            webhooks: { user: account('/etc/passwd', 'auracode-hook', 'news') },
            sandbox: {
                cgroup: this.cgroup, subnet: this.subnet, templates,
                policies: path.join(source, 'policies'), idle_timeout: 0,
            },
            ids: { base: IDS_FIRST + this.#slot.slot * IDS_A_SLOT * 65536, count: IDS_A_SLOT },
            log: { level: 'debug' },
        };
        if (settings.tls) {
            config.api.tls_listen = `127.0.0.1:${this.apiTlsPort}`;
            config.proxy.tls_listen = `127.0.0.1:${this.proxyTlsPort}`;
        }
        for (const [section, keys] of Object.entries(settings)) Object.assign(config[section] ??= {}, keys);
        const lines = Object.entries(config).flatMap(([section, keys]) =>
            [`[${section}]`, ...Object.entries(keys).map(([key, value]) => `${key} = ${value}`), '']);
        this.config = path.join(this.dir, 'auracode.conf');
        fs.writeFileSync(this.config, lines.join('\n'));
    }

    // Starts auracoded (again, after a kill) and waits until it says that it is ready.
    async startDaemon({ ready = true } = {}) {
        const [file, ...args] = [
            ...(this.#netns ? ['nsenter', `--net=/run/netns/${this.#netns}`] : []), program('auracoded'),
            '--config', this.config, '--state-dir', this.stateDir, '--run-dir', this.runDir,
            '--libexec-dir', path.dirname(program('auracode-api')),
        ];
        const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH } });
        this.#child = child;
        child.exited = once(child, 'exit');
        child.stderr.on('data', (data) => {
            this.#log.push(data);
            if (process.env.AURACODE_TEST_VERBOSE) process.stderr.write(data);
        });
        if (!ready) return;
        await until('the daemon is ready', async () => {
            if (child.exitCode !== null || child.signalCode !== null)
                throw new Error(`auracoded ended (${child.exitCode ?? child.signalCode}):\n${this.log}`);
            return (await this.api('GET', '/readyz').catch(() => null))?.status === 200;
        }, 20000).catch((error) => { throw new Error(`${error.message}\n${this.log}`); });
    }

    // Its last lines, for messages.
    get log() {
        return this.wholeLog.split('\n').slice(-60).join('\n');
    }

    get wholeLog() {
        return Buffer.concat(this.#log).toString();
    }

    get pid() {
        return this.#child.pid;
    }

    // The pids of a program that the daemon started; a second one is there while the first leaves.
    hostPrograms(name) {
        return fs.readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').trim().split(' ').filter(Boolean).filter((pid) => {
            try {
                return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0].endsWith(name);
            } catch {
                return false; // ended since
            }
        }).map(Number);
    }

    hostProgram(name) {
        const [pid] = this.hostPrograms(name);
        assert.ok(pid, `${name} is not a child of auracoded`);
        return pid;
    }

    // The pid of the network helper, which is no program of its own; undefined while there is none.
    helper() {
        const children = fs.readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
        const found = children.find((pid) => {
            try {
                return fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'auracode-net';
            } catch {
                return false; // ended since
            }
        });
        return found && Number(found);
    }

    // The pids of processes of that name whose command line is this instance's.
    processes(name) {
        return fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
            try {
                return fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === name && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(this.dir);
            } catch {
                return false; // ended since
            }
        });
    }

    // The pid on the host of a sandbox's init.
    initOf(sandbox) {
        const found = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).find((pid) => {
            try {
                return fs.readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(sandbox)
                    && /^NSpid:\s.*\b1$/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
            } catch {
                return false;
            }
        });
        assert.ok(found, `the init of ${sandbox}`);
        return Number(found);
    }

    // Its table of nftables.
    get table() {
        return this.cgroup.replace(/[-.]/g, '_');
    }

    async killDaemon() {
        this.#child.kill('SIGKILL');
        await this.#child.exited;
    }

    // As systemd restarts it.
    async restartDaemon() {
        this.#child.kill('SIGUSR1');
        await this.#child.exited;
        assert.equal(this.#child.exitCode, 0, `auracoded ended with ${this.#child.exitCode}:\n${this.log}`);
        await this.startDaemon();
    }

    // The pid of each program, whoever has started it.
    programPids() {
        const file = JSON.parse(fs.readFileSync(path.join(this.runDir, 'programs.json'), 'utf8'));
        return Object.fromEntries(Object.entries(file).map(([name, { pid }]) => [name, pid]));
    }

    // ---- clients

    // `body`: an object becomes JSON; a string, Buffer or stream goes as it is.
    request(method, url, { body, headers = {}, agent = false, host = {}, timeoutMs = 60000 } = {}) {
        const target = Object.keys(host).length > 0 ? host : { socketPath: this.socket };
        const isJson = body !== undefined && body.constructor === Object;
        const payload = isJson ? JSON.stringify(body) : body;
        return new Promise((resolve, reject) => {
            const request = http.request({
                ...target, agent, method, path: url, timeout: timeoutMs * slow,
                headers: { ...(isJson && { 'content-type': 'application/json' }), ...headers },
            }, (response) => resolve(response));
            request.on('timeout', () => request.destroy(new Error(`${method} ${url}: no answer in ${timeoutMs} ms`)));
            request.on('error', reject);
            if (payload?.pipe) payload.pipe(request);
            else request.end(payload);
        });
    }

    // {status, headers, body}: body is parsed JSON, or a Buffer.
    async api(method, url, options) {
        const response = await this.request(method, url, options);
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        const data = Buffer.concat(chunks);
        const isJson = response.headers['content-type']?.startsWith('application/json') && !options?.raw;
        return { status: response.statusCode, headers: response.headers, body: isJson && data.length ? JSON.parse(data) : data };
    }

    // The parsed body of a request that must succeed.
    async ok(method, url, options) {
        const answer = await this.api(method, url, options);
        assert.ok(answer.status < 300, `${method} ${url}: ${answer.status} ${JSON.stringify(answer.body)}`);
        return answer.body;
    }

    // The status and code of a request that must be refused with a complete error object.
    async refused(method, url, options) {
        const { status, body } = await this.api(method, url, options);
        assert.ok(status >= 400, `${method} ${url}: ${status} ${JSON.stringify(body)}`);
        assert.equal(typeof body?.error?.code, 'string', `${method} ${url}: ${status} with no error object: ${body}`);
        assert.equal(typeof body.error.message, 'string');
        return { status, code: body.error.code, message: body.error.message, error: body.error };
    }

    create(body = {}) {
        return this.ok('POST', '/v1/sandboxes', { body: { template: 'node', ...body } });
    }

    async remove(id) {
        await this.ok('DELETE', `/v1/sandboxes/${id}`);
    }

    // A command run to its end: {exit_code, signal, cause, stdout, stderr, ...}.
    exec(id, command, options = {}) {
        return this.ok('POST', `/v1/sandboxes/${id}/exec`, {
            body: { ...(Array.isArray(command) ? { argv: command } : { command }), ...options },
            timeoutMs: 300000,
        });
    }

    // stdout of a command that must succeed.
    async output(id, command, options) {
        const result = await this.exec(id, command, options);
        assert.equal(result.exit_code, 0, `${command}: ${JSON.stringify(result)}`);
        return result.stdout;
    }

    write(id, file, content) {
        return this.ok('PUT', `/v1/sandboxes/${id}/files?path=${encodeURIComponent(file)}`, {
            body: Buffer.from(content), headers: { 'content-type': 'application/octet-stream' },
        });
    }

    async read(id, file) {
        const url = `/v1/sandboxes/${id}/files?path=${encodeURIComponent(file)}`;
        const { status, body } = await this.api('GET', url, { raw: true });
        assert.equal(status, 200, `GET ${url}: ${status} ${body}`);
        return body;
    }

    // The dev server's service object once it is ready; fails with its last lines otherwise.
    async devServer(id, body = {}) {
        await this.ok('PUT', `/v1/sandboxes/${id}/dev-server`, { body });
        const service = await this.ok('GET', `/v1/sandboxes/${id}/dev-server?wait=ready&timeout_ms=${60000 * slow}`);
        assert.equal(service.state, 'ready', JSON.stringify(service));
        return service;
    }

    // A request to the preview, by Host header: no resolver involved.
    preview(id, url = '/', { port, method = 'GET', headers = {}, ...rest } = {}) {
        const host = `${port ? `${port}-` : ''}${id}.localhost:${this.proxyPort}`;
        return this.api(method, url, {
            ...rest, headers: { host, ...headers }, host: { host: '127.0.0.1', port: this.proxyPort },
        });
    }

    ws(url) {
        return new WebSocket(`ws+unix://${this.socket}:${url}`);
    }

    // An interactive command: see class Stream.
    async stream(id, request, query = '') {
        const socket = this.ws(`/v1/sandboxes/${id}/exec${query}`);
        const stream = new Stream(socket);
        await once(socket, 'open');
        socket.send(JSON.stringify(request));
        return stream;
    }

    cli(args, options = {}) {
        return run(program('auracode'), args, { ...options, env: { AURACODE_SOCKET: this.socket, ...options.env } });
    }

    get cliProgram() {
        return program('auracode');
    }

    // The file of one of the programs under test.
    program(name) {
        return program(name);
    }

    // ---- the end

    // SIGTERM: it stops every sandbox and program and ends well.
    async terminate() {
        this.#child.kill('SIGTERM');
        await until('auracoded ends on SIGTERM', () => this.#child.exitCode !== null || this.#child.signalCode, 15000);
        assert.equal(this.#child.exitCode, 0, `auracoded ended with ${this.#child.exitCode}:\n${this.log}`);
    }

    // Removes every sandbox, stops the daemon, and fails if anything is left.
    async stop() {
        try {
            const { sandboxes } = await this.ok('GET', '/v1/sandboxes?limit=64');
            await Promise.all(sandboxes.map(({ id }) => this.remove(id)));
            await this.noTraces(sandboxes.map(({ id }) => id));
            await this.terminate();
            assert.doesNotMatch(this.wholeLog, /Sanitizer|runtime error:/, 'a sanitizer has something to say');
            await until('nothing is left', () => findTraces(this).length === 0, 5000).catch(() => {
                assert.deepEqual(findTraces(this), []);
            });
        } catch (error) {
            error.message += `\n--- the daemon's log\n${this.log}`;
            throw error;
        } finally {
            await this.kill();
        }
    }

    // Nothing of these sandboxes is left; what goes in the background gets time.
    async noTraces(ids) {
        const left = () => ids.flatMap((id) => findTraces(this, id));
        await until('removed sandboxes are gone', () => left().length === 0, 10000).catch(() => assert.deepEqual(left(), []));
    }

    // Without manners, for the end of a failed test: the next test must find a clean machine.
    async kill() {
        this.#child?.kill('SIGKILL');
        await this.#child?.exited;
        await removeTraces(this);
        fs.rmSync(this.dir, { recursive: true, force: true });
        await this.#slot.release();
    }
}

// The exec WebSocket: channels by their number, the end as a promise.
export class Stream {
    #chunks = { 1: [], 2: [] };
    #waiting = new Set();

    constructor(socket) {
        this.socket = socket;
        this.controls = [];
        this.ended = new Promise((resolve, reject) => {
            socket.on('message', (data, isBinary) => {
                const channel = isBinary ? data[0] : 3;
                const payload = isBinary ? data.subarray(1) : data;
                if (channel !== 3) {
                    this.#chunks[channel].push(payload);
                } else {
                    const control = JSON.parse(payload);
                    this.controls.push(control);
                    if (control.type === 'exit') resolve(control.process ?? control);
                    if (control.error) reject(Object.assign(new Error(control.error.message), control.error));
                }
                for (const check of [...this.#waiting]) check();
            });
            socket.on('error', reject);
            socket.on('close', (code) => reject(new Error(`closed with ${code} before the command's end`)));
        });
        this.ended.catch(() => {});
    }

    get stdout() {
        return Buffer.concat(this.#chunks[1]).toString();
    }

    get stderr() {
        return Buffer.concat(this.#chunks[2]).toString();
    }

    send(text) {
        this.socket.send(Buffer.concat([Buffer.from([0]), Buffer.from(text)]));
    }

    endInput() {
        this.socket.send(Buffer.from([0]));
    }

    control(message) {
        this.socket.send(Buffer.concat([Buffer.from([3]), Buffer.from(JSON.stringify(message))]));
    }

    // Resolves when stdout matches; rejects when the command ends first.
    outputs(pattern) {
        return Promise.race([
            new Promise((resolve) => {
                const check = () => {
                    const match = this.stdout.match(pattern);
                    if (!match) return;
                    this.#waiting.delete(check);
                    resolve(match);
                };
                this.#waiting.add(check);
                check();
            }),
            this.ended.then((end) => {
                if (!pattern.test(this.stdout))
                    throw new Error(`ended (${JSON.stringify(end)}) without ${pattern}: ${this.stdout}${this.stderr}`);
                return this.stdout.match(pattern);
            }),
        ]);
    }
}
