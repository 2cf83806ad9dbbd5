"""Workspaces, groups and users: who is signing in, and putting people and groups in place."""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID
from zoneinfo import available_timezones

from creditdesk.credits.errors import InvalidInputError
from creditdesk.db.connections import Connection, Database
from creditdesk.db.scopes import DatabaseRole, RowScope


class UserKind(Enum):
    """What a user of a workspace is."""

    PERSON = "A person."
    SERVICE_ACCOUNT = "A program that uses AI on the workspace's account."


class FirstSignIn(Enum):
    """What becomes of a person with a valid token whom the workspace does not know."""

    REFUSE = "They are refused: administrators link people before they sign in."
    ADMIT = "They come in with the roles of their token and without a user; their sessions cannot be ended."
    LINK = "They are linked to the person with their e-mail address, if it is verified; others are refused."
    LINK_OR_CREATE = "They are linked to the person with their verified e-mail address, or else made a user."


class GroupClaims(Enum):
    """What it means that a token names groups. Those that there are not count for nothing."""

    OFF = "Nothing."
    ADD = "The user is put into them."
    MIRROR = "The user is put into them, and taken out of those that a token brought them into and names no more."


@dataclass(frozen=True, slots=True)
class Workspace:
    """The tenant. Days, hours and periods are cut in its `zone`, an IANA time zone."""

    id: UUID
    slug: str
    name: str
    zone: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who a token's subject is: no user where nobody is linked to it (a service principal, or a stranger)."""

    workspace: Workspace
    user_id: UUID | None
    active: bool
    sessions_ended_at: datetime | None
    """What began before this moment is over."""
    managed_groups: frozenset[UUID]
    as_of: int
    """The version of the workspace's controls: whatever changes who this is makes a new one."""
    first_sign_in: FirstSignIn = FirstSignIn.REFUSE
    group_claims: GroupClaims = GroupClaims.OFF
    noted_at: datetime | None = None
    """When the sign-in began that the audit trail was told of last."""
    groups_hash: str | None = None


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group to be put in place."""

    id: UUID
    slug: str
    name: str


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be put in place, with the groups they are in; usage is charged to the home group, if there is one."""

    id: UUID
    display_name: str
    email: str | None
    external_id: str | None
    kind: UserKind
    home_group_id: UUID | None
    group_ids: tuple[UUID, ...]
    active: bool = True


@dataclass(frozen=True, slots=True)
class Identity:
    """A subject of an identity provider, and the user it is."""

    issuer: str
    subject: str
    user_id: UUID


def sort_name(name: str) -> str:
    """Return what a name is ordered and searched by: without case and accents (Unicode NFKD, combining marks off)."""
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()


async def workspace_by_slug(database: Database, slug: str) -> Workspace | None:
    """Return the workspace with this slug: the only thing that can be looked up without knowing the workspace."""
    conn = database.reader(RowScope(DatabaseRole.ADMINISTRATOR, None, workspace_slug=slug))
    rows = await conn.rows("workspace_by_slug", slug=slug)
    return Workspace(*rows[0]) if rows else None


async def sign_in(
    database: Database, *, workspace_slug: str, issuer: str, subject: str, managed_group_slugs: Collection[str]
) -> SignIn | None:
    """Return who the subject is in the workspace, or None where there is no such workspace."""
    workspace_id = database.remembered.get(workspace_slug)
    if workspace_id is None:
        workspace = await workspace_by_slug(database, workspace_slug)
        if workspace is None:
            return None
        # A workspace keeps its slug, and is never deleted.
        workspace_id = database.remembered[workspace_slug] = workspace.id
    conn = database.reader(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id))
    rows = await conn.rows(
        "user_of_identity",
        workspace_id=workspace_id,
        issuer=issuer,
        subject=subject,
        group_slugs=list(managed_group_slugs),
    )
    if not rows:
        database.remembered.pop(workspace_slug, None)  # another sign-in may have found the same
        return None
    *workspace_row, user_id, active, ended_at, version, first_sign_in, group_claims, noted_at, groups_hash, groups = (
        rows[0]
    )
    return SignIn(
        workspace=Workspace(*workspace_row),
        user_id=user_id,
        active=active is not False,
        sessions_ended_at=ended_at,
        managed_groups=frozenset(groups),
        as_of=version,
        first_sign_in=FirstSignIn[first_sign_in],
        group_claims=GroupClaims[group_claims],
        noted_at=noted_at,
        groups_hash=groups_hash,
    )


async def put_workspace(
    conn: Connection, *, workspace_id: UUID, slug: str, name: str, zone: str, now: datetime
) -> None:
    """Make a workspace, or rename it; raise InvalidInputError for a zone that is none, or is not the one it has."""
    if zone not in available_timezones():
        raise InvalidInputError(f"{zone} is not an IANA time zone.")
    rows = await conn.rows("put_workspace", workspace_id=workspace_id, slug=slug, name=name, zone=zone, now=now)
    if rows != [(True,)]:
        raise InvalidInputError("A workspace keeps its slug and its zone: what is recorded is cut into days by it.")
    await conn.rows("put_workspace_settings", workspace_id=workspace_id)
    await conn.rows("put_first_balance_kind", workspace_id=workspace_id)


async def put_groups(conn: Connection, *, workspace_id: UUID, groups: Sequence[NewGroup], now: datetime) -> None:
    """Make groups, or rename them."""
    await conn.rows(
        "put_groups",
        workspace_id=workspace_id,
        ids=[group.id for group in groups],
        slugs=[group.slug for group in groups],
        names=[group.name for group in groups],
        sort_names=[sort_name(group.name) for group in groups],
        now=now,
    )


async def put_users(conn: Connection, *, workspace_id: UUID, users: Sequence[NewUser], now: datetime) -> None:
    """Make users, or change what is known of them, groups included. E-mail addresses are kept in lower case."""
    # Which group is charged, and whose limits count, changes for all spends at once.
    await conn.rows("change_controls", workspace_id=workspace_id)
    await conn.rows(
        "put_users",
        workspace_id=workspace_id,
        ids=[user.id for user in users],
        external_ids=[user.external_id for user in users],
        emails=[user.email.lower() if user.email else None for user in users],
        names=[user.display_name for user in users],
        sort_names=[sort_name(user.display_name) for user in users],
        kinds=[user.kind.name for user in users],
        active=[user.active for user in users],
        home_groups=[user.home_group_id for user in users],
        now=now,
    )
    members = [(user.id, group_id) for user in users for group_id in user.group_ids]
    columns = {"member_users": [one[0] for one in members], "member_groups": [one[1] for one in members]}
    await conn.rows("drop_other_memberships", workspace_id=workspace_id, users=[user.id for user in users], **columns)
    await conn.rows("put_memberships", workspace_id=workspace_id, **columns)


async def put_identities(conn: Connection, *, workspace_id: UUID, identities: Sequence[Identity]) -> None:
    """Link subjects of identity providers to users of the workspace."""
    await conn.rows(
        "put_identities",
        workspace_id=workspace_id,
        issuers=[one.issuer for one in identities],
        subjects=[one.subject for one in identities],
        users=[one.user_id for one in identities],
    )
