-- Built-in accounts, for those without an issuer of JWTs. `id` is the user of auth_users, `handle` the name in
-- lower case, `epoch` grows with each change and so ends the tokens made before. No view leads here: nothing
-- of a user's own reaches it.
CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  handle TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 1,
  disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT;
