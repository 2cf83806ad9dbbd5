-- fragment: hold_columns
-- A hold, in the order that credits/hold_rows.py reads it.
h.id, h.source, h.external_id, h.user_id, h.group_id, h.product, h.model, h.amount, h.state, h.placed_at, h.expires_at,
h.ended_at, h.settled_amount, h.overage, h.rate_ids, h.passed_soft, h.request_hash, h.settlement_hash, h.refusal

-- name: grant_holds
-- tells: outbox
-- Place holds that all have room, all that came together in one transaction; false where not all of them have.
WITH granted AS MATERIALIZED (
  SELECT grant_holds(
    %(workspace_id)s::uuid, %(now)s::timestamptz, %(version)s::bigint,
    %(ids)s::uuid[], %(hashes)s::uuid[], %(sources)s::text[], %(external_ids)s::text[], %(users)s::uuid[],
    %(groups)s::uuid[], %(products)s::text[], %(models)s::text[], %(amounts)s::bigint[], %(until)s::bigint[],
    %(rates)s::text[],
    %(balance_kinds)s::integer[], %(balance_scopes)s::uuid[], %(balance_days)s::date[], %(balance_highest)s::bigint[],
    %(balance_held)s::text[]
  ) AS are_all
),
told AS (
  INSERT INTO outbox (workspace_id, written_at, kind, users, groups)
  SELECT %(workspace_id)s::uuid, %(now)s::timestamptz, 'HOLDS', %(users)s::uuid[], %(groups)s::uuid[]
  FROM granted AS g
  WHERE g.are_all
)
SELECT g.are_all
FROM granted AS g;

-- name: place_holds
-- tells: outbox
-- Place holds, all that came together in one transaction; a row with nth 0 says that the rules have changed meanwhile.
WITH placed AS MATERIALIZED (
  SELECT p.nth, p.is_new, p.placed
  FROM place_holds(
    %(workspace_id)s::uuid, %(now)s::timestamptz, %(version)s::bigint,
    %(ids)s::uuid[], %(hashes)s::uuid[], %(sources)s::text[], %(external_ids)s::text[], %(users)s::uuid[],
    %(groups)s::uuid[], %(products)s::text[], %(models)s::text[], %(amounts)s::bigint[], %(until)s::bigint[],
    %(rates)s::text[], %(firsts)s::integer[], %(lasts)s::integer[],
    %(known)s::boolean, %(balance_kinds)s::integer[], %(balance_scopes)s::uuid[], %(balance_days)s::date[],
    %(balance_shared)s::boolean[],
    %(control_balances)s::integer[], %(control_amounts)s::bigint[], %(control_hard)s::boolean[],
    %(control_limits)s::uuid[]
  ) AS p
),
told AS (
  INSERT INTO outbox (workspace_id, written_at, kind, users, groups)
  SELECT %(workspace_id)s::uuid, %(now)s::timestamptz, 'HOLDS', array_agg(a.user_id), array_agg(a.group_id)
  FROM unnest(%(users)s::uuid[], %(groups)s::uuid[]) WITH ORDINALITY AS a(user_id, group_id, n)
  -- What was simply granted has no row; what was there before has one that is not new.
  WHERE NOT EXISTS (
    SELECT
    FROM placed AS p
    WHERE p.nth = 0 OR (p.nth = a.n AND NOT p.is_new)
  )
  HAVING count(*) > 0
)
SELECT p.nth, p.is_new,
  -- include hold_columns
FROM placed AS p
CROSS JOIN LATERAL (SELECT (p.placed).*) AS h;

-- name: holds_by_id
-- Holds, and refusals of holds, by their ids.
SELECT
  -- include hold_columns
FROM hold AS h
WHERE h.workspace_id = %(workspace_id)s::uuid
  AND h.id = ANY (%(ids)s::uuid[]);

-- name: hold_of_caller
-- A hold of the caller, or of somebody whom they may see; a refusal is none.
SELECT
  -- include hold_columns
