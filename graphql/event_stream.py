"""The graph as server-sent events, by graphql-sse's distinct connections: one operation, a stream of its answers.

A stream lives as long as its caller may come in. A client that does not read is dropped, as over WebSocket.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import orjson
from graphql import OperationType
from starlette.types import Receive, Scope, Send

from creditdesk.auth.callers import Caller, Callers
from creditdesk.credits.errors import CreditError
from creditdesk.graphql import websocket_socket
from creditdesk.graphql.answering import Answer, refusal
from creditdesk.graphql.incoming import GraphQLRequest
from creditdesk.graphql.media_types import EVENT_STREAM
from creditdesk.graphql.open_connection import connection_of
from creditdesk.graphql.streams import Streams
from creditdesk.graphql.welcome import Welcome

HEARTBEAT_SECONDS = 15.0
"""How often a stream without events shows that it is there: proxies close what is silent, and so is found who left."""

_HEADERS = (
    (b"content-type", EVENT_STREAM.encode()),
    (b"cache-control", b"private, no-store"),
    (b"x-accel-buffering", b"no"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, by whom, and which kinds of operations are answered this way."""

    request: GraphQLRequest
    caller: Caller
    allowed: frozenset[OperationType]


class EventStreams:
    """Sends the answers to a request one after the other, over HTTP."""

    def __init__(self, *, callers: Callers, streams: Streams) -> None:
        self._callers = callers
        self._streams = streams

    async def respond(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        """Send everything, and return None; or return what is wrong, where nothing has been sent yet."""
        async with aclosing(self._streams.answers(asked.request, asked.caller.principal, asked.allowed)) as answers:
            first = await anext(answers)
            if first is not None and not first.executed:
                return first
            subscribers, welcome = self._streams.subscribers, Welcome(self._callers, self._streams.live, asked.caller)
            with subscribers.connected():
                stream = _Stream(scope, send)
                await stream.start(asked.caller)
                try:
                    await stream.serve(first, answers, receive, welcome)
                except TimeoutError:
                    subscribers.note_dropped()
                    stream.drop()
        return None


class _Stream:
    """A stream that has begun. Whatever is sent raises TimeoutError where the client does not read."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._connection = connection_of(scope)
        self._leaving: asyncio.Event | None = None
        self._turns = asyncio.Lock()

    async def start(self, caller: Caller) -> None:
        """Say that events follow."""
        if self._connection is not None:
            self._leaving = self._connection.begin_stream()
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *caller.headers]})
        await self._write(b":\n\n")

    async def serve(
        self, first: Answer | None, answers: AsyncGenerator[Answer | None, None], receive: Receive, welcome: Welcome
    ) -> None:
        """Send events until there are no more, the client or the server goes, or the caller is not welcome any more."""
        sending = asyncio.create_task(self._events(first, answers))
        lasting = asyncio.create_task(welcome.lasts())
        tasks = [sending, lasting, asyncio.create_task(self._beat()), asyncio.create_task(_gone(receive))]
        if self._leaving is not None:
            tasks.append(asyncio.create_task(_set(self._leaving)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ended = next(task for task in tasks if task.done())
            error = ended.exception()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(error, CreditError):
            await self._event("next", refusal(error).shown)
        elif error is not None:
            raise error
        await self._event("complete")
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def drop(self) -> None:
        """Let go of the client, without waiting for what it has not read."""
        if self._connection is not None:
            self._connection.abort()

    async def _events(self, first: Answer | None, answers: AsyncGenerator[Answer | None, None]) -> None:
        if first is not None:
            await self._event("next", first.shown)
        async for answer in answers:
            if answer is not None:
                await self._event("next", answer.shown)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._write(b":\n\n")

    async def _event(self, name: str, shown: dict[str, object] | None = None) -> None:
        data = orjson.dumps(shown) if shown is not None else b""
        await self._write(b"event: " + name.encode() + b"\ndata: " + data + b"\n\n")

    async def _write(self, body: bytes) -> None:
        async with asyncio.timeout(websocket_socket.SLOW_SECONDS), self._turns:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})


async def _set(event: asyncio.Event) -> None:
    await event.wait()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
