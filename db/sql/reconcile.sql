-- fragment: reconcile_differences
-- Keys where the rollup and the sum of the events are not the same, or only one of them is there. Names are quoted in
-- keys, since they may hold spaces: two keys would be shown, and joined, as one.
SELECT key, e.figures, r.figures
FROM from_events AS e
FULL JOIN from_rollup AS r USING (key)
WHERE e.figures IS DISTINCT FROM r.figures
ORDER BY key
LIMIT %(most)s::integer

-- fragment: reconcile_figures
-- The five figures as one value, so that they are compared and shown together.
ARRAY[
  sum(credits), sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens)
]::bigint[] AS figures

-- fragment: reconcile_events
-- Every event, with the day, the month and the hour of the workspace's zone that it counts in.
event AS (
  SELECT e.*, coalesce(e.group_id, '00000000-0000-0000-0000-000000000000') AS charged,
    (e.at AT TIME ZONE w.zone)::date AS day,
    date_trunc('month', e.at AT TIME ZONE w.zone)::date AS month,
    date_trunc('hour', e.at, w.zone) AS hour
  FROM usage_event AS e
  JOIN workspace AS w ON w.id = %(workspace_id)s::uuid
  WHERE e.workspace_id = %(workspace_id)s::uuid
)

-- name: reconcile_user_detail_day
-- Differences between the events and the rollup by user, day, group, product and model.
WITH
  -- include reconcile_events
, from_events AS (
  SELECT format('%s %s %s %L %L', day, user_id, charged, product, model) AS key,
    -- include reconcile_figures
  FROM event
  GROUP BY day, user_id, charged, product, model
),
from_rollup AS (
  SELECT format('%s %s %s %L %L', day, user_id, group_id, product, model) AS key,
    -- include reconcile_figures
  FROM rollup_user_detail_day
  WHERE workspace_id = %(workspace_id)s::uuid
  GROUP BY day, user_id, group_id, product, model
)
  -- include reconcile_differences
;

-- name: reconcile_user_day
-- Differences between the events and the rollup by user, day and group.
WITH
  -- include reconcile_events
, from_events AS (
  SELECT concat_ws(' ', day, user_id, charged) AS key,
    -- include reconcile_figures
  FROM event
  GROUP BY day, user_id, charged
),
from_rollup AS (
  SELECT concat_ws(' ', day, user_id, group_id) AS key,
    -- include reconcile_figures
  FROM rollup_user_day
  WHERE workspace_id = %(workspace_id)s::uuid
  GROUP BY day, user_id, group_id
)
  -- include reconcile_differences
;

-- name: reconcile_user_month
-- Differences between the events and the rollup by user, month and group.
WITH
  -- include reconcile_events
, from_events AS (
  SELECT concat_ws(' ', month, user_id, charged) AS key,
    -- include reconcile_figures
  FROM event
  GROUP BY month, user_id, charged
),
from_rollup AS (
  SELECT concat_ws(' ', month, user_id, group_id) AS key,
    -- include reconcile_figures
  FROM rollup_user_month
  WHERE workspace_id = %(workspace_id)s::uuid
  GROUP BY month, user_id, group_id
)
  -- include reconcile_differences
;

-- name: reconcile_group_day
-- Differences between the events and the rollup by group, day, product and model.
WITH
  -- include reconcile_events
, from_events AS (
  SELECT format('%s %s %L %L', day, charged, product, model) AS key,
    -- include reconcile_figures
  FROM event
  GROUP BY day, charged, product, model
),
from_rollup AS (
  SELECT format('%s %s %L %L', day, group_id, product, model) AS key,
    -- include reconcile_figures
  FROM rollup_group_day
  WHERE workspace_id = %(workspace_id)s::uuid
  GROUP BY day, group_id, product, model
)
  -- include reconcile_differences
;

-- name: reconcile_group_hour
-- Differences between the events and the rollup by group, hour, product and model.
WITH
  -- include reconcile_events
, from_events AS (
  SELECT format('%s %s %L %L', hour, charged, product, model) AS key,
    -- include reconcile_figures
  FROM event
  GROUP BY hour, charged, product, model
),
from_rollup AS (
  SELECT format('%s %s %L %L', hour, group_id, product, model) AS key,
    -- include reconcile_figures
  FROM rollup_group_hour
  WHERE workspace_id = %(workspace_id)s::uuid
  GROUP BY hour, group_id, product, model
)
  -- include reconcile_differences
;

-- name: reconcile_workspace_day
-- Differences between the events and the rollup by day, product and model, all of its slots together.
WITH
  -- include reconcile_events
, from_events AS (
  SELECT format('%s %L %L', day, product, model) AS key,
    -- include reconcile_figures
  FROM event
  GROUP BY day, product, model
),
from_rollup AS (
  SELECT format('%s %L %L', day, product, model) AS key,
    -- include reconcile_figures
  FROM rollup_workspace_day
  WHERE workspace_id = %(workspace_id)s::uuid
  GROUP BY day, product, model
)
  -- include reconcile_differences