FROM hold AS h
WHERE h.workspace_id = %(workspace_id)s::uuid
  AND h.id = %(id)s::uuid
  AND h.state <> 'REFUSED'
  AND (
    %(everyone)s::boolean
    OR h.user_id = %(own_user)s::uuid
    OR EXISTS (
      SELECT
      FROM group_member AS managed
      WHERE managed.workspace_id = %(workspace_id)s::uuid
        AND managed.user_id = h.user_id
        AND managed.group_id = ANY (%(managed_groups)s::uuid[])
    )
  );

-- name: holds_to_end
-- Lock holds, in the order that everybody locks them in.
SELECT
  -- include hold_columns
FROM hold AS h
WHERE h.workspace_id = %(workspace_id)s::uuid
  AND h.id = ANY (%(ids)s::uuid[])
ORDER BY h.id
FOR NO KEY UPDATE OF h;

-- name: settle_holds
-- End holds with what was really used.
UPDATE hold AS h
SET state = 'SETTLED',
  settled_amount = s.amount,
  overage = s.overage,
  ended_at = %(now)s::timestamptz,
  settlement_hash = s.settlement_hash
FROM unnest(%(ids)s::uuid[], %(amounts)s::bigint[], %(overages)s::bigint[], %(hashes)s::uuid[])
  AS s(id, amount, overage, settlement_hash)
WHERE h.workspace_id = %(workspace_id)s::uuid
  AND h.id = ANY (%(ids)s::uuid[])
  AND h.id = s.id;

-- name: release_holds
-- tells: outbox
-- End holds without any use, and give back what they held, in the order that everybody locks balances in.
WITH released AS MATERIALIZED (
  UPDATE hold AS h
  SET state = 'RELEASED',
    ended_at = %(now)s::timestamptz
  WHERE h.workspace_id = %(workspace_id)s::uuid
    AND h.id = ANY (%(ids)s::uuid[])
  RETURNING h.user_id, h.group_id, h.product, h.model, h.amount, h.placed_at,
    extract(epoch FROM h.expires_at)::bigint AS held_until
),
told AS (
  INSERT INTO outbox (workspace_id, written_at, kind, users, groups)
  SELECT %(workspace_id)s::uuid, %(now)s::timestamptz, 'HOLDS', array_agg(user_id), array_agg(group_id)
  FROM released
  HAVING count(*) > 0
),
movement AS MATERIALIZED (
  SELECT m.scope, m.kind_id, m.scope_id, m.first_day,
    array_agg(ARRAY[m.held_until, -m.amount]) AS held
  FROM (
    SELECT k.scope, k.id AS kind_id, k.since, r.amount, r.held_until,
      CASE k.scope WHEN 'USER' THEN r.user_id WHEN 'GROUP' THEN r.group_id ELSE w.id END AS scope_id,
      period_first_day(k.cadence, (r.placed_at AT TIME ZONE w.zone)::date, s.anchor_since, s.anchor_days) AS first_day
    FROM released AS r
    JOIN workspace AS w ON w.id = %(workspace_id)s::uuid
    JOIN workspace_settings AS s ON s.workspace_id = %(workspace_id)s::uuid
    JOIN balance_kind AS k
      ON k.workspace_id = %(workspace_id)s::uuid
      AND (k.product = '' OR k.product = r.product)
      AND (k.model = '' OR k.model = r.model)
  ) AS m
  WHERE m.first_day >= m.since
    AND m.scope_id IS NOT NULL
  GROUP BY m.scope, m.kind_id, m.scope_id, m.first_day
)
INSERT INTO balance AS b (workspace_id, kind_id, scope_id, first_day, shared, used, held)
SELECT %(workspace_id)s::uuid, kind_id, scope_id, first_day, scope <> 'USER', 0, held
FROM movement
ORDER BY array_position(ARRAY['USER', 'GROUP', 'WORKSPACE'], scope), kind_id, scope_id, first_day
ON CONFLICT (workspace_id, kind_id, scope_id, first_day) DO UPDATE SET
  held = held_merged(b.held, excluded.held, %(now_seconds)s::bigint);
