/* Everything that belongs to a process of the project, beyond its process group. */
#pragma once

#include <sys/types.h>

/* SIGKILL to every member of the session that `leader` leads or led. A process that has called
 * setsid(2) itself is no member any more: it is bounded by the sandbox's limits and ends with it.
 */
void session_kill(pid_t leader);
