/* What auracode-hook is asked for, and how it is done.
 *
 * The API's packets, one JSON object each of at most 64 KiB (SOCK_SEQPACKET):
 *   {"id" (of its own choice), "url" (http or https), "headers": ["Name: value", ...], "body"}
 * and what comes back for each, in any order:
 *   {"id", "status" (of the response; 0: there was none), "error" (why it counts as failed; absent
 *   when the status is from 200 to 299)}
 * What is no such packet is dropped. */
#pragma once

#include <curl/curl.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#define JOB_TIMEOUT_MS  10000L
#define JOB_CONNECT_MS  5000L
#define JOB_ANSWER_MAX  65536u /* bytes of a response's body that are read, and dropped */
#define JOB_PACKET_MAX  65536u
#define JOB_HEADERS_MAX 16u
#define JOB_ADDRESSES   16u

struct job_rules {
    bool allow_private;          /* addresses that are not public */
    const atomic_bool *stopping; /* ends transfers */
};

/* The answer to a packet; NULL: it is none, or there is no memory. */
json_t *job_do(CURL *curl, const json_t *job, const struct job_rules *rules);
