"""What those who wait are told: the latest state, or what came together since they last looked, in bounded room."""

import asyncio
import time
from collections.abc import Iterable
from uuid import UUID

from creditdesk.credits.changes import Change, Use
from creditdesk.credits.errors import CreditError, ErrorCode

PAUSE_SECONDS = 0.2
"""Whoever was told something is told the next thing this much later at the earliest: what comes meanwhile is one."""

MOST_USES = 10_000
MOST_REQUESTS = 1_000


class ChangesMissedError(CreditError):
    """More has changed than can be told one by one: read again what you show, and subscribe again."""

    code = ErrorCode.CHANGES_MISSED


class Watch:
    """Notes that something has changed, and lets one task wait for that."""

    def __init__(self) -> None:
        self._noted = asyncio.Event()
        self._is_lost = False
        self._told_at = -PAUSE_SECONDS

    def changed(self, change: Change) -> None:
        """Take note of a change."""
        self._keep(change)
        self._noted.set()

    def lost_track(self) -> None:
        """Take note that anything may have changed."""
        self._is_lost = True
        self._noted.set()

    def _keep(self, change: Change) -> None:
        """Keep what is told of a change; nothing, where only the latest state is."""

    async def noted(self, *, seconds: float | None = None) -> None:
        """Wait for something to be noted, or for so many seconds; and for the pause since the last time."""
        try:
            async with asyncio.timeout(seconds):
                await self._noted.wait()
        except TimeoutError:
            pass
        await asyncio.sleep(self._told_at + PAUSE_SECONDS - time.monotonic())
        self._told_at = time.monotonic()
        self._noted.clear()


class UsesWatch(Watch):
    """Adds up what was used, by user, group, product and model."""

    def __init__(self) -> None:
        super().__init__()
        self._sums: dict[tuple[UUID, UUID, str, str], tuple[int, int]] = {}

    def _keep(self, change: Change) -> None:
        for use in self._concerning(change.uses()):
            place = (use.user_id, use.group_id, use.product, use.model)
            before = self._sums.get(place, (0, 0))
            self._sums[place] = (before[0] + use.credits, before[1] + use.requests)
        if len(self._sums) > MOST_USES:
            self._is_lost = True
            self._sums.clear()

    def _concerning(self, uses: Iterable[Use]) -> Iterable[Use]:
        return uses

    def taken(self) -> list[Use]:
        """Return what has come together, and start anew; raise ChangesMissedError where that is not all."""
        if self._is_lost:
            raise ChangesMissedError
        sums, self._sums = self._sums, {}
        return [Use(*place, *figures) for place, figures in sums.items()]


class OwnUsesWatch(UsesWatch):
    """Adds up what one user used: nothing of anybody else is even kept."""

    def __init__(self, user_id: UUID) -> None:
        super().__init__()
        self._user_id = user_id

    def _concerning(self, uses: Iterable[Use]) -> Iterable[Use]:
        return (use for use in uses if use.user_id == self._user_id)


class RequestsWatch(Watch):
    """Keeps which requests have changed, each once."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: dict[UUID, None] = {}

    def _keep(self, change: Change) -> None:
        self._ids |= dict.fromkeys(change.requests)
        if len(self._ids) > MOST_REQUESTS:
            self._is_lost = True
            self._ids.clear()

    def taken(self) -> list[UUID]:
        """Return which have changed, and start anew; raise ChangesMissedError where these are not all."""
        if self._is_lost:
            raise ChangesMissedError
        ids, self._ids = self._ids, {}
        return list(ids)
