"""The desk of holds: one for each process, where calls that arrive together share a transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

from creditdesk.credits.authorizing import Authorization, authorization
from creditdesk.credits.gathering import Gatherer, Waiter
from creditdesk.credits.hold_ending import hold_by_id, release_holds, settle_holds
from creditdesk.credits.hold_placing import HoldPlacer, RulesChanged
from creditdesk.credits.hold_rules import Hold, HoldError, HoldRequest, Settlement
from creditdesk.db.connections import Connection, Database
from creditdesk.db.errors import DatabaseUnavailable
from creditdesk.db.scopes import DatabaseRole, RowScope

MOST_WORKSPACES = 100
"""How many workspaces' rules are kept in memory; beyond that, those that nobody is waiting for are forgotten."""

_ATTEMPTS = 20
"""How often the rules may change while a round of holds is being placed."""

Asked = TypeVar("Asked")
Answers = list[Hold | Exception]


class Caller(Hashable, Protocol):
    """Whoever asks at the desk, and was let in as of a version of the workspace's controls."""

    as_of: int

    async def confirm(self) -> None:
        """Look them up anew, and raise an error of their own if they may not ask any more."""


_Call = tuple[Asked, Caller | None]
"""What is asked, and for whom; for None where whoever asks has just been let in."""


@dataclass(frozen=True, slots=True)
class _Counter:
    """One workspace's place at the desk."""

    placer: HoldPlacer
    placing: Gatherer[_Call[HoldRequest], Hold]
    settling: Gatherer[_Call[Settlement], Hold]
    releasing: Gatherer[_Call[UUID], Hold]

    @property
    def is_idle(self) -> bool:
        return self.placing.is_idle and self.settling.is_idle and self.releasing.is_idle


class HoldDesk:
    """Places, settles and releases holds. `clock` says when: each round of calls happens at one moment."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._counters: dict[UUID, _Counter] = {}

    async def place(self, workspace_id: UUID, request: HoldRequest, *, caller: Caller | None = None) -> Hold:
        """Set credits aside. The same request again is answered with the same hold, or the same refusal.

        A `caller` who may be out of date is confirmed first, once for all that they ask at the same time.

        Raises BudgetExceededError where a budget has not enough left, HoldError or EventError for a request that
        cannot be placed, DatabaseUnavailable where it may or may not have been placed: then ask again.
        """
        return await self._counter(workspace_id).placing.ask((request, caller))

    def put(self, workspace_id: UUID, request: HoldRequest, waiter: Waiter[Hold], *, caller: Caller) -> None:
        """Set credits aside, as `place` does, and tell the waiter."""
        self._counter(workspace_id).placing.put((request, caller), waiter)

    async def settle(self, workspace_id: UUID, settlement: Settlement, *, caller: Caller | None = None) -> Hold:
        """End a hold with what was really used, and record that. Raises HoldError, EventError."""
        return await self._counter(workspace_id).settling.ask((settlement, caller))

    async def release(self, workspace_id: UUID, hold_id: UUID, *, caller: Caller | None = None) -> Hold:
        """End a hold without any use. Raises HoldError."""
        return await self._counter(workspace_id).releasing.ask((hold_id, caller))

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

        async def place(calls: list[_Call[HoldRequest]]) -> Answers:
            callers = {caller for _, caller in calls if caller is not None}
            for _ in range(_ATTEMPTS):
                # Whoever was let in as of the rules that are known is, if these prove to be still in force.
                refused = await _refusals(caller for caller in callers if caller.as_of != placer.version)
                as_of = {caller.as_of for caller in callers - refused.keys()}
                with suppress(RulesChanged):
                    return await _answered(calls, refused, partial(placer.place, now=self._clock(), as_of=as_of))
            raise DatabaseUnavailable(DatabaseUnavailable.__doc__)

        async def settle(settlements: Sequence[Settlement]) -> Answers:
            async def settled(some: Sequence[Settlement]) -> Answers:
                async with self._database.transaction(scope) as conn:
                    return await settle_holds(conn, workspace_id, some, clock=self._clock)

            return await _each_once(settlements, lambda one: one.hold_id, settled)

        async def release(ids: Sequence[UUID]) -> Answers:
            async def released(some: Sequence[UUID]) -> Answers:
                async with self._database.transaction(scope) as conn:
                    return await release_holds(conn, workspace_id, some, clock=self._clock)

            return await _each_once(ids, lambda id_: id_, released)

        scope = RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)
        return _Counter(placer, Gatherer(place), Gatherer(_confirmed(settle)), Gatherer(_confirmed(release)))


def _confirmed(
    answer: Callable[[Sequence[Asked]], Awaitable[Answers]],
) -> Callable[[list[_Call[Asked]]], Awaitable[Answers]]:
    """Answer calls in one round, after all who ask have been confirmed."""

    async def answered(calls: list[_Call[Asked]]) -> Answers:
        refused = await _refusals({caller for _, caller in calls if caller is not None})
        return await _answered(calls, refused, answer)

    return answered


async def _refusals(callers: Iterable[Caller]) -> dict[Caller | None, Exception]:
    """Confirm these callers, and return why some may not ask any more."""
    asked = list(callers)
    found = await asyncio.gather(*(caller.confirm() for caller in asked), return_exceptions=True)
    return {caller: error for caller, error in zip(asked, found, strict=True) if isinstance(error, Exception)}


async def _answered(
    calls: list[_Call[Asked]],
    refused: dict[Caller | None, Exception],
    answer: Callable[[Sequence[Asked]], Awaitable[Answers]],
) -> Answers:
    """Answer calls, but for those of callers who are refused: each of these gets to know why."""
    if not refused:
        return await answer([asked for asked, _ in calls])
    answers = iter(await answer([asked for asked, caller in calls if caller not in refused]))
    return [refused[caller] if caller in refused else next(answers) for _, caller in calls]


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
