/* Theory of operation: 32 random bytes as hexadecimal digits, which are the key as they stand. The
 * memfds are sealed, so that one program cannot change what the other believes. */
#include "supervisor/secrets.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/secret-key.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static const struct secret {
    const char *file, *memfd;
    size_t fd; /* in struct supervisor */
} secrets[] = {
    {"preview-key.json", "auracode-preview-key", offsetof(struct supervisor, preview_key_fd)},
    {"login-key.json", "auracode-login-key", offsetof(struct supervisor, login_key_fd)},
};

static int make_secret(const struct supervisor *supervisor, const char *name, json_t **ret_file,
                       struct error *err)
{
    unsigned char random[SECRET_KEY_LENGTH / 2];
    char text[SECRET_KEY_LENGTH + 1];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_sys(err, errno, "getrandom for `%s`", name);
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    cleanup_json json_t *file = json_pack("{s:s}", "key", text);
    explicit_bzero(random, sizeof(random));
    explicit_bzero(text, sizeof(text));
    if (!file)
        return error_oom(err);
    int r = file_write_json(supervisor->state_fd, name, file, 0600, err);
    if (r == 0)
        *ret_file = TAKE_PTR(file);
    return r;
}

static int open_secret(struct supervisor *supervisor, const struct secret *secret,
                       struct error *err)
{
    struct error problem = ERROR_NONE;
    cleanup_json json_t *file = NULL;
    int *fd = (int *)((char *)supervisor + secret->fd);
    int r = file_read_json(supervisor->state_fd, secret->file, 4096, &file, &problem);

    if (r == -ENOENT)
        r = make_secret(supervisor, secret->file, &file, &problem);
    if (r < 0) {
        if (err)
            *err = problem;
        return r;
    }
    const char *key = json_string_value(json_object_get(file, "key"));
    if (!key || strlen(key) != SECRET_KEY_LENGTH)
        return error_set_field(err, "key", "`%s` holds none of %u characters", secret->file,
                               SECRET_KEY_LENGTH);
    *fd = memfd_sealed(secret->memfd, key, SECRET_KEY_LENGTH, err);
    return *fd < 0 ? *fd : 0;
}

int secrets_open(struct supervisor *supervisor, struct error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTS(secrets); i++)
        r = open_secret(supervisor, &secrets[i], err);
    return r;
}
