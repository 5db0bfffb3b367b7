-- Pictures of sessions, whose they are as chat messages are their session's. `png` is base64.
CREATE TABLE thumbnails_all (
  session_id TEXT PRIMARY KEY REFERENCES sessions_all (id),
  etag TEXT NOT NULL,
  png TEXT NOT NULL
) STRICT;

CREATE VIEW thumbnails AS
  SELECT * FROM thumbnails_all WHERE auth_is_service() OR session_id IN
    (SELECT id FROM sessions_all WHERE user_id = auth_uid());

CREATE TRIGGER thumbnails_insert INSTEAD OF INSERT ON thumbnails BEGIN
  SELECT RAISE(ABORT, 'row-level security') WHERE NOT EXISTS
    (SELECT 1 FROM sessions WHERE id = NEW.session_id);
  INSERT INTO thumbnails_all VALUES (NEW.session_id, NEW.etag, NEW.png);
END;

CREATE TRIGGER thumbnails_delete INSTEAD OF DELETE ON thumbnails BEGIN
  DELETE FROM thumbnails_all WHERE session_id = OLD.session_id;
END;

CREATE TRIGGER sessions_delete_thumbnail BEFORE DELETE ON sessions_all BEGIN
  DELETE FROM thumbnails_all WHERE session_id = OLD.id;
END;
