// A project's files over the API, and that nothing outside the project can be reached through them.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Instance } from './harness.mjs';

let daemon, id;
const url = (file, more = '') => `/v1/sandboxes/${id}/files?path=${encodeURIComponent(file)}${more}`;
before(async () => {
    daemon = await Instance.start();
    ({ id } = await daemon.create({ egress: 'none' }));
});
after(() => daemon?.stop());

test('a file is written, read, replaced and removed', async () => {
    const content = randomBytes(300000);
    await daemon.write(id, 'src/deep/data.bin', content);
    assert.deepEqual(await daemon.read(id, '/app/src/deep/data.bin'), content);
    assert.equal(await daemon.output(id, 'stat -c "%U %a" src/deep/data.bin; stat -c %U src'), 'user 644\nuser\n');
    await daemon.write(id, 'src/deep/data.bin', 'short');
    assert.equal((await daemon.read(id, 'src/deep/data.bin')).toString(), 'short');
    await daemon.ok('DELETE', url('src/deep/data.bin'));
    assert.equal((await daemon.refused('GET', url('src/deep/data.bin'))).status, 404);
});

test('an empty file and odd names go through', async () => {
    for (const name of ['empty', 'with space', 'ünïcödé', 'per%cent', 'quote"s', '-dash', 'new\nline', '#hash?query']) {
        await daemon.write(id, `odd/${name}`, '');
        assert.equal((await daemon.read(id, `odd/${name}`)).length, 0);
    }
    const { entries } = await daemon.ok('GET', url('odd'));
    assert.equal(entries.length, 8);
});

test('a large file passes whole', async () => {
    const content = randomBytes(64 << 20);
    await daemon.write(id, '/tmp/large.bin', content);
    assert.ok((await daemon.read(id, '/tmp/large.bin')).equals(content));
    await daemon.ok('DELETE', url('/tmp/large.bin'));
});

test('a folder is listed by name, page by page', async () => {
    await daemon.output(id, 'mkdir many && cd many && touch $(seq -w 1 700) && mkdir folder && ln -s 001 link');
    const first = await daemon.ok('GET', url('many', '&limit=300'));
    assert.equal(first.entries.length, 300);
    assert.equal(first.more, true);
    const all = [...first.entries];
    for (let more = true; more;) { // a page may be shorter than asked for
        const page = await daemon.ok('GET', url('many', `&limit=512&after=${all.at(-1).name}`));
        all.push(...page.entries);
        more = page.more;
    }
    assert.equal(all.length, 702);
    assert.deepEqual(all.map(({ name }) => name), all.map(({ name }) => name).sort());
    const types = Object.fromEntries(all.map(({ name, type }) => [name, type]));
    assert.deepEqual([types['001'], types.folder, types.link], ['file', 'directory', 'symlink']);
});

test('a folder with something in it is removed only recursively', async () => {
    await daemon.write(id, 'full/file', 'x');
    assert.equal((await daemon.refused('DELETE', url('full'))).status, 409);
    await daemon.ok('DELETE', url('full', '&recursive=true'));
    assert.equal((await daemon.refused('GET', url('full'))).status, 404);
});

test('If-Match keeps one writer from overwriting another', async () => {
    await daemon.write(id, 'match.txt', 'first');
    const { headers } = await daemon.api('GET', url('match.txt'), { raw: true });
    assert.ok(headers.etag);
    const put = (etag, body) => daemon.api('PUT', url('match.txt'), {
        body: Buffer.from(body), headers: { 'if-match': etag, 'content-type': 'application/octet-stream' },
    });
    assert.ok((await put(headers.etag, 'second')).status < 300);
    assert.equal((await put(headers.etag, 'third')).status, 412);
    assert.equal((await daemon.read(id, 'match.txt')).toString(), 'second');
});

test('a broken upload leaves the old file', async () => {
    await daemon.write(id, 'whole.txt', 'old');
    const { default: http } = await import('node:http');
    await new Promise((resolve) => {
        const request = http.request({
            socketPath: daemon.socket, method: 'PUT', path: url('whole.txt'),
            headers: { 'content-length': 1000000, 'content-type': 'application/octet-stream' },
        });
        request.on('error', resolve);
        request.write('x'.repeat(1000), () => request.destroy());
        request.on('close', resolve);
    });
    assert.equal((await daemon.read(id, 'whole.txt')).toString(), 'old');
    assert.equal(await daemon.output(id, 'ls -A | grep -c part || true'), '0\n');
});

// Paths that lead out of the project, whichever way.
const outside = ['/etc/passwd', '../etc/passwd', '/app/../etc/passwd', '/proc/self/environ', '/dev/null', '/sys/kernel',
    '/', '/app/../../../../etc/shadow', 'links/absolute', 'links/relative', 'links/chain', 'links/etc/passwd', 'links/proc/environ'];

test('no path leads out of the project', async (t) => {
    await daemon.output(id, `mkdir links && cd links && ln -s /etc/passwd absolute && ln -s ../../etc/passwd relative &&
        ln -s absolute chain && ln -s /etc etc && ln -s /proc/self proc && ln -s loop loop`);
    for (const file of outside)
        await t.test(file, async () => {
            const get = await daemon.refused('GET', url(file));
            assert.ok([400, 403, 404].includes(get.status), `${get.status} ${get.message}`);
            const put = await daemon.refused('PUT', url(file), {
                body: Buffer.from('x'), headers: { 'content-type': 'application/octet-stream' },
            });
            assert.ok([400, 403, 404, 409].includes(put.status), `${put.status} ${put.message}`);
        });
    assert.ok([400, 403].includes((await daemon.refused('GET', url('links/loop'))).status));
});

test('fifos, sockets and devices are refused at once', async () => {
    await daemon.output(id, 'mkfifo fifo && node -e "require(\'net\').createServer().listen(\'sock\', () => process.kill(process.pid, 9))"; true');
    for (const name of ['fifo', 'sock']) {
        const started = performance.now();
        const refusal = await daemon.refused('GET', url(name));
        assert.equal(refusal.status, 400, refusal.message);
        assert.equal(refusal.code, 'not_regular');
        assert.ok(performance.now() - started < 2000);
    }
});

const badPaths = [['', 400], ['a'.repeat(5000), 400], ['a\0b', 400], ['\xff', 404]];
for (const [file, status] of badPaths)
    test(`path ${JSON.stringify(file.slice(0, 12))} is answered ${status}`, async () => {
        assert.equal((await daemon.refused('GET', url(file))).status, status);
    });

test('a file request names its path', async () => {
    assert.equal((await daemon.refused('GET', `/v1/sandboxes/${id}/files`)).status, 400);
});

test('links below the project that stay inside are followed', async () => {
    await daemon.output(id, 'mkdir -p inner && echo linked > inner/file && ln -s inner/file inside');
    assert.equal((await daemon.read(id, 'inside')).toString(), 'linked\n');
});
