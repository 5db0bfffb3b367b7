/* Uploads: a file is written beside its target under a hidden name and renamed into place, so that
 * readers and watchers see the old content or the new. */
#pragma once

#include "base/server.h"

#define FILE_HANDLES_MAX 64u

/* Of the hidden file: the prefix and 8 random characters. */
#define FILE_TEMPORARY_PREFIX ".auracode-"
#define FILE_TEMPORARY_LENGTH 18u

struct file_write_params {
    const char *path;
    int64_t mode; /* permission bits; 0: as the file it replaces, else 0644 */
    bool make_parents;
};

struct file_commit_params {
    int64_t handle, expect_inode, expect_mtime_ns, expect_size;
    bool create_only;
};

struct file_abort_params {
    int64_t handle;
};

/* Handlers of file.write, file.commit and file.abort. */
int file_write_start(struct request *request, void *params, struct error *err);
int file_write_commit(struct request *request, void *params, struct error *err);
int file_write_abort(struct request *request, void *params, struct error *err);
