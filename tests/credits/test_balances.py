"""Balances: each is the sum of the ledger, from its kind's first day on, however and whenever it was opened."""

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.hold_rules import Hold
from creditdesk.credits.periods import Cadence
from support.holding import Holding
from support.ledgers import NOW, Desk, Ledger, new_ledger

SHAPES: tuple[dict[str, Any], ...] = ({}, {"product": "chat"}, {"product": "chat", "model": "large"})


@pytest.fixture
def holding(ledger: Ledger) -> Holding:
    return Holding(ledger)


def kinds(ledger: Ledger) -> list[tuple[str, str, str, str, str]]:
    return ledger.desk.sql(
        "SELECT scope, cadence, product, model, since::text FROM balance_kind WHERE workspace_id = %s ORDER BY id",
        ledger.workspace_id,
    )


def test_every_workspace_keeps_each_users_month_also_without_a_limit(holding: Holding) -> None:
    ledger = holding.ledger
    ledger.record(
        ledger.event("1", credits=3 * MICRO),
        ledger.event("2", credits=4 * MICRO, product="agent"),
        ledger.event("3", credits=5 * MICRO, user=UserBy(id=ledger.users["bob"])),
    )
    assert kinds(ledger) == [("USER", "MONTH", "", "", "1970-01-01")]
    assert holding.balances() == {("ada", "MONTH"): ("7", "0"), ("bob", "MONTH"): ("5", "0")}


def test_an_event_counts_in_the_period_of_its_own_time(holding: Holding) -> None:
    ledger = holding.ledger
    ledger.record(
        ledger.event("may", at=datetime(2026, 5, 31, 23, 59, 59, 999_999, tzinfo=UTC), credits=1),
        ledger.event("june", at=datetime(2026, 6, 1, tzinfo=UTC), credits=2),
    )
    rows = ledger.desk.sql(
        "SELECT first_day, used FROM balance WHERE workspace_id = %s ORDER BY 1", ledger.workspace_id
    )
    assert rows == [(date(2026, 5, 1), 1), (date(2026, 6, 1), 2)]


def test_duplicates_and_rejected_events_do_not_count_and_corrections_do(holding: Holding) -> None:
    ledger = holding.ledger
    use = ledger.event("1", credits=5 * MICRO)
    ledger.record(use, use, ledger.event("1", credits=6 * MICRO))
    ledger.record(use, ledger.event("c", corrects="1", credits=-2 * MICRO))
    assert holding.balances() == {("ada", "MONTH"): ("3", "0")}
    ledger.record(ledger.event("d", corrects="1", credits=-4 * MICRO))
    assert holding.balances() == {("ada", "MONTH"): ("-1", "0")}
    assert holding.differences() == ()


def test_a_kind_opened_in_the_middle_of_a_period_starts_with_all_of_the_period_and_nothing_before(
    holding: Holding,
) -> None:
    ledger = holding.ledger
    for number, day in enumerate((18, 19, 20)):
        ledger.record(ledger.event(str(number), at=datetime(2026, 6, day, 9, tzinfo=UTC), credits=10**number))
    ledger.record(ledger.event("agent", at=NOW, credits=7_000, product="agent"))
    ledger.record(ledger.event("blue", at=NOW, credits=9_000_000, user=UserBy(id=ledger.put_user("eve", home="blue"))))
    hold = holding.place("held", None, amount=50_000)
    holding.release(holding.place("released", None, amount=60_000))
    holding.settle(holding.place("settled", 2), 1)
    holding.limit("red", 100, shared=True, cadence=Cadence.DAY, product="chat")
    holding.limit("ada", 100, cadence=Cadence.WEEK)
    assert kinds(ledger)[1:] == [
        ("GROUP", "DAY", "chat", "", "2026-06-20"),
        ("USER", "WEEK", "", "", "2026-06-15"),
    ]
    found = holding.balances()
    assert found["red", "DAY chat"] == ("1.0001", "0.05")
    assert found["ada", "WEEK"] == ("1.007111", "0.05")
    assert holding.differences() == ()
    # And goes on like any other.
    holding.settle(hold, 3)
    found = holding.balances()
    assert (found["red", "DAY chat"], found["ada", "WEEK"]) == (("4.0001", "0"), ("4.007111", "0"))
    late = ledger.event("late", at=datetime(2026, 6, 14, 23, tzinfo=UTC), credits=1)
    ledger.record(late)
    assert holding.differences() == ()


