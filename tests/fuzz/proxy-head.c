/* Fuzz target: a client's bytes through head, host and rewriting, and a body through the chunked
 * decoder. What was accepted must, rewritten, be accepted again with the same framing. */
#include "proxy/chunked.h"
#include "proxy/rewrite.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rewritten(const struct head *head)
{
    static struct head again;
    static char memory[BUFFER_SIZE];
    struct buffer out = {.data = memory};
    struct head_error error;
    struct target target = {.id = "abcdefgh2345"};
    struct exchange_names names = {.authority = head->host,
                                   .domain = TEXT("localhost"),
                                   .target = &target,
                                   .port = 5173,
                                   .client = "::1"};

    target_from_authority(head->host, names.domain, &target);
    target_from_path(head->target, &target);
    if (rewrite_request(&out, head, TEXT("/"), &names) < 0)
        return;
    if (head_parse_request((struct text){memory, out.length}, &again, &error) < 0 ||
        again.body != head->body || again.content_length != head->content_length)
        abort();
}

/* What a dev server says goes on with every field rewritten, in both forms, and stays one head. */
static void check_response(const struct head *head)
{
    static struct head again;
    static char memory[BUFFER_SIZE];
    static const struct target targets[] = {
        {.id = "abcdefgh2345"}, {.id = "abcdefgh2345", .port = 5173, .path_prefix = 20}};
    struct response_form form = {.length = head->body == BODY_LENGTH,
                                 .chunk = head->body == BODY_CHUNKED};
    struct head_error error;

    for (size_t i = 0; i < 2; i++) {
        struct buffer out = {.data = memory};
        struct exchange_names names = {.authority = TEXT("abcdefgh2345.example.org:7080"),
                                       .domain = TEXT("example.org"),
                                       .target = &targets[i],
                                       .port = 5173,
                                       .client = "::1"};
        names.origin = origin_of(head_get(head, NAME_ORIGIN), &names);
        if (head->n_fields < FIELDS_MAX / 2 - 2 &&
            rewrite_response(&out, head, &form, &names) == 0 &&
            (head_parse_response((struct text){memory, out.length}, &again, &error) < 0 ||
             again.body != head->body || again.n_fields > head->n_fields * 2 + 3))
            abort();
    }
}

static void decode(struct text input)
{
    struct chunked chunked = {.state = 0};
    int r = CHUNKED_DATA;

    while (r == CHUNKED_DATA) {
        struct text piece = {"", 0};
        size_t taken = 0;
        r = chunked_step(&chunked, input, &taken, &piece);
        if (r < 0)
            return;
        if (taken > input.length || piece.length > taken)
            abort();
        input = (struct text){input.data + taken, input.length - taken};
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct head head;
    struct head_error error;

    if (size == 0 || size > HEAD_MAX)
        return 0;
    char *copy = malloc(size); /* exactly as long, so that a byte read too many is found */
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    int n = head_length(copy, size, 0);
    if (n > 0 && head_parse_request((struct text){copy, (size_t)n}, &head, &error) == 0) {
        check_rewritten(&head);
        decode((struct text){copy + n, size - (size_t)n});
    }
    if (n > 0 && head_parse_response((struct text){copy, (size_t)n}, &head, &error) == 0)
        check_response(&head);
    decode((struct text){copy, size});
    free(copy);
    return 0;
}
