"""uvicorn's WebSocket with bounded buffers, and a way to let go of a client that does not read."""

import socket
from asyncio import BaseTransport, Transport
from typing import cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

MOST_BUFFERED_BYTES = 64 * 1024
"""How much may wait in this process to be sent over one connection, and a message more."""

MOST_SENT_BYTES = 128 * 1024
"""How much the kernel keeps of what a client has not read: its own limit is megabytes."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Puts `abort` into the scope's state: closing in peace would wait for a client that does not read."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Bound what is kept for a client that reads slowly."""
        super().connection_made(transport)
        cast("Transport", transport).set_write_buffer_limits(high=MOST_BUFFERED_BYTES)
        opened = transport.get_extra_info("socket")
        if opened is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_SENT_BYTES)

    def handle_connect(self, event: Request) -> None:
        """Begin the handshake."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["state"]["abort"] = self.transport.abort
