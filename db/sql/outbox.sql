-- name: outbox_now
-- What has been committed by now: what is committed later is a change for whoever starts to wait.
SELECT pg_current_snapshot()::text
FROM workspace AS w
WHERE w.id = %(workspace_id)s::uuid;

-- name: outbox_since
-- The changes of a workspace that a snapshot has not seen, with the snapshot that has seen them; one row without any.
--
-- By transaction, not by number: a row with a lower number may be committed after one with a higher number was read.
-- `is_rewound` says that the database is older than the snapshot: it was restored, and nothing can be told from it.
SELECT pg_current_snapshot()::text,
  pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmin(%(seen)s::text::pg_snapshot) AS is_rewound,
  o.kind, o.users, o.groups, o.products, o.models, o.credits, o.requests, o.object_types, o.object_ids
FROM (SELECT 1) AS always
LEFT JOIN LATERAL (
  SELECT c.kind, c.users, c.groups, c.products, c.models, c.credits, c.requests, c.object_types, c.object_ids
  FROM outbox AS c
  WHERE c.workspace_id = %(workspace_id)s::uuid
    AND c.transaction >= pg_snapshot_xmin(%(seen)s::text::pg_snapshot)::text::bigint
    AND NOT pg_visible_in_snapshot(c.transaction::text::xid8, %(seen)s::text::pg_snapshot)
  ORDER BY c.transaction, c.id
  LIMIT %(most)s::integer
) AS o ON true;

-- name: tell_of_changes
-- Wake the other processes. In a transaction that changes nothing: at its commit PostgreSQL lets no other notifier commit.
SELECT pg_notify('creditdesk_changes', %(payload)s::text);

-- name: trim_outbox
-- Forget changes that everybody has been told of.
SELECT trim_outbox(%(before)s::timestamptz);
