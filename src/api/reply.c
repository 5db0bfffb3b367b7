/* Answers of a request: JSON, errors, headers. */
#include "api/request.h"

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

void http_reply(struct http_request *request, unsigned int status, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    struct MHD_Response *response = text ? text_response(text) : NULL;

    json_decref(value);
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    http_respond(request, status, response);
}

void http_reply_empty(struct http_request *request, unsigned int status)
{
    http_respond(request, status,
                 MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

void http_fail(struct http_request *request, const struct error *err)
{
    unsigned int status = status_of_error(err);

    if (status == 503)
        http_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (status == 500)
        log_warning("request %s: %s (%s)", request->id, err->message, err->code);
    http_reply(request, status, status_error_body(err));
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
