/* Theory of operation: the proxy has no connection to the API, nor should it have: what it passes
 * on is checked here once more, by the same table. */
#include "supervisor/operations-report.h"

#include "supervisor/client.h"

#include "base/browser-report.h"

#include <stddef.h>

struct report_params {
    const char *sandbox;
    int64_t port;
    json_t *report;
};

const struct field report_fields[3] = {
    {"sandbox", FIELD_SANDBOX_ID, offsetof(struct report_params, sandbox), 0, 0, true, NULL},
    {"port", FIELD_INT, offsetof(struct report_params, port), 0, 65535, true, NULL},
    {"report", FIELD_OBJECT, offsetof(struct report_params, report), 0, 0, true, NULL},
};

int op_report(struct request *request, void *params, struct error *err)
{
    const struct report_params *report = params;
    struct browser_report fields;

    int r = fields_decode(report->report, browser_report_fields, BROWSER_REPORT_FIELDS, "report.",
                          &fields, err);
    if (r < 0)
        return r;
    clients_tell_api(request->conn->userdata,
                     json_pack("{s:s, s:s, s:I, s:O}", "event", "sandbox.report", "sandbox",
                               report->sandbox, "port", (json_int_t)report->port, "report",
                               report->report));
    request_reply(request, NULL, NULL, 0);
    return 0;
}
