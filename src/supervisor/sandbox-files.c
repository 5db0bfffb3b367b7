/* Theory of operation. Under STATE/sandboxes/ID: config.json (durable) and data/ or
 * data.img (disk.h) with upper/ and work/ of the overlay. Under RUN/sandboxes/ID: state.json and
 * init.sock; a reboot empties it, which makes every sandbox stopped. Deleting renames the folder
 * into STATE/trash first, which takes it out of every listing at once, and a worker then takes its
 * time. */
#include "supervisor/sandbox.h"

#include "supervisor/worker.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES 65536

int sandbox_save_config(const struct sandbox *sandbox, struct error *err)
{
    cleanup_json json_t *config = json_pack(
        "{s:s, s:O, s:O, s:o, s:s, s:i, s:I, s:I}", "id", sandbox->id, "spec", sandbox->spec,
        "layers", sandbox->layers, "limits", limits_to_json(&sandbox->limits), "disk",
        sandbox->disk->name, "slot", (int)sandbox->slot, "created_at",
        (json_int_t)sandbox->created_at, "access_epoch", (json_int_t)sandbox->access_epoch);

    if (!config)
        return error_oom(err);
    return file_write_json(sandbox->dir_fd, "config.json", config, 0600, err);
}

int sandbox_save_state(const struct sandbox *sandbox, struct error *err)
{
    cleanup_json json_t *state = json_pack(
        "{s:s, s:o, s:i, s:i, s:i, s:I, s:I}", "state", sandbox_state_name(sandbox->state), "cause",
        cause_to_json(&sandbox->cause), "generation", (int)sandbox->generation, "landlock",
        sandbox->landlock, "init_pid", (int)sandbox->init_pid, "init_start_time",
        (json_int_t)sandbox->init_start_time, "started_at", (json_int_t)sandbox->started_at);

    if (!state)
        return error_oom(err);
    return file_write_json(sandbox->run_dir_fd, "state.json", state, 0600, err);
}

static int open_folder(int parent, const char *name, bool create, mode_t mode, int *ret_fd,
                       struct error *err)
{
    int r = create ? dir_make(parent, name, mode, err) : 0;

    if (r < 0)
        return r;
    *ret_fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd < 0 ? error_sys(err, errno, "open `%s`", name) : 0;
}

int sandbox_open_folders(struct sandbox *sandbox, bool create, struct error *err)
{
    struct supervisor *supervisor = sandbox->supervisor;
    static const char *const parts[] = {"data/upper", "data/work"};

    int r = open_folder(supervisor->sandboxes_fd, sandbox->id, create, 0700, &sandbox->dir_fd, err);
    if (r == 0)
        r = open_folder(supervisor->run_sandboxes_fd, sandbox->id, true, 0700, &sandbox->run_dir_fd,
                        err);
    if (r < 0 || !create || !sandbox->disk->create)
        return r;
    r = sandbox->disk->create(sandbox, err);
    for (size_t i = 0; r == 0 && i < ELEMENTS(parts); i++)
        r = dir_make(sandbox->dir_fd, parts[i], 0755, err);
    return r;
}

struct stored_config {
    const char *id;
    const char *disk;
    json_t *spec, *layers, *limits;
    int64_t slot, created_at, access_epoch;
};

static const struct field config_fields[] = {
    {"id", FIELD_SANDBOX_ID, offsetof(struct stored_config, id), 0, 0, true, NULL},
    {"spec", FIELD_OBJECT, offsetof(struct stored_config, spec), 0, 0, true, NULL},
    {"layers", FIELD_STRING_ARRAY, offsetof(struct stored_config, layers), 1, 8, true, NULL},
    {"limits", FIELD_OBJECT, offsetof(struct stored_config, limits), 0, 0, true, NULL},
    {"disk", FIELD_STRING, offsetof(struct stored_config, disk), 1, 16, false, NULL},
    {"slot", FIELD_INT, offsetof(struct stored_config, slot), 0, 32767, true, NULL},
    {"created_at", FIELD_INT, offsetof(struct stored_config, created_at), 0, INT64_MAX, true, NULL},
    {"access_epoch", FIELD_INT, offsetof(struct stored_config, access_epoch), 0, ACCESS_EPOCH_MAX,
     false, NULL},
};

static int read_config(struct sandbox *sandbox, struct error *err)
{
    cleanup_json json_t *file = NULL;
    struct stored_config stored = {0};

    int r = file_read_json(sandbox->dir_fd, "config.json", FILE_MAX_BYTES, &file, err);
    if (r == 0)
        r = fields_decode(file, config_fields, ELEMENTS(config_fields), "", &stored, err);
    sandbox->limits = sandbox->supervisor->config.limits; /* for what an older version lacks */
    if (r == 0)
        r = limits_decode(stored.limits, &sandbox->limits, err);
    if (r < 0)
        return r;
    if (stored.slot >= sandbox->supervisor->config.ids_count)
        return error_set_field(err, "slot", "%lld is outside [ids] count", (long long)stored.slot);
    sandbox->disk = disk_by_name(stored.disk);
    if (!sandbox->disk)
        return error_set_field(err, "disk", "`%s` is not known", stored.disk);
    sandbox->slot = (unsigned int)stored.slot;
    sandbox->created_at = stored.created_at;
    sandbox->access_epoch = stored.access_epoch;
    sandbox->spec = json_incref(stored.spec);
    sandbox->layers = json_incref(stored.layers);
    return 0;
}

