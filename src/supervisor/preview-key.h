/* The key of preview tokens (base/preview-token.h): made once, kept in STATE/preview-key.json
 * (0600), handed to the programs that mint and check them as the descriptor "preview-key". */
#pragma once

#include "supervisor/supervisor.h"

/* Sets supervisor->preview_key_fd. A file that is there and unreadable is an error: with another
 * key every token in people's hands would be refused. */
int preview_key_open(struct supervisor *supervisor, struct error *err);
