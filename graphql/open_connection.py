"""What our own server lets an application do with a connection; other servers close it in peace, and no more."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

Told: TypeAlias = tuple[int, Sequence[tuple[bytes, bytes]], bytes]
"""A whole answer: its status, the headers that are its own, and its body."""


class OpenConnection(Protocol):
    """A connection that is open."""

    def abort(self) -> None:
        """Let go of the client at once, whatever it has not read."""

    def begin_stream(self) -> asyncio.Event:
        """Keep little of what the client does not read; return what is set when the server is about to end."""
        ...


class DirectCall(Protocol):
    """A request that came without anything of ASGI."""

    def run(self, work: Coroutine[Any, Any, Told | None]) -> None:
        """Do the work in a task, and answer what comes of it; None where nobody waits for that any more."""

    async def gone(self) -> None:
        """Wait until the client has hung up."""


def connection_of(scope: Mapping[str, Any]) -> OpenConnection | None:
    """Return the connection that a scope came over, where the server is ours."""
    found: OpenConnection | None = (scope.get("state") or {}).get("connection")
    return found
