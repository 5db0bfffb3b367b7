/* Processes of the project: started by `spawn`, known by a number that is never reused, with a log
 * ring each. */
#pragma once

#include "base/server.h"
#include "init/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cause;
struct ring;
struct process;

struct process_spec {
    const char *name; /* may be NULL */
    json_t *argv;     /* strings, not empty; borrowed during the call */
    json_t *env;      /* strings or NULL */
    const char *cwd;  /* NULL: /app */
    bool as_root;     /* uid 0 of the sandbox, still without capabilities */
    bool tty;
    int64_t rows, cols; /* 0: 24 x 80 */
    int64_t timeout_ms; /* 0: none */
    bool want_stdin;    /* a pipe; else /dev/null */
    bool discard;       /* forget it once it has ended and its stream has taken everything */
    int stream_fd;      /* -1, or a SEQPACKET stream to attach (taken, also on failure) */
    struct ring *log;   /* NULL: a ring of its own; else a shared one (service) that outlives it */
    /* Called once, from the loop, when it has ended and its output has been drained; may be NULL.
     */
    void (*on_exit)(struct process *process, void *userdata);
    void *userdata;
};

/* Starts one. A program that cannot be executed: code "exec_failed", message names the path. */
int process_start(const struct process_spec *spec, struct process **ret_process, struct error *err);

struct process *process_find(int64_t process_id);
int64_t process_id(const struct process *process);
pid_t process_pid(const struct process *process);
bool process_running(const struct process *process);
/* Why it ended; CAUSE_NONE while it runs. */
const struct cause *process_cause(const struct process *process);

/* `signal`: number. `group`: the whole process group. -ESRCH when it has ended. */
int process_signal(struct process *process, int signal, bool group, struct error *err);

/* Kills it and all of its session, since it took longer than `timeout_ms`. */
void process_expire(struct process *process, int64_t timeout_ms);

/* The process object of protocol.h; new reference. */
json_t *process_to_json(const struct process *process);

/* SIGTERM to every group, SIGKILL after the grace; `done` is called when nothing is left. */
void process_stop_all(int64_t grace_ms, void (*done)(void));

/* True from process_stop_all on. */
bool process_stopping(void);

/* Number of live processes started by process_start. */
unsigned int process_live_count(void);

/* Whether anything lives besides the init: those, or what they left running. */
bool process_any(void);

/* A stream that follows any ring (service.attach): takes stream_fd. since: offset, -1: the end. */
int stream_attach_ring(struct ring *ring, int64_t since, bool follow, int stream_fd,
                       struct error *err);

/* ring.c */
/* max_bytes: 4096 or more; memory comes with use. */
struct ring *ring_new(size_t max_bytes);
void ring_free(struct ring *ring);
/* Tells the followers that the service was started again here: {"type":"restart"}. */
int ring_mark_restart(struct ring *ring);
/* The last up to `max_lines` lines, together at most `max_bytes`, as a JSON array of valid UTF-8
 * strings without ANSI escapes and control characters; new reference. */
json_t *ring_last_lines(const struct ring *ring, size_t max_lines, size_t max_bytes);
/* Offset after the newest byte: changes whenever something was logged. */
int64_t ring_next(const struct ring *ring);

/* Sends an event to every connection whose role is in the mask `roles`; `event` is stolen. (conn.c)
 */
void conn_broadcast(unsigned int roles, json_t *event);

/* Operations of other files, joined in conn.c's table: {service,ports,file,watch}_ops. */
extern const struct server_op file_ops[], service_ops[], watch_ops[];
extern const size_t n_file_ops, n_service_ops, n_watch_ops;
/* A connection ends: its file.write handles are aborted. (files) */
void file_conn_closed(const struct server_conn *conn);
/* Called once at start / when a process was started or the last one ended, to switch port polling.
 * (service) */
void service_init(void);
void service_processes_changed(void);
