-- Pictures of sessions, whose they are as chat messages are their session's. `png` is base64.
CREATE TABLE auracode.thumbnails (
  session_id uuid PRIMARY KEY REFERENCES public.sessions (id) ON DELETE CASCADE,
  etag text NOT NULL,
  png text NOT NULL
);
ALTER TABLE auracode.thumbnails ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Users can only access the thumbnails of their own sessions" ON auracode.thumbnails
  FOR ALL USING (session_id IN (SELECT id FROM public.sessions WHERE user_id = auth.uid()));
GRANT SELECT, INSERT, DELETE ON auracode.thumbnails TO authenticated;
