-- name: limits_set_on
-- Every rule that is set on these users, groups or workspace.
SELECT
  -- include limit_columns
FROM credit_limit AS l
JOIN unnest(%(scopes)s::text[], %(scope_ids)s::uuid[]) AS k(scope, scope_id)
  ON l.scope = k.scope
  AND l.scope_id = k.scope_id
WHERE l.workspace_id = %(workspace_id)s::uuid
ORDER BY l.id;

-- name: put_limits
-- Store rules as they are, over those of the same kind and shape. Only under `change_controls`.
INSERT INTO credit_limit AS l (
  workspace_id, id, scope, scope_id, kind, cadence, product, model, temporary, unlimited, amount, enforcement,
  starts_at, expires_at, set_by, set_at, reason, version, request_id)
SELECT %(workspace_id)s::uuid, n.id, n.scope, n.scope_id, n.kind, n.cadence, n.product, n.model, n.temporary,
  n.unlimited, n.amount, n.enforcement, n.starts_at, n.expires_at, n.set_by, n.set_at, n.reason, n.version,
  %(request_id)s::uuid
FROM unnest(
  %(ids)s::uuid[], %(scopes)s::text[], %(scope_ids)s::uuid[], %(kinds)s::text[], %(cadences)s::text[],
  %(products)s::text[], %(models)s::text[], %(temporary)s::boolean[], %(unlimited)s::boolean[], %(amounts)s::bigint[],
  %(enforcements)s::text[], %(starts)s::timestamptz[], %(expiries)s::timestamptz[], %(set_by)s::uuid[],
  %(set_at)s::timestamptz[], %(reasons)s::text[], %(versions)s::integer[]
) AS n(
  id, scope, scope_id, kind, cadence, product, model, temporary, unlimited, amount, enforcement, starts_at, expires_at,
  set_by, set_at, reason, version)
ON CONFLICT (workspace_id, scope, scope_id, kind, cadence, product, model, temporary) DO UPDATE
SET unlimited = excluded.unlimited,
  amount = excluded.amount,
  enforcement = excluded.enforcement,
  starts_at = excluded.starts_at,
  expires_at = excluded.expires_at,
  set_by = excluded.set_by,
  set_at = excluded.set_at,
  reason = excluded.reason,
  version = excluded.version,
  request_id = excluded.request_id;

-- name: remove_limits
-- Remove rules by their ids. Only under `change_controls`.
DELETE FROM credit_limit AS l
WHERE l.workspace_id = %(workspace_id)s::uuid
  AND l.id = ANY (%(ids)s::uuid[]);

-- fragment: limit_answered_for
-- The limits that a caller answers for: all, or those of the groups one manages and of these groups' members.
(
  %(everyone)s::boolean
  OR l.scope = 'GROUP' AND l.scope_id = ANY (%(managed_groups)s::uuid[])
  OR l.scope = 'USER' AND EXISTS (
    SELECT
    FROM group_member AS managed
    WHERE managed.workspace_id = %(workspace_id)s::uuid
      AND managed.user_id = l.scope_id
      AND managed.group_id = ANY (%(managed_groups)s::uuid[])
  )
)

-- fragment: limit_visible
-- The limits that a caller may see: those one answers for, and those that apply to oneself.
(
  -- include limit_answered_for
  OR l.scope = 'USER' AND l.scope_id = %(own_user)s::uuid
  OR l.scope = 'WORKSPACE' AND (%(own_user)s::uuid IS NOT NULL OR %(managed_groups)s::uuid[] <> '{}')
  OR l.scope = 'GROUP' AND (
    EXISTS (
      SELECT
      FROM group_member AS own
      WHERE own.workspace_id = %(workspace_id)s::uuid
        AND own.user_id = %(own_user)s::uuid
        AND own.group_id = l.scope_id
    )
    OR EXISTS (
      SELECT
      FROM app_user AS own
      WHERE own.workspace_id = %(workspace_id)s::uuid
        AND own.id = %(own_user)s::uuid
        AND own.home_group_id = l.scope_id
    )
  )
)

-- fragment: limit_listed
-- The limits of a list: what the caller answers for, fits the filter and has not expired.
l.workspace_id = %(workspace_id)s::uuid
AND
  -- include limit_answered_for
