// Installing packages: through restricted egress it works, with none it fails fast and says why.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Instance } from './harness.mjs';

let daemon;
before(async () => { daemon = await Instance.start(); });
after(() => daemon?.stop());

test('npm install works where egress is restricted', async () => {
    const { id } = await daemon.create({ egress: 'restricted' });
    await daemon.write(id, 'package.json', '{"name":"app","version":"1.0.0","private":true}');
    const result = await daemon.exec(id, 'npm install --no-audit --no-fund is-odd@3.0.1', { timeout_ms: 120000 });
    assert.equal(result.exit_code, 0, result.stdout + result.stderr);
    assert.equal(await daemon.output(id, ['node', '-p', 'require("is-odd")(3)']), 'true\n');
    const stats = await daemon.ok('GET', `/v1/sandboxes/${id}/stats`);
    assert.ok(stats.network_rx_bytes > 1000, JSON.stringify(stats));
    await daemon.remove(id);
    await daemon.noTraces([id]);
});

test('npm install fails at once where egress is none, and the cause can be seen', async () => {
    const { id } = await daemon.create({ egress: 'none' });
    await daemon.write(id, 'package.json', '{"name":"app","version":"1.0.0","private":true}');
    const result = await daemon.exec(id, 'npm install --no-audit --no-fund is-odd@3.0.1', { timeout_ms: 60000 });
    assert.equal(result.cause, 'exited', 'npm must give up by itself');
    assert.notEqual(result.exit_code, 0);
    assert.ok(result.duration_ms < 15000, `${result.duration_ms} ms`);
    assert.match(`${result.stdout}${result.stderr}${JSON.stringify(result.hint ?? '')}`, /egress/i,
        `${result.stdout}${result.stderr}`);
    await daemon.remove(id);
});

test('names are resolved where egress is restricted, and not where it is none', async () => {
    const lookup = ['node', '-e', 'require("dns").lookup("registry.npmjs.org", (e, a) => console.log(e ? e.code : "found"))'];
    const open = await daemon.create({ egress: 'restricted' });
    const closed = await daemon.create({ egress: 'none' });
    assert.notEqual(await daemon.output(closed.id, lookup), 'found\n');
    assert.equal((await daemon.exec(open.id, ['npm', 'ping', '--loglevel=error'])).exit_code, 0);
    await Promise.all([open.id, closed.id].map((id) => daemon.remove(id)));
});
