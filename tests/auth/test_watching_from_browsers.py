"""WebSockets of browsers that have signed in: the cookie opens them, for pages that are known here, while it lasts."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.graphql import welcome
from creditdesk.graphql.answering import Answering
from creditdesk.graphql.live import Live
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema
from creditdesk.graphql.streams import Streams
from creditdesk.graphql.subscribers import Subscribers
from creditdesk.graphql.websocket import WebSocketEndpoint
from support.browsers import CONSOLE, COOKIE, PUBLIC_URL, Browser, House, house_of
from support.databases import FreshDatabase
from support.talking import Talk, shaking_hands


@pytest.fixture(scope="module")
def open_house(module_database: FreshDatabase) -> Iterator[House]:
    with house_of(module_database) as opened:
        yield opened


@pytest.fixture
def house(open_house: House) -> House:
    open_house.reset()
    return open_house


def endpoint_of(house: House) -> WebSocketEndpoint:
    streams = Streams(
        database=house.database,
        desk=HoldDesk(house.database, lambda: datetime.now(UTC)),
        answering=Answering(Documents(core_schema())),
        live=Live.over(house.database, lambda: datetime.now(UTC)),
        subscribers=Subscribers(most_per_caller=10),
    )
    return WebSocketEndpoint(callers=house.callers, streams=streams)


def shown_by(browser: Browser, **headers: str) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={browser.cookie}", **headers}


async def is_opened(client: Talk) -> None:
    assert (await client.event())["type"] == "websocket.accept"
    client.say({"type": "connection_init"})
    assert await client.hear() == {"type": "connection_ack"}


@pytest.mark.parametrize("origin", [PUBLIC_URL, CONSOLE])
def test_the_cookie_opens_a_connection_for_a_page_that_is_known(house: House, origin: str) -> None:
    headers = shown_by(house.signed_in("olga"), origin=origin)

    async def talk() -> Any:
        async with shaking_hands(endpoint_of(house), headers) as client:
            await is_opened(client)
            client.subscribe("1", "{ viewer { subject } }")
            return await client.data("1")

    assert house.run(talk()) == {"viewer": {"subject": "olga"}}


def test_the_cookie_opens_nothing_for_a_page_of_a_foreign_origin(house: House) -> None:
    headers = shown_by(house.signed_in("olga"), origin="https://evil.example")

    async def talk() -> Any:
        async with shaking_hands(endpoint_of(house), headers) as client:
            return await client.event()

    assert house.run(talk())["status"] == 403


def test_the_cookie_opens_nothing_where_nobody_says_which_page_it_is(house: House) -> None:
    headers = shown_by(house.signed_in("olga"))

    async def talk() -> tuple[int, str]:
        async with shaking_hands(endpoint_of(house), headers) as client:
            assert (await client.event())["type"] == "websocket.accept"
            client.say({"type": "connection_init"})
            return await client.closed()

    code, reason = house.run(talk())
    assert (code, reason.partition(":")[0]) == (4403, "CROSS_SITE")


def test_whoever_signs_out_is_let_go_of(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(welcome, "ASK_SECONDS", 0.1)
    browser = house.signed_in("olga")
    headers = shown_by(browser, origin=PUBLIC_URL)

    async def talk() -> tuple[int, str]:
        async with shaking_hands(endpoint_of(house), headers) as client:
            await is_opened(client)
            house.sql("DELETE FROM browser_session")
            return await client.closed()

    assert house.run(talk())[0] == 4403
