/* Theory of operation: one inotify instance watches every folder below /app, but for those that
 * tools fill (node_modules, .git, ...). Folders are found by walking, a slice at a time, so that a
 * large project does not hold up the loop; one that appears is walked as well, and the files in it
 * are told as created, since they may be older than its watch. Changes are gathered for a moment,
 * one a path, and told in one event. What cannot be told one by one (too many changes or folders,
 * an overflow of the kernel's queue) is told as "overflow": look again. */
#include "base/cleanup.h"
#include "base/protocol.h"
#include "base/str.h"
#include "init/conn.h"
#include "init/paths.h"
#include "init/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#define FOLDERS_MAX     8192u
#define BUCKETS         1024u
#define SLICE           128u /* folders a turn of the loop */
#define CHANGES_MAX     256u
#define EVENT_BYTES_MAX 40000u
#define GATHER_MS       60
#define EVENTS_OF_FOLDER                                                                           \
    (IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR |           \
     IN_DONT_FOLLOW | IN_EXCL_UNLINK)

/* What no project's source is in. */
static const char *const skipped[] = {"node_modules", ".git",  ".next",   ".nuxt",   ".svelte-kit",
                                      ".astro",       ".vite", ".cache",  ".output", ".turbo",
                                      "dist",         "build", "coverage"};

struct folder {
    struct folder *next; /* of its bucket, or of those to be walked */
    int wd;              /* -1: not watched yet */
    bool fresh;          /* appeared while watching */
    char path[];         /* below /app, "" is /app itself */
};

struct change {
    const char *kind;
    char *path;
};

static struct {
    bool on;
    struct watch inotify;
    struct folder *buckets[BUCKETS];
    struct folder *to_walk, **to_walk_end;
    size_t n_folders;
    struct change changes[CHANGES_MAX];
    size_t n_changes, bytes;
    bool overflow;
    struct timer gather, walk;
} watching;

/* ---- changes ------------------------------------------------------------------------------------
 */

static void send_changes(struct timer *timer)
{
    json_t *list = json_array();

    (void)timer;
    timer_cancel(&watching.gather);
    for (size_t i = 0; i < watching.n_changes; i++) {
        struct change *change = &watching.changes[i];
        cleanup_free char *shown = path_shown_name(change->path);
        if (list && shown)
            json_array_append_new(list,
                                  json_pack("{s:s, s:s}", "path", shown, "kind", change->kind));
        free(change->path);
    }
    conn_broadcast(ROLE_API, json_pack("{s:s, s:o, s:b}", "event", "files", "changes", list,
                                       "overflow", watching.overflow));
    watching.n_changes = watching.bytes = 0;
    watching.overflow = false;
}

static void overflow(void)
{
    watching.overflow = true;
    if (!watching.gather.deadline_ms)
        timer_set(&watching.gather, GATHER_MS);
}

/* A file that is removed and made again within the moment was changed. */
static const char *merge(const char *before, const char *now)
{
    if (str_equal(before, "removed") && str_equal(now, "created"))
        return "changed";
    return str_equal(before, "created") && str_equal(now, "changed") ? before : now;
}

static void note(const char *folder, const char *name, const char *kind)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s%s%s", folder, folder[0] ? "/" : "", name);

    for (size_t i = 0; i < watching.n_changes; i++)
        if (str_equal(watching.changes[i].path, path)) {
            watching.changes[i].kind = merge(watching.changes[i].kind, kind);
            return;
        }
    char *copy = length < (int)sizeof(path) ? strdup(path) : NULL;
    if (!copy || watching.n_changes == CHANGES_MAX) {
        free(copy);
        overflow();
        return;
    }
    watching.changes[watching.n_changes++] = (struct change){kind, copy};
    watching.bytes += (size_t)length * 6 + 40; /* as JSON at most */
    if (watching.bytes > EVENT_BYTES_MAX)
        send_changes(NULL);
    else if (!watching.gather.deadline_ms)
        timer_set(&watching.gather, GATHER_MS);
}

/* ---- folders ------------------------------------------------------------------------------------
 */

static struct folder **bucket_of(int wd)
{
    return &watching.buckets[(unsigned int)wd % BUCKETS];
}

static struct folder *find(int wd)
{
    struct folder *folder = *bucket_of(wd);

    while (folder && folder->wd != wd)
        folder = folder->next;
    return folder;
}

static void forget(int wd)
{
    for (struct folder **link = bucket_of(wd); *link; link = &(*link)->next)
        if ((*link)->wd == wd) {
            struct folder *folder = *link;
            *link = folder->next;
            free(folder);
            watching.n_folders--;
            return;
        }
}

/* A folder that was moved away: what is below it is told of no more. Where it went to, inside, it
 * is found as a new one. */
static void forget_below(const char *parent, const char *name)
{
    char path[PATH_MAX];
    size_t length =
        (size_t)snprintf(path, sizeof(path), "%s%s%s", parent, parent[0] ? "/" : "", name);

    for (size_t i = 0; i < BUCKETS && length < sizeof(path); i++)
        for (struct folder *folder = watching.buckets[i]; folder; folder = folder->next)
            if (str_starts(folder->path, path) &&
                (folder->path[length] == '\0' || folder->path[length] == '/'))
                inotify_rm_watch(watching.inotify.fd, folder->wd); /* IN_IGNORED follows */
}

static bool is_skipped(const char *name)
{
    for (size_t i = 0; i < ELEMENTS(skipped); i++)
        if (str_equal(name, skipped[i]))
            return true;
    return false;
}

