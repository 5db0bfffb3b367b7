/* Theory of operation. A shell with job control gives each job a process group of its own, so a
 * kill of one group leaves others behind; but all of them stay in the session that the init made
 * for the program. The kernel has no call for a session: /proc is walked, again and again until a
 * walk finds no live member, since members may fork while it goes on. The number of walks is
 * bounded, because a fork bomb may well win against it; its group is killed at once by the kernel.
 */
#include "init/session.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define WALKS_MAX 8

/* Of a live process; the name in its stat line may contain anything, so the last ) counts. */
static bool is_member(DIR *proc, const char *name, pid_t leader)
{
    char path[32], state;
    int session;
    cleanup_free char *text = NULL;

    snprintf(path, sizeof(path), "%.16s/stat", name);
    if (file_read(dirfd(proc), path, 4096, &text, NULL, NULL) < 0)
        return false;
    const char *fields = strrchr(text, ')');
    if (!fields || sscanf(fields, ") %c %*d %*d %d", &state, &session) != 2)
        return false;
    return session == leader && state != 'Z' && state != 'X';
}

static bool kill_members(pid_t leader)
{
    cleanup_dir DIR *proc = opendir("/proc");
    const struct dirent *entry;
    uint64_t pid;
    bool any = false;

    while (proc && (entry = readdir(proc)))
        if (parse_u64(entry->d_name, 2, INT_MAX, &pid) == 0 &&
            is_member(proc, entry->d_name, leader)) {
            kill((pid_t)pid, SIGKILL);
            any = true;
        }
    return any;
}

void session_kill(pid_t leader)
{
    if (leader <= 1)
        return;
    kill(-leader, SIGKILL);
    for (int i = 0; i < WALKS_MAX && kill_members(leader); i++)
        ;
}
