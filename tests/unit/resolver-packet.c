/* DNS messages of the resolver: what is read as a question, what is kept of an answer, what is
 * refused. Wires are built with libldns here and altered by hand. */
#include "resolver/packet.h"

/* cmocka needs these first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct question asked = {
    .id = 7, .type = LDNS_RR_TYPE_A, .udp_size = 512, .recursion = true, .name = "www.example.com"};

/* An answer to `asked` with these records, one a line. */
static uint8_t *wire_of(const char *const *records, size_t count, size_t *ret_length)
{
    ldns_pkt *packet = ldns_pkt_new();
    uint8_t *wire = NULL;
    ldns_rr *question = NULL;

    ldns_rr_new_question_frm_str(&question, "www.example.com. IN A", NULL, NULL);
    ldns_pkt_set_id(packet, 99);
    ldns_pkt_set_qr(packet, true);
    ldns_pkt_push_rr(packet, LDNS_SECTION_QUESTION, question);
    for (size_t i = 0; i < count; i++) {
        ldns_rr *record = NULL;
        assert_int_equal(ldns_rr_new_frm_str(&record, records[i], 0, NULL, NULL), LDNS_STATUS_OK);
        ldns_pkt_push_rr(packet, LDNS_SECTION_ANSWER, record);
    }
    assert_int_equal(ldns_pkt2wire(&wire, packet, ret_length), LDNS_STATUS_OK);
    ldns_pkt_free(packet);
    return wire;
}

static int parse(const char *const *records, size_t count, struct answer *ret_answer)
{
    size_t length;
    uint8_t *wire = wire_of(records, count, &length);
    int r = answer_parse(wire, length, 99, &asked, ret_answer);

    free(wire);
    return r;
}

static void test_questions(void **state)
{
    size_t length;
    struct question read;
    uint8_t rcode, *wire = question_to_wire(&asked, 513, &length);

    (void)state;
    assert_non_null(wire);
    assert_int_equal(question_parse(wire, length, &read, &rcode), 0);
    assert_int_equal(read.id, 513);
    assert_string_equal(read.name, "www.example.com");
    assert_int_equal(read.type, LDNS_RR_TYPE_A);
    assert_true(read.edns);
    assert_int_equal(read.udp_size, EDNS_SIZE);
    for (size_t cut = 0; cut < length; cut++) /* every beginning of it is no question */
        assert_int_not_equal(question_parse(wire, cut, &read, &rcode), 0);
    wire[2] |= 0x80; /* an answer */
    assert_int_equal(question_parse(wire, length, &read, &rcode), -EBADMSG);
    wire[2] = 0x28; /* UPDATE */
    assert_int_equal(question_parse(wire, length, &read, &rcode), 1);
    assert_int_equal(rcode, LDNS_RCODE_NOTIMPL);
    free(wire);
}

static void test_answers(void **state)
{
    static const char *const chain[] = {
        "www.example.com. 300 IN CNAME a.cdn.example.", "a.cdn.example. 60 IN CNAME b.cdn.example.",
        "b.cdn.example. 20 IN A 203.0.113.5", "b.cdn.example. 20 IN A 203.0.113.6",
        "other.example. 20 IN A 10.0.0.1" /* not on the way */};
    struct answer answer;

    (void)state;
    assert_int_equal(parse(chain, 5, &answer), 0);
    assert_int_equal(ldns_rr_list_rr_count(answer.records), 4);
    assert_int_equal(answer.ttl, 20);
    json_t *addresses = answer_addresses(&answer);
    assert_int_equal(json_array_size(addresses), 2);
    assert_string_equal(json_string_value(json_array_get(addresses, 0)), "203.0.113.5");
    json_decref(addresses);
    answer_clear(&answer);
    assert_int_equal(parse(NULL, 0, &answer), 0);
    assert_int_equal(answer.ttl, TTL_NEGATIVE);
    answer_clear(&answer);
}

static void test_loops(void **state)
{
    static const char *const loop[] = {"www.example.com. 300 IN CNAME a.example.",
                                       "a.example. 300 IN CNAME www.example.com."};
    struct answer answer;

    (void)state;
    assert_int_equal(parse(loop, 2, &answer), 0);
    assert_true(ldns_rr_list_rr_count(answer.records) <= 32);
    answer_clear(&answer);
}

static void test_rebinding(void **state)
{
    static const char *const inside[] = {
        "0.0.0.0",    "10.1.2.3",    "100.64.0.1", "127.0.0.1", "169.254.169.254",
        "172.16.0.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"};
    struct answer answer;
    char alone[80];
    const char *both[] = {"www.example.com. 5 IN A 203.0.113.5", alone};

    (void)state;
    for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
        snprintf(alone, sizeof(alone), "www.example.com. 5 IN A %s", inside[i]);
        assert_int_equal(parse(both + 1, 1, &answer), -EPERM);
        assert_int_equal(parse(both, 2, &answer), -EPERM);
    }
}

static void test_forged(void **state)
{
    static const char *const records[] = {"www.example.com. 5 IN A 203.0.113.5"};
    struct question other = asked;
    struct answer answer;
    size_t length;
    uint8_t *wire = wire_of(records, 1, &length);

    (void)state;
    assert_int_equal(answer_parse(wire, length, 98, &asked, &answer), -EBADMSG);
    strcpy(other.name, "www.example.org");
    assert_int_equal(answer_parse(wire, length, 99, &other, &answer), -EBADMSG);
    other = asked;
    other.type = LDNS_RR_TYPE_TXT;
    assert_int_equal(answer_parse(wire, length, 99, &other, &answer), -EBADMSG);
    for (size_t cut = 0; cut < length; cut++)
        assert_int_equal(answer_parse(wire, cut, 99, &asked, &answer), -EBADMSG);
    wire[2] |= 0x02; /* truncated */
    assert_int_equal(answer_parse(wire, length, 99, &asked, &answer), -EMSGSIZE);
    free(wire);
}

static void test_sizes(void **state)
{
    char lines[40][64];
    const char *records[40];
    struct answer answer;
    size_t length;

    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(lines[i], sizeof(lines[i]), "www.example.com. 9 IN A 203.0.113.%d", i);
        records[i] = lines[i];
    }
    assert_int_equal(parse(records, 40, &answer), 0);
    uint8_t *wire = answer_to_wire(&asked, answer.records, 0, 4, 512, &length);
    assert_true(length <= 512 && LDNS_TC_WIRE(wire));
    free(wire);
    wire = answer_to_wire(&asked, answer.records, 0, 4, PACKET_TCP_MAX, &length);
    assert_true(length > 512 && !LDNS_TC_WIRE(wire));
    assert_int_equal(LDNS_ID_WIRE(wire), 7);
    free(wire);
    answer_clear(&answer);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(name_is_special("1.0.168.192.in-addr.arpa"));
    assert_true(name_is_special("168.192.in-addr.arpa"));
    assert_true(name_is_special("localhost"));
    assert_false(name_is_special("5.113.0.203.in-addr.arpa"));
    assert_false(name_is_special("example.com"));
    assert_true(type_is_served(LDNS_RR_TYPE_A));
    assert_false(type_is_served(LDNS_RR_TYPE_AAAA));
    assert_false(type_is_served(65)); /* HTTPS carries address hints */
    assert_false(type_is_served(255));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_loops),     cmocka_unit_test(test_rebinding),
        cmocka_unit_test(test_forged),    cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
