/* The certificates in use, and what is said about them. */
#pragma once

#include "tls/certificates.h"

#include <pthread.h>
#include <stdio.h>

/* The set that new connections get; `lock` guards `current`. */
struct certificate_store {
    pthread_mutex_t lock;
    struct certificates *current; /* NULL: none was good yet */
};

#define CERTIFICATE_STORE ((struct certificate_store){.lock = PTHREAD_MUTEX_INITIALIZER})

/* One more reference to the current set, or NULL. */
struct certificates *certificate_store_get(struct certificate_store *store);

/* Reads a descriptor from auracoded (closed in any case), makes it the current set and logs what it
 * holds. An expired certificate is better than none, but not than the one in use: on failure, with
 * the error set, that stays. */
int certificate_store_update(struct certificate_store *store, int fd, struct error *err);
void certificate_store_free(struct certificate_store *store);

/* For `auracoded --check`, which starts one of the programs for this: reads the descriptor
 * "certificates" and prints one line a pair, "ok" or "warn", a tab and its description, or
 * "MISSING", a tab and what is wrong. */
void certificates_check(FILE *out);
