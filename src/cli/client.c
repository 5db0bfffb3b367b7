/* Theory of operation: see client.h. */
#include "cli/client.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 5000L
#define ERROR_BODY_MAX     65536u

struct transfer {
    struct client *client;
    client_head_fn head;
    client_sink_fn sink;
    void *userdata;
    int result; /* of head or sink */
    bool started;
    char *error_body; /* of an answer from 400 */
    size_t error_length;
};

int client_init(struct client *client, const char *socket, const char *host, const char *token,
                const char *cacert, struct error *err)
{
    *client = (struct client){
        .socket = host ? NULL : socket,
        .base = host ? host : "http://localhost",
        .token = token,
        .cacert = cacert,
        .failure = EXIT_FAILED,
    };
    if (host && !str_starts(host, "http://") && !str_starts(host, "https://"))
        return error_set(err, EINVAL, "host `%s` must begin with http:// or https://", host);
    if (cacert && access(cacert, R_OK) < 0)
        return error_sys(err, errno, "reading `%s`", cacert);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return error_set(err, ENOMEM, "libcurl did not start");
    client->curl = curl_easy_init();
    return client->curl ? 0 : error_oom(err);
}

void client_free(struct client *client)
{
    curl_easy_cleanup(client->curl);
    client->curl = NULL;
    curl_global_cleanup();
}

void client_prepare(const struct client *client, CURL *curl)
{
    curl_easy_reset(curl);
    if (client->socket)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "auracode");
    if (client->socket)
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (client->cacert)
        curl_easy_setopt(curl, CURLOPT_CAINFO, client->cacert);
}

static int unreachable(struct client *client, const char *why, struct error *err)
{
    if (client->socket && access(client->socket, W_OK) < 0 && errno == EACCES) {
        client->failure = EXIT_REFUSED;
        return error_set_code(err, EACCES, "forbidden",
                              "%s: permission denied; run as root or as a member of group auracode",
                              client->socket);
    }
    client->failure = EXIT_UNREACHABLE;
    return error_set_code(err, ECONNREFUSED, "daemon_unreachable",
                          "the daemon does not answer on %s: %s; is auracoded running? "
                          "(systemctl status auracode)",
                          client->socket ? client->socket : client->base, why);
}

int client_transfer_error(struct client *client, CURLcode code, struct error *err)
{
    static const CURLcode gone[] = {
        CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_GOT_NOTHING,  CURLE_RECV_ERROR,
        CURLE_SEND_ERROR,      CURLE_OPERATION_TIMEDOUT,   CURLE_PARTIAL_FILE,
    };

    client->failure = EXIT_FAILED;
    for (size_t i = 0; i < ELEMENTS(gone); i++)
        if (code == gone[i])
            return unreachable(client, curl_easy_strerror(code), err);
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        return error_set_code(err, EACCES, "certificate_not_trusted",
                              "the certificate of %s is not trusted, or is not for this name; "
                              "--cacert FILE names the authority that issued it",
                              client->base);
    if (code == CURLE_SSL_CACERT_BADFILE)
        return error_set(err, EINVAL, "`%s` holds no PEM certificates", client->cacert);
    return error_set(err, EIO, "request failed: %s", curl_easy_strerror(code));
}

int client_status_error(struct client *client, long status, const char *body, size_t length,
                        struct error *err)
{
    static const struct {
        long status;
        enum exit_code failure;
        int errnum;
    } table[] = {
        {400, EXIT_FAILED, EINVAL},    {401, EXIT_REFUSED, EACCES}, {403, EXIT_REFUSED, EPERM},
        {404, EXIT_NOT_FOUND, ENOENT}, {409, EXIT_FAILED, EBUSY},   {412, EXIT_FAILED, EBUSY},
        {413, EXIT_FAILED, EFBIG},     {429, EXIT_FAILED, EAGAIN},  {503, EXIT_FAILED, EAGAIN},
    };
    cleanup_json json_t *answer = json_loadb(body, length, 0, NULL);
    const char *code = "http_error", *message = NULL;
    int errnum = EIO;

    client->failure = EXIT_FAILED;
    for (size_t i = 0; i < ELEMENTS(table); i++)
        if (table[i].status == status) {
            client->failure = table[i].failure;
            errnum = table[i].errnum;
        }
    json_unpack(answer, "{s:{s?s,s?s}}", "error", "code", &code, "message", &message);
    if (!message)
        return error_set_code(err, errnum, code, "the server answered with status %ld", status);
    return error_set_code(err, errnum, code, "%s", message);
}

