"""uvicorn's protocols with bounded buffers, and a way to let go of a client that does not read.

Closing a connection in peace waits until everything is sent, which a client that does not read puts off for ever. Each
puts itself into the scope's state, as the `connection` of graphql/open_connection.py.
"""

import asyncio
import socket
from asyncio import BaseTransport, Transport
from time import monotonic
from typing import Any, ClassVar, cast
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

MOST_BUFFERED_BYTES = 64 * 1024
"""How much may wait in this process to be sent over one connection, and a message more."""

LONGEST_HELD_SECONDS = 0.002
"""How long an answer may wait for others of the same turn of the loop."""

MOST_SENT_BYTES = 128 * 1024
"""How much the kernel keeps of what a client has not read: its own limit is megabytes."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Bound what is kept for a client that reads slowly."""
        super().connection_made(transport)
        _bound(transport)

    def handle_connect(self, event: Request) -> None:
        """Begin the handshake."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["state"]["connection"] = self

    def abort(self) -> None:
        """Let go of the client."""
        self.transport.abort()


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


class IdleConnections:
    """The connections of a loop that wait for a request: who waits for too long is let go.

    One timer for all, since one that is set after each answer and taken back by each request costs more than parsing
    that does.
    """

    __slots__ = ("_is_due", "_loop", "_seconds", "_since")

    _of_loops: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, "IdleConnections"]] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._since: dict[HttpProtocol, float] = {}  # the longest idle one first
        self._is_due = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop, seconds: float) -> "IdleConnections":
        """Return those of a loop, who are let go after so many seconds."""
        found = cls._of_loops.get(loop)
        if found is None:
            found = cls._of_loops[loop] = cls(loop, seconds)
        return found

    def add(self, connection: "HttpProtocol") -> None:
        """Take note of a connection that has nothing to do from now on."""
        self._since[connection] = self._loop.time()
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(self._seconds, self._let_go)

    def discard(self, connection: "HttpProtocol") -> None:
        """Take note that a connection has something to do, or is no more."""
        self._since.pop(connection, None)

    def _let_go(self) -> None:
        self._is_due = False
        latest = self._loop.time() - self._seconds
        while self._since:
            connection, since = next(iter(self._since.items()))
            if since > latest:
                self._is_due = True
                self._loop.call_later(since - latest, self._let_go)
                return
            del self._since[connection]
            connection.timeout_keep_alive_handler()


class HttpProtocol(HttpToolsProtocol):
    """A connection for requests, of which the answer may be a stream that does not end by itself."""

    _leaving: asyncio.Event | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, on a transport that sends answers whole."""
        self._idle = IdleConnections.of(self.loop, self.timeout_keep_alive)
        self._plain = cast("Transport", transport)
        self._joining = JoiningTransport(self._plain, Outgoing.of(self.loop))
        super().connection_made(cast("Transport", self._joining))

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, as it is."""
        self._joining.flush()
        self.transport = self._plain
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["state"]["connection"] = self

    def on_response_complete(self) -> None:
        """Go on with the next request, as uvicorn's own does; without one, be idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle.add(self)

    def _unset_keepalive_if_required(self) -> None:
        self._idle.discard(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._idle.discard(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Finish what can be finished."""
        super().shutdown()
        if self._leaving is not None:
            self._leaving.set()

    def abort(self) -> None:
        """Let go of the client."""
        self.transport.abort()

    def begin_stream(self) -> asyncio.Event:
        """Keep little of what the client does not read; return what is set when the server is about to end."""
        _bound(self.transport)
        self._leaving = asyncio.Event()
        return self._leaving


def _bound(transport: BaseTransport) -> None:
    cast("Transport", transport).set_write_buffer_limits(high=MOST_BUFFERED_BYTES)
    opened = transport.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_SENT_BYTES)
