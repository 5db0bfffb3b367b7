/* Descriptors and small files. Every descriptor made here is O_CLOEXEC from birth. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As many descriptors as this process may have: its soft limit becomes the hard one. */
void fd_raise_limit(void);

int fd_set_nonblock(int fd, bool nonblock);
int fd_set_cloexec(int fd, bool cloexec);

/* Writes all of it to a blocking descriptor; -errno. */
int fd_write_all(int fd, const void *data, size_t length);

/* openat2(2) with `resolve` = RESOLVE_* flags and O_CLOEXEC added. Returns the descriptor. */
int fd_openat2(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve);

/* Reads a memfd that nobody can change any more, into fresh, NUL-terminated memory. -EINVAL when it
 * is not one, -EFBIG. */
int memfd_read(int fd, size_t max, char **ret_text, struct error *err);

/* Reads a whole regular file of at most `max` bytes into fresh, NUL-terminated memory.
 * -EFBIG when it is larger, -EINVAL when it is no regular file. `ret_length` may be NULL. */
int file_read(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_length,
              struct error *err);

/* Replaces a file by temporary file + fsync + rename + fsync of the folder (all in `dir_fd`), so
 * that a reader or a crash sees the old content or the new, never a mixture. */
int file_write_atomic(int dir_fd, const char *name, const char *text, size_t length, mode_t mode,
                      struct error *err);

/* Writes to an existing file in one write(2): procfs, sysfs, cgroupfs. */
int file_write_existing(int dir_fd, const char *path, const char *text, struct error *err);

/* Same two for JSON documents; reading refuses duplicate keys and anything but an object. */
int file_read_json(int dir_fd, const char *path, size_t max, json_t **ret_value, struct error *err);
int file_write_json(int dir_fd, const char *name, const json_t *value, mode_t mode,
                    struct error *err);

/* A memfd holding `data`, sealed against every change, positioned at 0. */
int memfd_sealed(const char *name, const void *data, size_t length, struct error *err);

/* Removes the contents of a folder and, with `name`, the folder itself, never following a link and
 * never leaving the file system. Missing is success. May take long: not for an event loop. */
int remove_tree(int dir_fd, const char *name, struct error *err);

/* mkdir that accepts an existing folder. */
int dir_make(int dir_fd, const char *path, mode_t mode, struct error *err);