static void on_walk(struct timer *timer);

static void add_folder(const char *parent, const char *name, bool fresh)
{
    size_t size = strlen(parent) + strlen(name) + 2;

    if (name[0] && is_skipped(name))
        return;
    struct folder *folder =
        watching.n_folders < FOLDERS_MAX && size <= PATH_MAX - sizeof(PROJECT_DIR)
            ? calloc(1, sizeof(*folder) + size)
            : NULL;
    if (!folder) {
        overflow();
        return;
    }
    snprintf(folder->path, size, "%s%s%s", parent, parent[0] && name[0] ? "/" : "", name);
    folder->wd = -1;
    folder->fresh = fresh;
    watching.n_folders++;
    *watching.to_walk_end = folder;
    watching.to_walk_end = &folder->next;
    timer_set(&watching.walk, 0);
}

/* The descriptor's own link in /proc, so that the watch is on what was looked up beneath /app. */
static int add_watch(int fd)
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return inotify_add_watch(watching.inotify.fd, path,
                             EVENTS_OF_FOLDER & ~(unsigned)IN_DONT_FOLLOW);
}

static bool is_folder(int parent, const struct dirent *entry)
{
    struct stat status;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(parent, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

static void read_folder(const struct folder *folder, int fd)
{
    cleanup_dir DIR *list = fdopendir(fd);
    const struct dirent *entry;

    if (!list)
        close(fd);
    while (list && (entry = readdir(list))) {
        if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
            continue;
        if (is_folder(fd, entry))
            add_folder(folder->path, entry->d_name, folder->fresh);
        else if (folder->fresh)
            note(folder->path, entry->d_name, "created");
    }
}

/* Watched first, read then: nothing that is made in between is missed. */
static bool watch_folder(struct folder *folder)
{
    path_as_user;
    struct path path;
    char full[PATH_MAX];

    snprintf(full, sizeof(full), "%s/%s", PROJECT_DIR, folder->path);
    if (path_parse(full, &path, NULL) < 0)
        return false;
    int fd = path_open(&path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, NULL);
    if (fd < 0)
        return false; /* gone meanwhile, or not the user's to read */
    int wd = add_watch(fd);
    if (wd < 0) {
        close(fd);
        overflow();
        return false;
    }
    if (find(wd)) /* the same folder under another name it had */
        forget(wd);
    folder->wd = wd;
    read_folder(folder, fd);
    return true;
}

static void on_walk(struct timer *timer)
{
    (void)timer;
    for (size_t i = 0; i < SLICE && watching.to_walk; i++) {
        struct folder *folder = watching.to_walk;
        watching.to_walk = folder->next;
        if (!watching.to_walk)
            watching.to_walk_end = &watching.to_walk;
        folder->next = NULL;
        if (watch_folder(folder)) {
            folder->next = *bucket_of(folder->wd);
            *bucket_of(folder->wd) = folder;
        } else {
            watching.n_folders--;
            free(folder);
        }
    }
    if (watching.to_walk)
        timer_set(&watching.walk, 1);
}

/* ---- what inotify tells -------------------------------------------------------------------------
 */

static const struct {
    uint32_t mask;
    const char *kind;
} kinds[] = {
    {IN_CREATE, "created"}, {IN_MOVED_TO, "created"},   {IN_CLOSE_WRITE, "changed"},
    {IN_DELETE, "removed"}, {IN_MOVED_FROM, "removed"},
};

static void take_event(const struct inotify_event *event)
{
    struct folder *folder = event->wd >= 0 ? find(event->wd) : NULL;

    if (event->mask & IN_Q_OVERFLOW)
        overflow();
    if (event->mask & IN_IGNORED)
        forget(event->wd);
    if (!folder || event->len == 0)
        return;
    bool is_directory = event->mask & IN_ISDIR;
    for (size_t i = 0; i < ELEMENTS(kinds); i++)
        if ((event->mask & kinds[i].mask) && !(is_directory && is_skipped(event->name)))
            note(folder->path, event->name, kinds[i].kind);
    if (is_directory && (event->mask & IN_MOVED_FROM))
        forget_below(folder->path, event->name);
    if (is_directory && (event->mask & (IN_CREATE | IN_MOVED_TO)))
        add_folder(folder->path, event->name, true);
}

static void on_inotify(struct watch *watch, uint32_t events)
{
    char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n = read(watch->fd, buffer, sizeof(buffer));

    (void)events;
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const void *)(buffer + at);
        take_event(event);
        at += (ssize_t)(sizeof(*event) + event->len);
    }
}

static int start(struct error *err)
{
    watching.inotify.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watching.inotify.fd < 0)
        return error_sys(err, errno, "inotify_init1");
    watching.inotify.handler = on_inotify;
    watching.gather.handler = send_changes;
    watching.walk.handler = on_walk;
    watching.to_walk_end = &watching.to_walk;
    int r = loop_watch(&watching.inotify, EPOLLIN);
    if (r < 0) {
        close_and_forget(&watching.inotify.fd);
        return error_sys(err, r, "epoll_ctl");
    }
    watching.on = true;
    add_folder("", "", false);
    return 0;
}

static int op_watch(struct request *request, void *params, struct error *err)
{
    (void)params;
    int r = watching.on ? 0 : start(err);
    if (r == 0)
        request_reply(request, NULL, NULL, 0);
    return r;
}

const struct server_op watch_ops[] = {
    {"file.watch", ROLE_API, INIT_ANY, NULL, 0, 0, op_watch},
};
const size_t n_watch_ops = ELEMENTS(watch_ops);
