/* Fuzz target: the configuration file, and what the supervisor hands on of it: an accepted file
 * must be exported and imported without a loss. */
#include "fuzz.h"

#include "base/cleanup.h"
#include "base/config.h"
#include "base/fd.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int file = -1;
static char path[64];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    snprintf(path, sizeof(path), "%s/auracode.conf", fuzz_folder());
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        fuzz_give_up(path);
    return 0;
}

static void hand_over(const struct config *config, unsigned int audience)
{
    struct config imported;
    struct error err = ERROR_NONE;
    cleanup_json json_t *object = config_export(config, audience);
    cleanup_free char *text = object ? json_dumps(object, 0) : NULL;

    /* A value that is no UTF-8 has no JSON form. */
    if (!text)
        return;
    cleanup_close int fd = memfd_sealed("config", text, strlen(text), &err);
    if (fd < 0 || config_init(&imported, &err) < 0)
        fuzz_give_up("the hand-over");
    if (config_import(&imported, fd, &err) < 0)
        abort();
    cleanup_json json_t *again = config_export(&imported, audience);
    config_free(&imported);
    if (!json_equal(object, again))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct error err = ERROR_NONE;

    if (ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size ||
        config_init(&config, &err) < 0)
        fuzz_give_up("the file");
    int r = config_load(&config, path, true, &err);
    if (r == 0)
        r = config_finish(&config, &err);
    if (r == 0) {
        hand_over(&config, CONFIG_FOR_API);
        hand_over(&config, CONFIG_FOR_PROXY);
    } else if (err.err == 0 || !err.message[0]) {
        abort();
    }
    config_free(&config);
    return 0;
}
