// The holds that are code: how each is taken out (edits of the source: file, what must be there once, what replaces it) and
// which tests must then be red: file of tests/system, pattern of test names. Read by run.mjs, listed in tests/README.
const EXE = 'src/supervisor/main.c', SPAWN = 'src/init/spawn.c', MOUNTS = 'src/supervisor/mounts.c';

export const holds = [
    {
        name: 'the init\'s memory is sealed',
        edits: [[EXE, 'F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)', 'F_SEAL_SHRINK) < 0)']],
        test: ['escape', 'sealed memory'],
    },
    {
        name: 'the init cannot be read or traced: executable only, not dumpable',
        edits: [[EXE, 'fchmod(fd, 0111)', 'fchmod(fd, 0755)'], ['src/init/main.c', 'prctl(PR_SET_DUMPABLE, 0);', 'prctl(PR_SET_DUMPABLE, 1);']],
        test: ['escape', 'the init can be neither read'],
    },
    {
        name: 'mount points are opened without following links',
        edits: [[MOUNTS, '(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)', '(RESOLVE_IN_ROOT)'],
            [MOUNTS, 'path, O_PATH | O_NOFOLLOW | flags', 'path, O_PATH | flags']],
        test: ['escape', 'made-up'],
    },
    {
        name: 'file paths are resolved beneath the project',
        edits: [['src/init/paths.c', '(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)', '0']],
        test: ['files', 'no path leads out of the project'],
    },
    {
        name: 'file paths are resolved beneath the project while names change',
        edits: [['src/init/paths.c', '(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)', '0']],
        test: ['escape', 'names that change'],
    },
    {
        name: 'only regular files are opened',
        edits: [['src/init/paths.c', 'if (!S_ISREG(status.st_mode))', 'if (false)']],
        test: ['files', 'fifos, sockets and devices'],
    },
    {
        name: 'descriptors close on execution',
        edits: [[SPAWN, '3u, ~0u, CLOSE_RANGE_CLOEXEC));', '3u, ~0u, CLOSE_RANGE_CLOEXEC)) + result(fcntl(3, F_SETFD, 0));']],
        test: ['isolation', 'a process has no capability'],
    },
    {
        name: 'every command has a session of its own',
        edits: [[SPAWN, 'return result(setsid());', 'return result(setpgid(0, 0));']],
        test: ['exec', 'a terminal has its size'],
    },
    {
        name: 'other instruction sets are shut out',
        edits: [['src/supervisor/own-filter.c', 'SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_NOTIFY', 'SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW'],
            ['src/supervisor/seccomp-profile.c', 'SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_NOTIFY', 'SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW']],
        test: ['escape', 'other instruction sets'],
    },
    {
        name: 'the capability bounding set is empty',
        edits: [[SPAWN, 'if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)', 'if (capability < 0)']],
        test: ['isolation', 'a process has no capability'],
    },
    {
        name: 'securebits are locked',
        edits: [[SPAWN, 'SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |', 'SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP |']],
        test: ['escape', 'securebits'],
    },
    {
        name: 'what a policy gives the init has a ceiling',
        edits: [['src/supervisor/capabilities.c', '    if (bit_of(name))', '    if (true)']],
        test: ['policies', 'a bad file is refused'],
    },
    {
        name: 'the init puts itself under Landlock',
        edits: [['src/init/forker.c', 'return landlock_restrict(&section, err);', 'return section.rules == NULL && err == NULL;']],
        test: ['landlock', 'what each policy gives up'],
    },
    {
        name: 'the user\'s processes are under Landlock rules of their own',
        edits: [['src/init/forker.c', 'if (as_root || !forker.running)', 'if (as_root || true)']],
        test: ['landlock', 'what each policy gives up'],
    },
    {
        name: 'user names are a list',
        edits: [['src/api/exec-request.c', '{"user", "root", NULL}', '{"user", "root", "0", NULL}'],
            ['src/init/process-ops.c', '{USER_NAME, "root", NULL}', '{USER_NAME, "root", "0", NULL}']],
        test: ['escape', 'user names are names'],
    },
    {
        name: 'the name of the cgroup is one component',
        edits: [['src/base/config.c', 'if (r == 0 && (strchr(config->sandbox_cgroup', 'if (false && (strchr(config->sandbox_cgroup']],
        test: ['escape', 'the cgroup name'],
    },
    {
        name: 'each start has a fresh cgroup leaf',
        edits: [['src/supervisor/sandbox.c', 'sandbox->generation++;', 'sandbox->generation = 1;']],
        test: ['escape', 'cgroup leaf'],
    },
    {
        name: 'the pids limit is set',
        edits: [['src/supervisor/cgroup-limits.c', '"%lld", (long long)limits->pids)', '"max")']],
        test: ['resources', 'a fork bomb'],
    },
    {
        name: 'the memory limit is set',
        edits: [['src/supervisor/cgroup-limits.c', 'bytes_or_max(limits->memory, v2, ret_text, size);', 'bytes_or_max(0, v2, ret_text, size);'],
            // On v1 that of memory and swap together would hold as well.
            ['src/supervisor/cgroup-limits.c', '(long long)(limits->swap + (v2 ? 0 : limits->memory))', '-1LL']],
        test: ['resources', 'a memory hog'],
    },
    {
        name: 'an owner sees its own sandboxes only',
        edits: [['src/api/owner.c', '(str_equal(owner, request->who.owner) || str_equal(owner, request->who.user))', '(owner != NULL)']],
        test: ['tenants', 'another owner'],
    },
    {
        name: 'one Host (two lengths, and most else that is odd, llhttp refuses as well)',
        edits: [['src/proxy/head.c', 'size_t hosts = count(head, NAME_HOST);', 'size_t hosts = count(head, NAME_HOST) > 0;']],
        test: ['http', 'two Hosts'],
    },
    {
        name: 'a cookie belongs to the preview that set it',
        edits: [['src/proxy/set-cookie.c', '{TEXT("domain"), LEAVE_OUT}', '{TEXT("domain"), PASS}']],
        test: ['http', 'a cookie for localhost'],
    },
    {
        name: 'sites that are not listed may not frame previews',
        edits: [['src/proxy/rewrite.c', 'r = frame_add_ancestors(out, names);', 'r = 0;']],
        test: ['frames', 'an origin of the list'],
    },
    {
        name: 'another site cannot report to a preview',
        edits: [['src/proxy/bridge-serve.c', '!is_json(head_get(head, NAME_CONTENT_TYPE))', 'false']],
        test: ['bridge', 'the path is the proxy'],
    },
    {
        name: 'a report is at most so long',
        edits: [['src/proxy/bridge-serve.c', 'head->content_length > REPORTS_BODY_MAX', 'false']],
        test: ['bridge', 'the path is the proxy'],
    },
    {
        name: 'a report is what the table of its fields says',
        edits: [['src/proxy/report.c', 'if (check(report, i, err) < 0) return NULL;', 'if (check(report, i, err) < -ERANGE) return NULL;']],
        test: ['bridge', 'the path is the proxy'],
    },
    {
        name: 'the supervisor checks what the proxy passes on',
        edits: [['src/supervisor/operations-report.c', '    if (r < 0)\n        return r;\n', '    (void)r;\n']],
        test: ['peer', 'wrong types'],
    },
    {
        name: 'a sandbox\'s reports have a limit',
        edits: [['src/proxy/report.c', '(REPORTS_BURST - 1) * (SECOND / REPORTS_PER_SECOND))\n            return false;', 'SECOND * 1000)\n            return false;'],
            ['src/proxy/report.c', 'return atomic_load(bucket) >\n           now_monotonic_ns() +', 'return atomic_load(bucket) < 0 * now_monotonic_ns() -']],
        test: ['bridge', 'a flood of reports'],
    },
    {
        name: 'a private preview asks for a token',
        edits: [['src/proxy/dispatch.c', 'view.state != ROUTE_UNKNOWN && !admit(client)', 'view.state == ROUTE_UNKNOWN && !admit(client)']],
        test: ['access', 'without a token'],
    },
    {
        name: 'a preview token bears the HMAC of this installation\'s key',
        edits: [['src/base/preview-token.c', 'gnutls_memcmp(mac, text + MAC_AT, sizeof(mac)) != 0', 'false']],
        test: ['access', 'a wrong, expired, revoked'],
    },
    {
        name: 'preview tokens of another epoch are refused',
        edits: [['src/base/preview-token.c', 'epoch != claims->epoch || ', '']],
        test: ['access', 'a wrong, expired, revoked'],
    },
    {
        name: 'preview tokens expire',
        edits: [['src/base/preview-token.c', ' || (int64_t)expiry <= claims->now', '']],
        test: ['access', 'a wrong, expired, revoked'],
    },
    {
        name: 'what a revoked token has opened is closed',
        edits: [['src/proxy/worker.c', '    admit_review(worker, site);\n', '']],
        test: ['access', 'a revocation, the end of a token'],
    },
    {
        name: 'the dev server sees no preview token in the query',
        edits: [['src/proxy/rewrite.c', 'access_add_path(out, path)', 'add_text(out, path)']],
        test: ['access', 'the dev server never sees'],
    },
    {
        name: 'the dev server sees no preview token in fields',
        edits: [['src/proxy/rewrite.c', ' || access_is_ours(field)', '']],
        test: ['access', 'the dev server never sees'],
    },
    {
        name: 'the dev server sees no preview token in cookies',
        edits: [['src/proxy/rewrite.c', 'if (field->id == NAME_COOKIE)', 'if (false)']],
        test: ['access', 'the dev server never sees'],
    },
    {
        name: 'X-Forwarded-* is believed of trusted proxies alone',
        edits: [['src/proxy/client.c', 'client->trusted = networks_hold(', 'client->trusted = true || networks_hold(']],
        test: ['names', 'a proxy in front'],
    },
    {
        name: 'X-Forwarded-Host leads nowhere but where Host does',
        edits: [['src/proxy/forwarded.c', 'told = told && text_is_case(', 'told = told || text_is_case(']],
        test: ['http', 'X-Forwarded-Host cannot'],
    },
    {
        name: 'a dev server cannot switch protocols unasked',
        edits: [['src/proxy/exchange.c', '!(client->wants_upgrade && head->upgrade)', 'false']],
        test: ['http', '101 that nobody asked for'],
    },
    {
        name: 'a body where none may be is not passed',
        edits: [['src/proxy/exchange.c', 'client->is_head || head->status == 204 || head->status == 304', 'client->is_head']],
        test: ['http', '204 has no body'],
    },
    {
        name: 'frames of HTTP/2 that do nothing are rationed',
        edits: [['src/proxy/h2-budget.c', 'return budget->tokens >= 0;', 'return true;']],
        test: ['h2', 'priorities and window updates'],
    },
    {
        name: 'a malformed field of HTTP/2 refuses its request',
        edits: [['src/proxy/h2.c', '    return refuse(session, frame->hd.stream_id);', '    return 0;']],
        test: ['h2', 'LF in a value'],
    },
    {
        name: 'a key is that of its certificate',
        edits: [['src/tls/certificates.c', 'if (n == m && memcmp(of_certificate, of_key, n) == 0)', 'if (n == m)']],
        test: ['tls', 'a bad pair'],
    },
    {
        name: 'the supervisor\'s operations have roles',
        edits: [['src/base/server.c', 'if (!(op->roles & request->conn->role))', 'if (false)']],
        test: ['peer', '.'],
    },
    {
        name: 'the image of a disk reserves what lies beyond the limit',
        edits: [['src/supervisor/disk-image.c', 'uint32_t field = htole32((uint32_t)reserved);', 'uint32_t field = 0;']],
        test: ['disk', 'fills the disk up to the limit'],
    },
    {
        name: 'the image of a disk has no more inodes than the limit',
        edits: [['src/supervisor/disk-image.c', 'return inodes > MAX_INODES ? MAX_INODES : inodes;', 'return inodes * 4;']],
        test: ['disk', 'inodes run out inside'],
    },
    {
        name: 'a subvolume has a limit',
        edits: [['src/supervisor/disk-btrfs.c', 'if (ioctl(data_fd, BTRFS_IOC_QGROUP_LIMIT, &limit) < 0)', 'if (limit.qgroupid)']],
        test: ['disk-quota', 'fills the disk up to the limit'],
    },
    {
        name: 'images are closed while the host is short of room',
        edits: [['src/supervisor/disk-guard.c', 'if (sandbox->disk->close(sandbox, closed, &err) < 0)', 'if (sandbox->disk->close(sandbox, false, &err) < 0)']],
        test: ['disk', 'a full host closes them'],
    },
    {
        name: 'each sandbox has its own account of inotify instances',
        edits: [['src/supervisor/launch.c', 'change_effective_uid(first_id(sandbox))', 'change_effective_uid(0)']],
        test: ['resources', 'inotify instances are counted'],
    },
    {
        name: 'keys are refused whatever the policy says',
        edits: [['src/supervisor/own-filter.c', '    "add_key",\n', '']],
        test: ['resources', '^keys: none'],
    },
    {
        name: 'sandboxes reach no private range',
        edits: [['src/supervisor/nft.c', 'reject_rule(rules, name, json_pack("[o]", match("==", payload("ip", "daddr"), private_set())));', 'json_decref(private_set());']],
        test: ['egress-net', '^restricted: public addresses'],
    },
    {
        name: 'sandboxes do not reach the host',
        edits: [['src/supervisor/nft.c', 'reject_rule(rules, rules->names.host, json_array());', 'accept_rule(rules, rules->names.host, json_array(), false);']],
        test: ['egress-net', '^restricted: public addresses'],
    },
    {
        name: 'a change of egress holds for open connections',
        edits: [['src/supervisor/nft.c', 'match("==", ct_mark(), json_integer(rules->mark))', 'match(">=", ct_mark(), json_integer(0))']],
        test: ['egress-net', '^a live change'],
    },
    {
        name: 'a flushed ruleset is put back',
        edits: [['src/supervisor/net-helper.c', 'if (nft_events_foreign(&helper->events) && helper->committed &&', 'if (nft_events_foreign(&helper->events) && !helper->committed &&']],
        test: ['egress-net', '^a flushed ruleset'],
    },
    {
        name: 'without a table nothing is forwarded',
        edits: [['src/supervisor/net-helper.c', '        put_fence(helper);', '        (void)put_fence;']],
        test: ['egress-net', '^while the ruleset is flushed'],
    },
    {
        name: 'without a table the host is not reached',
        edits: [['src/supervisor/net-helper.c', 'if (helper->unguarded || nft_guard_make(&helper->table, helper->sandboxes, &err) == 0)', 'if (!helper->unguarded)']],
        test: ['egress-net', '^while the ruleset is flushed'],
    },
    {
        name: 'no IPv6 gets out where somebody turns it on',
        edits: [['src/supervisor/nft.c', 'reject_rule(rules, name, json_pack("[o]", match("==", meta("nfproto"), json_string("ipv6"))));', '(void)0;']],
        test: ['egress-net', '^IPv6'],
    },
    {
        name: 'the links have no IPv6',
        edits: [['src/supervisor/link.c', 'file_write_existing(AT_FDCWD, path, "1", err)', 'file_write_existing(AT_FDCWD, path, "0", err)']],
        test: ['egress-net', '^IPv6'],
    },
    {
        name: 'no answer of a name server leads inside',
        edits: [['src/resolver/packet.c', 'return !special_overlaps(ntohl(address), 32);', 'return true;']],
        test: ['egress-net', '^names that lead inside'],
    },
    {
        name: 'names that no rule allows are asked of nobody',
        edits: [['src/resolver/query.c', '!box_may_ask(box, question->name)', 'false']],
        test: ['egress-net', '^allow: what a name leads to'],
    },
    {
        name: 'the resolver opens no private address',
        edits: [['src/supervisor/egress-rules.c', 'if (special_overlaps(ntohl(binary.s_addr), 32))', 'if (false)']],
        test: ['peer', '^the resolver may ask'],
    },
    {
        name: 'no token is in the access log',
        edits: [['src/proxy/record-line.c', 'if (token == 0)', 'if (token == 0 || parameter == 0 || parameter > 0)']],
        test: ['access-log', '^no token is in the log'],
    },
    {
        name: 'control characters in the access log are escaped',
        edits: [['src/proxy/record-line.c', "else if (c < ' ' || c == 0x7f)", 'else if (c == 0x7f)']],
        test: ['access-log', '^bytes of any kind'],
    },
    {
        name: 'what is no UTF-8 does not get into the access log',
        edits: [['src/proxy/record-line.c', '*ret_spelled = TEXT(UTF8_REPLACEMENT);', '*ret_spelled = (struct text){text.data, 1};']],
        test: ['access-log', '^bytes of any kind'],
    },
    {
        name: 'the client in the access log is whom the trusted proxies saw',
        edits: [['src/proxy/forwarded.c', '        if (!is_trusted(address, trusted))\n            break;', '        (void)is_trusted(address, trusted);']],
        test: ['access-log', '^the client is whom'],
    },
    {
        name: 'what somebody has paused is woken by nobody',
        edits: [['src/supervisor/pause.c', '    if (sandbox_sleeps(sandbox))\n        r = sandbox_resume(sandbox, err);', '    if (sandbox->state == SANDBOX_PAUSED)\n        r = sandbox_resume(sandbox, err);']],
        test: ['idle', '^what somebody has paused'],
    },
    {
        name: 'a private preview wakes for a good token only',
        edits: [['src/proxy/dispatch.c', 'view.state != ROUTE_UNKNOWN && !admit(client)', 'view.state != ROUTE_UNKNOWN && view.state != ROUTE_ASLEEP && !admit(client)']],
        test: ['idle', '^a private preview wakes'],
    },
    {
        name: 'a tenant allows no private network',
        edits: [['src/api/sandboxes.c', 'return r == 0 && !request->who.admin ? egress_check_public(egress, err) : r;', 'return r;']],
        test: ['egress', '^a network that is not public'],
    },
    {
        name: 'an unknown user costs a hash',
        edits: [['src/api/login.c', 'if (err.err || account_hash_again(', 'if (!stored && !err.err) {\n        login_free(login);\n        refuse(request);\n        return;\n    }\n    if (err.err || account_hash_again(']],
        test: ['accounts', '^unknown, disabled and wrong'],
    },
    {
        name: 'a disabled account logs in no more',
        edits: [['src/api/login.c', '!login->account.disabled;', 'true;']],
        test: ['accounts', '^unknown, disabled and wrong'],
    },
    {
        name: 'a name has few attempts to log in',
        edits: [['src/api/account/accounts.c', 'if (!limiter_take(&accounts->names, name, now_ms)) {', 'if (false) {']],
        test: ['accounts', '^a name has 5 attempts'],
    },
    {
        name: 'an address has few attempts to log in',
        edits: [['src/api/account/accounts.c', 'if (client && !limiter_take(&accounts->clients, *client, now_ms)) {', 'if (false) {']],
        test: ['accounts', '^an address has 30 attempts'],
    },
    {
        name: 'few passwords wait to be hashed',
        edits: [['src/api/account/hasher.c', 'hasher->n_waiting >= HASHER_WAITING', 'false']],
        test: ['accounts', '^more than can wait'],
    },
    {
        name: 'a token of an earlier epoch is refused',
        edits: [['src/api/account/accounts.c', 'epoch > 0 && place->epoch == epoch', 'place->epoch > 0'],
            ['src/api/account/accounts.c', 'results && epoch == check->epoch && epoch > 0', 'results && epoch > 0']],
        test: ['accounts', '^(another password, disabling|neither issuer)'],
    },
    {
        name: 'what is known of an account is forgotten with a change',
        edits: [['src/api/account/accounts.c', '*place = (struct known){.epoch = 0};', '(void)place;']],
        test: ['accounts', '^another password, disabling'],
    },
    {
        name: 'what a revoked key or an account has open is closed',
        edits: [['src/api/http.c', 'str_equal(request->who.credential, credential)))', 'false))']],
        test: ['accounts', '(^another password, disabling|WebSockets are closed)'],
    },
    {
        name: 'tokens of accounts are checked with their own key alone',
        edits: [['src/api/jwt.c', '!is_signed_by(token, jwt->own, 0)', '!(is_signed_by(token, jwt->own, 0) || is_signed_by(token, jwt->secret, 0))']],
        test: ['accounts', '^neither issuer'],
    },
    {
        name: 'the key of accounts makes no other tokens',
        edits: [['src/api/jwt.c', 'is_signed_by(token, jwt->secret, 0);', 'is_signed_by(token, jwt->secret, 0) || is_signed_by(token, jwt->own, 0);']],
        test: ['accounts', '^neither issuer'],
    },
    {
        name: 'no answer quotes a body with a password',
        edits: [['src/api/request.c', '!is_secret(request) && utf8_valid(', 'utf8_valid(']],
        test: ['accounts', '^bad names and passwords'],
    },
    {
        name: 'a login\'s body is small',
        edits: [['src/api/request.c', 'return SECRET_BODY_MAX;', 'return 1u << 20;']],
        test: ['accounts', '^bad names and passwords'],
    },
    {
        name: 'row-level security keeps accounts from users',
        edits: [['src/api/db/sql/postgres/0002.sql', 'ALTER TABLE auracode.accounts ENABLE ROW LEVEL SECURITY', 'SELECT 1']],
        test: ['accounts', '^accounts are invisible'],
    },
    {
        name: 'keys come over TLS from whom an authority vouches for',
        edits: [['src/fetch/fetch.c', 'curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);', 'curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);\n    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);']],
        test: ['jwks', '^(until the first|a new key|a server that another)'],
    },
    {
        name: 'keys are fetched from nowhere else',
        edits: [['src/fetch/fetch.c', 'CURLOPT_FOLLOWLOCATION, 0L', 'CURLOPT_FOLLOWLOCATION, 1L']],
        test: ['jwks', '^(until the first|a new key|a redirection)'],
    },
    {
        name: 'an answer with keys is small',
        edits: [['src/fetch/fetch.c', 'if (length > JWKS_BYTES_MAX - fetch->length) {', 'if (length > JWKS_BYTES_MAX - fetch->length)\n        return length;\n    if (false) {']],
        test: ['jwks', '^(until the first|a new key|an answer without end)'],
    },
    {
        name: 'what is no set of keys replaces none',
        edits: [['src/base/jwks.c', 'if (usable == 0) {', 'if (false) {']],
        test: ['jwks', '^(until the first|a new key|garbage|an empty set)'],
    },
    {
        name: 'unknown keys have the set fetched every 30 s at most',
        edits: [['src/api/supervisor.c', '!supervisor->ready || now_ms < supervisor->refresh_after_ms', '!supervisor->ready'],
            ['src/fetch/fetch.c', 'if (fetch->running || now_ms - fetch->asked_ms < ASKED_MS)', 'if (fetch->running)']],
        test: ['jwks', '^(until the first|a new key|a flood of unknown)'],
    },
    {
        name: 'the supervisor takes keys that cannot change',
        edits: [['src/base/fd.c', 'if (seals < 0 || (seals & sealed) != sealed || fstat(fd, &status) < 0)', 'if (fstat(fd, &status) < 0)']],
        test: ['peer', '^the fetcher may hand over'],
        name: 'a changed record of the audit trail is found',
        edits: [['src/api/audit/verify.c', '!str_equal(hash, row->hash)', 'false']],
        test: ['audit', 'a change, a gap, a swap and a cut'],
    },
    {
        name: 'a record that is gone from the audit trail is found',
        edits: [['src/api/audit/verify.c', 'if (row->seq != verify->at.seq + 1) {', 'if (false) {'],
            ['src/api/audit/verify.c', 'if (verify->at.seq < verify->goal)', 'if (false)']],
        test: ['audit', 'a change, a gap, a swap and a cut'],
    },
    {
        name: 'the audit trail is for administrators',
        edits: [['src/api/routes.c', '"/v1/audit", SCOPE_ADMIN', '"/v1/audit", SCOPE_READ']],
        test: ['audit', 'only admins read it'],
    },
    {
        name: 'requests that are refused leave a record',
        edits: [['src/api/request.c', 'status;\n    request->phase = PHASE_ANSWERED;\n    audit_request(request);', 'status;\n    request->phase = PHASE_ANSWERED;\n    request->audited = status >= 400;\n    audit_request(request);']],
        test: ['audit', 'every route that changes something'],
    },
    {
        name: 'a thumbnail is a PNG',
        edits: [['src/api/thumbnails.c', 'if (!ok)', 'if (false)']],
        test: ['sessions', 'a session has a thumbnail'],
    },
    {
        name: 'webhooks lead to public addresses: names are looked at',
        edits: [['src/hook/job.c', 'transfer->rules->allow_private || address_is_public(address)', 'true']],
        test: ['webhooks', 'by default nothing that is not public'],
    },
    {
        name: 'webhooks follow no redirect',
        edits: [['src/hook/job.c', 'CURLOPT_FOLLOWLOCATION, 0L', 'CURLOPT_FOLLOWLOCATION, 1L']],
        test: ['webhooks', 'what fails for too long is dead'],
    },
    {
        name: 'events go to webhooks of their owner',
        edits: [['src/api/webhooks/webhooks.c', 'if (!hook->row.everything &&', 'if (false &&']],
        test: ['webhooks', 'events arrive with a signature'],
    },
    {
        name: 'a webhook is its owner\'s',
        edits: [['src/api/store/webhooks.c', '(CAST($2 AS bigint) = 1 OR owner = $3)"', '(CAST($2 AS bigint) = 1 OR CAST($3 AS text) <> \'\')"']],
        test: ['webhooks', 'a webhook is made, read'],
    },
    {
        name: 'the sender of webhooks has a filter and no capability',
        edits: [['src/hook/main.c', 'r = hook_confine(err);', 'r = 0;']],
        test: ['webhooks', 'the sender is confined'],
    },
];
