/* Theory of operation: see browser-report.h. */
#include "base/browser-report.h"

#include <stddef.h>

static const char *const kinds[] = {"error",    "rejection", "console", "request",
                                    "resource", "overlay",   NULL};

#define AT(member) offsetof(struct browser_report, member)

const struct field browser_report_fields[BROWSER_REPORT_FIELDS] = {
    {"kind", FIELD_CHOICE, AT(kind), 0, 0, true, kinds},
    {"message", FIELD_STRING, AT(message), 0, REPORT_TEXT_MAX, true, NULL},
    {"source", FIELD_STRING, AT(source), 0, REPORT_URL_MAX, false, NULL},
    {"line", FIELD_INT, AT(line), 0, INT32_MAX, false, NULL},
    {"column", FIELD_INT, AT(column), 0, INT32_MAX, false, NULL},
    {"stack", FIELD_STRING, AT(stack), 0, REPORT_STACK_MAX, false, NULL},
    {"frame", FIELD_STRING, AT(frame), 0, REPORT_TEXT_MAX, false, NULL},
    {"url", FIELD_STRING, AT(url), 0, REPORT_URL_MAX, false, NULL},
    {"status", FIELD_INT, AT(status), 0, 999, false, NULL},
    {"page", FIELD_STRING, AT(page), 0, REPORT_URL_MAX, false, NULL},
};
