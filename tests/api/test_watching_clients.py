"""Subscriptions with the clients that frontends use: npm graphql-ws and graphql-sse, over a port of this machine."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from creditdesk.credits.amounts import MICRO, parse_credits
from creditdesk.db.connections import Database
from creditdesk.graphql import welcome
from creditdesk.graphql.websocket import WebSocketEndpoint
from support.databases import FreshDatabase
from support.node import node_packages, run_node
from support.serving import serving
from support.talking import until, with_feed
from support.using import use
from support.world import CALLERS, PLACES, World, put_place, workspace_slug, world_of


async def put_people(database: Database) -> None:
    for place in PLACES:
        await put_place(database, place, moved=True)


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    node_packages()
    with world_of(module_database, put_people) as filled:
        yield filled


async def watched(world: World, kind: str, tokens: list[str], wanted: int, act: Callable[[], Any]) -> Any:
    """Return what the client tells of so many events; `act` is done when it has been told the first of them."""
    endpoint, was_told = WebSocketEndpoint(callers=world.callers, streams=world.streams), asyncio.Event()

    async def told(_: Request) -> Response:
        was_told.set()
        return Response()

    routes = [Route("/graphql", world.endpoint), WebSocketRoute("/graphql", endpoint), Route("/told", told)]
    app = Starlette(routes=routes)
    async with serving(app) as url:
        address = f"{url.replace('http', 'ws', 1) if kind == 'ws' else url}/graphql"
        client = asyncio.create_task(asyncio.to_thread(run_node, "watch.mjs", kind, address, str(wanted), *tokens))
        await until(lambda: was_told.is_set() or client.done())
        if not client.done():
            await act()
        return await client


@pytest.mark.parametrize("kind", ["ws", "sse"])
def test_the_client_is_told_the_state_and_then_what_changes(world: World, kind: str) -> None:
    async def act() -> None:
        # One after the other is told, since each is waited for: the balance is read where the last one is seen.
        await use(world, "mo", 2)

    found = with_feed(world, lambda: watched(world, kind, [world.token("MEMBER")], 2, act))
    before, after = (parse_credits(used) for used in found["told"])
    assert (after - before, found["connections"]) == (2 * MICRO, 1)


def test_the_client_comes_back_by_itself_with_a_fresh_token_when_the_old_one_expires(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(welcome, "ASK_SECONDS", 0.1)
    claims: dict[str, Any] = {**CALLERS["MEMBER"], "workspace": workspace_slug("acme")}
    now = int(world.site.clock())
    tokens = [world.site.token(exp=now + 300, **claims), world.site.token(exp=now + 5000, **claims)]

    async def act() -> None:
        world.site.clock.advance(1000)

    found = with_feed(world, lambda: watched(world, "ws", tokens, 2, act))
    # The state of the first connection, and of the second one.
    assert found["told"][0] == found["told"][1]
    assert found["connections"] == 2
    assert found["codes"][0] == 4403
