// The command line, run as users run it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Instance, once, run, until } from './harness.mjs';

let daemon, box;
before(async () => {
    daemon = await Instance.start();
    box = (await daemon.cli(['create', 'node', '--name', 'box', '--egress', 'none'])).stdout.trim();
});
after(() => daemon?.stop());

async function good(args, options) {
    const result = await daemon.cli(args, options);
    assert.equal(result.code, 0, `${args.join(' ')}: ${result.code} ${result.stdout}${result.stderr}`);
    return result.stdout;
}

const codes = [
    [['ls'], 0], [['--version'], 0], [['help'], 0], [['help', 'exec'], 0], [['exec', '--help'], 0],
    [[], 2], [['nothing'], 2], [['ls', '--nothing'], 2], [['ls', 'too', 'many'], 2], [['inspect'], 2], [['rm'], 2],
    [['create', 'node', '--memory', 'much'], 2], [['create', 'node', '-e', 'novalue'], 2], [['cp', 'a', 'b'], 2], [['template'], 2],
    [['inspect', 'no-such-box'], 3], [['inspect', 'aaaaaaaaaaaa'], 3], [['exec', 'no-such-box', 'true'], 3], [['rm', 'no-such-box'], 3],
    [['create', 'no-such-template'], 3], [['logs', 'no-such-box'], 3], [['cp', 'box:no-such-file', '/tmp/'], 3],
    [['create', 'node', '--egress', 'everything'], 1],
    [['ls', '--socket', '/tmp/no-such-socket'], 5], [['ls', '--host', 'http://127.0.0.1:1'], 5],
];
for (const [args, code] of codes)
    test(`auracode ${args.join(' ')} exits with ${code}`, async () => {
        const result = await daemon.cli(args);
        assert.equal(result.code, code, result.stdout + result.stderr);
        if (code !== 0) assert.notEqual(result.stderr, '');
        if (code > 2) assert.equal(result.stdout, '');
    });

test('a wrong token is exit code 4, a right one works over TCP', async () => {
    const host = `http://127.0.0.1:${daemon.apiPort}`;
    assert.equal((await daemon.cli(['ls', '--host', host])).code, 4);
    assert.equal((await daemon.cli(['ls', '--host', host, '--token', 'ak_wrong'])).code, 4);
    const token = (await good(['token', 'create', 'cli-test', '--scope', 'admin'])).trim();
    assert.match(token, /^ak_/);
    const env = { AURACODE_HOST: host, AURACODE_TOKEN: token };
    assert.match(await good(['ls'], { env }), new RegExp(box));
    assert.equal(await good(['exec', 'box', 'echo', 'over TCP'], { env }), 'over TCP\n');
    const { tokens } = JSON.parse(await good(['token', 'ls', '--json']));
    await good(['token', 'rm', String(tokens.find(({ name }) => name === 'cli-test').id)]);
    assert.equal((await daemon.cli(['ls'], { env })).code, 4);
});

test('a mistyped verb is suggested', async () => {
    for (const [typed, meant] of [['lss', 'ls'], ['insepct', 'inspect'], ['creat', 'create'], ['templte', 'template']])
        assert.match((await daemon.cli([typed])).stderr, new RegExp(`did you mean .${meant}`));
});

test('--json is JSON, tables are not', async () => {
    assert.ok(JSON.parse(await good(['ls', '--json'])).some(({ id }) => id === box));
    assert.equal(JSON.parse(await good(['inspect', 'box', '--json'])).id, box);
    assert.equal(JSON.parse(await good(['--json', 'version'])).server.version, JSON.parse(await good(['version', '--json'])).client);
    assert.ok(JSON.parse(await good(['template', 'ls', '--json'])).templates.some(({ name }) => name === 'node'));
    assert.ok(JSON.parse(await good(['stats', 'box', '--json'])).memory_bytes > 0);
    const table = await good(['ls']);
    assert.match(table, /^ID +NAME +STATE/);
    assert.doesNotMatch(table, /\x1b/);
    const failed = await daemon.cli(['inspect', 'no-such-box', '--json']);
    assert.equal(JSON.parse(failed.stderr).error.code, 'sandbox_not_found');
});

