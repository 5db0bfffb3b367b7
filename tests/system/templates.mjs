// Builds the templates that the tests use, in an instance of the daemon of their own: node templates.mjs
import { source, templates, Instance, run } from './harness.mjs';

const instance = await Instance.start();
const recipes = ['rootfs/templates', 'tests/frameworks'].map((folder) => `${source}/${folder}`);
const result = await run(`${source}/contrib/build-templates`, [templates, instance.cliProgram, ...recipes], {
    env: { AURACODE_SOCKET: instance.socket }, timeoutMs: 900000,
});
process.stdout.write(result.stdout);
process.stderr.write(result.stderr);
if (result.code !== 0) process.stderr.write(`${instance.log}\n`);
await instance.stop();
process.exitCode = result.code ?? 1;
