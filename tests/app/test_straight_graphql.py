"""The graph on straight ways: what goes one, that nobody can tell by the answers, and what ends with a client."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
from uvicorn.server import ServerState

from creditdesk.app.main import create_app
from creditdesk.app.metrics import Metrics
from creditdesk.app.middleware import Requests
from creditdesk.app.outgoing import MOST_BUFFERED_BYTES
from creditdesk.app.straight import StraightCall, StraightWays
from creditdesk.auth.origins import Origins
from creditdesk.graphql.answering import Answering
from creditdesk.graphql.media_types import GRAPHQL_RESPONSE, JSON
from support.databases import FreshDatabase
from support.processes import wait_until
from support.wires import listening, request
from support.world import MAX_BODY_BYTES, World, user_id, world_of

VIEWER = "{ viewer { subject role user { displayName } } }"
USAGE = "{ viewer { workspace { usage(range: {preset: LAST_7_DAYS}) { credits } } } }"
WRONG = '{ viewer { workspace { usage(range: {days: {first: "2026-02-02", last: "2026-02-01"}}) { credits } } } }'
VARIED = "query($size: Int!) { viewer { workspace { groups(first: $size) { nodes { name } } } } }"
CHANGE = "mutation { changeSettings(input: {expectedVersion: %d, nearPercent: %d}) { __typename } }"
STATEMENTS = """SELECT count(*) FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'creditdesk' AND state = 'active'"""
PAGE = "https://console.test"
Case = tuple[str, dict[str, str], bytes]


@dataclass
class House:
    """A world behind the server's own protocol: with straight ways, and by ASGI alone."""

    world: World
    straight: str = ""
    whole: str = ""
    begun: list[str] = field(default_factory=list)
    """The ids of the requests that went a straight way."""
    counted: list[tuple[str, str]] = field(default_factory=list)
    state: ServerState = field(default_factory=ServerState)
    """Of the server with straight ways."""

    def begin(self, headers: Mapping[bytes, bytes], content: bytes, call: StraightCall) -> bool:
        begun = self.world.endpoint.begin(headers, content, call)
        self.begun += [call.id] * begun
        return begun

    def sent(self, url: str, case: Case, id_: str) -> httpx.Response:
        method, headers, body = case

        async def sent() -> httpx.Response:
            async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
                return await http.request(method, "/graphql", headers=headers | {"x-request-id": id_}, content=body)

        response: httpx.Response = self.world.run(sent())
        return response

    def asked(self, caller: str, query: str, **variables: Any) -> httpx.Response:
        """Ask on the straight way."""
        before = len(self.begun)
        response = self.sent(self.straight, posting(self.world, query, caller, variables=variables), "asked")
        assert len(self.begun) == before + 1
        return response

    def working(self) -> bool:
        return bool(self.world.sql(STATEMENTS)[0][0])


@pytest.fixture(scope="module")
def house(module_database: FreshDatabase) -> Iterator[House]:
    with world_of(module_database) as world, house_of(world) as house:
        for caller in ("OWNER", "MEMBER"):
            house.sent(house.whole, posting(world, VIEWER, caller), "before")  # now they are known
        yield house


@contextmanager
def house_of(world: World) -> Iterator[House]:
    house = House(world)
    metrics = Metrics()
    app = create_app(
        database=world.database,
        verifier=world.site.verifier,
        http=world.site.http,
        graphql_endpoint=world.endpoint,
        holds_endpoint=world.endpoint,
        metrics=metrics,
        origins=Origins(allowed=frozenset({PAGE})),
    )
    requests = Requests(count=lambda path, status, _: house.counted.append((path, status)))
    ways = StraightWays({"/graphql": house.begin}, requests, varies=b"Origin")
    try:
        with (
            listening(world.runner, app, ways, state=house.state) as house.straight,
            listening(world.runner, app) as house.whole,
        ):
            yield house
    finally:
        world.database.observers.remove(metrics.count_statement)


