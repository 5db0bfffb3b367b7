/* Which isolation is really in force: read from the kernel (procfs, cgroupfs, the ruleset), never
 * from what was meant to be set up. */
#pragma once

#include "supervisor/supervisor.h"

/* [{"name","status":"active"|"degraded"|"absent"|"unknown","detail","advice" (string|null: nothing
 * to do),"required":bool}]. unknown: nothing runs now that it could be read from. New reference;
 * NULL when out of memory. */
json_t *doctor_report(struct supervisor *supervisor);
