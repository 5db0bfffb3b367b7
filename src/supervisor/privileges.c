/* Theory of operation: the table names each capability kept with what needs it; the rest goes
 * before the first request is read. A new user namespace starts with a full set of its own, so
 * sandboxes are not affected. */
#include "supervisor/privileges.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/capability.h>

static const struct {
    cap_value_t capability;
    const char *why;
} kept[] = {
    {CAP_SYS_ADMIN, "namespaces, mounts, idmaps"},
    {CAP_NET_ADMIN, "links and packet filter"},
    {CAP_SETUID, "uid_map; programs under their own users"},
    {CAP_SETGID, "gid_map; programs under their own users"},
    {CAP_SETPCAP, "empty bounding sets for the programs"},
    {CAP_KILL, "sandboxes and programs run as other users"},
    {CAP_SYS_PTRACE, "/proc/PID/ns of sandboxes"},
    {CAP_SYS_CHROOT, "setns into a mount namespace"},
    {CAP_SYS_NICE, "CPUs of sandboxes' threads"},
    {CAP_SYS_RESOURCE, "descriptor limits, growing a mounted disk"},
    {CAP_CHOWN, "layers keep their owners when copied"},
    {CAP_FOWNER, "layers keep their modes when copied"},
    {CAP_FSETID, "layers keep their modes when copied"},
    {CAP_DAC_OVERRIDE, "trees of other owners are deleted"},
    {CAP_MKNOD, "whiteouts of overlay are copied"},
    {CAP_NET_BIND_SERVICE, "listening on ports below 1024"},
};

static bool is_kept(cap_value_t capability)
{
    for (size_t i = 0; i < ELEMENTS(kept); i++)
        if (kept[i].capability == capability)
            return true;
    return false;
}

uint64_t privileges_kept(void)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < ELEMENTS(kept); i++)
        mask |= UINT64_C(1) << kept[i].capability;
    return mask;
}

int privileges_drop(struct error *err)
{
    cap_t set = cap_get_proc();

    if (!set)
        return error_sys(err, errno, "cap_get_proc");
    int r = 0;
    for (cap_value_t capability = 0; r == 0 && CAP_IS_SUPPORTED(capability); capability++) {
        if (is_kept(capability))
            continue;
        r = cap_drop_bound(capability);
        for (int flag = CAP_EFFECTIVE; r == 0 && flag <= CAP_INHERITABLE; flag++)
            r = cap_set_flag(set, (cap_flag_t)flag, 1, &capability, CAP_CLEAR);
    }
    if (r == 0)
        r = cap_set_proc(set);
    int failure = errno;
    cap_free(set);
    return r < 0 ? error_sys(err, failure, "dropping capabilities") : 0;
}
