"""The feed: whoever waits is told of what was committed, in any process, also after the database was away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from creditdesk.credits import feed as feeds
from creditdesk.credits.changes import EVERYBODY, KEPT, Change, Topic, Use, trim_outbox
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.feed import Feed
from creditdesk.credits.usage_events import record_usage
from creditdesk.db import embedded
from creditdesk.db.bootstrap import SERVER
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseError
from support.asking import Asking
from support.databases import TEMPLATE, FreshDatabase, embedded_server, make_template
from support.ledgers import NOW, Desk, Ledger, desk_of, new_ledger

PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def desk(module_database: FreshDatabase) -> Iterator[Desk]:
    with desk_of(module_database) as opened:
        yield opened


@pytest.fixture
def ledger(desk: Desk) -> Ledger:
    return new_ledger(desk)


@dataclass(eq=False)
class Notes:
    """A watcher that keeps what it is told."""

    changes: list[Change] = field(default_factory=list)
    lost: int = 0

    def changed(self, change: Change) -> None:
        self.changes.append(change)

    def lost_track(self) -> None:
        self.lost += 1

    def uses(self) -> list[Use]:
        return [use for change in self.changes for use in change.uses()]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - what is looked at has no event, here and below
            await asyncio.sleep(0.01)


@asynccontextmanager
async def another_process(fresh: FreshDatabase) -> AsyncIterator[Feed]:
    """A feed with a pool of its own: what it is told of by nobody here, it was told by the database."""
    database = Database(fresh.server_dsn)
    await database.open()
    feed = Feed(database)
    try:
        async with feed.running():
            yield feed
    finally:
        await database.close()


def test_a_commit_is_told_in_the_process_that_made_it_and_in_every_other(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 3600)  # so that nobody finds it by looking

    async def told() -> tuple[Notes, Notes]:
        here, there = Notes(), Notes()
        feed = Feed(ledger.desk.database)
        subjects = [(Topic.USAGE, ledger.users["ada"])]
        async with (
            feed.running(),
            another_process(ledger.desk.fresh) as other,
            feed.watching(ledger.workspace_id, subjects, here),
            other.watching(ledger.workspace_id, subjects, there),
        ):
            await listening(ledger.desk)
            await ledger.recording([ledger.event("1")])
            await until(lambda: bool(here.changes and there.changes))
        return here, there

    here, there = ledger.desk.run(told())
    use = Use(ledger.users["ada"], ledger.groups["red"], "chat", "large", 2_500_000, 1)
    assert here.uses() == there.uses() == [use]


async def listening(desk: Desk, listeners: int = 2) -> None:
    """Wait until so many feeds have said LISTEN."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'creditdesk listener'"
        " AND query LIKE 'LISTEN%' AND datname = current_database()"
    )
    async with await psycopg.AsyncConnection.connect(desk.fresh.superuser_dsn, autocommit=True) as connection:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await (await connection.execute(query)).fetchone() != (listeners,):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def watched(ledger: Ledger, act: Callable[[], Any], *subjects: tuple[Topic, UUID | None]) -> list[Notes]:
    """Return what each of these subjects' watchers was told when something was done; `act` returns a coroutine."""

    async def told() -> list[Notes]:
        notes, last = [Notes() for _ in subjects], Notes()
        feed = Feed(ledger.desk.database)
        async with feed.running(), feed.watching(ledger.workspace_id, [(Topic.USAGE, EVERYBODY)], last):
            watching = [
                feed.watching(ledger.workspace_id, [one], note) for one, note in zip(subjects, notes, strict=True)
            ]
            for one in watching:
                await one.__aenter__()
            await act()
            # What is committed later is told later: when this is there, so is everything before it.
            await ledger.recording([ledger.event(f"last {uuid4()}", user=UserBy(id=ledger.users["bob"]))])
            await until(lambda: any(use.user_id == ledger.users["bob"] for use in last.uses()))
            for one in watching:
                await one.__aexit__(None, None, None)
        return notes

    return ledger.desk.run(told())  # type: ignore[no-any-return]


