/* Fuzz target: what a page reports. Whatever is taken of it must be taken by the supervisor too,
 * and fit into a packet to it. */
#include "fuzz.h"

#include "base/browser-report.h"
#include "base/cleanup.h"
#include "base/ipc.h"
#include "proxy/report.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *list = reports_read((struct text){(const char *)data, size}, &err);
    struct browser_report decoded;
    json_t *report;
    size_t i;

    json_array_foreach(list, i, report)
    {
        if (fields_decode(report, browser_report_fields, BROWSER_REPORT_FIELDS, "", &decoded,
                          &err) < 0 ||
            json_dumpb(report, NULL, 0, JSON_COMPACT) > IPC_PACKET_MAX / 2)
            abort();
    }
    return 0;
}
