/* Theory of operation: the supervisor keeps both ends of the channel to auracode-hook and hands
 * ours out. While the far end's program comes again, what was sent waits in the channel; when all
 * ends of the far side are gone, as after a supervisor's restart, ours is of no use and another one
 * is asked for. What was on its way then counts as lost, and is sent again when its time is over.
 */
#include "api/webhooks/webhooks.h"

#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/event-glue.h"
#include "base/str.h"

#include <errno.h>

struct webhook_link {
    struct api *api;
    struct webhooks *webhooks;
    webhook_told_fn told;
    struct ipc ipc;
    sd_event_source *source;
    bool asking, closed; /* closed: freed once the answer is there */
};

static void drop(struct webhook_link *link)
{
    link->source = sd_event_source_disable_unref(link->source);
    if (link->ipc.fd >= 0)
        ipc_close(&link->ipc);
    link->ipc.fd = -1;
}

static void take_answer(struct webhook_link *link, const json_t *answer)
{
    const char *id = json_string_value(json_object_get(answer, "id"));
    const char *error = json_string_value(json_object_get(answer, "error"));
    uint64_t delivery;

    if (id && parse_u64(id, 1, INT64_MAX, &delivery) == 0)
        link->told(link->webhooks, (int64_t)delivery,
                   json_integer_value(json_object_get(answer, "status")), error);
}

static int on_channel(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct webhook_link *link = userdata;
    int r = ipc_flush(&link->ipc);

    (void)source;
    (void)fd;
    (void)revents;
    while (r >= 0) {
        cleanup_json json_t *answer = NULL;
        struct ipc_fds fds = {.count = 0};
        r = ipc_receive(&link->ipc, &answer, &fds);
        ipc_fds_close(&fds);
        if (r == 0)
            return 0;
        if (r > 0)
            take_answer(link, answer);
    }
    drop(link);
    webhooks_wake(link->webhooks);
    return 0;
}

static void on_given(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct webhook_link *link = userdata;
    int fd = result ? ipc_fds_take(fds, 0) : -1;

    (void)err;
    link->asking = false;
    if (link->closed) {
        close_and_forget(&fd);
        free(link);
        return;
    }
    if (fd < 0)
        return;
    ipc_init(&link->ipc, fd);
    if (event_add_ipc(link->api->event, &link->ipc, on_channel, link, &link->source) < 0)
        drop(link);
    else
        webhooks_wake(link->webhooks);
}

bool webhook_link_ready(struct webhook_link *link)
{
    if (link->ipc.fd < 0 && !link->asking) {
        link->asking = true;
        supervisor_call(link->api->supervisor, "webhook.channel", json_object(), CALL_REPEATABLE,
                        on_given, link);
    }
    return link->ipc.fd >= 0;
}

int webhook_link_send(struct webhook_link *link, const struct delivery *delivery,
                      const struct webhook *webhook)
{
    cleanup_free char *signature =
        webhook_signature(webhook->secret, now_realtime_ms() / 1000, delivery->body);
    cleanup_json json_t *job =
        signature ? json_pack("{s:o, s:s, s:s, s:[s, s+, o, s+]}", "id",
                              json_sprintf("%lld", (long long)delivery->id), "url", webhook->url,
                              "body", delivery->body, "headers", "Content-Type: application/json",
                              "X-Auracode-Event: ", delivery->type,
                              json_sprintf("X-Auracode-Delivery: %lld", (long long)delivery->id),
                              "X-Auracode-Signature: ", signature)
                  : NULL;

    return job ? ipc_send(&link->ipc, job, NULL, 0) : -ENOMEM;
}

struct webhook_link *webhook_link_new(struct api *api, struct webhooks *webhooks,
                                      webhook_told_fn told)
{
    struct webhook_link *link = calloc(1, sizeof(*link));

    if (!link)
        return NULL;
    *link = (struct webhook_link){.api = api, .webhooks = webhooks, .told = told};
    link->ipc.fd = -1;
    return link;
}

void webhook_link_free(struct webhook_link *link)
{
    if (!link)
        return;
    drop(link);
    link->closed = true;
    if (!link->asking)
        free(link);
}
