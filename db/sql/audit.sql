-- name: add_audit_entries
-- tells: outbox
-- Add changes to the audit trail, in the order they were made, and to the outbox.
WITH told AS (
  INSERT INTO outbox (workspace_id, written_at, kind, object_types, object_ids, users, groups)
  VALUES (
    %(workspace_id)s::uuid, %(now)s::timestamptz, 'ACTS', %(object_types)s::text[], %(object_ids)s::uuid[],
    %(users)s::uuid[], %(groups)s::uuid[])
)
SELECT add_audit_entries(
  %(workspace_id)s::uuid, %(now)s::timestamptz, %(actor_kind)s::text, %(actor_subject)s::text, %(actor_user)s::uuid,
  %(actions)s::text[], %(object_types)s::text[], %(object_ids)s::uuid[], %(users)s::uuid[], %(groups)s::uuid[],
  %(befores)s::text[], %(afters)s::text[], %(contents)s::bytea[]);

-- name: note_audit_entries
-- Add to the audit trail what changed nothing.
SELECT add_audit_entries(
  %(workspace_id)s::uuid, %(now)s::timestamptz, %(actor_kind)s::text, %(actor_subject)s::text, %(actor_user)s::uuid,
  %(actions)s::text[], %(object_types)s::text[], %(object_ids)s::uuid[], %(users)s::uuid[], %(groups)s::uuid[],
  %(befores)s::text[], %(afters)s::text[], %(contents)s::bytea[]);

-- name: audit_head
-- Where the chain of the audit trail ends.
SELECT h.entries, h.hash
FROM audit_head AS h
WHERE h.workspace_id = %(workspace_id)s::uuid;

-- name: audit_chain
-- plan: custom
-- A page of the audit trail in the order of its chain, up to an entry.
SELECT e.workspace_id, e.id, e.at, e.actor_kind, e.actor_subject, e.actor_user_id, e.action, e.object_type, e.object_id,
  e.user_id, e.group_id, e.before, e.after, e.previous, e.hash
FROM audit_entry AS e
WHERE e.workspace_id = %(workspace_id)s::uuid
  AND e.id >= %(from_id)s::bigint
  AND (%(to_id)s::bigint IS NULL OR e.id <= %(to_id)s::bigint)
ORDER BY e.id
LIMIT %(size)s::integer;

-- name: audit_span
-- The first and the last entry of a range: what stands between them in the chain belongs to it, whatever its moment.
SELECT min(e.id), max(e.id)
FROM audit_entry AS e
WHERE e.workspace_id = %(workspace_id)s::uuid
  AND (%(range_start)s::timestamptz IS NULL OR e.at >= %(range_start)s::timestamptz)
  AND (%(range_end)s::timestamptz IS NULL OR e.at < %(range_end)s::timestamptz);

-- fragment: entry_listed
-- The entries of a list: all of the workspace that fit the filter.
e.workspace_id = %(workspace_id)s::uuid
AND (%(action)s::text IS NULL OR e.action = %(action)s::text)
AND (%(user_id)s::uuid IS NULL OR e.user_id = %(user_id)s::uuid)
AND (%(object_id)s::uuid IS NULL OR e.object_id = %(object_id)s::uuid)
AND (%(range_start)s::timestamptz IS NULL OR e.at >= %(range_start)s::timestamptz)
AND (%(range_end)s::timestamptz IS NULL OR e.at < %(range_end)s::timestamptz)

-- name: audit_page
-- plan: custom
-- A page of the audit trail, newest first.
SELECT e.id, e.at, e.actor_kind, e.actor_subject, e.actor_user_id, e.action, e.object_type, e.object_id, e.user_id,
  e.group_id, e.before, e.after, e.previous, e.hash
FROM audit_entry AS e
WHERE
  -- include entry_listed
  AND (%(after_number)s::bigint IS NULL OR e.id < %(after_number)s::bigint)
ORDER BY e.id DESC
LIMIT %(size)s::integer;

-- name: audit_count
-- plan: custom
-- How many entries the list has.
SELECT count(*)
FROM audit_entry AS e
WHERE
  -- include entry_listed
;
