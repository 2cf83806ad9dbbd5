"""Holds, rule by rule: what is granted, what is refused and why, how a hold ends, and what coming again answers."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.credits.event_rules import MAX_CREDITS, UserBy
from creditdesk.credits.hold_ending import hold_by_id
from creditdesk.credits.hold_rules import (
    MAX_SECONDS,
    BindingBudget,
    BudgetExceededError,
    Hold,
    HoldError,
    HoldState,
    Settlement,
)
from creditdesk.credits.limits import LimitScope, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.pricing import Measured, Meter, NewRate
from creditdesk.credits.rates import put_rates
from support.holding import ACTOR, Holding
from support.ledgers import NOW, Desk, Ledger, new_ledger

JULY = datetime(2026, 7, 1, tzinfo=UTC)
TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    " AND NOT relispartition ORDER BY 1"
)


@pytest.fixture
def holding(ledger: Ledger) -> Holding:
    return Holding(ledger)


def put_rate(holding: Holding, price: int, product: str = "chat", model: str = "large") -> UUID:
    """Put the price of a message on the rate card, and return the rate's id."""
    ledger = holding.ledger

    async def put() -> UUID:
        rate = NewRate(product, model, Meter.MESSAGE, price, NOW - timedelta(days=1), None)
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            [put], _ = await put_rates(
                conn, workspace_id=ledger.workspace_id, actor=ACTOR, rates=[rate], multipliers=[], now=NOW
            )
            return put.id

    return ledger.desk.run(put())  # type: ignore[no-any-return]


def change_settings(holding: Holding, what: str) -> None:
    holding.ledger.desk.sql(
        f"UPDATE workspace_settings SET {what}, controls_version = controls_version + 1 WHERE workspace_id = %s",  # noqa: S608
        holding.ledger.workspace_id,
    )


def remove_limits(holding: Holding) -> None:
    holding.ledger.desk.sql("DELETE FROM credit_limit WHERE workspace_id = %s", holding.ledger.workspace_id)
    change_settings(holding, "version = version")


def remove_rates(holding: Holding) -> None:
    holding.ledger.desk.sql("DELETE FROM rate WHERE workspace_id = %s", holding.ledger.workspace_id)
    change_settings(holding, "version = version")


