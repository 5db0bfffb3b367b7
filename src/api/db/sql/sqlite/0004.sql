-- The audit trail (api/audit/audit.h). `hash` chains each record to the one before; `time`, `subject` and
-- `target` repeat members of the record, to be searched by. The anchor is the last record that was
-- pruned, and where an empty chain begins.
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  time INTEGER NOT NULL, -- ms since the epoch
  subject TEXT NOT NULL,
  target TEXT NOT NULL,
  record TEXT NOT NULL, -- a JSON object
  hash TEXT NOT NULL
) STRICT;
CREATE INDEX audit_subject ON audit (subject, seq);
CREATE INDEX audit_target ON audit (target, seq);

CREATE TABLE audit_anchor (
  seq INTEGER NOT NULL,
  hash TEXT NOT NULL
) STRICT;
INSERT INTO audit_anchor VALUES (0, '0000000000000000000000000000000000000000000000000000000000000000');
