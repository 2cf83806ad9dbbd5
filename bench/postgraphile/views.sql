-- What PostGraphile shows: views and functions over creditdesk's own tables, written as its documentation teaches.
CREATE SCHEMA peer;

CREATE VIEW peer.users AS SELECT id, workspace_id, display_name AS name, sort_name FROM app_user;
CREATE VIEW peer.groups AS SELECT id, workspace_id, name, sort_name FROM user_group;
COMMENT ON VIEW peer.users IS E'@primaryKey id';
COMMENT ON VIEW peer.groups IS E'@primaryKey id';

CREATE TYPE peer.budget AS ("limit" bigint, used bigint, held bigint);
CREATE TYPE peer.usage_row AS (product text, model text, credits bigint, requests bigint);
CREATE TYPE peer.trend_row AS (day date, product text, credits bigint);
CREATE TYPE peer.top_row AS (user_id uuid, name text, credits bigint);

CREATE FUNCTION peer.balance_of(p_workspace uuid, p_scope text, p_id uuid, p_limit bigint) RETURNS peer.budget
LANGUAGE sql STABLE AS $$
  SELECT (p_limit, coalesce(b.used, 0), coalesce(held_now(b.held, extract(epoch FROM now())::bigint), 0))::peer.budget
  FROM (SELECT 1) AS one
  LEFT JOIN balance AS b
    ON b.workspace_id = p_workspace
    AND b.kind_id = (
      SELECT k.id FROM balance_kind AS k
      WHERE k.workspace_id = p_workspace AND k.scope = p_scope AND k.cadence = 'MONTH' AND k.product = '')
    AND b.scope_id = p_id
    AND b.first_day = date_trunc('month', now() AT TIME ZONE 'UTC')::date
$$;
COMMENT ON FUNCTION peer.balance_of IS E'@behavior -*';

CREATE FUNCTION peer.users_budget(u peer.users) RETURNS peer.budget LANGUAGE sql STABLE AS $$
  SELECT peer.balance_of(u.workspace_id, 'USER', u.id, coalesce(
    (SELECT l.amount FROM credit_limit AS l
      WHERE l.workspace_id = u.workspace_id AND l.scope = 'USER' AND l.scope_id = u.id AND l.kind = 'EACH_USER'),
    (SELECT max(l.amount) FROM group_member AS m
      JOIN credit_limit AS l ON l.workspace_id = u.workspace_id AND l.scope = 'GROUP' AND l.scope_id = m.group_id
        AND l.kind = 'EACH_USER'
      WHERE m.workspace_id = u.workspace_id AND m.user_id = u.id),
    (SELECT l.amount FROM credit_limit AS l
      WHERE l.workspace_id = u.workspace_id AND l.scope = 'WORKSPACE' AND l.kind = 'EACH_USER')))
$$;

CREATE FUNCTION peer.users_usage(u peer.users, first_day date, last_day date) RETURNS SETOF peer.usage_row
LANGUAGE sql STABLE AS $$
  SELECT d.product, d.model, sum(d.credits)::bigint, sum(d.requests)::bigint
  FROM rollup_user_detail_day AS d
  WHERE d.workspace_id = u.workspace_id AND d.user_id = u.id AND d.day BETWEEN first_day AND last_day
  GROUP BY 1, 2
  ORDER BY 3 DESC, 1, 2
$$;

CREATE FUNCTION peer.groups_budget(g peer.groups) RETURNS peer.budget LANGUAGE sql STABLE AS $$
  SELECT peer.balance_of(g.workspace_id, 'GROUP', g.id, l.amount)
  FROM credit_limit AS l
  WHERE l.workspace_id = g.workspace_id AND l.scope = 'GROUP' AND l.scope_id = g.id AND l.kind = 'SHARED'
$$;

