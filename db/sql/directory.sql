-- name: workspace_by_slug
-- Find the one workspace that the scope's slug opens: what a sign-in needs before it knows the workspace's id.
SELECT w.id, w.slug, w.name, w.zone, w.created_at
FROM workspace AS w
WHERE w.slug = %(slug)s::text;

-- name: user_of_identity
-- plan: generic
-- The workspace, who a token's subject is in it as of a version of the controls, what is to become of those who are nobody,
-- when they came last, and which of the named groups exist. Every request asks this.
SELECT w.id, w.slug, w.name, w.zone, w.created_at, u.id, u.active, u.sessions_ended_at, s.controls_version,
  s.first_sign_in, s.group_claims, n.began_at, n.groups_hash,
  ARRAY(
    SELECT g.id
    FROM user_group AS g
    WHERE g.workspace_id = %(workspace_id)s::uuid
      AND g.slug = ANY (%(group_slugs)s::text[])
    ORDER BY g.id
  )
FROM workspace AS w
JOIN workspace_settings AS s ON s.workspace_id = %(workspace_id)s::uuid
LEFT JOIN sign_in AS n
  ON n.workspace_id = %(workspace_id)s::uuid
  AND n.issuer = %(issuer)s::text
  AND n.subject = %(subject)s::text
LEFT JOIN user_identity AS i
  ON i.workspace_id = %(workspace_id)s::uuid
  AND i.issuer = %(issuer)s::text
  AND i.subject = %(subject)s::text
LEFT JOIN app_user AS u
  ON u.workspace_id = %(workspace_id)s::uuid
  AND u.id = i.user_id
WHERE w.id = %(workspace_id)s::uuid;

-- name: note_sign_in
-- Keep when an identity came, unless it came at most an hour before that: a new token is no new sign-in.
INSERT INTO sign_in AS n (workspace_id, issuer, subject, began_at)
VALUES (%(workspace_id)s::uuid, %(issuer)s::text, %(subject)s::text, %(began_at)s::timestamptz)
ON CONFLICT (workspace_id, issuer, subject) DO UPDATE SET began_at = excluded.began_at
WHERE n.began_at IS NULL OR n.began_at < excluded.began_at - interval '1 hour'
RETURNING true;

-- name: claimed_groups
-- The groups that an identity's token has brought it into.
SELECT n.claimed_groups
FROM sign_in AS n
WHERE n.workspace_id = %(workspace_id)s::uuid
  AND n.issuer = %(issuer)s::text
  AND n.subject = %(subject)s::text;

-- name: keep_claimed_groups
-- Keep which groups an identity's token has brought it into, and what it named.
INSERT INTO sign_in AS n (workspace_id, issuer, subject, groups_hash, claimed_groups)
VALUES (
  %(workspace_id)s::uuid, %(issuer)s::text, %(subject)s::text, %(groups_hash)s::text, %(claimed_groups)s::text[])
ON CONFLICT (workspace_id, issuer, subject) DO UPDATE SET
  groups_hash = excluded.groups_hash,
  claimed_groups = excluded.claimed_groups;

-- name: look_at_claimed_groups_again
-- Have the groups that tokens name looked at again: there is a group that there was not.
UPDATE sign_in AS n
SET groups_hash = ''
WHERE n.workspace_id = %(workspace_id)s::uuid
  AND n.groups_hash <> '';

-- name: signs_in_with_issuer
-- Whether a user is linked to a subject of an identity provider.
SELECT EXISTS (
  SELECT
  FROM user_identity AS i
  WHERE i.workspace_id = %(workspace_id)s::uuid
    AND i.user_id = %(user_id)s::uuid
    AND i.issuer = %(issuer)s::text
);

-- name: put_workspace
-- Make a workspace, or rename it. Its slug and its zone stay as they are.
INSERT INTO workspace AS w (id, slug, name, zone, created_at)
VALUES (%(workspace_id)s::uuid, %(slug)s::text, %(name)s::text, %(zone)s::text, %(now)s::timestamptz)
ON CONFLICT (id) DO UPDATE SET name = excluded.name
RETURNING w.slug = %(slug)s::text AND w.zone = %(zone)s::text;

-- name: put_workspace_settings
-- Give a new workspace its settings.
INSERT INTO workspace_settings (workspace_id)
VALUES (%(workspace_id)s::uuid)
ON CONFLICT (workspace_id) DO NOTHING;

-- name: put_first_balance_kind
-- Give a new workspace the balance that everybody looks at, limit or not: what each user used in a month.
INSERT INTO balance_kind (workspace_id, id, scope, cadence, product, model, since)
VALUES (%(workspace_id)s::uuid, 1, 'USER', 'MONTH', '', '', '1970-01-01')
ON CONFLICT (workspace_id, id) DO NOTHING;

