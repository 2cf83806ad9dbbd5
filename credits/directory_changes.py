"""People and groups as they are and as they are to be: written and audited alike, whoever asks for it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from creditdesk.credits.audit import AuditAction, AuditRecord, audit
from creditdesk.credits.directory import Identity, NewGroup, NewUser, UserKind, put_groups, put_identities, put_users
from creditdesk.credits.errors import CreditError, ErrorCode, InvalidInputError
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.permitted import Authority
from creditdesk.db.connections import Connection

LONGEST_TEXT, LONGEST_SLUG = 255, 63
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # NUL among them: PostgreSQL's text cannot hold that one
_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


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
class KnownGroup:
    """A group as it is; `version` counts its changes, from 1."""

    id: UUID
    slug: str
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class KnownUser:
    """A user as they are, without their identities; `version` counts their changes, from 1."""

    id: UUID
    version: int
    named: NamedUser


@dataclass(frozen=True, slots=True)
class UserChange:
    """A user to be made, or to be changed from what was before."""

    id: UUID
    before: KnownUser | None
    after: NamedUser


@dataclass(frozen=True, slots=True)
class GroupChange:
    """A group to be made, or to be renamed."""

    id: UUID
    before: KnownGroup | None
    after: NamedGroup


class TakenError(CreditError):
    """Another user or group here goes by that name already; `field` is the part of the input that names it."""

    code = ErrorCode.TAKEN

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__()


class ChangedMeanwhileError(CreditError):
    """Somebody else changed this meanwhile: read it again, and decide again."""

    code = ErrorCode.VERSION_CONFLICT

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__()


def check_text(name: str, text: str | None) -> None:
    """Raise InvalidInputError for what no name or address can be; None is none."""
    if text is not None and (not 1 <= len(text) <= LONGEST_TEXT or not text.strip() or _CONTROL.search(text)):
        raise InvalidInputError(f"`{name}` is 1 to {LONGEST_TEXT} characters, without control characters.")


def check_user(user: NamedUser) -> None:
    """Raise InvalidInputError for what no user can be."""
    check_text("displayName", user.display_name)
    check_text("email", user.email)
    check_text("externalId", user.external_id)
    if not user.email and not user.external_id:
        raise InvalidInputError(f"{user.display_name} has neither an e-mail address nor an external id.")
    for issuer, subject in user.identities:
        check_text("issuer", issuer)
        check_text("subject", subject)


def check_group(group: NamedGroup) -> None:
    """Raise InvalidInputError for what no group can be."""
    if len(group.slug) > LONGEST_SLUG or not _SLUG.fullmatch(group.slug):
        raise InvalidInputError(
            f"`slug` is 1 to {LONGEST_SLUG} lower-case letters, digits and dashes, with no dash at either end."
        )
    check_text("name", group.name)


async def load_users(conn: Connection, workspace_id: UUID, users: Sequence[UserBy] | None) -> list[KnownUser]:
    """Read the users that are named, each once, or for None everybody; those who are not there are left out."""
    named = users or ()
    rows = await conn.rows(
        "known_users",
        workspace_id=workspace_id,
        everybody=users is None,
        ids=[user.id for user in named if user.id is not None],
        emails=[user.email.lower() for user in named if user.email is not None],
        external_ids=[user.external_id for user in named if user.external_id is not None],
    )
    return [
        KnownUser(id_, version, NamedUser(name, email, external_id, UserKind[kind], active, home, tuple(groups)))
        for id_, version, name, email, external_id, kind, active, home, groups in rows
    ]


async def load_groups(conn: Connection, workspace_id: UUID, slugs: Iterable[str]) -> dict[str, KnownGroup]:
    """Read the groups that have these slugs."""
    rows = await conn.rows("known_groups", workspace_id=workspace_id, slugs=sorted(set(slugs)))
    return {slug: KnownGroup(id_, slug, name, version) for id_, slug, name, version in rows}


async def write_users(conn: Connection, authority: Authority, changes: Sequence[UserChange], *, now: datetime) -> None:
    """Make and change users, and audit it; the groups that they are in are there. Under `changing_controls`."""
    if not changes:
        return
    slugs = {slug for change in changes for slug in (*change.after.groups, change.after.home_group) if slug}
    groups = await load_groups(conn, authority.workspace_id, slugs)
    new = [_new_user(change, groups) for change in changes]
    await put_users(conn, workspace_id=authority.workspace_id, users=new, now=now)
    records = [
        AuditRecord(
            _action(change),
            "User",
            change.id,
            user_state(change.before.named) if change.before else None,
            user_state(change.after),
            user_id=change.id,
        )
        for change in changes
    ]
    await audit(conn, workspace_id=authority.workspace_id, actor=authority.actor, records=records, now=now)


async def write_groups(
    conn: Connection, authority: Authority, changes: Sequence[GroupChange], *, now: datetime
) -> None:
    """Make and rename groups, and audit it. Under `changing_controls`."""
    if not changes:
        return
    new = [NewGroup(change.id, change.after.slug, change.after.name) for change in changes]
    await put_groups(conn, workspace_id=authority.workspace_id, groups=new, now=now)
    if any(change.before is None for change in changes):
        await conn.rows("look_at_claimed_groups_again", workspace_id=authority.workspace_id)
    records = [
        AuditRecord(
            AuditAction.GROUP_CHANGED if change.before else AuditAction.GROUP_CREATED,
            "Group",
            change.id,
            {"slug": change.before.slug, "name": change.before.name} if change.before else None,
            {"slug": change.after.slug, "name": change.after.name},
            group_id=change.id,
        )
        for change in changes
    ]
    await audit(conn, workspace_id=authority.workspace_id, actor=authority.actor, records=records, now=now)


async def write_identities(
    conn: Connection, authority: Authority, identities: Sequence[Identity], *, now: datetime
) -> None:
    """Link subjects that are linked to nobody, and audit it. Under `changing_controls`."""
    if not identities:
        return
    await put_identities(conn, workspace_id=authority.workspace_id, identities=identities)
    records = [identity_record(AuditAction.IDENTITY_LINKED, one) for one in identities]
    await audit(conn, workspace_id=authority.workspace_id, actor=authority.actor, records=records, now=now)


def identity_record(action: AuditAction, identity: Identity) -> AuditRecord:
    """Return the entry that says that a subject was linked to a user, or is no longer."""
    state = {"issuer": identity.issuer, "subject": identity.subject}
    linked = action is AuditAction.IDENTITY_LINKED
    return AuditRecord(
        action,
        "User",
        identity.user_id,
        None if linked else state,
        state if linked else None,
        user_id=identity.user_id,
    )


def user_state(user: NamedUser) -> dict[str, str | None]:
    """Return a user as the audit trail shows them, by the API's names of their fields."""
    return {
        "displayName": user.display_name,
        "email": user.email,
        "externalId": user.external_id,
        "kind": user.kind.name,
        "active": str(user.active).lower(),
        "homeGroup": user.home_group,
        "groups": " ".join(sorted(user.groups)),
    }


def _action(change: UserChange) -> AuditAction:
    if change.before is None:
        return AuditAction.USER_CREATED
    if change.before.named.active != change.after.active:
        return AuditAction.USER_REACTIVATED if change.after.active else AuditAction.USER_DEACTIVATED
    return AuditAction.USER_CHANGED


def _new_user(change: UserChange, groups: Mapping[str, KnownGroup]) -> NewUser:
    after = change.after
    return NewUser(
        id=change.id,
        display_name=after.display_name,
        email=after.email,
        external_id=after.external_id,
        kind=after.kind,
        home_group_id=groups[after.home_group].id if after.home_group else None,
        group_ids=tuple(groups[slug].id for slug in after.groups),
        active=after.active,
    )
