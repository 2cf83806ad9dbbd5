"""People who come with a valid token: linking or making their users, and following the groups that the token names."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from uuid import UUID, uuid4

from creditdesk.credits.audit import AuditAction, AuditRecord, note
from creditdesk.credits.controls import changing_controls
from creditdesk.credits.directory import FirstSignIn, GroupClaims, Identity, UserKind
from creditdesk.credits.directory_changes import (
    KnownUser,
    NamedUser,
    UserChange,
    load_groups,
    load_users,
    write_identities,
    write_users,
)
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.group_changes import left
from creditdesk.credits.permitted import Actor, Authority
from creditdesk.db.connections import Connection, Database
from creditdesk.db.scopes import DatabaseRole, RowScope


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A person as their token says; the address is there only if the identity provider has verified it."""

    issuer: str
    subject: str
    verified_email: str | None
    display_name: str | None


async def join(
    database: Database, workspace_id: UUID, newcomer: Newcomer, policy: FirstSignIn, *, now: datetime
) -> bool:
    """Link a person whom the workspace does not know to a user, or make them one; tell whether they are known now.

    Nobody is linked by an address that was not verified, to a program, to somebody who is deactivated, or to somebody
    who signs in with that identity provider already.
    """
    scope = RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)
    # Looked at without the lock first: whoever is refused, and comes again and again, keeps nobody from spending. Where
    # a request of theirs was faster, the user who signs in already by this address is they themselves.
    reader = database.reader(scope)
    if not await _may_join(reader, workspace_id, newcomer, policy):
        return await _linked(reader, workspace_id, newcomer)
    async with database.transaction(scope) as conn:
        await changing_controls(conn, workspace_id)
        if await _linked(conn, workspace_id, newcomer):
            return True  # by a request of theirs that was faster
        if not await _may_join(conn, workspace_id, newcomer, policy):
            return False
        user = await _user_with_address(conn, workspace_id, newcomer)
        id_ = user.id if user else uuid4()
        actor = Actor("PERSON", newcomer.subject, id_)
        authority = Authority(workspace_id, actor, everywhere=False, managed_groups=frozenset())
        if user is None:
            await write_users(conn, authority, [UserChange(id_, None, _made(newcomer))], now=now)
        await write_identities(conn, authority, [Identity(newcomer.issuer, newcomer.subject, id_)], now=now)
    return True


async def _may_join(conn: Connection, workspace_id: UUID, newcomer: Newcomer, policy: FirstSignIn) -> bool:
    if policy not in (FirstSignIn.LINK, FirstSignIn.LINK_OR_CREATE):
        return False
    user = await _user_with_address(conn, workspace_id, newcomer)
    if user is None:
        return policy is FirstSignIn.LINK_OR_CREATE and await _is_free(conn, workspace_id, newcomer)
    [(signs_in_already,)] = await conn.rows(
        "signs_in_with_issuer", workspace_id=workspace_id, user_id=user.id, issuer=newcomer.issuer
    )
    return user.named.active and user.named.kind is UserKind.PERSON and not signs_in_already


async def _user_with_address(conn: Connection, workspace_id: UUID, newcomer: Newcomer) -> KnownUser | None:
    if newcomer.verified_email is None:
        return None
    found = await load_users(conn, workspace_id, [UserBy(email=newcomer.verified_email)])
    return found[0] if found else None


async def _is_free(conn: Connection, workspace_id: UUID, newcomer: Newcomer) -> bool:
    """Tell whether a user could be made: one without an address goes by the subject, as long as nobody else does."""
    if newcomer.verified_email is not None:
        return True
    return not await load_users(conn, workspace_id, [UserBy(external_id=newcomer.subject)])


async def _linked(conn: Connection, workspace_id: UUID, newcomer: Newcomer) -> bool:
    return bool(
        await conn.rows(
            "known_identities", workspace_id=workspace_id, issuers=[newcomer.issuer], subjects=[newcomer.subject]
        )
    )


