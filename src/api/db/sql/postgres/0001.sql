-- Everything of ours that is not the Supabase schema lies in the schema `auracode`.
CREATE TABLE auracode.api_keys (
  id text PRIMARY KEY,
  name text NOT NULL,
  hash text NOT NULL UNIQUE,
  owner text NOT NULL,
  scopes bigint NOT NULL,
  created_at bigint NOT NULL,
  last_used_at bigint NOT NULL DEFAULT 0,
  revoked_at bigint NOT NULL DEFAULT 0
);
CREATE TABLE auracode.answers (
  owner text NOT NULL,
  key text NOT NULL,
  request_hash text NOT NULL,
  status bigint NOT NULL DEFAULT 0,
  body text NOT NULL DEFAULT '',
  created_at bigint NOT NULL,
  PRIMARY KEY (owner, key)
);
CREATE INDEX answers_created_at ON auracode.answers (created_at);

-- One SQL text for both databases: times cross as milliseconds since the epoch.
CREATE FUNCTION auracode.ms(t timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  AS $$ SELECT (extract(epoch FROM t) * 1000)::bigint $$;
CREATE FUNCTION auracode.from_ms(t bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  AS $$ SELECT 'epoch'::timestamptz + t * interval '1 millisecond' $$;

-- A Supabase database has the role, the schema `auth` with its users, and auth.uid(). They are left
-- as they are; a plain PostgreSQL gets them here.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'authenticated') THEN
    CREATE ROLE authenticated NOLOGIN NOINHERIT;
  END IF;
  IF NOT pg_has_role(current_user, 'authenticated', 'MEMBER') THEN
    EXECUTE format('GRANT authenticated TO %I', current_user);
  END IF;
  IF to_regclass('auth.users') IS NULL THEN
    CREATE SCHEMA IF NOT EXISTS auth;
    CREATE TABLE auth.users (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      email text UNIQUE,
      encrypted_password text,
      created_at timestamptz NOT NULL DEFAULT now()
    );
    COMMENT ON TABLE auth.users IS 'made by AuraCode';
    GRANT USAGE ON SCHEMA auth TO authenticated;
  END IF;
  IF to_regprocedure('auth.uid()') IS NULL THEN
    CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
      $f$ SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $f$;
  END IF;
END $$;

-- Users of our own are added through it; Supabase's are not ours to add: OFFSET makes a view read-only.
DO $$
BEGIN
  EXECUTE 'CREATE VIEW auracode.auth_users AS SELECT id, email, encrypted_password, created_at FROM auth.users'
    || CASE WHEN obj_description('auth.users'::regclass, 'pg_class') = 'made by AuraCode' THEN '' ELSE ' OFFSET 0' END;
END $$;

CREATE TABLE IF NOT EXISTS public.sessions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  title text NOT NULL,
  description text,
  sandbox_id text,
  thumbnail text,
  iframe_url text,
  is_active boolean DEFAULT true,
  created_at timestamptz DEFAULT now(),
  updated_at timestamptz DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_sessions_user_id ON public.sessions (user_id);
CREATE INDEX IF NOT EXISTS idx_sessions_updated_at ON public.sessions (updated_at DESC);

CREATE TABLE IF NOT EXISTS public.chat_messages (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  session_id uuid NOT NULL REFERENCES public.sessions (id) ON DELETE CASCADE,
  type text NOT NULL,
  content text NOT NULL,
  sender text NOT NULL,
  timestamp timestamptz NOT NULL,
  message_data jsonb DEFAULT '{}',
  created_at timestamptz DEFAULT now()
);
-- Numbers the messages in the order of their arrival: several may carry one time.
ALTER TABLE public.chat_messages ADD COLUMN IF NOT EXISTS seq bigint GENERATED ALWAYS AS IDENTITY;
CREATE INDEX IF NOT EXISTS idx_chat_messages_session_id ON public.chat_messages (session_id);
CREATE INDEX IF NOT EXISTS idx_chat_messages_timestamp ON public.chat_messages (timestamp);
CREATE INDEX IF NOT EXISTS idx_chat_messages_order ON public.chat_messages (session_id, seq);

ALTER TABLE public.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.chat_messages ENABLE ROW LEVEL SECURITY;
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'public' AND tablename = 'sessions') THEN
    CREATE POLICY "Users can only access their own sessions" ON public.sessions
      FOR ALL USING (user_id = auth.uid());
  END IF;
  IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'public' AND tablename = 'chat_messages') THEN
    CREATE POLICY "Users can only access their own chat messages" ON public.chat_messages
      FOR ALL USING (session_id IN (SELECT id FROM public.sessions WHERE user_id = auth.uid()));
  END IF;
END $$;

GRANT USAGE ON SCHEMA public, auracode TO authenticated;
GRANT EXECUTE ON FUNCTION auracode.ms(timestamptz), auracode.from_ms(bigint) TO authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.sessions, public.chat_messages TO authenticated;
