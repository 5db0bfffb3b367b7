/* sandbox.report: what a browser reports of a preview, on its way from the proxy to the API. */
#pragma once

#include "base/server.h"

extern const struct field report_fields[3];
int op_report(struct request *request, void *params, struct error *err);
