/* Theory of operation: `code_files` answers with the texts of the project, path by path. Folders
 * are listed and files read one after the other at the init, the files through descriptors that it
 * opened. What tools make (node_modules, ...), what is no text, and what goes past the bounds is
 * left out; "truncated" says that a bound did so. */
#include "api/chat/room.h"

#include "api/file-schema.h"
#include "api/inits.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/utf8.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_MAX   400u
#define FILE_MAX    (128u << 10) /* bytes of one */
#define TOTAL_MAX   (2u << 20)   /* bytes of all */
#define FOLDERS_MAX 1000u

static const char *const left_out[] = {"node_modules", ".git",   ".next",   ".nuxt",
                                       ".svelte-kit",  ".astro", ".vite",   ".cache",
                                       "dist",         "build",  ".output", "coverage"};

struct reading {
    struct member *member;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    char *id;        /* of the question, or NULL */
    json_t *folders; /* array of paths still to be listed */
    json_t *wanted;  /* array of paths still to be read */
    json_t *files;   /* path -> text */
    size_t n_folders, total;
    bool truncated;
};

static void step(struct reading *reading);

static void finish(struct reading *reading)
{
    struct member *member = reading->member;

    if (!member->gone && member->room)
        member_send(member, chat_envelope(
                                "code_files", reading->id, member->room->session, now_realtime_ms(),
                                json_pack("{s:O, s:b, s:s}", "files", reading->files, "truncated",
                                          reading->truncated, "sandbox_id", reading->sandbox)));
    json_decref(reading->folders);
    json_decref(reading->wanted);
    json_decref(reading->files);
    free(reading->id);
    member_release(member);
    free(reading);
}

static bool is_left_out(const char *name)
{
    for (size_t i = 0; i < ELEMENTS(left_out); i++)
        if (str_equal(name, left_out[i]))
            return true;
    return false;
}

static void take_entry(struct reading *reading, const char *folder, const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *type = json_string_value(json_object_get(entry, "type"));
    json_int_t size = json_integer_value(json_object_get(entry, "size"));

    if (!name || !*name || strchr(name, '/') || is_left_out(name))
        return;
    cleanup_free char *path = str_format("%s%s%s", folder, *folder ? "/" : "", name);
    bool is_file = str_equal(type, "file");
    if (str_equal(type, "directory") && reading->n_folders < FOLDERS_MAX) {
        reading->n_folders++;
        json_array_append_new(reading->folders, json_string(path ? path : ""));
    } else if (is_file && size <= FILE_MAX && json_array_size(reading->wanted) < FILES_MAX) {
        json_array_append_new(reading->wanted, json_string(path ? path : ""));
    } else if (is_file || str_equal(type, "directory")) {
        reading->truncated = true;
    }
}

/* The first folder of the list; a page may be followed by another. */
static void on_listed(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct reading *reading = userdata;
    cleanup_json json_t *folder = json_incref(json_array_get(reading->folders, 0));
    json_t *entry;
    size_t i;

    (void)fds;
    (void)err;
    json_array_foreach(json_object_get(result, "entries"), i, entry)
    {
        take_entry(reading, json_string_value(folder), entry);
    }
    if (json_is_true(json_object_get(result, "more")))
        reading->truncated = true;
    json_array_remove(reading->folders, 0);
    step(reading);
}

/* NULL: no text, or not to be read. */
static json_t *read_text(int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > FILE_MAX)
        return NULL;
    cleanup_free char *text = malloc((size_t)status.st_size + 1);
    ssize_t n = text ? pread(fd, text, (size_t)status.st_size, 0) : -1;
    if (n < 0 || memchr(text, '\0', (size_t)n) || !utf8_valid(text, (size_t)n))
        return NULL;
    return json_stringn(text, (size_t)n);
}

static void on_read(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct reading *reading = userdata;
    cleanup_close int fd = result ? ipc_fds_take(fds, 0) : -1;
    cleanup_json json_t *path = json_incref(json_array_get(reading->wanted, 0));
    json_t *text = fd >= 0 ? read_text(fd) : NULL;

    (void)err;
    json_array_remove(reading->wanted, 0);
    if (text && reading->total + json_string_length(text) > TOTAL_MAX) {
        json_decref(text);
        reading->truncated = true;
        json_array_clear(reading->wanted);
    } else if (text) {
        reading->total += json_string_length(text);
        json_object_set_new(reading->files, json_string_value(path), text);
    }
    step(reading);
}

static void step(struct reading *reading)
{
    const char *folder = json_string_value(json_array_get(reading->folders, 0));
    const char *file = json_string_value(json_array_get(reading->wanted, 0));
    struct api *api = reading->member->api;

    if (reading->member->gone || (!folder && !file))
        finish(reading);
    else if (folder)
        init_call(api, reading->sandbox, "file.list",
                  json_pack("{s:s, s:i}", "path", *folder ? folder : ".", "limit", FILE_PAGE_MAX),
                  -1, on_listed, reading);
    else
        init_call(api, reading->sandbox, "file.read", json_pack("{s:s}", "path", file), -1, on_read,
                  reading);
}

void files_send(struct member *member, const char *id)
{
    struct error err = ERROR_NONE;
    struct reading *reading =
        member->room->state == ROOM_READY ? calloc(1, sizeof(*reading)) : NULL;

    if (!reading) {
        error_set_code(&err, EBUSY, "sandbox_not_running",
                       "the session has no sandbox that runs: send `init` first");
        member_fail(member, id, &err);
        return;
    }
    reading->member = member;
    member_hold(member);
    memcpy(reading->sandbox, member->room->sandbox, sizeof(reading->sandbox));
    reading->id = id ? strdup(id) : NULL;
    reading->folders = json_pack("[s]", "");
    reading->wanted = json_array();
    reading->files = json_object();
    step(reading);
}
