"""graphql-transport-ws: what is said, in which order, and how a connection ends."""

import asyncio
import time
from typing import Any

import pytest

from creditdesk.graphql import websocket, websocket_socket, welcome
from creditdesk.graphql.websocket import MOST_OPERATIONS, WebSocketEndpoint
from support.talking import Talk, shaking_hands, talking, until, with_feed
from support.world import CALLERS, MOST_SUBSCRIPTIONS, World, canary, shown_id, user_id, workspace_slug

BUDGET = "subscription { budgetChanged { used limit { __typename } } }"
VIEWER = "{ viewer { user { displayName } } }"
RELEASE = 'mutation { releaseHold(input: {hold: "nothing"}) { __typename ... on InvalidInput { code } } }'


def test_queries_and_mutations_are_answered_over_the_connection(world: World) -> None:
    async def talk() -> None:
        async with talking(world, "MEMBER") as client:
            client.subscribe("1", VIEWER)
            assert (await client.data("1"))["viewer"]["user"]["displayName"] == f"Mo Member {canary('user', 'mo')}"
            assert await client.hear() == {"id": "1", "type": "complete"}
            # An id that is free again may be used again.
            client.subscribe("1", "{ __typename }")
            assert await client.data("1") == {"__typename": "Query"}

    world.run(talk())


def test_a_document_that_does_not_fit_is_an_error_of_its_operation_only(world: World) -> None:
    async def talk() -> None:
        async with talking(world, "MEMBER") as client:
            client.subscribe("bad", "{ nothing }")
            error = await client.hear()
            assert (error["id"], error["type"]) == ("bad", "error")
            assert [one["extensions"]["code"] for one in error["payload"]] == ["GRAPHQL_VALIDATION_FAILED"]
            client.say({"id": "odd", "type": "subscribe", "payload": {"query": 5}})
            assert (await client.hear())["payload"][0]["extensions"]["code"] == "MALFORMED_REQUEST"
            client.subscribe("good", "{ __typename }")
            assert await client.data("good") == {"__typename": "Query"}

    world.run(talk())


def test_a_subscription_starts_with_the_state_and_ends_with_complete(world: World) -> None:
    async def talk() -> None:
        async with talking(world, "MEMBER") as client:
            client.subscribe("1", BUDGET)
            assert (await client.data("1"))["budgetChanged"]["limit"] == {"__typename": "LimitedTo"}
            client.say({"id": "1", "type": "complete"})
            # Nothing more comes of it, and its id is free.
            client.subscribe("1", "{ __typename }")
            while (message := await client.hear())["payload"]["data"] != {"__typename": "Query"}:
                assert "budgetChanged" in message["payload"]["data"]

    with_feed(world, talk)


def test_pings_are_answered(world: World) -> None:
    async def talk() -> None:
        async with talking(world, None) as client:
            client.say({"type": "ping"})
            assert await client.hear() == {"type": "pong"}

    world.run(talk())


@pytest.mark.parametrize(
    "payload",
    [{"authorization": "Bearer {token}"}, {"Authorization": "Bearer {token}"}, {"token": "{token}"}],
    ids=lambda payload: next(iter(payload)),
)
def test_the_token_comes_with_connection_init_under_any_of_three_names(world: World, payload: dict[str, str]) -> None:
    shown = {name: value.format(token=world.token("MEMBER")) for name, value in payload.items()}

    async def talk() -> None:
        async with talking(world, None) as client:
            await client.open(shown)
            client.subscribe("1", VIEWER)
            assert (await client.data("1"))["viewer"]["user"]["displayName"].startswith("Mo Member")

    world.run(talk())


def test_the_token_may_come_with_the_handshake(world: World) -> None:
    async def talk() -> None:
        endpoint = WebSocketEndpoint(callers=world.callers, streams=world.streams)
        async with shaking_hands(endpoint, world.headers("MEMBER")) as client:
            assert (await client.event())["type"] == "websocket.accept"
            client.say({"type": "connection_init"})
            assert await client.hear() == {"type": "connection_ack"}

    world.run(talk())


