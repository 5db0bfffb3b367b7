/* Theory of operation: see log-format.h. */
#include "api/log-format.h"

#include "base/cleanup.h"
#include "base/protocol.h"
#include "base/str.h"
#include "base/utf8.h"

#include <errno.h>
#include <string.h>

static const char *const channels[] = {
    [STREAM_STDOUT] = "stdout",
    [STREAM_STDERR] = "stderr",
};

static int finish_line(json_t *value, char **ret_text, size_t *ret_length)
{
    cleanup_free char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    char *line = text ? str_format("%s\n", text) : NULL;

    json_decref(value);
    if (!line)
        return -ENOMEM;
    *ret_text = line;
    *ret_length = strlen(line);
    return 0;
}

static json_t *describe(struct log_format *format, const json_t *message)
{
    const char *type = json_string_value(json_object_get(message, "type"));
    json_int_t bytes = json_integer_value(json_object_get(message, "bytes"));
    json_int_t next = json_integer_value(json_object_get(message, "next"));

    if (str_equal(type, "offset") && next >= 0)
        format->offset = next;
    if (str_equal(type, "gap") && bytes > 0 && bytes < INT64_MAX / 2) {
        format->offset = (format->offset + bytes) & INT64_MAX;
        return json_pack("{s:I}", "gap", bytes);
    }
    if (str_equal(type, "restart"))
        return json_pack("{s:b}", "restart", 1);
    if (str_equal(type, "exit"))
        return json_pack("{s:O?}", "exit", json_object_get(message, "process"));
    return NULL;
}

static int format_control(struct log_format *format, const char *data, size_t length,
                          char **ret_text, size_t *ret_length)
{
    cleanup_json json_t *message = json_loadb(data, length, JSON_REJECT_DUPLICATES, NULL);
    json_t *line = describe(format, message);

    if (!line)
        return 0;
    if (format->lines)
        return finish_line(line, ret_text, ret_length);
    json_decref(line);
    return 0;
}

static int format_line(struct log_format *format, unsigned int channel, const char *data,
                       size_t length, char **ret_text, size_t *ret_length)
{
    size_t held = format->held[channel].length;
    cleanup_free char *raw = malloc(held + length);

    if (!raw)
        return -ENOMEM;
    memcpy(raw, format->held[channel].bytes, held);
    memcpy(raw + held, data, length);
    size_t keep = utf8_incomplete_tail(raw, held + length);
    size_t used = held + length - keep;
    int64_t offset = format->offset - (int64_t)held;
    memcpy(format->held[channel].bytes, raw + used, keep);
    format->held[channel].length = keep;
    format->offset += (int64_t)length;
    if (used == 0)
        return 0;
    cleanup_free char *text = utf8_repair(raw, used, &used);
    if (!text)
        return -ENOMEM;
    return finish_line(json_pack("{s:I,s:s,s:o}", "offset", (json_int_t)offset, "channel",
                                 channels[channel], "text", json_stringn_nocheck(text, used)),
                       ret_text, ret_length);
}

int log_format(struct log_format *format, unsigned int channel, const char *data, size_t length,
               char **ret_text, size_t *ret_length)
{
    if (channel == STREAM_CONTROL)
        return format_control(format, data, length, ret_text, ret_length);
    if ((channel != STREAM_STDOUT && channel != STREAM_STDERR) || length == 0)
        return 0;
    if (format->lines)
        return format_line(format, channel, data, length, ret_text, ret_length);
    char *copy = malloc(length);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, data, length);
    *ret_text = copy;
    *ret_length = length;
    return 0;
}