;

-- name: reconcile_keys
-- Events without a key, keys without an event, and keys with more than one.
SELECT key, e.events, k.keys
FROM (
  SELECT format('%L %L %s %s', source, external_id, user_id, at) AS key, count(*) AS events
  FROM usage_event
  WHERE workspace_id = %(workspace_id)s::uuid
  GROUP BY source, external_id, user_id, at
) AS e
FULL JOIN (
  SELECT format('%L %L %s %s', source, external_id, user_id, at) AS key, 1::bigint AS keys
  FROM usage_event_key
  WHERE workspace_id = %(workspace_id)s::uuid
) AS k USING (key)
WHERE e.events IS DISTINCT FROM k.keys
ORDER BY key
LIMIT %(most)s::integer;

-- name: reconcile_balances
-- Differences between each balance and what it counts: the events from its kind's first day on, and what is held now.
--
-- A balance that is not there is zero, and one that is zero needs nothing behind it.
WITH
  -- include reconcile_events
, spent AS (
  SELECT user_id, group_id, product, model, day, sum(credits) AS used, 0::bigint AS held
  FROM event
  GROUP BY user_id, group_id, product, model, day
  UNION ALL
  SELECT h.user_id, h.group_id, h.product, h.model, (h.placed_at AT TIME ZONE w.zone)::date, 0, h.amount
  FROM hold AS h
  JOIN workspace AS w ON w.id = %(workspace_id)s::uuid
  WHERE h.workspace_id = %(workspace_id)s::uuid
    AND h.state = 'HELD'
    AND h.expires_at > %(now)s::timestamptz
),
counted AS (
  SELECT k.id AS kind_id, k.since, s.used, s.held,
    CASE k.scope WHEN 'USER' THEN s.user_id WHEN 'GROUP' THEN s.group_id ELSE w.id END AS scope_id,
    period_first_day(k.cadence, s.day, c.anchor_since, c.anchor_days) AS first_day
  FROM spent AS s
  JOIN workspace AS w ON w.id = %(workspace_id)s::uuid
  JOIN workspace_settings AS c ON c.workspace_id = %(workspace_id)s::uuid
  JOIN balance_kind AS k
    ON k.workspace_id = %(workspace_id)s::uuid
    AND (k.product = '' OR k.product = s.product)
    AND (k.model = '' OR k.model = s.model)
),
from_events AS (
  SELECT kind_id, scope_id, first_day, sum(used)::bigint AS used, sum(held)::bigint AS held
  FROM counted
  WHERE first_day >= since
    AND scope_id IS NOT NULL
  GROUP BY kind_id, scope_id, first_day
),
from_balances AS (
  SELECT kind_id, scope_id, first_day, used, held_now(held, floor(extract(epoch FROM %(now)s::timestamptz))::bigint) AS held
  FROM balance
  WHERE workspace_id = %(workspace_id)s::uuid
)
SELECT format('%s %s %L %L %s %s', k.scope, k.cadence, k.product, k.model, scope_id, first_day) AS key,
  e.used, e.held, b.used, b.held
FROM from_events AS e
FULL JOIN from_balances AS b USING (kind_id, scope_id, first_day)
LEFT JOIN balance_kind AS k
  ON k.workspace_id = %(workspace_id)s::uuid
  AND k.id = kind_id
WHERE coalesce(e.used, 0) <> coalesce(b.used, 0)
  OR coalesce(e.held, 0) <> coalesce(b.held, 0)
ORDER BY key
LIMIT %(most)s::integer;

-- name: reconcile_holds
-- Settled holds without exactly one event of what they were settled with, for the same use by the same user.
SELECT format('%L %L', h.source, h.external_id) AS key,
  array_remove(array_agg(e.credits ORDER BY e.id), NULL), h.settled_amount
FROM hold AS h
LEFT JOIN usage_event AS e
  ON e.workspace_id = %(workspace_id)s::uuid
  AND e.source = h.source
  AND e.external_id = h.external_id
  AND e.user_id = h.user_id
  AND e.group_id IS NOT DISTINCT FROM h.group_id
  AND e.product = h.product
  AND e.model = h.model
  AND e.at = h.placed_at
WHERE h.workspace_id = %(workspace_id)s::uuid
  AND h.state = 'SETTLED'
GROUP BY h.id, h.source, h.external_id, h.settled_amount
HAVING array_agg(e.credits) IS DISTINCT FROM ARRAY[h.settled_amount]
ORDER BY key
LIMIT %(most)s::integer;

-- name: workspace_totals
-- How many events a workspace has, and their figures.
SELECT count(*), coalesce(sum(credits), 0)::bigint
FROM usage_event
WHERE workspace_id = %(workspace_id)s::uuid;
