/* auracode-hook: sends webhooks for auracode-api, which may reach no network itself. */
#pragma once

#include "base/error.h"

/* confine.c: see base/confine.h. */
int hook_confine(struct error *err);