def test_only_those_whom_a_use_concerns_are_told(ledger: Ledger) -> None:
    eve = ledger.put_user("eve", home="blue")
    subjects = [
        (Topic.BUDGET, ledger.users["ada"]),
        (Topic.BUDGET, ledger.groups["red"]),
        (Topic.USAGE, ledger.users["ada"]),
        (Topic.BUDGET, eve),
        (Topic.BUDGET, ledger.groups["blue"]),
        (Topic.USAGE, eve),
        (Topic.REQUEST, ledger.users["ada"]),
        (Topic.REQUEST, EVERYBODY),
    ]
    notes = watched(ledger, lambda: ledger.recording([ledger.event("1"), ledger.event("2")]), *subjects)
    # One commit is one change, however many events are in it.
    assert [len(note.changes) for note in notes] == [1, 1, 1, 0, 0, 0, 0, 0]


def test_nobody_of_another_workspace_is_told(ledger: Ledger, desk: Desk) -> None:
    other = new_ledger(desk)
    notes = Notes()

    async def told() -> None:
        feed = Feed(desk.database)
        subjects = [(Topic.USAGE, EVERYBODY), (Topic.BUDGET, ledger.users["ada"])]
        async with feed.running(), feed.watching(other.workspace_id, subjects, notes):
            await ledger.recording([ledger.event("1")])
            await other.recording([other.event("1")])
            await until(lambda: bool(notes.changes))

    desk.run(told())
    assert [use.user_id for use in notes.uses()] == [other.users["ada"]]


def test_what_is_rolled_back_or_recorded_already_is_no_change(ledger: Ledger) -> None:
    ledger.record(ledger.event("1"))

    async def act() -> None:
        await ledger.recording([ledger.event("1")])
        with pytest.raises(RuntimeError):
            await failing()

    async def failing() -> None:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            await record_usage(conn, workspace_id=ledger.workspace_id, events=[ledger.event("2")], now=NOW)
            raise RuntimeError

    [notes] = watched(ledger, act, (Topic.USAGE, ledger.users["ada"]))
    assert notes.changes == []


def test_a_limit_of_a_user_concerns_the_user_and_a_group_s_or_the_workspace_s_every_budget(ledger: Ledger) -> None:
    asking = Asking(ledger)
    subjects = [(Topic.BUDGET, ledger.users["ada"]), (Topic.BUDGET, ledger.groups["blue"])]
    own = watched(ledger, lambda: asking.limiting("ada", 10), *subjects)
    assert [len(note.changes) for note in own] == [1, 0]
    for on in ("red", None):
        wide = watched(ledger, lambda on=on: asking.limiting(on, 10), *subjects)  # type: ignore[misc]
        assert [len(note.changes) for note in wide] == [1, 1]


def test_a_request_concerns_who_asks_and_those_who_see_everybody_s(ledger: Ledger) -> None:
    asking = Asking(ledger)
    asking.limit("ada", 10)
    subjects = [
        (Topic.REQUEST, ledger.users["ada"]),
        (Topic.REQUEST, EVERYBODY),
        (Topic.REQUEST, ledger.users["bob"]),
        (Topic.BUDGET, ledger.users["ada"]),
    ]
    made: list[Any] = []

    async def ask() -> None:
        made.append(await asking.asking("ada"))

    asked = watched(ledger, ask, *subjects)
    assert [len(note.changes) for note in asked] == [1, 1, 0, 0]
    assert asked[0].changes[0].requests == (made[0].id,)
    # An approval is two entries of the audit trail, and sets a limit: the budget is another one.
    approved = watched(ledger, lambda: asking.approving(asking.owner, made[0]), *subjects)
    assert [{one for change in note.changes for one in change.requests} for note in approved] == [
        {made[0].id},
        {made[0].id},
        set(),
        set(),
    ]
    assert len(approved[3].changes) == 1


def test_a_row_that_is_committed_after_a_later_one_was_read_is_not_lost(ledger: Ledger) -> None:
    """Numbers are given when rows are written: going by them would miss the first of two writers."""
    notes = Notes()

    async def told() -> None:
        feed = Feed(ledger.desk.database)
        async with feed.running(), feed.watching(ledger.workspace_id, [(Topic.USAGE, EVERYBODY)], notes):
            async with ledger.desk.database.transaction(ledger.scope) as conn:
                # Of another product, since two writers may meet in a day's sum of the workspace: then one waits.
                early = [ledger.event("early", user=UserBy(id=ledger.users["bob"]), product="search")]
                await record_usage(conn, workspace_id=ledger.workspace_id, events=early, now=NOW)
                await ledger.recording([ledger.event("late")])
                await until(lambda: len(notes.changes) == 1)
            await until(lambda: len(notes.changes) == 2)

    ledger.desk.run(told())
    assert [use.user_id for use in notes.uses()] == [ledger.users["ada"], ledger.users["bob"]]


