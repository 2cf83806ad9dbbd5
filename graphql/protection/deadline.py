"""How long an operation may take: what it still reads when its time is up, or nobody waits for it, is cancelled.

A task that is cancelled while PostgreSQL works for it has the statement cancelled there, and gives its connection back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

Result = TypeVar("Result")

NOTICED_AFTER_SECONDS = 0.2
"""Only whoever waits for longer is watched for hanging up: most operations have been answered by then."""

_readers: ContextVar[set[asyncio.Task[Any]] | None] = ContextVar("readers", default=None)


class HungUpError(Exception):
    """Nobody waits for the answer any more."""


async def within(
    seconds: float, work: Coroutine[Any, Any, Result], *, gone: Callable[[], Awaitable[object]] | None = None
) -> Result:
    """Return what comes of the work; raise TimeoutError when its time is up, HungUpError when `gone` returns before.

    Either way nothing of it goes on, the reads of its loaders included.
    """
    readers: set[asyncio.Task[Any]] = set()
    token = _readers.set(readers)
    limit = _Limit(seconds, gone)
    try:
        # Not in a task of its own: to make one and to be woken by it takes as long as to read a balance's row.
        result = await work
    except BaseException:
        limit.raise_if_over()
        raise
    else:
        limit.raise_if_over()
        return result
    finally:
        _readers.reset(token)
        if left := readers | limit.lifted():
            await _end(left)


class _Limit:
    """Cancels the task that it is made in when time is up, or when nobody waits any more."""

    __slots__ = ("_cancelled_before", "_error", "_gone", "_loop", "_task", "_timer", "_watcher")

    def __init__(self, seconds: float, gone: Callable[[], Awaitable[object]] | None) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is made in a coroutine
        self._task = task
        self._cancelled_before = task.cancelling()
        self._loop = task.get_loop()
        self._gone = gone
        self._error: type[Exception] | None = None
        self._watcher: asyncio.Future[object] | None = None
        if gone is None or seconds <= NOTICED_AFTER_SECONDS:
            self._timer = self._loop.call_later(seconds, self._cancel, TimeoutError)
        else:
            self._timer = self._loop.call_later(NOTICED_AFTER_SECONDS, self._watch, seconds - NOTICED_AFTER_SECONDS)

    def _watch(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._cancel, TimeoutError)
        if self._gone is not None:
            self._watcher = asyncio.ensure_future(self._gone())
            self._watcher.add_done_callback(lambda _: self._cancel(HungUpError))

    def _cancel(self, error: type[Exception]) -> None:
        if self._error is None:
            self._error = error
            self._task.cancel()

    def raise_if_over(self) -> None:
        """Raise what the task was cancelled for, unless others have cancelled it as well."""
        if self._error is not None and self._task.uncancel() <= self._cancelled_before:
            raise self._error from None

    def lifted(self) -> set["asyncio.Future[Any]"]:
        """Be no limit any more, and return what still watches."""
        self._timer.cancel()
        self._error = self._error or TimeoutError  # what ends from here on cancels nothing
        return {self._watcher} if self._watcher is not None else set()


def read_within(task: asyncio.Task[Any] | None) -> None:
    """Let a task that reads for the operation end with it, although the operation only waits for what it shields."""
    readers = _readers.get()
    if readers is not None and task is not None:
        readers.add(task)
        task.add_done_callback(readers.discard)


async def _end(tasks: set["asyncio.Future[Any]"]) -> None:
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        # Until PostgreSQL has ended what they asked for: the next one finds the connection free.
        await asyncio.gather(*running, return_exceptions=True)
