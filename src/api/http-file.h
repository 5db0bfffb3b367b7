/* The parts of HTTP that concern files: entity tags made from a file's identity, conditional
 * requests, byte ranges, dates. Pure functions. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* What identifies a version of a file; taken from an init's stat, which is checked. */
struct file_version {
    int64_t inode, mtime_ns, size;
};

#define ETAG_SIZE 56

/* -EPROTO when the stat object is malformed. */
int file_version_of(const json_t *stat, struct file_version *ret_version);
void etag_format(const struct file_version *version, char text[ETAG_SIZE]);

/* Does a header such as `"a", W/"b"` or `*` name this tag? */
bool etag_listed(const char *header, const char *etag);

/* One range of `Range: bytes=…` within `size` bytes. 0: serve *ret_first .. *ret_last; -ENOENT: no
 * (single, well-formed) range, serve all; -ERANGE: not satisfiable. */
int range_parse(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_last);

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
void http_date(time_t time, char text[32]);
