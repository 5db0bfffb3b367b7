/* Answers of a request: JSON, errors, headers. */
#include "api/handlers.h"

#include "api/status.h"
#include "base/cleanup.h"
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static struct MHD_Response *text_response(char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);

    if (!response)
        free(text);
    return response;
}

void http_reply_text(struct http_request *request, unsigned int status, const char *type,
                     char *text)
{
    struct MHD_Response *response = text ? text_response(text) : NULL;

    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    http_respond(request, status, response);
}

void http_reply(struct http_request *request, unsigned int status, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

    json_decref(value);
    http_reply_text(request, status, "application/json", text);
}

void http_reply_empty(struct http_request *request, unsigned int status)
{
    http_respond(request, status,
                 MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

void http_fail(struct http_request *request, const struct error *err)
{
    unsigned int status = status_of_error(err);

    snprintf(request->error_code, sizeof(request->error_code), "%s", err->code);
    if (status == 503)
        http_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (status == 500)
        log_warning("request %s: %s (%s)", request->id, err->message, err->code);
    http_reply(request, status, status_error_body(err));
}

void reply_with_result(struct http_request *request, const char *member, json_t *result,
                       const struct error *err)
{
    json_t *value = member ? json_object_get(result, member) : result;
    struct error malformed = ERROR_NONE;

    if (result && !json_is_object(value) && !json_is_array(value)) {
        error_set(&malformed, EPROTO, "the answer has no `%s`", member);
        err = &malformed;
        result = NULL;
    }
    if (!result)
        http_fail(request, err);
    else
        http_reply(request, 200, json_incref(value));
}

void answer_whole(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)fds;
    reply_with_result(userdata, NULL, result, err);
}

void answer_empty(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result)
        http_fail(request, err);
    else
        http_reply_empty(request, 204);
}

void http_header(struct http_request *request, const char *name, const char *format, ...)
{
    struct http_header *header = &request->headers[request->n_headers];
    va_list arguments;

    if (request->n_headers >= REQUEST_HEADERS)
        return;
    va_start(arguments, format);
    int length = vsnprintf(header->value, sizeof(header->value), format, arguments);
    va_end(arguments);
    snprintf(header->name, sizeof(header->name), "%s", name);
    if (length >= 0 && (size_t)length < sizeof(header->value))
        request->n_headers++;
}

bool reply_without_row(struct http_request *request, const struct db_result *results, size_t result,
                       const struct error *err, void (*not_found)(struct http_request *request))
{
    if (!results)
        http_fail(request, err);
    else if (results[result].rows == 0)
        not_found(request);
    return !results || results[result].rows == 0;
}
