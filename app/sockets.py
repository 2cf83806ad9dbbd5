"""uvicorn's protocols with bounded buffers, and a way to let go of a client that does not read.

Closing a connection in peace waits until everything is sent, which a client that does not read puts off for ever. Each
puts itself into the scope's state, as the `connection` of graphql/open_connection.py.
"""

import asyncio
import socket
from asyncio import BaseTransport, Transport
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

MOST_BUFFERED_BYTES = 64 * 1024
"""How much may wait in this process to be sent over one connection, and a message more."""

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


class JoiningTransport:
    """Sends the head and the body of an answer together, which uvicorn writes one after the other.

    Each is a system call here, and another one for the client. What nothing follows is sent a moment later.
    """

    __slots__ = ("_held", "_loop", "transport")

    def __init__(self, transport: Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._held: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        """Return what is the transport's own."""
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """Keep what comes first, and send it with what comes next."""
        if self._held is None:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            held, self._held = self._held, None
            self.transport.writelines((held, data))

    def close(self) -> None:
        """Send what is left, and close the connection."""
        self._flush()
        self.transport.close()

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self.transport.write(held)


class HttpProtocol(HttpToolsProtocol):
    """A connection for requests, of which the answer may be a stream that does not end by itself."""

    _leaving: asyncio.Event | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, on a transport that sends answers whole."""
        self._plain = cast("Transport", transport)
        super().connection_made(cast("Transport", JoiningTransport(self._plain, self.loop)))

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, as it is."""
        self.transport = self._plain
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["state"]["connection"] = self

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
