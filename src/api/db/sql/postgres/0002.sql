-- Built-in accounts, for those without an issuer of JWTs. `id` is the user's in auth.users, `handle` the name in
-- lower case, `epoch` grows with each change and so ends the tokens made before. Nothing is granted to
-- `authenticated`, and row-level security without a policy keeps its rows from whoever is granted something later.
CREATE TABLE auracode.accounts (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  handle text NOT NULL UNIQUE,
  password_hash text NOT NULL,
  epoch bigint NOT NULL DEFAULT 1,
  disabled bigint NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at bigint NOT NULL,
  changed_at bigint NOT NULL
);
ALTER TABLE auracode.accounts ENABLE ROW LEVEL SECURITY
