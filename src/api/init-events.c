/* Theory of operation: see init-events.h. A list; one that is taken out while the list is walked is
 * only marked, and freed by the outermost walk. */
#include "api/init-events.h"

#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

struct init_listener {
    struct init_listener *next;
    struct api *api;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    const struct init_handler *handler; /* NULL: taken out */
    void *userdata;
};

struct init_listener *init_listen(struct api *api, const char *sandbox,
                                  const struct init_handler *handler, void *userdata)
{
    struct init_listener *listener = calloc(1, sizeof(*listener));

    if (!listener)
        return NULL;
    listener->api = api;
    listener->handler = handler;
    listener->userdata = userdata;
    snprintf(listener->sandbox, sizeof(listener->sandbox), "%s", sandbox);
    listener->next = api->listeners;
    api->listeners = listener;
    return listener;
}

static void sweep(struct api *api)
{
    for (struct init_listener **link = &api->listeners; *link;) {
        struct init_listener *listener = *link;
        if (listener->handler) {
            link = &listener->next;
            continue;
        }
        *link = listener->next;
        free(listener);
    }
}

void init_unlisten(struct init_listener *listener)
{
    if (!listener)
        return;
    listener->handler = NULL;
    if (listener->api->telling == 0)
        sweep(listener->api);
}

bool init_has_listener(struct api *api, const char *sandbox)
{
    for (struct init_listener *listener = api->listeners; listener; listener = listener->next)
        if (listener->handler && str_equal(listener->sandbox, sandbox))
            return true;
    return false;
}

/* Those that join meanwhile stand before the first and are not told. */
static void tell_all(struct api *api, const char *sandbox, const char *name, json_t *event)
{
    api->telling++;
    for (struct init_listener *listener = api->listeners; listener; listener = listener->next) {
        if (!listener->handler || !str_equal(listener->sandbox, sandbox))
            continue;
        if (name)
            listener->handler->event(listener->userdata, name, event);
        else
            listener->handler->lost(listener->userdata);
    }
    if (--api->telling == 0)
        sweep(api);
}

void init_events_tell(struct api *api, const char *sandbox, const char *name, json_t *event)
{
    tell_all(api, sandbox, name, event);
}

void init_events_lost(struct api *api, const char *sandbox)
{
    tell_all(api, sandbox, NULL, NULL);
}
