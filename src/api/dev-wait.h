/* Requests that wait until a sandbox's dev server is ready or has crashed. What the inits tell of
 * their service wakes them. */
#pragma once

#include "api/api.h"

#include <jansson.h>

struct http_request;
struct error;

/* A waiter's end: the service object (borrowed), or NULL after the time or with `err` set. */
typedef void (*dev_wait_fn)(struct http_request *request, json_t *service, const struct error *err);

struct dev_waiters *dev_waiters_new(struct api *api);
void dev_waiters_free(struct dev_waiters *waiters);

/* `timeout_ms` > 0. `done` is called exactly once, never before this returns, unless memory is
 * lacking. */
void dev_wait(struct http_request *request, const char *sandbox, int64_t timeout_ms,
              dev_wait_fn done);

bool dev_wait_any(struct api *api, const char *sandbox);

/* For the connections to the inits. */
void dev_wait_event(struct api *api, const char *sandbox, json_t *service);
void dev_wait_lost(struct api *api, const char *sandbox);

/* True when a service in this state will not change by itself: ready, crashed, stopped. */
bool dev_state_settled(const json_t *service);
