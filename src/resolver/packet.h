/* DNS messages, read and written by libldns: questions of a sandbox and answers of a name server,
 * both hostile. No state, no sockets.
 *
 * Nothing of an answer is passed on but the chain of CNAMEs from the asked name and the records of
 * the asked type at its end, and those only if every address in them is public (base/special.h):
 * a name must not lead a program to what the packet filter refuses (DNS rebinding). */
#pragma once

#include "base/egress.h"

#include <ldns/ldns.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_MAX     4096u /* bytes of a question, and of an answer over UDP */
#define PACKET_TCP_MAX 65535u
#define EDNS_SIZE      1232u /* what is announced: no fragments (dnsflagday.net, 2020) */
#define TTL_MIN        1u    /* seconds */
#define TTL_MAX        3600u
#define TTL_NEGATIVE   10u
#define RECORDS_MAX    64u /* of an answer; more are left out */

struct question {
    uint16_t id;
    uint16_t type;
    uint16_t udp_size; /* that the asker takes, 512 .. EDNS_SIZE */
    bool edns, recursion;
    char name[DOMAIN_MAX + 1]; /* without its last dot; "": the root */
};

struct answer {
    ldns_rr_list *records; /* owned */
    uint8_t rcode;
    uint32_t ttl; /* seconds, TTL_MIN .. TTL_MAX */
};

/* 0: a question, 1: one of a kind that is not served (ret_question->id is set; answer FORMERR or
 * NOTIMP, in *ret_rcode), -EBADMSG: nothing that could be answered. */
int question_parse(const uint8_t *wire, size_t length, struct question *ret_question,
                   uint8_t *ret_rcode);

/* Whether records of that type are asked for; for others the answer is that there are none: IPv6
 * addresses have no way out, and types that carry addresses beside other things could lead there.
 */
bool type_is_served(uint16_t type);

/* A PTR name of an address that is not public: only names of the inside could come of it. */
bool name_is_special(const char *name);

/* The message to a name server; heap (free()), NULL when out of memory. */
uint8_t *question_to_wire(const struct question *question, uint16_t id, size_t *ret_length);

/* 0; -EBADMSG: not an answer to that question with that id; -EMSGSIZE: truncated, ask over TCP;
 * -EPERM: it holds an address that is not public. */
int answer_parse(const uint8_t *wire, size_t length, uint16_t id, const struct question *question,
                 struct answer *ret_answer);
void answer_clear(struct answer *answer);

/* The IPv4 addresses in it, as text; new reference. */
json_t *answer_addresses(const struct answer *answer);

/* The message to the asker, records (NULL: none) with `ttl`; above `max` bytes without records and
 * marked as truncated. Heap (free()), NULL when out of memory. */
uint8_t *answer_to_wire(const struct question *question, const ldns_rr_list *records, uint8_t rcode,
                        uint32_t ttl, size_t max, size_t *ret_length);
