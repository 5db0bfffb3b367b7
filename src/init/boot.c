/* Theory of operation: see boot.h. The memfds come from the supervisor and are trusted, but checked
 * all the same: a mistake should end in a message, not in a sandbox without its filter. */
#include "init/boot.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/fields.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BOOT_MAX 1048576

struct boot boot;

static const struct field boot_fields[] = {
    {"sandbox", FIELD_STRING, offsetof(struct boot, sandbox), .min = 1, .required = true},
    {"generation", FIELD_INT, offsetof(struct boot, generation), .required = true},
    {"hostname", FIELD_STRING, offsetof(struct boot, hostname), .required = false},
    {"env", FIELD_STRING_MAP, offsetof(struct boot, env), .required = false},
    {"rlimits", FIELD_OBJECT, offsetof(struct boot, rlimits), .required = false},
    {"landlock", FIELD_OBJECT, offsetof(struct boot, landlock), .required = false},
    {"egress", FIELD_STRING, offsetof(struct boot, egress), .required = false},
    {"log_bytes", FIELD_INT, offsetof(struct boot, log_bytes), .min = 262144, .max = 67108864},
    {"processes_max", FIELD_INT, offsetof(struct boot, processes_max), .min = 1, .max = 4096},
};

static int read_passed(int fd, const char *what, char **ret_data, size_t *ret_length,
                       struct error *err)
{
    cleanup_close int file = fd;
    struct stat info;

    if (fstat(file, &info) < 0)
        return error_sys(err, errno, "fstat of the %s", what);
    if (info.st_size <= 0 || info.st_size > BOOT_MAX)
        return error_set(err, EINVAL, "the %s has %lld bytes", what, (long long)info.st_size);
    cleanup_free char *data = malloc((size_t)info.st_size);
    if (!data)
        return error_oom(err);
    ssize_t n = pread(file, data, (size_t)info.st_size, 0);
    if (n != info.st_size)
        return error_sys(err, n < 0 ? errno : EIO, "reading the %s", what);
    *ret_data = TAKE_PTR(data);
    *ret_length = (size_t)n;
    return 0;
}

static int read_config(struct error *err)
{
    cleanup_free char *text = NULL;
    size_t length;
    int r = read_passed(BOOT_FD_CONFIG, "boot configuration", &text, &length, err);

    if (r < 0)
        return r;
    boot =
        (struct boot){.hostname = "", .egress = "none", .log_bytes = 1048576, .processes_max = 256};
    boot.document = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(boot.document))
        return error_set(err, EINVAL, "the boot configuration is no JSON object");
    return fields_decode(boot.document, boot_fields, ELEMENTS(boot_fields), "", &boot, err);
}

static int read_filter(struct error *err)
{
    char *data;
    size_t length;
    int r = read_passed(BOOT_FD_SECCOMP, "seccomp program", &data, &length, err);

    if (r < 0)
        return r;
    boot.filter = (struct sock_fprog){(unsigned short)(length / sizeof(struct sock_filter)),
                                      (struct sock_filter *)(void *)data};
    if (length % sizeof(struct sock_filter) || length / sizeof(struct sock_filter) > BPF_MAXINSNS)
        return error_set(err, EINVAL, "the seccomp program has %zu bytes", length);
    return 0;
}

/* KEY=VALUE or KEY="VALUE"; anything else is skipped, as pam_env does. */
static void add_line(json_t *env, char *line)
{
    char *value = strchr(line, '=');

    if (!value || value == line || *line == '#')
        return;
    *value++ = '\0';
    size_t length = strlen(value);
    if (length >= 2 && (*value == '"' || *value == '\'') && value[length - 1] == *value) {
        value[length - 1] = '\0';
        value++;
    }
    json_object_set_new(env, line, json_string(value));
}

static int read_image_env(struct error *err)
{
    cleanup_free char *text = NULL;
    char *position;

    boot.image_env = json_object();
    if (!boot.image_env)
        return error_oom(err);
    if (file_read(AT_FDCWD, "/etc/environment", 65536, &text, NULL, NULL) < 0)
        return 0;
    for (char *line = strtok_r(text, "\n", &position); line; line = strtok_r(NULL, "\n", &position))
        add_line(boot.image_env, line);
    return 0;
}

int boot_read(struct error *err)
{
    int r = read_config(err);

    if (r >= 0)
        r = read_filter(err);
    return r < 0 ? r : read_image_env(err);
}
