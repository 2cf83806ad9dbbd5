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

-- name: workspace_totals
-- How many events a workspace has, and their figures.
SELECT count(*), coalesce(sum(credits), 0)::bigint
FROM usage_event
WHERE workspace_id = %(workspace_id)s::uuid;
