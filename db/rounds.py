"""Rounds of short reads: those that are asked for at the same time share a message, instead of one message for each.

A message costs several times what most reads in it cost. The first caller's is sent at once; whoever comes while as
many messages are under way as there may be waits for the next. Who asks the same as another in a round, under the same
role and context, is answered with them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from creditdesk.db.messages import Reading, Row

MOST_AT_ONCE = 2
LARGEST = 32
LATE_SECONDS = 0.05
"""What takes longer waits for something that others may not wait for: they are let pass."""

Found = list[list[Row]]
Send = Callable[[Sequence[Reading]], Awaitable[list[Found]]]


class _Round:
    """Readings that travel together, with those who wait for each."""

    def __init__(self, waiting: dict[Reading, list["asyncio.Future[Found]"]]) -> None:
        self.waiting = waiting

    @property
    def is_left(self) -> bool:
        """Tell whether nobody waits any more."""
        return all(future.done() for futures in self.waiting.values() for future in futures)

    def answer(self, reading: Reading, found: Found | BaseException) -> None:
        """Give everybody who asked for this the answer, or the error."""
        for future in self.waiting[reading]:
            if future.done():
                continue
            if isinstance(found, BaseException):
                future.set_exception(found)
            else:
                future.set_result(found)


class Rounds:
    """Answers readings in rounds, each with an answer or an error of its own."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: dict[Reading, list[asyncio.Future[Found]]] = {}
        self._under_way = 0
        self._is_due = False
        self._rounds: dict[asyncio.Future[Found], tuple[_Round, asyncio.Task[None]]] = {}

    async def ask(self, reading: Reading) -> Found:
        """Return what a reading finds. When all who wait for a round have gone, PostgreSQL is told to end it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        self._waiting.setdefault(reading, []).append(future)
        self._begin_soon(loop)
        try:
            return await future
        except asyncio.CancelledError:
            await self._leave(future)
            raise
        finally:
            self._rounds.pop(future, None)

    def _begin_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._is_due and self._under_way < MOST_AT_ONCE:
            self._is_due = True
            loop.call_soon(self._begin, loop)  # whoever else asks at this moment comes along

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_due = False
        together: dict[Reading, list[asyncio.Future[Found]]] = {}
        for reading in list(self._waiting)[:LARGEST]:
            futures = [future for future in self._waiting.pop(reading) if not future.done()]
            if futures:
                together[reading] = futures
        if together:
            round_ = _Round(together)
            self._under_way += 1
            task = loop.create_task(self._run(round_))
            self._rounds.update((future, (round_, task)) for futures in together.values() for future in futures)
        self._begin_soon(loop)

    async def _run(self, round_: _Round) -> None:
        loop, is_late = asyncio.get_running_loop(), False

        def let_pass() -> None:
            nonlocal is_late
            is_late = True
            self._end_one(loop)

        late = loop.call_later(LATE_SECONDS, let_pass)
        try:
            await self._answer(round_)
        finally:
            late.cancel()
            if not is_late:
                self._end_one(loop)

    def _end_one(self, loop: asyncio.AbstractEventLoop) -> None:
        self._under_way -= 1
        self._begin_soon(loop)

    async def _answer(self, round_: _Round) -> None:
        readings = list(round_.waiting)
        try:
            answers: Sequence[Found | BaseException] = await self._send(readings)
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs: to whoever asked
            if len(readings) == 1:
                answers = [error]
            else:  # whose it is, is not known: each has a message of its own
                alone = (self._send([reading]) for reading in readings)
                found = await asyncio.gather(*alone, return_exceptions=True)
                answers = [one if isinstance(one, BaseException) else one[0] for one in found]
        for reading, answer in zip(readings, answers, strict=True):
            round_.answer(reading, answer)

    async def _leave(self, future: "asyncio.Future[Found]") -> None:
        round_, task = self._rounds.get(future, (None, None))
        if round_ is not None and task is not None and round_.is_left:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(task, return_exceptions=True)
