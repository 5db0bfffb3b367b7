// What the hostile suites share: the probe program inside a sandbox, policies with their holds taken out, and the probe
// without a sandbox: these two show that a probe would see the hole if the hold were missing.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { run, source } from '../harness.mjs';

const probeSource = path.join(source, 'tests/system/hostile/probe.c');

// A built one where there is no compiler (AURACODE_PROBE), else built here.
function probeBinary() {
    if (process.env.AURACODE_PROBE) return fs.readFileSync(process.env.AURACODE_PROBE);
    const folder = fs.mkdtempSync('/tmp/auracode-probe.');
    try {
        execFileSync('cc', ['-static', '-O1', '-o', path.join(folder, 'probe'), probeSource]);
        return fs.readFileSync(path.join(folder, 'probe'));
    } finally {
        fs.rmSync(folder, { recursive: true });
    }
}

// Puts the probe into a sandbox; gives a function that runs it there: probe(['verb', ...], exec options) -> stdout.
export async function arm(daemon, id) {
    await daemon.write(id, '/home/user/probe', probeBinary());
    await daemon.output(id, ['chmod', '755', '/home/user/probe']);
    const probe = async (args, options) => {
        const result = await daemon.exec(id, ['/home/user/probe', ...args.map(String)], options);
        return result.signal ?? result.stdout.trim();
    };
    probe.run = (args, options) => daemon.exec(id, ['/home/user/probe', ...args.map(String)], options);
    return probe;
}

// The probe outside of every sandbox, with no more rights than inside: what a kernel without our holds answers.
export async function unconfined() {
    const folder = fs.mkdtempSync('/tmp/auracode-probe.');
    const file = path.join(folder, 'probe');
    fs.writeFileSync(file, probeBinary(), { mode: 0o755 });
    fs.chmodSync(folder, 0o755);
    const users = { user: ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', '--no-new-privs'], root: ['unshare', '--user', '--map-root-user'] };
    const probe = async (args, { user = 'user' } = {}) => {
        const [tool, ...options] = users[user];
        const { stdout, signal } = await run(tool, [...options, file, ...args.map(String)]);
        return signal ?? stdout.trim();
    };
    probe.remove = () => fs.rmSync(folder, { recursive: true });
    return probe;
}

// A copy of the policies whose default one is changed by `change(policy)`; the folder goes with the test's own.
export function policiesWith(change) {
    const folder = fs.mkdtempSync('/tmp/auracode-policies.');
    fs.cpSync(path.join(source, 'policies'), folder, { recursive: true });
    fs.chmodSync(folder, 0o755);
    const file = path.join(folder, 'default.json');
    const policy = JSON.parse(fs.readFileSync(file, 'utf8'));
    change(policy);
    fs.writeFileSync(file, JSON.stringify(policy, null, 1));
    return { folder, remove: () => fs.rmSync(folder, { recursive: true, force: true }) };
}

// Every system call that the policy names, and those that it leaves out on purpose, allowed with any argument.
export function allowAllCalls(policy, extra = ['clone3', 'io_uring_setup', 'io_uring_enter', 'io_uring_register', 'personality']) {
    const { seccomp } = policy;
    const named = [...(seccomp.deny ?? []), ...(seccomp.rules ?? [])].flatMap(({ names }) => names);
    seccomp.allow = [...new Set([...seccomp.allow, ...named, ...extra])];
    seccomp.deny = [];
    seccomp.rules = [];
}
