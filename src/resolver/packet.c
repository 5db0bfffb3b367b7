/* Theory of operation: see packet.h. */
#include "resolver/packet.h"

#include "base/cleanup.h"
#include "base/special.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#define CHAIN_MAX 16 /* CNAMEs that are followed */

static void cleanup_pkt_fn(ldns_pkt **packet)
{
    ldns_pkt_free(*packet);
}

#define cleanup_pkt __attribute__((cleanup(cleanup_pkt_fn)))

bool type_is_served(uint16_t type)
{
    static const uint16_t served[] = {LDNS_RR_TYPE_A,   LDNS_RR_TYPE_CNAME, LDNS_RR_TYPE_MX,
                                      LDNS_RR_TYPE_TXT, LDNS_RR_TYPE_SRV,   LDNS_RR_TYPE_NS,
                                      LDNS_RR_TYPE_SOA, LDNS_RR_TYPE_PTR,   LDNS_RR_TYPE_CAA};

    for (size_t i = 0; i < ELEMENTS(served); i++)
        if (served[i] == type)
            return true;
    return false;
}

bool name_is_special(const char *name)
{
    static const char suffix[] = ".in-addr.arpa";
    size_t length = strlen(name), tail = sizeof(suffix) - 1;
    unsigned int a, b, c, d;
    int used = 0;

    if (strcasecmp(name, "localhost") == 0 ||
        (length > 9 && strcasecmp(name + length - 9, ".ip6.arpa") == 0))
        return true;
    if (length <= tail || strcasecmp(name + length - tail, suffix) != 0)
        return false;
    if (sscanf(name, "%3u.%3u.%3u.%3u%n", &d, &c, &b, &a, &used) != 4 ||
        (size_t)used != length - tail || a > 255 || b > 255 || c > 255 || d > 255)
        return true; /* a zone, or no address */
    return special_overlaps(a << 24 | b << 16 | c << 8 | d, 32);
}

/* The presentation form without the last dot; names that need escapes are refused: none that a
 * rule or a certificate could name does. */
static int name_to_text(const ldns_rdf *name, char ret_text[DOMAIN_MAX + 1])
{
    cleanup_free char *text = ldns_rdf2str(name);
    size_t length = text ? strlen(text) : 0;

    if (length < 1 || length > DOMAIN_MAX + 1 || text[length - 1] != '.')
        return -EINVAL;
    text[length - 1] = '\0';
    if (length > 1 && !domain_valid(text, false))
        return -EINVAL;
    snprintf(ret_text, DOMAIN_MAX + 1, "%s", text);
    return 0;
}

static uint16_t clamp_size(uint16_t size)
{
    return size < 512 ? 512 : size > EDNS_SIZE ? EDNS_SIZE : size;
}

int question_parse(const uint8_t *wire, size_t length, struct question *ret_question,
                   uint8_t *ret_rcode)
{
    cleanup_pkt ldns_pkt *packet = NULL;
    struct question question = {0};

    if (length < LDNS_HEADER_SIZE || length > PACKET_MAX || LDNS_QR_WIRE(wire))
        return -EBADMSG;
    question.id = LDNS_ID_WIRE(wire);
    question.udp_size = 512;
    *ret_question = question;
    *ret_rcode = LDNS_RCODE_NOTIMPL;
    if (LDNS_OPCODE_WIRE(wire) != LDNS_PACKET_QUERY)
        return 1;
    *ret_rcode = LDNS_RCODE_FORMERR;
    if (ldns_wire2pkt(&packet, wire, length) != LDNS_STATUS_OK || ldns_pkt_qdcount(packet) != 1)
        return 1;
    const ldns_rr *asked = ldns_rr_list_rr(ldns_pkt_question(packet), 0);
    if (ldns_rr_get_class(asked) != LDNS_RR_CLASS_IN ||
        name_to_text(ldns_rr_owner(asked), question.name) < 0)
        return 1;
    question.type = (uint16_t)ldns_rr_get_type(asked);
    question.edns = ldns_pkt_edns(packet);
    question.recursion = ldns_pkt_rd(packet);
    if (question.edns)
        question.udp_size = clamp_size(ldns_pkt_edns_udp_size(packet));
    *ret_question = question;
    return 0;
}

