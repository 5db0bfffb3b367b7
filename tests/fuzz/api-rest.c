/* Fuzz target: REST requests: path, query, headers, body, and what the supervisor and the sandbox's
 * init answer to them. The input:
 *     METHOD TARGET
 *     Header: value        ... and an empty line
 *     BODY                 Content-Length is set to what it has
 *     %%%                  and a newline on each side
 *     lines of answers     see api-world.h */
#include "api-world.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

#define INPUT_MAX 65536u

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    api_world_open();
    return 0;
}

/* Where the marker stands alone on a line; behind the end: nowhere. */
static size_t find_marker(const char *data, size_t size)
{
    static const char marker[] = "\n%%%\n";
    const char *at = memmem(data, size, marker, sizeof(marker) - 1);

    return at ? (size_t)(at - data) : size;
}

static void add_head(FILE *out, struct span *rest)
{
    struct span line;

    if (span_line(rest, &line))
        fprintf(out, "%.*s HTTP/1.1\r\nHost: localhost\r\n", (int)line.length, line.data);
    while (span_line(rest, &line) && line.length > 0)
        fprintf(out, "%.*s\r\n", (int)line.length, line.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *text = NULL;
    size_t length = 0, marker = find_marker((const char *)data, size);
    struct span request = {(const char *)data, marker}, answers = {"", 0};

    if (size > INPUT_MAX)
        return 0;
    if (marker < size)
        answers = (struct span){(const char *)data + marker + 5, size - marker - 5};
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return 0;
    add_head(out, &request);
    if (request.length > 0)
        fprintf(out, "Content-Length: %zu\r\n", request.length);
    fputs("\r\n", out);
    fwrite(request.data, 1, request.length, out);
    if (fclose(out) == 0)
        api_world_exchange((struct span){text, length}, answers);
    return 0;
}
