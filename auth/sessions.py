"""Browsers that are signed in: who they are, how long for, and the secret in their cookie, which changes.

The browser is given its next secret with an answer, and the one in use stays so until the next one is shown: an answer
that was lost signs nobody out. From then on the old one serves a moment longer, for requests that were already on
their way. Shown after that, somebody has copied the cookie, and the session ends.
"""

import hmac
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import uuid4

from creditdesk.auth.authenticate import Authenticator
from creditdesk.auth.browsers import SessionLifetimes
from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.identity_provider import Tokens
from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.auth.refreshing import Refresher, expiry_of
from creditdesk.auth.session_cookies import Cookie, ShownSession, new_secret, shown_session
from creditdesk.credits import sessions
from creditdesk.credits.sessions import NewSession, Session, SessionKey
from creditdesk.db.connections import Database

Header = tuple[bytes, bytes]

GRACE = timedelta(seconds=30)
GIVEN_AGAIN_AFTER = timedelta(seconds=60)
SEEN_AGAIN_AFTER = timedelta(seconds=60)
EARLY = timedelta(seconds=5)
"""Tokens are refreshed a little before they expire: they are still to be verified, and may wait for that."""

_log = logging.getLogger(__name__)


class _Secret(Enum):
    IN_USE = auto()
    NEXT = auto()
    PREVIOUS = auto()
    RETIRED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Entered:
    """Who a session is of, and the headers of the answer to them. `ends_at` is when it ends at the latest.

    By `expires_at` its tokens have to be refreshed, and may turn out to be no longer good.
    """

    key: SessionKey
    principal: Principal
    headers: tuple[Header, ...]
    expires_at: datetime
    ends_at: datetime


