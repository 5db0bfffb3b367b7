/* Fuzz target: a request's head, looked through for preview tokens. None may be good that was not
 * made with the key; what goes on to the dev server holds none, and looks no other way the second
 * time. */
#include "proxy/access.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct preview_claims claims = {"abcdefgh2345", 7, 1000000};

static void check_verdict(const struct head *head)
{
    struct preview_key key = {.known = true}; /* nobody has made one with it */
    struct access_result result;

    for (int secure = 0; secure < 2; secure++) {
        access_check(&key, head, &claims, secure, &result);
        if (result.verdict == ACCESS_GRANTED || result.query.length > 0)
            abort();
    }
}

static void check_path(struct text path)
{
    static char memory[BUFFER_SIZE], again[BUFFER_SIZE];
    struct buffer out = {.data = memory}, twice = {.data = again};

    if (access_add_path(&out, path) < 0)
        return;
    struct text clean = {memory, out.length};
    if (access_in_query(clean) || (!access_in_query(path) && !text_is(path, clean)))
        abort();
    if (access_add_path(&twice, clean) < 0 || !text_is((struct text){again, twice.length}, clean))
        abort();
}

static void check_cookies(const struct head_field *field)
{
    static char memory[BUFFER_SIZE], again[BUFFER_SIZE];
    struct buffer out = {.data = memory}, twice = {.data = again};

    if (access_add_cookies(&out, field) < 0 || out.length == 0)
        return;
    size_t before = field->name.length + 2;
    struct head_field clean = {.name = field->name,
                               .value = {memory + before, out.length - before - 2}};
    if (access_add_cookies(&twice, &clean) < 0 || twice.length > out.length)
        abort();
    access_sets_ours(field->value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct head head;
    struct head_error error;
    char *copy = size > 0 && size <= HEAD_MAX ? malloc(size) : NULL; /* exactly as long */

    if (!copy)
        return 0;
    memcpy(copy, data, size);
    if (head_parse_request((struct text){copy, size}, &head, &error) == 0) {
        check_verdict(&head);
        check_path(head.target);
        for (size_t i = 0; i < head.n_fields; i++) {
            check_cookies(&head.fields[i]);
            access_is_ours(&head.fields[i]);
        }
    }
    free(copy);
    return 0;
}
