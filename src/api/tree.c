/* GET …/tree: all below a folder, to a depth, as one flat list of paths in the order of a walk.
 * Folders are listed one after the other at the init; the number of entries is bounded, and
 * "truncated" says when the bound cut it off. Links are named, never followed. */
#include "api/handlers.h"

#include "api/file-schema.h"
#include "api/inits.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define ENTRIES_MAX   5000u
#define DEPTH_DEFAULT 3

struct folder {
    struct folder *next;
    char *path; /* below the root of the tree; "" is the root */
    int64_t depth;
    char *after; /* where its next page begins, or NULL */
};

struct tree {
    struct http_request *request;
    const struct file_query *query;
    json_t *entries;
    struct folder *first, **last;
    bool truncated;
};

static void folder_free(struct folder *folder)
{
    free(folder->path);
    free(folder->after);
    free(folder);
}

static void tree_free(void *state)
{
    struct tree *tree = state;

    while (tree->first) {
        struct folder *folder = tree->first;
        tree->first = folder->next;
        folder_free(folder);
    }
    json_decref(tree->entries);
    free(tree);
}

static int push(struct tree *tree, const char *path, int64_t depth)
{
    struct folder *folder = calloc(1, sizeof(*folder));

    if (!folder || !(folder->path = strdup(path))) {
        free(folder);
        return -ENOMEM;
    }
    folder->depth = depth;
    *tree->last = folder;
    tree->last = &folder->next;
    return 0;
}

static int add_entry(struct tree *tree, const struct folder *folder, json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *type = json_string_value(json_object_get(entry, "type"));

    if (!name || !type || !*name || strchr(name, '/'))
        return -EPROTO;
    cleanup_free char *path = str_format("%s%s%s", folder->path, folder->path[0] ? "/" : "", name);
    json_t *line = path ? json_pack("{s:s,s:s,s:O?}", "path", path, "type", type, "size",
                                    json_object_get(entry, "size"))
                        : NULL;
    if (!line || json_array_append_new(tree->entries, line) < 0)
        return -ENOMEM;
    if (str_equal(type, "directory") && folder->depth + 1 < tree->query->depth)
        return push(tree, path, folder->depth + 1);
    return 0;
}

static void finish(struct tree *tree)
{
    http_reply(tree->request, 200,
               json_pack("{s:s,s:O,s:b}", "path", tree->query->path, "entries", tree->entries,
                         "truncated", tree->truncated));
}

static void next(struct tree *tree);

static int take_page(struct tree *tree, json_t *result)
{
    struct folder *folder = tree->first;
    json_t *page = json_object_get(result, "entries"), *entry;
    size_t i;

    json_array_foreach(page, i, entry)
    {
        int r = add_entry(tree, folder, entry);
        if (r < 0)
            return r;
        if (json_array_size(tree->entries) >= ENTRIES_MAX) {
            tree->truncated = true;
            return 0;
        }
        free(folder->after);
        folder->after = strdup(json_string_value(json_object_get(entry, "name")));
        if (!folder->after)
            return -ENOMEM;
    }
    if (json_is_true(json_object_get(result, "more")) && i > 0)
        return 0;
    tree->first = folder->next;
    if (!tree->first)
        tree->last = &tree->first;
    folder_free(folder);
    return 0;
}

static void on_page(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct tree *tree = userdata;
    struct error own = ERROR_NONE;

    (void)fds;
    /* A folder that went away meanwhile is left out; the root must be there. */
    if (!result && (err->err != ENOENT || tree->first->path[0] == '\0')) {
        http_fail(tree->request, err);
        return;
    }
    int r = take_page(tree, result);
    if (r < 0) {
        error_sys(&own, r, "listing the tree");
        http_fail(tree->request, &own);
    } else if (tree->truncated || !tree->first) {
        finish(tree);
    } else {
        next(tree);
    }
}

static void next(struct tree *tree)
{
    const struct folder *folder = tree->first;
    const char *root = tree->query->path;
    cleanup_free char *path = str_format("%s%s%s", root, folder->path[0] ? "/" : "", folder->path);
    json_t *params = path ? json_pack("{s:s,s:s*,s:i}", "path", path, "after", folder->after,
                                      "limit", FILE_PAGE_MAX)
                          : NULL;

    init_call(tree->request->api, tree->request->captures[0], "file.list", params, -1, on_page,
              tree);
}

HANDLER(file_tree)
{
    struct file_query *params = query;
    struct tree *tree = calloc(1, sizeof(*tree));

    (void)body;
    if (!tree)
        return error_oom(err);
    params->path = params->path ? params->path : ".";
    params->depth = params->depth ? params->depth : DEPTH_DEFAULT;
    *tree = (struct tree){.request = request, .query = params, .entries = json_array()};
    tree->last = &tree->first;
    request->state = tree;
    request->state_free = tree_free;
    if (!tree->entries || push(tree, "", 0) < 0)
        return error_oom(err);
    next(tree);
    return 0;
}
