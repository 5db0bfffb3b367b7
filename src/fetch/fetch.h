/* One URL, fetched again and again: the keys of [auth] jwks_url. */
#pragma once

#include "base/config.h"
#include "base/error.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct fetch {
    const char *url, *authorities; /* authorities: PEM; NULL: the system's */
    CURLM *multi;
    CURL *easy;
    bool running, too_large;
    int64_t next_ms, asked_ms; /* CLOCK_MONOTONIC; asked_ms: when it last was refetched on demand */
    unsigned int failures;     /* in a row */
    bool told;                 /* of a failure that still lasts */
    char *body;
    size_t length;
    char *kept; /* the last good text */
    /* A good set that is another than the last. */
    void (*found)(void *userdata, const char *text);
    void *userdata;
};

/* Everything that opens files or loads libraries happens here. */
int fetch_init(struct fetch *fetch, const struct config *config, struct error *err);
void fetch_free(struct fetch *fetch);

/* Does what there is to do now; returns after how many ms it wants to be called again. */
int fetch_step(struct fetch *fetch);

/* At once, unless that was asked for less than 30 s ago. */
void fetch_again(struct fetch *fetch);

/* confine.c */
int fetch_confine(struct error *err);
