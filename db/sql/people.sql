-- fragment: user_visible
-- Whom a caller may see: everyone, or oneself and whoever is in a group one manages.
(
  %(everyone)s::boolean
  OR u.id = %(own_user)s::uuid
  OR EXISTS (
    SELECT
    FROM group_member AS managed
    WHERE managed.workspace_id = %(workspace_id)s::uuid
      AND managed.user_id = u.id
      AND managed.group_id = ANY (%(managed_groups)s::uuid[])
  )
)

-- fragment: group_visible
-- Which groups a caller may see: all, or those one manages or is in.
(
  %(everyone)s::boolean
  OR g.id = ANY (%(managed_groups)s::uuid[])
  OR EXISTS (
    SELECT
    FROM group_member AS own
    WHERE own.workspace_id = %(workspace_id)s::uuid
      AND own.user_id = %(own_user)s::uuid
      AND own.group_id = g.id
  )
)

-- fragment: user_listed
-- The users of a list: of the workspace or of one group, visible, and fitting the filter. Whoever is in a group that the
-- caller may not see counts as not being in it.
u.workspace_id = %(workspace_id)s::uuid
AND
  -- include user_visible
AND (
  NOT %(in_group)s::boolean
  OR EXISTS (
    SELECT
    FROM group_member AS m
    WHERE m.workspace_id = %(workspace_id)s::uuid
      AND m.group_id = scope.group_id
      AND m.user_id = u.id
  )
)
AND (%(search)s::text IS NULL OR strpos(u.sort_name, %(search)s::text) > 0 OR strpos(u.email, %(search)s::text) > 0)
AND (%(kind)s::text IS NULL OR u.kind = %(kind)s::text)
AND (%(active)s::boolean IS NULL OR u.active = %(active)s::boolean)
AND (
  %(groups)s::uuid[] IS NULL
  OR EXISTS (
    SELECT
    FROM group_member AS m
    WHERE m.workspace_id = %(workspace_id)s::uuid
      AND m.group_id = ANY (%(groups)s::uuid[])
      AND m.user_id = u.id
      AND (
        %(everyone)s::boolean
        OR m.group_id = ANY (%(managed_groups)s::uuid[])
        OR EXISTS (
          SELECT
          FROM group_member AS own
          WHERE own.workspace_id = %(workspace_id)s::uuid
            AND own.user_id = %(own_user)s::uuid
            AND own.group_id = m.group_id
        )
      )
  )
)

-- name: users_by_id
-- plan: generic
-- message: shared
-- The visible ones of these users.
SELECT u.id, u.display_name, u.email, u.external_id, u.kind, u.active, u.home_group_id, u.version
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND u.id = ANY (%(ids)s::uuid[])
  AND
  -- include user_visible
;

-- name: users_by_address
-- The visible user with this e-mail address, or with this external id.
SELECT u.id, u.display_name, u.email, u.external_id, u.kind, u.active, u.home_group_id, u.version
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND (u.email = %(email)s::text OR u.external_id = %(external_id)s::text)
  AND
  -- include user_visible
;

-- fragment: users_spending
-- What users used in a range, in parts: its months, and the days that make up the difference.
SELECT r.user_id, r.credits
FROM rollup_user_month AS r
WHERE r.workspace_id = %(workspace_id)s::uuid
  AND r.month >= %(months_from)s::date
  AND r.month < %(months_to)s::date
UNION ALL
SELECT r.user_id, edge.sign * r.credits
FROM unnest(%(edge_firsts)s::date[], %(edge_lasts)s::date[], %(edge_signs)s::bigint[])
  AS edge(first_day, last_day, sign)
CROSS JOIN LATERAL (
  -- include user_days
) AS r

