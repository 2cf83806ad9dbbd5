"""Browsers that are signed in: what is kept of them, one at a time, and the races for it that the database decides."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from creditdesk.db.connections import Connection, Database
from creditdesk.db.scopes import DatabaseRole, RowScope


@dataclass(frozen=True, slots=True)
class SessionKey:
    """Which session: its id, and the workspace that it belongs to. No secret."""

    workspace_id: UUID
    id: UUID

    @property
    def row_scope(self) -> RowScope:
        """The rows that have to do with it."""
        return RowScope(DatabaseRole.ADMINISTRATOR, self.workspace_id)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that begins: whose it is, until when at the latest, and its tokens, encrypted."""

    key: SessionKey
    user_id: UUID | None
    issuer: str
    subject: str
    issuer_session: str | None
    secret_hash: bytes
    expires_at: datetime
    tokens: str = field(repr=False)
    tokens_expire_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is stored. Whether it still holds is for whoever asks to say: see `auth/sessions.py`."""

    key: SessionKey
    issuer: str
    subject: str
    secret_hash: bytes
    next_secret_hash: bytes | None
    next_given_at: datetime | None
    previous_secret_hash: bytes | None
    previous_until: datetime | None
    created_at: datetime
    renewed_at: datetime
    seen_at: datetime
    expires_at: datetime
    tokens: str = field(repr=False)
    tokens_version: int
    tokens_expire_at: datetime


async def start_session(conn: Connection, new: NewSession, *, now: datetime) -> None:
    """Keep a browser signed in."""
    await conn.rows(
        "start_session",
        workspace_id=new.key.workspace_id,
        session_id=new.key.id,
        user_id=new.user_id,
        issuer=new.issuer,
        subject=new.subject,
        issuer_session=new.issuer_session,
        secret_hash=new.secret_hash,
        expires_at=new.expires_at,
        tokens=new.tokens,
        tokens_expire_at=new.tokens_expire_at,
        now=now,
    )


async def find_session(database: Database, key: SessionKey) -> Session | None:
    """Return a session as it is stored, or None where it has ended."""
    conn = database.reader(key.row_scope)
    rows = await conn.rows("session_by_id", workspace_id=key.workspace_id, session_id=key.id)
    return Session(key, *rows[0]) if rows else None


async def note_seen(conn: Connection, key: SessionKey, *, now: datetime) -> None:
    """Put off the end of a session that nobody uses."""
    await conn.rows("note_session_seen", workspace_id=key.workspace_id, session_id=key.id, now=now)


async def give_secret(
    conn: Connection, key: SessionKey, *, secret_hash: bytes, following: bytes, given_before: datetime, now: datetime
) -> bool:
    """Let the secret with the hash `following` come next; tell whether it does, or another request's was faster."""
    rows = await conn.rows(
        "give_session_secret",
        workspace_id=key.workspace_id,
        session_id=key.id,
        secret_hash=secret_hash,
        next_secret_hash=following,
        given_before=given_before,
        now=now,
    )
    return bool(rows)


async def take_secret(
    conn: Connection, key: SessionKey, *, following: bytes, previous_until: datetime, now: datetime
) -> None:
    """Take the secret that comes next into use, now that the browser has shown it."""
    await conn.rows(
        "take_session_secret",
        workspace_id=key.workspace_id,
        session_id=key.id,
        next_secret_hash=following,
        previous_until=previous_until,
        now=now,
    )


async def claim_refresh(
    conn: Connection, key: SessionKey, *, refresh_id: UUID, tokens_version: int, until: datetime, now: datetime
) -> bool:
    """Tell whether this attempt is the one that may refresh these tokens, until that moment."""
    rows = await conn.rows(
        "claim_session_refresh",
        workspace_id=key.workspace_id,
        session_id=key.id,
        refresh_id=refresh_id,
        tokens_version=tokens_version,
        refresh_until=until,
        now=now,
    )
    return bool(rows)


async def put_tokens(
    conn: Connection, key: SessionKey, *, refresh_id: UUID, tokens: str, tokens_expire_at: datetime
) -> bool:
    """Store what an attempt to refresh brought; tell whether the session is still there for it."""
    rows = await conn.rows(
        "put_session_tokens",
        workspace_id=key.workspace_id,
        session_id=key.id,
        refresh_id=refresh_id,
        tokens=tokens,
        tokens_expire_at=tokens_expire_at,
    )
    return bool(rows)


async def give_up_refresh(conn: Connection, key: SessionKey, *, refresh_id: UUID) -> None:
    """End an attempt to refresh that brought nothing: the next may try."""
    await conn.rows("give_up_session_refresh", workspace_id=key.workspace_id, session_id=key.id, refresh_id=refresh_id)


async def end_session(conn: Connection, key: SessionKey) -> None:
    """End one session."""
    await conn.rows("end_session", workspace_id=key.workspace_id, session_id=key.id)


async def end_sessions_of(conn: Connection, *, workspace_id: UUID, user_id: UUID) -> None:
    """End all sessions of a user, in whichever browser."""
    await conn.rows("end_sessions_of_user", workspace_id=workspace_id, user_id=user_id)


async def remove_expired_sessions(database: Database, *, now: datetime, seen_since: datetime) -> int:
    """Remove what has expired by now, or was not seen since then, in all workspaces; return how many there were."""
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, None)) as conn:
        [(removed,)] = await conn.rows("remove_expired_sessions", now=now, seen_since=seen_since)
    return int(removed)
