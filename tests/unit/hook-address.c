/* Where webhooks may lead to. */
#include "hook/address.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool is_public(const char *text)
{
    struct sockaddr_in ip4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &ip4.sin_addr) == 1)
        return address_is_public((const struct sockaddr *)&ip4);
    assert_int_equal(inet_pton(AF_INET6, text, &ip6.sin6_addr), 1);
    return address_is_public((const struct sockaddr *)&ip6);
}

static void test_public(void **state)
{
    static const char *const addresses[] = {
        "1.1.1.1",           "93.184.215.14",   "203.0.113.7",   "2606:4700::1111",
        "2a00:1450:4001::1", "2001:4860::8888", "::ffff:1.1.1.1"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(addresses); i++)
        if (!is_public(addresses[i]))
            fail_msg("%s is public", addresses[i]);
}

static void test_not_public(void **state)
{
    static const char *const addresses[] = {"127.0.0.1",
                                            "127.1.2.3",
                                            "0.0.0.0",
                                            "10.0.0.1",
                                            "172.16.0.1",
                                            "172.31.255.255",
                                            "192.168.1.1",
                                            "169.254.169.254",
                                            "100.64.0.1",
                                            "224.0.0.1",
                                            "255.255.255.255",
                                            "240.0.0.1",
                                            "198.18.0.1",
                                            "192.0.0.1",
                                            "::",
                                            "::1",
                                            "fe80::1",
                                            "fc00::1",
                                            "fd12::1",
                                            "ff02::1",
                                            "::ffff:127.0.0.1",
                                            "::ffff:10.0.0.1",
                                            "::ffff:169.254.169.254",
                                            "::127.0.0.1",
                                            "64:ff9b::7f00:1",
                                            "2002:7f00:1::",
                                            "2001:0:1::1",
                                            "2001:db8::1",
                                            "2001:2::1",
                                            "2001:10::1",
                                            "2001:20::1",
                                            "3fff::1",
                                            "100::1",
                                            "4000::1"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(addresses); i++)
        if (is_public(addresses[i]))
            fail_msg("%s is not public", addresses[i]);
}

static void test_other_families(void **state)
{
    const struct sockaddr local = {.sa_family = AF_UNIX}, none = {.sa_family = AF_UNSPEC};

    (void)state;
    assert_false(address_is_public(&local));
    assert_false(address_is_public(&none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_public),
                                       cmocka_unit_test(test_not_public),
                                       cmocka_unit_test(test_other_families)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