def posting(
    world: World, query: str, caller: str = "OWNER", *, variables: Mapping[str, Any] | None = None, **headers: str
) -> Case:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    return "POST", {"content-type": JSON} | world.headers(caller) | named, body


def plain(world: World) -> dict[str, Case]:
    """Return what goes a straight way: of callers who are known."""
    return {
        "owner": posting(world, VIEWER),
        "member": posting(world, VIEWER, "MEMBER"),
        "variables": posting(world, VARIED, variables={"size": 2}),
        "by its type": posting(world, VIEWER, accept=GRAPHQL_RESPONSE),
        "in utf-8": posting(world, VIEWER, content_type="application/json; charset=utf-8"),
        "not a field": posting(world, "{ nope }"),
        "not a field, by its type": posting(world, "{ nope }", accept=GRAPHQL_RESPONSE),
        "not a document": posting(world, "{", accept="*/*"),
        "a false variable": posting(world, VARIED, variables={"size": "two"}),
        "a false range": posting(world, WRONG),
        "forbidden": posting(world, CHANGE % (1, 50), "MEMBER"),
        "an unknown id": ("POST", posting(world, "")[1], b'{"documentId": "nobody-knows"}'),
    }


def other(world: World) -> dict[str, Case]:
    """Return what goes the whole way."""
    viewer, headers = posting(world, VIEWER), posting(world, VIEWER)[1]
    nobody = {name: value for name, value in headers.items() if name != "authorization"}
    return {
        "by get": ("GET", headers | {"graphql-require-preflight": "1"}, b""),
        "of a page": posting(world, VIEWER, origin=PAGE),
        "of a false page": posting(world, VIEWER, origin="https://elsewhere.test"),
        "of no type that is known": posting(world, VIEWER, accept="text/html"),
        "as events": posting(world, VIEWER, accept="text/event-stream"),
        "not json": ("POST", headers, b"{"),
        "a batch": ("POST", headers, b"[]"),
        "nothing": ("POST", headers, b""),
        "text": posting(world, VIEWER, content_type="text/plain"),
        "in latin-1": posting(world, VIEWER, content_type="application/json; charset=latin-1"),
        "compressed": posting(world, VIEWER, content_encoding="gzip"),
        "large": ("POST", headers, viewer[2] + b" " * MOST_BUFFERED_BYTES),
        "too large": ("POST", headers, viewer[2] + b" " * MAX_BODY_BYTES),
        "nobody": ("POST", nobody, viewer[2]),
        "no token": posting(world, VIEWER, authorization="Bearer none"),
        "two tokens": posting(world, VIEWER, authorization="Bearer a b"),
        "no bearer": posting(world, VIEWER, authorization="Basic eDp5"),
    }


def told(response: httpx.Response) -> tuple[object, ...]:
    """Return all of an answer but the time that it was made at."""
    return response.status_code, [one for one in response.headers.raw if one[0] != b"date"], response.content


def test_what_is_plain_is_answered_on_the_straight_way_as_on_the_whole_one(house: House) -> None:
    for name, case in plain(house.world).items():
        id_ = f"plain-{len(house.begun)}"
        assert told(house.sent(house.straight, case, id_)) == told(house.sent(house.whole, case, id_)), name
        assert (house.begun[-1], house.counted[-1][0]) == (id_, "/graphql"), name


def test_anything_else_goes_the_whole_way(house: House) -> None:
    begun = len(house.begun)
    for nth, (name, case) in enumerate(other(house.world).items()):
        id_ = f"other-{nth}"
        assert told(house.sent(house.straight, case, id_)) == told(house.sent(house.whole, case, id_)), name
        assert len(house.begun) == begun, name


def test_who_is_not_known_yet_goes_the_whole_way_once(house: House) -> None:
    begun = len(house.begun)
    answers = [house.sent(house.straight, posting(house.world, VIEWER, "GROUP_MANAGER"), "same") for _ in range(3)]
    assert len(house.begun) - begun == 2
    assert len({str(told(answer)) for answer in answers}) == 1


