/* Keys that the daemon makes once and keeps in its state directory (0600), each handed as a
 * descriptor to the programs that sign and check with it: "preview-key" (base/preview-token.h) in
 * STATE/preview-key.json, "login-key" (the tokens of accounts: api/account/login-key.h) in
 * STATE/login-key.json. */
#pragma once

#include "supervisor/supervisor.h"

/* Sets supervisor->preview_key_fd and login_key_fd. A file that is there and unreadable is an
 * error: with another key every token in people's hands would be refused. */
int secrets_open(struct supervisor *supervisor, struct error *err);
