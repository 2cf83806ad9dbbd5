"""How long a caller is welcome on a connection that stays open: as long as a new one would be let in."""

import asyncio
import logging
from contextlib import AsyncExitStack, suppress

from creditdesk.auth.callers import Caller, Callers
from creditdesk.auth.errors import IssuerUnavailable
from creditdesk.credits.changes import Change, Topic
from creditdesk.db.errors import DatabaseError
from creditdesk.graphql.live import Live

ASK_SECONDS = 30.0
"""How often it is asked again whether the caller may come in; when the token expires, and on changes, at once."""

_SECONDS_AFTER_FAILURE = 1.0

_log = logging.getLogger(__name__)


class Welcome:
    """Asks again and again who the caller is; `caller` is the last answer."""

    def __init__(self, callers: Callers, live: Live, caller: Caller) -> None:
        self._callers = callers
        self._live = live
        self.caller = caller
        self._doubted = asyncio.Event()

    def changed(self, _: Change) -> None:
        """Doubt it: something about the user was changed."""
        self._doubted.set()

    def lost_track(self) -> None:
        """Doubt it: anything may have changed."""
        self._doubted.set()

    async def lasts(self) -> None:
        """Never return; raise Unauthenticated, or CrossSite, as soon as the caller may not come in any more."""
        async with AsyncExitStack() as stack:
            await self._watch(stack)
            while True:
                try:
                    self.caller = await self._callers.again(self.caller)
                except (IssuerUnavailable, DatabaseError):
                    # Neither has said no. What was verified holds until it expires.
                    _log.info("whether a caller may still come in cannot be told, for now")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds()):
                        await self._doubted.wait()
                self._doubted.clear()

    async def _watch(self, stack: AsyncExitStack) -> None:
        principal = self.caller.principal
        if principal.user_id is None:
            return
        subjects = [(Topic.PEOPLE, principal.user_id)]
        while True:
            try:
                await stack.enter_async_context(self._live.feed.watching(principal.workspace.id, subjects, self))
            except DatabaseError:
                await asyncio.sleep(_SECONDS_AFTER_FAILURE)
            else:
                return

    def _seconds(self) -> float:
        """Return in how many seconds it is asked again.

        A token is accepted a little longer than it says, so it may be asked several times at its end.
        """
        if self.caller.expires_at is None:
            return ASK_SECONDS
        left = (self.caller.expires_at - self._live.clock()).total_seconds()
        return min(ASK_SECONDS, max(_SECONDS_AFTER_FAILURE, left))
