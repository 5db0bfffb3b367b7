-- Webhooks, and what is to be sent to them (api/webhooks/webhooks.h). Times are ms since the epoch.
CREATE TABLE webhooks (
  id TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  user_id TEXT NOT NULL,        -- the owner as a user
  everything INTEGER NOT NULL,  -- an administrator's: events of all sandboxes
  url TEXT NOT NULL,
  secret TEXT NOT NULL,
  events TEXT NOT NULL,         -- a JSON array of types; [] for all
  active INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE webhook_deliveries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  type TEXT NOT NULL,
  body TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_at INTEGER NOT NULL,     -- while it is sent: when it counts as lost
  dead INTEGER NOT NULL DEFAULT 0,
  status INTEGER NOT NULL DEFAULT 0, -- of the last attempt
  error TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (dead, next_at);
CREATE INDEX webhook_deliveries_of ON webhook_deliveries (webhook_id, dead, id);