def _made(newcomer: Newcomer) -> NamedUser:
    email = newcomer.verified_email.lower() if newcomer.verified_email else None
    return NamedUser(
        display_name=newcomer.display_name or email or newcomer.subject,
        email=email,
        external_id=None if email else newcomer.subject,
    )


@lru_cache(maxsize=10_000)
def groups_hash(policy: GroupClaims, slugs: frozenset[str]) -> str:
    """Return what stands for the groups that a token names, and what that means."""
    return hashlib.sha256("\n".join([policy.name, *sorted(slugs)]).encode()).hexdigest()


async def follow_groups(
    database: Database,
    workspace_id: UUID,
    user_id: UUID,
    *,
    identity: tuple[str, str],
    policy: GroupClaims,
    slugs: frozenset[str],
    now: datetime,
) -> None:
    """Put a user into the groups that their token names, and, where it mirrors them, out of those it names no more.

    Groups that the user is in by somebody's hand stay. Whoever leaves the home group is charged to none.
    """
    issuer, subject = identity
    key = {"workspace_id": workspace_id, "issuer": issuer, "subject": subject}
    authority = Authority(workspace_id, Actor("PERSON", subject, user_id), everywhere=False, managed_groups=frozenset())
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)) as conn:
        await changing_controls(conn, workspace_id)
        [user] = await load_users(conn, workspace_id, [UserBy(id=user_id)])
        rows = await conn.rows("claimed_groups", **key)
        claimed = frozenset(rows[0][0]) if rows else frozenset[str]()
        known = frozenset(await load_groups(conn, workspace_id, slugs))
        after, claimed_now = _followed(user.named, claimed, known, policy)
        if after != user.named:
            await write_users(conn, authority, [UserChange(user.id, user, after)], now=now)
        hash_ = groups_hash(policy, slugs)
        await conn.rows("keep_claimed_groups", groups_hash=hash_, claimed_groups=sorted(claimed_now), **key)


def _followed(
    user: NamedUser, claimed: Collection[str], named: frozenset[str], policy: GroupClaims
) -> tuple[NamedUser, set[str]]:
    """Return the user as they are then, and the groups that they are in by their token."""
    gone = set(claimed) - named if policy is GroupClaims.MIRROR else set[str]()
    stayed = left(user, gone)
    new = named - set(stayed.groups)
    after = replace(stayed, groups=tuple(sorted({*stayed.groups, *new}))) if new else stayed
    return after, {*new, *(slug for slug in claimed if slug in after.groups)}


async def note_sign_in(
    database: Database,
    workspace_id: UUID,
    actor: Actor,
    *,
    issuer: str,
    roles: Collection[str],
    began_at: datetime,
    now: datetime,
) -> None:
    """Say in the audit trail that somebody signed in, unless it says so of the hour before."""
    key = {"workspace_id": workspace_id, "issuer": issuer, "subject": actor.subject}
    state = {"issuer": issuer, "roles": " ".join(sorted(roles)), "beganAt": began_at.isoformat()}
    about = ("User", actor.user_id) if actor.user_id else ("Workspace", workspace_id)
    record = AuditRecord(AuditAction.SIGNED_IN, *about, None, state, user_id=actor.user_id)
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)) as conn:
        if await conn.rows("note_sign_in", began_at=began_at, **key):
            await note(conn, workspace_id=workspace_id, actor=actor, records=[record], now=now)


async def note_denial(
    database: Database, workspace_id: UUID, actor: Actor, state: dict[str, str | None], *, now: datetime
) -> None:
    """Say in the audit trail that somebody was refused."""
    record = AuditRecord(AuditAction.ACCESS_DENIED, "Workspace", workspace_id, None, state, user_id=actor.user_id)
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)) as conn:
        await note(conn, workspace_id=workspace_id, actor=actor, records=[record], now=now)
