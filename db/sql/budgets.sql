-- fragment: limit_group_visible
-- Which groups a caller may see: all, or those one manages or is in.
(
  %(everyone)s::boolean
  OR l.scope_id = ANY (%(managed_groups)s::uuid[])
  OR EXISTS (
    SELECT
    FROM group_member AS own
    WHERE own.workspace_id = %(workspace_id)s::uuid
      AND own.user_id = %(own_user)s::uuid
      AND own.group_id = l.scope_id
  )
)

-- fragment: pool_open
-- Which groups' shared budgets a caller may look at: all, those one manages, and the one that binds oneself.
(
  %(everyone)s::boolean
  OR pool.scope_id = ANY (%(managed_groups)s::uuid[])
  OR EXISTS (
    SELECT
    FROM app_user AS own
    WHERE own.workspace_id = %(workspace_id)s::uuid
      AND own.id = %(own_user)s::uuid
      AND own.home_group_id = pool.scope_id
  )
)

-- fragment: workspace_open
-- The workspace's shared budget binds every user: whoever is one, or may see one, may look at it.
(
  %(everyone)s::boolean
  OR %(own_user)s::uuid IS NOT NULL
  OR cardinality(%(managed_groups)s::uuid[]) > 0
)

-- fragment: budget_pools
-- The groups that are asked for, and those that are charged for what the users use.
SELECT g.scope_id
FROM unnest(%(groups)s::uuid[]) AS g(scope_id)
UNION
SELECT u.home_group_id
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND u.id = ANY (%(users)s::uuid[])
  AND u.home_group_id IS NOT NULL
  AND
  -- include user_visible

-- name: budget_holders
-- plan: generic
-- message: shared
-- The visible ones of these users, with the groups whose limits count for them.
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
  AND u.id = ANY (%(users)s::uuid[])
  AND
  -- include user_visible
;

-- fragment: rules_of_everybody
-- The workspace's rules.
SELECT
  -- include limit_columns
  , true
FROM credit_limit AS l
WHERE l.workspace_id = %(workspace_id)s::uuid
  AND l.scope = 'WORKSPACE'
  AND
  -- include workspace_open

-- fragment: rules_of_single_users
-- What is set on these users themselves.
SELECT
  -- include limit_columns
  , true
FROM credit_limit AS l
CROSS JOIN LATERAL (SELECT l.scope_id AS id) AS u
WHERE l.workspace_id = %(workspace_id)s::uuid
  AND l.scope = 'USER'
  AND l.scope_id = ANY (%(users)s::uuid[])
  AND
  -- include user_visible

-- fragment: memberships_of_users
-- Which groups the visible ones of these users are in.
FROM group_member AS m
CROSS JOIN LATERAL (SELECT m.user_id AS id) AS u
WHERE m.workspace_id = %(workspace_id)s::uuid
  AND m.user_id = ANY (%(users)s::uuid[])
  AND
  -- include user_visible

-- fragment: rules_for_users
-- Every rule that is set on these users, on groups of theirs and on the workspace, and whether the caller may see that.
--
-- A user's limit may come from a group of theirs that a manager of another one may not see.
  -- include rules_of_everybody
UNION ALL
SELECT
  -- include limit_columns
  ,
  -- include limit_group_visible
FROM credit_limit AS l
WHERE l.workspace_id = %(workspace_id)s::uuid
  AND l.scope = 'GROUP'
  AND l.kind = 'EACH_USER'
  AND l.scope_id IN (
    SELECT m.group_id
    -- include memberships_of_users
  )
UNION ALL
  -- include rules_of_single_users

-- name: rules_of_users
-- plan: generic
-- message: shared
-- The rules that these users' own budgets may come from, those of groups with whom of the users they are for.
--
-- The offset has each group's rules looked up by themselves, instead of all members for each rule.
SELECT rule.*, NULL::text[]
FROM (
  -- include rules_of_everybody
  UNION ALL
  -- include rules_of_single_users
) AS rule
UNION ALL
SELECT
  -- include limit_columns
  ,
  -- include limit_group_visible
  , member.users
FROM (
  SELECT m.group_id, array_agg(m.user_id::text) AS users
  -- include memberships_of_users
  GROUP BY m.group_id
) AS member
CROSS JOIN LATERAL (
  SELECT l.*
  FROM credit_limit AS l
  WHERE l.workspace_id = %(workspace_id)s::uuid
    AND l.scope = 'GROUP'
    AND l.scope_id = member.group_id
    AND l.kind = 'EACH_USER'
  OFFSET 0
) AS l;

-- name: budget_limits
-- plan: generic
-- message: shared
-- The rules that the budgets of these users and groups may come from, those that they share included.
  -- include rules_for_users
UNION ALL
SELECT
  -- include limit_columns
  , true
FROM (
  -- include budget_pools
) AS pool
JOIN credit_limit AS l
  ON l.workspace_id = %(workspace_id)s::uuid
  AND l.scope = 'GROUP'
  AND l.scope_id = pool.scope_id
  AND l.kind = 'SHARED'
WHERE
  -- include pool_open
;

-- fragment: kinds_now
-- What balances are kept, and the first day of each one's current period.
kind AS MATERIALIZED (
  SELECT k.id, k.scope,
    period_first_day(
      k.cadence,
      (to_timestamp(%(now_seconds)s::bigint) AT TIME ZONE w.zone)::date,
      s.anchor_since,
      s.anchor_days
    ) AS first_day
  FROM balance_kind AS k
  JOIN workspace AS w ON w.id = k.workspace_id
  JOIN workspace_settings AS s ON s.workspace_id = k.workspace_id
  WHERE k.workspace_id = %(workspace_id)s::uuid
)

