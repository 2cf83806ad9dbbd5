"""Events by month: none is lost where a month has no partition yet, and making one moves what waited for it."""

# ruff: noqa: S608 - statements are put together from the names of our own tables

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from psycopg import errors

from creditdesk.credits.event_rules import UsageEvent
from creditdesk.credits.ranges import range_of_days, range_of_instants
from creditdesk.credits.usage import Cell, Dimension, UsageQuery, usage_of
from support.databases import FreshDatabase
from support.ledgers import Ledger, desk_of, new_ledger

OLD = datetime(2011, 7, 15, 12, tzinfo=UTC)
MONTH = "usage_event_2011_07"


@pytest.fixture
def ledger(fresh_database: FreshDatabase) -> Iterator[Ledger]:
    with desk_of(fresh_database) as desk:
        yield new_ledger(desk, "Asia/Kathmandu")


def events_of(ledger: Ledger) -> list[UsageEvent]:
    """Return events of June to August of 2011, at the very ends of July as well."""
    moments = [
        datetime(2011, 6, 30, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2011, 7, 1, tzinfo=UTC),
        OLD,
        datetime(2011, 7, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2011, 8, 1, tzinfo=UTC),
    ]
    return [ledger.event(str(number), at=at) for number, at in enumerate(moments)]


def held(ledger: Ledger, table: str) -> list[str]:
    return [id_ for (id_,) in ledger.desk.sql(f"SELECT external_id FROM {table} ORDER BY external_id")]


def ensure(ledger: Ledger, first: str, last: str, *, role: str = "creditdesk_administrator") -> int:
    with psycopg.connect(ledger.desk.fresh.server_dsn) as connection:
        connection.execute(f"SET ROLE {role}")
        row = connection.execute("SELECT ensure_usage_partitions(%s, %s)", (first, last)).fetchone()
    assert row
    return int(row[0])


def everything(ledger: Ledger) -> list[Any]:
    """Return what is read of the events, by days and by instants."""
    ranges = [
        range_of_days(date(2011, 6, 1), date(2011, 8, 31), zone=ledger.zone),
        range_of_instants(datetime(2011, 6, 30, 23, tzinfo=UTC), OLD, zone=ledger.zone),
    ]
    queries = [UsageQuery(range_, by=(Dimension.USER,)) for range_ in ranges]
    return [ledger.desk.run(usage_of(ledger.reader, ledger.everyone, [Cell()], query)) for query in queries]


def test_an_event_without_a_month_lands_in_the_default_partition_and_is_read_like_any_other(ledger: Ledger) -> None:
    assert ledger.record(*events_of(ledger)).accepted == 5
    assert held(ledger, "usage_event_default") == ["0", "1", "2", "3", "4"]
    days, instants = everything(ledger)
    assert [row.figures.requests for row in days[0].rows] == [5]
    assert [row.figures.requests for row in instants[0].rows] == [2]
    assert ledger.record(*events_of(ledger)).duplicates == 5
    assert ledger.record(ledger.event("c", corrects="2", credits=-1)).accepted == 1
    assert ledger.reconciled().differences == ()


def test_making_a_month_moves_exactly_its_events_and_changes_nothing_that_is_read(ledger: Ledger) -> None:
    ledger.record(*events_of(ledger))
    stored = "SELECT * FROM usage_event ORDER BY external_id"
    before, read = ledger.desk.sql(stored), everything(ledger)
    assert ensure(ledger, "2011-07-31", "2011-07-31") == 1
    assert (held(ledger, MONTH), held(ledger, "usage_event_default")) == (["1", "2", "3"], ["0", "4"])
    assert ledger.desk.sql(stored) == before
    assert everything(ledger) == read
    assert ledger.record(*events_of(ledger)).duplicates == 5
    assert ledger.record(ledger.event("5", at=OLD)).accepted == 1
    assert held(ledger, MONTH) == ["1", "2", "3", "5"]
    assert ledger.reconciled().differences == ()


