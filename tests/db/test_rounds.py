"""Reads that share a message: each is answered as if it had been asked alone."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest

from creditdesk.db.errors import DatabaseError
from creditdesk.db.messages import MOST_CHARACTERS, Reading, Row, reading_of
from creditdesk.db.rounds import MOST_AT_ONCE, Found, Rounds
from creditdesk.db.scopes import DatabaseRole, RowScope, context_of
from creditdesk.db.statements import AS_IT_SEES_FIT, Statement, all_statements
from support.databases import FreshDatabase
from support.world import World, user_id, workspace_id, world_of

ACME, HIMAL = workspace_id("acme"), workspace_id("himal")
PEOPLE = ("mo", "olga", "gina", "zoe")


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database) as filled:
        yield filled


class Post:
    """Rounds over a real database, of which each message is noted."""

    def __init__(self, world: World) -> None:
        self._database = world.database
        self.messages: list[int] = []
        self.rounds = Rounds(self.send)

    async def send(self, readings: Sequence[Reading]) -> list[Found]:
        self.messages.append(len(readings))
        return await self._database._sent(readings)  # noqa: SLF001 - what `Database.read` sends by

    async def ask(self, *readings: Reading) -> list[Any]:
        return await asyncio.gather(*map(self.rounds.ask, readings), return_exceptions=True)


def everybody(scope: RowScope, **others: object) -> Reading:
    """Return a reading of all users of a workspace, without any predicate but row-level security's."""
    asked: dict[str, object] = {
        "workspace_id": scope.workspace_id,
        "ids": [user_id(name) for name in PEOPLE],
        "everyone": True,
        "own_user": None,
        "managed_groups": [],
    }
    settings = tuple(setting.as_string() for setting in scope.settings())
    return reading_of(scope.role.name.lower(), settings, [(all_statements()["users_by_id"], asked | others)])


def member(name: str, place: UUID = ACME) -> RowScope:
    return RowScope(DatabaseRole.MEMBER, place, user_id(name))


def ids(found: Found) -> set[UUID]:
    [rows] = found
    return {row[0] for row in rows}


def test_who_shares_a_message_sees_what_they_see_alone(world: World) -> None:
    post = Post(world)
    scopes = [
        member("mo"),
        RowScope(DatabaseRole.ADMINISTRATOR, ACME),
        member("zoe"),
        RowScope(DatabaseRole.MEMBER, ACME),
        member("mo", HIMAL),
        RowScope(DatabaseRole.MEMBER, None),
        member("olga"),
    ]
    found = world.run(post.ask(*map(everybody, scopes)))
    assert post.messages == [len(scopes)]
    everyone = {user_id(name) for name in PEOPLE}
    assert [*map(ids, found)] == [{user_id("mo")}, everyone, {user_id("zoe")}, set(), set(), set(), {user_id("olga")}]


def test_the_same_question_is_asked_once_for_all_who_ask_it(world: World) -> None:
    post = Post(world)
    found = world.run(post.ask(*[everybody(member("mo"))] * 20, everybody(member("zoe"))))
    assert post.messages == [2]
    assert [*map(ids, found)] == [{user_id("mo")}] * 20 + [{user_id("zoe")}]


def test_one_that_fails_harms_no_other(world: World) -> None:
    post = Post(world)
    wrong = everybody(member("mo"), everyone="neither true nor false")
    found = world.run(post.ask(everybody(member("mo")), wrong, everybody(member("zoe"))))
    assert post.messages == [3, 1, 1, 1]
    assert [ids(found[0]), ids(found[2])] == [{user_id("mo")}, {user_id("zoe")}]
    assert isinstance(found[1], psycopg.DataError)


