/* Theory of operation: see fetch.h. libcurl's multi interface, so that the supervisor is heard
 * while a server is slow. A good answer is believed for as long as its Cache-Control says, within
 * bounds; after a failure it is tried again, later each time. What is no set of keys changes
 * nothing. */
#include "fetch/fetch.h"

#include "base/cleanup.h"
#include "base/jwks.h"
#include "base/log.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define TIMEOUT_MS       10000L
#define AGE_MIN_S        60
#define AGE_DEFAULT_S    600
#define AGE_MAX_S        86400
#define ASKED_MS         30000
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS   300000
#define IDLE_MS          60000

static size_t on_data(char *data, size_t size, size_t count, void *userdata)
{
    struct fetch *fetch = userdata;
    size_t length = size * count;

    if (length > JWKS_BYTES_MAX - fetch->length) {
        fetch->too_large = true;
        return 0;
    }
    memcpy(fetch->body + fetch->length, data, length);
    fetch->length += length;
    return length;
}

/* https, or http to this machine: config.c has looked at the text, libcurl says what it means. */
static int check_url(const char *url, struct error *err)
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL;
    bool good = false;

    if (parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK)
        good = str_equal(scheme, "https") ||
               (str_equal(scheme, "http") &&
                (str_equal(host, "localhost") || str_equal(host, "127.0.0.1") ||
                 str_equal(host, "[::1]")));
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return good ? 0
                : error_set_field(err, "auth.jwks_url",
                                  "expected https://, or http:// to localhost");
}

/* From memory, since no file of the configuration can be opened here: libcurl's flavour with GnuTLS
 * does not know how. */
static int set_authorities(struct fetch *fetch, struct error *err)
{
    if (!fetch->authorities)
        return 0;
    struct curl_blob blob = {(void *)fetch->authorities, strlen(fetch->authorities),
                             CURL_BLOB_NOCOPY};
    CURLcode r = curl_easy_setopt(fetch->easy, CURLOPT_CAINFO_BLOB, &blob);
    if (r == CURLE_OK)
        return 0;
    return error_set_field(err, "auth.jwks_ca_file", "libcurl with OpenSSL is needed: %s",
                           curl_easy_strerror(r));
}

static int set_options(struct fetch *fetch, struct error *err)
{
    CURL *easy = fetch->easy;
    CURLcode r = curl_easy_setopt(easy, CURLOPT_URL, fetch->url);

    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https,http");
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "auracode");
    return r == CURLE_OK ? set_authorities(fetch, err)
                         : error_set(err, EINVAL, "libcurl: %s", curl_easy_strerror(r));
}

int fetch_init(struct fetch *fetch, const struct config *config, struct error *err)
{
    fetch->url = config->auth_jwks_url;
    fetch->authorities = config->auth_jwks_ca;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || r_global_init() != RHN_OK)
        return error_set(err, EIO, "libcurl or librhonabwy cannot be initialised");
    int r = check_url(fetch->url, err);
    if (r < 0)
        return r;
    fetch->multi = curl_multi_init();
    fetch->easy = curl_easy_init();
    fetch->body = malloc(JWKS_BYTES_MAX + 1);
    if (!fetch->multi || !fetch->easy || !fetch->body)
        return error_oom(err);
    fetch->asked_ms = now_monotonic_ms() - ASKED_MS;
    return set_options(fetch, err);
}

void fetch_free(struct fetch *fetch)
{
    if (fetch->running)
        curl_multi_remove_handle(fetch->multi, fetch->easy);
    curl_easy_cleanup(fetch->easy);
    curl_multi_cleanup(fetch->multi);
    free(fetch->body);
    free(fetch->kept);
    r_global_close();
    curl_global_cleanup();
}

/* -1: there is none. */
static int64_t age_of(const char *value)
{
    static const char name[] = "max-age=";
    uint64_t seconds;
    char digits[12];

    for (const char *at = value; (at = strcasestr(at, name)); at++) {
        size_t length = strspn(at + strlen(name), "0123456789");
        if (at > value && !strchr(" \t,", at[-1]))
            continue;
        snprintf(digits, sizeof(digits), "%.*s", (int)length, at + strlen(name));
        if (parse_u64(digits, 0, INT64_MAX, &seconds) == 0)
            return (int64_t)seconds;
    }
    return -1;
}

