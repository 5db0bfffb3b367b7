-- Webhooks, and what is to be sent to them (api/webhooks/webhooks.h). Times are ms since the epoch.
CREATE TABLE auracode.webhooks (
  id text PRIMARY KEY,
  owner text NOT NULL,
  user_id text NOT NULL,       -- the owner as a user
  everything bigint NOT NULL,  -- an administrator's: events of all sandboxes
  url text NOT NULL,
  secret text NOT NULL,
  events text NOT NULL,        -- a JSON array of types; [] for all
  active bigint NOT NULL,
  created_at bigint NOT NULL
);

CREATE TABLE auracode.webhook_deliveries (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  webhook_id text NOT NULL REFERENCES auracode.webhooks (id) ON DELETE CASCADE,
  type text NOT NULL,
  body text NOT NULL,
  attempts bigint NOT NULL DEFAULT 0,
  next_at bigint NOT NULL,     -- while it is sent: when it counts as lost
  dead bigint NOT NULL DEFAULT 0,
  status bigint NOT NULL DEFAULT 0, -- of the last attempt
  error text NOT NULL DEFAULT '',
  created_at bigint NOT NULL
);
CREATE INDEX webhook_deliveries_due ON auracode.webhook_deliveries (dead, next_at);
CREATE INDEX webhook_deliveries_of ON auracode.webhook_deliveries (webhook_id, dead, id);
REVOKE ALL ON auracode.webhooks, auracode.webhook_deliveries FROM PUBLIC, authenticated;
