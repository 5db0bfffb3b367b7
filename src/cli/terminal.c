/* Theory of operation: see terminal.h. The signals that end a program arrive through a descriptor
 * (stream.c), so every way out but SIGKILL passes exit handlers. */
#include "cli/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

static struct termios saved;
static int saved_fd = -1;

void terminal_restore(void)
{
    if (saved_fd >= 0)
        tcsetattr(saved_fd, TCSADRAIN, &saved);
    saved_fd = -1;
}

int terminal_raw(int fd)
{
    static int registered;
    struct termios raw;

    if (tcgetattr(fd, &saved) < 0)
        return -errno;
    if (!registered && atexit(terminal_restore) != 0)
        return -ENOMEM;
    registered = 1;
    raw = saved;
    cfmakeraw(&raw);
    if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
        return -errno;
    saved_fd = fd;
    return 0;
}

void terminal_size(int fd, unsigned int *ret_rows, unsigned int *ret_cols)
{
    struct winsize size = {0};

    ioctl(fd, TIOCGWINSZ, &size);
    *ret_rows = size.ws_row ? size.ws_row : 24;
    *ret_cols = size.ws_col ? size.ws_col : 80;
}
