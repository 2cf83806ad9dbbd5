"""Telling the audit trail who signed in and who was refused: all of the first, and of the second no flood.

A sign-in is said before its first request is answered. Refusals are counted: the first of a caller and code is said at
once, those of the minute after it together at its end, so that an attacker adds one entry a minute and process to the
trail, whatever they send. Whoever shows a token that nobody signed is nobody: those are counted for the workspace.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from creditdesk.auth.principal import Principal
from creditdesk.credits.errors import ErrorCode
from creditdesk.credits.newcomers import note_denial, note_sign_in
from creditdesk.credits.permitted import Actor
from creditdesk.db.background import end
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseError, DatabaseUnavailable

BETWEEN_SIGN_INS = timedelta(hours=1)
WINDOW = timedelta(minutes=1)
MOST_REMEMBERED = 10_000
MOST_OPEN = 1000
SWEEP_SECONDS = 5.0
NOBODY = Actor("NOBODY", "", None)
"""Whoever showed a token that is none."""

_log = logging.getLogger(__name__)

_Key = tuple[UUID, Actor, ErrorCode]


@dataclass(slots=True)
class _Window:
    """Refusals of one caller and code: since when they are counted, until when, how many, and what the first was."""

    since: datetime
    until: datetime
    count: int
    what: str


class AccessLog:
    """What one process tells the audit trail of access."""

    def __init__(self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._now = now
        self._noted: OrderedDict[tuple[UUID, str, str], datetime] = OrderedDict()
        self._windows: dict[_Key, _Window] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def signed_in(self, principal: Principal, *, began_at: datetime | None, noted_at: datetime | None) -> None:
        """Say that somebody signed in, if the trail does not say so of the hour before; wait until it is said."""
        key = (principal.workspace.id, principal.issuer, principal.subject)
        began_at = began_at or self._now()
        moments = [moment for moment in (noted_at, self._noted.get(key)) if moment is not None]
        if moments and began_at <= max(moments) + BETWEEN_SIGN_INS:
            return
        self._noted[key] = began_at
        while len(self._noted) > MOST_REMEMBERED:
            self._noted.popitem(last=False)
        actor = Actor(principal.kind.name, principal.subject, principal.user_id)
        roles = [role.name for role in principal.roles]
        try:
            await note_sign_in(
                self._database,
                key[0],
                actor,
                issuer=principal.issuer,
                roles=roles,
                began_at=began_at,
                now=self._now(),
            )
        except BaseException as error:
            self._noted.pop(key, None)
            if isinstance(error, DatabaseError):
                raise DatabaseUnavailable(DatabaseUnavailable.__doc__) from error
            raise

    def denied(self, principal: Principal, what: str) -> None:
        """Count that somebody was refused what their role does not include."""
        actor = Actor(principal.kind.name, principal.subject, principal.user_id)
        self._count((principal.workspace.id, actor, ErrorCode.FORBIDDEN), what)

    def refused(self, workspace_id: UUID, reason: str, actor: Actor = NOBODY) -> None:
        """Count that a token was refused that names a workspace; the actor is who it is of, if that is certain."""
        self._count((workspace_id, actor, ErrorCode.UNAUTHENTICATED), reason)

    def remembered(self, workspace_slug: str) -> UUID | None:
        """Return the workspace with this slug if this process knows it: a token that is none is worth no look-up."""
        return self._database.remembered.get(workspace_slug)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Say what was counted whenever a minute is over, and at the end."""
        sweeping = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            await end(sweeping)
            await self.flush(everything=True)

    async def flush(self, *, everything: bool = False) -> None:
        """Say what was counted in minutes that are over, or in all; return when all that was to be said is said."""
        now = self._now()
        for key, window in list(self._windows.items()):
            if not everything and window.until > now:
                continue
            del self._windows[key]
            if window.count:
                self._say(key, window)
                # Who goes on is still counted, and not said at once again.
                self._windows[key] = _Window(now, now + WINDOW, 0, window.what)
        while self._writing:
            await asyncio.wait(self._writing)

    def _count(self, key: _Key, what: str) -> None:
        now = self._now()
        if key not in self._windows and len(self._windows) >= MOST_OPEN:
            key = (key[0], NOBODY, key[2])  # so many callers at once: those of a workspace are counted together
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(now, now + WINDOW, 0, what)
            self._say(key, _Window(now, now, 1, what))
        else:
            window.count += 1

    def _say(self, key: _Key, window: _Window) -> None:
        task = asyncio.create_task(self._write(key, window))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, key: _Key, window: _Window) -> None:
        workspace_id, actor, code = key
        state: dict[str, str | None] = {
            "code": code.name,
            "what": window.what,
            "count": str(window.count),
            "since": window.since.isoformat(),
        }
        try:
            await note_denial(self._database, workspace_id, actor, state, now=self._now())
        except DatabaseError as error:
            _log.warning("the audit trail was not told of %s refusals: %s", window.count, error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.flush()