test('a sandbox is named by its id, the beginning of one, or its name', async () => {
    for (const name of [box, box.slice(0, 8), 'box'])
        assert.equal(JSON.parse(await good(['inspect', name, '--json'])).id, box);
});

test('exec gives the command\'s output and status', async () => {
    const result = await daemon.cli(['exec', 'box', 'sh', '-c', 'echo out; echo err >&2; exit 42']);
    assert.deepEqual([result.code, result.stdout, result.stderr], [42, 'out\n', 'err\n']);
    assert.equal((await daemon.cli(['exec', 'box', 'sh', '-c', 'kill -9 $$'])).code, 137);
    assert.equal((await daemon.cli(['exec', 'box', '/no/such/program'])).code, 127);
    assert.equal((await daemon.cli(['exec', 'box', '/etc/passwd'])).code, 126);
    assert.equal(await good(['exec', '-w', '/tmp', '-e', 'A=b c', 'box', 'sh', '-c', 'pwd; echo "$A"']), '/tmp\nb c\n');
    assert.equal(await good(['exec', 'box', 'cat'], { stdin: 'not sent' }), '');
    const late = await daemon.cli(['exec', '--timeout', '200ms', 'box', 'sleep', '100']);
    assert.equal(late.code, 137);
    assert.match(late.stderr, /200 ms/);
});

test('exec -i sends all of stdin and gets all of stdout', async () => {
    const input = 'line\n'.repeat(2_000_000);
    for (let i = 0; i < 8; i++) // both directions full at once: a lost wake-up shows as a hang in some of the runs
        assert.ok(await good(['exec', '-i', 'box', 'cat'], { stdin: input }) === input);
    assert.equal((await good(['exec', '-i', 'box', 'wc', '-l'], { stdin: input })).trim(), '2000000');
});

test('exec -i whose command does not read ends anyway', async () => {
    assert.equal(await good(['exec', '-i', 'box', 'echo', 'done'], { stdin: 'x'.repeat(5_000_000) }), 'done\n');
});

test('exec -it has a terminal and puts the user\'s back', async () => {
    // script(1) gives the client a terminal; stty tells what it is like after.
    const line = `${daemon.cliProgram} exec -it box sh -c 'stty size; tty; exit 3'; echo "code $?"; stty -a`;
    const { stdout } = await run('script', ['-qec', `stty rows 33 cols 101; ${line}`, '/dev/null'],
        { env: { AURACODE_SOCKET: daemon.socket, SHELL: '/bin/sh' }, stdin: null, timeoutMs: 20000 });
    assert.match(stdout, /33 101/);
    assert.match(stdout, /\/dev\/pts\/\d+/);
    assert.match(stdout, /code 3/);
    assert.match(stdout, /[^-]icanon/);
    assert.match(stdout, /[^-]echo /);
});

