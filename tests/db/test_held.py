"""The functions of balances, against oracles in Python: what is held, and where periods and days start."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from creditdesk.credits.periods import BillingAnchor, Cadence, period_of_day
from support.databases import FreshDatabase

DAY = timedelta(days=1)
GRACE = 60
"""For how many seconds a pair is kept after it has expired."""

SECONDS = st.integers(0, 200)
AMOUNTS = st.integers(1, 5)
DATABASE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)


@pytest.fixture(scope="module")
def server(module_database: FreshDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(module_database.superuser_dsn, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


def asked(server: psycopg.Connection, query: str, *parameters: object) -> Any:
    row = server.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def merged(server: psycopg.Connection, held: list[list[int]], changes: list[list[int]], now: int) -> list[list[int]]:
    found = asked(server, "SELECT held_merged(%s::bigint[], %s::bigint[], %s)", held, changes, now)
    assert isinstance(found, list)
    return found


def held_now(server: psycopg.Connection, held: list[list[int]], now: int) -> int:
    return int(asked(server, "SELECT held_now(%s::bigint[], %s)", held, now))


def test_nothing_is_held_by_nothing(server: psycopg.Connection) -> None:
    assert held_now(server, [], 0) == 0
    assert asked(server, "SELECT held_now(NULL, 0)") == 0
    assert merged(server, [], [], 0) == []


def test_a_pair_counts_until_just_before_its_second(server: psycopg.Connection) -> None:
    held = [[100, 5], [101, 7]]
    assert [held_now(server, held, now) for now in (0, 99, 100, 101)] == [12, 12, 7, 0]


def test_holds_that_expire_together_are_one_pair(server: psycopg.Connection) -> None:
    assert merged(server, [[100, 5]], [[100, 7], [200, 1], [100, 1]], 50) == [[100, 13], [200, 1]]


def test_a_pair_that_was_given_back_is_gone(server: psycopg.Connection) -> None:
    assert merged(server, [[100, 5], [200, 1]], [[100, -5]], 50) == [[200, 1]]


def test_an_expired_pair_is_dropped_a_minute_later_and_nothing_is_taken_from_it_then(
    server: psycopg.Connection,
) -> None:
    assert merged(server, [[100, 5]], [[200, 1]], 100 + GRACE - 1) == [[100, 5], [200, 1]]
    assert merged(server, [[100, 5]], [[200, 1]], 100 + GRACE) == [[200, 1]]
    assert merged(server, [[200, 1]], [[100, -5]], 100 + GRACE) == [[200, 1]]


class Holds:
    """The oracle: every hold by itself, and when it ends."""

    def __init__(self) -> None:
        self.placed: list[tuple[int, int]] = []

    def held(self, now: int) -> int:
        return sum(amount for until, amount in self.placed if until > now)


@DATABASE
@given(st.data())
def test_whatever_is_placed_and_ended_what_is_held_is_the_sum_of_the_holds_that_are_left(
    server: psycopg.Connection, data: st.DataObject
) -> None:
    holds, held, now = Holds(), list[list[int]](), 0
    for _ in range(data.draw(st.integers(1, 12))):
        now += data.draw(st.integers(0, 40))
        placed = data.draw(st.lists(st.tuples(st.sampled_from([5, 10, 60, 120]), AMOUNTS), max_size=4))
        # As `ends_at` has it: to whole steps, so that many end together.
        new = [((now + seconds + 4) // 5 * 5, amount) for seconds, amount in placed]
        # Expired ones are ended as well: they are settled late.
        nths = data.draw(st.sets(st.integers(0, 60), max_size=3))
        done = [one for nth, one in enumerate(holds.placed) if nth in nths]
        for one in done:
            holds.placed.remove(one)
        holds.placed += new
        changes = data.draw(st.permutations([*([u, a] for u, a in new), *([u, -a] for u, a in done)]))
        held = merged(server, held, changes, now)
        assert [held_now(server, held, now + later) for later in (0, 1, 5, 30, 300)] == [
            holds.held(now + later) for later in (0, 1, 5, 30, 300)
        ]
        assert len({until for until, _ in held}) == len(held)
        assert all(amount > 0 and until + GRACE > now for until, amount in held) or not changes


@DATABASE
@given(st.lists(st.tuples(SECONDS, AMOUNTS), max_size=8), st.lists(st.tuples(SECONDS, AMOUNTS), max_size=8), SECONDS)
def test_one_merge_is_the_same_as_one_for_each_change(
    server: psycopg.Connection, before: list[tuple[int, int]], changes: list[tuple[int, int]], now: int
) -> None:
    held = merged(server, [], [list(pair) for pair in before], 0)
    at_once = merged(server, held, [list(pair) for pair in changes], now)
    for pair in changes:
        held = merged(server, held, [list(pair)], now)
    assert sorted(at_once) == sorted(merged(server, held, [], now))


# Periods.

DAYS = st.dates(date(1999, 12, 30), date(2037, 12, 31))


@st.composite
def days_and_anchors(draw: st.DrawFn) -> tuple[date, list[date], list[int]]:
    day = draw(DAYS)
    first = draw(st.sampled_from([date(1970, 1, 1), date(2000, 1, 1), day + 3 * DAY]))
    around = st.integers(-70, 70).map(lambda days: day + days * DAY)
    later = sorted(draw(st.sets(around.filter(lambda one: one > first), max_size=4)))
    return day, [first, *later], [draw(st.integers(1, 31)) for _ in range(1 + len(later))]


@DATABASE
@given(days_and_anchors(), st.sampled_from(Cadence))
def test_the_database_cuts_days_into_the_same_periods(
    server: psycopg.Connection, case: tuple[date, list[date], list[int]], cadence: Cadence
) -> None:
    day, since, days = case
    anchors = [BillingAnchor(first, number) for first, number in zip(since, days, strict=True)]
    found = asked(server, "SELECT period_first_day(%s, %s, %s::date[], %s::integer[])", cadence.name, day, since, days)
    assert found == period_of_day(cadence, day, zone="UTC", anchors=anchors).first_day