static long status_of(CURL *curl)
{
    long status = 0;

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t keep_error(struct transfer *transfer, const char *data, size_t length)
{
    size_t room = ERROR_BODY_MAX - transfer->error_length;
    size_t kept = length < room ? length : room;

    if (!transfer->error_body)
        transfer->error_body = malloc(ERROR_BODY_MAX);
    if (!transfer->error_body)
        return 0;
    memcpy(transfer->error_body + transfer->error_length, data, kept);
    transfer->error_length += kept;
    return length;
}

static int begin_body(struct transfer *transfer)
{
    const char *type = NULL;

    if (transfer->started)
        return 0;
    transfer->started = true;
    curl_easy_getinfo(transfer->client->curl, CURLINFO_CONTENT_TYPE, &type);
    return transfer->head ? transfer->head(transfer->userdata, type ? type : "") : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
    struct transfer *transfer = userdata;
    size_t length = size * count;

    if (status_of(transfer->client->curl) >= 400)
        return keep_error(transfer, data, length);
    transfer->result = begin_body(transfer);
    if (transfer->result == 0)
        transfer->result = transfer->sink(transfer->userdata, data, length);
    return transfer->result == 0 ? length : 0;
}

static struct curl_slist *make_headers(const struct client *client, const char *content_type)
{
    cleanup_free char *bearer = NULL, *type = NULL;
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");

    if (client->token) {
        bearer = str_format("Authorization: Bearer %s", client->token);
        headers = bearer ? curl_slist_append(headers, bearer) : headers;
    }
    type =
        str_format("Content-Type:%s%s", content_type ? " " : "", content_type ? content_type : "");
    return type ? curl_slist_append(headers, type) : headers;
}

static int finish(struct transfer *transfer, CURLcode code, struct error *err)
{
    struct client *client = transfer->client;
    long status = status_of(client->curl);

    if (transfer->result < 0)
        return error_sys(err, transfer->result, "handling the answer");
    if (code != CURLE_OK)
        return client_transfer_error(client, code, err);
    if (status >= 400)
        return client_status_error(client, status, transfer->error_body, transfer->error_length,
                                   err);
    int r = begin_body(transfer);
    return r < 0 ? error_sys(err, r, "handling the answer") : 0;
}

/* The handle's method and body are set; this adds what every request has. */
static int perform(struct transfer *transfer, const char *path, const char *content_type,
                   struct error *err)
{
    struct client *client = transfer->client;
    cleanup_free char *url = str_format("%s%s", client->base, path);
    struct curl_slist *headers = make_headers(client, content_type);

    if (!url || !headers) {
        curl_slist_free_all(headers);
        return error_oom(err);
    }
    curl_easy_setopt(client->curl, CURLOPT_URL, url);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, transfer);
    int r = finish(transfer, curl_easy_perform(client->curl), err);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    free(transfer->error_body);
    return r;
}

struct text {
    char *data;
    size_t length;
};

static int append(void *userdata, const char *data, size_t length)
{
    struct text *text = userdata;

    if (length > CLIENT_ANSWER_MAX - text->length)
        return -EFBIG;
    char *grown = realloc(text->data, text->length + length + 1);
    if (!grown)
        return -ENOMEM;
    memcpy(grown + text->length, data, length);
    text->data = grown;
    text->length += length;
    return 0;
}

static int parse_answer(const struct text *text, json_t **ret_answer, struct error *err)
{
    json_error_t why;
    json_t *answer = text->length == 0
                         ? json_null()
                         : json_loadb(text->data, text->length, JSON_DECODE_ANY, &why);

    if (!answer)
        return error_set(err, EPROTO, "the server's answer is not JSON: %s", why.text);
    if (ret_answer)
        *ret_answer = answer;
    else
        json_decref(answer);
    return 0;
}

int client_json(struct client *client, const char *method, const char *path, json_t *body,
                json_t **ret_answer, struct error *err)
{
    struct text text = {0};
    struct transfer transfer = {.client = client, .sink = append, .userdata = &text};
    cleanup_free char *sent = body ? json_dumps(body, JSON_COMPACT) : NULL;
    bool no_memory = body && !sent;

    json_decref(body);
    if (no_memory)
        return error_oom(err);
    client_prepare(client, client->curl);
    curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
    if (sent || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0)
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, sent ? sent : "");
    int r = perform(&transfer, path, sent ? "application/json" : NULL, err);
    if (r == 0)
        r = parse_answer(&text, ret_answer, err);
    free(text.data);
    return r;
}

int client_get(struct client *client, const char *path, client_head_fn head, client_sink_fn sink,
               void *userdata, struct error *err)
{
    struct transfer transfer = {.client = client, .head = head, .sink = sink, .userdata = userdata};

    client_prepare(client, client->curl);
    return perform(&transfer, path, NULL, err);
}

static int ignore(void *userdata, const char *data, size_t length)
{
    (void)userdata;
    (void)data;
    (void)length;
    return 0;
}

int client_put(struct client *client, const char *path, FILE *file, int64_t size, struct error *err)
{
    struct transfer transfer = {.client = client, .sink = ignore};

    client_prepare(client, client->curl);
    curl_easy_setopt(client->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(client->curl, CURLOPT_READDATA, file);
    curl_easy_setopt(client->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
    return perform(&transfer, path, "application/octet-stream", err);
}
