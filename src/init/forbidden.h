/* System calls that the policy kills for: another architecture's, for instance.
 *
 * The seccomp program answers them with SECCOMP_RET_USER_NOTIF. The caller then waits inside the
 * call while its listener tells us the number and the architecture, which a SIGSYS would not; we
 * write them down and kill it. The call itself is never executed: a listener that closes makes it
 * fail with ENOSYS. Calls that are allowed or denied cost what they cost without a listener. */
#pragma once

#include "init/cause.h"

/* Serves the listener (taken) of a process and of all that it starts, until the last has gone. */
int forbidden_watch(int listener_fd, int64_t process_id);

/* "`getpid` (number 20) of i386" */
void forbidden_describe(const struct forbidden_call *call, char *ret_text, size_t size);

/* Adds syscall (name), syscall_number and arch. */
void forbidden_add_to(const struct forbidden_call *call, json_t *object);
