/* Theory of operation: see secret-key.h. It is read from the start, since all programs that were
 * handed the file share its position. */
#include "base/secret-key.h"

#include "base/cleanup.h"
#include "base/passed-fds.h"

#include <errno.h>
#include <unistd.h>

int secret_key_take(const char *name, char ret_key[SECRET_KEY_LENGTH], struct error *err)
{
    cleanup_close int fd = passed_fd_take(name);

    if (fd < 0)
        return error_sys(err, fd, "taking the descriptor `%s`", name);
    if (pread(fd, ret_key, SECRET_KEY_LENGTH, 0) != (ssize_t)SECRET_KEY_LENGTH)
        return error_set(err, EIO, "the descriptor `%s` holds no key", name);
    return 0;
}
