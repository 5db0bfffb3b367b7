/* Decoded queries of the routes of the audit trail, shared by the route table and the handlers. */
#pragma once

#include <stdint.h>

#define AUDIT_PAGE_MAX 1000

struct audit_list_query {
    int64_t since, before, limit;
    const char *sandbox, *session, *subject;
};
