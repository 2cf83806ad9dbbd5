"""The graph over WebSocket, by the protocol graphql-transport-ws: many operations on one connection.

The token comes with `connection_init`, or the handshake itself says who calls. A connection lives as long as its caller
may come in: it is asked again every now and then, and at once when anything is changed about the user.
"""

import asyncio
import logging
import time
from contextlib import aclosing, suppress
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from creditdesk.auth.callers import Caller, Callers
from creditdesk.auth.errors import CrossSite, IssuerUnavailable, Unauthenticated
from creditdesk.credits.errors import CreditError
from creditdesk.db.errors import DatabaseError
from creditdesk.graphql.answering import refusal
from creditdesk.graphql.closing import Close, Closed
from creditdesk.graphql.incoming import RefusedError, request_of
from creditdesk.graphql.streams import Streams
from creditdesk.graphql.websocket_socket import Gone, Socket
from creditdesk.graphql.welcome import Welcome

PROTOCOL = "graphql-transport-ws"
INITIALISATION_SECONDS = 10.0
PING_SECONDS = 20.0
"""How often a client is asked whether it still reads; it has as long to answer."""

MOST_OPERATIONS = 100
"""How many operations one connection has under way."""

_LONGEST_ID = 256

_log = logging.getLogger(__name__)


class WebSocketEndpoint:
    """An ASGI application for WebSocket connections."""

    def __init__(self, *, callers: Callers, streams: Streams) -> None:
        self._callers = callers
        self.streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection to its end."""
        socket = Socket(scope, receive, send)
        await receive()  # the handshake
        try:
            self._callers.check_origin(scope)
        except CrossSite as error:
            await socket.refuse(403, orjson.dumps(refusal(error).shown))
            return
        if PROTOCOL not in scope["subprotocols"]:
            await socket.accept(None)
            await socket.close(Close.SUBPROTOCOL_NOT_ACCEPTABLE, f"Subprotocol not acceptable: {PROTOCOL} is")
            return
        await socket.accept(PROTOCOL)
        with self.streams.subscribers.connected():
            await _Connection(self._callers, self.streams, socket, scope).serve()


class _Connection:
    """One connection: its caller, once that is known, and the operations under way."""

    def __init__(self, callers: Callers, streams: Streams, socket: Socket, scope: Scope) -> None:
        self._callers = callers
        self._streams = streams
        self._socket = socket
        self._scope = scope
        self._welcome: Welcome | None = None
        self._is_initialised = False
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._served = 0
        self._begun = time.monotonic()
        self._woken = asyncio.Event()
        self._awaits_pong = False

    async def serve(self) -> None:
        """Read and care until either ends the connection."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._care())]
        code: int | None = None
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            error = next(task for task in tasks if task.done()).exception()
            if isinstance(error, Closed):
                code = error.code
                if code == Close.SLOW_CONSUMER:
                    self._streams.subscribers.note_dropped()
                await self._socket.close(error.code, error.reason)
            elif error is not None and not isinstance(error, Gone):
                raise error
        finally:
            await _cancelled([*tasks, *self._operations.values()])
            fields = {"code": code, "operations": self._served, "seconds": round(time.monotonic() - self._begun, 1)}
            _log.info("a connection has ended", extra={"fields": fields})

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            match message.get("type"):
                case "connection_init":
                    await self._initialise(message.get("payload"))
                case "subscribe":
                    self._subscribe(message.get("id"), message.get("payload"))
                case "complete":
                    self._complete(message.get("id"))
                case "ping":
                    await self._socket.send({"type": "pong"})
                case "pong":
                    self._awaits_pong = False
                case _:
                    raise Closed(Close.BAD_REQUEST, "There is no such type of message")

    async def _initialise(self, payload: object) -> None:
        if self._is_initialised:
            raise Closed(Close.TOO_MANY_INITIALISATIONS, "Too many initialisation requests")
        self._is_initialised = True
        shown = _credentials(payload)
        try:
            caller = await (self._callers.caller_with(shown) if shown else self._callers.caller_of(self._scope))
        except (Unauthenticated, CrossSite) as error:
            raise _forbidden(error) from None
        except (IssuerUnavailable, DatabaseError) as error:
            raise Closed(Close.TRY_AGAIN_LATER, str(error)) from None
        self._welcome = Welcome(self._callers, self._streams.live, caller)
        self._woken.set()
        await self._socket.send({"type": "connection_ack"})

    def _subscribe(self, id_: object, payload: object) -> None:
        if self._welcome is None:
            raise Closed(Close.UNAUTHORIZED, "Unauthorized")
        if not isinstance(id_, str) or not 0 < len(id_) <= _LONGEST_ID:
            raise Closed(Close.BAD_REQUEST, "`id` must be a string of up to 256 characters")
        if id_ in self._operations:
            raise Closed(Close.SUBSCRIBER_EXISTS, f"Subscriber for {id_} already exists")
        if len(self._operations) >= MOST_OPERATIONS:
            raise Closed(Close.BAD_REQUEST, f"More than {MOST_OPERATIONS} operations at once")
        self._served += 1
        self._operations[id_] = asyncio.create_task(self._operate(id_, payload, self._welcome.caller))

    def _complete(self, id_: object) -> None:
        operation = self._operations.pop(id_, None) if isinstance(id_, str) else None
        if operation is not None:
            operation.cancel()

    async def _operate(self, id_: str, payload: object, caller: Caller) -> None:
        try:
            last = await self._answer(id_, payload, caller)
            # From here on the client may use the id again.
            self._operations.pop(id_, None)
            await self._socket.send(last)
        except Gone:
            self._woken.set()
        except Exception:
            _log.exception("an operation failed unexpectedly")
            raise

    async def _answer(self, id_: str, payload: object, caller: Caller) -> dict[str, Any]:
        """Send every answer but the message that ends the operation, and return that one."""
        try:
            request = request_of(payload)
        except RefusedError as error:
            return {"id": id_, "type": "error", "payload": refusal(error).shown["errors"]}
        async with aclosing(self._streams.answers(request, caller.principal)) as answers:
            async for answer in answers:
                if answer is None:
                    continue
                if not answer.executed:
                    return {"id": id_, "type": "error", "payload": answer.shown["errors"]}
                await self._socket.send({"id": id_, "type": "next", "payload": answer.shown})
        return {"id": id_, "type": "complete"}

    async def _care(self) -> None:
        """See to it that the client says who it is, may still come in, and still reads; raise Closed otherwise."""
        await self._woken_within(INITIALISATION_SECONDS)
        if self._welcome is None:
            raise Closed(Close.INITIALISATION_TIMEOUT, "Connection initialisation timeout")
        welcome = asyncio.create_task(self._welcome.lasts())
        welcome.add_done_callback(lambda _: self._woken.set())
        try:
            await self._ping_while(welcome)
        finally:
            await _cancelled([welcome])

    async def _ping_while(self, welcome: "asyncio.Task[None]") -> None:
        while True:
            is_woken = await self._woken_within(PING_SECONDS)
            if self._socket.is_stuck:
                raise Closed(Close.SLOW_CONSUMER, "SLOW_CONSUMER: the client does not read")
            if welcome.done():
                error = welcome.exception()
                raise _forbidden(error) if isinstance(error, CreditError) else error or Gone
            if is_woken:
                continue
            if self._awaits_pong:
                raise Closed(Close.SLOW_CONSUMER, "SLOW_CONSUMER: the client does not answer")
            self._awaits_pong = True
            await self._socket.send({"type": "ping"})

    async def _woken_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
            self._woken.clear()
            return True
        return False


def _forbidden(error: CreditError) -> Closed:
    return Closed(Close.FORBIDDEN, f"{error.code.name}: {error.message}")


def _credentials(payload: object) -> str | None:
    """Return the Authorization header that a payload stands for; None for none, and then the handshake's own counts."""
    if payload is None:
        return None
    if not isinstance(payload, dict):
        raise Closed(Close.BAD_REQUEST, "`payload` must be an object")
    for name in ("authorization", "Authorization", "token"):
        given = payload.get(name)
        if given is not None:
            if not isinstance(given, str):
                raise Closed(Close.BAD_REQUEST, f"`{name}` must be a string")
            return f"Bearer {given}" if name == "token" else given
    return None


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    # What they ended with was looked at, or belongs to nobody any more.
    await asyncio.gather(*tasks, return_exceptions=True)
