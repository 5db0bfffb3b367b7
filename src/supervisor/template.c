/* Theory of operation: see template.h. A new template is made in TEMPLATES/.new.NAME and renamed
 * into place, so a half made one is never taken for a template. Taking a stopped sandbox's upper is
 * one rename where it has no disk of its own; copying it is a worker's job. */
#include "supervisor/template.h"

#include "supervisor/sandbox.h"
#include "supervisor/stage.h"
#include "supervisor/worker.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

json_t *template_read(struct supervisor *supervisor, const char *name, struct error *err)
{
    char path[128];
    json_t *value = NULL;

    if (!resource_name_valid(name)) {
        error_set_field(err, "template", "expected 1 to 64 of a-z, 0-9, `.`, `_`, `-`");
        return NULL;
    }
    snprintf(path, sizeof(path), "%s/template.json", name);
    int r = file_read_json(supervisor->templates_fd, path, 65536, &value, err);
    if (r == -ENOENT)
        error_set_code(err, ENOENT, "template_not_found", "there is no template `%s` in `%s`", name,
                       supervisor->config.templates_dir);
    return r < 0 ? NULL : value;
}

int template_layers(struct supervisor *supervisor, const char *name, json_t **ret_layers,
                    struct error *err)
{
    cleanup_json json_t *layers = json_array();
    cleanup_free char *current = strdup(name);

    while (layers && current) {
        cleanup_json json_t *template = template_read(supervisor, current, err);
        if (!template)
            return err ? -err->err : -ENOENT;
        if (json_array_size(layers) == STAGE_LAYERS_MAX)
            return error_set(err, ELOOP, "template `%s` stands on more than %d layers", name,
                             STAGE_LAYERS_MAX);
        json_array_insert_new(layers, 0, json_string(current));
        const char *parent = json_string_value(json_object_get(template, "parent"));
        free(TAKE_PTR(current));
        if (!parent) {
            *ret_layers = TAKE_PTR(layers);
            return 0;
        }
        current = strdup(parent);
    }
    return error_oom(err);
}

static json_t *public_template(json_t *file)
{
    static const char *const members[] = {"name", "description", "parent",
                                          "dev",  "created_at",  "version"};
    json_t *value = json_object();

    for (size_t i = 0; value && i < ELEMENTS(members); i++) {
        json_t *member = json_object_get(file, members[i]);
        json_object_set_new(value, members[i], member ? json_incref(member) : json_null());
    }
    return value;
}

