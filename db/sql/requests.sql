-- fragment: request_columns
-- A request, in the order that credits/request_rows.py reads it.
r.id, r.user_id, r.cadence, r.product, r.model, r.amount, r.reason, r.duration, r.until, r.state, r.limit_then,
r.used_then, r.created_at, r.expires_at, r.decided_at, r.decided_by, r.automatic, r.decision_note, r.granted_amount,
r.granted_until, r.limit_id

-- fragment: of_limit
-- The requests of one user to raise one limit.
r.workspace_id = %(workspace_id)s::uuid
AND r.user_id = %(user_id)s::uuid
AND r.cadence = %(cadence)s::text
AND r.product = %(product)s::text
AND r.model = %(model)s::text

-- fragment: request_visible
-- Whose requests a caller may see: everyone's, one's own, and those of whoever is in a group one manages.
(
  %(everyone)s::boolean
  OR r.user_id = %(own_user)s::uuid
  OR EXISTS (
    SELECT
    FROM group_member AS managed
    WHERE managed.workspace_id = %(workspace_id)s::uuid
      AND managed.user_id = r.user_id
      AND managed.group_id = ANY (%(managed_groups)s::uuid[])
  )
)

-- fragment: request_listed
-- The requests of a list: of the workspace, of a user or of a group's members, visible, and fitting the filter. Whoever
-- is in a group that the caller may not read counts as not being in it.
r.workspace_id = %(workspace_id)s::uuid
AND
  -- include request_visible
AND (%(scope_kind)s::text <> 'USER' OR r.user_id = scope.id)
AND (
  %(scope_kind)s::text <> 'GROUP'
  OR EXISTS (
    SELECT
    FROM group_member AS m
    WHERE m.workspace_id = %(workspace_id)s::uuid
      AND m.group_id = scope.id
      AND m.user_id = r.user_id
  )
)
AND (
  %(states)s::text[] IS NULL
  OR CASE
    WHEN r.state = 'PENDING' AND r.expires_at <= %(now)s::timestamptz THEN 'EXPIRED'
    ELSE r.state
  END = ANY (%(states)s::text[])
)
AND (%(users)s::uuid[] IS NULL OR r.user_id = ANY (%(users)s::uuid[]))
AND (
  %(groups)s::uuid[] IS NULL
  OR EXISTS (
    SELECT
    FROM group_member AS m
    WHERE m.workspace_id = %(workspace_id)s::uuid
      AND m.group_id = ANY (%(groups)s::uuid[])
      AND m.user_id = r.user_id
      AND (
        %(everyone)s::boolean
        OR m.user_id = %(own_user)s::uuid
        OR m.group_id = ANY (%(managed_groups)s::uuid[])
      )
  )
)
AND (%(asked_product)s::text IS NULL OR r.product = %(asked_product)s::text)
AND (%(created_from)s::timestamptz IS NULL OR r.created_at >= %(created_from)s::timestamptz)
AND (%(created_to)s::timestamptz IS NULL OR r.created_at < %(created_to)s::timestamptz)

-- name: request_settings
-- What the workspace has decided about requests.
SELECT s.auto_approval_per_period, s.cooldown_hours, s.request_open_days
FROM workspace_settings AS s
WHERE s.workspace_id = %(workspace_id)s::uuid;

-- name: expire_requests
-- Say of a pending request whose time has passed that it is expired, so that there is room for another one.
UPDATE credit_request AS r
SET state = 'EXPIRED'
WHERE
  -- include of_limit
  AND r.state = 'PENDING'
  AND r.expires_at <= %(now)s::timestamptz;

-- name: pending_request
-- The request of a user to raise a limit that is pending, or was when its time passed.
SELECT
  -- include request_columns
FROM credit_request AS r
WHERE
  -- include of_limit
  AND r.state = 'PENDING';

