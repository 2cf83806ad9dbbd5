"""Server-sent events: one operation, a stream of its answers, over HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import pytest

from creditdesk.credits.amounts import MICRO, parse_credits
from creditdesk.db.connections import Database
from creditdesk.graphql import event_stream, websocket_socket, welcome
from support.databases import FreshDatabase
from support.serving import serving
from support.talking import until, with_feed
from support.using import use
from support.world import CALLERS, PLACES, World, put_place, shown_id, user_id, workspace_slug, world_of

BUDGET = "subscription { budgetChanged { used } }"
EVENTS = {"accept": "text/event-stream"}
GET = {"graphql-require-preflight": "1"}


async def put_people(database: Database) -> None:
    for place in PLACES:
        await put_place(database, place, moved=True)


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database, put_people) as filled:
        yield filled


async def events_of(response: httpx.Response) -> AsyncGenerator[tuple[str, Any], None]:
    """Yield the events of a stream, and comments as events without a name."""
    name = ""
    async for line in response.aiter_lines():
        if line == ":":
            yield "", None
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data:"):
            data = line.removeprefix("data:").strip()
            yield name, json.loads(data) if data else None


@asynccontextmanager
async def streaming(
    world: World, headers: dict[str, str], query: str, method: str = "POST"
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[tuple[str, Any]]]]:
    """Ask for a stream over a connection of its own."""
    asked: dict[str, Any] = {"json": {"query": query}} if method == "POST" else {"params": {"query": query}}
    async with (
        serving(world.endpoint) as url,
        httpx.AsyncClient(trust_env=False, timeout=20) as client,
        client.stream(method, url, headers=EVENTS | headers, **asked) as response,
        aclosing(events_of(response)) as events,
    ):
        yield response, events


async def named(events: AsyncIterator[tuple[str, Any]]) -> tuple[str, Any]:
    """Return the next event that is no heartbeat."""
    async for name, data in events:
        if name:
            return name, data
    return "end", None


def test_a_subscription_is_a_stream_of_events(world: World) -> None:
    async def talk() -> None:
        async with streaming(world, world.headers("MEMBER"), BUDGET) as (response, events):
            assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
            assert response.headers["cache-control"] == "private, no-store"
            name, first = await named(events)
            assert name == "next"
            await use(world, "mo", 2)
            name, second = await named(events)
            before, after = (parse_credits(one["data"]["budgetChanged"]["used"]) for one in (first, second))
            assert (name, after) == ("next", before + 2 * MICRO)

    with_feed(world, talk)


@pytest.mark.parametrize(("method", "headers"), [("POST", {}), ("GET", GET)])
def test_a_query_is_one_event_and_the_end(world: World, method: str, headers: dict[str, str]) -> None:
    async def talk() -> list[tuple[str, Any]]:
        async with streaming(world, world.headers("MEMBER") | headers, "{ __typename }", method) as (_, events):
            return [event async for event in events if event[0]]

    (name, answer), end = world.run(talk())
    assert (name, answer["data"], end) == ("next", {"__typename": "Query"}, ("complete", None))


REFUSED: list[tuple[str, str, dict[str, str], str, tuple[int, str]]] = [
    ("a document that does not fit", "POST", {}, "{ nothing }", (200, "GRAPHQL_VALIDATION_FAILED")),
    ("without a token", "POST", {"authorization": ""}, BUDGET, (401, "UNAUTHENTICATED")),
    ("by GET without its header", "GET", {}, BUDGET, (400, "MALFORMED_REQUEST")),
    ("a mutation by GET", "GET", GET, "mutation { __typename }", (405, "MALFORMED_REQUEST")),
]


@pytest.mark.parametrize(
    ("method", "headers", "query", "refusal"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
def test_what_is_refused_is_answered_as_json_before_any_event(
    world: World, method: str, headers: dict[str, str], query: str, refusal: tuple[int, str]
) -> None:
    async def talk() -> tuple[int, str, str]:
        async with streaming(world, world.headers("MEMBER") | headers, query, method) as (response, _):
            body = json.loads(await response.aread())
            return response.status_code, response.headers["content-type"], body["errors"][0]["extensions"]["code"]

    status, code = refusal
    assert world.run(talk()) == (status, "application/json", code)


def test_whoever_takes_json_as_well_gets_one_answer_to_a_query(world: World) -> None:
    """As clients ask that would take a stream if there were one."""
    accept = "application/graphql-response+json, application/json, text/event-stream, multipart/mixed"

    async def talk() -> httpx.Response:
        headers = world.headers("MEMBER") | {"accept": accept}
        return await world.http.post("/", json={"query": "{ __typename }"}, headers=headers)

    response = world.run(talk())
    assert (response.headers["content-type"], response.json()["data"]) == (
        "application/graphql-response+json",
        {"__typename": "Query"},
    )


def test_a_silent_stream_shows_that_it_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.05)

    async def talk() -> list[str]:
        query = "subscription { usageRecorded { credits } }"
        async with streaming(world, world.headers("MEMBER"), query) as (_, events):
            return [(await anext(events))[0] for _ in range(3)]

    assert with_feed(world, talk) == ["", "", ""]


def test_a_stream_ends_when_its_token_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(welcome, "ASK_SECONDS", 0.1)

    async def talk() -> list[tuple[str, Any]]:
        async with streaming(world, world.headers("MEMBER"), BUDGET) as (_, events):
            await named(events)
            world.site.clock.advance(1000)
            return [event async for event in events if event[0]]

    ended = with_feed(world, talk)
    world.tokens.clear()
    assert [name for name, _ in ended] == ["next", "complete"]
    assert [error["extensions"]["code"] for error in ended[0][1]["errors"]] == ["UNAUTHENTICATED"]


def test_a_stream_of_a_user_who_is_deactivated_ends_at_once(world: World) -> None:
    query = "mutation($id: ID!) { deactivateUser(input: {user: {id: $id}}) { __typename } }"
    claims: dict[str, Any] = dict(CALLERS["GROUP_MANAGER"])
    token = world.site.token(**claims, workspace=workspace_slug("acme"), iat=int(time.time()) - 60)

    async def talk() -> list[str]:
        async with streaming(world, {"authorization": f"Bearer {token}"}, BUDGET) as (_, events):
            await named(events)
            await world.answering("OWNER", query, {"id": shown_id("User", user_id("gina"))})
            return [name async for name, _ in events if name]

    assert with_feed(world, talk) == ["next", "complete"]


def test_streams_end_with_complete_when_the_server_does(world: World) -> None:
    async def talk() -> list[str]:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            async with serving(world.endpoint) as url:
                asked = client.build_request(
                    "POST", url, json={"query": BUDGET}, headers=EVENTS | world.headers("MEMBER")
                )
                response = await client.send(asked, stream=True)
                events = events_of(response)
                await named(events)
            return [name async for name, _ in events if name]

    assert with_feed(world, talk) == ["complete"]


def test_a_client_that_hangs_up_leaves_nothing_behind(world: World) -> None:
    async def talk() -> None:
        async with streaming(world, world.headers("MEMBER"), BUDGET) as (_, events):
            await named(events)
        await until(lambda: world.streams.subscribers.open.subscriptions == 0)

    with_feed(world, talk)
    assert world.streams.subscribers.open.connections == 0


def test_a_client_that_does_not_read_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_socket, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0)  # as fast as they can be written
    dropped = world.streams.subscribers.open.dropped

    async def talk() -> None:
        async with serving(world.endpoint) as url:
            host, port = url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            body = json.dumps({"query": BUDGET}).encode()
            head = {
                "host": "test",
                "accept": "text/event-stream",
                "content-type": "application/json",
                "content-length": str(len(body)),
                **world.headers("MEMBER"),
            }
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            writer.write(f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body)
            try:
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                await until(lambda: world.streams.subscribers.open.dropped == dropped + 1)
            finally:
                writer.transport.abort()

    with_feed(world, talk)
    assert world.streams.subscribers.open.subscriptions == 0
