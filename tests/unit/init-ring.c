/* The log ring of the init and the cleaning of last lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/protocol.h"
#include "init/process.h"
#include "init/ring.h"
#include "init/text.h"

#include <errno.h>
#include <string.h>

#define RING_BYTES 65536u

/* The byte that stands at this offset of every log here. */
static unsigned char byte_at(int64_t offset)
{
    return (unsigned char)(offset * 31 + offset / 251);
}

static void append(struct ring *ring, unsigned int channel, size_t length)
{
    unsigned char data[4096];

    for (size_t i = 0; i < length; i++)
        data[i] = byte_at(ring_next(ring) + (int64_t)i);
    assert_int_equal(ring_append(ring, channel, data, length), 0);
}

/* Reads everything in pieces of at most `size` and checks each byte. */
static int64_t read_all(struct ring_cursor *cursor, size_t size)
{
    unsigned char data[4096];
    struct ring_place after;
    unsigned int channel;
    size_t length;
    int64_t total = 0;

    while (ring_cursor_peek(cursor, &channel, data, size, &length, &after)) {
        for (size_t i = 0; i < length; i++)
            assert_int_equal(data[i], byte_at(cursor->place.offset + (int64_t)i));
        assert_int_equal(after.offset, cursor->place.offset + (int64_t)length);
        cursor->place = after;
        total += (int64_t)length;
    }
    return total;
}

static void test_grow_and_wrap(void **state)
{
    struct ring *ring = ring_new(RING_BYTES);
    struct ring_cursor cursor = {0};

    (void)state;
    ring_cursor_open(&cursor, ring, 0);
    for (size_t i = 1; i < 2000; i++) {
        append(ring, STREAM_STDOUT, i % 977);
        if (i % 7 == 0)
            read_all(&cursor, 1 + i % 300);
        assert_int_equal(ring_cursor_gap(&cursor), 0);
    }
    read_all(&cursor, 4096);
    assert_int_equal(cursor.place.offset, ring_next(ring));
    assert_int_equal(ring_cursor_behind(&cursor), 0);
    ring_free(ring);
}

static void test_gap(void **state)
{
    struct ring *ring = ring_new(RING_BYTES);
    struct ring_cursor cursor = {0};

    (void)state;
    append(ring, STREAM_STDOUT, 100);
    ring_cursor_open(&cursor, ring, 50);
    assert_int_equal(cursor.place.offset, 50);
    while (ring_first(ring) == 0)
        append(ring, STREAM_STDOUT, 1000);
    int64_t first = ring_first(ring);
    assert_int_equal(ring_cursor_gap(&cursor), first - 50);
    assert_int_equal(ring_cursor_gap(&cursor), 0);
    assert_int_equal(read_all(&cursor, 333), ring_next(ring) - first);
    assert_true(ring_next(ring) - first <= RING_BYTES);
    assert_true(ring_next(ring) - first > RING_BYTES / 2);
    ring_free(ring);
}

static void test_open_at(void **state)
{
    static const struct {
        int64_t since, offset;
    } cases[] = {{-1, 300}, {0, 0}, {99, 99}, {100, 100}, {150, 150}, {300, 300}, {9999, 300}};
    struct ring *ring = ring_new(RING_BYTES);

    (void)state;
    for (int i = 0; i < 3; i++)
        append(ring, STREAM_STDOUT, 100);
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct ring_cursor cursor = {0};
        ring_cursor_open(&cursor, ring, cases[i].since);
        assert_int_equal(cursor.place.offset, cases[i].offset);
        assert_int_equal(read_all(&cursor, 4096), 300 - cases[i].offset);
        ring_cursor_close(&cursor);
    }
    ring_free(ring);
}