def test_a_month_that_was_made_is_as_well_guarded_as_the_others(ledger: Ledger) -> None:
    ensure(ledger, "2011-07-01", "2011-07-01")
    rows = ledger.desk.sql(
        "SELECT relrowsecurity, relacl IS NULL, relowner::regrole::text FROM pg_class WHERE relname = %s", MONTH
    )
    assert rows == [(True, True, "creditdesk_owner")]
    names = "SELECT indexdef FROM pg_indexes WHERE tablename = %s ORDER BY 1"
    shapes = [
        [row[0].split(" USING ")[1] for row in ledger.desk.sql(names, table)]
        for table in (MONTH, "usage_event_default")
    ]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == 2


def test_making_months_again_makes_none(ledger: Ledger) -> None:
    assert ensure(ledger, "2011-01-31", "2011-12-01") == 12
    assert ensure(ledger, "2011-01-01", "2011-12-31") == 0
    assert ensure(ledger, "2010-12-31", "2012-01-01") == 2
    assert ensure(ledger, "2012-01-01", "2011-01-01") == 0


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("1999-12-31", "2000-01-01"),
        ("2100-12-01", "2101-01-01"),
        ("2000-01-01", "2100-12-31"),
        ("0001-01-01", "0001-01-01"),
        ("-infinity", "infinity"),
    ],
)
def test_months_past_the_bounds_are_refused_and_none_is_made(ledger: Ledger, first: str, last: str) -> None:
    count = "SELECT count(*) FROM pg_inherits"
    before = ledger.desk.sql(count)
    with pytest.raises((errors.InvalidParameterValue, errors.DatetimeFieldOverflow, errors.NumericValueOutOfRange)):
        ensure(ledger, first, last)
    assert ledger.desk.sql(count) == before


@pytest.mark.parametrize("role", ["creditdesk_member", "creditdesk_server"])
def test_only_administrators_make_months(ledger: Ledger, role: str) -> None:
    before = ledger.desk.sql("SELECT count(*) FROM pg_inherits")
    with pytest.raises(errors.InsufficientPrivilege):
        ensure(ledger, "2011-07-01", "2011-07-01", role=role)
    assert ledger.desk.sql("SELECT count(*) FROM pg_inherits") == before


def test_nothing_of_the_caller_s_search_path_is_run_as_the_owner(ledger: Ledger) -> None:
    with psycopg.connect(ledger.desk.fresh.server_dsn) as connection:
        connection.execute("SET ROLE creditdesk_administrator")
        connection.execute("SET search_path = pg_temp, public")
        connection.execute("CREATE TEMPORARY TABLE usage_event_default (at timestamptz)")
        row = connection.execute("SELECT ensure_usage_partitions('2011-07-01', '2011-07-01')").fetchone()
    assert row == (1,)
    assert ledger.desk.sql("SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = %s", MONTH) == [
        ("public",)
    ]


def test_callers_at_the_same_time_make_each_month_once_and_lose_nothing(ledger: Ledger) -> None:
    ledger.record(*events_of(ledger))
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(lambda _: ensure(ledger, "2011-05-01", "2011-09-01"), range(6)))
    assert sorted(made) == [0, 0, 0, 0, 0, 5]
    assert held(ledger, "usage_event_default") == []
    assert held(ledger, "usage_event") == ["0", "1", "2", "3", "4"]
    assert ledger.reconciled().differences == ()


def test_recording_and_reading_go_on_while_months_are_made(ledger: Ledger) -> None:
    async def together() -> list[Any]:
        batches = [
            [ledger.event(f"{batch}-{number}", at=OLD.replace(month=1 + (batch + number) % 12)) for number in range(20)]
            for batch in range(8)
        ]
        making = asyncio.to_thread(ensure, ledger, "2011-01-01", "2011-12-31")
        return await asyncio.gather(making, *(ledger.recording(batch) for batch in batches))

    made, *recorded = ledger.desk.run(together())
    assert (made, [one.accepted for one in recorded]) == (12, [20] * 8)
    assert ledger.rows() == 160
    assert held(ledger, "usage_event_default") == []
    assert ledger.reconciled().differences == ()


def test_the_months_around_today_are_there_from_the_start(ledger: Ledger) -> None:
    today = datetime.now(UTC)
    assert ledger.desk.sql("SELECT to_regclass(%s) IS NOT NULL", f"usage_event_{today:%Y_%m}") == [(True,)]
    ledger.record(ledger.event(at=today), now=today)
    assert held(ledger, "usage_event_default") == []
