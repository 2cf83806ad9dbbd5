"""Changing groups: making and renaming them, and who is in them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

from creditdesk.credits.controls import changing_controls
from creditdesk.credits.directory_changes import (
    ChangedMeanwhileError,
    GroupChange,
    KnownGroup,
    KnownUser,
    NamedGroup,
    NamedUser,
    TakenError,
    UserChange,
    check_group,
    check_text,
    load_groups,
    load_users,
    write_groups,
    write_users,
)
from creditdesk.credits.errors import BatchSizeError
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.limit_targets import GroupNamed, UnknownGroupError, UnknownUserError
from creditdesk.credits.permitted import Authority
from creditdesk.db.connections import Connection

MAX_MEMBERS = 1000


async def create_group(conn: Connection, authority: Authority, group: NamedGroup, *, now: datetime) -> UUID:
    """Make a group; raise InvalidInputError, or TakenError where there is one of this slug."""
    check_group(group)
    await changing_controls(conn, authority.workspace_id)
    if await load_groups(conn, authority.workspace_id, [group.slug]):
        raise TakenError("slug")
    change = GroupChange(uuid4(), None, group)
    await write_groups(conn, authority, [change], now=now)
    return change.id


async def update_group(
    conn: Connection,
    authority: Authority,
    group: GroupNamed,
    name: str,
    *,
    expected_version: int | None,
    now: datetime,
) -> UUID:
    """Rename a group, which keeps its slug; raise UnknownGroupError, ChangedMeanwhileError or InvalidInputError."""
    check_text("name", name)
    known = await _changing(conn, authority, group)
    if expected_version is not None and known.version != expected_version:
        raise ChangedMeanwhileError(known.version)
    if known.name != name:
        await write_groups(conn, authority, [GroupChange(known.id, known, NamedGroup(known.slug, name))], now=now)
    return known.id


async def add_members(
    conn: Connection, authority: Authority, group: GroupNamed, users: Sequence[UserBy], *, now: datetime
) -> UUID:
    """Put users into a group, all of them or none; raise BatchSizeError, UnknownGroupError or UnknownUserError."""
    known = await _changing(conn, authority, group)
    members = await _all_of(conn, authority, users)
    changes = [_changed(user, _joined(user.named, known.slug)) for user in members]
    await write_users(conn, authority, [change for change in changes if change], now=now)
    return known.id


async def remove_members(
    conn: Connection, authority: Authority, group: GroupNamed, users: Sequence[UserBy], *, now: datetime
) -> UUID:
    """Take users out of a group, all of them or none; whoever has it as their home group has none then.

    Raise BatchSizeError, UnknownGroupError or UnknownUserError.
    """
    known = await _changing(conn, authority, group)
    members = await _all_of(conn, authority, users)
    changes = [_changed(user, left(user.named, {known.slug})) for user in members]
    await write_users(conn, authority, [change for change in changes if change], now=now)
    return known.id


async def group_named(conn: Connection, authority: Authority, group: GroupNamed) -> KnownGroup:
    """Return the group that is named by its id or slug; raise UnknownGroupError."""
    rows = await conn.rows("known_group", workspace_id=authority.workspace_id, id=group.id, slug=group.slug)
    if not rows:
        raise UnknownGroupError
    return KnownGroup(*rows[0])


def left(user: NamedUser, slugs: set[str]) -> NamedUser:
    """Return a user as they are outside of some groups."""
    kept = tuple(slug for slug in user.groups if slug not in slugs)
    return replace(user, groups=kept, home_group=None if user.home_group in slugs else user.home_group)


def _joined(user: NamedUser, slug: str) -> NamedUser:
    return replace(user, groups=tuple(sorted({*user.groups, slug})))


def _changed(user: KnownUser, after: NamedUser) -> UserChange | None:
    return None if user.named == after else UserChange(user.id, user, after)


async def _changing(conn: Connection, authority: Authority, group: GroupNamed) -> KnownGroup:
    """Return the group, which nobody else changes until the transaction ends."""
    await changing_controls(conn, authority.workspace_id)
    return await group_named(conn, authority, group)


async def _all_of(conn: Connection, authority: Authority, users: Sequence[UserBy]) -> list[KnownUser]:
    """Return the users that are named, each once; raise UnknownUserError for the first who is not there."""
    if not 1 <= len(users) <= MAX_MEMBERS:
        raise BatchSizeError
    found = await load_users(conn, authority.workspace_id, users)
    ids = {user.id for user in found}
    emails = {user.named.email for user in found}
    external_ids = {user.named.external_id for user in found}
    for index, user in enumerate(users):
        known = user.id in ids if user.id is not None else user.email is not None and user.email.lower() in emails
        if not known and (user.external_id is None or user.external_id not in external_ids):
            raise UnknownUserError(index)
    return found