def everything(desk: Desk) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables, as text."""
    tables = [name for (name,) in desk.sql(TABLES)]
    return {name: desk.sql(f'SELECT t::text FROM "{name}" AS t ORDER BY 1') for name in tables}  # noqa: S608


def code(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(CreditError) as error:
        call()
    return error.value.code


def held(holding: Holding) -> set[str]:
    return {held for _, held in holding.balances().values()}


# Placing.


def test_a_hold_sets_credits_aside_in_every_balance_that_it_counts_in(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.limit("red", 20, shared=True)
    holding.limit(None, 30, shared=True, cadence=Cadence.DAY)
    hold = holding.place("1", 4)
    ledger = holding.ledger
    assert (hold.user_id, hold.group_id) == (ledger.users["ada"], ledger.groups["red"])
    assert (hold.source, hold.external_id, hold.product, hold.model) == ("gateway", "1", "chat", "large")
    assert (hold.amount, hold.state, hold.placed_at, hold.expires_at) == (
        4 * MICRO, HoldState.HELD, NOW, NOW + timedelta(minutes=5),
    )  # fmt: skip
    assert (hold.ended_at, hold.settled_amount, hold.overage, hold.rates, hold.passed_soft) == (None, None, 0, None, ())
    assert holding.balances() == {
        ("ada", "MONTH"): ("0", "4"),
        ("red", "MONTH"): ("0", "4"),
        ("workspace", "DAY"): ("0", "4"),
    }
    assert holding.differences() == ()


def test_a_hold_is_all_or_nothing_over_several_balances(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.limit("red", 20, shared=True)
    holding.limit(None, 3, shared=True)
    holding.refused("1", 4)
    assert held(holding) == {"0"}
    holding.place("2", 3)
    assert held(holding) == {"3"}
    assert holding.differences() == ()


def test_what_just_fits_is_granted_and_a_millionth_more_is_not(holding: Holding) -> None:
    holding.limit("ada", 10)
    assert holding.refused("1", None, amount=10 * MICRO + 1).remaining == 10 * MICRO
    assert holding.place("2", 10).amount == 10 * MICRO
    assert holding.refused("3", None, amount=1).remaining == 0


def test_a_refusal_names_the_budget_that_binds_what_is_left_and_when_it_resets(holding: Holding) -> None:
    limit = holding.limit("ada", 10)
    holding.place("1", 7)
    assert holding.refused("2", 4) == BindingBudget(
        LimitScope.USER, holding.ledger.users["ada"], Shape(Cadence.MONTH), limit.id, 10 * MICRO, 3 * MICRO, JULY
    )


def test_of_several_budgets_that_have_not_enough_the_one_with_the_least_left_binds(holding: Holding) -> None:
    holding.limit("ada", 10)
    pool = holding.limit("red", 5, shared=True, cadence=Cadence.WEEK)
    holding.limit(None, 7, shared=True)
    assert holding.refused("1", 11) == BindingBudget(
        LimitScope.GROUP,
        holding.ledger.groups["red"],
        Shape(Cadence.WEEK),
        pool.id,
        5 * MICRO,
        5 * MICRO,
        datetime(2026, 6, 22, tzinfo=UTC),
    )


def test_a_budget_that_is_over_has_nothing_left_and_never_less(holding: Holding) -> None:
    holding.ledger.record(holding.ledger.event(credits=9 * MICRO))
    holding.limit("ada", 5)
    assert holding.refused("1", 1).remaining == 0


def test_a_hold_is_never_shrunk_to_fit(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.place("1", 6)
    holding.refused("2", 5)
    assert holding.balances() == {("ada", "MONTH"): ("0", "6")}
    assert holding.place("3", 4).amount == 4 * MICRO


def test_a_limit_of_0_blocks_everything_also_what_costs_nothing(holding: Holding) -> None:
    put_rate(holding, 0)
    holding.limit("ada", 0)
    assert holding.refused("1", None, amount=1).remaining == 0
    assert holding.refused("2", None, expected=Measured()).amount == 0
    assert not holding.authorize(None, expected=Measured()).allowed


def test_without_a_limit_anything_is_granted(holding: Holding) -> None:
    assert holding.place("1", None, amount=MAX_CREDITS).amount == MAX_CREDITS
    holding.limit("ada", None)
    assert holding.place("2", None, amount=MAX_CREDITS).amount == MAX_CREDITS
    assert holding.differences() == ()


def test_soft_limits_let_through_and_are_named(holding: Holding) -> None:
    own = holding.limit("ada", 5, soft=True)
    pool = holding.limit("red", 6, soft=True, shared=True)
    holding.limit(None, 100, shared=True)
    assert holding.place("1", 5).passed_soft == ()
    assert holding.place("2", 1).passed_soft == (own.id,)
    assert holding.place("3", 1).passed_soft == (own.id, pool.id)
    holding.refused("4", 94)
    assert holding.balances()["ada", "MONTH"] == ("0", "7")
    assert holding.place("3", 1).passed_soft == (own.id, pool.id)


def test_limits_for_a_product_or_a_model_count_only_its_use(holding: Holding) -> None:
    holding.limit("ada", 10, product="chat")
    holding.limit("ada", 4, product="chat", model="large")
    assert holding.refused("1", 5).shape == Shape(Cadence.MONTH, "chat", "large")
    holding.place("2", 4)
    holding.place("3", 6, model="small")
    assert holding.refused("4", 1, model="small").shape == Shape(Cadence.MONTH, "chat")
    holding.place("5", 50, product="agent")
    assert holding.balances() == {
        ("ada", "MONTH"): ("0", "60"),
        ("ada", "MONTH chat"): ("0", "10"),
        ("ada", "MONTH chat large"): ("0", "4"),
    }
    assert holding.differences() == ()


def test_limits_per_day_week_month_and_billing_cycle_all_must_have_room(holding: Holding) -> None:
    change_settings(holding, "anchor_days = '{18}'")
    holding.ledger.record(holding.ledger.event(at=datetime(2026, 6, 2, tzinfo=UTC), credits=3 * MICRO))
    for amount, cadence in ((5, Cadence.DAY), (7, Cadence.WEEK), (10, Cadence.BILLING_CYCLE), (14, Cadence.MONTH)):
        holding.limit("ada", amount, cadence=cadence)

    def binding(id_: str) -> tuple[Cadence, int, datetime]:
        found = holding.refused(id_, 3)
        return found.shape.cadence, found.remaining // MICRO, found.resets_at

    holding.settle(holding.place("saturday", 3), 3)
    assert binding("1") == (Cadence.DAY, 2, datetime(2026, 6, 21, tzinfo=UTC))
    holding.clock.move(days=1)
    holding.settle(holding.place("sunday", 3), 3)
    assert binding("2") == (Cadence.WEEK, 1, datetime(2026, 6, 22, tzinfo=UTC))
    holding.clock.move(days=1)
    holding.settle(holding.place("monday", 3), 3)
    assert binding("3") == (Cadence.BILLING_CYCLE, 1, datetime(2026, 7, 18, tzinfo=UTC))
    holding.limit("ada", 100, cadence=Cadence.BILLING_CYCLE)
    holding.clock.move(days=1)
    assert binding("4") == (Cadence.MONTH, 2, JULY)
    holding.clock.now = JULY
    assert holding.place("5", 5).amount == 5 * MICRO
    assert holding.differences() == ()


def test_a_shared_limit_and_each_users_bind_together(holding: Holding) -> None:
    holding.ledger.put_user("eve", home="red", groups=["red"])
    eve = UserBy(id=holding.ledger.users["eve"])
    holding.limit("red", 5)
    holding.limit("red", 8, shared=True)
    holding.place("1", 5)
    assert holding.refused("2", 1).scope is LimitScope.USER
    holding.place("3", 3, user=eve)
    binding = holding.refused("4", 1, user=eve)
    assert (binding.scope, binding.scope_id, binding.remaining) == (LimitScope.GROUP, holding.ledger.groups["red"], 0)


def test_a_groups_pool_counts_what_is_charged_to_it_and_not_what_its_other_members_use(holding: Holding) -> None:
    holding.ledger.put_user("eve", home="blue", groups=["red", "blue"])
    eve = UserBy(id=holding.ledger.users["eve"])
    holding.limit("red", 5, shared=True)
    holding.place("1", 50, user=eve)
    holding.place("2", 50, user=UserBy(id=holding.ledger.users["bob"]))
    holding.place("3", 5)
    assert holding.balances()["red", "MONTH"] == ("0", "5")


def test_the_group_of_the_placing_is_charged_also_when_people_moved_meanwhile(holding: Holding) -> None:
    holding.limit("red", 5, shared=True)
    holding.limit("blue", 5, shared=True)
    hold = holding.place("1", 5)
    holding.ledger.put_user("ada", home="blue", groups=["blue"])
    assert holding.settle(hold, 4).group_id == holding.ledger.groups["red"]
    assert holding.ledger.charged() == {"red": (4 * MICRO, 1)}
    assert holding.balances()["red", "MONTH"] == ("4", "0")
    assert holding.place("2", 5).group_id == holding.ledger.groups["blue"]
    assert holding.balances()["blue", "MONTH"] == ("0", "5")
    assert holding.differences() == ()


def test_a_hold_counts_in_the_period_of_its_placing_also_when_settled_in_the_next(holding: Holding) -> None:
    holding.limit("ada", 5, cadence=Cadence.DAY)
    holding.clock.now = datetime(2026, 6, 30, 23, 59, 59, 900_000, tzinfo=UTC)
    hold = holding.place("1", 5)
    holding.refused("2", 1)
    holding.clock.move(seconds=1)
    assert holding.place("3", 5).placed_at == datetime(2026, 7, 1, 0, 0, 0, 900_000, tzinfo=UTC)
    holding.settle(hold, 4)
    rows = holding.ledger.desk.sql(
        "SELECT k.cadence, b.first_day::text, b.used, held_now(b.held, %s)"
        " FROM balance AS b JOIN balance_kind AS k ON k.workspace_id = b.workspace_id AND k.id = b.kind_id"
        " WHERE b.workspace_id = %s ORDER BY 1, 2",
        int(holding.clock.now.timestamp()),
        holding.ledger.workspace_id,
    )
    assert rows == [
        ("DAY", "2026-06-30", 4 * MICRO, 0),
        ("DAY", "2026-07-01", 0, 5 * MICRO),
        ("MONTH", "2026-06-01", 4 * MICRO, 0),
        ("MONTH", "2026-07-01", 0, 5 * MICRO),
    ]
    assert holding.ledger.desk.sql(
        "SELECT at FROM usage_event WHERE workspace_id = %s", holding.ledger.workspace_id
    ) == [(hold.placed_at,)]
    assert holding.differences() == ()


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("America/Havana", datetime(2026, 11, 1, 4, tzinfo=UTC)),  # It is midnight twice.
        ("Atlantic/Azores", datetime(2026, 10, 25, 0, tzinfo=UTC)),  # So it is here.
        ("Asia/Beirut", datetime(2026, 3, 28, 22, tzinfo=UTC)),  # Midnight is skipped.
        ("Asia/Kathmandu", datetime(2026, 6, 19, 18, 15, tzinfo=UTC)),
    ],
)
def test_holds_and_events_of_a_day_count_in_the_same_balance_where_clocks_change(
    desk: Desk, zone: str, start: datetime
) -> None:
    holding = Holding(new_ledger(desk, zone))
    holding.clock.now = start - timedelta(days=1)
    holding.limit("ada", 10, cadence=Cadence.DAY)
    for minutes in (0, 30, 59, 60, 90, 23 * 60 - 1):
        holding.clock.now = start + timedelta(minutes=minutes)
        holding.settle(holding.place(str(minutes), 1), 1)
        event = holding.ledger.event(f"e{minutes}", at=holding.clock.now, credits=500_000)
        holding.ledger.record(event, now=holding.clock.now)
    assert holding.balances()["ada", "DAY"] == ("9", "0")
    assert holding.refused("x", 2).remaining == MICRO
    assert holding.differences() == ()


# Who, and for how much.


def test_nobody_unknown_or_inactive_gets_a_hold(holding: Holding) -> None:
    for stranger in (
        UserBy(id=uuid4()), UserBy(email="nobody@example.com"), UserBy(external_id="x-nobody"), UserBy(),
        UserBy(email="a\0b"), UserBy(external_id="\ud800"),
    ):  # fmt: skip
        assert code(lambda stranger=stranger: holding.place("1", user=stranger)) is ErrorCode.UNKNOWN_USER  # type: ignore[misc]
    other = new_ledger(holding.ledger.desk)
    assert code(lambda: holding.place("1", user=UserBy(id=other.users["ada"]))) is ErrorCode.UNKNOWN_USER
    holding.ledger.put_user("bob", active=False)
    bob = UserBy(id=holding.ledger.users["bob"])
    assert code(lambda: holding.place("1", user=bob)) is ErrorCode.INACTIVE_USER
    assert code(lambda: holding.authorize(user=bob)) is ErrorCode.INACTIVE_USER
    assert (holding.ledger.rows("hold"), holding.ledger.rows("balance")) == (0, 0)


@pytest.mark.parametrize("by", [{"email": "ADA@Example.Com"}, {"external_id": "x-ada"}])
def test_a_user_is_found_by_each_of_their_names(holding: Holding, by: dict[str, Any]) -> None:
    assert holding.place("1", user=UserBy(**by)).user_id == holding.ledger.users["ada"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"source": ""}, ErrorCode.INVALID_EVENT),
        ({"id": "x" * 201}, ErrorCode.INVALID_EVENT),
        ({"product": "a\nb"}, ErrorCode.INVALID_EVENT),
        ({"model": "\ud800"}, ErrorCode.INVALID_EVENT),
        ({"seconds": 0}, ErrorCode.INVALID_INPUT),
        ({"seconds": MAX_SECONDS + 1}, ErrorCode.INVALID_INPUT),
        ({"amount": 0}, ErrorCode.INVALID_AMOUNT),
        ({"amount": -1}, ErrorCode.INVALID_AMOUNT),
        ({"amount": MAX_CREDITS + 1}, ErrorCode.INVALID_AMOUNT),
        ({"amount": None}, ErrorCode.INVALID_AMOUNT),
        ({"amount": None, "expected": Measured(input_tokens=-1)}, ErrorCode.INVALID_AMOUNT),
        ({"amount": None, "expected": Measured(output_tokens=10**20)}, ErrorCode.INVALID_AMOUNT),
        ({"amount": None, "expected": Measured(tier="\0")}, ErrorCode.INVALID_EVENT),
    ],
)
def test_a_hold_that_nobody_could_place_is_refused_and_keeps_nobody_out_who_asks_at_the_same_time(
    holding: Holding, change: dict[str, Any], expected: ErrorCode
) -> None:
    good = holding.request("good")
    before, wrong, after = holding.together(good, holding.request("wrong")._replace(**change), holding.request("also"))
    assert isinstance(wrong, CreditError)
    assert wrong.code is expected
    assert isinstance(before, Hold)
    assert isinstance(after, Hold)
    assert holding.ledger.rows("hold") == 2


@pytest.mark.parametrize(
    ("seconds", "later", "ends"),
    [
        (1, 0.0, 1), (1, 0.5, 2), (15, 0.000001, 16), (16, 0.0, 20), (60, 0.5, 65), (61, 0.0, 90), (600, 1.0, 630),
        (601, 0.0, 900), (3600, 0.0, 3600), (3601, 0.0, 7200), (MAX_SECONDS, 1.0, 90_000),
    ],
)  # fmt: skip
def test_a_hold_lasts_at_least_as_long_as_asked_and_ends_on_a_round_time(
    holding: Holding, seconds: int, later: float, ends: int
) -> None:
    holding.clock.move(seconds=later)
    assert holding.place("1", seconds=seconds).expires_at == NOW + timedelta(seconds=ends)


def test_without_an_amount_a_hold_is_priced_from_the_rate_card(holding: Holding) -> None:
    rate = put_rate(holding, 2 * MICRO)
    holding.limit("ada", 10)
    hold = holding.place("1", None, expected=Measured(messages=3))
    assert (hold.amount, hold.rates) == (6 * MICRO, (rate,))
    assert holding.refused("2", None, expected=Measured(messages=3)).remaining == 4 * MICRO
    settled = holding.settle(hold, measured=Measured(messages=2))
    assert (settled.settled_amount, settled.overage) == (4 * MICRO, 0)
    [row] = holding.ledger.desk.sql(
        "SELECT credits, rate_ids, measured FROM usage_event WHERE workspace_id = %s", holding.ledger.workspace_id
    )
    assert row == (4 * MICRO, [rate], {"messages": "2"})
    assert holding.balances() == {("ada", "MONTH"): ("4", "0")}


def test_a_hold_keeps_what_it_was_priced_with_when_the_rate_changes(holding: Holding) -> None:
    put_rate(holding, 2 * MICRO)
    hold = holding.place("1", None, expected=Measured())
    put_rate(holding, 3 * MICRO)
    assert holding.place("1", None, expected=Measured()) == hold
    assert holding.place("2", None, expected=Measured()).amount == 3 * MICRO


def test_the_workspaces_policy_decides_about_models_that_the_rate_card_does_not_name(holding: Holding) -> None:
    def place(id_: str) -> Hold:
        return holding.place(id_, None, expected=Measured(), model="new")

    put_rate(holding, 2 * MICRO)
    assert code(lambda: place("1")) is ErrorCode.UNPRICED
    change_settings(holding, "unknown_model = 'DEFAULT_RATE'")
    assert code(lambda: place("1")) is ErrorCode.UNPRICED
    default = put_rate(holding, 5 * MICRO, "", "")
    assert (place("1").amount, place("1").rates) == (5 * MICRO, (default,))
    change_settings(holding, "unknown_model = 'ALLOW_UNPRICED'")
    assert (place("2").amount, place("2").rates) == (0, ())
    assert holding.settle(place("2"), measured=Measured()).settled_amount == 0
    assert holding.differences() == ()


# Ending.


def test_settling_records_what_was_used_and_gives_back_the_rest(holding: Holding) -> None:
    holding.limit("ada", 10)
    hold = holding.place("1", 8)
    holding.clock.move(seconds=20)
    settled = holding.settle(hold, 5, measured=Measured(input_tokens=7, cached_input_tokens=2, output_tokens=3))
    assert settled == hold._replace(
        state=HoldState.SETTLED, ended_at=NOW + timedelta(seconds=20), settled_amount=5 * MICRO
    )
    [row] = holding.ledger.desk.sql(
        "SELECT user_id, group_id, at, recorded_at, source, external_id, product, model, credits, requests,"
        " input_tokens, cached_input_tokens, output_tokens, rate_ids, measured"
        " FROM usage_event WHERE workspace_id = %s",
        holding.ledger.workspace_id,
    )
    ledger = holding.ledger
    assert row == (
        ledger.users["ada"], ledger.groups["red"], NOW, holding.clock.now, "gateway", "1", "chat", "large", 5 * MICRO,
        1, 7, 2, 3, None, None,
    )  # fmt: skip
    assert holding.balances() == {("ada", "MONTH"): ("5", "0")}
    assert holding.place("2", 5).amount == 5 * MICRO
    assert holding.differences() == ()


def test_settling_above_the_hold_is_recorded_in_full_and_flagged_as_overage(holding: Holding) -> None:
    holding.limit("ada", 10)
    settled = holding.settle(holding.place("1", 8), 15)
    assert (settled.settled_amount, settled.overage) == (15 * MICRO, 5 * MICRO + 2 * MICRO)
    assert holding.balances() == {("ada", "MONTH"): ("15", "0")}
    assert holding.refused("2", 1).remaining == 0
    assert holding.differences() == ()


def test_settling_an_expired_hold_is_recorded_in_full_and_all_of_it_is_overage(holding: Holding) -> None:
    holding.limit("ada", 10)
    hold = holding.place("1", 8, seconds=10)
    holding.clock.move(seconds=10)
    holding.place("2", 10)
    settled = holding.settle(hold, 7)
    assert (settled.state, settled.settled_amount, settled.overage) == (HoldState.SETTLED, 7 * MICRO, 7 * MICRO)
    assert holding.balances() == {("ada", "MONTH"): ("7", "10")}
    holding.clock.move(days=3)
    assert holding.settle(holding.place("3", 1, seconds=1), 1).overage == 0
    assert holding.differences() == ()


def test_a_hold_settled_long_after_it_expired_takes_nothing_from_others(holding: Holding) -> None:
    hold = holding.place("1", 8, seconds=10)
    holding.clock.move(hours=5)
    # Balances of a new kind are opened when the hold is over already.
    holding.limit("ada", 10, cadence=Cadence.DAY)
    other = holding.place("2", 3)
    assert holding.settle(hold, 2).overage == 2 * MICRO
    assert holding.balances() == {("ada", "MONTH"): ("2", "3"), ("ada", "DAY"): ("2", "3")}
    holding.settle(other, 3)
    assert holding.balances() == {("ada", "MONTH"): ("5", "0"), ("ada", "DAY"): ("5", "0")}
    assert holding.differences() == ()


def test_an_expired_hold_counts_no_longer_at_the_very_instant_and_without_a_sweeper(holding: Holding) -> None:
    holding.limit("ada", 10)
    hold = holding.place("1", 10, seconds=10)
    holding.clock.now = hold.expires_at - timedelta(microseconds=1)
    assert holding.refused("2", 1).remaining == 0
    assert not holding.authorize(1).allowed
    before = everything(holding.ledger.desk)
    holding.clock.now = hold.expires_at
    assert holding.balances() == {("ada", "MONTH"): ("0", "0")}
    assert holding.authorize(10).allowed
    assert everything(holding.ledger.desk) == before
    assert holding.place("3", 10).amount == 10 * MICRO
    assert holding.place("1", 10, seconds=10) == hold._replace(state=HoldState.EXPIRED)
    assert holding.differences() == ()


def test_releasing_gives_everything_back_and_records_nothing(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.limit("red", 10, shared=True, cadence=Cadence.WEEK)
    hold = holding.place("1", 10)
    released = holding.release(hold)
    assert released == hold._replace(state=HoldState.RELEASED, ended_at=NOW)
    assert held(holding) == {"0"}
    assert holding.ledger.rows() == 0
    assert holding.place("2", 10).amount == 10 * MICRO
    assert holding.differences() == ()


def test_holds_that_end_at_the_same_time_are_given_back_each_by_itself(holding: Holding) -> None:
    first, second, third = (holding.place(id_, 5) for id_ in "abc")
    holding.settle(first, 5)
    holding.release(second)
    assert holding.balances() == {("ada", "MONTH"): ("5", "5")}
    holding.settle(third, 9)
    assert holding.balances() == {("ada", "MONTH"): ("14", "0")}


def test_a_hold_ends_exactly_once(holding: Holding) -> None:
    settled = holding.settle(holding.place("settled", 5), 4)
    released = holding.release(holding.place("released", 5))
    expired = holding.place("expired", 5, seconds=1)
    holding.clock.move(seconds=1)
    before = everything(holding.ledger.desk)
    # The same again is a replay.
    assert holding.settle(settled, 4) == settled
    assert holding.release(released) == released
    # Anything else is too late.
    for call in (
        lambda: holding.settle(settled, 5),
        lambda: holding.settle(settled, 4, measured=Measured(messages=2)),
        lambda: holding.release(settled),
        lambda: holding.settle(released, 4),
        lambda: holding.release(expired),
    ):
        assert code(call) is ErrorCode.HOLD_ENDED
    assert everything(holding.ledger.desk) == before
    assert holding.balances() == {("ada", "MONTH"): ("4", "0")}


def test_what_was_never_held_cannot_be_ended(holding: Holding) -> None:
    holding.limit("ada", 0)
    holding.refused("1", 1)
    [(refused,)] = holding.ledger.desk.sql("SELECT id FROM hold WHERE workspace_id = %s", holding.ledger.workspace_id)
    other = Holding(new_ledger(holding.ledger.desk))
    elsewhere = other.place("1", 1)
    for id_ in (uuid4(), refused, elsewhere.id):
        assert code(lambda id_=id_: holding.settle(id_, 1)) is ErrorCode.UNKNOWN_HOLD  # type: ignore[misc]
        assert code(lambda id_=id_: holding.release(id_)) is ErrorCode.UNKNOWN_HOLD  # type: ignore[misc]
        assert holding.ledger.desk.run(hold_by_id(holding.ledger.reader, holding.ledger.workspace_id, id_)) is None
    found = holding.ledger.desk.run(hold_by_id(other.ledger.reader, other.ledger.workspace_id, elsewhere.id))
    assert found == elsewhere


@pytest.mark.parametrize(
    ("settlement", "expected"),
    [
        ({}, ErrorCode.INVALID_AMOUNT),
        ({"amount": -1}, ErrorCode.INVALID_AMOUNT),
        ({"amount": MAX_CREDITS + 1}, ErrorCode.INVALID_AMOUNT),
        ({"amount": 1, "measured": Measured(input_tokens=10**20)}, ErrorCode.INVALID_AMOUNT),
        ({"amount": 1, "measured": Measured(messages=-1)}, ErrorCode.INVALID_AMOUNT),
        ({"amount": 1, "measured": Measured(tier="a\0b")}, ErrorCode.INVALID_EVENT),
        ({"measured": Measured()}, ErrorCode.UNPRICED),
    ],
)
def test_a_settlement_that_is_none_is_refused_and_keeps_nobody_out_who_settles_at_the_same_time(
    holding: Holding, settlement: dict[str, Any], expected: ErrorCode
) -> None:
    ledger = holding.ledger
    first, wrong, last = (holding.place(id_, 5) for id_ in "abc")
    asked = [Settlement(first.id, 1), Settlement(wrong.id, **settlement), Settlement(last.id, 2)]

    async def settling() -> list[object]:
        calls = [holding.desk.settle(ledger.workspace_id, one) for one in asked]
        return await asyncio.gather(*calls, return_exceptions=True)

    one, error, another = ledger.desk.run(settling())
    assert isinstance(error, CreditError)
    assert error.code is expected
    assert isinstance(one, Hold)
    assert isinstance(another, Hold)
    assert holding.balances() == {("ada", "MONTH"): ("0.000003", "5")}
    assert holding.settle(wrong, 5).overage == 0
    assert holding.differences() == ()


# Recording without a hold.


def test_recording_without_a_hold_is_always_accepted_and_may_push_a_budget_over(holding: Holding) -> None:
    holding.limit("ada", 10)
    holding.place("1", 10)
    assert holding.ledger.record(holding.ledger.event(credits=7 * MICRO)).accepted == 1
    assert holding.balances() == {("ada", "MONTH"): ("7", "10")}
    assert holding.refused("2", 1).remaining == 0
    assert holding.differences() == ()


def test_an_event_that_was_recorded_under_the_holds_id_is_not_counted_again(holding: Holding) -> None:
    hold, other = holding.place("1", 5), holding.place("2", 5)
    holding.ledger.record(holding.ledger.event("1", credits=3 * MICRO))
    before = everything(holding.ledger.desk)
    assert code(lambda: holding.settle(hold, 3)) is ErrorCode.IDEMPOTENCY_CONFLICT
    assert everything(holding.ledger.desk) == before
    assert holding.balances() == {("ada", "MONTH"): ("3", "10")}
    # It still can be released; and others that are settled at the same time are.
    assert holding.settle(other, 1).settled_amount == MICRO
    assert holding.release(hold).state is HoldState.RELEASED
    assert holding.balances() == {("ada", "MONTH"): ("4", "0")}
    assert holding.differences() == ()


def test_one_conflict_does_not_keep_others_from_being_settled_in_the_same_round(holding: Holding) -> None:
    ledger = holding.ledger
    holds = [holding.place(str(number), 1) for number in range(6)]
    ledger.record(ledger.event("3", credits=9 * MICRO))

    async def settling() -> list[object]:
        calls = [holding.desk.settle(ledger.workspace_id, Settlement(hold.id, MICRO)) for hold in (*holds, holds[0])]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = ledger.desk.run(settling())
    codes = [answer.code if isinstance(answer, CreditError) else answer.state for answer in answers]
    assert codes == [HoldState.SETTLED] * 3 + [ErrorCode.IDEMPOTENCY_CONFLICT] + [HoldState.SETTLED] * 3
    assert holding.balances() == {("ada", "MONTH"): ("14", "1")}
    assert holding.differences() == ()


def test_a_settled_hold_sent_as_an_event_as_well_is_not_counted_twice(holding: Holding) -> None:
    hold = holding.settle(holding.place("1", 5), 3)
    ledger = holding.ledger
    alike = ledger.event(
        "1", at=hold.placed_at, credits=3 * MICRO, input_tokens=0, cached_input_tokens=0, output_tokens=0
    )
    assert ledger.record(alike).duplicates == 1
    recorded = ledger.record(replace(alike, credits=2 * MICRO))
    assert [one.code for one in recorded.rejected] == [ErrorCode.IDEMPOTENCY_CONFLICT]
    assert holding.balances() == {("ada", "MONTH"): ("3", "0")}


# Coming again.


def test_the_same_request_is_answered_with_the_same_hold(holding: Holding) -> None:
    hold = holding.place("1", 5)
    before = everything(holding.ledger.desk)
    for user in (UserBy(email="ADA@example.com"), UserBy(external_id="x-ada"), UserBy(id=holding.ledger.users["ada"])):
        assert holding.place("1", 5, user=user) == hold
        assert holding.place("1", 5, user=user, at=holding.another_desk()) == hold
    assert everything(holding.ledger.desk) == before
    settled = holding.settle(hold, 3)
    assert holding.place("1", 5) == settled


def test_another_request_under_the_same_id_is_a_conflict_and_changes_nothing(holding: Holding) -> None:
    holding.place("1", 5)
    holding.place("bob", user=UserBy(id=holding.ledger.users["bob"]))
    before = everything(holding.ledger.desk)
    for change in (
        {"amount": 4 * MICRO}, {"product": "agent"}, {"model": "small"}, {"seconds": 301},
        {"user": UserBy(id=holding.ledger.users["bob"])}, {"expected": Measured(messages=2)},
    ):  # fmt: skip
        call = lambda change=change: holding.place("1", 5, **change)  # noqa: E731
        assert code(call) is ErrorCode.IDEMPOTENCY_CONFLICT
    assert everything(holding.ledger.desk) == before
    assert holding.place("1", 5, source="another").amount == 5 * MICRO


def test_a_refusal_is_replayed_also_when_there_is_room_by_now(holding: Holding) -> None:
    limit = holding.limit("ada", 10)
    refusal = holding.refused("1", 11)
    raised = holding.limit("ada", 100)
    assert raised.id == limit.id
    assert holding.refused("1", 11) == refusal
    assert holding.refused("1", 11, user=UserBy(email="ada@example.com"), at=holding.another_desk()) == refusal
    assert code(lambda: holding.place("1", 12)) is ErrorCode.IDEMPOTENCY_CONFLICT
    assert holding.place("2", 11).amount == 11 * MICRO
    remove_limits(holding)
    holding.clock.move(days=40)
    assert holding.refused("1", 11, at=holding.another_desk()) == refusal


def test_a_hold_is_replayed_also_where_it_could_not_be_placed_any_more(holding: Holding) -> None:
    put_rate(holding, 2 * MICRO)
    hold = holding.place("1", None, expected=Measured())
    refused_limit = holding.limit("ada", 0)
    refusal = holding.refused("2", None, expected=Measured())
    assert refusal.limit_id == refused_limit.id
    assert holding.place("1", None, expected=Measured()) == hold
    remove_rates(holding)
    holding.ledger.put_user("ada", home="red", active=False)
    for at in (holding.desk, holding.another_desk()):
        assert holding.place("1", None, expected=Measured(), at=at) == hold
        assert holding.refused("2", None, expected=Measured(), at=at) == refusal
    assert holding.settle(hold, 2).overage == 0


def test_a_refused_placing_of_nothing_does_not_take_its_id(holding: Holding) -> None:
    assert code(lambda: holding.place("1", None, expected=Measured())) is ErrorCode.UNPRICED
    put_rate(holding, 2 * MICRO)
    assert holding.place("1", None, expected=Measured()).amount == 2 * MICRO


# Changes bite at once: also at another process that knows what was so before.


def test_lowering_and_raising_a_limit_bite_at_once_in_every_process(holding: Holding) -> None:
    other = holding.another_desk()
    holding.limit("ada", 10)
    holding.place("1", 6, at=other)
    holding.limit("ada", 5)
    assert holding.refused("2", 1, at=other).remaining == 0
    # Lowering claws nothing back.
    assert holding.balances() == {("ada", "MONTH"): ("0", "6")}
    holding.limit("ada", 7)
    assert holding.place("3", 1, at=other).amount == MICRO
    assert holding.refused("4", 1, at=other).remaining == 0
    assert not holding.authorize(1, at=other).allowed
    holding.limit("ada", None)
    assert holding.authorize(1, at=other).allowed
    assert holding.place("5", 100, at=other).amount == 100 * MICRO


def test_use_from_the_start_of_the_period_counts_also_where_the_limit_is_younger(holding: Holding) -> None:
    ledger = holding.ledger
    ledger.record(
        ledger.event("may", at=datetime(2026, 5, 31, 23, 59, tzinfo=UTC), credits=50 * MICRO),
        ledger.event("june", at=datetime(2026, 6, 1, tzinfo=UTC), credits=4 * MICRO),
        ledger.event("monday", at=datetime(2026, 6, 15, tzinfo=UTC), credits=3 * MICRO),
        ledger.event("sunday", at=datetime(2026, 6, 14, 23, 59, tzinfo=UTC), credits=2 * MICRO, model="small"),
    )
    holding.place("held", 1)
    before = ledger.charged()
    holding.limit(None, 10, shared=True)
    holding.limit("red", 5, shared=True, cadence=Cadence.WEEK)
    holding.limit("ada", 9, product="chat", model="large")
    assert holding.balances() == {
        ("ada", "MONTH"): ("9", "1"),
        ("workspace", "MONTH"): ("9", "1"),
        ("red", "WEEK"): ("3", "1"),
        ("ada", "MONTH chat large"): ("7", "1"),
    }
    assert holding.refused("x", 1).scope is LimitScope.WORKSPACE
    assert ledger.charged() == before
    assert holding.differences() == ()


def test_an_override_ends_at_its_instant_and_the_next_level_applies(holding: Holding) -> None:
    holding.limit(None, 5)
    override = holding.limit("ada", 50, expires_at=NOW + timedelta(minutes=2))
    assert holding.place("1", 20).amount == 20 * MICRO
    holding.clock.now = NOW + timedelta(minutes=2, microseconds=-1)
    assert holding.place("2", 1).amount == MICRO
    assert holding.refused("3", 50).limit_id == override.id
    holding.clock.now = NOW + timedelta(minutes=2)
    binding = holding.refused("4", 1)
    assert (binding.amount, binding.remaining) == (5 * MICRO, 0)


def test_membership_and_home_group_bite_at_once_in_every_process(holding: Holding) -> None:
    other, ledger = holding.another_desk(), holding.ledger
    holding.limit("red", 5)
    holding.limit("blue", 7)
    holding.limit("blue", 3, shared=True)
    holding.place("1", 5, at=other)
    assert holding.refused("2", 1, at=other).amount == 5 * MICRO
    ledger.put_user("ada", home="red", groups=["red", "blue"])
    assert holding.place("3", 1, at=other).group_id == ledger.groups["red"]
    ledger.put_user("ada", home="blue", groups=["red", "blue"])
    assert holding.place("4", 1, at=other).group_id == ledger.groups["blue"]
    ledger.put_user("ada", home="blue", groups=[])
    assert holding.place("5", 2, at=other).amount == 2 * MICRO
    assert holding.refused("6", 1, at=other).scope is LimitScope.GROUP
    ledger.put_user("ada", groups=[])
    assert holding.place("7", 100, at=other).group_id is None


def test_a_policy_that_allows_more_bites_at_once_in_every_process(holding: Holding) -> None:
    other = holding.another_desk()
    ada = UserBy(email="ada@example.com")
    holding.ledger.put_user("ada", active=False)
    assert code(lambda: holding.place("1", at=other, user=ada)) is ErrorCode.INACTIVE_USER
    holding.ledger.put_user("ada")
    assert holding.place("2", at=other, user=ada).amount == MICRO
    assert code(lambda: holding.place("3", None, at=other, expected=Measured())) is ErrorCode.UNPRICED
    put_rate(holding, MICRO)
    assert holding.place("3", None, at=other, expected=Measured()).amount == MICRO


def test_what_became_of_another_process_holds_counts(holding: Holding) -> None:
    other = holding.another_desk()
    holding.limit("ada", 10)
    holding.place("1", 6, at=other)
    assert holding.refused("2", 5).remaining == 4 * MICRO
    assert holding.place("3", 4).amount == 4 * MICRO
    assert holding.refused("4", 1, at=other).remaining == 0


# In one round.


def test_two_users_in_one_round_are_each_held_for(holding: Holding) -> None:
    bob = UserBy(external_id="x-bob")
    holding.limit("ada", 3)
    holding.limit(None, 5, shared=True)
    first = holding.request("warm", 0, amount=1)
    answers = holding.together(
        first,
        holding.request("1", 3),  # Ada has a millionth less.
        holding.request("2", 2),
        holding.request("3", 3, user=bob),  # The workspace has a millionth less.
        holding.request("4", 2, user=bob),
    )
    assert [type(answer) for answer in answers] == [Hold, BudgetExceededError, Hold, BudgetExceededError, Hold]
    assert holding.balances() == {
        ("ada", "MONTH"): ("0", "2.000001"),
        ("bob", "MONTH"): ("0", "2"),
        ("workspace", "MONTH"): ("0", "4.000001"),
    }
    assert holding.differences() == ()


def test_the_same_hold_twice_in_one_round_is_one_hold(holding: Holding) -> None:
    same, other = holding.request("1", 2), holding.request("1", 3)
    alike = same._replace(user=UserBy(email="ada@example.com"))
    answers = holding.together(same, same, alike, other, same, alike, other)
    holds = [answer for answer in answers if isinstance(answer, Hold)]
    assert len(holds) == 5
    assert len(set(holds)) == 1
    conflicts = [answer.code for answer in answers if isinstance(answer, HoldError)]
    assert conflicts == [ErrorCode.IDEMPOTENCY_CONFLICT] * 2
    assert holding.balances() == {("ada", "MONTH"): ("0", "2")}


def test_a_refusal_twice_in_one_round_is_one_refusal(holding: Holding) -> None:
    holding.limit("ada", 1)
    same = holding.request("1", 2)
    answers = holding.together(same, same, same._replace(user=UserBy(email="ada@example.com")))
    assert [type(answer) for answer in answers] == [BudgetExceededError] * 3
    assert holding.ledger.rows("hold") == 1


def test_a_round_of_300_is_granted_up_to_the_line_and_not_past_it(holding: Holding) -> None:
    holding.limit("ada", 200)
    holding.limit("red", 250, shared=True)
    answers = holding.together(*(holding.request(str(number)) for number in range(300)))
    assert [type(answer) for answer in answers] == [Hold] * 200 + [BudgetExceededError] * 100
    assert set(holding.balances().values()) == {("0", "200")}
    assert holding.differences() == ()


# Asking only.


def test_authorize_tells_without_changing_anything(holding: Holding) -> None:
    limit = holding.limit("ada", 10)
    holding.limit("red", 20, shared=True)
    holding.place("1", 4)
    before = everything(holding.ledger.desk)
    budget = BindingBudget(
        LimitScope.USER, holding.ledger.users["ada"], Shape(Cadence.MONTH), limit.id, 10 * MICRO, 6 * MICRO, JULY
    )
    for whole, allowed in ((6, True), (7, False)):
        for at in (holding.desk, holding.another_desk()):
            found = holding.authorize(whole, at=at)
            assert (found.allowed, found.amount, found.budget) == (allowed, whole * MICRO, budget)
    assert code(lambda: holding.authorize(user=UserBy(id=uuid4()))) is ErrorCode.UNKNOWN_USER
    assert code(lambda: holding.authorize(None, expected=Measured())) is ErrorCode.UNPRICED
    assert everything(holding.ledger.desk) == before
    assert holding.place("2", 6).amount == 6 * MICRO


def test_authorize_knows_no_budget_where_there_is_no_hard_limit(holding: Holding) -> None:
    holding.limit("ada", 1, soft=True)
    found = holding.authorize(100)
    assert (found.allowed, found.budget) == (True, None)
