/* clang-format off */
/* What our programs say to each other. Packets: ipc.h. Requests, answers, events: server.h.
 *
 * 1. The supervisor's socket
 * ==========================
 * auracode-api and auracode-proxy are started with a connected socket named "control"
 * (passed-fds.h). When it ends (the supervisor was killed) they keep serving and reconnect to
 * RUN/supervisor.sock until the new supervisor accepts them; the role comes from SO_PEERCRED,
 * never from what is said. First request on either: `hello`.
 *
 * A sandbox object:
 *   {"id","name","state",cause,"template","owner","labels":{},"env":{},"egress","policy",
 *    "limits":{...} (every member of struct limits in spec.h),"disk":"image"|"project"|"btrfs"|
 *    "plain" (what bounds its files; plain: nothing does; supervisor/disk.h),"generation",
 *    "created_at","started_at" (ms since the epoch, 0: never)}
 *   state: creating | running | paused | stopping | stopped | failed | removing
 *   cause: three members, null while it runs:
 *     "cause": request (sandbox.stop, sandbox.pause) | idle (paused: nobody used it) | shutdown (of the daemon) | oom | signal | exited (its init) |
 *       start_failed | disk_full (start_failed for want of space) | timeout (of the start) | lost
 *       (nobody saw it) | reboot (of the machine). `stopping` already has it
 *     "cause_text": a sentence
 *     "cause_detail": what is known, of: "signal", "sender": "kernel"|"host"|"unknown", "exit_code",
 *       "oom_kills", "memory_peak_bytes", "memory_limit_bytes", "code" (of the error)
 *
 * Every request is checked, before anything acts on it, against the table in
 * supervisor/operations.c: who may ask (below), in which state, and the fields' types and bounds.
 * `hello` is legal once and first. Of a sandbox being removed nothing is legal (sandbox_not_found);
 * connect, sockets and stats are for one that runs (else sandbox_not_running), start not for one
 * that is stopping, stop not for one that is being created, template.create for a stopped one (else
 * wrong_state; sandbox_paused for a paused one). One that sleeps (paused as idle) is woken when the API asks for what is for one that
 * runs. A hello's listeners are taken only if they listen where the configuration says. A
 * peer that does not read its answers is not read either.
 *
 * op               who        fields -> answer
 * hello            api proxy  protocol?, pid?, listeners? (names of the listening sockets that come
 *                             with it by SCM_RIGHTS, when reconnecting) -> {"version","protocol"}
 * program.leave    api proxy  -> {}: the asker accepts no more connections and finishes what it has
 *                             begun; its successor is started at once. "program_leaving" while an
 *                             earlier one has not ended
 * sandbox.create   api        template, name?, env?, labels?, limits?, egress?, policy?, owner?,
 *                             access?
 *                             -> {"sandbox"}, once it runs; an error once it has failed
 * sandbox.get      api proxy  sandbox -> {"sandbox"} (to the proxy: id, state, access, access_epoch and
 *                             "sleeps":bool, paused as idle, only)
 * sandbox.list     api        after? (id), limit? (1..64) -> {"sandboxes":[],"more":bool}, by id
 * sandbox.start    api        sandbox -> {"sandbox"}, once it runs
 * sandbox.pause    api        sandbox -> {"sandbox"}: its processes are frozen, until resumed
 * sandbox.resume   api        sandbox -> {"sandbox"}, which runs
 * sandbox.wake     api proxy  sandbox -> {"sandbox"}: one that idleness has paused goes on;
 *                             "sandbox_paused" for one that sandbox.pause has
 * sandbox.used     api        sandbox -> {}: it is not idle ([sandbox] idle_timeout)
 * sandbox.stop     api        sandbox, grace_ms? (0..60000, 5000) -> {"sandbox"}, once stopped
 * sandbox.remove   api        sandbox -> {}, once it is gone from every listing; its files are
 *                             deleted in the background
 * sandbox.connect  api proxy  sandbox -> {"generation"} + 1 descriptor: a connection to the
 *                             sandbox's init, with the asker's role set; "init_timeout" after 5 s
 * sandbox.sockets  api proxy  sandbox, inet? (0..8), inet6? (0..8) -> {} + that many non-blocking
 *                             TCP sockets, IPv4 first, made in the sandbox's network namespace,
 *                             not connected
 * sandbox.update   api        sandbox, name? ("": none), labels? (all of them), limits? (those that
 *                             change), egress?, access? -> {"sandbox"}; all or nothing; live, but for limits.log,
 *                             which holds from the next start. limits.disk below what is in use:
 *                             nothing can be written until enough is deleted (btrfs: refused);
 *                             limits.inodes of a disk `image` cannot be changed
 * sandbox.revoke   api        sandbox -> {}: access_epoch is another one, so every preview token made
 *                             so far is refused; saved and announced
 * sandbox.report   proxy      sandbox, port (0: not known), report {} (browser-report.h) -> {}: told
 *                             to the api, unless that is behind
 * sandbox.stats    api        sandbox -> {"memory_bytes","memory_peak_bytes","memory_limit_bytes",
 *                             "swap_bytes","cpu_ns","cpu_user_ns","cpu_system_ns","cpu_periods",
 *                             "cpu_throttled_periods","cpu_throttled_ns","pids","pids_limit",
 *                             "pids_refused","oom_kills","io_read_bytes","io_write_bytes",
 *                             "network_rx_bytes","network_tx_bytes",
 *                             "egress_accepted_packets","egress_accepted_bytes",
 *                             "egress_refused_packets","egress_refused_bytes" (out of the sandbox),
 *                             "dns_queries","dns_refused","disk_bytes",
 *                             "disk_limit_bytes","inodes","inodes_limit" (of /, as its file system
 *                             counts)}; -1: not known
 * egress.list      resolver   after? (id) -> {"sandboxes":[id],"more","servers":["ADDRESS[:PORT]"]}:
 *                             those with a network, and whom to ask for names
 * egress.get       resolver   sandbox -> {"generation","any":bool (any name may be asked for),
 *                             "domains":[patterns], "queries","refusals" (as last told)}
 * egress.sockets   resolver   sandbox -> the same + 2 descriptors: UDP and listening TCP socket on
 *                             127.0.0.53:53 inside the sandbox
 * egress.allow     resolver   sandbox, name, addresses (1..32, IPv4), seconds (1..86400) -> {}, once
 *                             the packet filter has them; "refused" unless the sandbox is in mode
 *                             allow, a rule means the name and every address is public
 * egress.count     resolver   sandbox, queries, refusals (so far) -> {}
 * host.doctor      api        -> {"checks":[{"name","status":"active"|"degraded"|"absent"|"unknown",
 *                             "detail","advice" (string|null),"required"}]}: the isolation that is
 *                             in force, as the kernel tells it
 * policy.list      api        -> {"policies":[{"name","description","default":bool,"sandboxes"}]}
 * policy.get       api        name -> {"policy"}: the file, with everything that it extends
 * policy.check     api        text (of a policy file, 2..49152 bytes), file? (what messages call
 *                             it, 1..200 bytes) -> {"name"}; an error says FILE:LINE, the field and
 *                             what is allowed. Changes nothing.
 * jwks.put         fetch      + 1 descriptor, a sealed memfd: the keys of [auth] jwks_url -> {}
 * jwks.get         api        -> {} + 1 descriptor: the last ones; "not_there"
 * jwks.refresh     api        -> {}: they are fetched at once, unless that was so less than 30 s ago
 * tls.get          api proxy  -> {} + 1 descriptor: the certificates (tls/certificates.h);
 *                             "not_configured" where [tls] names none
 * webhook.channel  api        -> {} + 1 descriptor: packets to and from auracode-hook (hook/job.h)
 * log.get          proxy      -> {} + 1 descriptor: the file of [proxy] access_log, to append to;
 *                             rotated before if it has reached its size. "not_configured"
 * template.list    api        -> {"templates":[{"name","description","parent","dev","created_at",
 *                             "version"}]}; dev: {"command","port"} or null
 * template.create  api        name, sandbox (stopped), description?, dev?, consume? (bool: the
 *                             sandbox is removed and its upper becomes the layer without a copy)
 *                             -> {"template"}
 * template.remove  api        name -> {}
 *
 * Event on every change, to both: {"event":"sandbox.state","sandbox":{...}} (to the proxy: id,
 * state, access and access_epoch only); for a removed one the state is "removed".
 * {"event":"sandbox.report","sandbox" (id),"port","report":{}} to the api: see above.
 * {"event":"tls.changed"} to both, when the files of [tls] were read again: ask for them.
 * {"event":"jwks.changed"} after jwks.put, {"event":"jwks.refresh"} for auracode-fetch.
 * {"event":"log.changed"} to all, when the access log was opened again: the proxy asks for it.
 *
 * 2. The init's socket
 * ====================
 * auracode-init listens inside the sandbox on a socket whose file only the host's root can reach.
 * The first request on a connection is `hello`, sent by the supervisor before it hands the
 * connection on; the role cannot change after.
 *
 * Process: {"process_id" (from 1, never reused in a generation),"pid" (inside),"name","argv":[],
 *   "cwd","state":"running"|"exited","exit_code" (int|null),"signal" ("SIGKILL"...|null),
 *   cause (below),"started_at","ended_at" (ms since the epoch),"duration_ms","log_first","log_next"
 *   (offsets of the first kept, the next log byte)}
 * Cause: four members, while nothing has ended null, null, null, []:
 *   "cause": exited | signal | timeout (its time limit) | request (process.signal) | oom | seccomp (a
 *     call that the policy kills for) | sandbox (the sandbox was stopped) | spawn_failed (services)
 *   "cause_text": a sentence without subject: "killed: out of memory (peak 192 MiB of 192 MiB)"
 *   "cause_detail": what is known, of: "signal", "sender": "api"|"init"|"kernel"|"unknown" (itself,
 *     another process inside, or the host: the kernel does not tell), "timeout_ms",
 *     "memory_peak_bytes", "memory_limit_bytes", "pids_limit"; "syscall" (name|null),
 *     "syscall_number", "arch": the forbidden call that it, or a program of it, made; "code" (of
 *     spawn_failed)
 *   "limits_hit": the sandbox's limits that were reached while it lived, whatever it ended with:
 *     memory (an OOM kill), memory_high, pids; and what was full at its end: disk, inodes (/app; not
 *     told of a disk `btrfs`), tmp, tmp_inodes (/tmp), shm, shm_inodes (/dev/shm)
 * Service: {"state":"stopped"|"starting"|"ready"|"crashed","port" (int|null),
 *   "address" ("127.0.0.1"|"::1"|null),"process_id" (int|null),"restarts",cause (as above),
 *   "last_lines":[up to 20 strings, 4 KiB together],"since" (ms since the epoch, of this state),
 *   "command":[argv],"auto_restart":bool,"path_form":bool}
 * Port: {"port","addresses":["127.0.0.1","::1","0.0.0.0","::"...]}
 * File: {"path","type":"file"|"directory"|"symlink"|"other","size","mode","mtime_ms","mtime_ns",
 *   "inode"}
 *
 * While it stops, process.start and service.set are refused ("stopping").
 *
 * op              who             fields -> answer
 * hello           anyone, once    role: supervisor|api|proxy -> {"sandbox","generation",
 *                                 "protocol","version"}
 * ping            all             -> {}
 * process.start   api supervisor  argv[], env{}?, cwd? (/app), user? ("user"|"root"), name?, tty?,
 *                                 rows?, cols?, timeout_ms? (0: none), stdin? (bool: fed by the
 *                                 attached stream, else /dev/null), attach? (bool, with 1
 *                                 descriptor: a stream, below), discard? (bool: forget it once it
 *                                 has ended and its stream has taken everything) -> {"process"}.
 *                                 What cannot be executed: code "exec_failed", the message names
 *                                 the path; "pids_limit" and "memory_limit" name the limit,
 *                                 "processes_limit": too many started by us
 * process.list    api             -> {"processes":[]}: live and the 64 last ended, newest first,
 *                                 as many as fit a packet
 * process.get     api             process_id -> {"process"}
 * process.signal  api             process_id, signal ("SIGTERM"), group? (true) -> {}
 * process.attach  api             process_id, since? (log offset; -1: the end), follow, stdin?
 *                                 (bool: this stream feeds stdin) + 1 descriptor -> {"process"}
 * process.resize  api             process_id, rows, cols -> {}
 * service.set     api             argv[], env{}?, cwd?, port? (expected), auto_restart? (true),
 *                                 start_timeout_ms? (60000), path_form? (false: it serves at its
 *                                 root; true: below /p/ID/PORT) -> {"service"}; replaces and
 *                                 restarts the one that is set, the log goes on
 * service.get     api proxy       -> {"service"}
 * service.stop    api             -> {"service"}, once its processes are gone
 * service.attach  api             since?, follow + 1 descriptor -> {}: the service's log, which goes
 *                                 on over restarts
 * ports.list      api proxy       -> {"ports":[]}
 * file.stat       api             path -> {"file"}; of a link itself
 * file.read       api             path -> {"file"} + 1 descriptor, read-only, of a regular file
 * file.write      api             path, mode? (0644), make_parents? (true) -> {"handle"} + 1
 *                                 descriptor, write-only, of a hidden temporary file beside it
 * file.commit     api             handle, expect_inode?, expect_mtime_ns?, expect_size? (If-Match:
 *                                 all three as seen), create_only? -> {"file"}: renamed into place.
 *                                 "precondition_failed" (EBUSY) when the file is another now
 * file.abort      api             handle -> {}
 * file.list       api             path, after? (name), limit? (1..512) -> {"entries":[File with
 *                                 "name"],"more":bool}, by name; a page may be shorter than asked
 * file.mkdir      api             path, make_parents? (true) -> {"file"}
 * file.rename     api             from, to -> {"file"}
 * file.remove     api             path, recursive? -> {}
 * file.watch      api             -> {}: from now on changes below /app are told ("files")
 * shutdown        supervisor      grace_ms -> {}: SIGTERM to everything, SIGKILL after the grace,
 *                                 then init exits
 *
 * Events to api and proxy: {"event":"service.state","service":{}}, {"event":"ports","ports":[]};
 * to api: {"event":"process.exit","process":{}} and, once asked for by file.watch,
 * {"event":"files","changes":[{"path" (below /app),"kind":"created"|"changed"|"removed"}],"overflow"
 * (bool: there were more than are told, look again)}, gathered for 60 ms, without what lies in
 * node_modules, .git and folders of build output; to the supervisor: {"event":"memory.oom_kills",
 * "count"}, each time that the number of OOM kills in the sandbox is seen to have risen.
 *
 * Paths are absolute or relative to /app and must lie in a project root: /app, /home/user or /tmp.
 * They are resolved with openat2(RESOLVE_BENEATH|RESOLVE_NO_MAGICLINKS) below that root; one that
 * leads out is "path_outside_project" (EXDEV), what is neither file nor folder "not_regular"
 * (EINVAL).
 *
 * Stream (process.start with attach, process.attach, service.attach): SOCK_SEQPACKET packets of at
 * most 32 KiB + 1 byte. The first byte is the channel: 0 stdin (to init; empty: end of file),
 * 1 stdout (also a terminal's), 2 stderr, 3 JSON text. On channel 3 init sends
 *   {"type":"offset","next":N}   before the first data: log offset of what follows
 *   {"type":"gap","bytes":N}     log bytes that were overwritten before this reader took them
 *   {"type":"restart"}           service log: the service was started again here
 *   {"type":"exit","process":{}} last packet of a process's stream; then the stream is closed
 * and takes {"type":"resize","rows":R,"cols":C} and {"type":"signal","signal":"SIGINT"}. While a
 * stream of process.start is open and behind, init stops reading the process's output instead of
 * dropping any (back-pressure); other readers get a gap. When a stream's reader goes away the
 * process runs on, into the log. */
/* clang-format on */
#pragma once

#define PROTOCOL_VERSION 1

/* Roles on the supervisor's socket and on the init's. */
#define ROLE_NONE       (1u << 0) /* init: before hello */
#define ROLE_SUPERVISOR (1u << 1)
#define ROLE_API        (1u << 2)
#define ROLE_PROXY      (1u << 3)
#define ROLE_RESOLVER   (1u << 4) /* the supervisor's alone */
#define ROLE_FETCH      (1u << 5) /* the same */
#define ROLE_HOOK       (1u << 6) /* the same */

#define STREAM_CHUNK_MAX 32768u

enum stream_channel {
    STREAM_STDIN = 0,
    STREAM_STDOUT = 1,
    STREAM_STDERR = 2,
    STREAM_CONTROL = 3,
};

#define PROJECT_DIR "/app"
#define USER_ID     1000
#define USER_NAME   "user"
#define USER_HOME   "/home/user"