-- name: users_page
-- plan: custom
-- A page of users for each scope, in the order of a number (credits in a range, or nothing), the name and the id.
--
-- `backwards` turns the whole order round: for a descending list, and for reading a list from its end.
WITH spent AS MATERIALIZED (
  SELECT user_id, app_total(credits) AS credits
  FROM (
    -- include users_spending
  ) AS r
  WHERE %(credits_sign)s::integer <> 0
  GROUP BY user_id
)
SELECT scope.nth, page.*
FROM unnest(%(scopes)s::uuid[]) WITH ORDINALITY AS scope(group_id, nth)
CROSS JOIN LATERAL (
  SELECT u.id, u.display_name, u.email, u.external_id, u.kind, u.active, u.home_group_id, u.version, u.number,
    u.sort_name
  FROM (
    SELECT u.*, %(credits_sign)s::integer * coalesce(spent.credits, 0) AS number
    FROM app_user AS u
    LEFT JOIN spent ON spent.user_id = u.id
  ) AS u
  WHERE
    -- include user_listed
    AND (
      %(after_id)s::uuid IS NULL
      OR NOT %(backwards)s::boolean
        AND (u.number, u.sort_name, u.id) > (%(after_number)s::bigint, %(after_name)s::text, %(after_id)s::uuid)
      OR %(backwards)s::boolean
        AND (u.number, u.sort_name, u.id) < (%(after_number)s::bigint, %(after_name)s::text, %(after_id)s::uuid)
    )
  ORDER BY
    CASE WHEN %(backwards)s::boolean THEN u.number END DESC,
    CASE WHEN %(backwards)s::boolean THEN u.sort_name END DESC,
    CASE WHEN %(backwards)s::boolean THEN u.id END DESC,
    u.number, u.sort_name, u.id
  LIMIT %(size)s::integer
) AS page
ORDER BY scope.nth;

-- name: users_page_of_most
-- plan: scattered
-- A page of all the workspace's users, those with most credits in a range first; forwards.
--
-- Whoever used credits is looked up only where the page is: from the cursor's number to that of the page's last. The
-- others are gone through only where the page reaches them.
WITH spent AS MATERIALIZED (
  SELECT user_id, -app_total(credits) AS number
  FROM (
    -- include users_spending
  ) AS r
  GROUP BY user_id
),
near AS MATERIALIZED (
  SELECT user_id, number
  FROM spent
  WHERE %(everyone)s::boolean
    AND number < 0
    AND (%(after_number)s::bigint IS NULL OR number >= %(after_number)s::bigint)
    AND number <= coalesce(
      (
        SELECT number
        FROM spent
        WHERE number < 0
          AND (%(after_number)s::bigint IS NULL OR number > %(after_number)s::bigint)
        ORDER BY number
        LIMIT 1
        OFFSET %(size)s::integer - 1
      ),
      0
    )
)
SELECT 1 AS nth, u.id, u.display_name, u.email, u.external_id, u.kind, u.active, u.home_group_id, u.version, u.number,
  u.sort_name
FROM (
  SELECT u.*, near.number
  FROM near
  JOIN app_user AS u
    ON u.workspace_id = %(workspace_id)s::uuid
    AND u.id = near.user_id
  UNION ALL
  SELECT u.*, coalesce(spent.number, 0)
  FROM app_user AS u
  LEFT JOIN spent ON spent.user_id = u.id
  WHERE u.workspace_id = %(workspace_id)s::uuid
    AND %(everyone)s::boolean
    AND coalesce(spent.number, 0) >= 0
    AND (
      SELECT count(*)
      FROM near
      WHERE %(after_number)s::bigint IS NULL OR number > %(after_number)s::bigint
    ) < %(size)s::integer
) AS u
WHERE %(after_id)s::uuid IS NULL
  OR (u.number, u.sort_name, u.id) > (%(after_number)s::bigint, %(after_name)s::text, %(after_id)s::uuid)
ORDER BY u.number, u.sort_name, u.id
LIMIT %(size)s::integer;

-- fragment: members_listed
-- All users of a group by name alone, from its memberships. They are named in an array, whose index is gone through once;
-- joined one by one, each is looked up from the top.
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND u.id = ANY (ARRAY(
    SELECT m.user_id
    FROM group_member AS m
    WHERE m.workspace_id = %(workspace_id)s::uuid
      AND m.group_id = scope.group_id
  ))
  AND
  -- include user_visible
  AND (
    %(after_id)s::uuid IS NULL
    OR NOT %(backwards)s::boolean
      AND (0::bigint, u.sort_name, u.id) > (%(after_number)s::bigint, %(after_name)s::text, %(after_id)s::uuid)
    OR %(backwards)s::boolean
      AND (0::bigint, u.sort_name, u.id) < (%(after_number)s::bigint, %(after_name)s::text, %(after_id)s::uuid)
  )
ORDER BY
  CASE WHEN %(backwards)s::boolean THEN u.sort_name END DESC,
  CASE WHEN %(backwards)s::boolean THEN u.id END DESC,
  u.sort_name, u.id
LIMIT %(size)s::integer

