-- name: demo_last_event
-- Find when the last event of each source happened, so that the demo goes on from there.
SELECT e.source, max(e.at)
FROM usage_event AS e
WHERE e.workspace_id = %(workspace_id)s::uuid
  AND e.source = ANY (%(sources)s::text[])
GROUP BY e.source;