def test_a_change_is_made_on_the_straight_way_and_bites_at_the_next_request(house: House) -> None:
    settings = "{ viewer { workspace { settings { version nearPercent } } } }"
    shown = house.asked("OWNER", settings).json()["data"]["viewer"]["workspace"]["settings"]
    changed = house.asked("OWNER", CHANGE % (shown["version"], 42)).json()
    assert changed == {**changed, "data": {"changeSettings": {"__typename": "ChangeSettingsSuccess"}}}
    after = house.asked("OWNER", settings).json()["data"]["viewer"]["workspace"]["settings"]
    assert after == {"version": shown["version"] + 1, "nearPercent": 42}


def test_who_is_nobody_by_now_is_told_so_on_the_straight_way_too(house: House) -> None:
    active = (
        "WITH one AS (UPDATE app_user SET active = %s WHERE id = %s RETURNING workspace_id)"
        " UPDATE workspace_settings AS s SET controls_version = controls_version + 1 FROM one"
        " WHERE s.workspace_id = one.workspace_id RETURNING 1"
    )
    assert house.world.sql(active, False, user_id("mo"))  # noqa: FBT003 - SQL's parameters have no names
    refused = house.asked("MEMBER", VIEWER)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert house.world.sql(active, True, user_id("mo"))  # noqa: FBT003 - as above
    assert house.sent(house.straight, posting(house.world, VIEWER, "MEMBER"), "again").status_code == 200


@contextmanager
def locked(world: World) -> Iterator[psycopg.Connection]:
    """Keep everybody else from reading what was used."""
    with psycopg.connect(world.fresh.owner_dsn) as owner:
        for (table,) in world.sql(
            "SELECT relname FROM pg_class WHERE starts_with(relname, 'rollup_') AND relkind = 'r'"
        ):
            owner.execute(
                psycopg.sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(psycopg.sql.Identifier(table))
            )
        yield owner
        owner.rollback()


async def opened(house: House, query: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask on a connection of one's own, and wait until PostgreSQL works for it."""
    host, port = house.straight.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    _, headers, body = posting(house.world, query)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(request("/graphql", method="POST", head=f"{head}content-length: {len(body)}\r\n") + body)
    await asyncio.to_thread(wait_until, house.working, "at work")
    return reader, writer


def test_a_query_ends_when_its_client_hangs_up(house: House) -> None:
    counted, begun = len(house.counted), len(house.begun)

    async def hanging_up() -> None:
        _, writer = await opened(house, USAGE)
        writer.transport.abort()
        await asyncio.to_thread(wait_until, lambda: not house.working(), "at rest")

    with locked(house.world):
        house.world.run(hanging_up())
    assert (len(house.begun), house.counted[counted:]) == (begun + 1, [("/graphql", "none")])
    assert house.asked("OWNER", USAGE).json()["data"]


def test_a_server_that_ends_waits_for_an_answer_and_sends_it(house: House) -> None:
    expected = house.asked("OWNER", USAGE).content

    async def ending() -> bytes:
        reader, writer = await opened(house, USAGE)
        [connection] = [one for one in house.state.connections if not one.transport.is_closing()]
        connection.shutdown()
        assert len(house.state.tasks) == 1
        owner.rollback()
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nconnection: close\r\n" in head
        answer = await reader.read()
        writer.close()
        await asyncio.to_thread(wait_until, lambda: not house.state.tasks, "done")
        return answer

    with locked(house.world) as owner:
        assert house.world.run(ending()) == expected


def test_what_nobody_expected_is_a_500_on_either_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Answering, "answer", failing)
    case = posting(house.world, VIEWER)
    straight, whole = house.sent(house.straight, case, "off"), house.sent(house.whole, case, "off")
    assert house.begun[-1] == "off"
    assert straight.status_code == 500
    assert straight.json()["errors"][0]["extensions"] == {"code": "INTERNAL", "requestId": "off"}
    assert told(straight) == told(whole)
