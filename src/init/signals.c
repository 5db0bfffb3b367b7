/* Theory of operation: one table of names, since the static C library's own is not to be relied on.
 */
#include "init/process-io.h"

#include "base/cleanup.h"

#include <signal.h>
#include <string.h>

#define NAMED(name) [name] = #name

static const char *const names[] = {
    NAMED(SIGHUP),    NAMED(SIGINT),   NAMED(SIGQUIT), NAMED(SIGILL),  NAMED(SIGTRAP),
    NAMED(SIGABRT),   NAMED(SIGBUS),   NAMED(SIGFPE),  NAMED(SIGKILL), NAMED(SIGUSR1),
    NAMED(SIGSEGV),   NAMED(SIGUSR2),  NAMED(SIGPIPE), NAMED(SIGALRM), NAMED(SIGTERM),
    NAMED(SIGCHLD),   NAMED(SIGCONT),  NAMED(SIGSTOP), NAMED(SIGTSTP), NAMED(SIGTTIN),
    NAMED(SIGTTOU),   NAMED(SIGURG),   NAMED(SIGXCPU), NAMED(SIGXFSZ), NAMED(SIGVTALRM),
    NAMED(SIGPROF),   NAMED(SIGWINCH), NAMED(SIGIO),   NAMED(SIGPWR),  NAMED(SIGSYS),
    NAMED(SIGSTKFLT),
};

const char *signal_name(int signal)
{
    return signal > 0 && (size_t)signal < ELEMENTS(names) ? names[signal] : NULL;
}

int signal_number(const char *name)
{
    for (size_t i = 1; i < ELEMENTS(names); i++)
        if (names[i] && strcmp(names[i], name) == 0)
            return (int)i;
    return 0;
}