CREATE FUNCTION peer.groups_members(g peer.groups, size integer) RETURNS SETOF peer.users LANGUAGE sql STABLE AS $$
  SELECT u.*
  FROM group_member AS m
  JOIN peer.users AS u ON u.workspace_id = g.workspace_id AND u.id = m.user_id
  WHERE m.workspace_id = g.workspace_id AND m.group_id = g.id
  ORDER BY u.sort_name, u.id
  LIMIT size
$$;

CREATE FUNCTION peer.first_groups(workspace uuid, size integer) RETURNS SETOF peer.groups LANGUAGE sql STABLE AS $$
  SELECT g.* FROM peer.groups AS g WHERE g.workspace_id = workspace ORDER BY g.sort_name, g.id LIMIT size
$$;

CREATE FUNCTION peer.me() RETURNS peer.users LANGUAGE sql STABLE AS $$
  SELECT u FROM peer.users AS u
  WHERE u.workspace_id = nullif(current_setting('jwt.workspace_id', true), '')::uuid
    AND u.id = nullif(current_setting('jwt.user_id', true), '')::uuid
$$;

CREATE FUNCTION peer.one(workspace uuid, member uuid) RETURNS peer.users LANGUAGE sql STABLE AS $$
  SELECT u FROM peer.users AS u WHERE u.workspace_id = workspace AND u.id = member
$$;

CREATE FUNCTION peer.trend(workspace uuid, first_day date, last_day date) RETURNS SETOF peer.trend_row
LANGUAGE sql STABLE AS $$
  SELECT d.day, d.product, sum(d.credits)::bigint
  FROM rollup_workspace_day AS d
  WHERE d.workspace_id = workspace AND d.day BETWEEN first_day AND last_day
  GROUP BY 1, 2
  ORDER BY 1, 2
$$;

CREATE FUNCTION peer.top(workspace uuid, first_day date, last_day date, size integer) RETURNS SETOF peer.top_row
LANGUAGE sql STABLE AS $$
  -- Months from the first whole one on, with the days before it, and without those after the last day.
  WITH months AS (
    SELECT date_trunc('month', first_day + interval '1 month - 1 day')::date AS first,
      (date_trunc('month', last_day) + interval '1 month')::date AS beyond
  )
  SELECT u.id, u.name, t.credits
  FROM (
    SELECT d.user_id, sum(d.credits)::bigint AS credits
    FROM (
      SELECT m.user_id, m.credits
      FROM rollup_user_month AS m
      WHERE m.workspace_id = workspace
        AND m.month >= (SELECT first FROM months)
        AND m.month < (SELECT beyond FROM months)
      UNION ALL
      SELECT d.user_id, d.credits
      FROM rollup_user_day AS d
      WHERE d.workspace_id = workspace
        AND d.day >= first_day
        AND d.day < (SELECT first FROM months)
      UNION ALL
      SELECT d.user_id, -d.credits
      FROM rollup_user_day AS d
      WHERE d.workspace_id = workspace
        AND d.day > last_day
        AND d.day < (SELECT beyond FROM months)
    ) AS d
    GROUP BY 1
    ORDER BY 2 DESC, 1
    LIMIT size
  ) AS t
  JOIN peer.users AS u ON u.workspace_id = workspace AND u.id = t.user_id
  ORDER BY t.credits DESC, u.id
$$;

CREATE FUNCTION peer.people(workspace uuid, month date, skip integer) RETURNS SETOF peer.users
LANGUAGE sql STABLE AS $$
  SELECT u.*
  FROM peer.users AS u
  LEFT JOIN (
    SELECT m.user_id, sum(m.credits)::bigint AS credits
    FROM rollup_user_month AS m
    WHERE m.workspace_id = workspace AND m.month = people.month
    GROUP BY 1
  ) AS used ON used.user_id = u.id
  WHERE u.workspace_id = workspace
  ORDER BY coalesce(used.credits, 0) DESC, u.sort_name, u.id
  LIMIT 50 OFFSET skip
$$;

CREATE FUNCTION peer.people_count(workspace uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT count(*) FROM app_user WHERE workspace_id = workspace
$$;