static ldns_rr *question_record(const struct question *question)
{
    ldns_rdf *name = ldns_dname_new_frm_str(question->name[0] ? question->name : ".");
    ldns_rr *record = name ? ldns_rr_new() : NULL;

    if (!record) {
        ldns_rdf_deep_free(name);
        return NULL;
    }
    ldns_rr_set_question(record, true);
    ldns_rr_set_owner(record, name);
    ldns_rr_set_type(record, question->type);
    ldns_rr_set_class(record, LDNS_RR_CLASS_IN);
    return record;
}

static uint8_t *to_wire(const ldns_pkt *packet, size_t *ret_length)
{
    uint8_t *wire = NULL;

    return ldns_pkt2wire(&wire, packet, ret_length) == LDNS_STATUS_OK ? wire : NULL;
}

uint8_t *question_to_wire(const struct question *question, uint16_t id, size_t *ret_length)
{
    cleanup_pkt ldns_pkt *packet = ldns_pkt_new();
    ldns_rr *record = packet ? question_record(question) : NULL;

    if (!record)
        return NULL;
    ldns_pkt_set_id(packet, id);
    ldns_pkt_set_rd(packet, true);
    ldns_pkt_set_edns_udp_size(packet, EDNS_SIZE);
    if (!ldns_pkt_push_rr(packet, LDNS_SECTION_QUESTION, record)) {
        ldns_rr_free(record);
        return NULL;
    }
    return to_wire(packet, ret_length);
}

static bool answers(const ldns_pkt *packet, const struct question *question)
{
    char name[DOMAIN_MAX + 1];

    if (ldns_pkt_qdcount(packet) != 1)
        return false;
    const ldns_rr *asked = ldns_rr_list_rr(ldns_pkt_question(packet), 0);
    return ldns_rr_get_type(asked) == question->type &&
           ldns_rr_get_class(asked) == LDNS_RR_CLASS_IN &&
           name_to_text(ldns_rr_owner(asked), name) == 0 && strcasecmp(name, question->name) == 0;
}

static bool is_public(const ldns_rr *record)
{
    const ldns_rdf *data = ldns_rr_rdf(record, 0);
    uint32_t address;

    if (ldns_rr_get_type(record) != LDNS_RR_TYPE_A)
        return true;
    if (!data || ldns_rdf_size(data) != sizeof(address))
        return false;
    memcpy(&address, ldns_rdf_data(data), sizeof(address));
    return !special_overlaps(ntohl(address), 32);
}

/* The records of `owner` with that type, copied to the end of `taken`; returns the first. */
static const ldns_rr *take(const ldns_rr_list *from, const ldns_rdf *owner, ldns_rr_type type,
                           ldns_rr_list *taken)
{
    const ldns_rr *first = NULL;

    for (size_t i = 0; i < ldns_rr_list_rr_count(from); i++) {
        const ldns_rr *record = ldns_rr_list_rr(from, i);
        if (ldns_rr_get_type(record) != type || ldns_rr_get_class(record) != LDNS_RR_CLASS_IN ||
            ldns_rr_rd_count(record) == 0 || ldns_dname_compare(ldns_rr_owner(record), owner) != 0)
            continue;
        first = first ? first : record;
        if (ldns_rr_list_rr_count(taken) < RECORDS_MAX)
            ldns_rr_list_push_rr(taken, ldns_rr_clone(record));
        if (type == LDNS_RR_TYPE_CNAME)
            break; /* a name has one */
    }
    return first;
}

/* From the asked name along its aliases to the asked type. */
static void follow(const ldns_pkt *packet, const struct question *question, ldns_rr_list *taken)
{
    const ldns_rr_list *from = ldns_pkt_answer(packet);
    const ldns_rdf *owner = ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(packet), 0));

    for (int i = 0; i < CHAIN_MAX; i++) {
        if (take(from, owner, question->type, taken) || question->type == LDNS_RR_TYPE_CNAME)
            return;
        const ldns_rr *alias = take(from, owner, LDNS_RR_TYPE_CNAME, taken);
        if (!alias)
            return;
        owner = ldns_rr_rdf(alias, 0);
    }
}

