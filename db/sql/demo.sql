-- name: demo_last_event
-- Find when the last event of a source happened, so that the demo goes on from there; null where there is none.
SELECT max(e.at)
FROM usage_event AS e
WHERE e.workspace_id = %(workspace_id)s::uuid
  AND e.source = %(source)s::text;
