-- name: known_groups
-- The groups of a workspace that have these slugs.
SELECT g.id, g.slug, g.name, g.version
FROM user_group AS g
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND g.slug = ANY (%(slugs)s::text[]);

-- name: known_identities
-- Whom these subjects of identity providers are linked to.
SELECT i.issuer, i.subject, i.user_id
FROM unnest(%(issuers)s::text[], %(subjects)s::text[]) AS named(issuer, subject)
JOIN user_identity AS i
  ON i.workspace_id = %(workspace_id)s::uuid
  AND i.issuer = named.issuer
  AND i.subject = named.subject;

-- name: remove_identity
-- Unlink a subject from its user.
DELETE FROM user_identity AS i
WHERE i.workspace_id = %(workspace_id)s::uuid
  AND i.issuer = %(issuer)s::text
  AND i.subject = %(subject)s::text
RETURNING i.user_id;

-- name: known_group
-- The group with this id or this slug.
SELECT g.id, g.slug, g.name, g.version
FROM user_group AS g
WHERE g.workspace_id = %(workspace_id)s::uuid
  AND (g.id = %(id)s::uuid OR g.slug = %(slug)s::text);
