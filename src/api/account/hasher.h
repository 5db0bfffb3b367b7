/* Hashes passwords beside the event loop: HASHER_THREADS at once, HASHER_WAITING more wait, and
 * what comes then is refused. The threads do nothing but password_hash; whatever else a login needs
 * is the loop's. */
#pragma once

#include "api/account/password.h"
#include "base/error.h"

#include <systemd/sd-event.h>

#define HASHER_THREADS 2u
#define HASHER_WAITING 32u

struct hasher;

/* `hash` lives as long as the call; NULL: see `err`. */
typedef void (*hashed_fn)(void *userdata, const char *hash, const struct error *err);

/* To be called when the program is confined already: threads have filters of their own. */
int hasher_new(sd_event *event, struct hasher **ret_hasher, struct error *err);

/* What still waits is told that the program stops. NULL is fine. */
void hasher_free(struct hasher *hasher);

/* `done` is called once, later. -EAGAIN, code "busy": too many wait. */
int hasher_submit(struct hasher *hasher, const char *digest, const char *setting, hashed_fn done,
                  void *userdata, struct error *err);