json_t *template_list(struct supervisor *supervisor, struct error *err)
{
    int fd = openat(supervisor->templates_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    json_t *list = json_array();

    if (!dir || !list) {
        json_decref(list);
        error_sys(err, errno, "open `%s`", supervisor->config.templates_dir);
        return NULL;
    }
    while ((entry = readdir(dir)) && json_array_size(list) < 128) {
        cleanup_json json_t *file = resource_name_valid(entry->d_name)
                                        ? template_read(supervisor, entry->d_name, NULL)
                                        : NULL;
        if (file)
            json_array_append_new(list, public_template(file));
    }
    return list;
}

static bool in_use(const struct supervisor *supervisor, const char *name)
{
    size_t i;
    json_t *layer;

    for (const struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next)
        json_array_foreach(sandbox->layers, i,
                           layer) if (str_equal(json_string_value(layer), name)) return true;
    return false;
}

static bool is_parent(struct supervisor *supervisor, const char *name)
{
    cleanup_json json_t *list = template_list(supervisor, NULL);
    size_t i;
    json_t *template;

    json_array_foreach(
        list, i, template) if (str_equal(json_string_value(json_object_get(template, "parent")),
                                         name)) return true;
    return false;
}

struct removal {
    struct supervisor *supervisor;
    char name[80];
};

static int remove_job(void *userdata, struct error *err)
{
    struct removal *removal = userdata;

    return remove_tree(removal->supervisor->templates_fd, removal->name, err);
}

static void remove_done(void *userdata, const struct error *err)
{
    if (err->err)
        log_warning("deleting a template: %s", err->message);
    free(userdata);
}

static int discard_folder(struct supervisor *supervisor, const char *name, struct error *err)
{
    struct removal *removal = calloc(1, sizeof(*removal));

    if (!removal)
        return error_oom(err);
    removal->supervisor = supervisor;
    snprintf(removal->name, sizeof(removal->name), "%s", name);
    int r = worker_start(supervisor, remove_job, remove_done, removal, err);
    if (r < 0)
        free(removal);
    return r;
}

int template_remove(struct supervisor *supervisor, const char *name, struct error *err)
{
    char hidden[96];
    cleanup_json json_t *file = template_read(supervisor, name, err);

    if (!file)
        return -err->err;
    if (in_use(supervisor, name) || is_parent(supervisor, name))
        return error_set_code(err, EBUSY, "template_in_use",
                              "template `%s` is used by a sandbox or by another template", name);
    snprintf(hidden, sizeof(hidden), ".removed.%s", name);
    if (renameat(supervisor->templates_fd, name, supervisor->templates_fd, hidden) < 0)
        return error_sys(err, errno, "removing template `%s`", name);
    return discard_folder(supervisor, hidden, err);
}

struct creation {
    struct supervisor *supervisor;
    struct request *request;
    const struct disk_backend *disk;
    char name[65], folder[80], id[SANDBOX_ID_LENGTH + 1];
    bool consume;
};

/* The copy keeps ids, modes, whiteouts and overlay's own attributes, which only an archiving copy
 * does. */
static int copy_job(void *userdata, struct error *err)
{
    struct creation *creation = userdata;
    struct supervisor *supervisor = creation->supervisor;
    char source[64], target[64];
    int status;

    int data = creation->disk->open(supervisor, creation->id, err);
    int folder = openat(supervisor->templates_fd, creation->folder, O_PATH | O_DIRECTORY);
    if (data < 0)
        return data;
    if (folder < 0 || fcntl(data, F_SETFD, 0) < 0)
        return error_sys(err, errno, "open the folders of the copy");
    snprintf(source, sizeof(source), "/proc/self/fd/%d/upper/.", data);
    snprintf(target, sizeof(target), "/proc/self/fd/%d/layer", folder);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/cp", "cp", "-a", "--reflink=auto", source, target, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return error_sys(err, errno, "cp");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? 0
               : error_set(err, EIO, "copying the files of sandbox %s failed", creation->id);
}

static int publish(struct creation *creation, struct error *err)
{
    struct supervisor *supervisor = creation->supervisor;

    if (renameat2(supervisor->templates_fd, creation->folder, supervisor->templates_fd,
                  creation->name, RENAME_NOREPLACE) < 0)
        return error_sys(err, errno, "publishing template `%s`", creation->name);
    return 0;
}

static void finish_creation(void *userdata, const struct error *failure)
{
    struct creation *creation = userdata;
    struct supervisor *supervisor = creation->supervisor;
    struct error err = *failure;

    if (!err.err)
        publish(creation, &err);
    cleanup_json json_t *file = err.err ? NULL : template_read(supervisor, creation->name, &err);
    if (file) {
        struct sandbox *sandbox = sandbox_find(supervisor, creation->id);
        if (creation->consume && sandbox)
            sandbox_remove(sandbox, NULL, &err);
        request_reply(creation->request, json_pack("{s:o}", "template", public_template(file)),
                      NULL, 0);
    } else {
        discard_folder(supervisor, creation->folder, NULL);
        request_fail(creation->request, &err);
    }
    free(creation);
}

static int write_description(struct supervisor *supervisor, const struct template_spec *spec,
                             const struct sandbox *sandbox, const char *folder, struct error *err)
{
    char date[40];
    time_t now = time(NULL);
    struct tm parts;
    json_t *parent = json_array_get(sandbox->layers, json_array_size(sandbox->layers) - 1);

    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    cleanup_json json_t *file = json_pack("{s:s, s:s, s:O, s:O?, s:s}", "name", spec->name,
                                          "description", spec->description ? spec->description : "",
                                          "parent", parent, "dev", spec->dev, "created_at", date);
    if (!file)
        return error_oom(err);
    cleanup_close int fd =
        openat(supervisor->templates_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_sys(err, errno, "open `%s`", folder);
    return file_write_json(fd, "template.json", file, 0600, err);
}

static int check_creation(struct supervisor *supervisor, const struct template_spec *spec,
                          struct sandbox **ret_sandbox, struct error *err)
{
    struct sandbox *sandbox = sandbox_find(supervisor, spec->sandbox);
    struct stat status;

    if (!sandbox)
        return error_set_code(err, ENOENT, "sandbox_not_found", "there is no sandbox `%s`",
                              spec->sandbox);
    if (!resource_name_valid(spec->name))
        return error_set_field(err, "name", "expected 1 to 64 of a-z, 0-9, `.`, `_`, `-`");
    if (fstatat(supervisor->templates_fd, spec->name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return error_set_code(err, EEXIST, "template_exists", "there is a template `%s` already",
                              spec->name);
    if (json_array_size(sandbox->layers) >= STAGE_LAYERS_MAX)
        return error_set(err, EINVAL, "a template stands on at most %d layers", STAGE_LAYERS_MAX);
    *ret_sandbox = sandbox;
    return 0;
}

/* -EXDEV where the templates are on another file system: then they are copied. */
static int move_upper(struct creation *creation, struct sandbox *sandbox, struct error *err)
{
    char target[96];

    snprintf(target, sizeof(target), "%s/layer", creation->folder);
    if (renameat(sandbox->dir_fd, "data/upper", creation->supervisor->templates_fd, target) < 0)
        return error_sys(err, errno, "moving the files of sandbox %s", sandbox->id);
    return 0;
}

int template_create(struct supervisor *supervisor, const struct template_spec *spec,
                    struct request *request, struct error *err)
{
    struct sandbox *sandbox = NULL;

    int r = check_creation(supervisor, spec, &sandbox, err);
    if (r < 0)
        return r;
    cleanup_free struct creation *creation = calloc(1, sizeof(*creation));
    if (!creation)
        return error_oom(err);
    creation->supervisor = supervisor;
    creation->request = request;
    creation->disk = sandbox->disk;
    creation->consume = spec->consume;
    snprintf(creation->name, sizeof(creation->name), "%s", spec->name);
    snprintf(creation->folder, sizeof(creation->folder), ".new.%s", spec->name);
    memcpy(creation->id, sandbox->id, sizeof(creation->id));
    r = remove_tree(supervisor->templates_fd, creation->folder, err); /* of a killed supervisor */
    if (r == 0)
        r = dir_make(supervisor->templates_fd, creation->folder, 0700, err);
    if (r == 0)
        r = write_description(supervisor, spec, sandbox, creation->folder, err);
    if (r < 0)
        return r;
    r = spec->consume && sandbox->disk == &disk_plain ? move_upper(creation, sandbox, err) : -EXDEV;
    if (r == 0) {
        finish_creation(TAKE_PTR(creation), &ERROR_NONE);
    } else if (r == -EXDEV) {
        *err = ERROR_NONE;
        r = worker_start(supervisor, copy_job, finish_creation, creation, err);
        if (r == 0)
            TAKE_PTR(creation);
    }
    return r;
}
