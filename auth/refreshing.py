"""Refreshing a session's tokens: one attempt at a time over all processes, and never inside a transaction.

A refresh token that was used twice ends everything that came of it (RFC 9700, section 4.14). So an attempt is claimed
by a column of the session's row, for longer than the provider may take to answer; whoever comes meanwhile waits until
the row says how it went. One that brought nothing is taken over, and so is one that died, when its time is up: whether
the provider has seen the token is not known then, and what it answers decides.
"""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from creditdesk.auth.errors import IssuerUnavailable, RefreshRefused, Unauthenticated
from creditdesk.auth.identity_provider import SECONDS, IdentityProvider, Tokens
from creditdesk.auth.sealing import Sealer
from creditdesk.credits import sessions
from creditdesk.credits.sessions import Session, SessionKey
from creditdesk.db.connections import Database

CLAIM = timedelta(seconds=3 * SECONDS)
"""The provider is asked for its metadata, and for the tokens."""
PAUSE_SECONDS = 0.1


class Refresher:
    """Brings sessions new tokens."""

    def __init__(
        self, *, database: Database, provider: IdentityProvider, sealer: Sealer, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._provider = provider
        self._sealer = sealer
        self._now = now
        self._running: dict[SessionKey, asyncio.Task[Session]] = {}

    async def refreshed(self, session: Session) -> Session:
        """Return the session with newer tokens; raise `Unauthenticated` where it has ended, or `IssuerUnavailable`."""
        task = self._running.get(session.key)
        if task is None:
            task = self._running[session.key] = asyncio.create_task(self._refreshed(session))
            task.add_done_callback(lambda _: self._running.pop(session.key, None))
        return await asyncio.shield(task)  # a caller who hangs up must not end what others wait for

    def tokens_of(self, session: Session) -> Tokens:
        """Return the tokens of a session; raise `Unauthenticated` where they cannot be opened."""
        content = self._sealer.open(session.tokens, purpose=purpose_of(session.key))
        if content is None:
            raise Unauthenticated("the session's tokens were sealed with a key that is gone")
        return Tokens(**content)

    def presented(self, session: Session) -> str:
        """Return the token that says who a session is of."""
        return self._provider.presented(self.tokens_of(session))

    def sealed(self, tokens: Tokens, key: SessionKey) -> str:
        """Return the tokens as they are stored."""
        return self._sealer.seal(asdict(tokens), purpose=purpose_of(key))

    async def _refreshed(self, session: Session) -> Session:
        while True:
            refresh_id, now = uuid4(), self._now()
            async with self._database.transaction(session.key.row_scope) as conn:
                is_ours = await sessions.claim_refresh(
                    conn,
                    session.key,
                    refresh_id=refresh_id,
                    tokens_version=session.tokens_version,
                    until=now + CLAIM,
                    now=now,
                )
            if is_ours:
                return await self._exchanged(session, refresh_id)
            found = await sessions.find_session(self._database, session.key)
            if found is None:
                raise Unauthenticated("the session has ended")
            if found.tokens_version != session.tokens_version:
                return found
            await asyncio.sleep(PAUSE_SECONDS)

    async def _exchanged(self, session: Session, refresh_id: UUID) -> Session:
        """Use the refresh token, outside of any transaction, and store what comes of it."""
        try:
            old = self.tokens_of(session)
            if old.refresh_token is None:
                raise RefreshRefused("the session's token has expired, and there is no refresh token")
            new = await self._provider.refresh(old.refresh_token)
        except Unauthenticated:
            async with self._database.transaction(session.key.row_scope) as conn:
                await sessions.end_session(conn, session.key)
            raise
        except IssuerUnavailable:
            async with self._database.transaction(session.key.row_scope) as conn:
                await sessions.give_up_refresh(conn, session.key, refresh_id=refresh_id)
            raise
        # A provider that does not rotate gives no new one; nor does every provider give an id token again.
        kept = replace(
            new,
            refresh_token=new.refresh_token or old.refresh_token,
            id_token=new.id_token or old.id_token,
            issuer_session=old.issuer_session,
        )
        return await self._stored(session, refresh_id, kept)

    async def _stored(self, session: Session, refresh_id: UUID, tokens: Tokens) -> Session:
        sealed, expire_at = self.sealed(tokens, session.key), expiry_of(self._provider.presented(tokens)) or self._now()
        async with self._database.transaction(session.key.row_scope) as conn:
            is_there = await sessions.put_tokens(
                conn, session.key, refresh_id=refresh_id, tokens=sealed, tokens_expire_at=expire_at
            )
        if not is_there:
            raise Unauthenticated("the session ended while its tokens were refreshed")
        return replace(session, tokens=sealed, tokens_expire_at=expire_at, tokens_version=session.tokens_version + 1)


def purpose_of(key: SessionKey) -> str:
    """Return what a session's tokens are sealed for: nothing but this session."""
    return f"tokens of {key.workspace_id} {key.id}"


def expiry_of(token: str) -> datetime | None:
    """Return when a token says that it expires, None where it says nothing; it is verified before it is believed."""
    try:
        payload = token.split(".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (ValueError, TypeError, LookupError, OverflowError, OSError, RecursionError):
        return None