class Stuck:
    """Sends nothing until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.third = asyncio.Event()
        self.sent: list[int] = []
        self.cancelled = 0

    async def send(self, readings: Sequence[Reading]) -> list[Found]:
        self.sent.append(len(readings))
        if len(self.sent) > MOST_AT_ONCE:
            self.third.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [[[("found",)]] for _ in readings]


def test_whoever_comes_while_messages_are_under_way_waits_for_the_next_and_not_for_what_takes_long() -> None:
    async def run() -> None:
        stuck = Stuck()
        rounds = Rounds(stuck.send)
        asked = []
        for name in PEOPLE:
            asked.append(asyncio.create_task(rounds.ask(everybody(member(name)))))
            for _ in range(3):
                await asyncio.sleep(0)
        assert stuck.sent == [1] * MOST_AT_ONCE
        await stuck.third.wait()
        assert stuck.sent == [1] * MOST_AT_ONCE + [len(PEOPLE) - MOST_AT_ONCE]
        stuck.go.set()
        rows: list[list[list[Row]]] = await asyncio.gather(*asked)
        assert rows == [[[("found",)]]] * len(PEOPLE)

    asyncio.run(run())


def test_what_nobody_waits_for_any_more_is_cancelled_and_not_before() -> None:
    async def run() -> None:
        stuck = Stuck()
        rounds = Rounds(stuck.send)
        asked = [asyncio.create_task(rounds.ask(everybody(member(name)))) for name in PEOPLE]
        await asyncio.sleep(0.01)
        assert stuck.sent == [len(PEOPLE)]
        for one in asked[1:]:
            one.cancel()
        await asyncio.wait(asked[1:])
        assert stuck.cancelled == 0
        asked[0].cancel()
        await asyncio.wait(asked)
        assert stuck.cancelled == 1

    asyncio.run(run())


def test_only_what_names_few_shares_a_message() -> None:
    scope = member("mo")
    few, many = everybody(scope), everybody(scope, ids=[UUID(int=number) for number in range(MOST_CHARACTERS // 36)])
    assert (few.is_short, many.is_short) == (True, False)
    page = all_statements()["users_page"]
    assert not Reading("member", (), ((page, "()"),)).is_short


# Reads that one caller makes at once.


def select(text: str, *, short: bool = False, light: bool = False) -> tuple[Statement, dict[str, object]]:
    """Return a call of a statement that is one of its kind."""
    name = f"test {text} {short} {light}"
    return Statement(name, "", f"SELECT {text}", (), AS_IT_SEES_FIT, is_told=False, is_short=short, is_light=light), {}


def read(world: World, sent: list[list[str]], *asked: list[tuple[Statement, dict[str, object]]]) -> list[Any]:
    """Make reads at once, and return what they find; what each message asked is noted when it has ended."""
    send = world.database._sent  # noqa: SLF001

    async def noted(readings: Sequence[Reading]) -> list[Found]:
        try:
            return await send(readings)
        finally:
            sent.append([statement.text for one in readings for statement, _ in one.calls])

    scope = RowScope(DatabaseRole.ADMINISTRATOR, ACME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.database, "_sent", noted)
        found = world.run(world.database.read(scope, context_of(scope), asked))
    return [[rows[0][0] for rows in one] for one in found]


def test_what_takes_little_goes_along_with_what_takes_long(world: World) -> None:
    sent: list[list[str]] = []
    short, light = select("1", short=True, light=True), select("2", light=True)
    found = read(world, sent, [select("3")], [light], [short, light], [select("4"), select("5")])
    assert found == [[3], [2], [1, 2], [4, 5]]
    assert sorted(sent) == [["SELECT 2", "SELECT 1", "SELECT 2", "SELECT 3"], ["SELECT 4", "SELECT 5"]]


def test_what_takes_little_is_one_message_where_nothing_takes_long(world: World) -> None:
    sent: list[list[str]] = []
    found = read(world, sent, [select("1", light=True)], [select("2", light=True)])
    assert (found, sent) == ([[1], [2]], [["SELECT 1", "SELECT 2"]])


def test_of_reads_that_are_made_at_once_one_that_fails_fails_when_the_others_have_ended(world: World) -> None:
    sent: list[list[str]] = []
    with pytest.raises(DatabaseError):
        read(world, sent, [select("1/0")], [select("pg_sleep(0.2)")])
    assert sent == [["SELECT 1/0"], ["SELECT pg_sleep(0.2)"]]
