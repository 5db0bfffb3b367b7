/* Theory of operation: see message.h. */
#include "api/chat/message.h"

#include "api/store/users.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define ANY (CHAT_USER | CHAT_AGENT)

static const struct chat_type types[] = {
    {"user", "user", CHAT_USER, true, CHAT_KEEP},
    {"assistant", "assistant", CHAT_AGENT, true, CHAT_KEEP},
    {"agent_final", "assistant", CHAT_AGENT, true, CHAT_KEEP},
    {"agent_partial", "agent_partial", CHAT_AGENT, true, CHAT_PARTIAL},
    {"update_in_progress", "update_in_progress", CHAT_AGENT, false, CHAT_PASS},
    {"update_completed", "update_completed", CHAT_AGENT, false, CHAT_COMPLETED},
    {"file_updated", "file_updated", CHAT_AGENT, false, CHAT_PASS},
    {"update_file", "file_updated", CHAT_AGENT, false, CHAT_PASS},
    {"error", "error", CHAT_AGENT, false, CHAT_PASS},
    {"code_files", "code_files", ANY, false, CHAT_FILES},
    {"load_code", "code_files", ANY, false, CHAT_FILES},
    {"init", "init", ANY, false, CHAT_INIT},
    {"ping", "ping", ANY, false, CHAT_PING},
};

static const struct chat_type *find_type(const char *name)
{
    for (size_t i = 0; i < ELEMENTS(types); i++)
        if (str_equal(types[i].name, name))
            return &types[i];
    return NULL;
}

static int refuse_type(enum chat_role from, struct error *err)
{
    char allowed[256] = "";

    for (size_t i = 0; i < ELEMENTS(types); i++)
        if (types[i].from & from) {
            size_t used = strlen(allowed);
            snprintf(allowed + used, sizeof(allowed) - used, "%s%s", used ? ", " : "",
                     types[i].name);
        }
    return error_set_field(err, "type", "expected one of %s", allowed);
}

static int take_string(const json_t *object, const char *name, const char *path, size_t max,
                       const char **ret_text, struct error *err)
{
    const json_t *value = json_object_get(object, name);

    *ret_text = NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return error_set_field(err, path, "expected a string");
    if (json_string_length(value) == 0 || json_string_length(value) > max)
        return error_set_field(err, path, "expected 1 to %zu bytes", max);
    if (strlen(json_string_value(value)) != json_string_length(value))
        return error_set_field(err, path, "contains a NUL character");
    *ret_text = json_string_value(value);
    return 0;
}

static int take_timestamp(const json_t *envelope, int64_t now_ms, int64_t *ret_ms,
                          struct error *err)
{
    const json_t *value = json_object_get(envelope, "timestamp");
    double ms = json_number_value(value);

    *ret_ms = now_ms;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_number(value) || ms < 0 || ms > 253402300799999.0) /* the end of the year 9999 */
        return error_set_field(err, "timestamp", "expected milliseconds since the epoch");
    *ret_ms = (int64_t)ms;
    return 0;
}

static int take_data(const json_t *envelope, struct chat_message *message, struct error *err)
{
    message->data = json_object_get(envelope, "data");
    if (message->data && !json_is_object(message->data))
        return error_set_field(err, "data", "expected an object");
    int r = take_string(message->data, "text", "data.text", CHAT_TEXT_MAX, &message->text, err);
    if (r == 0 && message->type->needs_text && !message->text)
        r = error_set_field(err, "data.text", "is missing");
    return r;
}

int chat_decode(const json_t *envelope, enum chat_role from, int64_t now_ms,
                struct chat_message *ret_message, struct error *err)
{
    struct chat_message message = {.type = NULL};

    if (!json_is_object(envelope))
        return error_set_field(err, "(message)", "expected an object");
    message.type = find_type(json_string_value(json_object_get(envelope, "type")));
    if (!message.type || !(message.type->from & from))
        return refuse_type(from, err);
    int r = take_string(envelope, "id", "id", CHAT_ID_MAX, &message.id, err);
    if (r == 0)
        r = take_string(envelope, "session_id", "session_id", 36, &message.session, err);
    if (r == 0)
        r = take_timestamp(envelope, now_ms, &message.timestamp_ms, err);
    if (r == 0)
        r = take_data(envelope, &message, err);
    if (r == 0)
        *ret_message = message;
    return r;
}

json_t *chat_envelope(const char *type, const char *id, const char *session, int64_t timestamp_ms,
                      json_t *data)
{
    char fresh[DB_USER_SIZE] = "";

    if (!data || (!id && uuid_new(fresh) < 0)) {
        json_decref(data);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", id ? id : fresh, "type", type, "timestamp",
                     (json_int_t)timestamp_ms, "session_id", session ? session : "", "data", data);
}

int chat_row_id(const char *session, const char *id, char *ret_uuid)
{
    cleanup_free char *name = str_format("message %s %s", session, id);

    if (uuid_parse(id, ret_uuid) == 0)
        return 0;
    return name ? user_of_owner(name, ret_uuid) : -ENOMEM;
}