static int64_t wait_ms(CURL *easy)
{
    struct curl_header *header = NULL;
    int64_t age_s = -1;

    for (size_t i = 0;
         curl_easy_header(easy, "Cache-Control", i, CURLH_HEADER, -1, &header) == CURLHE_OK &&
         age_s < 0;
         i++)
        age_s = age_of(header->value);
    if (age_s < 0)
        age_s = AGE_DEFAULT_S;
    return 1000 * (age_s < AGE_MIN_S ? AGE_MIN_S : age_s > AGE_MAX_S ? AGE_MAX_S : age_s);
}

static int check_answer(struct fetch *fetch, CURLcode code, struct error *err)
{
    long status = 0;
    jwks_t *keys = NULL;

    curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
    if (fetch->too_large)
        return error_set(err, EFBIG, "the answer has more than %u bytes", JWKS_BYTES_MAX);
    if (code != CURLE_OK)
        return error_set(err, EIO, "%s", curl_easy_strerror(code));
    if (status / 100 == 3)
        return error_set(err, EIO, "status %ld: redirections are not followed", status);
    if (status != 200)
        return error_set(err, EIO, "status %ld", status);
    fetch->body[fetch->length] = '\0';
    int r = jwks_parse(fetch->body, &keys, err);
    r_jwks_free(keys);
    return r;
}

static void keep(struct fetch *fetch)
{
    char *copy = str_equal(fetch->kept, fetch->body) ? NULL : strdup(fetch->body);

    if (!copy)
        return;
    free(fetch->kept);
    fetch->kept = copy;
    fetch->found(fetch->userdata, copy);
}

static void fail(struct fetch *fetch, const struct error *err)
{
    int64_t wait = BACKOFF_MAX_MS;

    if (fetch->failures < 9)
        wait = (int64_t)BACKOFF_FIRST_MS << fetch->failures;
    fetch->failures++;
    fetch->next_ms = now_monotonic_ms() + (wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS);
    if (!fetch->told)
        log_warning("[auth] jwks_url `%s`: %s; the keys stay as they are", fetch->url,
                    err->message);
    fetch->told = true;
}

static void finish(struct fetch *fetch, CURLcode code)
{
    struct error err = ERROR_NONE;

    fetch->running = false;
    if (check_answer(fetch, code, &err) < 0) {
        fail(fetch, &err);
    } else {
        fetch->next_ms = now_monotonic_ms() + wait_ms(fetch->easy);
        fetch->failures = 0;
        fetch->told = false;
        keep(fetch);
    }
    curl_multi_remove_handle(fetch->multi, fetch->easy);
}

static void start(struct fetch *fetch)
{
    fetch->length = 0;
    fetch->too_large = false;
    fetch->running = curl_multi_add_handle(fetch->multi, fetch->easy) == CURLM_OK;
    if (!fetch->running)
        fail(fetch, &(struct error){.message = "libcurl does not start"});
}

int fetch_step(struct fetch *fetch)
{
    int running = 0, left = 0;
    CURLMsg *message;

    if (!fetch->running && now_monotonic_ms() >= fetch->next_ms)
        start(fetch);
    curl_multi_perform(fetch->multi, &running);
    while ((message = curl_multi_info_read(fetch->multi, &left)))
        if (message->msg == CURLMSG_DONE)
            finish(fetch, message->data.result);
    int64_t wait = fetch->next_ms - now_monotonic_ms();
    return fetch->running || wait > IDLE_MS ? IDLE_MS : wait < 0 ? 0 : (int)wait;
}

void fetch_again(struct fetch *fetch)
{
    int64_t now_ms = now_monotonic_ms();

    if (fetch->running || now_ms - fetch->asked_ms < ASKED_MS)
        return;
    fetch->asked_ms = now_ms;
    fetch->next_ms = now_ms;
}