static enum sandbox_state state_from_name(const char *name)
{
    for (enum sandbox_state state = SANDBOX_CREATING; state <= SANDBOX_REMOVING; state++)
        if (str_equal(name, sandbox_state_name(state)))
            return state;
    return SANDBOX_STOPPED;
}

/* What is missing or unreadable means that the machine was restarted: stopped. */
static void read_state(struct sandbox *sandbox)
{
    cleanup_json json_t *file = NULL;

    if (file_read_json(sandbox->run_dir_fd, "state.json", FILE_MAX_BYTES, &file, NULL) < 0) {
        cause_set(&sandbox->cause, CAUSE_REBOOT, NULL, "the machine was restarted");
        return;
    }
    sandbox->state = state_from_name(json_string_value(json_object_get(file, "state")));
    cause_from_json(&sandbox->cause, json_object_get(file, "cause"));
    sandbox->generation = (unsigned int)json_integer_value(json_object_get(file, "generation"));
    sandbox->landlock = (int)json_integer_value(json_object_get(file, "landlock"));
    sandbox->init_pid = (pid_t)json_integer_value(json_object_get(file, "init_pid"));
    sandbox->init_start_time =
        (uint64_t)json_integer_value(json_object_get(file, "init_start_time"));
    sandbox->started_at = json_integer_value(json_object_get(file, "started_at"));
}

int sandbox_load(struct supervisor *supervisor, const char *id, struct sandbox **ret_sandbox,
                 struct error *err)
{
    struct sandbox *sandbox = sandbox_alloc(supervisor, id);

    if (!sandbox)
        return error_oom(err);
    int r = sandbox_open_folders(sandbox, false, err);
    if (r == 0)
        r = read_config(sandbox, err);
    if (r < 0) {
        sandbox_free(sandbox);
        return r;
    }
    read_state(sandbox);
    supervisor->slots[sandbox->slot] = 1;
    sandbox->next = supervisor->sandboxes;
    supervisor->sandboxes = sandbox;
    *ret_sandbox = sandbox;
    return 0;
}

struct discard {
    struct supervisor *supervisor;
    const struct disk_backend *disk;
    char id[SANDBOX_ID_LENGTH + 1];
};

/* From the trash, with what its disk holds of the kernel's. */
static int discard_disk(struct supervisor *supervisor, const struct disk_backend *disk,
                        const char *id, struct error *err)
{
    uint64_t state = 0;
    cleanup_close int dir =
        openat(supervisor->trash_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (dir >= 0 && disk->release)
        disk->release(dir, &state, false, NULL);
    int r = remove_tree(supervisor->trash_fd, id, err);
    if (r == 0 && disk->release)
        r = disk->release(supervisor->trash_fd, &state, true, err);
    return r;
}

static int discard_job(void *userdata, struct error *err)
{
    struct discard *discard = userdata;
    struct supervisor *supervisor = discard->supervisor;

    int r = remove_tree(supervisor->run_sandboxes_fd, discard->id, err);
    int r2 = discard_disk(supervisor, discard->disk, discard->id, err);
    return r < 0 ? r : r2;
}

static void discard_done(void *userdata, const struct error *err)
{
    struct discard *discard = userdata;

    if (err->err)
        log_warning("deleting the files of sandbox %s: %s", discard->id, err->message);
    free(discard);
}

void sandbox_discard_files(struct sandbox *sandbox)
{
    struct supervisor *supervisor = sandbox->supervisor;
    struct error err = ERROR_NONE;
    struct discard *discard = calloc(1, sizeof(*discard));

    if (renameat(supervisor->sandboxes_fd, sandbox->id, supervisor->trash_fd, sandbox->id) < 0 &&
        errno != ENOENT)
        log_warning("moving sandbox %s to the trash: %m", sandbox->id);
    if (!discard)
        return; /* the next start empties the trash */
    discard->supervisor = supervisor;
    discard->disk = sandbox->disk;
    memcpy(discard->id, sandbox->id, sizeof(discard->id));
    if (worker_start(supervisor, discard_job, discard_done, discard, &err) < 0) {
        log_warning("deleting the files of sandbox %s: %s", sandbox->id, err.message);
        free(discard);
    }
}

static int empty_trash_job(void *userdata, struct error *err)
{
    struct supervisor *supervisor = userdata;
    int fd = openat(supervisor->trash_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int r = 0;

    while (dir && (entry = readdir(dir)))
        if (sandbox_id_valid(entry->d_name)) {
            int removed = discard_disk(supervisor, supervisor->disk, entry->d_name, err);
            r = removed < 0 ? removed : r;
        }
    return r;
}

static void empty_trash_done(void *userdata, const struct error *err)
{
    (void)userdata;
    if (err->err)
        log_warning("emptying the trash: %s", err->message);
}

void sandbox_empty_trash(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;

    if (worker_start(supervisor, empty_trash_job, empty_trash_done, supervisor, &err) < 0)
        log_warning("emptying the trash: %s", err.message);
}
