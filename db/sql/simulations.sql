-- name: ids_of_users
-- Everybody in the workspace.
SELECT u.id
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid;

-- name: simulated_crossings
-- plan: custom
-- The days on which users, groups or the workspace went over limits, the first in each period, those most over first;
-- with how many there are, and by how much in all. Sums are by the ends of days: what went over and was corrected on
-- one day is not found.
WITH control AS (
  SELECT c.*
  FROM unnest(%(scope_ids)s::uuid[], %(amounts)s::bigint[]) AS c(scope_id, amount)
),
period AS (
  SELECT p.*
  FROM unnest(%(firsts)s::date[], %(lasts)s::date[]) WITH ORDINALITY AS p(first_day, last_day, nth)
),
movement AS (
  SELECT r.user_id AS scope_id, r.day, r.credits, r.requests
  FROM rollup_user_detail_day AS r
  WHERE %(scope)s::text = 'USER'
    AND r.workspace_id = %(workspace_id)s::uuid
    AND r.day BETWEEN (SELECT min(period.first_day) FROM period) AND (SELECT max(period.last_day) FROM period)
    AND (%(product)s::text = '' OR r.product = %(product)s::text)
    AND (%(model)s::text = '' OR r.model = %(model)s::text)
  UNION ALL
  SELECT CASE %(scope)s::text WHEN 'GROUP' THEN r.group_id ELSE %(workspace_id)s::uuid END, r.day, r.credits, r.requests
  FROM rollup_group_day AS r
  WHERE %(scope)s::text <> 'USER'
    AND r.workspace_id = %(workspace_id)s::uuid
    AND r.day BETWEEN (SELECT min(period.first_day) FROM period) AND (SELECT max(period.last_day) FROM period)
    AND (%(product)s::text = '' OR r.product = %(product)s::text)
    AND (%(model)s::text = '' OR r.model = %(model)s::text)
),
daily AS (
  SELECT m.scope_id, control.amount, period.nth, m.day, sum(m.credits)::bigint AS credits,
    sum(m.requests)::bigint AS requests
  FROM movement AS m
  JOIN control ON control.scope_id = m.scope_id
  JOIN period ON m.day BETWEEN period.first_day AND period.last_day
  GROUP BY m.scope_id, control.amount, period.nth, m.day
),
running AS (
  SELECT d.*,
    sum(d.credits) OVER upto AS total,
    sum(d.requests) OVER upto AS total_requests,
    sum(d.credits) OVER whole AS used,
    sum(d.requests) OVER whole AS used_requests
  FROM daily AS d
  WINDOW whole AS (PARTITION BY d.scope_id, d.nth), upto AS (whole ORDER BY d.day)
),
crossed AS (
  SELECT DISTINCT ON (r.scope_id, r.nth) r.*
  FROM running AS r
  WHERE r.total > r.amount
    AND r.requests > 0
    AND r.day >= %(since)s::date
  ORDER BY r.scope_id, r.nth, r.day
)
SELECT c.scope_id, c.nth, c.used::bigint, greatest(c.used - c.amount, 0)::bigint, c.day, (c.total - c.credits)::bigint,
  (c.used_requests - c.total_requests)::bigint, count(*) OVER (), (sum(greatest(c.used - c.amount, 0)) OVER ())::bigint
FROM crossed AS c
ORDER BY c.used - c.amount DESC, c.scope_id, c.nth
LIMIT %(size)s::integer;

-- name: simulated_stops
-- plan: custom
-- The first use on a day that would not have fitted into a limit, after what the period had before that day; with how
-- many uses of the day there were from it on.
SELECT c.nth, stop.at, stop.requests
FROM unnest(
  %(scopes)s::text[], %(scope_ids)s::uuid[], %(products)s::text[], %(models)s::text[], %(starts)s::timestamptz[],
  %(ends)s::timestamptz[], %(bases)s::bigint[], %(amounts)s::bigint[]
) WITH ORDINALITY AS c(scope, scope_id, product, model, starts_at, ends_at, base, amount, nth)
CROSS JOIN LATERAL (
  SELECT e.at, e.requests_on AS requests
  FROM (
    SELECT u.at, u.id, u.requests,
      c.base + sum(u.credits) OVER (ORDER BY u.at, u.id) AS total,
      (sum(u.requests) OVER (ORDER BY u.at DESC, u.id DESC))::bigint AS requests_on
    FROM (
      SELECT e.at, e.id, e.credits, e.requests, e.product, e.model
      FROM usage_event AS e
      WHERE c.scope = 'USER'
        AND e.workspace_id = %(workspace_id)s::uuid
        AND e.user_id = c.scope_id
        AND e.at >= c.starts_at
        AND e.at < c.ends_at
      UNION ALL
      SELECT e.at, e.id, e.credits, e.requests, e.product, e.model
      FROM usage_event AS e
      WHERE c.scope <> 'USER'
        AND e.workspace_id = %(workspace_id)s::uuid
        AND (c.scope = 'WORKSPACE' OR e.group_id = c.scope_id)
        AND e.at >= c.starts_at
        AND e.at < c.ends_at
    ) AS u
    WHERE (c.product = '' OR u.product = c.product)
      AND (c.model = '' OR u.model = c.model)
  ) AS e
  WHERE e.total > c.amount
    AND e.requests > 0
  ORDER BY e.at, e.id
  LIMIT 1
) AS stop
ORDER BY c.nth;
