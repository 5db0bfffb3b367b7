/* Theory of operation: see policy.h. Compiling takes about a millisecond, a look into the list
 * nothing. */
#include "supervisor/policy.h"

#include "supervisor/seccomp-profile.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct policy {
    struct policy *next;
    char name[65];
    int program_fd;
};

static struct policy *compile(struct policies *policies, const char *name, struct error *err)
{
    struct policy *policy = calloc(1, sizeof(*policy));

    if (!policy) {
        error_oom(err);
        return NULL;
    }
    snprintf(policy->name, sizeof(policy->name), "%s", name);
    policy->program_fd = seccomp_profile_compile(policies->directory, name, err);
    if (policy->program_fd < 0) {
        free(policy);
        return NULL;
    }
    policy->next = policies->first;
    policies->first = policy;
    return policy;
}

int policy_open(struct policies *policies, const char *name, struct error *err)
{
    struct policy *policy = policies->first;
    char path[64];

    while (policy && !str_equal(policy->name, name))
        policy = policy->next;
    if (!policy)
        policy = compile(policies, name, err);
    if (!policy)
        return err ? -err->err : -EINVAL;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", policy->program_fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? error_sys(err, errno, "reopening policy `%s`", name) : fd;
}

void policies_free(struct policies *policies)
{
    while (policies->first) {
        struct policy *policy = policies->first;
        policies->first = policy->next;
        close(policy->program_fd);
        free(policy);
    }
}
