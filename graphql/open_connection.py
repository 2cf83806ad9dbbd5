"""What our own server lets an application do with a connection; other servers close it in peace, and no more."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol


class OpenConnection(Protocol):
    """A connection that is open."""

    def abort(self) -> None:
        """Let go of the client at once, whatever it has not read."""

    def begin_stream(self) -> asyncio.Event:
        """Keep little of what the client does not read; return what is set when the server is about to end."""
        ...


def connection_of(scope: Mapping[str, Any]) -> OpenConnection | None:
    """Return the connection that a scope came over, where the server is ours."""
    found: OpenConnection | None = (scope.get("state") or {}).get("connection")
    return found
