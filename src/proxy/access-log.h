/* The file of [proxy] access_log, to which every thread adds lines and one thread of its own
 * writes.
 *
 * A write to a regular file waits for the disk, so none is made by a thread that serves. Each of
 * those has a buffer, which the writer takes once a second, or as soon as there is much in it, and
 * writes with one write(2) to a descriptor that appends. While the disk hangs the buffers fill; a
 * line that finds no room, or that could not be written, is dropped and counted
 * (figures->log_lost). Lines are whole, but for the last one before a disk was full.
 *
 * The supervisor opens and rotates the file (supervisor/access-log.h) and hands over a descriptor;
 * what is in the buffers goes to the file that is there when it is written. */
#pragma once

#include "base/error.h"
#include "base/figures.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_log;
struct log_feed;

#define LOG_FEED_MAX 1048576u /* bytes of a thread that wait to be written */

/* Takes the descriptor. A feed for each of `n_feeds` threads; when the file has reached `size_max`
 * bytes, access_log_grown turns true and `wake`, an eventfd, is written to. */
int access_log_new(int fd, unsigned int n_feeds, uint64_t size_max, int wake,
                   struct figures *figures, struct access_log **ret_log, struct error *err);

/* Starts the writer. */
int access_log_start(struct access_log *log, struct error *err);

/* Writes what there is and ends the writer; NULL is ignored. */
void access_log_free(struct access_log *log);

struct log_feed *access_log_feed(struct access_log *log, unsigned int i);

/* One line with its end. From the thread that the feed belongs to. */
void log_feed_add(struct log_feed *feed, const char *line, size_t length);

/* There should have been a line. */
void log_feed_lose(struct log_feed *feed);

/* From the control thread: whether the file has grown so far that another one is wanted; true once,
 * then again a while later if none has come. */
bool access_log_grown(struct access_log *log);

/* Takes the descriptor of another file, to which everything goes from the next write on. */
void access_log_switch(struct access_log *log, int fd);
