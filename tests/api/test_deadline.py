"""An operation ends when its time is up or nobody waits for it, and PostgreSQL ends what it still did for it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from starlette.types import Message

from creditdesk.graphql.answering import Answering
from creditdesk.graphql.endpoint import GraphQLEndpoint
from creditdesk.graphql.protection.deadline import NOTICED_AFTER_SECONDS, within
from support.databases import FreshDatabase
from support.processes import wait_until
from support.world import MAX_BODY_BYTES, World, boundless, world_of

SOON = 0.6
WAITING = """SELECT count(*) FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'creditdesk' AND state = 'active'"""
BY_LOADER = "{ viewer { workspace { usage(range: {preset: LAST_7_DAYS}) { credits } } } }"
BY_READER = "{ viewer { workspace { audit(first: 1) { nodes { __typename } } } } }"
CHANGE = "mutation { changeSettings(input: {expectedVersion: %d, nearPercent: 50}) { __typename } }"


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database, answering=boundless(seconds=SOON)) as filled:
        yield filled


@contextmanager
def locked(world: World, *tables: str) -> Iterator[None]:
    """Keep everybody else from reading these tables."""
    with psycopg.connect(world.fresh.owner_dsn) as owner:
        for table in tables:
            owner.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table)))
        yield
        owner.rollback()


def rollups(world: World) -> list[str]:
    found = world.sql("SELECT relname FROM pg_class WHERE starts_with(relname, 'rollup_') AND relkind = 'r'")
    return [name for (name,) in found]


def working(world: World) -> int:
    """Return how many statements PostgreSQL works on for the server."""
    return int(world.sql(WAITING)[0][0])


@pytest.mark.parametrize("query", [BY_LOADER, BY_READER], ids=["loader", "reader"])
def test_when_its_time_is_up_an_operation_is_answered_and_its_statements_are_cancelled(
    world: World, query: str
) -> None:
    before = world.ask("OWNER", query)
    with locked(world, "audit_entry", *rollups(world)):
        response = world.run(world.posting("OWNER", query))
        assert response.status_code == 503
        assert response.json()["data"] is None
        assert [error["extensions"] for error in response.json()["errors"]] == [{"code": "TIMEOUT"}]
        assert working(world) == 0
    assert world.ask("OWNER", query) == before


def test_connections_are_given_back_in_good_order(world: World) -> None:
    with locked(world, "audit_entry", *rollups(world)):

        async def many() -> list[httpx.Response]:
            return await asyncio.gather(*(world.posting("OWNER", query) for query in [BY_LOADER, BY_READER] * 15))

        for _ in range(2):
            assert {response.status_code for response in world.run(many())} == {503}
            assert working(world) == 0
    for query in (BY_LOADER, BY_READER):
        answers = world.ask_together([("OWNER", query, {})] * 15)
        assert all("errors" not in answer for answer in answers)


class Client:
    """Sends a request and hangs up when it is told to."""

    def __init__(self, world: World, query: str) -> None:
        self.hung_up = asyncio.Event()
        self.sent: list[Message] = []
        self._messages: list[Message] = [{"type": "http.request", "body": json.dumps({"query": query}).encode()}]
        headers = {"content-type": "application/json"} | world.headers("OWNER")
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/graphql",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop()
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)


def patient(world: World, answering: Answering) -> GraphQLEndpoint:
    return GraphQLEndpoint(
        database=world.database,
        desk=world.endpoint._desk,  # noqa: SLF001 - the same desk as the world's own endpoint
        callers=world.callers,
        answering=answering,
        max_body_bytes=MAX_BODY_BYTES,
    )


async def hanging_up(world: World, query: str) -> Client:
    """Send a query, hang up once PostgreSQL works for it, and wait until the endpoint is done with it."""
    client = Client(world, query)
    answered = asyncio.create_task(patient(world, boundless())(client.scope, client.receive, client.send))
    await asyncio.to_thread(wait_until, lambda: working(world) > 0, "at work")
    client.hung_up.set()
    await answered
    return client


@pytest.mark.parametrize("query", [BY_LOADER, BY_READER], ids=["loader", "reader"])
def test_a_query_ends_when_its_client_hangs_up(world: World, query: str) -> None:
    with locked(world, "audit_entry", *rollups(world)):
        client = world.run(hanging_up(world, query))
        assert client.sent == []
        assert working(world) == 0
    assert "errors" not in world.answer("OWNER", query)


def test_a_mutation_is_brought_to_its_end_although_its_client_hung_up(world: World) -> None:
    settings = "{ viewer { workspace { settings { version nearPercent } } } }"
    shown = world.ask("OWNER", settings)["viewer"]["workspace"]["settings"]
    client = Client(world, CHANGE % shown["version"])

    async def changed() -> None:
        with locked(world, "audit_entry"):
            answered = asyncio.create_task(patient(world, boundless())(client.scope, client.receive, client.send))
            await asyncio.to_thread(wait_until, lambda: working(world) > 0, "at work")
            client.hung_up.set()
            await asyncio.sleep(2 * NOTICED_AFTER_SECONDS)
            assert not answered.done()
        await answered

    world.run(changed())
    after = world.ask("OWNER", settings)["viewer"]["workspace"]["settings"]
    assert after == {"version": shown["version"] + 1, "nearPercent": 50}


def test_who_is_cancelled_by_others_is_not_told_that_time_is_up(world: World) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("work")

    async def cancelled() -> bool:
        task = asyncio.create_task(within(60, work()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert world.run(cancelled())
    assert ended == ["work"]


def test_whose_time_is_up_may_go_on_to_wait(world: World) -> None:
    async def late() -> int:
        with pytest.raises(TimeoutError):
            await within(0, asyncio.sleep(60))
        await asyncio.sleep(0)
        return asyncio.current_task().cancelling()  # type: ignore[union-attr]  # it runs in one

    assert world.run(late()) == 0


def test_nothing_is_left_working(world: World) -> None:
    wait_until(lambda: working(world) == 0, "idle")
