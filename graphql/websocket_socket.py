"""A WebSocket as messages of JSON: sent one at a time, and never waited for longer than a client may take to read."""

import asyncio
import logging
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from creditdesk.graphql.closing import Close, Closed
from creditdesk.graphql.open_connection import connection_of

SLOW_SECONDS = 10.0
"""How long a message may wait for the client to read those before it."""

_CLOSING_SECONDS = 1.0
_LINGERING_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Gone(Exception):  # noqa: N818 - what a connection is
    """The client is gone, or is about to be dropped: nothing can be sent any more."""


class Socket:
    """One WebSocket. The server keeps at most a message more than the transport buffers: others wait their turn."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._extensions = scope.get("extensions") or {}
        self._connection = connection_of(scope)
        self._turns = asyncio.Lock()
        self.is_stuck = False
        """Whether the client has not read for too long."""

    async def refuse(self, status: int, body: bytes) -> None:
        """Answer the handshake with an error."""
        if "websocket.http.response" not in self._extensions:
            await self._send({"type": "websocket.close"})
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def accept(self, protocol: str | None) -> None:
        """Answer the handshake."""
        await self._send({"type": "websocket.accept", "subprotocol": protocol})

    async def receive(self) -> dict[str, Any]:
        """Return the next message; raise Closed for what is none, and Gone when there are no more."""
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            raise Gone
        text = event.get("text")
        if text is None:
            raise Closed(Close.BAD_REQUEST, "Messages are text")
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise Closed(Close.BAD_REQUEST, "Messages are JSON") from None
        if not isinstance(message, dict):
            raise Closed(Close.BAD_REQUEST, "Messages are JSON objects")
        return message

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message in its turn; raise Gone where the client is, or does not read."""
        # As text: clients take a binary frame for something else.
        event = {"type": "websocket.send", "text": orjson.dumps(message).decode()}
        try:
            async with asyncio.timeout(SLOW_SECONDS), self._turns:
                await self._send(event)
        except TimeoutError:
            self.is_stuck = True
            raise Gone from None
        except OSError:
            raise Gone from None

    async def close(self, code: Close, reason: str) -> None:
        """Close the connection; drop it where the client does not read that either."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._send({"type": "websocket.close", "code": int(code), "reason": reason})
        except (TimeoutError, OSError):
            if self._connection is not None:
                self._connection.abort()
        else:
            if self._connection is not None and code is Close.SLOW_CONSUMER:
                loop.call_later(_LINGERING_SECONDS, self._connection.abort)