ENDINGS: list[tuple[str, list[Any], int, str]] = [
    ("without credentials", [{"type": "connection_init"}], 4403, "UNAUTHENTICATED: "),
    ("a bad token", [{"type": "connection_init", "payload": {"token": "bad"}}], 4403, "UNAUTHENTICATED: "),
    ("a token of another type", [{"type": "connection_init", "payload": {"token": 5}}], 4400, "`token` must be"),
    ("a payload that is no object", [{"type": "connection_init", "payload": [1]}], 4400, "`payload` must be"),
    ("subscribing first", [{"id": "1", "type": "subscribe", "payload": {"query": BUDGET}}], 4401, "Unauthorized"),
    ("no JSON", ["{"], 4400, "Messages are JSON"),
    ("no object", ["[]"], 4400, "Messages are JSON objects"),
    ("no type", [{}], 4400, "There is no such type of message"),
    ("an unknown type", [{"type": "start"}], 4400, "There is no such type of message"),
]


@pytest.mark.parametrize(("said", "code", "reason"), [one[1:] for one in ENDINGS], ids=[one[0] for one in ENDINGS])
def test_what_is_not_in_the_protocol_ends_the_connection_with_its_code(
    world: World, said: list[Any], code: int, reason: str
) -> None:
    async def talk() -> tuple[int, str]:
        async with talking(world, None) as client:
            for message in said:
                client.say(message)
            return await client.closed()

    ended = world.run(talk())
    assert ended[0] == code
    assert ended[1].startswith(reason)


OPEN: list[tuple[str, list[Any], int]] = [
    ("initialising again", [{"type": "connection_init"}], 4429),
    ("an id that is in use", [{"id": "1", "type": "subscribe", "payload": {"query": BUDGET}}] * 2, 4409),
    ("an id that is empty", [{"id": "", "type": "subscribe", "payload": {"query": BUDGET}}], 4400),
    ("an id that is no text", [{"id": 1, "type": "subscribe", "payload": {"query": BUDGET}}], 4400),
]


@pytest.mark.parametrize(("said", "code"), [one[1:] for one in OPEN], ids=[one[0] for one in OPEN])
def test_what_is_not_in_the_protocol_ends_an_open_connection_too(world: World, said: list[Any], code: int) -> None:
    async def talk() -> tuple[int, str]:
        async with talking(world, "MEMBER") as client:
            for message in said:
                client.say(message)
            return await client.closed()

    assert with_feed(world, talk)[0] == code


def test_frames_that_are_not_text_end_the_connection(world: World) -> None:
    async def talk() -> tuple[int, str]:
        async with talking(world, None) as client:
            client.incoming.put_nowait({"type": "websocket.receive", "bytes": b"{}"})
            return await client.closed()

    assert world.run(talk()) == (4400, "Messages are text")


def test_a_client_that_speaks_another_protocol_is_told_so(world: World) -> None:
    async def talk() -> list[Any]:
        endpoint = WebSocketEndpoint(callers=world.callers, streams=world.streams)
        async with shaking_hands(endpoint, protocols=("graphql-ws",)) as client:
            return [await client.event(), await client.event()]

    accepted, closed = world.run(talk())
    assert accepted == {"type": "websocket.accept", "subprotocol": None}
    assert closed["code"] == 4406


def test_a_page_of_a_foreign_origin_gets_no_connection(world: World) -> None:
    async def talk() -> list[Any]:
        endpoint = WebSocketEndpoint(callers=world.callers, streams=world.streams)
        headers = {"origin": "https://evil.example", **world.headers("OWNER")}
        async with shaking_hands(endpoint, headers) as client:
            return [await client.event(), await client.event()]

    start, body = world.run(talk())
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
    assert b'"CROSS_SITE"' in body["body"]


def test_a_client_that_does_not_say_who_it_is_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "INITIALISATION_SECONDS", 0.05)

    async def talk() -> tuple[int, str]:
        async with talking(world, None) as client:
            return await client.closed()

    assert world.run(talk())[0] == 4408


def test_one_caller_has_so_many_subscriptions_over_all_connections(world: World) -> None:
    async def talk() -> Any:
        async with talking(world, "MEMBER") as one, talking(world, "MEMBER") as other:
            for nth in range(MOST_SUBSCRIPTIONS):
                one.subscribe(str(nth), "subscription { usageRecorded { credits } }")
            await until(lambda: world.streams.subscribers.open.subscriptions == MOST_SUBSCRIPTIONS)
            other.subscribe("more", BUDGET)
            refused = await other.hear()
            # Others have theirs, and one that ends makes room.
            async with talking(world, "OWNER") as owner:
                owner.subscribe("1", BUDGET)
                await owner.data("1")
            one.say({"id": "0", "type": "complete"})
            await until(lambda: world.streams.subscribers.open.subscriptions < MOST_SUBSCRIPTIONS)
            other.subscribe("more", BUDGET)
            await other.data("more")
            return refused

    refused = with_feed(world, talk)
    assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "TOO_MANY_SUBSCRIPTIONS")
    assert world.streams.subscribers.open.subscriptions == 0


