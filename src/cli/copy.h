/* Files between this machine and a sandbox. What a sandbox names is hostile: a listed name with a
 * slash, or "..", is refused, and no link is followed below the target folder. */
#pragma once

#include "base/error.h"
#include "cli/client.h"

#include <stddef.h>

struct copy {
    struct client *client;
    const char *files_path; /* /v1/sandboxes/ID/files */
    size_t copied, skipped; /* skipped: links and special files */
};

#define COPY_DEPTH_MAX 64

/* `name` is looked up in `dir_fd`. The folder forms copy what is in one folder into the other,
 * which they make if it is missing. */
int copy_file_in(struct copy *copy, int dir_fd, const char *name, const char *remote,
                 struct error *err);
int copy_folder_in(struct copy *copy, int dir_fd, const char *name, const char *remote,
                   struct error *err);
int copy_file_out(struct copy *copy, const char *remote, int dir_fd, const char *name,
                  struct error *err);
int copy_folder_out(struct copy *copy, const char *remote, int dir_fd, const char *name,
                    struct error *err);
