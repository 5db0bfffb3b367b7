/* What the parts of the program share. One sd-event loop in one thread; nothing blocks but short
 * disk access, and passwords are hashed in threads that share nothing else. Everything that waits
 * for the supervisor or for a sandbox continues in a callback, while its HTTP connection is
 * suspended. */
#pragma once

#include "api/limiter.h"
#include "base/config.h"
#include "base/preview-token.h"
#include "tls/session.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct audit;
struct audit_prune;
struct http;
struct inits;
struct db;
struct jwt;
struct accounts;
struct supervisor;
struct dev_waiters;
struct event_hub;
struct init_listener;
struct room;
struct question;
struct webhooks;

#define OWNER_MAX 128u

struct error;

struct api {
    sd_event *event;
    struct config config;
    struct http *http;
    struct supervisor *supervisor;
    struct inits *inits;
    struct db *db;
    struct audit *audit;
    struct audit_prune *audit_prune;
    struct webhooks *webhooks;
    struct jwt *jwt;
    struct accounts *accounts; /* account/accounts.h */
    struct dev_waiters *dev_waiters;
    struct event_hub *events;
    struct init_listener *listeners; /* init-events.c */
    unsigned int telling;
    struct room *rooms;         /* chat/room.c */
    struct question *questions; /* ended.c: those that pause */
    struct limiter strangers;   /* refused authentications, by address */
    struct limiter keys;        /* requests, by API key */
    uint64_t limiter_seed;
    gid_t admin_gid; /* (gid_t)-1: there is no such group */
    struct tls_context tls;
    struct preview_key preview_key;
    struct figures *figures;    /* the proxy's; NULL: none */
    const char *preview_scheme; /* of the URLs of previews */
    char preview_port[8];       /* ":7080", or "" for the scheme's own */
    bool stopping;              /* takes no more connections */
    bool ending; /* begins no more requests: what they would work with is being taken down */
};

/* confine.c: see base/confine.h. */
int api_confine(const struct api *api, struct error *err);
