"""How long an operation may take: what it still reads when its time is up, or nobody waits for it, is cancelled.

A task that is cancelled while PostgreSQL works for it has the statement cancelled there, and gives its connection back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
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
    task = asyncio.create_task(work)
    _readers.reset(token)
    watcher: asyncio.Future[object] | None = None
    try:
        await _one_ends([task], min(seconds, NOTICED_AFTER_SECONDS) if gone else seconds)
        if not task.done() and gone is not None:
            watcher = asyncio.ensure_future(gone())
            left = seconds - NOTICED_AFTER_SECONDS
            await _one_ends([task, watcher], max(0.0, left))
        if task.done():
            return task.result()
        if watcher is not None and watcher.done():
            raise HungUpError
        raise TimeoutError
    finally:
        if not task.done() or watcher is not None or readers:
            await _end({task, *([watcher] if watcher else ()), *readers})


async def _one_ends(tasks: Sequence["asyncio.Future[Any]"], seconds: float) -> None:
    """Wait until one of these ends, but not for longer: what `asyncio.wait` does for any number, in fewer steps."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not ended.done():
            ended.set_result(None)

    timer = loop.call_later(seconds, wake)
    for task in tasks:
        task.add_done_callback(wake)
    try:
        await ended
    finally:
        timer.cancel()
        for task in tasks:
            task.remove_done_callback(wake)


def read_within(task: asyncio.Task[Any] | None) -> None:
    """Let a task that reads for the operation end with it, although the operation only waits for what it shields."""
    readers = _readers.get()
    if readers is not None and task is not None:
        readers.add(task)
        task.add_done_callback(readers.discard)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        # Until PostgreSQL has ended what they asked for: the next one finds the connection free.
        await asyncio.gather(*running, return_exceptions=True)
