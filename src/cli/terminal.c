/* Theory of operation: see terminal.h. In raw mode the signals that end a program arrive through a
 * descriptor (stream.c), so every way out but SIGKILL passes exit handlers. While a password is
 * read they interrupt the reading, and are raised again once the terminal is as it was. */
#include "cli/terminal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

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

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static volatile sig_atomic_t ended_by;

static void on_ending(int number)
{
    ended_by = number;
}

/* What is typed before the echo is off is dropped, so the prompt comes after. */
static int read_without_echo(const char *prompt, char *ret_line, size_t size)
{
    struct termios before, silent;

    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return -errno;
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) < 0)
        return -errno;
    fputs(prompt, stderr);
    ssize_t n = read(STDIN_FILENO, ret_line, size - 1);
    int r = n > 0 ? 0 : n == 0 ? -ECANCELED : -errno;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    if (r == 0)
        ret_line[n] = '\0';
    return r;
}

int terminal_password(const char *prompt, char *ret_line, size_t size)
{
    const struct sigaction interrupt = {.sa_handler = on_ending}; /* no SA_RESTART */
    struct sigaction before[ELEMENTS(ending)];

    if (!isatty(STDIN_FILENO))
        return -ENOTTY;
    ended_by = 0;
    for (size_t i = 0; i < ELEMENTS(ending); i++)
        sigaction(ending[i], &interrupt, &before[i]);
    int r = read_without_echo(prompt, ret_line, size);
    for (size_t i = 0; i < ELEMENTS(ending); i++)
        sigaction(ending[i], &before[i], NULL);
    fputc('\n', stderr);
    if (ended_by)
        raise(ended_by);
    return r;
}
