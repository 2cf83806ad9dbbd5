"""A client of graphql-transport-ws that drives the endpoint in this process, and can stop reading."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message

from creditdesk.credits.changes import Topic
from creditdesk.graphql.websocket import PROTOCOL, WebSocketEndpoint
from support.world import World

PATIENCE_SECONDS = 20


@dataclass
class Talk:
    """One connection. What the server sends is kept until it is asked for."""

    incoming: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    outgoing: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    aborted: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, message: Message) -> None:
        """Take what the server sends, as long as the client reads."""
        await self.reads.wait()
        self.outgoing.put_nowait(message)

    def abort(self) -> None:
        self.aborted.set()

    def say(self, message: object) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self.incoming.put_nowait({"type": "websocket.receive", "text": text})

    def subscribe(self, id_: str, query: str, **variables: Any) -> None:
        self.say({"id": id_, "type": "subscribe", "payload": {"query": query, "variables": variables}})

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def event(self) -> Message:
        """Return the next thing that the server did with the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.outgoing.get()

    async def hear(self) -> Any:
        """Return the server's next message."""
        event = await self.event()
        assert event["type"] == "websocket.send", event
        assert isinstance(event["text"], str)
        return json.loads(event["text"])

    async def closed(self) -> tuple[int, str]:
        """Return the code and the reason that the server closes with; what it says before that is passed over."""
        while True:
            event = await self.event()
            if event["type"] == "websocket.close":
                return event["code"], event["reason"]

    async def open(self, payload: object) -> None:
        """Say who one is, and wait for the answer."""
        self.say({"type": "connection_init", "payload": payload})
        assert await self.hear() == {"type": "connection_ack"}

    async def data(self, id_: str) -> Any:
        """Return the data of the next answer, which belongs to this operation."""
        message = await self.hear()
        assert (message["type"], message["id"]) == ("next", id_), message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    def said(self) -> list[Any]:
        """Return what the server has said and nobody has asked for yet."""
        events = []
        while not self.outgoing.empty():
            events.append(self.outgoing.get_nowait())
        return [json.loads(event["text"]) if "text" in event else event for event in events]


@asynccontextmanager
async def shaking_hands(
    endpoint: WebSocketEndpoint, headers: Mapping[str, str] | None = None, protocols: tuple[str, ...] = (PROTOCOL,)
) -> AsyncIterator[Talk]:
    """Ask for a connection; it is left with the block."""
    talk = Talk()
    talk.reads.set()
    talk.incoming.put_nowait({"type": "websocket.connect"})
    scope = {
        "type": "websocket",
        "path": "/graphql",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "subprotocols": list(protocols),
        "extensions": {"websocket.http.response": {}},
        "state": {"connection": talk},
    }
    served = asyncio.create_task(endpoint(scope, talk.incoming.get, talk.deliver))
    try:
        yield talk
    finally:
        talk.reads.set()
        talk.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await served


@asynccontextmanager
async def talking(world: World, caller: str | None) -> AsyncIterator[Talk]:
    """Open a connection as somebody; with None nobody has said who they are yet."""
    endpoint = WebSocketEndpoint(callers=world.callers, streams=world.streams)
    async with shaking_hands(endpoint) as talk:
        accepted = await talk.event()
        assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", PROTOCOL)
        if caller is not None:
            await talk.open(world.headers(caller))
        yield talk


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


def watcher_count(world: World) -> int:
    """Return how many watch something, and are told of whatever is committed from now on."""
    return sum(
        len(watchers)
        for watched in world.streams.live.feed._watched.values()  # noqa: SLF001 - nobody else has to know
        if watched.snapshot is not None
        for topic, by_id in watched.watchers.items()
        if topic is not Topic.PEOPLE
        for watchers in by_id.values()
    )


def with_feed(world: World, act: Callable[[], Any]) -> Any:
    """Run something while changes are told."""

    async def acting() -> Any:
        async with world.streams.live.feed.running():
            return await act()

    return world.run(acting())
