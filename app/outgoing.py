"""What connections send: head and body of an answer as one, and the answers of a moment together."""

import asyncio
from asyncio import Transport
from time import monotonic
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

MOST_BUFFERED_BYTES = 64 * 1024
"""How much may wait in this process to be sent over one connection, and a message more."""

LONGEST_HELD_SECONDS = 0.002
"""How long an answer may wait for others of the same turn of the loop."""


class Outgoing:
    """What the connections of a loop have to send: it leaves together, one turn of the loop after it was written.

    Holds that were placed together are answered in one turn. A client on the same machine is woken by each answer, and
    sends its next request in between the others; sent at the end, they wake it once, and what it asks for comes
    together again (docs/decisions/0024-answers-together.md).
    """

    __slots__ = ("_loop", "_since", "_waiting")

    _of_loops: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, "Outgoing"]] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._since = 0.0
        self._waiting: list[JoiningTransport] = []

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Outgoing":
        """Return the one of a loop."""
        found = cls._of_loops.get(loop)
        if found is None:
            found = cls._of_loops[loop] = cls(loop)
        return found

    def add(self, transport: "JoiningTransport") -> None:
        """Have a transport send what it holds, with all others; at once where the first of them has waited enough."""
        if not self._waiting:
            self._since = monotonic()
            self._loop.call_soon(self._send)
        elif monotonic() - self._since > LONGEST_HELD_SECONDS:
            self._send()
        self._waiting.append(transport)

    def _send(self) -> None:
        sending, self._waiting = self._waiting, []
        self._since = monotonic()
        for transport in sending:
            transport.flush()


class JoiningTransport:
    """Sends the head and the body of an answer together, which uvicorn writes one after the other.

    Each would be a system call here, and another one for the client.
    """

    __slots__ = ("_held", "_outgoing", "_size", "transport")

    def __init__(self, transport: Transport, outgoing: Outgoing) -> None:
        self.transport = transport
        self._outgoing = outgoing
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        """Return what is the transport's own."""
        return getattr(self.transport, name)

    def is_closing(self) -> bool:
        """Tell whether the connection ends; asked for each answer."""
        return self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Keep it for the turn that is to come; what is large goes on at once, where writing can be paused."""
        if not self._held:
            self._outgoing.add(self)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_BUFFERED_BYTES:
            self.flush()

    def close(self) -> None:
        """Send what is left, and close the connection."""
        self.flush()
        self.transport.close()

    def flush(self) -> None:
        """Send what is held, unless there is nobody any more to send it to."""
        held, self._held, self._size = self._held, [], 0
        if held and not self.transport.is_closing():
            self.transport.write(held[0] if len(held) == 1 else b"".join(held))
