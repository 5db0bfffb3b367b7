/* Fuzz target: what the resolver reads. The first byte says what the rest is: a sandbox's question
 * or a name server's answer to the question in seed form. Whatever is taken must be written again,
 * and no answer that is taken may hold an address that is not public. */
#include "fuzz.h"

#include "base/special.h"
#include "resolver/packet.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_ID 0x1234

static void write_back(const struct question *question, const struct answer *answer, uint8_t rcode)
{
    size_t length = 0;
    uint8_t *wire = answer_to_wire(question, answer ? answer->records : NULL, rcode, 5,
                                   question->udp_size, &length);

    if (wire && (length < LDNS_HEADER_SIZE || LDNS_ID_WIRE(wire) != question->id))
        abort();
    free(wire);
}

static void read_question(const uint8_t *wire, size_t size)
{
    struct question question;
    uint8_t rcode = 0;
    size_t length;
    int r = question_parse(wire, size, &question, &rcode);

    if (r < 0)
        return;
    write_back(&question, NULL, rcode);
    if (r > 0)
        return;
    if (question.name[0] && !domain_valid(question.name, false))
        abort();
    uint8_t *out = question_to_wire(&question, ANSWER_ID, &length);
    struct question again;
    if (!out || question_parse(out, length, &again, &rcode) != 0 ||
        strcmp(again.name, question.name) != 0 || again.type != question.type)
        abort();
    free(out);
}

static void check_addresses(const struct answer *answer)
{
    json_t *addresses = answer_addresses(answer);
    struct in_addr binary;
    size_t i;
    json_t *address;

    json_array_foreach(addresses, i, address)
    {
        if (inet_pton(AF_INET, json_string_value(address), &binary) != 1 ||
            special_overlaps(ntohl(binary.s_addr), 32))
            abort();
    }
    json_decref(addresses);
}

static void read_answer(const uint8_t *wire, size_t size)
{
    const struct question question = {
        .id = 7, .type = LDNS_RR_TYPE_A, .udp_size = 1232, .edns = true, .name = "www.example.com"};
    struct answer answer;

    if (answer_parse(wire, size, ANSWER_ID, &question, &answer) < 0)
        return;
    check_addresses(&answer);
    write_back(&question, &answer, answer.rcode);
    answer_clear(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t *copy = malloc(size - 1); /* so that reading past it is seen */
    if (!copy)
        return 0;
    memcpy(copy, data + 1, size - 1);
    if (data[0] & 1)
        read_answer(copy, size - 1);
    else
        read_question(copy, size - 1);
    free(copy);
    return 0;
}
