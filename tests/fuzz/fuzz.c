/* Theory of operation: see fuzz.h. Inputs are texts of lines wherever that is possible, so that the
 * seeds can be read and written by hand and the fuzzer's splicing keeps whole packets. */
#include "fuzz.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

static char folder[] = "/dev/shm/auracode-fuzz.XXXXXX";
static pid_t owner;

void fuzz_give_up(const char *what)
{
    fprintf(stderr, "the fuzz target cannot run: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void remove_folder(void)
{
    if (getpid() == owner)
        remove_tree(AT_FDCWD, folder, NULL);
}

const char *fuzz_folder(void)
{
    if (owner)
        return folder;
    if (!mkdtemp(folder))
        fuzz_give_up("mkdtemp");
    owner = getpid();
    atexit(remove_folder);
    return folder;
}

bool span_line(struct span *rest, struct span *ret_line)
{
    const char *end = rest->length > 0 ? memchr(rest->data, '\n', rest->length) : NULL;

    if (rest->length == 0)
        return false;
    ret_line->data = rest->data;
    ret_line->length = end ? (size_t)(end - rest->data) : rest->length;
    size_t taken = ret_line->length + (end ? 1 : 0);
    rest->data += taken;
    rest->length -= taken;
    return true;
}

char *span_text(struct span span)
{
    char *text = malloc(span.length + 1);

    if (!text)
        fuzz_give_up("malloc");
    memcpy(text, span.data, span.length);
    text[span.length] = '\0';
    return text;
}

void fuzz_send(int peer, struct span packet, int fd)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.buffer = ""};
    struct iovec part = {.iov_base = (void *)packet.data, .iov_len = packet.length};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd >= 0) {
        header.msg_control = control.buffer;
        header.msg_controllen = sizeof(control.buffer);
        struct cmsghdr *item = CMSG_FIRSTHDR(&header);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(item), &fd, sizeof(int));
    }
    /* A peer that has hung up or is full is part of the game. */
    if (packet.length > 0)
        (void)!sendmsg(peer, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void fuzz_drain(struct ipc *peer)
{
    int r = 1;

    while (r > 0) {
        cleanup_json json_t *message = NULL;
        cleanup_fds struct ipc_fds fds = {.count = 0};
        r = ipc_receive(peer, &message, &fds);
    }
    if (r == -EPROTO)
        abort();
}
