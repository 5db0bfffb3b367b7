/* Theory of operation. jansson, which decodes policies, keeps no positions, so when a field was
 * refused the text goes through yajl, which calls back at each key and value. The callbacks keep
 * the path of where they are and compare it with the one that is looked for; the longest that
 * encloses it wins. Only texts that jansson has taken come here, and only after an error. */
#include "supervisor/policy-place.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#define DEPTH_MAX      12  /* deeper than any field of a policy */
#define PLACE_PATH_MAX 512 /* longer than struct error's field */

struct level {
    size_t path_length; /* of the container's own path */
    long index;         /* of the next element of an array; -1: an object */
};

struct search {
    const char *field;
    yajl_handle parser;
    char path[PLACE_PATH_MAX];
    struct level levels[DEPTH_MAX];
    size_t depth; /* containers that are open, more than DEPTH_MAX too */
    size_t best_length, best_offset;
    bool found;
};

static struct level *innermost(struct search *search)
{
    return search->depth > 0 && search->depth <= DEPTH_MAX ? &search->levels[search->depth - 1]
                                                           : NULL;
}

/* Whether the path is the field's or one around it. */
static bool encloses(const struct search *search, size_t length)
{
    char next = search->field[length];

    return strncmp(search->path, search->field, length) == 0 &&
           (length == 0 || next == '\0' || next == '.' || next == '[');
}

static void look(struct search *search)
{
    size_t length = strlen(search->path);

    if (length > strlen(search->field) || !encloses(search, length) ||
        (search->found && length <= search->best_length))
        return;
    search->found = true;
    search->best_length = length;
    search->best_offset = yajl_get_bytes_consumed(search->parser);
}

/* Before a value: in an array its path is the next index, in an object the key was there already.
 */
static void enter_value(struct search *search)
{
    struct level *level = innermost(search);

    if (level && level->index >= 0)
        snprintf(search->path + level->path_length, sizeof(search->path) - level->path_length,
                 "[%ld]", level->index++);
    if (search->depth <= DEPTH_MAX && (!level || level->index >= 0))
        look(search);
}

static int open_container(struct search *search, long first_index)
{
    enter_value(search);
    if (search->depth < DEPTH_MAX)
        search->levels[search->depth] = (struct level){strlen(search->path), first_index};
    search->depth++;
    return 1;
}

static int on_open_map(void *context)
{
    return open_container(context, -1);
}

static int on_open_array(void *context)
{
    return open_container(context, 0);
}

static int on_close(void *context)
{
    struct search *search = context;
    const struct level *level = innermost(search);

    if (level)
        search->path[level->path_length] = '\0';
    search->depth--;
    return 1;
}

static int on_key(void *context, const unsigned char *key, size_t length)
{
    struct search *search = context;
    const struct level *level = innermost(search);

    if (!level)
        return 1;
    snprintf(search->path + level->path_length, sizeof(search->path) - level->path_length, "%s%.*s",
             level->path_length ? "." : "", (int)(length < 256 ? length : 256), key);
    look(search);
    return 1;
}

static int on_null(void *context)
{
    enter_value(context);
    return 1;
}

static int on_boolean(void *context, int value)
{
    (void)value;
    return on_null(context);
}

static int on_text(void *context, const char *text, size_t length)
{
    (void)text;
    (void)length;
    return on_null(context);
}

static int on_string(void *context, const unsigned char *text, size_t length)
{
    return on_text(context, (const char *)text, length);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_text,
    .yajl_string = on_string,
    .yajl_start_map = on_open_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_close,
    .yajl_start_array = on_open_array,
    .yajl_end_array = on_close,
};

int policy_line(const char *text, size_t length, const char *field)
{
    struct search search = {.field = field};
    int line = 1;

    search.parser = yajl_alloc(&callbacks, NULL, &search);
    if (!search.parser)
        return 0;
    yajl_parse(search.parser, (const unsigned char *)text, length);
    yajl_free(search.parser);
    if (!search.found)
        return 0;
    for (size_t i = 0; i < search.best_offset && i < length; i++)
        line += text[i] == '\n';
    return line;
}
