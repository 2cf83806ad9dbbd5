"""Putting a whole directory in place: a workspace, its groups and its people, named as the company names them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from creditdesk.credits.directory import (
    Identity,
    NewGroup,
    NewUser,
    UserKind,
    put_groups,
    put_identities,
    put_users,
    put_workspace,
    workspace_by_slug,
)
from creditdesk.credits.errors import InvalidInputError
from creditdesk.db.connections import Connection, Database, DatabaseRole, RowScope


@dataclass(frozen=True, slots=True)
class NamedGroup:
    """A group, known by its slug."""

    slug: str
    name: str


@dataclass(frozen=True, slots=True)
class NamedUser:
    """A user, known by the external id, or by the e-mail address where there is none; groups are slugs.

    `identities` are pairs of an identity provider's issuer and the user's subject there.
    """

    display_name: str
    email: str | None = None
    external_id: str | None = None
    kind: UserKind = UserKind.PERSON
    active: bool = True
    home_group: str | None = None
    groups: tuple[str, ...] = ()
    identities: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Directory:
    """A workspace with groups and users; what it does not name stays as it is."""

    slug: str
    name: str
    zone: str
    groups: tuple[NamedGroup, ...] = ()
    users: tuple[NamedUser, ...] = ()


async def put_directory(database: Database, directory: Directory, *, now: datetime) -> UUID:
    """Make what is missing and change what is there, in one transaction; return the workspace's id.

    Raises InvalidInputError for a user without a name to be known by, a group that is named nowhere, or names that two
    share. Putting the same directory again changes nothing.
    """
    _check(directory)
    workspace = await workspace_by_slug(database, directory.slug)
    workspace_id = workspace.id if workspace else uuid4()
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)) as conn:
        await put_workspace(
            conn, workspace_id=workspace_id, slug=directory.slug, name=directory.name, zone=directory.zone, now=now
        )
        group_ids = await _put_groups(conn, workspace_id, directory, now)
        users = await _known_users(conn, workspace_id, directory.users, group_ids)
        if len({user.id for user in users}) < len(users):
            raise InvalidInputError("Two are one user here: by the external id of one, by the e-mail of the other.")
        await put_users(conn, workspace_id=workspace_id, users=users, now=now)
        identities = [
            Identity(issuer, subject, user.id)
            for named, user in zip(directory.users, users, strict=True)
            for issuer, subject in named.identities
        ]
        await put_identities(conn, workspace_id=workspace_id, identities=identities)
    return workspace_id


def _check(directory: Directory) -> None:
    for user in directory.users:
        if not user.email and not user.external_id:
            raise InvalidInputError(f"{user.display_name} has neither an e-mail address nor an external id.")
    emails = [user.email.lower() for user in directory.users if user.email]
    external_ids = [user.external_id for user in directory.users if user.external_id]
    identities = [identity for user in directory.users for identity in user.identities]
    slugs = [group.slug for group in directory.groups]
    for what, names in (
        ("e-mail address", emails),
        ("external id", external_ids),
        ("identity", identities),
        ("slug", slugs),
    ):
        if len(set(names)) < len(names):
            raise InvalidInputError(f"Two share one {what}.")


async def _put_groups(conn: Connection, workspace_id: UUID, directory: Directory, now: datetime) -> dict[str, UUID]:
    """Put the groups in place, and return the id of every group that the directory names."""
    named = {slug for user in directory.users for slug in (*user.groups, user.home_group) if slug}
    slugs = sorted(named | {group.slug for group in directory.groups})
    ids: dict[str, UUID] = dict(await conn.rows("groups_named", workspace_id=workspace_id, slugs=slugs))
    groups = [NewGroup(ids.setdefault(group.slug, uuid4()), group.slug, group.name) for group in directory.groups]
    if unknown := named - ids.keys():
        raise InvalidInputError(f"There is no group {min(unknown)}.")
    await put_groups(conn, workspace_id=workspace_id, groups=groups, now=now)
    return ids


async def _known_users(
    conn: Connection, workspace_id: UUID, users: Sequence[NamedUser], group_ids: Mapping[str, UUID]
) -> list[NewUser]:
    """Give each user the id that they have, or a new one."""
    rows = await conn.rows(
        "users_charged",
        workspace_id=workspace_id,
        ids=[],
        emails=[user.email.lower() for user in users if user.email],
        external_ids=[user.external_id for user in users if user.external_id],
    )
    by_external_id = {external_id: user_id for user_id, _, external_id, _ in rows if external_id}
    by_email = {email: user_id for user_id, email, _, _ in rows if email}
    return [
        NewUser(
            id=by_external_id.get(user.external_id) or by_email.get((user.email or "").lower()) or uuid4(),
            display_name=user.display_name,
            email=user.email,
            external_id=user.external_id,
            kind=user.kind,
            home_group_id=group_ids[user.home_group] if user.home_group else None,
            group_ids=tuple(group_ids[slug] for slug in user.groups),
            active=user.active,
        )
        for user in users
    ]
