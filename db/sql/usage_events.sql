-- name: record_usage_events
-- tells: outbox
-- Record the events that are not there yet, with every rollup, and return which of the batch those were.
--
-- One transaction's rows are locked table by table in one order, and in key order within a table, so that two writers
-- never wait for each other in a circle. PostgreSQL does not promise an order among the parts of one statement:
-- `WHERE (SELECT count(*) FROM <the part before>) >= 0` makes it. The rows where all writers meet come last.
WITH incoming AS MATERIALIZED (
  SELECT i.*, coalesce(i.charged_group, '00000000-0000-0000-0000-000000000000') AS group_id,
    (i.at AT TIME ZONE w.zone)::date AS day, date_trunc('hour', i.at, w.zone) AS hour
  FROM workspace AS w
  CROSS JOIN unnest(
    %(sources)s::text[], %(ids)s::text[], %(times)s::timestamptz[], %(users)s::uuid[], %(groups)s::uuid[],
    %(products)s::text[], %(models)s::text[], %(credits)s::bigint[], %(requests)s::bigint[],
    %(input_tokens)s::bigint[], %(cached_input_tokens)s::bigint[], %(output_tokens)s::bigint[],
    %(corrects)s::text[], %(tags)s::text[], %(rates)s::text[], %(measured)s::text[],
    %(held_until)s::bigint[], %(held_amounts)s::bigint[]
  ) WITH ORDINALITY AS i(
    source, external_id, at, user_id, charged_group, product, model, credits, requests,
    input_tokens, cached_input_tokens, output_tokens, corrects, tags, rates, measured,
    held_until, held_amount, nth)
  WHERE w.id = %(workspace_id)s::uuid
),
new_key AS (
  INSERT INTO usage_event_key AS k (workspace_id, source, external_id, user_id, at)
  SELECT %(workspace_id)s::uuid, i.source, i.external_id, i.user_id, i.at
  FROM incoming AS i
  ORDER BY i.source, i.external_id
  ON CONFLICT (workspace_id, source, external_id) DO NOTHING
  RETURNING k.source, k.external_id
),
accepted AS MATERIALIZED (
  SELECT i.*
  FROM incoming AS i
  JOIN new_key AS k ON k.source = i.source AND k.external_id = i.external_id
),
new_event AS (
  INSERT INTO usage_event (
    workspace_id, user_id, at, group_id, recorded_at, credits, requests, input_tokens, cached_input_tokens,
    output_tokens, source, external_id, product, model, corrects, tags, rate_ids, measured)
  SELECT %(workspace_id)s::uuid, user_id, at, charged_group, %(recorded_at)s::timestamptz, credits, requests,
    input_tokens, cached_input_tokens, output_tokens, source, external_id, product, model, corrects, tags::jsonb,
    rates::uuid[], measured::jsonb
  FROM accepted
  RETURNING 1
),
by_detail AS MATERIALIZED (
  SELECT user_id, day, group_id, product, model,
    sum(credits)::bigint AS credits, sum(requests)::bigint AS requests, sum(input_tokens)::bigint AS input_tokens,
    sum(cached_input_tokens)::bigint AS cached_input_tokens, sum(output_tokens)::bigint AS output_tokens
  FROM accepted
  GROUP BY user_id, day, group_id, product, model
),
user_detail_day AS (
  INSERT INTO rollup_user_detail_day AS r (
    workspace_id, user_id, day, group_id, product, model, credits, requests, input_tokens, cached_input_tokens, output_tokens)
  SELECT %(workspace_id)s::uuid, user_id, day, group_id, product, model,
    sum(credits), sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens)
  FROM by_detail
  WHERE (SELECT count(*) FROM new_event) >= 0
  GROUP BY 2, 3, 4, 5, 6
  ORDER BY 2, 3, 4, 5, 6
  ON CONFLICT (workspace_id, user_id, day, group_id, product, model) DO UPDATE SET
    credits = r.credits + excluded.credits,
    requests = r.requests + excluded.requests,
    input_tokens = r.input_tokens + excluded.input_tokens,
    cached_input_tokens = r.cached_input_tokens + excluded.cached_input_tokens,
    output_tokens = r.output_tokens + excluded.output_tokens
  RETURNING 1
),
user_day AS (
  INSERT INTO rollup_user_day AS r (
    workspace_id, day, user_id, group_id, credits, requests, input_tokens, cached_input_tokens, output_tokens)
  SELECT %(workspace_id)s::uuid, day, user_id, group_id,
    sum(credits), sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens)
  FROM by_detail
  WHERE (SELECT count(*) FROM user_detail_day) >= 0
  GROUP BY 2, 3, 4
  ORDER BY 2, 3, 4
  ON CONFLICT (workspace_id, day, user_id, group_id) DO UPDATE SET
    credits = r.credits + excluded.credits,
    requests = r.requests + excluded.requests,
    input_tokens = r.input_tokens + excluded.input_tokens,
    cached_input_tokens = r.cached_input_tokens + excluded.cached_input_tokens,
    output_tokens = r.output_tokens + excluded.output_tokens
  RETURNING 1
),
user_month AS (
  INSERT INTO rollup_user_month AS r (
    workspace_id, month, user_id, group_id, credits, requests, input_tokens, cached_input_tokens, output_tokens)
  SELECT %(workspace_id)s::uuid, date_trunc('month', day)::date, user_id, group_id,
    sum(credits), sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens)
  FROM by_detail
  WHERE (SELECT count(*) FROM user_day) >= 0
  GROUP BY 2, 3, 4
  ORDER BY 2, 3, 4
  ON CONFLICT (workspace_id, month, user_id, group_id) DO UPDATE SET
    credits = r.credits + excluded.credits,
    requests = r.requests + excluded.requests,
    input_tokens = r.input_tokens + excluded.input_tokens,
    cached_input_tokens = r.cached_input_tokens + excluded.cached_input_tokens,
    output_tokens = r.output_tokens + excluded.output_tokens
  RETURNING 1
),
movement AS MATERIALIZED (
  SELECT m.scope, m.kind_id, m.scope_id, m.first_day,
    sum(m.credits)::bigint AS used,
    coalesce(
      array_agg(ARRAY[m.held_until, -m.held_amount]) FILTER (WHERE m.held_amount IS NOT NULL), '{}'
    ) AS held
  FROM (
    SELECT k.scope, k.id AS kind_id, k.since, a.credits, a.held_until, a.held_amount,
      CASE k.scope WHEN 'USER' THEN a.user_id WHEN 'GROUP' THEN a.charged_group ELSE w.id END AS scope_id,
      period_first_day(k.cadence, a.day, s.anchor_since, s.anchor_days) AS first_day
    FROM accepted AS a
    JOIN workspace AS w ON w.id = %(workspace_id)s::uuid
    JOIN workspace_settings AS s ON s.workspace_id = %(workspace_id)s::uuid
    JOIN balance_kind AS k
      ON k.workspace_id = %(workspace_id)s::uuid
      AND (k.product = '' OR k.product = a.product)
      AND (k.model = '' OR k.model = a.model)
  ) AS m
  WHERE m.first_day >= m.since
    AND m.scope_id IS NOT NULL
  GROUP BY m.scope, m.kind_id, m.scope_id, m.first_day
),
user_balance AS (
  INSERT INTO balance AS b (workspace_id, kind_id, scope_id, first_day, shared, used, held)
  SELECT %(workspace_id)s::uuid, kind_id, scope_id, first_day, false, used, held
  FROM movement
  WHERE scope = 'USER'
    AND (SELECT count(*) FROM user_month) >= 0
  ORDER BY 2, 3, 4
  ON CONFLICT (workspace_id, kind_id, scope_id, first_day) DO UPDATE SET
    used = b.used + excluded.used,
    held = held_merged(b.held, excluded.held, %(now_seconds)s::bigint)
  RETURNING 1
),
group_hour AS (
  INSERT INTO rollup_group_hour AS r (
    workspace_id, hour, group_id, product, model, credits, requests, input_tokens, cached_input_tokens, output_tokens)
  SELECT %(workspace_id)s::uuid, hour, group_id, product, model,
    sum(credits), sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens)
  FROM accepted
  WHERE (SELECT count(*) FROM user_balance) >= 0
  GROUP BY 2, 3, 4, 5
  ORDER BY 2, 3, 4, 5
  ON CONFLICT (workspace_id, hour, group_id, product, model) DO UPDATE SET
    credits = r.credits + excluded.credits,
    requests = r.requests + excluded.requests,
    input_tokens = r.input_tokens + excluded.input_tokens,
    cached_input_tokens = r.cached_input_tokens + excluded.cached_input_tokens,
    output_tokens = r.output_tokens + excluded.output_tokens
  RETURNING 1
),
group_day AS (
  INSERT INTO rollup_group_day AS r (
    workspace_id, day, group_id, product, model, credits, requests, input_tokens, cached_input_tokens, output_tokens)
  SELECT %(workspace_id)s::uuid, day, group_id, product, model,
    sum(credits), sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens)
  FROM by_detail
  WHERE (SELECT count(*) FROM group_hour) >= 0
  GROUP BY 2, 3, 4, 5
  ORDER BY 2, 3, 4, 5
  ON CONFLICT (workspace_id, day, group_id, product, model) DO UPDATE SET
    credits = r.credits + excluded.credits,
    requests = r.requests + excluded.requests,
    input_tokens = r.input_tokens + excluded.input_tokens,
    cached_input_tokens = r.cached_input_tokens + excluded.cached_input_tokens,
    output_tokens = r.output_tokens + excluded.output_tokens
  RETURNING 1
),
workspace_day AS (
  INSERT INTO rollup_workspace_day AS r (
    workspace_id, day, product, model, slot, credits, requests, input_tokens, cached_input_tokens, output_tokens)
  SELECT %(workspace_id)s::uuid, day, product, model, (pg_backend_pid() % 4)::smallint,
    sum(credits), sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens)
  FROM by_detail
  WHERE (SELECT count(*) FROM group_day) >= 0
  GROUP BY 2, 3, 4
  ORDER BY 2, 3, 4
  ON CONFLICT (workspace_id, day, product, model, slot) DO UPDATE SET
    credits = r.credits + excluded.credits,
    requests = r.requests + excluded.requests,
    input_tokens = r.input_tokens + excluded.input_tokens,
    cached_input_tokens = r.cached_input_tokens + excluded.cached_input_tokens,
    output_tokens = r.output_tokens + excluded.output_tokens
  RETURNING 1
),
shared_balance AS (
  INSERT INTO balance AS b (workspace_id, kind_id, scope_id, first_day, shared, used, held)
  SELECT %(workspace_id)s::uuid, kind_id, scope_id, first_day, true, used, held
  FROM movement
  WHERE scope <> 'USER'
    AND (SELECT count(*) FROM workspace_day) >= 0
  ORDER BY scope, kind_id, scope_id, first_day
  ON CONFLICT (workspace_id, kind_id, scope_id, first_day) DO UPDATE SET
    used = b.used + excluded.used,
    held = held_merged(b.held, excluded.held, %(now_seconds)s::bigint)
  RETURNING 1
),
told AS (
  INSERT INTO outbox (workspace_id, written_at, kind, users, groups, products, models, credits, requests)
  SELECT %(workspace_id)s::uuid, %(recorded_at)s::timestamptz, 'USES', array_agg(u.user_id), array_agg(u.group_id),
    array_agg(u.product), array_agg(u.model), array_agg(u.credits), array_agg(u.requests)
  FROM (
    SELECT user_id, group_id, product, model, sum(credits)::bigint AS credits, sum(requests)::bigint AS requests
    FROM by_detail
    GROUP BY user_id, group_id, product, model
  ) AS u
  HAVING count(*) > 0
)
SELECT nth
FROM accepted
WHERE (SELECT count(*) FROM shared_balance) >= 0;

