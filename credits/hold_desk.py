"""The desk of holds: one for each process, where calls that arrive together share a transaction."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from creditdesk.credits.authorizing import Authorization, authorization
from creditdesk.credits.gathering import Gatherer
from creditdesk.credits.hold_ending import hold_by_id, release_holds, settle_holds
from creditdesk.credits.hold_placing import HoldPlacer
from creditdesk.credits.hold_rules import Hold, HoldError, HoldRequest, Settlement
from creditdesk.db.connections import Connection, Database, DatabaseRole, RowScope

MOST_WORKSPACES = 100
"""How many workspaces' rules are kept in memory; beyond that, those that nobody is waiting for are forgotten."""

Asked = TypeVar("Asked")
Answers = list[Hold | Exception]


@dataclass(frozen=True, slots=True)
class _Counter:
    """One workspace's place at the desk."""

    placer: HoldPlacer
    placing: Gatherer[HoldRequest, Hold]
    settling: Gatherer[Settlement, Hold]
    releasing: Gatherer[UUID, Hold]

    @property
    def is_idle(self) -> bool:
        return self.placing.is_idle and self.settling.is_idle and self.releasing.is_idle


class HoldDesk:
    """Places, settles and releases holds. `clock` says when: each round of calls happens at one moment."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._counters: dict[UUID, _Counter] = {}

    async def place(self, workspace_id: UUID, request: HoldRequest) -> Hold:
        """Set credits aside. The same request again is answered with the same hold, or the same refusal.

        Raises BudgetExceededError where a budget has not enough left, HoldError or EventError for a request that
        cannot be placed, DatabaseUnavailable where it may or may not have been placed: then ask again.
        """
        return await self._counter(workspace_id).placing.ask(request)

    async def settle(self, workspace_id: UUID, settlement: Settlement) -> Hold:
        """End a hold with what was really used, and record that. Raises HoldError, EventError."""
        return await self._counter(workspace_id).settling.ask(settlement)

    async def release(self, workspace_id: UUID, hold_id: UUID) -> Hold:
        """End a hold without any use. Raises HoldError."""
        return await self._counter(workspace_id).releasing.ask(hold_id)

    async def authorize(self, workspace_id: UUID, request: HoldRequest) -> Authorization:
        """Say whether a hold would be placed now, and what budgets it would count in; nothing is changed."""
        placer = self._counter(workspace_id).placer
        return await authorization(self._reader(workspace_id), placer, workspace_id, request, now=self._clock())

    async def find(self, workspace_id: UUID, hold_id: UUID) -> Hold | None:
        """Return a hold for whoever places holds; None where there is none. A refusal is none."""
        return await hold_by_id(self._reader(workspace_id), workspace_id, hold_id)

    def _reader(self, workspace_id: UUID) -> Connection:
        return self._database.reader(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id))

    def _counter(self, workspace_id: UUID) -> _Counter:
        counter = self._counters.get(workspace_id)
        if counter is None:
            if len(self._counters) >= MOST_WORKSPACES:
                self._counters = {id_: one for id_, one in self._counters.items() if not one.is_idle}
            counter = self._counters[workspace_id] = self._opened(workspace_id)
        return counter

    def _opened(self, workspace_id: UUID) -> _Counter:
        placer = HoldPlacer(self._database, workspace_id)

        async def place(requests: list[HoldRequest]) -> Answers:
            return await placer.place(requests, now=self._clock())

        async def settle(settlements: list[Settlement]) -> Answers:
            async def settled(some: Sequence[Settlement]) -> Answers:
                async with self._database.transaction(scope) as conn:
                    return await settle_holds(conn, workspace_id, some, clock=self._clock)

            return await _each_once(settlements, lambda one: one.hold_id, settled)

        async def release(ids: list[UUID]) -> Answers:
            async def released(some: Sequence[UUID]) -> Answers:
                async with self._database.transaction(scope) as conn:
                    return await release_holds(conn, workspace_id, some, clock=self._clock)

            return await _each_once(ids, lambda id_: id_, released)

        scope = RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)
        return _Counter(placer, Gatherer(place), Gatherer(settle), Gatherer(release))


async def _each_once(
    asked: Sequence[Asked], hold_of: Callable[[Asked], UUID], end: Callable[[Sequence[Asked]], Awaitable[Answers]]
) -> Answers:
    """End holds together, or one by one where one of them undoes the transaction of all; a hold at most once a time."""
    answers: dict[int, Hold | Exception] = {}
    waiting = list(enumerate(asked))
    while waiting:
        together: dict[UUID, tuple[int, Asked]] = {}
        for index, one in waiting:
            together.setdefault(hold_of(one), (index, one))
        indexes = [index for index, _ in together.values()]
        answered = await _together([one for _, one in together.values()], end)
        answers |= dict(zip(indexes, answered, strict=True))
        waiting = [(index, one) for index, one in waiting if index not in answers]
    return [answers[index] for index in range(len(asked))]


async def _together(asked: Sequence[Asked], end: Callable[[Sequence[Asked]], Awaitable[Answers]]) -> Answers:
    try:
        return await end(asked)
    except HoldError as error:
        if len(asked) == 1:
            return [error]
    return [answer for one in asked for answer in await _together([one], end)]