-- name: members_page
-- plan: generic
-- message: shared
-- A page of all users of each group by name alone: the commonest list, whose plan is kept.
SELECT scope.nth, page.*
FROM unnest(%(scopes)s::uuid[]) WITH ORDINALITY AS scope(group_id, nth)
CROSS JOIN LATERAL (
  SELECT u.id, u.display_name, u.email, u.external_id, u.kind, u.active, u.home_group_id, u.version, 0::bigint AS number,
    u.sort_name
  -- include members_listed
) AS page
ORDER BY scope.nth;

-- name: member_names_page
-- plan: generic
-- message: shared
-- The same with nothing but their names, and their ids as text: many are read, and little else is asked of them.
SELECT scope.nth, page.id::text, page.display_name
FROM unnest(%(scopes)s::uuid[]) WITH ORDINALITY AS scope(group_id, nth)
CROSS JOIN LATERAL (
  SELECT u.id, u.display_name
  -- include members_listed
) AS page
ORDER BY scope.nth;

-- name: users_count
-- How many users each scope's list has.
SELECT scope.nth, count(*)
FROM unnest(%(scopes)s::uuid[]) WITH ORDINALITY AS scope(group_id, nth)
JOIN app_user AS u ON
  -- include user_listed
GROUP BY scope.nth;

-- name: users_count_of_workspace
-- plan: generic
-- The same of all the workspace's users: the commonest count.
SELECT 1 AS nth, count(*)
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND %(everyone)s::boolean;

-- name: groups_by_id
-- plan: generic
-- The visible ones of these groups.
SELECT g.id, g.slug, g.name, g.version
FROM user_group AS g
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND g.id = ANY (%(ids)s::uuid[])
  AND
  -- include group_visible
;

-- name: groups_by_slug
-- The visible group with this slug.
SELECT g.id, g.slug, g.name, g.version
FROM user_group AS g
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND g.slug = %(slug)s::text
  AND
  -- include group_visible
;

-- name: groups_of_users
-- The visible groups that these users are in.
SELECT m.user_id, g.id, g.slug, g.name, g.version
FROM group_member AS m
JOIN user_group AS g
  ON g.workspace_id = %(workspace_id)s::uuid
  AND g.id = m.group_id
WHERE m.workspace_id = %(workspace_id)s::uuid
  AND m.user_id = ANY (%(users)s::uuid[])
  AND
  -- include group_visible
ORDER BY g.sort_name, g.id;

-- name: groups_page
-- plan: generic
-- message: shared
-- A page of groups, in the order of a number (credits in a range, or nothing), the name and the id.
WITH spent AS MATERIALIZED (
  SELECT r.group_id, app_total(r.credits) AS credits
  FROM rollup_group_day AS r
  WHERE %(credits_sign)s::integer <> 0
    AND r.workspace_id = %(workspace_id)s::uuid
    AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date
    AND (%(everyone)s::boolean OR r.group_id = ANY (%(managed_groups)s::uuid[]))
  GROUP BY r.group_id
)
SELECT g.id, g.slug, g.name, g.version, g.number, g.sort_name
FROM (
  SELECT g.*, %(credits_sign)s::integer * coalesce(spent.credits, 0) AS number
  FROM user_group AS g
  LEFT JOIN spent ON spent.group_id = g.id
) AS g
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND
  -- include group_visible
  AND (%(search)s::text IS NULL OR strpos(g.sort_name, %(search)s::text) > 0)
  AND (
    %(after_id)s::uuid IS NULL
    OR NOT %(backwards)s::boolean
      AND (g.number, g.sort_name, g.id) > (%(after_number)s::bigint, %(after_name)s::text, %(after_id)s::uuid)
    OR %(backwards)s::boolean
      AND (g.number, g.sort_name, g.id) < (%(after_number)s::bigint, %(after_name)s::text, %(after_id)s::uuid)
  )
ORDER BY
  CASE WHEN %(backwards)s::boolean THEN g.number END DESC,
  CASE WHEN %(backwards)s::boolean THEN g.sort_name END DESC,
  CASE WHEN %(backwards)s::boolean THEN g.id END DESC,
  g.number, g.sort_name, g.id
LIMIT %(size)s::integer;

-- name: groups_count
-- How many groups the list has.
SELECT count(*)
FROM user_group AS g
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND
  -- include group_visible
  AND (%(search)s::text IS NULL OR strpos(g.sort_name, %(search)s::text) > 0);
