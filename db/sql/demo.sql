-- name: demo_last_event
-- Find when the last event of a source happened, so that the demo goes on from there; null where there is none.
SELECT max(e.at)
FROM usage_event AS e
WHERE e.workspace_id = %(workspace_id)s::uuid
  AND e.source = %(source)s::text;

-- name: demo_used
-- What each user used this month, and in the last 30 days, most first: what the demo's limits are cut to.
SELECT u.id, u.kind, coalesce(b.used, 0) AS this_month, coalesce(sum(r.credits), 0)::bigint AS lately
FROM app_user AS u
LEFT JOIN balance AS b
  ON b.workspace_id = %(workspace_id)s::uuid
  AND b.kind_id = 1
  AND b.scope_id = u.id
  AND b.first_day = %(first_day)s::date
LEFT JOIN rollup_user_day AS r
  ON r.workspace_id = %(workspace_id)s::uuid
  AND r.user_id = u.id
  AND r.day >= %(since)s::date
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND u.active
GROUP BY u.id, u.kind, b.used
ORDER BY lately DESC, u.id;

-- name: demo_controls
-- Whether the demo's rates, limits and requests are there already.
SELECT
  EXISTS (SELECT FROM rate AS r WHERE r.workspace_id = %(workspace_id)s::uuid),
  EXISTS (SELECT FROM credit_limit AS l WHERE l.workspace_id = %(workspace_id)s::uuid AND l.scope <> 'USER'),
  EXISTS (
    SELECT
    FROM credit_limit AS l
    WHERE l.workspace_id = %(workspace_id)s::uuid
      AND l.scope = 'USER'
      AND l.expires_at > %(now)s::timestamptz
  ),
  EXISTS (SELECT FROM credit_request AS c WHERE c.workspace_id = %(workspace_id)s::uuid);
