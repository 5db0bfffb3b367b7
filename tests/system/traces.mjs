// What an instance, or one sandbox of it, leaves on a machine: found by the names and paths that the harness gave it.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const CGROUPS = '/sys/fs/cgroup';

function pids() {
    return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
}

function read(file) {
    try {
        return fs.readFileSync(file, 'utf8');
    } catch {
        return '';
    }
}

function link(file) {
    try {
        return fs.readlinkSync(file);
    } catch {
        return '';
    }
}

function children(folder) {
    try {
        return fs.readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
            .map((entry) => path.join(folder, entry.name));
    } catch {
        return [];
    }
}

function below(folder) {
    return [folder, ...children(folder).flatMap(below)];
}

// Our own cgroup's folders, in every hierarchy.
function cgroupRoots(instance) {
    const find = (folder, depth) => children(folder).flatMap((child) =>
        path.basename(child) === instance.cgroup ? [child] : depth > 0 ? find(child, depth - 1) : []);
    return find(CGROUPS, 5);
}

function cgroups(instance, id) {
    const all = cgroupRoots(instance).flatMap(below);
    return (id ? all.filter((folder) => folder.includes(id)) : all).map((folder) => `cgroup ${folder}`);
}

function processes(instance, id) {
    return pids().filter((pid) => {
        const inCgroup = read(`/proc/${pid}/cgroup`).includes(`/${instance.cgroup}`);
        const ours = inCgroup || read(`/proc/${pid}/cmdline`).includes(instance.dir);
        return ours && (!id || read(`/proc/${pid}/cgroup`).includes(id));
    }).map((pid) => `process ${pid} ${read(`/proc/${pid}/comm`).trim()}`);
}

// Each mount namespace once; those inside sandboxes too, as long as a process holds one.
function mounts(instance, id) {
    const seen = new Map();
    for (const pid of ['self', ...pids()]) {
        const namespace = link(`/proc/${pid}/ns/mnt`);
        if (namespace && !seen.has(namespace)) seen.set(namespace, pid);
    }
    return [...seen].flatMap(([namespace, pid]) => read(`/proc/${pid}/mountinfo`).split('\n')
        .filter((line) => line.includes(`${instance.dir}/`) && (!id || line.includes(id)))
        .map((line) => `mount in ${namespace}: ${line}`));
}

// Their images lie below the state directory; a device keeps its image's path also after that is deleted.
function loops(instance, id) {
    return fs.readdirSync('/sys/block').filter((name) => name.startsWith('loop'))
        .map((name) => [name, read(`/sys/block/${name}/loop/backing_file`).trim()])
        .filter(([, file]) => file.startsWith(`${instance.stateDir}/`) && (!id || file.includes(id)))
        .map(([name, file]) => `loop device ${name} on ${file}`);
}

function tool(file, ...args) {
    try {
        return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    } catch (error) {
        if (error.code === 'ENOENT') throw new Error(`${file} is needed to look for leaks: apt-get install iproute2 nftables`);
        return '';
    }
}

function network(instance) {
    const prefix = instance.subnet.replace(/\d+\/\d+$/, '');
    const links = JSON.parse(tool('ip', '-j', 'addr') || '[]');
    const found = links.filter((entry) => entry.addr_info?.some(({ local }) => local?.startsWith(prefix)))
        .map((entry) => `interface ${entry.ifname}`);
    const routes = JSON.parse(tool('ip', '-j', 'route', 'show', 'table', 'all') || '[]')
        .filter(({ dst }) => dst?.startsWith(prefix)).map(({ dst, dev }) => `route ${dst} over ${dev}`);
    const fences = JSON.parse(tool('ip', '-j', 'rule') || '[]').filter(({ src }) => src?.startsWith(prefix))
        .map(({ priority, src }) => `routing rule ${priority} from ${src}`);
    const rules = tool('nft', 'list', 'ruleset').split('\n').filter((line) => line.includes(prefix) || line.includes(instance.cgroup))
        .map((line) => `nft ${line.trim()}`);
    return [...found, ...routes, ...fences, ...rules];
}

// What is the instance's own in the host's network: tables by what they say, routing rules by the subnet.
function removeNetwork(instance) {
    for (const [, table] of tool('nft', 'list', 'tables').matchAll(/^table inet (\S+)$/gm))
        if (tool('nft', 'list', 'table', 'inet', table).includes(instance.subnet)) tool('nft', 'delete', 'table', 'inet', table);
    for (const { priority, src, srclen } of JSON.parse(tool('ip', '-j', 'rule') || '[]'))
        if (`${src}/${srclen}` === instance.subnet) tool('ip', 'rule', 'del', 'priority', String(priority), 'from', instance.subnet);
}

function files(instance, id) {
    const list = (folder) => {
        try {
            return fs.readdirSync(folder).map((name) => path.join(folder, name));
        } catch {
            return [];
        }
    };
    if (!id) return list(path.join(instance.stateDir, 'sandboxes')).map((file) => `file ${file}`);
    const walk = (folder, depth) => list(folder).flatMap((file) =>
        path.basename(file).includes(id) ? [file] : depth > 0 ? walk(file, depth - 1) : []);
    return [...walk(instance.stateDir, 3), ...walk(instance.runDir, 3)].map((file) => `file ${file}`);
}

// With an id: of that sandbox, while the daemon runs. Without: of the whole instance, after its end.
export function findTraces(instance, id) {
    const found = [...cgroups(instance, id), ...processes(instance, id), ...mounts(instance, id),
        ...loops(instance, id), ...files(instance, id)];
    return id ? found : [...found, ...network(instance)];
}

// For the end of a failed test.
export async function removeTraces(instance) {
    for (let round = 0; round < 50 && processes(instance).length > 0; round++) {
        for (const line of processes(instance)) {
            try {
                process.kill(Number(line.split(' ')[1]), 'SIGKILL');
            } catch {
                // gone meanwhile
            }
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    removeNetwork(instance);
    for (const line of mounts(instance).filter((text) => text.includes(link('/proc/self/ns/mnt'))).reverse())
        tool('umount', '-l', line.split(' ')[7]);
    for (const folder of cgroupRoots(instance).flatMap(below).sort((a, b) => b.length - a.length)) {
        try {
            fs.rmdirSync(folder);
        } catch {
            // busy: the test that failed says why
        }
    }
}
