/* Theory of operation: see job.h. Names are looked up here, by libc, and libcurl is told the
 * outcome: it would start a thread for each. The address is looked at again where the socket is
 * made, so that nothing is ever connected to but what was allowed; no connection is kept, and
 * nothing is followed. */
#include "hook/job.h"

#include "hook/address.h"

#include "base/cleanup.h"
#include "config.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

struct transfer {
    const struct job_rules *rules;
    size_t received;
    char refused[INET6_ADDRSTRLEN]; /* an address that is not public */
    char error[CURL_ERROR_SIZE];
    char resolve[JOB_ADDRESSES * INET6_ADDRSTRLEN + 320]; /* "HOST:PORT:ADDRESS,..." */
};

static void url_cleanup(CURLU **url)
{
    curl_url_cleanup(*url);
}

static void slist_free(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

static void curl_text_free(char **text)
{
    curl_free(*text);
}

#define cleanup_url   __attribute__((cleanup(url_cleanup))) CURLU
#define cleanup_slist __attribute__((cleanup(slist_free))) struct curl_slist
#define cleanup_curl  __attribute__((cleanup(curl_text_free))) char

static bool may_reach(struct transfer *transfer, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN] = "?";

    if (transfer->rules->allow_private || address_is_public(address))
        return true;
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof(text));
    if (address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof(text));
    snprintf(transfer->refused, sizeof(transfer->refused), "%s", text);
    return false;
}

static curl_socket_t on_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *address)
{
    if (purpose != CURLSOCKTYPE_IPCXN || !may_reach(userdata, &address->addr))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_answer(char *data, size_t size, size_t count, void *userdata)
{
    struct transfer *transfer = userdata;

    (void)data;
    transfer->received += size * count;
    return transfer->received <= JOB_ANSWER_MAX ? size * count : 0;
}

static int on_progress(void *userdata, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct transfer *transfer = userdata;

    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(transfer->rules->stopping);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void add_addresses(struct transfer *transfer, const struct addrinfo *list)
{
    char text[INET6_ADDRSTRLEN];
    size_t n = 0;

    for (; list && n < JOB_ADDRESSES; list = list->ai_next) {
        size_t used = strlen(transfer->resolve);
        if (!may_reach(transfer, list->ai_addr) ||
            getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof(text), NULL, 0,
                        NI_NUMERICHOST) != 0)
            continue;
        snprintf(transfer->resolve + used, sizeof(transfer->resolve) - used, "%s%s",
                 n++ > 0 ? "," : "", text);
    }
    if (n == 0)
        transfer->resolve[0] = '\0';
    else
        transfer->refused[0] = '\0';
}

/* "" in `resolve` and no error: the URL has an address in place of a name, or no such name. */
static void look_up(struct transfer *transfer, const char *url)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    cleanup_url *parsed = curl_url();
    cleanup_curl *host = NULL, *port = NULL;
    struct addrinfo *list = NULL;

    if (!parsed || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK) {
        snprintf(transfer->error, sizeof(transfer->error), "malformed URL");
        return;
    }
    if (host[0] == '[')
        return;
    int r = getaddrinfo(host, port, &hints, &list);
    if (r != 0) {
        snprintf(transfer->error, sizeof(transfer->error), "%.200s: %s", host, gai_strerror(r));
        return;
    }
    snprintf(transfer->resolve, sizeof(transfer->resolve), "%.255s:%s:", host, port);
    add_addresses(transfer, list);
    freeaddrinfo(list);
}

/* ---- the request ------------------------------------------------------------------------------
 */

static struct curl_slist *headers_of(const json_t *job)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    size_t i;
    json_t *header;

    json_array_foreach(json_object_get(job, "headers"), i, header)
    {
        struct curl_slist *longer = i < JOB_HEADERS_MAX && list && json_is_string(header)
                                        ? curl_slist_append(list, json_string_value(header))
                                        : NULL;
        if (!longer) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

static void set_up(CURL *curl, struct transfer *transfer, const char *url, const char *body,
                   struct curl_slist *headers, struct curl_slist *resolve)
{
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, JOB_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, JOB_CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(curl, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "AuraCode/" PACKAGE_VERSION);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_RESOLVE, resolve);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

/* The status is kept where the answer was only too long. */
static long perform(CURL *curl, struct transfer *transfer)
{
    long status = 0;
    CURLcode code = curl_easy_perform(curl);

    if (code == CURLE_OK || transfer->received > JOB_ANSWER_MAX)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    else if (!*transfer->error)
        snprintf(transfer->error, sizeof(transfer->error), "%s", curl_easy_strerror(code));
    return status;
}

static json_t *answer(const json_t *job, long status, const struct transfer *transfer)
{
    char why[CURL_ERROR_SIZE + 64] = "";

    if (*transfer->refused && status == 0)
        snprintf(why, sizeof(why), "the address %s is not public ([webhooks] allow_private)",
                 transfer->refused);
    else if (status == 0)
        snprintf(why, sizeof(why), "%s", transfer->error);
    else if (status >= 300 && status < 400)
        snprintf(why, sizeof(why), "status %ld: redirects are not followed", status);
    else if (status < 200 || status >= 300)
        snprintf(why, sizeof(why), "status %ld", status);
    return json_pack("{s:O, s:I, s:s*}", "id", json_object_get(job, "id"), "status",
                     (json_int_t)status, "error", *why ? why : NULL);
}

json_t *job_do(CURL *curl, const json_t *job, const struct job_rules *rules)
{
    const char *url = json_string_value(json_object_get(job, "url"));
    const char *body = json_string_value(json_object_get(job, "body"));
    struct transfer transfer = {.rules = rules};
    cleanup_slist *headers = headers_of(job), *resolve = NULL;
    long status = 0;

    if (!url || !body || !headers || !json_object_get(job, "id"))
        return NULL;
    look_up(&transfer, url);
    if (*transfer.resolve && !(resolve = curl_slist_append(NULL, transfer.resolve)))
        return NULL;
    if (!*transfer.error && !(*transfer.refused && !resolve)) {
        set_up(curl, &transfer, url, body, headers, resolve);
        status = perform(curl, &transfer);
    }
    return answer(job, status, &transfer);
}