-- name: recorded_alike
-- Of events that are recorded already, say which say the same as the recorded one; the others are conflicts.
--
-- An event that the rate card priced says what was used, not what it cost: by now that may be another price.
SELECT i.nth
FROM unnest(
  %(sources)s::text[], %(ids)s::text[], %(times)s::timestamptz[], %(users)s::uuid[], %(products)s::text[],
  %(models)s::text[], %(credits)s::bigint[], %(input_tokens)s::bigint[], %(cached_input_tokens)s::bigint[],
  %(output_tokens)s::bigint[], %(corrects)s::text[], %(tags)s::text[], %(measured)s::text[], %(priced_here)s::boolean[]
) WITH ORDINALITY AS i(
  source, external_id, at, user_id, product, model, credits, input_tokens, cached_input_tokens, output_tokens,
  corrects, tags, measured, priced_here, nth)
JOIN usage_event AS e
  ON e.workspace_id = %(workspace_id)s::uuid
  AND e.user_id = i.user_id
  AND e.at = i.at
  AND e.source = i.source
  AND e.external_id = i.external_id
WHERE i.priced_here = (e.rate_ids IS NOT NULL)
  AND (i.priced_here OR e.credits = i.credits)
  AND e.measured IS NOT DISTINCT FROM i.measured::jsonb
  AND e.input_tokens = i.input_tokens
  AND e.cached_input_tokens = i.cached_input_tokens
  AND e.output_tokens = i.output_tokens
  AND e.product = i.product
  AND e.model = i.model
  AND e.corrects IS NOT DISTINCT FROM i.corrects
  AND e.tags IS NOT DISTINCT FROM i.tags::jsonb;

-- name: users_charged
-- Find the users that a batch names by id, e-mail address or external id, with the group each is charged to now.
SELECT u.id, u.email, u.external_id, u.home_group_id
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND (
    u.id = ANY (%(ids)s::uuid[])
    OR u.email = ANY (%(emails)s::text[])
    OR u.external_id = ANY (%(external_ids)s::text[])
  );

-- name: events_by_key
-- Find recorded events by source and id, through their keys: what a correction points to.
SELECT e.source, e.external_id, e.user_id, e.group_id, e.product, e.model, e.corrects IS NOT NULL
FROM unnest(%(sources)s::text[], %(ids)s::text[]) AS asked(source, external_id)
JOIN usage_event_key AS k
  ON k.workspace_id = %(workspace_id)s::uuid
  AND k.source = asked.source
  AND k.external_id = asked.external_id
JOIN usage_event AS e
  ON e.workspace_id = %(workspace_id)s::uuid
  AND e.user_id = k.user_id
  AND e.at = k.at
  AND e.source = k.source
  AND e.external_id = k.external_id;

-- name: ensure_usage_partitions
-- Make the months' partitions that are missing, and move what waited for them out of the default one.
SELECT ensure_usage_partitions(%(first)s::date, %(last)s::date);
