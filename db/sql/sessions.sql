-- name: start_session
-- Keep a browser signed in.
INSERT INTO browser_session (
  workspace_id, id, user_id, issuer, subject, issuer_session, secret_hash, created_at, renewed_at, seen_at, expires_at,
  tokens, tokens_version, tokens_expire_at)
VALUES (
  %(workspace_id)s::uuid, %(session_id)s::uuid, %(user_id)s::uuid, %(issuer)s::text, %(subject)s::text,
  %(issuer_session)s::text, %(secret_hash)s::bytea, %(now)s::timestamptz, %(now)s::timestamptz, %(now)s::timestamptz,
  %(expires_at)s::timestamptz, %(tokens)s::text, 1, %(tokens_expire_at)s::timestamptz);

-- name: session_by_id
-- Find a session, whatever has become of it.
SELECT s.issuer, s.subject, s.secret_hash, s.next_secret_hash, s.next_given_at, s.previous_secret_hash,
  s.previous_until, s.created_at, s.renewed_at, s.seen_at, s.expires_at, s.tokens, s.tokens_version,
  s.tokens_expire_at
FROM browser_session AS s
WHERE s.workspace_id = %(workspace_id)s::uuid
  AND s.id = %(session_id)s::uuid;

-- name: note_session_seen
-- Put off the end of a session that nobody uses.
UPDATE browser_session AS s
SET seen_at = greatest(s.seen_at, %(now)s::timestamptz)
WHERE s.workspace_id = %(workspace_id)s::uuid
  AND s.id = %(session_id)s::uuid;

-- name: give_session_secret
-- Give a session its next secret, unless another request has just done so. The one in use stays so until this is shown.
UPDATE browser_session AS s
SET next_secret_hash = %(next_secret_hash)s::bytea,
  next_given_at = %(now)s::timestamptz
WHERE s.workspace_id = %(workspace_id)s::uuid
  AND s.id = %(session_id)s::uuid
  AND s.secret_hash = %(secret_hash)s::bytea
  AND (s.next_given_at IS NULL OR s.next_given_at <= %(given_before)s::timestamptz)
RETURNING s.id;

-- name: take_session_secret
-- The browser has shown its next secret: it is the one in use, and the one before it serves a moment longer.
UPDATE browser_session AS s
SET previous_secret_hash = s.secret_hash,
  previous_until = %(previous_until)s::timestamptz,
  secret_hash = s.next_secret_hash,
  next_secret_hash = NULL,
  next_given_at = NULL,
  renewed_at = %(now)s::timestamptz
WHERE s.workspace_id = %(workspace_id)s::uuid
  AND s.id = %(session_id)s::uuid
  AND s.next_secret_hash = %(next_secret_hash)s::bytea;

-- name: claim_session_refresh
-- Let one attempt at a time refresh a session's tokens; one that has not come back by its moment counts no longer.
UPDATE browser_session AS s
SET refresh_id = %(refresh_id)s::uuid,
  refresh_until = %(refresh_until)s::timestamptz
WHERE s.workspace_id = %(workspace_id)s::uuid
  AND s.id = %(session_id)s::uuid
  AND s.tokens_version = %(tokens_version)s::integer
  AND (s.refresh_id IS NULL OR s.refresh_until <= %(now)s::timestamptz)
RETURNING s.id;

-- name: put_session_tokens
-- End an attempt to refresh with the tokens that it brought.
UPDATE browser_session AS s
SET tokens = %(tokens)s::text,
  tokens_expire_at = %(tokens_expire_at)s::timestamptz,
  tokens_version = s.tokens_version + 1,
  refresh_id = NULL,
  refresh_until = NULL
WHERE s.workspace_id = %(workspace_id)s::uuid
  AND s.id = %(session_id)s::uuid
  AND s.refresh_id = %(refresh_id)s::uuid
RETURNING s.id;

-- name: give_up_session_refresh
-- End an attempt to refresh that brought nothing.
UPDATE browser_session AS s
SET refresh_id = NULL,
  refresh_until = NULL
WHERE s.workspace_id = %(workspace_id)s::uuid
  AND s.id = %(session_id)s::uuid
  AND s.refresh_id = %(refresh_id)s::uuid;

-- name: end_session
-- End one session.
DELETE FROM browser_session AS s
WHERE s.workspace_id = %(workspace_id)s::uuid
  AND s.id = %(session_id)s::uuid;

-- name: end_sessions_of_user
-- End all sessions of a user.
DELETE FROM browser_session AS s
WHERE s.workspace_id = %(workspace_id)s::uuid
  AND s.user_id = %(user_id)s::uuid;

-- name: remove_expired_sessions
-- Remove what has expired in all workspaces; return how many sessions there were.
SELECT remove_expired_sessions(%(now)s::timestamptz, %(seen_since)s::timestamptz);
