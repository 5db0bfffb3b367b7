/* The bridge tells the API what goes wrong in a page: a script of ours, inserted in the documents
 * that browsers open, reports uncaught errors, unhandled rejections, console.error, failed requests
 * and the error overlays of dev servers. [proxy] bridge turns it off.
 *
 *   GET  BRIDGE_PATH  the script; its URL has a version, under which it never changes
 *   POST BRIDGE_PATH  {"reports":[...]} (base/browser-report.h), at most 64 KiB of
 * application/json: 204; 400 invalid_report; 411, 413, 415; 429 too_many_reports
 *
 * Neither reaches the dev server. A private preview wants its token for both. */
#pragma once

#include "proxy/names.h"
#include "proxy/page.h"

#define BRIDGE_PATH     "/.auracode/bridge"
#define BRIDGE_URL_SIZE (AUTHORITY_MAX + 64u)

/* What an inserted bridge needs of the document's head. */
struct bridge {
    char nonce[NONCE_LENGTH + 1];
    char url[BRIDGE_URL_SIZE]; /* of BRIDGE_PATH, as a source of a policy */
};

struct client;
struct insertion;

/* Whether a browser opens a document by this request, in a tab or a frame. */
bool bridge_is_document(const struct head *request);

/* Whether the answer is a document that the script can go into; `body`: what is there of it.
 * -EAGAIN: more of it must be known. */
int bridge_fits(const struct client *client, const struct head *response, struct text body);

/* NULL: out of memory or randomness, and the document goes without. */
struct insertion *bridge_insert(const struct client *client, const struct exchange_names *names,
                                struct bridge *ret_bridge);

/* Answers a request to BRIDGE_PATH, whose client was let in / goes on reading its body. */
void bridge_answer(struct client *client);
void bridge_run(struct client *client);

/* bridge-script.c: the script, and what stands for these very bytes in its URL. */
struct text bridge_script(void);
uint32_t bridge_version(void);
