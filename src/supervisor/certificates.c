/* Theory of operation: auracoded may read the keys and must not parse them; the programs must parse
 * them and may not read the files. So the files go over as a sealed memfd, which only these two can
 * open, and the verdict on them is the programs' own, in the same log. The memfd of the last
 * reading that succeeded is kept for a program that starts later. */
#include "supervisor/certificates.h"

#include "supervisor/client.h"
#include "supervisor/program.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/passed-fds.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/wait.h>

#define FILE_SIZE_MAX (256u << 10) /* a chain of 16 certificates in PEM takes about 40 KiB */
#define LINE_SIZE     1024u

static json_t *read_file(const char *list, size_t i, const char *field, char **ret_path,
                         struct error *err)
{
    cleanup_free char *path = str_list_item(list, i), *text = NULL;
    size_t length;

    if (!path) {
        error_oom(err);
        return NULL;
    }
    if (path[0] != '/') {
        error_set_field(err, field, "`%s` is not an absolute path", path);
        return NULL;
    }
    if (file_read(AT_FDCWD, path, FILE_SIZE_MAX, &text, &length, err) < 0)
        return NULL;
    json_t *value = json_stringn(text, length);
    explicit_bzero(text, length);
    if (!value)
        error_set(err, EINVAL, "`%s` is not text: expected PEM (-----BEGIN ...)", path);
    *ret_path = TAKE_PTR(path);
    return value;
}

static json_t *read_pair(const struct config *config, size_t i, struct error *err)
{
    cleanup_free char *certificate_file = NULL, *key_file = NULL;
    cleanup_json json_t *key = NULL,
                        *certificate = read_file(config->tls_certificate, i, "tls.certificate",
                                                 &certificate_file, err);

    if (certificate)
        key = read_file(config->tls_key, i, "tls.key", &key_file, err);
    if (!key)
        return NULL;
    return json_pack("{s:s, s:O, s:s, s:O}", "certificate_file", certificate_file, "certificate",
                     certificate, "key_file", key_file, "key", key);
}

int certificates_load(const struct config *config, struct error *err)
{
    size_t count = str_list_count(config->tls_certificate);
    cleanup_json json_t *pairs = json_array();

    if (count == 0)
        return -ENOENT;
    for (size_t i = 0; i < count; i++) {
        json_t *pair = read_pair(config, i, err);
        if (!pair)
            return err && err->err ? -err->err : error_oom(err);
        json_array_append_new(pairs, pair);
    }
    cleanup_json json_t *object = json_pack("{s:O}", "pairs", pairs);
    cleanup_free char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (!text)
        return error_oom(err);
    int fd = memfd_sealed("auracode-certificates", text, strlen(text), err);
    explicit_bzero(text, strlen(text));
    return fd;
}

int certificates_open(struct supervisor *supervisor, struct error *err)
{
    struct error problem = ERROR_NONE;
    int fd = certificates_load(&supervisor->config, &problem);

    supervisor->certificates_fd = fd < 0 ? -1 : fd;
    if (fd >= 0 || !problem.err)
        return 0;
    if (err)
        *err = problem;
    return fd;
}

int certificates_reload(struct supervisor *supervisor, struct error *err)
{
    if (supervisor->certificates_fd < 0)
        return 0;
    int fd = certificates_load(&supervisor->config, err);
    if (fd < 0)
        return fd;
    close(supervisor->certificates_fd);
    supervisor->certificates_fd = fd;
    clients_event(supervisor, json_pack("{s:s}", "event", "tls.changed"));
    return 0;
}

int op_tls_get(struct request *request, void *params, struct error *err)
{
    const struct supervisor *supervisor = request->conn->userdata;

    (void)params;
    if (supervisor->certificates_fd < 0)
        return error_set_code(err, ENOENT, "not_configured", "[tls] names no certificate");
    request_reply(request, NULL, &supervisor->certificates_fd, 1);
    return 0;
}

/* ---- --check
 * ------------------------------------------------------------------------------------------
 */

static _Noreturn void run_checker(const struct passwd *user, const char *path, int certificates,
                                  int output)
{
    char *const arguments[] = {(char *)"auracode-proxy", (char *)"--check-certificates", NULL};
    char *const environment[] = {(char *)"AURACODE_FDS=certificates", NULL};

    /* dup2 onto itself would leave close-on-exec set */
    if (dup2(output, STDOUT_FILENO) < 0 || dup2(certificates, PASSED_FDS_START) < 0 ||
        fd_set_cloexec(PASSED_FDS_START, false) < 0)
        _exit(126);
    close_range(PASSED_FDS_START + 1, ~0U, 0);
    if (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
        _exit(126);
    execve(path, arguments, environment);
    _exit(127);
}

static FILE *start_checker(const struct config *config, const char *libexec_dir, int certificates,
                           pid_t *ret_pid)
{
    const struct passwd *user = getpwnam(config->proxy_user);
    cleanup_free char *path = str_format("%s/auracode-proxy", libexec_dir);
    int fds[2];

    if (!user || user->pw_uid == 0 || !path || pipe2(fds, O_CLOEXEC) < 0)
        return NULL;
    *ret_pid = fork();
    if (*ret_pid == 0)
        run_checker(user, path, certificates, fds[1]);
    close(fds[1]);
    FILE *file = *ret_pid < 0 ? NULL : fdopen(fds[0], "r");
    if (!file)
        close(fds[0]);
    return file;
}

/* "WORD<tab>TEXT" into one of our lines; true: something is wrong. */
static bool print_line(FILE *out, char *line)
{
    char *text = strchr(line, '\t');

    line[strcspn(line, "\n")] = '\0';
    if (!text)
        return false;
    *text++ = '\0';
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = '?';
    fprintf(out, "%-8.8s %-14s %s%s\n", line, "certificate", text,
            str_equal(line, "MISSING") ? " -- mend the file, or [tls]" : "");
    return str_equal(line, "MISSING");
}

bool certificates_print(FILE *out, const struct config *config, const char *libexec_dir)
{
    struct error err = ERROR_NONE;
    cleanup_close int certificates = certificates_load(config, &err);
    char line[LINE_SIZE];
    bool wrong = false, any = false;
    pid_t pid = 0;

    if (certificates < 0 && !err.err)
        return false;
    cleanup_file FILE *lines =
        certificates < 0 ? NULL : start_checker(config, libexec_dir, certificates, &pid);
    while (lines && fgets(line, sizeof(line), lines)) {
        wrong = print_line(out, line) || wrong;
        any = true;
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
    if (!any)
        fprintf(out, "%-8s %-14s %s -- mend the file, or [tls]\n", "MISSING", "certificate",
                err.err ? err.message : "auracode-proxy, which reads it, did not start");
    return wrong || !any;
}
