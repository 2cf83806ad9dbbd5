"""Gathering calls that are made at the same time, so that they share one round to the database (group commit).

The first call starts at once, and those that arrive meanwhile make up the next round. Where calls do come together, a
round waits a moment for more of them, as PostgreSQL's `commit_delay` does: fewer, larger rounds answer more calls. It
waits for as many as there were: those who were answered in the round before are likely to ask again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Generic, Protocol, TypeVar

LONGEST_PAUSE_SECONDS = 0.01

_LULL_SECONDS = 0.001
"""If nobody comes for so long, those who were coming have come."""

_FORGETTING = 0.9
"""How much of a long round still counts after each that was shorter."""

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Told_contra = TypeVar("Told_contra", contravariant=True)


class Waiter(Protocol[Told_contra]):
    """Who waits for an answer: a future, or whoever needs no task to go on. None of these may raise."""

    def done(self) -> bool:
        """Tell whether nobody waits any more."""
        ...

    def set_result(self, answer: Told_contra, /) -> None:
        """Take the answer."""
        ...

    def set_exception(self, error: Exception, /) -> None:
        """Take the error that is the answer."""
        ...


class Gatherer(Generic[Asked, Answer]):
    """Answers calls in rounds, one round at a time. Each call has its own answer, or its own error."""

    def __init__(
        self, answer: Callable[[list[Asked]], Awaitable[Sequence[Answer | Exception]]], *, largest: int = 256
    ) -> None:
        self._answer = answer
        self._largest = largest
        self._waiting: list[tuple[Asked, Waiter[Answer]]] = []
        self._rounds: asyncio.Task[None] | None = None
        self._expected = 0
        self._enough: asyncio.Event = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Tell whether nobody waits for an answer."""
        return self._rounds is None

    async def ask(self, asked: Asked) -> Answer:
        """Return the answer of the next round. One who stops waiting does not stop the round."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.put(asked, future)
        return await future

    def put(self, asked: Asked, waiter: Waiter[Answer]) -> None:
        """Have whoever waits told the answer of the next round."""
        self._waiting.append((asked, waiter))
        if len(self._waiting) >= self._expected:
            self._enough.set()
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._run())

    async def _run(self) -> None:
        longest, answered = 0.0, 0
        try:
            while True:
                if answered > 1:
                    await self._pause(answered, min(longest, LONGEST_PAUSE_SECONDS))
                if not self._waiting:
                    break
                together, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
                # Who has stopped waiting before the round began is not asked for.
                together = [one for one in together if not one[1].done()]
                begun, answered = monotonic(), len(together)
                await self._round(together)
                longest = max(monotonic() - begun, _FORGETTING * longest)
        finally:
            self._rounds = None

    async def _pause(self, answered: int, seconds: float) -> None:
        """Wait until as many are waiting as were, and as were answered in the round before.

        Not for longer than rounds have lately taken, unless they are still coming: a small round takes little time, and
        would leave the next one none to become larger again.
        """
        self._expected = min(len(self._waiting) + answered, self._largest)
        self._enough.clear()
        until, are_coming = monotonic() + LONGEST_PAUSE_SECONDS, True
        while are_coming and not self._enough.is_set():
            there = len(self._waiting)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._enough.wait()
            are_coming = len(self._waiting) > there and monotonic() < until
            seconds = min(seconds, _LULL_SECONDS)
        self._expected = 0

    async def _round(self, together: list[tuple[Asked, Waiter[Answer]]]) -> None:
        answers: Sequence[Answer | Exception]
        try:
            answers = await self._answer([asked for asked, _ in together]) if together else ()
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs: to everybody who asked
            answers = [error] * len(together)
        for (_, waiter), answer in zip(together, answers, strict=True):
            if waiter.done():
                continue
            if isinstance(answer, Exception):
                waiter.set_exception(answer)
            else:
                waiter.set_result(answer)
