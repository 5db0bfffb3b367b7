/* Theory of operation: see args.h. The walker knows --name value, --name=value, -abc, -wVALUE and
 * `--`; what a value means is decided by the option's type alone. */
#include "cli/args.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

int args_duration(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"", 1000}};
    char digits[20];
    size_t length = strspn(text, "0123456789");
    uint64_t number;

    if (length == 0 || length >= sizeof(digits))
        return -EINVAL;
    memcpy(digits, text, length);
    digits[length] = '\0';
    int r = parse_u64(digits, 0, UINT64_MAX / 3600000 / 1000, &number);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTS(units); i++)
        if (strcmp(text + length, units[i].suffix) == 0) {
            *ret_ms = number * units[i].factor;
            return 0;
        }
    return -EINVAL;
}

static int store_list(const char *value, struct args_list *list, struct error *err)
{
    if (list->count == ARGS_LIST_MAX)
        return error_set(err, E2BIG, "more than %u of the same option", ARGS_LIST_MAX);
    list->items[list->count++] = value;
    return 0;
}

static int store_pair(const char *value, struct args_list *list, struct error *err)
{
    const char *equals = strchr(value, '=');

    if (!equals || equals == value)
        return error_set(err, EINVAL, "`%s` is not KEY=VALUE", value);
    return store_list(value, list, err);
}

static int store_size(const char *value, uint64_t *target, struct error *err)
{
    if (parse_size(value, target) < 0 || *target == 0)
        return error_set(err, EINVAL, "`%s` is not a size such as 512MiB or 1GiB", value);
    return 0;
}

static int store_amount(const char *value, struct args_amount *target, struct error *err)
{
    if (parse_size(value, &target->value) < 0)
        return error_set(err, EINVAL, "`%s` is not 0 or a size such as 512MiB or 1GiB", value);
    target->given = true;
    return 0;
}

static int store_duration(const char *value, uint64_t *target, struct error *err)
{
    if (args_duration(value, target) < 0)
        return error_set(err, EINVAL, "`%s` is not a time such as 500ms, 60s or 5m", value);
    return 0;
}

static int store_count(const char *value, uint64_t *target, struct error *err)
{
    if (parse_u64(value, 1, INT64_MAX, target) < 0)
        return error_set(err, EINVAL, "`%s` is not a whole number from 1", value);
    return 0;
}

static int store_real(const char *value, double *target, struct error *err)
{
    if (parse_real(value, 0.000001, 1e9, target) < 0)
        return error_set(err, EINVAL, "`%s` is not a number such as 0.5", value);
    return 0;
}

static int store_string(const char *value, const char **target, struct error *err)
{
    if (!*value)
        return error_set(err, EINVAL, "the value is empty");
    *target = value;
    return 0;
}

static int store(const struct option_spec *option, const char *value, struct options *options,
                 struct error *err)
{
    void *target = (char *)options + option->offset;

    switch (option->type) {
    case OPTION_FLAG:
        *(bool *)target = true;
        return 0;
    case OPTION_STRING:
        return store_string(value, target, err);
    case OPTION_LIST:
        return store_list(value, target, err);
    case OPTION_PAIRS:
        return store_pair(value, target, err);
    case OPTION_SIZE:
        return store_size(value, target, err);
    case OPTION_AMOUNT:
        return store_amount(value, target, err);
    case OPTION_COUNT:
        return store_count(value, target, err);
    case OPTION_REAL:
        return store_real(value, target, err);
    case OPTION_DURATION:
        return store_duration(value, target, err);
    }
    return error_set(err, EINVAL, "unknown type of option");
}

static const struct option_spec *find(const struct option_table tables[2], const char *name,
                                      size_t length, char letter)
{
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < tables[t].count; i++) {
            const struct option_spec *option = &tables[t].options[i];

            if (letter ? option->letter == letter
                       : strlen(option->name) == length && !memcmp(option->name, name, length))
                return option;
        }
    return NULL;
}

struct walk {
    const struct option_table *tables;
    char **argv;
    int argc, next;
    struct options *options;
};

static int take_value(struct walk *walk, const struct option_spec *option, const char *attached,
                      struct error *err)
{
    const char *value = attached;

    if (option->type == OPTION_FLAG && attached)
        return error_set(err, EINVAL, "option --%s takes no value", option->name);
    if (option->type != OPTION_FLAG && !attached) {
        if (walk->next >= walk->argc)
            return error_set(err, EINVAL, "option --%s needs a value (%s)", option->name,
                             option->value);
        value = walk->argv[walk->next++];
    }
    int r = store(option, value, walk->options, err);
    return r < 0 ? error_prefix(err, "option --%s", option->name) : 0;
}

static int parse_long(struct walk *walk, const char *text, struct error *err)
{
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    const struct option_spec *option = find(walk->tables, text, length, 0);

    if (!option)
        return error_set(err, EINVAL, "unknown option --%.*s", (int)length, text);
    return take_value(walk, option, equals ? equals + 1 : NULL, err);
}

static int parse_letters(struct walk *walk, const char *text, struct error *err)
{
    for (; *text; text++) {
        const struct option_spec *option = find(walk->tables, NULL, 0, *text);

        if (!option)
            return error_set(err, EINVAL, "unknown option -%c", *text);
        if (option->type != OPTION_FLAG)
            return take_value(walk, option, text[1] ? text + 1 : NULL, err);
        int r = take_value(walk, option, NULL, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int args_parse(const struct option_table tables[2], char **argv, int argc, bool stop_at_first,
               struct options *options, char **ret_args, int *ret_n_args, struct error *err)
{
    struct walk walk = {.tables = tables, .argv = argv, .argc = argc, .options = options};
    bool positional_only = false;
    int n = 0;

    while (walk.next < argc) {
        char *word = argv[walk.next++];
        int r = 0;

        if (stop_at_first && n == 1 && strcmp(word, "--") == 0)
            continue; /* `exec ID -- COMMAND`, as docker and kubectl have it */
        if (positional_only || word[0] != '-' || word[1] == '\0') {
            ret_args[n++] = word;
            positional_only = positional_only || stop_at_first;
        } else if (strcmp(word, "--") == 0) {
            positional_only = true;
        } else {
            r = word[1] == '-' ? parse_long(&walk, word + 2, err)
                               : parse_letters(&walk, word + 1, err);
        }
        if (r < 0)
            return r;
    }
    ret_args[n] = NULL;
    *ret_n_args = n;
    return 0;
}
