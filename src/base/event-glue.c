/* Theory of operation: see event-glue.h. */
#include "base/event-glue.h"

#include <sys/epoll.h>

static void follow_pending(struct ipc *ipc, bool pending)
{
    sd_event_source_set_io_events(ipc->userdata, pending ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

int event_add_ipc(sd_event *event, struct ipc *ipc, sd_event_io_handler_t handler, void *userdata,
                  sd_event_source **ret_source)
{
    sd_event_source *source;
    uint32_t events = ipc_pending(ipc) ? EPOLLIN | EPOLLOUT : EPOLLIN;
    int r = sd_event_add_io(event, &source, ipc->fd, events, handler, userdata);

    if (r < 0)
        return r;
    ipc->on_pending = follow_pending;
    ipc->userdata = source;
    *ret_source = source;
    return 0;
}