static uint32_t least_ttl(const ldns_rr_list *records)
{
    uint32_t least = ldns_rr_list_rr_count(records) > 0 ? TTL_MAX : TTL_NEGATIVE;

    for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++)
        if (ldns_rr_ttl(ldns_rr_list_rr(records, i)) < least)
            least = ldns_rr_ttl(ldns_rr_list_rr(records, i));
    return least < TTL_MIN ? TTL_MIN : least;
}

int answer_parse(const uint8_t *wire, size_t length, uint16_t id, const struct question *question,
                 struct answer *ret_answer)
{
    cleanup_pkt ldns_pkt *packet = NULL;

    if (length < LDNS_HEADER_SIZE || LDNS_ID_WIRE(wire) != id || !LDNS_QR_WIRE(wire))
        return -EBADMSG;
    if (LDNS_TC_WIRE(wire)) /* what is in it may be cut anywhere */
        return -EMSGSIZE;
    if (ldns_wire2pkt(&packet, wire, length) != LDNS_STATUS_OK || !answers(packet, question))
        return -EBADMSG;
    struct answer answer = {.records = ldns_rr_list_new(),
                            .rcode = (uint8_t)ldns_pkt_get_rcode(packet)};
    if (!answer.records)
        return -ENOMEM;
    follow(packet, question, answer.records);
    for (size_t i = 0; i < ldns_rr_list_rr_count(answer.records); i++)
        if (!is_public(ldns_rr_list_rr(answer.records, i))) {
            answer_clear(&answer);
            return -EPERM;
        }
    answer.ttl = least_ttl(answer.records);
    *ret_answer = answer;
    return 0;
}

void answer_clear(struct answer *answer)
{
    if (answer->records)
        ldns_rr_list_deep_free(answer->records);
    answer->records = NULL;
}

json_t *answer_addresses(const struct answer *answer)
{
    json_t *addresses = json_array();
    char text[INET_ADDRSTRLEN];

    for (size_t i = 0; addresses && i < ldns_rr_list_rr_count(answer->records); i++) {
        const ldns_rr *record = ldns_rr_list_rr(answer->records, i);
        if (ldns_rr_get_type(record) == LDNS_RR_TYPE_A &&
            inet_ntop(AF_INET, ldns_rdf_data(ldns_rr_rdf(record, 0)), text, sizeof(text)))
            json_array_append_new(addresses, json_string(text));
    }
    return addresses;
}

static ldns_pkt *start_answer(const struct question *question, uint8_t rcode)
{
    ldns_pkt *packet = ldns_pkt_new();
    ldns_rr *record = packet && question->type ? question_record(question) : NULL;

    if (!packet)
        return NULL;
    ldns_pkt_set_id(packet, question->id);
    ldns_pkt_set_qr(packet, true);
    ldns_pkt_set_rd(packet, question->recursion);
    ldns_pkt_set_ra(packet, true);
    ldns_pkt_set_rcode(packet, rcode);
    if (question->edns)
        ldns_pkt_set_edns_udp_size(packet, EDNS_SIZE);
    if (record && !ldns_pkt_push_rr(packet, LDNS_SECTION_QUESTION, record))
        ldns_rr_free(record);
    return packet;
}

uint8_t *answer_to_wire(const struct question *question, const ldns_rr_list *records, uint8_t rcode,
                        uint32_t ttl, size_t max, size_t *ret_length)
{
    cleanup_pkt ldns_pkt *packet = start_answer(question, rcode);

    for (size_t i = 0; packet && records && i < ldns_rr_list_rr_count(records); i++) {
        ldns_rr *copy = ldns_rr_clone(ldns_rr_list_rr(records, i));
        ldns_rr_set_ttl(copy, ttl);
        ldns_pkt_push_rr(packet, LDNS_SECTION_ANSWER, copy);
    }
    uint8_t *wire = packet ? to_wire(packet, ret_length) : NULL;
    if (!wire || *ret_length <= max)
        return wire;
    free(wire);
    cleanup_pkt ldns_pkt *cut = start_answer(question, rcode);
    if (!cut)
        return NULL;
    ldns_pkt_set_tc(cut, true);
    return to_wire(cut, ret_length);
}
