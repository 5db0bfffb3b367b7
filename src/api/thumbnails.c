/* Pictures of sessions, for lists of projects: a PNG each, kept in the database, so that its backup
 * has them too. What comes is looked at as far as its header says what it is; it is decoded by
 * those who show it, whom the answer's headers tell to take it for nothing else. */
#include "api/handlers.h"

#include "api/http-file.h"
#include "api/key.h"
#include "api/store/thumbnails.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <png.h>
#include <string.h>
#include <strings.h>

#define BYTES_MAX  (1u << 20)
#define PIXELS_MAX 4096u /* each way */

struct picture {
    unsigned char *data;
    size_t length, size;
};

static void picture_free(void *state)
{
    struct picture *picture = state;

    free(picture->data);
    free(picture);
}

static char *url_of(const char *session)
{
    return str_format("/v1/sessions/%s/thumbnail", session);
}

/* ---- taking one -------------------------------------------------------------------------------
 */

static int too_large(struct error *err)
{
    return error_set_code(err, EFBIG, "body_too_large", "a thumbnail may have at most %u bytes",
                          BYTES_MAX);
}

static int check_png(const struct picture *picture, struct error *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION};

    int ok = png_image_begin_read_from_memory(&image, picture->data, picture->length);
    unsigned int width = image.width, height = image.height;
    png_image_free(&image);
    if (!ok)
        return error_set_code(err, EINVAL, "invalid_png", "the body is no PNG image: %.64s",
                              picture->length ? image.message : "it is empty");
    if (width > PIXELS_MAX || height > PIXELS_MAX)
        return error_set_code(err, EINVAL, "invalid_png",
                              "the image has %u x %u pixels; at most %u x %u are allowed", width,
                              height, PIXELS_MAX, PIXELS_MAX);
    return 0;
}

static void on_put(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;

    if (!reply_without_row(request, results, 3, err, session_not_found))
        http_reply(request, 200, session_from_row(&results[3], 0));
}

static int keep(struct http_request *request, const struct picture *picture, struct error *err)
{
    gnutls_datum_t raw = {picture->data, (unsigned int)picture->length}, text = {NULL, 0};
    struct who who = request_who(request);
    char id[DB_USER_SIZE], hash[KEY_HASH_SIZE], etag[ETAG_SIZE];
    cleanup_free char *url = NULL;

    int r = session_captured(request, id, err);
    if (r < 0)
        return r;
    if (!(url = url_of(id)) || digest_hex(raw.data, raw.size, hash) < 0 ||
        gnutls_base64_encode2(&raw, &text) < 0)
        return error_oom(err);
    snprintf(etag, sizeof(etag), "\"%.32s\"", hash);
    http_header(request, MHD_HTTP_HEADER_ETAG, "%s", etag);
    thumbnail_put(request->api->db, &who, id, etag, (const char *)text.data, url, now_realtime_ms(),
                  on_put, request);
    gnutls_free(text.data);
    return 0;
}

static int on_body(struct http_request *request, const void *data, size_t length, struct error *err)
{
    struct picture *picture = request->state;
    size_t needed = picture->length + length;

    if (length == 0) {
        int r = check_png(picture, err);
        return r < 0 ? r : keep(request, picture, err);
    }
    if (needed > BYTES_MAX)
        return too_large(err);
    if (needed > picture->size) {
        size_t size = needed < BYTES_MAX / 2 ? needed * 2 : BYTES_MAX;
        unsigned char *larger = realloc(picture->data, size);
        if (!larger)
            return error_oom(err);
        picture->data = larger;
        picture->size = size;
    }
    memcpy(picture->data + picture->length, data, length);
    picture->length = needed;
    return 0;
}

static int check_head(struct http_request *request, struct error *err)
{
    const char *type = http_get_header(request, MHD_HTTP_HEADER_CONTENT_TYPE);
    const char *length = http_get_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t bytes;

    if (type && strcasecmp(type, "image/png") != 0)
        return error_set_code(err, EINVAL, "unsupported_media_type", "the body must be image/png");
    if (length && parse_u64(length, 0, BYTES_MAX, &bytes) < 0)
        return too_large(err);
    return 0;
}

HANDLER(thumbnail_upload)
{
    char id[DB_USER_SIZE];

    (void)query;
    (void)body;
    int r = session_captured(request, id, err);
    if (r == 0)
        r = check_head(request, err);
    if (r < 0)
        return r;
    request->state = calloc(1, sizeof(struct picture));
    if (!request->state)
        return error_oom(err);
    request->state_free = picture_free;
    request->body_write = on_body;
    http_accept_body(request);
    return 0;
}

/* ---- giving and removing it --------------------------------------------------------------------
 */

static void not_found(struct http_request *request)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, ENOENT, "thumbnail_not_found", "session `%.40s` has no thumbnail",
                   request->captures[0]);
    http_fail(request, &err);
}

static struct MHD_Response *response_of(const char *base64)
{
    gnutls_datum_t text = {(unsigned char *)base64, (unsigned int)strlen(base64)}, raw = {NULL, 0};

    if (gnutls_base64_decode2(&text, &raw) < 0)
        return NULL;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(raw.size, raw.data, MHD_RESPMEM_MUST_COPY);
    gnutls_free(raw.data);
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "image/png");
    return response;
}

static void answer_picture(struct http_request *request, const char *etag, const char *base64)
{
    const char *known = http_get_header(request, MHD_HTTP_HEADER_IF_NONE_MATCH);

    http_header(request, MHD_HTTP_HEADER_ETAG, "%s", etag);
    http_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "private, no-cache");
    http_header(request, "X-Content-Type-Options", "nosniff");
    if (known && etag_listed(known, etag))
        http_reply_empty(request, 304);
    else
        http_respond(request, 200, response_of(base64));
}

static void on_found(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;

    if (!reply_without_row(request, results, 0, err, session_not_found) &&
        !reply_without_row(request, results, 1, err, not_found))
        answer_picture(request, db_text(&results[1], 0, 0), db_text(&results[1], 0, 1));
}

HANDLER(thumbnail_get)
{
    (void)query;
    (void)body;
    return session_ask(request, thumbnail_find, on_found, err);
}

static void on_deleted(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;

    if (!reply_without_row(request, results, 0, err, session_not_found) &&
        !reply_without_row(request, results, 1, err, not_found))
        http_reply_empty(request, 204);
}

static void delete_of(struct db *db, const struct who *who, const char *id, db_done_fn done,
                      void *userdata)
{
    cleanup_free char *url = url_of(id);

    thumbnail_delete(db, who, id, url ? url : "", now_realtime_ms(), done, userdata);
}

HANDLER(thumbnail_remove)
{
    (void)query;
    (void)body;
    return session_ask(request, delete_of, on_deleted, err);
}