AND (l.expires_at IS NULL OR l.expires_at > %(now)s::timestamptz)
AND (%(scope)s::text IS NULL OR l.scope = %(scope)s::text)
AND (%(group_id)s::uuid IS NULL OR l.scope = 'GROUP' AND l.scope_id = %(group_id)s::uuid)
AND (%(user_id)s::uuid IS NULL OR l.scope = 'USER' AND l.scope_id = %(user_id)s::uuid)
AND (%(product)s::text IS NULL OR l.product = %(product)s::text)
AND (%(cadence)s::text IS NULL OR l.cadence = %(cadence)s::text)

-- name: limits_by_id
-- The visible ones of these limits.
SELECT
  -- include limit_columns
FROM credit_limit AS l
WHERE l.workspace_id = %(workspace_id)s::uuid
  AND l.id = ANY (%(ids)s::uuid[])
  AND
  -- include limit_visible
;

-- name: limits_page
-- A page of limits, the one that was set last first.
SELECT l.*
FROM (
  SELECT
    -- include limit_columns
    , (extract(epoch FROM l.set_at) * 1000000)::bigint AS number
  FROM credit_limit AS l
  WHERE
    -- include limit_listed
) AS l
WHERE %(after_id)s::uuid IS NULL
  OR (l.number, l.id) < (%(after_number)s::bigint, %(after_id)s::uuid)
ORDER BY l.number DESC, l.id DESC
LIMIT %(size)s::integer;

-- name: limits_count
-- How many limits the list has.
SELECT count(*)
FROM credit_limit AS l
WHERE
  -- include limit_listed
;

-- name: member_limits
-- Each group's limit in force for its members, for all usage in a month: the temporary one before the lasting one.
SELECT DISTINCT ON (l.scope_id)
  -- include limit_columns
FROM credit_limit AS l
WHERE l.workspace_id = %(workspace_id)s::uuid
  AND l.scope = 'GROUP'
  AND l.scope_id = ANY (%(groups)s::uuid[])
  AND l.kind = 'EACH_USER'
  AND l.cadence = 'MONTH'
  AND l.product = ''
  AND l.model = ''
  AND l.starts_at <= greatest(l.set_at, %(now)s::timestamptz)
  AND (l.expires_at IS NULL OR l.expires_at > %(now)s::timestamptz)
  AND
  -- include limit_visible
ORDER BY l.scope_id, l.temporary DESC;

-- name: limit_to_remove
-- One rule by its id. Only under `change_controls`, by an operation that checks who may remove it.
SELECT
  -- include limit_columns
FROM credit_limit AS l
WHERE l.workspace_id = %(workspace_id)s::uuid
  AND l.id = %(id)s::uuid;

-- name: group_named
-- The group with this id, or with this slug.
SELECT g.id
FROM user_group AS g
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND (g.id = %(id)s::uuid OR g.slug = %(slug)s::text);

-- name: members_of_groups
-- Who is in one of these groups now.
SELECT DISTINCT m.user_id
FROM group_member AS m
WHERE m.workspace_id = %(workspace_id)s::uuid
  AND m.group_id = ANY (%(groups)s::uuid[]);

-- name: manager_ceilings
-- Up to what a manager of some groups may set limits of groups and users: a group's own ceiling, or the workspace's.
WITH managed AS (
  SELECT g.id, coalesce(g.manager_ceiling, s.manager_ceiling) AS ceiling
  FROM user_group AS g
  JOIN workspace_settings AS s ON s.workspace_id = %(workspace_id)s::uuid
  WHERE g.workspace_id = %(workspace_id)s::uuid
    AND g.id = ANY (%(managed_groups)s::uuid[])
)
SELECT managed.id, managed.ceiling
FROM managed
WHERE managed.id = ANY (%(groups)s::uuid[])
UNION ALL
SELECT m.user_id, max(managed.ceiling)
FROM group_member AS m
JOIN managed ON managed.id = m.group_id
WHERE m.workspace_id = %(workspace_id)s::uuid
  AND m.user_id = ANY (%(users)s::uuid[])
GROUP BY m.user_id;
