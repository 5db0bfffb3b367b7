/* The log of a process: a byte ring of records {channel, length}, bounded, with absolute offsets
 * that count payload bytes from the start of the log and never go back. What does not fit any more
 * is overwritten oldest first; a reader that was too slow learns how much it missed.
 * See process.h for the functions that other parts use. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring;

/* A place in the ring: always at a record or inside one. */
struct ring_place {
    uint64_t raw;   /* position of the record, headers counted */
    size_t skip;    /* payload bytes of it already taken */
    int64_t offset; /* log offset of the next byte */
};

struct ring_cursor {
    struct ring *ring;
    struct ring_place place;
    void (*wake)(struct ring_cursor *cursor); /* something was appended */
    struct ring_cursor *next, *previous;
};

/* Appends up to 32 KiB. -ENOMEM when there is no memory for even a minimal ring. */
int ring_append(struct ring *ring, unsigned int channel, const void *data, size_t length);

int64_t ring_first(const struct ring *ring);

/* `since`: log offset, clamped to what there is; -1: the end. */
void ring_cursor_open(struct ring_cursor *cursor, struct ring *ring, int64_t since);
void ring_cursor_close(struct ring_cursor *cursor);

/* Log bytes overwritten before this cursor took them; moves it behind the hole. */
int64_t ring_cursor_gap(struct ring_cursor *cursor);

/* Copies the next bytes, all of one channel. False: nothing there. The cursor moves only when the
 * caller stores `ret_after` in its place. A restart mark is channel STREAM_CONTROL and no bytes. */
bool ring_cursor_peek(const struct ring_cursor *cursor, unsigned int *ret_channel, void *buffer,
                      size_t size, size_t *ret_length, struct ring_place *ret_after);

/* Bytes of the ring, headers included, that the cursor has not taken. */
uint64_t ring_cursor_behind(const struct ring_cursor *cursor);
