-- name: share_controls
-- Wait until nobody changes what decides about spending, and let nobody do so until the end of the transaction.
SELECT pg_advisory_xact_lock_shared(controls_key(%(workspace_id)s::uuid));

-- name: change_controls
-- Wait until nobody spends, let nobody do so until the end of the transaction, and tell everybody who comes after it.
WITH alone AS MATERIALIZED (
  SELECT pg_advisory_xact_lock(controls_key(%(workspace_id)s::uuid))
)
UPDATE workspace_settings AS s
SET controls_version = s.controls_version + 1
FROM alone
WHERE s.workspace_id = %(workspace_id)s::uuid;

-- name: controls_version
-- plan: generic
-- message: shared
-- The version of what decides about spending, and of who may come in: what is known as of it is still so.
SELECT s.controls_version
FROM workspace_settings AS s
WHERE s.workspace_id = %(workspace_id)s::uuid;

-- name: controls_settings
-- plan: generic
-- message: shared
-- The settings that decide about spending. Read first: what is read after it is of this version, or of a later one.
SELECT s.controls_version, s.multi_group, s.unknown_model, s.near_percent, s.anchor_since, s.anchor_days, w.zone
FROM workspace_settings AS s
JOIN workspace AS w ON w.id = s.workspace_id
WHERE s.workspace_id = %(workspace_id)s::uuid;

-- name: balance_kinds
-- plan: generic
-- message: shared
-- What balances the workspace keeps.
SELECT k.id, k.scope, k.cadence, k.product, k.model
FROM balance_kind AS k
WHERE k.workspace_id = %(workspace_id)s::uuid
ORDER BY k.id;

-- fragment: limit_columns
-- A rule, in the order that credits/controls.py reads it.
l.id, l.scope, l.scope_id, l.kind, l.cadence, l.product, l.model, l.unlimited, l.amount, l.enforcement, l.starts_at,
l.expires_at, l.temporary, l.set_by, l.set_at, l.reason, l.version

-- name: limits_of_groups
-- The rules of the workspace and of its groups.
SELECT
  -- include limit_columns
FROM credit_limit AS l
WHERE l.workspace_id = %(workspace_id)s::uuid
  AND l.scope IN ('GROUP', 'WORKSPACE');

-- name: limits_of_users
-- The users' own rules.
SELECT
  -- include limit_columns
FROM credit_limit AS l
WHERE l.workspace_id = %(workspace_id)s::uuid
  AND l.scope = 'USER'
  AND l.scope_id = ANY (%(users)s::uuid[]);

-- name: spenders
-- The users that spends are for, by id, e-mail address or external id, with the groups whose limits count for them.
SELECT u.id, u.email, u.external_id, u.active, u.home_group_id,
  ARRAY(
    SELECT m.group_id
    FROM group_member AS m
    WHERE m.workspace_id = %(workspace_id)s::uuid
      AND m.user_id = u.id
    ORDER BY m.group_id
  )
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND (
    u.id = ANY (%(ids)s::uuid[])
    OR u.email = ANY (%(emails)s::text[])
    OR u.external_id = ANY (%(external_ids)s::text[])
  );

-- name: next_users
-- The users who come next in the order of their ids.
SELECT u.id
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND u.id > %(after)s::uuid
ORDER BY u.id
LIMIT %(most)s::integer;

-- name: balances
-- plan: generic
-- message: shared
-- What was used of the named balances, and what is held now; those that are not there hold nothing.
SELECT k.nth, b.used,
  -- include held_of_balance
FROM unnest(%(kinds)s::integer[], %(scopes)s::uuid[], %(first_days)s::date[])
  WITH ORDINALITY AS k(kind_id, scope_id, first_day, nth)
JOIN balance AS b
  ON b.workspace_id = %(workspace_id)s::uuid
  AND b.kind_id = k.kind_id
  AND b.scope_id = k.scope_id
  AND b.first_day = k.first_day;

-- name: open_balance_kind
-- Keep balances of another kind, from the first day of the period that today is in: with all that was used since, and
-- with what is held. Only under `change_controls`: nothing is recorded or held in the meantime.
WITH kind AS (
  INSERT INTO balance_kind (workspace_id, id, scope, cadence, product, model, since)
  SELECT %(workspace_id)s::uuid, coalesce(max(k.id), 0) + 1, %(scope)s::text, %(cadence)s::text, %(product)s::text,
    %(model)s::text, %(since)s::date
  FROM balance_kind AS k
  WHERE k.workspace_id = %(workspace_id)s::uuid
  RETURNING id
),
movement AS (
  SELECT CASE %(scope)s::text WHEN 'GROUP' THEN r.group_id ELSE %(workspace_id)s::uuid END AS scope_id, r.day,
    r.credits AS used, NULL::bigint AS held_until, NULL::bigint AS held_amount
  FROM rollup_group_day AS r
  WHERE %(scope)s::text <> 'USER'
    AND r.workspace_id = %(workspace_id)s::uuid
    AND r.day >= %(since)s::date
    AND (%(product)s::text = '' OR r.product = %(product)s::text)
    AND (%(model)s::text = '' OR r.model = %(model)s::text)
  UNION ALL
  SELECT r.user_id, r.day, r.credits, NULL, NULL
  FROM rollup_user_detail_day AS r
  WHERE %(scope)s::text = 'USER'
    AND r.workspace_id = %(workspace_id)s::uuid
    AND r.day >= %(since)s::date
    AND (%(product)s::text = '' OR r.product = %(product)s::text)
    AND (%(model)s::text = '' OR r.model = %(model)s::text)
  UNION ALL
  SELECT CASE %(scope)s::text WHEN 'USER' THEN h.user_id WHEN 'GROUP' THEN h.group_id ELSE %(workspace_id)s::uuid END,
    (h.placed_at AT TIME ZONE w.zone)::date, 0, extract(epoch FROM h.expires_at)::bigint, h.amount
  FROM hold AS h
  JOIN workspace AS w ON w.id = %(workspace_id)s::uuid
  WHERE h.workspace_id = %(workspace_id)s::uuid
    AND h.state = 'HELD'
    AND h.placed_at >= %(now)s::timestamptz - interval '2 days'
    AND h.expires_at > %(now)s::timestamptz
    AND (%(product)s::text = '' OR h.product = %(product)s::text)
    AND (%(model)s::text = '' OR h.model = %(model)s::text)
)
INSERT INTO balance (workspace_id, kind_id, scope_id, first_day, shared, used, held)
SELECT %(workspace_id)s::uuid, kind.id, m.scope_id, m.first_day, %(scope)s::text <> 'USER',
  sum(m.used),
  held_merged('{}', coalesce(
    array_agg(ARRAY[m.held_until, m.held_amount]) FILTER (WHERE m.held_amount IS NOT NULL), '{}'), 0)
FROM kind
JOIN workspace AS w ON w.id = %(workspace_id)s::uuid
CROSS JOIN (
  SELECT m.*, period_first_day(%(cadence)s::text, m.day, s.anchor_since, s.anchor_days) AS first_day
  FROM movement AS m
  JOIN workspace_settings AS s ON s.workspace_id = %(workspace_id)s::uuid
) AS m
WHERE m.first_day >= %(since)s::date
  AND m.scope_id <> '00000000-0000-0000-0000-000000000000'
GROUP BY kind.id, m.scope_id, m.first_day;
