/* Theory of operation: see forbidden.h. One listener a started process; children inherit its
 * program, so what comes from a listener belongs to that process or to what it started. The kernel
 * hangs the listener up when the last of them is gone. */
#include "init/forbidden.h"

#include "init/process-internal.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define X32_BIT 0x40000000

struct listener {
    struct watch watch;
    int64_t process_id;
};

static const struct {
    uint32_t arch;
    const char *name;
} arch_names[] = {
    {AUDIT_ARCH_X86_64, "x86_64"}, {AUDIT_ARCH_I386, "i386"}, {AUDIT_ARCH_AARCH64, "aarch64"},
    {AUDIT_ARCH_ARM, "arm"},       {SCMP_ARCH_X32, "x32"},
};

/* libseccomp's token: the kernel's, but x32 is x86_64 with a bit in the number. */
static uint32_t token(const struct forbidden_call *call)
{
    return call->arch == AUDIT_ARCH_X86_64 && call->number & X32_BIT ? SCMP_ARCH_X32 : call->arch;
}

static const char *arch_name(const struct forbidden_call *call)
{
    for (size_t i = 0; i < ELEMENTS(arch_names); i++)
        if (arch_names[i].arch == token(call))
            return arch_names[i].name;
    return "another architecture";
}

void forbidden_describe(const struct forbidden_call *call, char *ret_text, size_t size)
{
    cleanup_free char *name = seccomp_syscall_resolve_num_arch(token(call), call->number);

    snprintf(ret_text, size, "`%s` (number %d) of %s", name ? name : "unknown",
             call->number & ~X32_BIT, arch_name(call));
}

void forbidden_add_to(const struct forbidden_call *call, json_t *object)
{
    cleanup_free char *name = seccomp_syscall_resolve_num_arch(token(call), call->number);

    json_object_set_new(object, "syscall", name ? json_string(name) : json_null());
    json_object_set_new(object, "syscall_number", json_integer(call->number & ~X32_BIT));
    json_object_set_new(object, "arch", json_string(arch_name(call)));
}

static void listener_close(struct listener *listener)
{
    loop_unwatch(&listener->watch);
    close(listener->watch.fd);
    free(listener);
}

/* The process of a thread; the thread's own number if it is gone. */
static pid_t process_of(pid_t thread)
{
    cleanup_free char *text = NULL;
    char path[32];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
    if (file_read(AT_FDCWD, path, 8192, &text, NULL, NULL) < 0)
        return thread;
    const char *line = strstr(text, "\nTgid:\t");
    int64_t pid = line ? keyed_number(line + 1 + strcspn(line + 1, "\t") + 1, NULL) : -1;
    return pid > 0 ? (pid_t)pid : thread;
}

static void on_notification(struct watch *watch, uint32_t events)
{
    struct listener *listener = (struct listener *)watch;
    struct process *process = process_find(listener->process_id);
    struct seccomp_notif notification = {0};

    if (!(events & EPOLLIN)) {
        listener_close(listener); /* nobody is left to make a call */
        return;
    }
    if (ioctl(watch->fd, SECCOMP_IOCTL_NOTIF_RECV, &notification) < 0 || notification.pid == 0)
        return; /* killed by somebody else meanwhile */
    pid_t pid = process_of((pid_t)notification.pid);
    if (process && !process->ended)
        process->cause.call = (struct forbidden_call){true, pid == process->pid,
                                                      notification.data.nr, notification.data.arch};
    kill(pid, SIGKILL);
}

int forbidden_watch(int listener_fd, int64_t process_id)
{
    cleanup_close int fd = listener_fd;
    struct listener *listener = calloc(1, sizeof(*listener));

    if (!listener)
        return -ENOMEM;
    *listener = (struct listener){{.fd = fd, .handler = on_notification}, process_id};
    int r = fd_set_nonblock(fd, true);
    if (r >= 0)
        r = loop_watch(&listener->watch, EPOLLIN);
    if (r < 0) {
        free(listener);
        return r;
    }
    (void)TAKE_FD(fd);
    return 0;
}
