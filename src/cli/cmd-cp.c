/* cp: which of the two names is the sandbox's, and where a file lands; the copying is in copy.c. */
#include "cli/cli.h"

#include "base/str.h"
#include "cli/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* The part after "SANDBOX:", or NULL for a local name. "./a:b" is local. */
static const char *remote_part(const char *name)
{
    const char *colon = strchr(name, ':');

    return colon && colon > name && !memchr(name, '/', (size_t)(colon - name)) ? colon + 1 : NULL;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* A target that is a folder gets the source's last part appended. */
static char *target_name(const char *target, bool folder, const char *source)
{
    size_t length = strlen(target);
    bool slash = length > 0 && target[length - 1] == '/';

    if (!folder && length > 0 && !slash)
        return strdup(target);
    return str_format("%s%s%s", target, length == 0 || slash ? "" : "/", last_part(source));
}

static int copy_in(struct cli *cli, struct copy *copy, const char *local, const char *remote,
                   struct error *err)
{
    if (cli->options.recursive)
        return copy_folder_in(copy, AT_FDCWD, local, remote, err);
    cleanup_free char *target = target_name(remote, false, local);
    return target ? copy_file_in(copy, AT_FDCWD, local, target, err) : error_oom(err);
}

static int copy_out(struct cli *cli, struct copy *copy, const char *remote, const char *local,
                    struct error *err)
{
    struct stat info;
    bool folder = stat(local, &info) == 0 && S_ISDIR(info.st_mode);

    if (cli->options.recursive)
        return copy_folder_out(copy, remote, AT_FDCWD, local, err);
    cleanup_free char *target = target_name(local, folder, remote);
    return target ? copy_file_out(copy, remote, AT_FDCWD, target, err) : error_oom(err);
}

static void report(struct cli *cli, const struct copy *copy)
{
    if (cli->options.json)
        printf("{\"copied\": %zu, \"skipped\": %zu}\n", copy->copied, copy->skipped);
    else if (copy->skipped > 0)
        cli_progress(cli, "auracode: %zu files copied, %zu links or special files left out",
                     copy->copied, copy->skipped);
}

int cmd_cp(struct cli *cli, char **args, int n_args)
{
    const char *from = remote_part(args[0]), *to = remote_part(args[1]);
    struct error err = ERROR_NONE;
    cleanup_free char *path = NULL, *which = NULL;

    (void)n_args;
    if (!from == !to) {
        fprintf(stderr, "auracode: exactly one of the two must be SANDBOX:PATH\n");
        return EXIT_USAGE;
    }
    which = from ? strndup(args[0], (size_t)(from - args[0] - 1))
                 : strndup(args[1], (size_t)(to - args[1] - 1));
    int r = which ? cli_sandbox_path(cli, which, "/files", &path, &err) : error_oom(&err);
    struct copy copy = {.client = &cli->client, .files_path = path};
    if (r == 0)
        r = from ? copy_out(cli, &copy, from, args[1], &err)
                 : copy_in(cli, &copy, args[0], to, &err);
    if (r < 0)
        return cli_fail(cli, &err);
    report(cli, &copy);
    return EXIT_OK;
}
