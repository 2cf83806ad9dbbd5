"""uvicorn's protocols with bounded buffers, and a way to let go of a client that does not read.

Closing a connection in peace waits until everything is sent, which a client that does not read puts off for ever. Each
puts itself into the scope's state, as the `connection` of graphql/open_connection.py.
"""

import asyncio
import socket
from asyncio import BaseTransport, Transport
from collections.abc import Coroutine
from typing import Any, ClassVar, cast
from weakref import WeakKeyDictionary

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import Request

from creditdesk.app.outgoing import MOST_BUFFERED_BYTES, JoiningTransport, Outgoing
from creditdesk.app.straight import STATE, Headers, StraightCall, StraightWays

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

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._ways: StraightWays | None = app_state.get(STATE)
        self._content: bytes | None = None  # what has come of the body of a request that may go a straight way

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

    def on_headers_complete(self) -> None:
        """Begin to answer, or wait for the body where there may be a straight way."""
        if self._ways is not None and self.url in self._ways and self._may_be_plain():
            self._content = b""
        else:
            super().on_headers_complete()

    def _may_be_plain(self) -> bool:
        parser = self.parser
        return (
            self._is_at_rest()
            and parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and not self.expect_100_continue
            and not parser.should_upgrade()
            and not self.flow.write_paused
        )

    def _is_at_rest(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._content is not None and len(self._content) + len(body) <= MOST_BUFFERED_BYTES:
            self._content += body
        else:
            self._go_the_whole_way()
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer on the straight way, or let all of the request go the whole way."""
        if self._ways is not None and self._content is not None:
            call = self._ways.begin(self.url, self.headers, self._content, self)
            if call is not None:
                self._content = None
                self.cycle = cast("RequestResponseCycle", call)
                return
            self._go_the_whole_way()
        super().on_message_complete()

    def _go_the_whole_way(self) -> None:
        content, self._content = self._content, None
        if content is not None:
            super().on_headers_complete()
            if content:
                super().on_body(content)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work in a task, which the end of the server waits for, as for those of ASGI."""
        task = self.loop.create_task(work)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def send_whole(self, call: StraightCall, status: int, headers: Headers, content: bytes) -> None:
        """Send an answer, unless nobody is there any more."""
        if call.disconnected:
            return
        lines = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n" if call.keep_alive else b"connection: close\r\n\r\n", content)
        self.transport.write(b"".join(lines))
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()

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
        self._go_the_whole_way()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Finish what can be finished."""
        self._go_the_whole_way()
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