def test_a_hold_of_the_period_before_stays_out_of_a_kind_that_is_opened_later(holding: Holding) -> None:
    holding.clock.now = datetime(2026, 6, 20, 23, 59, tzinfo=UTC)
    before = holding.place("before", 5)
    holding.clock.move(minutes=2)
    holding.limit("ada", 10, cadence=Cadence.DAY)
    holding.place("after", 3)
    assert holding.balances()["ada", "DAY"] == ("0", "3")
    holding.settle(before, 5)
    assert holding.balances()["ada", "DAY"] == ("0", "3")
    assert holding.balances()["ada", "MONTH"] == ("5", "3")
    assert holding.differences() == ()


def test_a_use_reported_ahead_of_its_time_counts_when_its_period_comes(holding: Holding) -> None:
    ledger = holding.ledger
    holding.clock.now = datetime(2026, 6, 30, 12, tzinfo=UTC)
    ahead = ledger.event("ahead", at=datetime(2026, 7, 1, 8, tzinfo=UTC), credits=4 * MICRO)
    ledger.record(ahead, now=holding.clock.now)
    holding.limit(None, 5, shared=True)
    assert holding.place("june", 5).amount == 5 * MICRO
    holding.clock.now = datetime(2026, 7, 1, tzinfo=UTC)
    assert holding.refused("july", 2).remaining == MICRO
    assert holding.differences() == ()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia"])
def test_balances_add_up_whatever_is_recorded_held_and_opened_in_any_order(desk: Desk, zone: str) -> None:
    random = Random(zone)  # noqa: S311 - that the test can be run again alike
    holding = Holding(new_ledger(desk, zone))
    ledger = holding.ledger
    holding.clock.now = datetime(2026, 10, 30, 22, tzinfo=UTC)
    days = random.randint(1, 31)
    desk.sql("UPDATE workspace_settings SET anchor_days = %s WHERE workspace_id = %s", [days], ledger.workspace_id)
    holds: list[Hold] = []
    for number in range(60):
        holding.clock.move(minutes=random.choice([1, 7, 61]))
        match random.randint(0, 5):
            case 0:
                shared = random.random() < 0.5
                on = random.choice([None, "red", "blue"] if shared else [None, "red", "ada", "bob"])
                cadence = random.choice(list(Cadence))
                holding.limit(on, None, shared=shared, cadence=cadence, **random.choice(SHAPES))
            case 1:
                home = random.choice([None, "red", "blue"])
                ledger.put_user("ada", home=home, groups=[home] if home else [])
            case 2 if holds:
                hold = holds.pop(random.randrange(len(holds)))
                if random.random() < 0.3 and not hold.has_expired(holding.clock.now):
                    holding.release(hold)
                else:
                    holding.settle(hold, random.randint(0, 9))
            case 3:
                at = holding.clock.now - timedelta(hours=random.randint(-20, 900))
                product = random.choice(["chat", "agent"])
                event = ledger.event(f"e{number}", at=at, product=product, credits=random.randint(0, 99))
                ledger.record(event, now=holding.clock.now)
            case _:
                name = random.choice(["ada", "bob"])
                user, model = UserBy(id=ledger.users[name]), random.choice(["large", "small"])
                seconds = random.choice([10, 600, 86_400])
                holds.append(holding.place(str(number), random.randint(1, 9), user=user, model=model, seconds=seconds))
        if number % 6 == 0:
            assert holding.differences() == ()
    assert holding.differences() == ()
    assert len(kinds(ledger)) > 3
