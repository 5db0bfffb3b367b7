/* Theory of operation: see box.h. */
#include "resolver/box.h"

#include "resolver/query.h"
#include "resolver/stream.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DATAGRAMS_A_TURN 16

struct box *box_find(struct control *control, const char *id)
{
    for (struct box *box = control->boxes; box; box = box->next)
        if (str_equal(box->id, id))
            return box;
    return NULL;
}

static int on_udp(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct box *box = userdata;
    uint8_t wire[PACKET_MAX];

    (void)source;
    (void)revents;
    for (int i = 0; i < DATAGRAMS_A_TURN; i++) {
        struct asker asker = {.box = box};
        socklen_t length = sizeof(asker.from);
        ssize_t n =
            recvfrom(fd, wire, sizeof(wire), MSG_TRUNC, (struct sockaddr *)&asker.from, &length);
        if (n < 0)
            break;
        if ((size_t)n <= sizeof(wire))
            query_begin(&asker, wire, (size_t)n);
    }
    return 0;
}

static int on_tcp(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct box *box = userdata;
    cleanup_close int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)source;
    (void)revents;
    if (connection >= 0 && box->n_streams < STREAMS_MAX)
        stream_new(box, TAKE_FD(connection));
    return 0;
}

int box_new(struct control *control, const char *id, int udp, int tcp, struct box **ret_box)
{
    struct box *box = calloc(1, sizeof(*box));

    if (!box) {
        close(udp);
        close(tcp);
        return -ENOMEM;
    }
    *box = (struct box){.control = control,
                        .udp = udp,
                        .tcp = tcp,
                        .tokens = BURST,
                        .tokens_at = now_monotonic_ms()};
    snprintf(box->id, sizeof(box->id), "%s", id);
    box->next = control->boxes;
    control->boxes = box;
    int r = sd_event_add_io(control->event, &box->udp_source, udp, EPOLLIN, on_udp, box);
    if (r >= 0)
        r = sd_event_add_io(control->event, &box->tcp_source, tcp, EPOLLIN, on_tcp, box);
    if (r < 0) {
        box_free(box);
        return r;
    }
    *ret_box = box;
    return 0;
}

void box_update(struct box *box, const json_t *answer)
{
    box->generation = json_integer_value(json_object_get(answer, "generation"));
    box->any = json_is_true(json_object_get(answer, "any"));
    json_decref(box->domains);
    box->domains = json_incref(json_object_get(answer, "domains"));
}

bool box_may_ask(const struct box *box, const char *name)
{
    size_t i;
    json_t *pattern;

    if (box->any)
        return true;
    json_array_foreach(box->domains, i,
                       pattern) if (json_is_string(pattern) &&
                                    domain_matches(json_string_value(pattern), name)) return true;
    return false;
}

bool box_admit(struct box *box)
{
    int64_t now = now_monotonic_ms();

    box->tokens += (double)(now - box->tokens_at) * RATE / 1000;
    box->tokens_at = now;
    if (box->tokens > BURST)
        box->tokens = BURST;
    if (box->tokens < 1 || box->n_queries >= QUERIES_MAX)
        return false;
    box->tokens -= 1;
    return true;
}

void box_free(struct box *box)
{
    for (struct box **link = &box->control->boxes; *link; link = &(*link)->next)
        if (*link == box) {
            *link = box->next;
            break;
        }
    while (box->queries)
        query_cancel(box->queries);
    while (box->streams)
        stream_free(box->streams);
    sd_event_source_disable_unref(box->udp_source);
    sd_event_source_disable_unref(box->tcp_source);
    close(box->udp);
    close(box->tcp);
    cache_clear(&box->cache);
    json_decref(box->domains);
    free(box);
}
