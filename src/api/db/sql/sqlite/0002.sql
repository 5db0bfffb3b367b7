-- Users, sessions and chat messages: the tables of the Supabase schema, with SQLite's types.
-- Times are milliseconds since the epoch. `seq` numbers the messages in the order of their arrival.
--
-- SQLite has no row-level security. Here it is these views: everything reaches the tables through
-- them (the driver refuses anything else to a user), and they show and take only what belongs to
-- auth_uid(), or all of it when auth_is_service(). Both functions are the driver's. What a foreign key
-- does by itself is done in no trigger's name, so the messages of a session are deleted by a trigger.
CREATE TABLE auth_users (
  id TEXT PRIMARY KEY,
  email TEXT UNIQUE,
  encrypted_password TEXT,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions_all (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES auth_users (id),
  title TEXT NOT NULL,
  description TEXT,
  sandbox_id TEXT,
  thumbnail TEXT,
  iframe_url TEXT,
  is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_sessions_user_id ON sessions_all (user_id);
CREATE INDEX idx_sessions_updated_at ON sessions_all (updated_at DESC);

CREATE TABLE chat_messages_all (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  session_id TEXT NOT NULL REFERENCES sessions_all (id),
  type TEXT NOT NULL,
  content TEXT NOT NULL,
  sender TEXT NOT NULL,
  timestamp INTEGER NOT NULL,
  message_data TEXT NOT NULL DEFAULT '{}', -- a JSON object
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_chat_messages_session_id ON chat_messages_all (session_id, seq);
CREATE INDEX idx_chat_messages_timestamp ON chat_messages_all (timestamp);

-- "Users can only access their own sessions"
CREATE VIEW sessions AS
  SELECT * FROM sessions_all WHERE auth_is_service() OR user_id = auth_uid();

CREATE TRIGGER sessions_insert INSTEAD OF INSERT ON sessions BEGIN
  SELECT RAISE(ABORT, 'row-level security') WHERE NOT auth_is_service() AND NEW.user_id IS NOT auth_uid();
  INSERT INTO sessions_all VALUES (
    NEW.id, NEW.user_id, NEW.title, NEW.description, NEW.sandbox_id, NEW.thumbnail,
    NEW.iframe_url, NEW.is_active, NEW.created_at, NEW.updated_at);
END;

CREATE TRIGGER sessions_update INSTEAD OF UPDATE ON sessions BEGIN
  SELECT RAISE(ABORT, 'row-level security') WHERE NOT auth_is_service() AND NEW.user_id IS NOT auth_uid();
  UPDATE sessions_all SET
    user_id = NEW.user_id, title = NEW.title, description = NEW.description,
    sandbox_id = NEW.sandbox_id, thumbnail = NEW.thumbnail, iframe_url = NEW.iframe_url,
    is_active = NEW.is_active, created_at = NEW.created_at, updated_at = NEW.updated_at
  WHERE id = OLD.id;
END;

CREATE TRIGGER sessions_delete INSTEAD OF DELETE ON sessions BEGIN
  DELETE FROM chat_messages_all WHERE session_id = OLD.id;
  DELETE FROM sessions_all WHERE id = OLD.id;
END;

CREATE TRIGGER auth_users_delete BEFORE DELETE ON auth_users BEGIN
  DELETE FROM chat_messages_all WHERE session_id IN (SELECT id FROM sessions_all WHERE user_id = OLD.id);
  DELETE FROM sessions_all WHERE user_id = OLD.id;
END;

-- "Users can only access their own chat messages"
CREATE VIEW chat_messages AS
  SELECT * FROM chat_messages_all WHERE auth_is_service() OR session_id IN
    (SELECT id FROM sessions_all WHERE user_id = auth_uid());

CREATE TRIGGER chat_messages_insert INSTEAD OF INSERT ON chat_messages BEGIN
  SELECT RAISE(ABORT, 'row-level security') WHERE NOT EXISTS
    (SELECT 1 FROM sessions WHERE id = NEW.session_id);
  INSERT INTO chat_messages_all (id, session_id, type, content, sender, timestamp, message_data, created_at)
    VALUES (NEW.id, NEW.session_id, NEW.type, NEW.content, NEW.sender, NEW.timestamp,
            coalesce(NEW.message_data, '{}'), NEW.created_at);
END;

CREATE TRIGGER chat_messages_delete INSTEAD OF DELETE ON chat_messages BEGIN
  DELETE FROM chat_messages_all WHERE seq = OLD.seq;
END;
