"""Who a scope is from: its token, wherever it comes in, and the origin of whoever opens a connection."""

from collections.abc import Iterator
from typing import Any

import pytest

from creditdesk.auth.callers import Callers
from creditdesk.auth.errors import CrossSite, NoToken, Unauthenticated
from creditdesk.auth.origins import Origins, origin_of, origins
from creditdesk.db.connections import Database
from support.databases import FreshDatabase
from support.world import ACME, World, put_place, workspace_slug, world_of

CONSOLE = "https://console.example.com"
KNOWN = Origins("https://credits.example.com", frozenset({CONSOLE}))
FOREIGN = [
    "https://evil.example",
    "https://console.example.com.evil.example",
    "https://console.example.com:444",
    "http://console.example.com",
    "https://CONSOLE.example.com",
    "null",
    "",
]


def scope(kind: str = "http", **headers: str) -> dict[str, Any]:
    return {
        "type": kind,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }


async def put_people(database: Database) -> None:
    await put_place(database, ACME)


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database, put_people) as filled:
        yield filled


@pytest.fixture(scope="module")
def callers(world: World) -> Callers:
    return Callers(world.authenticator, origins=KNOWN)


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_token_is_taken_from_the_headers_of_a_request_and_of_a_handshake(
    world: World, callers: Callers, kind: str
) -> None:
    caller = world.run(callers.caller_of(scope(kind, authorization=f"Bearer {world.token('MEMBER')}")))
    assert (caller.principal.subject, caller.headers) == ("mo", ())
    assert world.token("MEMBER") not in repr(caller)


def test_two_tokens_are_none(world: World, callers: Callers) -> None:
    both = scope(authorization=f"Bearer {world.token('MEMBER')}")
    both["headers"] *= 2
    with pytest.raises(Unauthenticated):
        world.run(callers.caller_of(both))


def test_without_a_token_nobody_is_calling(world: World, callers: Callers) -> None:
    with pytest.raises(NoToken):
        world.run(callers.caller_of(scope()))


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_handshake_of_a_foreign_origin_is_refused_also_with_a_token(
    world: World, callers: Callers, origin: str
) -> None:
    with pytest.raises(CrossSite):
        world.run(callers.caller_of(scope("websocket", authorization=f"Bearer {world.token('OWNER')}", origin=origin)))


@pytest.mark.parametrize("headers", [{}, {"origin": "https://credits.example.com"}, {"origin": CONSOLE}])
def test_a_handshake_of_a_program_of_our_own_origin_or_of_a_listed_one_is_let_in(
    world: World, callers: Callers, headers: dict[str, str]
) -> None:
    caller = world.run(callers.caller_of(scope("websocket", authorization=f"Bearer {world.token('OWNER')}", **headers)))
    assert caller.principal.subject == "olga"


def test_a_request_with_a_token_is_let_in_whatever_its_origin(world: World, callers: Callers) -> None:
    found = world.run(
        callers.caller_of(scope(authorization=f"Bearer {world.token('OWNER')}", origin="https://evil.example"))
    )
    assert found.principal.subject == "olga"


def test_on_a_connection_that_stays_open_a_caller_is_asked_for_again(world: World, callers: Callers) -> None:
    token = world.site.token(sub="mo", roles=["member"], workspace=workspace_slug("acme"))
    caller = world.run(callers.caller_with(f"Bearer {token}"))
    assert world.run(callers.again(caller)).principal == caller.principal
    world.site.clock.advance(300 + 60)
    with pytest.raises(Unauthenticated):
        world.run(callers.again(caller))
    world.site.clock.advance(-360)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Credits.Example.com:443/app/", "https://credits.example.com"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:80/", "http://[::1]"),
        ("https://credits.example.com:8443", "https://credits.example.com:8443"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin
    assert origins(public_url=url, allowed=[]).knows(origin)


def test_nobody_s_origin_is_known_where_none_is_configured() -> None:
    assert not any(origins(public_url=None, allowed=[]).knows(origin) for origin in [*FOREIGN, CONSOLE])
