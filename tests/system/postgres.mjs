// A PostgreSQL cluster of the test's own, run by an unprivileged user on a Unix socket only. Needs Debian's
// package postgresql; nothing of the machine's own clusters is touched.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { once, slow, until } from './harness.mjs';

const VERSIONS = '/usr/lib/postgresql';

function programs() {
    const newest = fs.readdirSync(VERSIONS).sort((a, b) => b - a)[0];
    assert.ok(newest, 'PostgreSQL is not installed: apt-get install postgresql');
    return path.join(VERSIONS, newest, 'bin');
}

export class Postgres {
    #child;

    static async start() {
        const cluster = new Postgres();
        cluster.bin = programs();
        [cluster.uid, cluster.gid] = execFileSync('getent', ['passwd', 'postgres'], { encoding: 'utf8' }).split(':').slice(2, 4).map(Number);
        cluster.dir = fs.mkdtempSync('/tmp/auracode-pg.');
        fs.chmodSync(cluster.dir, 0o755);
        fs.chownSync(cluster.dir, cluster.uid, cluster.gid);
        cluster.data = path.join(cluster.dir, 'data');
        cluster.run('initdb', '-A', 'trust', '-E', 'UTF8', '--no-sync', '-D', cluster.data);
        await cluster.startServer();
        cluster.run('createuser', '-h', cluster.dir, '--createrole', 'aura');
        cluster.run('createdb', '-h', cluster.dir, '-O', 'aura', 'aura');
        return cluster;
    }

    run(name, ...args) {
        return execFileSync(path.join(this.bin, name), args, { uid: this.uid, gid: this.gid, cwd: this.dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    }

    // One statement, as the superuser. Rows as arrays of text.
    query(sql) {
        return this.run('psql', '-h', this.dir, '-d', 'aura', '-At', '-F', '|', '-v', 'ON_ERROR_STOP=1', '-c', sql)
            .trim().split('\n').filter(Boolean).map((line) => line.split('|'));
    }

    get url() {
        return `postgresql://aura@/aura?host=${this.dir}`;
    }

    // (Again, after a kill.)
    async startServer() {
        this.#child = spawn(path.join(this.bin, 'postgres'), [
            '-D', this.data, '-k', this.dir, '-c', 'listen_addresses=', '-c', 'max_connections=40', '-c', 'fsync=on',
        ], { uid: this.uid, gid: this.gid, cwd: this.dir, stdio: ['ignore', 'ignore', 'pipe'] });
        this.#child.exited = once(this.#child, 'exit');
        this.log = '';
        this.#child.stderr.on('data', (data) => { this.log = (this.log + data).slice(-4000); });
        await until('PostgreSQL answers', () => {
            assert.equal(this.#child.exitCode, null, `PostgreSQL ended:\n${this.log}`);
            try {
                return this.run('pg_isready', '-h', this.dir);
            } catch {
                return false;
            }
        }, 30000);
    }

    // SIGKILL of the server: its children end with it.
    async kill() {
        this.#child.kill('SIGKILL');
        await this.#child.exited;
        await until('its processes are gone', () => {
            const [pid] = fs.readFileSync(path.join(this.data, 'postmaster.pid'), 'utf8').split('\n');
            return !fs.readdirSync('/proc').some((name) => {
                try {
                    return /^\d+$/.test(name) && fs.readFileSync(`/proc/${name}/cmdline`, 'latin1').startsWith('postgres:')
                        && fs.readlinkSync(`/proc/${name}/cwd`) === this.data;
                } catch {
                    return false;
                }
            }) && pid;
        }, 10000 * slow);
    }

    async stop() {
        this.#child.kill('SIGINT');
        await this.#child.exited;
        fs.rmSync(this.dir, { recursive: true, force: true });
    }
}

// What the daemon has by itself, for suites that run on both.
export class Sqlite {
    static start() {
        return new Sqlite();
    }

    url = '';

    stop() {}
}