def test_what_is_committed_while_the_feed_is_cut_off_is_read_afterwards(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 3600)
    notes = Notes()

    async def told() -> None:
        async with (
            another_process(ledger.desk.fresh) as feed,
            feed.watching(ledger.workspace_id, [(Topic.USAGE, EVERYBODY)], notes),
        ):
            await listening(ledger.desk, 1)
            ledger.desk.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'creditdesk listener' AND datname = current_database()"
            )
            await listening(ledger.desk, 0)
            await ledger.recording([ledger.event("1")])
            await until(lambda: bool(notes.changes))

    ledger.desk.run(told())
    assert (len(notes.changes), notes.lost) == (1, 0)


def test_after_a_restart_of_the_database_every_change_is_told_once() -> None:
    with embedded_server() as postgres:
        make_template(postgres)
        fresh = FreshDatabase(
            TEMPLATE,
            owner_dsn="",
            server_dsn=postgres.dsn(user=SERVER, database=TEMPLATE),
            superuser_dsn=postgres.dsn(user=embedded.SUPERUSER, database=TEMPLATE),
        )
        with desk_of(fresh) as desk:
            ledger = new_ledger(desk)
            notes = Notes()

            async def record(name: str) -> None:
                while True:
                    try:
                        await ledger.recording([ledger.event(name)])
                    except DatabaseError:
                        await asyncio.sleep(0.1)
                    else:
                        return

            async def told() -> None:
                feed = Feed(desk.database)
                async with feed.running(), feed.watching(ledger.workspace_id, [(Topic.USAGE, EVERYBODY)], notes):
                    await record("before")
                    await until(lambda: len(notes.changes) == 1)
                    postgres.leave()
                    restarted = await asyncio.to_thread(embedded.start, postgres.directory)
                    try:
                        await record("after")
                        await until(lambda: len(notes.changes) == 2)
                    finally:
                        restarted.leave()

            desk.run(told())
        assert [use.requests for use in notes.uses()] == [1, 1]
        assert notes.lost == 0
        embedded.start(postgres.directory)


def test_whoever_cannot_be_told_of_each_change_is_told_to_look(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditdesk.credits.changes.MOST_CHANGES", 3)
    monkeypatch.setattr(feeds, "MOMENT_SECONDS", 0.5)
    notes = Notes()

    async def told() -> None:
        feed = Feed(ledger.desk.database)
        async with feed.running(), feed.watching(ledger.workspace_id, [(Topic.USAGE, EVERYBODY)], notes):
            for nth in range(4):
                await ledger.recording([ledger.event(str(nth))])
            await until(lambda: notes.lost > 0)
            await ledger.recording([ledger.event("5")])
            await until(lambda: bool(notes.changes))

    ledger.desk.run(told())
    assert (notes.lost, len(notes.changes)) == (1, 1)


def test_a_workspace_that_nobody_watches_is_not_read(ledger: Ledger, desk: Desk) -> None:
    ran: list[str] = []
    desk.database.observers.append(ran.append)

    async def told() -> None:
        feed = Feed(desk.database)
        async with feed.running():
            await ledger.recording([ledger.event("1")])
            await until(lambda: "tell_of_changes" in ran)

    try:
        desk.run(told())
    finally:
        desk.database.observers.remove(ran.append)
    assert "outbox_since" not in ran


def test_changes_are_kept_for_a_short_while(ledger: Ledger, desk: Desk) -> None:
    ledger.record(ledger.event("old"), now=NOW - KEPT - timedelta(seconds=1))
    ledger.record(ledger.event("new"), now=NOW)
    desk.run(trim_outbox(desk.database, now=NOW))
    assert desk.sql("SELECT written_at FROM outbox WHERE workspace_id = %s", ledger.workspace_id) == [(NOW,)]