test('SIGINT goes to the command', async () => {
    const client = spawn(daemon.cliProgram, ['exec', 'box', 'sh', '-c', 'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.05; done'],
        { env: { AURACODE_SOCKET: daemon.socket }, stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    client.stdout.on('data', (data) => {
        if (!text) client.kill('SIGINT');
        text += data;
    });
    const [code] = await once(client, 'close');
    assert.equal(code, 9);
    assert.equal(text, 'ready\ncaught\n');
});

test('cp takes files and folders both ways', async () => {
    const dir = fs.mkdtempSync('/tmp/auracode-cp.');
    fs.mkdirSync(path.join(dir, 'in/sub'), { recursive: true });
    fs.writeFileSync(path.join(dir, 'in/a.txt'), 'a');
    fs.writeFileSync(path.join(dir, 'in/sub/run.sh'), '#!/bin/sh\necho ran\n', { mode: 0o755 });
    await good(['cp', path.join(dir, 'in/a.txt'), 'box:copied.txt']);
    assert.equal(await good(['exec', 'box', 'cat', 'copied.txt']), 'a');
    await good(['cp', path.join(dir, 'in/a.txt'), 'box:/app/folder/']);
    assert.equal(await good(['exec', 'box', 'cat', '/app/folder/a.txt']), 'a');
    await good(['cp', '-r', path.join(dir, 'in'), 'box:tree']);
    assert.equal(await good(['exec', 'box', 'tree/sub/run.sh']), 'ran\n');
    await good(['cp', '-r', 'box:tree', path.join(dir, 'out')]);
    assert.equal(fs.readFileSync(path.join(dir, 'out/a.txt'), 'utf8'), 'a');
    assert.equal(fs.readFileSync(path.join(dir, 'out/sub/run.sh'), 'utf8'), '#!/bin/sh\necho ran\n');
    await good(['cp', 'box:copied.txt', dir]);
    assert.equal(fs.readFileSync(path.join(dir, 'copied.txt'), 'utf8'), 'a');
    const folder = await daemon.cli(['cp', 'box:tree', path.join(dir, 'wrong')]);
    assert.equal(folder.code, 1);
    assert.ok(!fs.existsSync(path.join(dir, 'wrong')));
    fs.rmSync(dir, { recursive: true });
});

test('a link that a sandbox made is not followed out', async () => {
    const dir = fs.mkdtempSync('/tmp/auracode-cp.');
    await good(['exec', 'box', 'sh', '-c', 'mkdir evil && ln -s /etc/passwd evil/link && ln -s /etc evil/folder && echo x > evil/file']);
    await good(['cp', '-r', 'box:evil', path.join(dir, 'out')]);
    assert.deepEqual(fs.readdirSync(path.join(dir, 'out')), ['file']);
    fs.rmSync(dir, { recursive: true });
});

test('up makes an app and prints its URL; logs follow it', async () => {
    const up = await daemon.cli(['up', '--template', 'react-vite', '--name', 'shop', '--egress', 'none'], { timeoutMs: 90000 });
    assert.equal(up.code, 0, up.stderr);
    assert.match(up.stdout, new RegExp(`^http://[a-z2-7]{12}\\.localhost:${daemon.proxyPort}/\n$`));
    assert.match(up.stderr, /ready/);
    assert.equal(await good(['url', 'shop']), up.stdout);
    const id = new URL(up.stdout.trim()).hostname.split('.')[0];
    assert.match((await daemon.preview(id)).body.toString(), /@vite\/client/);
    assert.match(await good(['logs', 'shop']), /vite/i);

    const logs = spawn(daemon.cliProgram, ['logs', '-f', 'shop'], { env: { AURACODE_SOCKET: daemon.socket }, stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '', touched = false;
    for await (const data of logs.stdout) {
        text += data;
        if (!touched && /Local:/.test(text)) {
            touched = true;
            await daemon.write(id, 'src/App.tsx', `${await daemon.read(id, 'src/App.tsx')}\n// touched\n`);
            await daemon.write(id, 'vite.config.ts', `${await daemon.read(id, 'vite.config.ts')}\n// touched\n`);
        }
        if (/vite\.config\.ts changed|restart/i.test(text)) break;
    }
    logs.kill();
    // Vite has closed its port for the restart that the change caused.
    await until('Vite listens again', async () => /5173/.test(await good(['ports', 'shop'])));
    await good(['stop', 'shop']);
    await good(['start', 'shop']);
    await good(['rm', 'shop']);
});

test('up tells why a dev server does not come up', async () => {
    const up = await daemon.cli(['up', '-t', 'node', '--timeout', '5s', '--name', 'broken', '--egress', 'none']);
    assert.equal(up.code, 1);
    assert.match(up.stderr, /package\.json|dev/);
    await good(['rm', 'broken']);
});

test('doctor and version find the daemon', async () => {
    const doctor = await daemon.cli(['doctor']);
    assert.match(doctor.stdout, /^ok +daemon answers$/m);
    assert.match(doctor.stdout, /^ok +daemon is ready/m);
    assert.match(await good(['version']), /auracode \d.*\nauracoded \d/);
    const gone = await daemon.cli(['doctor', '--socket', '/tmp/no-such-socket']);
    assert.equal(gone.code, 1);
    assert.match(gone.stdout, /FAIL daemon answers.*\n +-> /);
});
