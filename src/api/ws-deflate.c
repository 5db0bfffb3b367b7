/* Theory of operation: see ws-deflate.h. One pair of zlib streams serves all connections, since
 * each message begins with a fresh state. */
#include "api/ws-deflate.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define WINDOW_BITS  15
#define LEVEL        1 /* messages are text: most of the gain for a fifth of the time */
#define TAIL         "\x00\x00\xff\xff"
#define TAIL_LENGTH  4u
#define INFLATE_STEP 16384u

static const char answer[] =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/* RFC 7692, 7.1. Of the sizes only the largest for us is accepted; a client's is its own matter. */
static bool accepts(char *parameter)
{
    char *value = strchr(parameter, '=');

    if (value)
        *value++ = '\0';
    parameter[strcspn(parameter, " \t")] = '\0';
    if (str_equal(parameter, "server_no_context_takeover") ||
        str_equal(parameter, "client_no_context_takeover"))
        return !value;
    if (str_equal(parameter, "client_max_window_bits"))
        return true;
    return str_equal(parameter, "server_max_window_bits") && value &&
           (str_equal(value, "15") || str_equal(value, "\"15\""));
}

static bool accepts_offer(char *offer)
{
    char *save = NULL;
    char *name = strtok_r(offer, ";", &save);

    if (!name)
        return false;
    name += strspn(name, " \t");
    name[strcspn(name, " \t")] = '\0';
    if (strcasecmp(name, "permessage-deflate") != 0)
        return false;
    for (char *item = strtok_r(NULL, ";", &save); item; item = strtok_r(NULL, ";", &save))
        if (!accepts(item + strspn(item, " \t")))
            return false;
    return true;
}

const char *ws_deflate_negotiate(const char *offers)
{
    cleanup_free char *copy = offers ? strdup(offers) : NULL;
    char *save = NULL;

    for (char *offer = copy ? strtok_r(copy, ",", &save) : NULL; offer;
         offer = strtok_r(NULL, ",", &save))
        if (accepts_offer(offer))
            return answer;
    return NULL;
}

static z_stream *deflater(void)
{
    static z_stream stream;
    static bool ready;

    if (!ready)
        ready =
            deflateInit2(&stream, LEVEL, Z_DEFLATED, -WINDOW_BITS, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    else
        deflateReset(&stream);
    return ready ? &stream : NULL;
}

char *ws_deflate(const char *data, size_t length, size_t *ret_length)
{
    z_stream *stream = deflater();
    cleanup_free char *target = stream ? malloc(length) : NULL;

    if (!target)
        return NULL;
    stream->next_in = (unsigned char *)data;
    stream->avail_in = (unsigned int)length;
    stream->next_out = (unsigned char *)target;
    stream->avail_out = (unsigned int)length;
    if (deflate(stream, Z_SYNC_FLUSH) != Z_OK || stream->avail_in > 0 || stream->avail_out == 0)
        return NULL;
    *ret_length = length - stream->avail_out - TAIL_LENGTH;
    return TAKE_PTR(target);
}

static z_stream *inflater(void)
{
    static z_stream stream;
    static bool ready;

    if (!ready)
        ready = inflateInit2(&stream, -WINDOW_BITS) == Z_OK;
    else
        inflateReset(&stream);
    return ready ? &stream : NULL;
}

struct output {
    char *data;
    size_t length, size, max;
};

/* Room for the next step; one byte more than `max` tells that there is too much. */
static int make_room(struct output *output)
{
    size_t size = output->size ? output->size * 2 : INFLATE_STEP;

    if (output->length < output->size)
        return 0;
    if (output->size > output->max)
        return -EMSGSIZE;
    if (size > output->max + 1)
        size = output->max + 1;
    char *larger = realloc(output->data, size + 1);
    if (!larger)
        return -ENOMEM;
    output->data = larger;
    output->size = size;
    return 0;
}

static int inflate_part(z_stream *stream, const char *data, size_t length, struct output *output)
{
    stream->next_in = (unsigned char *)data;
    stream->avail_in = (unsigned int)length;
    for (;;) {
        int r = make_room(output);
        if (r < 0)
            return r;
        size_t room = output->size - output->length;
        stream->next_out = (unsigned char *)output->data + output->length;
        stream->avail_out = (unsigned int)room;
        int code = inflate(stream, Z_SYNC_FLUSH);
        output->length += room - stream->avail_out;
        if (code == Z_STREAM_END || (code == Z_BUF_ERROR && stream->avail_out > 0))
            return 0;
        if (code != Z_OK && code != Z_BUF_ERROR)
            return -EPROTO;
        if (stream->avail_in == 0 && stream->avail_out > 0)
            return 0;
    }
}

int ws_inflate(const char *data, size_t length, size_t max, char **ret_data, size_t *ret_length)
{
    z_stream *stream = inflater();
    struct output output = {.max = max};

    if (!stream)
        return -ENOMEM;
    int r = inflate_part(stream, data, length, &output);
    if (r == 0)
        r = inflate_part(stream, TAIL, TAIL_LENGTH, &output);
    if (r == 0 && output.length > max)
        r = -EMSGSIZE;
    if (r < 0) {
        free(output.data);
        return r;
    }
    output.data[output.length] = '\0';
    *ret_data = output.data;
    *ret_length = output.length;
    return 0;
}
