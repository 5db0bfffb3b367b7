/* The access log's writer: every line once and whole over a change of the file, none waited for
 * while the disk hangs, none lost without being counted. */
#include "proxy/access-log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LINE_LENGTH 32u

static struct figures figures;

static int make_file(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);

    assert_true(fd >= 0 && fcntl(fd, F_SETFL, O_APPEND) == 0);
    return fd;
}

static struct access_log *begin(int fd, uint64_t size_max, int wake)
{
    struct access_log *log;

    atomic_store(&figures.log_lost, 0);
    assert_int_equal(access_log_new(fd, 2, size_max, wake, &figures, &log, NULL), 0);
    assert_int_equal(access_log_start(log, NULL), 0);
    return log;
}

static void add(struct access_log *log, unsigned int feed, unsigned int number)
{
    char line[LINE_LENGTH + 1];

    snprintf(line, sizeof(line), "%u %-*u\n", feed, (int)LINE_LENGTH - 3, number);
    log_feed_add(access_log_feed(log, feed), line, LINE_LENGTH);
}

/* Takes the file's lines, which must go on where `next` of their feed says. */
static void check_lines(int fd, unsigned int next[2])
{
    char line[LINE_LENGTH];
    unsigned int feed, number;

    for (off_t at = 0; pread(fd, line, sizeof(line), at) > 0; at += (off_t)sizeof(line)) {
        assert_int_equal(line[LINE_LENGTH - 1], '\n');
        assert_int_equal(sscanf(line, "%u %u", &feed, &number), 2);
        assert_true(feed < 2);
        assert_int_equal(number, next[feed]++);
    }
    close(fd);
}

static void all_is_written_at_the_end(void **state)
{
    unsigned int next[2] = {0, 0};
    int fd = make_file(), copy = dup(fd);
    struct access_log *log = begin(fd, UINT64_MAX, -1);

    (void)state;
    for (unsigned int i = 0; i < 100000; i++)
        add(log, i % 2, i / 2);
    access_log_free(log);
    check_lines(copy, next);
    assert_int_equal(next[0] + next[1] + atomic_load(&figures.log_lost), 100000);
}

/* The first file has grown, another one comes, in the middle of a stream of lines. */
static void no_line_is_lost_or_doubled_by_a_switch(void **state)
{
    int first = make_file(), second = make_file(), wake = eventfd(0, EFD_CLOEXEC);
    int copies[] = {dup(first), dup(second)};
    unsigned int next[2] = {0, 0}, number = 0;
    struct access_log *log = begin(first, 100 * LINE_LENGTH, wake);
    eventfd_t grown;

    (void)state;
    for (; number < 8000; number++)
        add(log, 0, number);
    assert_int_equal(eventfd_read(wake, &grown), 0); /* waits for the writer */
    assert_true(access_log_grown(log));
    assert_false(access_log_grown(log));
    access_log_switch(log, second);
    for (; number < 16000; number++)
        add(log, 0, number);
    access_log_free(log);
    check_lines(copies[0], next);
    assert_true(next[0] > 0 && next[0] < 16000);
    check_lines(copies[1], next);
    assert_int_equal(next[0], 16000);
    assert_int_equal(atomic_load(&figures.log_lost), 0);
    close(wake);
}

static void a_full_disk_loses_lines_that_are_counted(void **state)
{
    struct access_log *log = begin(open("/dev/full", O_WRONLY | O_CLOEXEC), UINT64_MAX, -1);

    (void)state;
    for (unsigned int i = 0; i < 1000; i++)
        add(log, i % 2, i);
    log_feed_lose(access_log_feed(log, 0));
    access_log_free(log);
    assert_int_equal(atomic_load(&figures.log_lost), 1001);
}

/* A pipe that nobody reads, as a disk that hangs. */
static void a_disk_that_hangs_keeps_nobody_waiting(void **state)
{
    unsigned int sent = 3 * LOG_FEED_MAX / LINE_LENGTH, got = 0;
    char lines[LINE_LENGTH * 128];
    int pair[2];
    ssize_t n;

    (void)state;
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    struct access_log *log = begin(pair[1], UINT64_MAX, -1);
    for (unsigned int i = 0; i < sent; i++)
        add(log, 0, i); /* returns, though nothing can be written */
    unsigned int lost = (unsigned int)atomic_load(&figures.log_lost);
    assert_in_range(lost, 1, sent - LOG_FEED_MAX / LINE_LENGTH);
    while (got < sent - lost && (n = read(pair[0], lines, sizeof(lines))) > 0) {
        assert_int_equal((size_t)n % LINE_LENGTH, 0);
        got += (unsigned int)((size_t)n / LINE_LENGTH);
    }
    assert_int_equal(got, sent - lost);
    access_log_free(log);
    assert_int_equal(read(pair[0], lines, sizeof(lines)), 0);
    close(pair[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_written_at_the_end),
        cmocka_unit_test(no_line_is_lost_or_doubled_by_a_switch),
        cmocka_unit_test(a_full_disk_loses_lines_that_are_counted),
        cmocka_unit_test(a_disk_that_hangs_keeps_nobody_waiting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
