/* What auracode-fetch asks of the kernel once it works; see base/confine.h. Connections to hosts by
 * name are what it is there for: it looks up names, reads the system's authorities and nothing
 * else.
 */
#include "fetch/fetch.h"

#include "base/cleanup.h"
#include "base/confine.h"

static const struct confine_call calls[] = {
    /* libcurl looks up names in a thread */
    CONFINE_THREADS,
    {.name = "poll"},
    CONFINE_CONNECTIONS,
    CONFINE_CURL,
    /* what is handed to the supervisor, and the files of the jail */
    {.name = "memfd_create"},
    {.name = "open"},
    {.name = "lstat"},
    {.name = "access"},
    {.name = "faccessat2"},
    {.name = "pread64"},
    {.name = "readlink"},
    {.name = "getcwd"},
    {.name = "sysinfo"},
};

int fetch_confine(struct error *err)
{
    return confine(calls, ELEMENTS(calls), err);
}
