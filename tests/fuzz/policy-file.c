/* Fuzz target: a policy file. One that is accepted gives a filter program that the kernel's own
 * limit of instructions allows; one that is refused gives a reason. */
#include "fuzz.h"

#include "base/cleanup.h"
#include "supervisor/policy.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <sys/stat.h>
#include <unistd.h>

static int file = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[64];

    (void)argc;
    (void)argv;
    snprintf(path, sizeof(path), "%s/fuzz.json", fuzz_folder());
    file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        fuzz_give_up(path);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_NONE;
    struct stat status;

    if (ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
        fuzz_give_up("the file");
    struct policy *policy = NULL;
    int r = policy_load(fuzz_folder(), "fuzz", &policy, &err);
    if (r < 0 && (err.err == 0 || !err.message[0]))
        abort();
    if (r == 0 && (fstat(policy->program_fd, &status) < 0 || status.st_size == 0 ||
                   (size_t)status.st_size > BPF_MAXINSNS * sizeof(struct sock_filter)))
        abort();
    policy_free(policy);
    return 0;
}