-- fragment: held_of_balance
-- What is held of a balance now: mostly nothing, which is seen sooner than worked out.
CASE WHEN cardinality(b.held) = 0 THEN 0 ELSE held_now(b.held, %(now_seconds)s::bigint) END

-- fragment: users_balances
-- The balances of these users. They are named in an array: joined one by one, each would be looked up from the top.
SELECT b.kind_id, b.scope_id, b.used,
  -- include held_of_balance
  AS held
FROM kind AS k
JOIN balance AS b
  ON b.workspace_id = %(workspace_id)s::uuid
  AND b.kind_id = k.id
  AND b.scope_id = ANY (%(users)s::uuid[])
  AND b.first_day = k.first_day
CROSS JOIN LATERAL (SELECT b.scope_id AS id) AS u
WHERE k.scope = 'USER'
  AND
  -- include user_visible

-- name: balances_of_users
-- plan: generic
-- message: shared
-- What these users used of their own balances in the current periods, and what is held now. Those not there hold nothing.
--
-- One row has no kind: it names all of the users whom the caller may see, with commas in between.
WITH
  -- include kinds_now
SELECT b.kind_id, b.scope_id::text, b.used, b.held
FROM (
  -- include users_balances
) AS b
UNION ALL
SELECT NULL, string_agg(u.id::text, ','), NULL, NULL
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND u.id = ANY (%(users)s::uuid[])
  AND
  -- include user_visible
;

-- name: budget_balances
-- plan: generic
-- message: shared
-- The same, and that of their pools and those of the groups, and of the workspace's.
WITH
  -- include kinds_now
  -- include users_balances
UNION ALL
SELECT b.kind_id, b.scope_id, b.used,
  -- include held_of_balance
FROM kind AS k
CROSS JOIN (
  -- include budget_pools
) AS pool
JOIN balance AS b
  ON b.workspace_id = %(workspace_id)s::uuid
  AND b.kind_id = k.id
  AND b.scope_id = pool.scope_id
  AND b.first_day = k.first_day
WHERE k.scope = 'GROUP'
  AND
  -- include pool_open
UNION ALL
SELECT b.kind_id, b.scope_id, b.used,
  -- include held_of_balance
FROM kind AS k
JOIN balance AS b
  ON b.workspace_id = %(workspace_id)s::uuid
  AND b.kind_id = k.id
  AND b.scope_id = %(workspace_id)s::uuid
  AND b.first_day = k.first_day
WHERE k.scope = 'WORKSPACE'
  AND
  -- include workspace_open
;

-- name: paces_of_users
-- plan: custom
-- What these users used on each weekday of the 28 days before today (1 is Monday), and today (0).
--
-- The days are named one by one, and bounded too: a few users are found by them, and many by one pass over four weeks.
SELECT r.user_id, CASE WHEN r.day = %(today)s::date THEN 0 ELSE extract(isodow FROM r.day)::integer END,
  sum(r.credits)::bigint
FROM unnest(%(users)s::uuid[]) AS u(id)
CROSS JOIN generate_series(0, 28) AS ago(days)
JOIN rollup_user_day AS r
  ON r.workspace_id = %(workspace_id)s::uuid
  AND r.day = %(today)s::date - ago.days
  AND r.day BETWEEN %(today)s::date - 28 AND %(today)s::date
  AND r.user_id = u.id
WHERE
  -- include user_visible
GROUP BY 1, 2;

-- name: narrow_paces_of_users
-- The same of a product, or of one of its models.
SELECT r.user_id, CASE WHEN r.day = %(today)s::date THEN 0 ELSE extract(isodow FROM r.day)::integer END,
  sum(r.credits)::bigint
FROM unnest(%(users)s::uuid[]) AS u(id)
JOIN rollup_user_detail_day AS r
  ON r.workspace_id = %(workspace_id)s::uuid
  AND r.user_id = u.id
  AND r.day BETWEEN %(today)s::date - 28 AND %(today)s::date
  AND r.product = %(product)s::text
  AND (%(model)s::text = '' OR r.model = %(model)s::text)
WHERE
  -- include user_visible
GROUP BY 1, 2;

-- name: paces_of_pools
-- What was charged to these groups, or to the workspace, on each weekday of the 28 days before today (1 is Monday), and
-- today (0). Only whoever may see all of it is told: being bound by a shared budget is not enough.
SELECT pool.scope_id, CASE WHEN r.day = %(today)s::date THEN 0 ELSE extract(isodow FROM r.day)::integer END,
  sum(r.credits)::bigint
FROM unnest(%(pools)s::uuid[]) AS pool(scope_id)
JOIN rollup_group_day AS r
  ON r.workspace_id = %(workspace_id)s::uuid
  AND CASE WHEN %(of_groups)s::boolean THEN r.group_id ELSE %(workspace_id)s::uuid END = pool.scope_id
  AND r.day BETWEEN %(today)s::date - 28 AND %(today)s::date
  AND (%(product)s::text = '' OR r.product = %(product)s::text)
  AND (%(model)s::text = '' OR r.model = %(model)s::text)
WHERE %(everyone)s::boolean
  OR pool.scope_id = ANY (%(managed_groups)s::uuid[])
GROUP BY 1, 2;
