"""Changing one user: who they are, whether they are active, which group is charged, and who signs in as them."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict
from uuid import UUID, uuid4

from creditdesk.credits.audit import AuditAction, AuditRecord, audit
from creditdesk.credits.controls import changing_controls
from creditdesk.credits.directory import Identity
from creditdesk.credits.directory_changes import (
    ChangedMeanwhileError,
    KnownUser,
    NamedUser,
    TakenError,
    UserChange,
    check_text,
    check_user,
    identity_record,
    load_users,
    write_identities,
    write_users,
)
from creditdesk.credits.errors import CreditError, ErrorCode, InvalidInputError
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.limit_targets import UnknownUserError
from creditdesk.credits.permitted import Authority
from creditdesk.credits.sessions import end_sessions_of
from creditdesk.db.connections import Connection


class UserChanges(TypedDict, total=False):
    """What is to be changed of a user; what is not there stays."""

    display_name: str
    email: str | None
    external_id: str | None


class UnknownIdentityError(CreditError):
    """Nobody in this workspace is linked to that subject of that identity provider."""

    code = ErrorCode.UNKNOWN_IDENTITY


@dataclass(frozen=True, slots=True)
class IdentityNamed:
    """A subject of an identity provider."""

    issuer: str
    subject: str


async def create_user(conn: Connection, authority: Authority, user: NamedUser, *, now: datetime) -> UUID:
    """Make a user; raise InvalidInputError or TakenError. The groups, of which the home group is one, are there."""
    check_user(user)
    await changing_controls(conn, authority.workspace_id)
    change = UserChange(uuid4(), None, replace(user, email=user.email.lower() if user.email else None))
    await _write(conn, authority, change, now)
    return change.id


async def update_user(
    conn: Connection,
    authority: Authority,
    user: UserBy,
    changes: UserChanges,
    *,
    expected_version: int | None,
    now: datetime,
) -> UUID:
    """Change who a user is; raise UnknownUserError, ChangedMeanwhileError, InvalidInputError or TakenError."""
    known = await _changing(conn, authority, user)
    if expected_version is not None and known.version != expected_version:
        raise ChangedMeanwhileError(known.version)
    after = replace(known.named, **changes)
    after = replace(after, email=after.email.lower() if after.email else None)
    check_user(after)
    await _write(conn, authority, UserChange(known.id, known, after), now)
    return known.id


async def deactivate_user(conn: Connection, authority: Authority, user: UserBy, *, now: datetime) -> UUID:
    """Take a user's access away at once, open sessions included; raise UnknownUserError or InvalidInputError.

    What they used stays, and so do their limits, requests and groups.
    """
    known = await _changing(conn, authority, user)
    if known.id == authority.actor.user_id:
        raise InvalidInputError("Nobody deactivates themselves.")
    await _write(conn, authority, UserChange(known.id, known, replace(known.named, active=False)), now)
    await end_sessions_of(conn, workspace_id=authority.workspace_id, user_id=known.id)
    return known.id


async def reactivate_user(conn: Connection, authority: Authority, user: UserBy, *, now: datetime) -> UUID:
    """Give a user's access back, to whatever they sign in with from now on; raise UnknownUserError."""
    known = await _changing(conn, authority, user)
    await _write(conn, authority, UserChange(known.id, known, replace(known.named, active=True)), now)
    return known.id


async def set_home_group(
    conn: Connection, authority: Authority, user: UserBy, slug: str | None, *, now: datetime
) -> UUID:
    """Charge what a user uses from now on to a group that they are in, or to none.

    Raise UnknownUserError or InvalidInputError.
    """
    known = await _changing(conn, authority, user)
    if slug is not None and slug not in known.named.groups:
        raise InvalidInputError("The home group is one of the groups that the user is in.")
    await _write(conn, authority, UserChange(known.id, known, replace(known.named, home_group=slug)), now)
    return known.id


async def end_sessions(conn: Connection, authority: Authority, user: UserBy, *, now: datetime) -> UUID:
    """Refuse whatever was issued to a user before now, at its next request; raise UnknownUserError."""
    known = await _changing(conn, authority, user)
    await conn.rows("end_sessions", workspace_id=authority.workspace_id, user_id=known.id, now=now)
    # Refused they are by that already; so nothing of them stays, their sealed tokens among it.
    await end_sessions_of(conn, workspace_id=authority.workspace_id, user_id=known.id)
    state: dict[str, str | None] = {"sessionsEndedAt": now.isoformat()}
    record = AuditRecord(AuditAction.SESSIONS_ENDED, "User", known.id, None, state, user_id=known.id)
    await audit(conn, workspace_id=authority.workspace_id, actor=authority.actor, records=[record], now=now)
    return known.id


async def link_identity(
    conn: Connection, authority: Authority, user: UserBy, identity: IdentityNamed, *, now: datetime
) -> UUID:
    """Let a subject sign in as a user; raise UnknownUserError, InvalidInputError, or TakenError where it is another."""
    check_text("issuer", identity.issuer)
    check_text("subject", identity.subject)
    known = await _changing(conn, authority, user)
    rows = await conn.rows(
        "known_identities",
        workspace_id=authority.workspace_id,
        issuers=[identity.issuer],
        subjects=[identity.subject],
    )
    if any(user_id != known.id for *_, user_id in rows):
        raise TakenError("subject")
    if not rows:
        await write_identities(conn, authority, [Identity(identity.issuer, identity.subject, known.id)], now=now)
    return known.id


async def unlink_identity(conn: Connection, authority: Authority, identity: IdentityNamed, *, now: datetime) -> UUID:
    """Let a subject sign in as nobody; raise UnknownIdentityError. Return the user it was."""
    await changing_controls(conn, authority.workspace_id)
    rows = await conn.rows(
        "remove_identity", workspace_id=authority.workspace_id, issuer=identity.issuer, subject=identity.subject
    )
    if not rows:
        raise UnknownIdentityError
    unlinked = Identity(identity.issuer, identity.subject, rows[0][0])
    record = identity_record(AuditAction.IDENTITY_UNLINKED, unlinked)
    await audit(conn, workspace_id=authority.workspace_id, actor=authority.actor, records=[record], now=now)
    return unlinked.user_id


async def _changing(conn: Connection, authority: Authority, user: UserBy) -> KnownUser:
    """Return the user, whom nobody else changes until the transaction ends."""
    await changing_controls(conn, authority.workspace_id)
    found = await load_users(conn, authority.workspace_id, [user])
    if not found:
        raise UnknownUserError
    return found[0]


async def _write(conn: Connection, authority: Authority, change: UserChange, now: datetime) -> None:
    """Write a user who is changed, unless another goes by the same address or external id."""
    after = change.after
    if change.before is not None and change.before.named == after:
        return
    others = await load_users(
        conn, authority.workspace_id, [UserBy(email=after.email), UserBy(external_id=after.external_id)]
    )
    for other in others:
        if other.id != change.id:
            same_address = after.email is not None and other.named.email == after.email
            raise TakenError("email" if same_address else "externalId")
    await write_users(conn, authority, [change], now=now)
