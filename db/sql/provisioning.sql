-- name: groups_named
-- Find the groups of a workspace that have these slugs.
SELECT g.slug, g.id
FROM user_group AS g
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND g.slug = ANY (%(slugs)s::text[]);
