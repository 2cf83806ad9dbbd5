"""Putting a whole directory in place: groups and people as the company names them, in one transaction."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from creditdesk.credits.controls import changing_controls
from creditdesk.credits.directory import FirstSignIn, GroupClaims, put_workspace, workspace_by_slug
from creditdesk.credits.directory_changes import (
    NamedGroup,
    load_groups,
    load_users,
    write_groups,
    write_identities,
    write_users,
)
from creditdesk.credits.directory_plan import DirectoryUser, ItemError, Known, Plan, missing, planned
from creditdesk.credits.errors import CreditError, ErrorCode, InvalidInputError
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.permitted import Actor, Authority
from creditdesk.credits.workspace_settings import SettingsChanges, change_settings, load_settings
from creditdesk.db.connections import Connection, Database

MAX_ITEMS = 5000


class DirectorySizeError(CreditError):
    """A directory has at most 5000 users and as many groups at once."""

    code = ErrorCode.DIRECTORY_SIZE


@dataclass(frozen=True, slots=True)
class Directory:
    """Groups and users; what it does not name stays, but for the people whom `deactivate_missing` is about.

    Those are every active person that it does not name, but for whoever hands it in. Service accounts stay. Where an
    item has an error, nobody is deactivated: who is missing would not be known. A dry run changes nothing.
    """

    groups: tuple[NamedGroup, ...] = ()
    users: tuple[DirectoryUser, ...] = ()
    deactivate_missing: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class NamedWorkspace:
    """A workspace, known by its slug; None leaves a setting as it is."""

    slug: str
    name: str
    zone: str
    first_sign_in: FirstSignIn | None = None
    group_claims: GroupClaims | None = None


@dataclass(frozen=True, slots=True)
class Synced:
    """What was changed, or would be by a dry run, and which items were left out."""

    groups_created: int
    groups_changed: int
    users_created: int
    users_changed: int
    users_unchanged: int
    users_deactivated: int
    identities_linked: int
    errors: tuple[ItemError, ...]


class _DryRunError(Exception):
    """Takes back what a dry run did: it does all that is to be done, so it cannot say anything else."""


async def sync_directory(database: Database, authority: Authority, directory: Directory, *, now: datetime) -> Synced:
    """Make what is missing and change what is there, in one transaction; raise DirectorySizeError.

    An item that cannot be keeps no others out. The same directory again changes nothing.
    """
    async with _transaction(database, authority, directory) as conn:
        return await _sync(conn, authority, directory, now)


async def put_directory(
    database: Database, workspace: NamedWorkspace, directory: Directory, *, actor: Actor, now: datetime
) -> Synced:
    """Put a workspace and its directory in place, all of it or nothing.

    Raise InvalidInputError for the first item that cannot be, and for a zone that is none or not the workspace's.
    """
    found = await workspace_by_slug(database, workspace.slug)
    id_ = found.id if found else uuid4()
    authority = Authority(id_, actor, everywhere=True, managed_groups=frozenset())
    async with _transaction(database, authority, directory) as conn:
        await put_workspace(
            conn, workspace_id=id_, slug=workspace.slug, name=workspace.name, zone=workspace.zone, now=now
        )
        await _change_settings(conn, authority, workspace, now)
        synced = await _sync(conn, authority, directory, now)
        if synced.errors:
            first = synced.errors[0]
            raise InvalidInputError(f"{'.'.join(first.path)}: {first.message}")
    return synced


async def _change_settings(conn: Connection, authority: Authority, workspace: NamedWorkspace, now: datetime) -> None:
    changes: SettingsChanges = {}
    if workspace.first_sign_in is not None:
        changes["first_sign_in"] = workspace.first_sign_in
    if workspace.group_claims is not None:
        changes["group_claims"] = workspace.group_claims
    if changes:
        current = await load_settings(conn, authority.workspace_id)
        await change_settings(conn, authority, changes, expected_version=current.version, now=now)


@asynccontextmanager
async def _transaction(database: Database, authority: Authority, directory: Directory) -> AsyncIterator[Connection]:
    with suppress(_DryRunError):
        async with database.transaction(authority.row_scope) as conn:
            yield conn
            if directory.dry_run:
                raise _DryRunError


async def _sync(conn: Connection, authority: Authority, directory: Directory, now: datetime) -> Synced:
    if max(len(directory.groups), len(directory.users)) > MAX_ITEMS:
        raise DirectorySizeError
    await changing_controls(conn, authority.workspace_id)
    plan = planned(directory.groups, directory.users, await _known(conn, authority.workspace_id, directory))
    if directory.deactivate_missing and not plan.errors:
        await _plan_missing(conn, authority, plan)
    await write_groups(conn, authority, plan.groups, now=now)
    await write_users(conn, authority, [*plan.users, *plan.missing], now=now)
    await write_identities(conn, authority, plan.identities, now=now)
    return _synced(plan)


async def _plan_missing(conn: Connection, authority: Authority, plan: Plan) -> None:
    named = {change.id for change in plan.users} | plan.unchanged
    everybody = await load_users(conn, authority.workspace_id, None)
    plan.missing = list(missing(everybody, named, keeping=authority.actor.user_id))


async def _known(conn: Connection, workspace_id: UUID, directory: Directory) -> Known:
    users = [user.named for user in directory.users]
    slugs = {slug for user in users for slug in (*user.groups, user.home_group) if slug}
    names = [UserBy(email=user.email) for user in users if user.email]
    names += [UserBy(external_id=user.external_id) for user in users if user.external_id]
    found = await load_users(conn, workspace_id, names)
    return Known(
        groups=await load_groups(conn, workspace_id, slugs | {group.slug for group in directory.groups}),
        by_external_id={one.named.external_id: one for one in found if one.named.external_id},
        by_email={one.named.email: one for one in found if one.named.email},
        identities=await _known_identities(conn, workspace_id, [one for user in users for one in user.identities]),
    )


async def _known_identities(
    conn: Connection, workspace_id: UUID, identities: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], UUID]:
    rows = await conn.rows(
        "known_identities",
        workspace_id=workspace_id,
        issuers=[issuer for issuer, _ in identities],
        subjects=[subject for _, subject in identities],
    )
    return {(issuer, subject): user_id for issuer, subject, user_id in rows}


def _synced(plan: Plan) -> Synced:
    created = sum(change.before is None for change in plan.users)
    groups_created = sum(change.before is None for change in plan.groups)
    return Synced(
        groups_created=groups_created,
        groups_changed=len(plan.groups) - groups_created,
        users_created=created,
        users_changed=len(plan.users) - created,
        users_unchanged=len(plan.unchanged),
        users_deactivated=len(plan.missing),
        identities_linked=len(plan.identities),
        errors=tuple(plan.errors),
    )
