/* Theory of operation: 32 random bytes as hexadecimal digits, which are the key as they stand. The
 * memfd is sealed, so that one program cannot change what the other believes. */
#include "supervisor/preview-key.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/preview-token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define FILE_NAME "preview-key.json"

static int make_key(struct supervisor *supervisor, json_t **ret_file, struct error *err)
{
    unsigned char random[PREVIEW_KEY_LENGTH / 2];
    char text[PREVIEW_KEY_LENGTH + 1];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_sys(err, errno, "getrandom for `%s`", FILE_NAME);
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    cleanup_json json_t *file = json_pack("{s:s}", "key", text);
    explicit_bzero(random, sizeof(random));
    explicit_bzero(text, sizeof(text));
    if (!file)
        return error_oom(err);
    int r = file_write_json(supervisor->state_fd, FILE_NAME, file, 0600, err);
    if (r == 0)
        *ret_file = TAKE_PTR(file);
    return r;
}

int preview_key_open(struct supervisor *supervisor, struct error *err)
{
    struct error problem = ERROR_NONE;
    cleanup_json json_t *file = NULL;
    int r = file_read_json(supervisor->state_fd, FILE_NAME, 4096, &file, &problem);

    if (r == -ENOENT)
        r = make_key(supervisor, &file, &problem);
    if (r < 0) {
        if (err)
            *err = problem;
        return r;
    }
    const char *key = json_string_value(json_object_get(file, "key"));
    if (!key || strlen(key) != PREVIEW_KEY_LENGTH)
        return error_set_field(err, "key", "`%s` holds none of %u characters", FILE_NAME,
                               PREVIEW_KEY_LENGTH);
    supervisor->preview_key_fd = memfd_sealed("auracode-preview-key", key, PREVIEW_KEY_LENGTH, err);
    return supervisor->preview_key_fd < 0 ? supervisor->preview_key_fd : 0;
}