class Sessions:
    """Starts, recognises, renews and ends the sessions of browsers."""

    def __init__(
        self,
        *,
        database: Database,
        authenticator: Authenticator,
        refresher: Refresher,
        cookie: Cookie,
        lifetimes: SessionLifetimes,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._authenticator = authenticator
        self._refresher = refresher
        self._cookie = cookie
        self._lifetimes = lifetimes
        self._now = now

    def shown(self, cookie_headers: Iterable[str]) -> ShownSession | None:
        """Return the session that a request's cookies name, whether or not there is one."""
        value = self._cookie.read(cookie_headers)
        return None if value is None else shown_session(value)

    async def start(self, tokens: Tokens, *, presented: str, replaces: ShownSession | None) -> Header:
        """Start a session with an id that nobody has seen, and return the header that hands it over.

        `presented` is the one of the tokens that says who this is. Whatever session the browser has shown ends. Raises
        `Unauthenticated` for a token that lets nobody in.
        """
        now = self._now()
        principal = await self._authenticator.principal_of(f"Bearer {presented}")
        if principal.kind is not PrincipalKind.PERSON:
            raise Unauthenticated("a program does not sign in by a browser")
        key = SessionKey(principal.workspace.id, uuid4())
        shown = new_secret(key)
        new = NewSession(
            key=key,
            user_id=principal.user_id,
            issuer=principal.issuer,
            subject=principal.subject,
            issuer_session=tokens.issuer_session,
            secret_hash=shown.secret_hash,
            expires_at=now + self._lifetimes.longest,
            tokens=self._refresher.sealed(tokens, key),
            tokens_expire_at=expiry_of(presented) or now,
        )
        if replaces is not None:
            await self.end(replaces)
        async with self._database.transaction(key.row_scope) as conn:
            await sessions.start_session(conn, new, now=now)
        return self._cookie.set(shown.text())

    async def enter(self, shown: ShownSession, *, renews: bool) -> Entered:
        """Return who shows this; raise `Unauthenticated`, or `IssuerUnavailable` where a refresh is due.

        `renews` says that the answer can carry a header, so that the secret may change.
        """
        session, now = await self._found(shown.key), self._now()
        secret = _told(session, shown.secret_hash, now)
        if secret is _Secret.RETIRED:
            _log.warning("a session's former cookie was shown: the session is ended")
            await self._end(session.key)
        if secret in (_Secret.RETIRED, _Secret.UNKNOWN):
            raise Unauthenticated("there is no such session")
        principal, expires_at = await self._principal_of(session)
        headers = await self._kept(session, shown, secret, now) if renews else ()
        return Entered(session.key, principal, headers, expires_at, session.expires_at)

    async def again(self, key: SessionKey) -> Entered:
        """Return whose session this is by now, on a connection that stays open. It does not count as use."""
        session = await self._found(key)
        principal, expires_at = await self._principal_of(session)
        return Entered(key, principal, (), expires_at, session.expires_at)

    async def end(self, shown: ShownSession) -> Tokens | None:
        """End the session that is shown, and return its tokens, if it was one that this cookie stands for."""
        session = await sessions.find_session(self._database, shown.key)
        if session is None or _told(session, shown.secret_hash, self._now()) is _Secret.UNKNOWN:
            return None
        await self._end(shown.key)
        try:
            return self._refresher.tokens_of(session)
        except Unauthenticated:
            return None

    def forgets(self) -> Header:
        """Return the header that has the browser forget its session."""
        return self._cookie.delete()

    async def _found(self, key: SessionKey) -> Session:
        session, now = await sessions.find_session(self._database, key), self._now()
        if session is None or session.expires_at <= now or session.seen_at + self._lifetimes.idle <= now:
            raise Unauthenticated("there is no such session, or it has expired")
        return session

    async def _principal_of(self, session: Session) -> tuple[Principal, datetime]:
        if session.tokens_expire_at <= self._now() + EARLY:
            session = await self._refresher.refreshed(session)
        presented = self._refresher.presented(session)
        principal = await self._authenticator.principal_of(f"Bearer {presented}", since=session.created_at)
        was = (PrincipalKind.PERSON, session.key.workspace_id, session.issuer, session.subject)
        is_the_same = (principal.kind, principal.workspace.id, principal.issuer, principal.subject) == was
        if not is_the_same:
            raise Unauthenticated("the session's new token is another person's, or of another workspace")
        return principal, min(session.tokens_expire_at, session.expires_at)

    async def _kept(self, session: Session, shown: ShownSession, secret: _Secret, now: datetime) -> tuple[Header, ...]:
        """Note the use, take a secret into use that was shown for the first time, and give the next where it is due."""
        is_due = secret is _Secret.IN_USE and session.renewed_at + self._lifetimes.secret <= now
        is_seen = session.seen_at + SEEN_AGAIN_AFTER > now
        if not is_due and is_seen and secret is not _Secret.NEXT:
            return ()
        following, is_given = new_secret(session.key), False
        async with self._database.transaction(session.key.row_scope) as conn:
            if secret is _Secret.NEXT:
                await sessions.take_secret(
                    conn, session.key, following=shown.secret_hash, previous_until=now + GRACE, now=now
                )
            if is_due:
                is_given = await sessions.give_secret(
                    conn,
                    session.key,
                    secret_hash=shown.secret_hash,
                    following=following.secret_hash,
                    given_before=now - GIVEN_AGAIN_AFTER,
                    now=now,
                )
            await sessions.note_seen(conn, session.key, now=now)
        return (self._cookie.set(following.text()),) if is_given else ()

    async def _end(self, key: SessionKey) -> None:
        async with self._database.transaction(key.row_scope) as conn:
            await sessions.end_session(conn, key)


def _told(session: Session, secret_hash: bytes, now: datetime) -> _Secret:
    """Tell which of a session's secrets this is the hash of."""
    if hmac.compare_digest(session.secret_hash, secret_hash):
        return _Secret.IN_USE
    if session.next_secret_hash is not None and hmac.compare_digest(session.next_secret_hash, secret_hash):
        return _Secret.NEXT
    if session.previous_secret_hash is not None and hmac.compare_digest(session.previous_secret_hash, secret_hash):
        is_served = session.previous_until is not None and now < session.previous_until
        return _Secret.PREVIOUS if is_served else _Secret.RETIRED
    return _Secret.UNKNOWN
