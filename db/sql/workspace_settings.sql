-- name: settings
-- What a workspace has chosen.
SELECT s.multi_group, s.unknown_model, s.near_percent, s.manager_ceiling, s.auto_approval_per_period, s.cooldown_hours,
  s.request_open_days, s.anchor_since, s.anchor_days, s.first_sign_in, s.group_claims, s.version, w.zone
FROM workspace_settings AS s
JOIN workspace AS w ON w.id = s.workspace_id
WHERE s.workspace_id = %(workspace_id)s::uuid;

-- name: change_settings
-- Store a workspace's choices. Only under `change_controls`.
UPDATE workspace_settings AS s
SET multi_group = %(multi_group)s::text,
  unknown_model = %(unknown_model)s::text,
  near_percent = %(near_percent)s::integer,
  manager_ceiling = %(manager_ceiling)s::bigint,
  auto_approval_per_period = %(auto_approval_per_period)s::bigint,
  cooldown_hours = %(cooldown_hours)s::integer,
  request_open_days = %(request_open_days)s::integer,
  anchor_since = %(anchor_since)s::date[],
  anchor_days = %(anchor_days)s::integer[],
  first_sign_in = %(first_sign_in)s::text,
  group_claims = %(group_claims)s::text,
  version = %(version)s::integer
WHERE s.workspace_id = %(workspace_id)s::uuid;

-- name: own_ceiling
-- The ceiling that is set for a group's managers, if any.
SELECT g.manager_ceiling
FROM user_group AS g
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND g.id = %(group_id)s::uuid;

-- name: set_ceiling
-- Set the ceiling of a group's managers. Only under `change_controls`.
UPDATE user_group AS g
SET manager_ceiling = %(ceiling)s::bigint
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND g.id = %(group_id)s::uuid;

-- name: group_ceilings
-- The ceilings that hold for the managers of these groups: the group's own, or the workspace's.
SELECT g.id, coalesce(g.manager_ceiling, s.manager_ceiling)
FROM user_group AS g
JOIN workspace_settings AS s ON s.workspace_id = %(workspace_id)s::uuid
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND g.id = ANY (%(groups)s::uuid[]);