def test_one_connection_has_so_many_operations(world: World) -> None:
    async def talk() -> tuple[int, str]:
        async with talking(world, "MEMBER") as client:
            for nth in range(MOST_OPERATIONS + 1):
                client.subscribe(str(nth), BUDGET)
            return await client.closed()

    assert with_feed(world, talk)[0] == 4400


def test_a_client_that_stops_reading_is_dropped_and_others_do_not_notice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_socket, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(websocket_socket, "_CLOSING_SECONDS", 0.05)

    async def talk() -> None:
        async with talking(world, "MEMBER") as slow, talking(world, "MEMBER") as other:
            slow.reads.clear()
            slow.subscribe("1", BUDGET)
            async with asyncio.timeout(20):
                await slow.aborted.wait()
            other.subscribe("1", BUDGET)
            await other.data("1")

    dropped = world.streams.subscribers.open.dropped
    with_feed(world, talk)
    assert world.streams.subscribers.open.dropped == dropped + 1


def test_a_client_that_does_not_answer_pings_is_dropped_with_a_code(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PING_SECONDS", 0.2)

    async def talk() -> tuple[int, str]:
        async with talking(world, "MEMBER") as silent, talking(world, "MEMBER") as polite:
            answering = asyncio.create_task(_answer_pings(polite))
            ended = await silent.closed()
            polite.subscribe("1", "{ __typename }")
            async with asyncio.timeout(20):
                await answering
            return ended

    ended = world.run(talk())
    assert ended == (4508, "SLOW_CONSUMER: the client does not answer")


async def _answer_pings(client: Talk) -> None:
    """Answer pings until there is something else to hear."""
    while (await client.hear())["type"] == "ping":
        client.say({"type": "pong"})


def test_a_client_that_hangs_up_leaves_nothing_behind(world: World) -> None:
    async def talk() -> None:
        async with talking(world, "OWNER") as client:
            client.subscribe("1", BUDGET)
            client.subscribe("2", "subscription { usageRecorded { credits } }")
            await client.data("1")

    with_feed(world, talk)
    is_open = world.streams.subscribers.open
    assert (is_open.connections, is_open.subscriptions) == (0, 0)
    assert world.streams.live.feed._watched == {}  # noqa: SLF001 - that nothing is left has no other sign


def test_when_the_token_expires_the_connection_ends_and_a_fresh_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(welcome, "ASK_SECONDS", 0.1)

    async def talk() -> tuple[int, str]:
        async with talking(world, "MEMBER") as client:
            client.subscribe("1", BUDGET)
            await client.data("1")
            world.site.clock.advance(1000)
            ended = await client.closed()
        world.tokens.clear()
        async with talking(world, "MEMBER") as client:
            client.subscribe("1", BUDGET)
            await client.data("1")
        return ended

    assert with_feed(world, talk) == (4403, "UNAUTHENTICATED: The access token has expired. Get a new one.")


@pytest.mark.parametrize(
    ("change", "caller", "name"), [("deactivateUser", "GROUP_MANAGER", "gina"), ("endSessions", "ANALYST", "anna")]
)
def test_a_user_who_may_not_come_in_any_more_is_let_go_of_at_once(
    world: World, change: str, caller: str, name: str
) -> None:
    query = f"mutation($id: ID!) {{ {change}(input: {{user: {{id: $id}}}}) {{ __typename }} }}"
    reactivate = "mutation($id: ID!) { reactivateUser(input: {user: {id: $id}}) { __typename } }"

    async def talk() -> tuple[int, str]:
        # The clock of the tests' issuer is ahead of the server's: this one was issued before its end.
        earlier = int(time.time()) - 60
        claims: dict[str, Any] = dict(CALLERS[caller])
        token = world.site.token(**claims, workspace=workspace_slug("acme"), iat=earlier)
        async with talking(world, None) as client, talking(world, "MEMBER") as other:
            await client.open({"token": token})
            client.subscribe("1", BUDGET)
            await client.data("1")
            answer = await world.answering("OWNER", query, {"id": shown_id("User", user_id(name))})
            assert answer["data"][change]["__typename"].endswith("Success"), answer
            ended = await client.closed()
            other.subscribe("1", BUDGET)
            await other.data("1")
        if change == "deactivateUser":
            await world.answering("OWNER", reactivate, {"id": shown_id("User", user_id(name))})
        return ended

    assert with_feed(world, talk)[0] == 4403
