-- The audit trail (api/audit/audit.h). `hash` chains each record to the one before; `time`, `subject` and
-- `target` repeat members of the record, to be searched by. The anchor is the last record that was
-- pruned, and where an empty chain begins. Nobody but the owner of the tables has access.
CREATE TABLE auracode.audit (
  seq bigint PRIMARY KEY,
  time bigint NOT NULL, -- ms since the epoch
  subject text NOT NULL,
  target text NOT NULL,
  record text NOT NULL, -- a JSON object
  hash text NOT NULL
);
CREATE INDEX audit_subject ON auracode.audit (subject, seq);
CREATE INDEX audit_target ON auracode.audit (target, seq);

CREATE TABLE auracode.audit_anchor (
  seq bigint NOT NULL,
  hash text NOT NULL
);
INSERT INTO auracode.audit_anchor VALUES (0, repeat('0', 64));
REVOKE ALL ON auracode.audit, auracode.audit_anchor FROM PUBLIC, authenticated;

-- What SQLite has built in: the elements of an array that is given as text.
CREATE FUNCTION auracode.json_each(list text) RETURNS TABLE (value json) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  AS $$ SELECT json_array_elements(list::json) $$;