-- name: last_denial
-- When a user was last denied to have a limit raised; null for never.
SELECT max(r.decided_at)
FROM credit_request AS r
WHERE
  -- include of_limit
  AND r.state = 'DENIED';

-- name: granted_automatically
-- How much a user was granted automatically of a limit in a period.
SELECT coalesce(sum(r.granted_amount), 0)::bigint
FROM credit_request AS r
WHERE
  -- include of_limit
  AND r.state = 'APPROVED'
  AND r.automatic
  AND r.decided_at >= %(period_start)s::timestamptz
  AND r.decided_at < %(period_end)s::timestamptz;

-- name: add_request
-- Add a request that is pending.
INSERT INTO credit_request (
  workspace_id, id, user_id, cadence, product, model, amount, reason, duration, until, state, limit_then, used_then,
  created_at, expires_at, automatic)
VALUES (
  %(workspace_id)s::uuid, %(id)s::uuid, %(user_id)s::uuid, %(cadence)s::text, %(product)s::text, %(model)s::text,
  %(amount)s::bigint, %(reason)s::text, %(duration)s::text, %(until)s::timestamptz, 'PENDING', %(limit_then)s::bigint,
  %(used_then)s::bigint, %(now)s::timestamptz, %(expires_at)s::timestamptz, false);

-- name: end_requests
-- End requests that are still pending, and return them as they are then. Only under `change_controls`.
UPDATE credit_request AS r
SET state = %(state)s::text,
  decided_at = %(now)s::timestamptz,
  decided_by = %(decided_by)s::uuid,
  automatic = %(automatic)s::boolean,
  decision_note = %(note)s::text,
  granted_amount = e.granted_amount,
  granted_until = e.granted_until,
  limit_id = e.limit_id
FROM unnest(%(ids)s::uuid[], %(amounts)s::bigint[], %(untils)s::timestamptz[], %(limits)s::uuid[])
  AS e(id, granted_amount, granted_until, limit_id)
WHERE r.workspace_id = %(workspace_id)s::uuid
  AND r.id = e.id
  AND r.state = 'PENDING'
  AND r.expires_at > %(now)s::timestamptz
RETURNING
  -- include request_columns
;

-- name: requests_waiting
-- The requests that wait for a decision: of these users, or, for null, of all.
SELECT
  -- include request_columns
FROM credit_request AS r
WHERE r.workspace_id = %(workspace_id)s::uuid
  AND r.state = 'PENDING'
  AND r.expires_at > %(now)s::timestamptz
  AND (%(users)s::uuid[] IS NULL OR r.user_id = ANY (%(users)s::uuid[]))
ORDER BY r.created_at, r.id;

-- name: requests_by_id
-- The visible ones of these requests.
SELECT
  -- include request_columns
FROM credit_request AS r
WHERE r.workspace_id = %(workspace_id)s::uuid
  AND r.id = ANY (%(ids)s::uuid[])
  AND
  -- include request_visible
;

-- name: requests_page
-- plan: custom
-- A page of requests for each scope, the newest first.
SELECT scope.nth, page.*
FROM unnest(%(scopes)s::uuid[]) WITH ORDINALITY AS scope(id, nth)
CROSS JOIN LATERAL (
  SELECT
    -- include request_columns
  FROM credit_request AS r
  WHERE
    -- include request_listed
    AND (
      %(after_id)s::uuid IS NULL
      OR (r.created_at, r.id) < (%(after_created_at)s::timestamptz, %(after_id)s::uuid)
    )
  ORDER BY r.created_at DESC, r.id DESC
  LIMIT %(size)s::integer
) AS page
ORDER BY scope.nth, page.created_at DESC, page.id DESC;

-- name: requests_count
-- How many requests each scope's list has.
SELECT scope.nth, count(*)
FROM unnest(%(scopes)s::uuid[]) WITH ORDINALITY AS scope(id, nth)
JOIN credit_request AS r ON
  -- include request_listed
GROUP BY scope.nth;
