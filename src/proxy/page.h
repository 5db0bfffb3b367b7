/* The few pages that the proxy itself shows to people, and the same news as JSON for programs.
 * Self-contained; whatever came out of a sandbox is escaped. */
#pragma once

#include "proxy/buffer.h"

#include <stdbool.h>
#include <stdint.h>

struct page {
    int status;
    const char *code;      /* stable identifier, for programs */
    const char *title;     /* plain text */
    const char *message;   /* plain text */
    const char *lines;     /* the dev server's last lines, or NULL */
    const char *poll;      /* URL of the status document that the page follows, or NULL */
    bool busy;             /* something is under way: show it */
    const uint16_t *ports; /* that listen; shown where `n_ports` > 0 */
    size_t n_ports;
    const char *port_prefix, *port_suffix; /* a link to a port is prefix + port + suffix */
    int retry_after;                       /* seconds; 0: none */
    int64_t hsts_s;                        /* max-age of Strict-Transport-Security; 0: none */
};

/* Response head and body; the body is left out for HEAD, but its length is told. 0 or a negative
 * errno. */
int page_write_html(struct buffer *out, const struct page *page, bool head_only, bool keep_alive);
int page_write_json(struct buffer *out, const struct page *page, bool head_only, bool keep_alive);

/* A JSON body of our own making. */
int page_write_document(struct buffer *out, int status, const char *json, bool head_only,
                        bool keep_alive);

/* Appends with &, <, >, " and ' written as entities, control characters but newline and tab left
 * out, and what is not UTF-8 replaced. */
int page_escape(struct buffer *out, const char *text);

const char *page_reason(int status);

/* Random hexadecimal digits, for a Content-Security-Policy. 0 or -EIO. */
#define NONCE_LENGTH 32u
int page_make_nonce(char ret_nonce[NONCE_LENGTH + 1]);
