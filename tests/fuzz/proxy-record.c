/* Fuzz target: any bytes as a value in the access log. The line must be JSON, within its bound, and
 * show nothing behind `auracode_token=`. */
#include "proxy/record-line.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_MAX 8192u

/* Every value of the parameter that is written is the mask, or has been cut away. */
static void check_masked(const char *value)
{
    static const char name[] = "auracode_token=";

    while ((value = strstr(value, name))) {
        value += sizeof(name) - 1;
        if (strncmp(value, RECORD_MASK, sizeof(RECORD_MASK) - 1) != 0)
            abort();
    }
}

static void check(struct text value, size_t most)
{
    static char text[LINE_MAX];
    struct record_line line = {text, sizeof(text), 0};

    record_line_add(&line, TEXT("{\"first\":1"));
    size_t before = line.length;
    record_line_member(&line, TEXT("value"), value, most);
    if (line.length - before > most + strlen(",\"value\":\"\""))
        abort();
    record_line_add(&line, TEXT("}"));
    json_t *object = json_loadb(text, line.length, JSON_ALLOW_NUL, NULL);
    if (!object || json_object_size(object) != 2 || memchr(text, '\n', line.length))
        abort();
    check_masked(json_string_value(json_object_get(object, "value")));
    json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = size > 0 ? malloc(size) : NULL; /* exactly as long */

    if (!copy)
        return 0;
    memcpy(copy, data, size);
    check((struct text){copy, size}, 4096);
    check((struct text){copy, size}, 8 + (unsigned char)copy[0]);
    free(copy);
    return 0;
}
