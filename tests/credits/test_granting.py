"""Holds that all have room are granted in one pass over their balances; wherever one has not, each gets its answer."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.hold_rules import BudgetExceededError, Hold
from creditdesk.credits.limits import LimitScope
from support.holding import Holding
from support.ledgers import NOW, Ledger

GRANT, PLACE = "grant_holds", "place_holds"


@pytest.fixture
def holding(ledger: Ledger) -> Holding:
    return Holding(ledger)


def passes(holding: Holding, ask: Callable[[], object]) -> list[str]:
    """Return the statements that placed something, or tried to."""
    ran: list[str] = []
    observers = holding.ledger.desk.database.observers
    observers.append(ran.append)
    try:
        ask()
    finally:
        observers.remove(ran.append)
    return [name for name in ran if name in {GRANT, PLACE}]


def stored(holding: Holding) -> list[tuple[str, str]]:
    """Return every hold that is stored, with its state."""
    rows = holding.ledger.desk.sql(
        "SELECT external_id, state FROM hold WHERE workspace_id = %s ORDER BY 1", holding.ledger.workspace_id
    )
    return [(id_, state) for id_, state in rows]


def test_the_first_hold_makes_its_balances_and_later_ones_are_granted_in_one_pass(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.limit(None, 100, shared=True)
    assert passes(holding, lambda: holding.place("1", 3)) == [PLACE]
    assert passes(holding, lambda: holding.place("2", 4)) == [GRANT]
    assert holding.balances() == {("ada", "MONTH"): ("0", "7"), ("workspace", "MONTH"): ("0", "7")}


def test_a_hold_that_fills_a_limit_exactly_is_granted_and_the_next_one_is_not(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.place("1", 4)
    assert passes(holding, lambda: holding.place("2", 6)) == [GRANT]
    budget = holding.refused("3", 1)
    assert (budget.scope, budget.remaining) == (LimitScope.USER, 0)
    assert stored(holding) == [("1", "HELD"), ("2", "HELD"), ("3", "REFUSED")]
    assert holding.differences() == ()


def test_what_is_refused_is_tried_as_a_whole_once_and_then_no_more_until_all_have_room_again(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.limit("bob", 10)
    holding.together(holding.request("a", 8), holding.request("b", 8, user=UserBy(holding.ledger.users["bob"])))
    assert passes(holding, lambda: holding.refused("1", 5)) == [GRANT, PLACE]
    assert passes(holding, lambda: holding.refused("2", 5)) == [PLACE]
    assert passes(holding, lambda: holding.place("3", 1)) == [PLACE]
    assert passes(holding, lambda: holding.place("4", 1)) == [GRANT]


def test_one_that_has_no_room_does_not_stop_those_that_it_came_with(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.limit("bob", 10)
    bob = UserBy(holding.ledger.users["bob"])
    holding.together(holding.request("a", 8), holding.request("b", 1, user=bob))
    too_much, fits, fits_too = holding.together(
        holding.request("1", 3), holding.request("2", 3, user=bob), holding.request("3", 2)
    )
    assert isinstance(too_much, BudgetExceededError)
    assert too_much.budget.remaining == 2 * MICRO
    assert isinstance(fits, Hold)
    assert isinstance(fits_too, Hold)
    assert holding.balances() == {("ada", "MONTH"): ("0", "10"), ("bob", "MONTH"): ("0", "4")}
    assert holding.differences() == ()


def test_a_soft_limit_that_is_passed_is_told_of(holding: Holding) -> None:
    limit = holding.limit("ada", 10, soft=True)
    assert holding.place("1", 4).passed_soft == ()
    assert holding.place("2", 6).passed_soft == ()
    assert holding.place("3", 1).passed_soft == (limit.id,)


def test_a_limit_of_nothing_is_never_tried(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.limit("ada", 0, product="code")
    holding.refused("1", 1, product="code")
    holding.place("2", 1)
    assert passes(holding, lambda: holding.refused("3", 1, product="code")) == [PLACE]


def test_what_was_there_before_is_answered_as_it_was_and_counts_once(holding: Holding) -> None:
    holding.limit("ada", 10)
    first = holding.place("1", 3)
    second = holding.place("2", 3)
    again, new = holding.together(holding.request("2", 3), holding.request("3", 3))
    assert again == second
    assert isinstance(new, Hold)
    assert holding.place("1", 3) == first
    assert holding.balances() == {("ada", "MONTH"): ("0", "9")}
    assert holding.differences() == ()


def test_what_has_expired_makes_room(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.place("1", 9, seconds=10)
    holding.clock.now = NOW + timedelta(seconds=60)
    assert passes(holding, lambda: holding.place("2", 10)) == [GRANT]


def test_a_limit_lowered_meanwhile_binds_a_desk_that_knew_the_balance(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.place("1", 3)
    holding.limit("ada", 5)
    assert holding.refused("2", 3).remaining == 2 * MICRO


def test_a_balance_that_is_gone_is_made_anew(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.release(holding.place("1", 3))
    holding.ledger.desk.sql("DELETE FROM balance WHERE workspace_id = %s RETURNING 1", holding.ledger.workspace_id)
    assert passes(holding, lambda: holding.place("2", 4)) == [GRANT, PLACE]
    assert holding.balances() == {("ada", "MONTH"): ("0", "4")}
