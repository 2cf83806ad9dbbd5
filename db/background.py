"""Tasks that go on in the background of a server, and how they are brought to an end."""

import asyncio
from typing import Any

_SECONDS_TO_END = 1.0


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait until they have ended, however often that takes; what they failed with is theirs.

    Once is not enough: psycopg's pool returns a connection that comes at the moment of a cancellation, and says nothing
    of the cancellation, so that the task goes on.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_SECONDS_TO_END)