-- name: put_groups
-- Make groups, or rename them.
INSERT INTO user_group AS g (workspace_id, id, slug, name, sort_name, created_at)
SELECT %(workspace_id)s::uuid, new.id, new.slug, new.name, new.sort_name, %(now)s::timestamptz
FROM unnest(%(ids)s::uuid[], %(slugs)s::text[], %(names)s::text[], %(sort_names)s::text[])
  AS new(id, slug, name, sort_name)
ORDER BY new.id
ON CONFLICT (workspace_id, id) DO UPDATE SET
  slug = excluded.slug,
  name = excluded.name,
  sort_name = excluded.sort_name,
  version = g.version + 1;

-- name: put_users
-- Make users, or change what is known of them. Whoever is deactivated is signed out everywhere, for good.
INSERT INTO app_user AS u (
  workspace_id, id, external_id, email, display_name, sort_name, kind, active, home_group_id, created_at)
SELECT %(workspace_id)s::uuid, new.id, new.external_id, new.email, new.display_name, new.sort_name, new.kind, new.active,
  new.home_group_id, %(now)s::timestamptz
FROM unnest(
  %(ids)s::uuid[], %(external_ids)s::text[], %(emails)s::text[], %(names)s::text[], %(sort_names)s::text[],
  %(kinds)s::text[], %(active)s::boolean[], %(home_groups)s::uuid[]
) AS new(id, external_id, email, display_name, sort_name, kind, active, home_group_id)
ORDER BY new.id
ON CONFLICT (workspace_id, id) DO UPDATE SET
  external_id = excluded.external_id,
  email = excluded.email,
  display_name = excluded.display_name,
  sort_name = excluded.sort_name,
  kind = excluded.kind,
  active = excluded.active,
  home_group_id = excluded.home_group_id,
  sessions_ended_at = CASE
    WHEN u.active AND NOT excluded.active THEN %(now)s::timestamptz
    ELSE u.sessions_ended_at
  END,
  version = u.version + 1;

-- name: end_sessions
-- Refuse a user's tokens and sessions that began before now.
UPDATE app_user AS u
SET sessions_ended_at = greatest(u.sessions_ended_at, %(now)s::timestamptz)
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND u.id = %(user_id)s::uuid;

-- name: known_users
-- Users as they are: those who are named by an id, an address or an external id, or everybody; groups by their slugs.
SELECT u.id, u.version, u.display_name, u.email, u.external_id, u.kind, u.active,
  (
    SELECT h.slug
    FROM user_group AS h
    WHERE h.workspace_id = %(workspace_id)s::uuid
      AND h.id = u.home_group_id
  ),
  ARRAY(
    SELECT g.slug
    FROM group_member AS m
    JOIN user_group AS g
      ON g.workspace_id = %(workspace_id)s::uuid
      AND g.id = m.group_id
    WHERE m.workspace_id = %(workspace_id)s::uuid
      AND m.user_id = u.id
    ORDER BY g.slug
  )
FROM app_user AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND (
    %(everybody)s::boolean
    OR u.id = ANY (%(ids)s::uuid[])
    OR u.email = ANY (%(emails)s::text[])
    OR u.external_id = ANY (%(external_ids)s::text[])
  )
ORDER BY u.id;

-- name: drop_other_memberships
-- Take users out of the groups that are not named for them.
DELETE FROM group_member AS m
WHERE m.workspace_id = %(workspace_id)s::uuid
  AND m.user_id = ANY (%(users)s::uuid[])
  AND NOT EXISTS (
    SELECT
    FROM unnest(%(member_users)s::uuid[], %(member_groups)s::uuid[]) AS kept(user_id, group_id)
    WHERE kept.user_id = m.user_id
      AND kept.group_id = m.group_id
  );

-- name: put_memberships
-- Put users into groups.
INSERT INTO group_member (workspace_id, group_id, user_id)
SELECT %(workspace_id)s::uuid, m.group_id, m.user_id
FROM unnest(%(member_users)s::uuid[], %(member_groups)s::uuid[]) AS m(user_id, group_id)
ORDER BY m.group_id, m.user_id
ON CONFLICT (workspace_id, group_id, user_id) DO NOTHING;

-- name: put_identities
-- Link subjects of identity providers to users.
INSERT INTO user_identity (workspace_id, issuer, subject, user_id)
SELECT %(workspace_id)s::uuid, i.issuer, i.subject, i.user_id
FROM unnest(%(issuers)s::text[], %(subjects)s::text[], %(users)s::uuid[]) AS i(issuer, subject, user_id)
ORDER BY i.issuer, i.subject
ON CONFLICT (workspace_id, issuer, subject) DO UPDATE SET user_id = excluded.user_id;