static void test_channels_and_marks(void **state)
{
    static const struct {
        unsigned int channel;
        size_t length;
    } expected[] = {{STREAM_STDOUT, 30}, {STREAM_STDERR, 5}, {STREAM_CONTROL, 0},
                    {STREAM_CONTROL, 0}, {STREAM_STDERR, 7}, {STREAM_STDOUT, 1}};
    struct ring *ring = ring_new(RING_BYTES);
    struct ring_cursor cursor = {0};
    unsigned char data[100];
    unsigned int channel;
    size_t length;

    (void)state;
    append(ring, STREAM_STDOUT, 10);
    append(ring, STREAM_STDOUT, 20);
    append(ring, STREAM_STDERR, 5);
    assert_int_equal(ring_mark_restart(ring), 0);
    assert_int_equal(ring_mark_restart(ring), 0);
    append(ring, STREAM_STDERR, 7);
    append(ring, STREAM_STDOUT, 1);
    ring_cursor_open(&cursor, ring, 0);
    for (size_t i = 0; i < ELEMENTS(expected); i++) {
        assert_true(
            ring_cursor_peek(&cursor, &channel, data, sizeof(data), &length, &cursor.place));
        assert_int_equal(channel, expected[i].channel);
        assert_int_equal(length, expected[i].length);
    }
    assert_false(ring_cursor_peek(&cursor, &channel, data, sizeof(data), &length, &cursor.place));
    ring_free(ring);
}

static unsigned int woken;

static void count_wake(struct ring_cursor *cursor)
{
    assert_true(ring_cursor_behind(cursor) > 0);
    woken++;
}

static void test_wake(void **state)
{
    struct ring *ring = ring_new(RING_BYTES);
    struct ring_cursor cursors[2] = {{.wake = count_wake}, {.wake = count_wake}};

    (void)state;
    woken = 0;
    ring_cursor_open(&cursors[0], ring, -1);
    ring_cursor_open(&cursors[1], ring, -1);
    append(ring, STREAM_STDOUT, 1);
    assert_int_equal(woken, 2);
    ring_cursor_close(&cursors[1]);
    append(ring, STREAM_STDOUT, 1);
    assert_int_equal(woken, 3);
    ring_free(ring);
    assert_null(cursors[0].ring);
}

static void test_too_large(void **state)
{
    struct ring *ring = ring_new(4096);
    unsigned char data[4096] = {0};

    (void)state;
    assert_int_equal(ring_append(ring, STREAM_STDOUT, data, sizeof(data)), -EMSGSIZE);
    assert_int_equal(ring_next(ring), 0);
    ring_free(ring);
}

static void test_clean(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain\n", "plain\n"},
        {"\033[1;32mgreen\033[0m\r\n", "green\n"},
        {"\033]0;title\a-\033]8;;x\033\\=", "-="},
        {"a\tb\x01\x7f", "a b"},
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xff\xc3!", "\?\?!"},
        {"\xc0\x80|\xed\xa0\x80", "\?\?|\?\?\?"},
        {"\xc2\x9b!", "!"},
        {"cut\033[1", "cut"},
        {"cut\033", "cut"},
        {"cut\xe2\x82", "cut??"},
    };
    char text[64];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        size_t length = strlen(cases[i].in);
        memcpy(text, cases[i].in, length);
        text[text_clean(text, length)] = '\0';
        assert_string_equal(text, cases[i].out);
    }
}

static void check_lines(const struct ring *ring, size_t lines, size_t bytes, const char *expected)
{
    cleanup_json json_t *list = ring_last_lines(ring, lines, bytes);
    cleanup_free char *text = json_dumps(list, JSON_COMPACT);

    assert_string_equal(text, expected);
}

static void test_last_lines(void **state)
{
    static const char log[] = "one\n\ntwo\r\n\033[31mthr\xc3\xa9\xc3\xa9\033[0m\nlast";
    struct ring *ring = ring_new(RING_BYTES);

    (void)state;
    check_lines(ring, 20, 4096, "[]");
    assert_int_equal(ring_append(ring, STREAM_STDERR, log, strlen(log)), 0);
    check_lines(ring, 20, 4096, "[\"one\",\"two\",\"thr\xc3\xa9\xc3\xa9\",\"last\"]");
    check_lines(ring, 2, 4096, "[\"thr\xc3\xa9\xc3\xa9\",\"last\"]");
    check_lines(ring, 20, 7, "[\"\xc3\xa9\",\"last\"]");
    ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grow_and_wrap), cmocka_unit_test(test_gap),
        cmocka_unit_test(test_open_at),       cmocka_unit_test(test_channels_and_marks),
        cmocka_unit_test(test_wake),          cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_clean),         cmocka_unit_test(test_last_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
