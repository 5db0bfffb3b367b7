/* Theory of operation: see event-glue.h. */
#include "base/event-glue.h"

#include <sys/epoll.h>

static uint32_t wanted_events(const struct ipc *ipc)
{
    if (!ipc_pending(ipc))
        return EPOLLIN;
    return ipc->answers_first ? EPOLLOUT : EPOLLIN | EPOLLOUT;
}

static void follow_pending(struct ipc *ipc, bool pending)
{
    (void)pending;
    sd_event_source_set_io_events(ipc->userdata, wanted_events(ipc));
}

int event_add_ipc(sd_event *event, struct ipc *ipc, sd_event_io_handler_t handler, void *userdata,
                  sd_event_source **ret_source)
{
    sd_event_source *source;
    int r = sd_event_add_io(event, &source, ipc->fd, wanted_events(ipc), handler, userdata);

    if (r < 0)
        return r;
    ipc->on_pending = follow_pending;
    ipc->userdata = source;
    *ret_source = source;
    return 0;
}
