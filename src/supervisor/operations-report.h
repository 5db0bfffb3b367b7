/* sandbox.report: what a browser reports of a preview, on its way from the proxy to the API. */
#pragma once

#include "base/server.h"

#define REPORT_FIELDS 3u
extern const struct field report_fields[REPORT_FIELDS];
int op_report(struct request *request, void *params, struct error *err);
