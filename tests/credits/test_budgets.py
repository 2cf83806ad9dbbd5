"""Budgets: what applies to whom, what is left of it, and who is told how much."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.budget_rules import Budget, BudgetStatus, main_budget
from creditdesk.credits.budgets import budget_of_groups, budgets_of_users
from creditdesk.credits.directory import NewUser, UserKind, put_users
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.forecasts import Forecast
from creditdesk.credits.limit_rules import NewLimit
from creditdesk.credits.limits import UNLIMITED, Enforcement, Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence
from support.budgets import (
    MONTH,
    budget_of,
    budgets,
    budgets_of,
    figures,
    forecast_of,
    hold,
    manager,
    member,
    nobody,
    pools,
    set_limit,
    settings,
    statements,
    use,
    whole_pool,
    write,
)
from support.ledgers import NOW, Desk, Ledger, new_ledger

WEEK, DAY, CYCLE = (Shape(cadence) for cadence in (Cadence.WEEK, Cadence.DAY, Cadence.BILLING_CYCLE))
CHAT, LARGE = Shape(Cadence.MONTH, "chat"), Shape(Cadence.MONTH, "chat", "large")
TODAY = date(2026, 6, 20)
"""The day of NOW, a Saturday."""
OK, NEAR, EXHAUSTED, OVER = BudgetStatus


# A user's own budgets.


def test_where_no_limit_is_set_there_is_the_month_and_nothing_binds(ledger: Ledger) -> None:
    use(ledger, "ada", 7)
    [budget] = budgets_of(ledger, "ada")
    assert (budget.scope, budget.scope_id, budget.shape) == (LimitScope.USER, ledger.users["ada"], MONTH)
    assert (budget.value, budget.source, budget.beaten, budget.enforcement) == (UNLIMITED, None, (), None)
    assert figures(budget) == (7, 0, None, 0)
    assert (budget.status, budget.binding) == (OK, False)
    assert (budget.period.start, budget.resets_at) == (
        datetime(2026, 6, 1, tzinfo=UTC),
        datetime(2026, 7, 1, tzinfo=UTC),
    )


def test_a_budget_is_a_limit_with_what_was_used_and_held_and_what_is_left(ledger: Ledger) -> None:
    limit = set_limit(ledger, "ada", 20)
    use(ledger, "ada", 7)
    hold(ledger, ledger.users["ada"], 3, NOW + timedelta(minutes=5))
    [budget] = budgets_of(ledger, "ada")
    assert (budget.value, budget.source, budget.beaten) == (Limited(20 * MICRO), limit, ())
    assert (budget.enforcement, budget.status, budget.binding) == (Enforcement.HARD, OK, True)
    assert figures(budget) == (7, 3, 10, 0)


def test_a_user_who_used_nothing_has_a_budget_all_the_same(ledger: Ledger) -> None:
    set_limit(ledger, None, 20)
    assert figures(budget_of(ledger, "bob")) == (0, 0, 20, 0)


@pytest.mark.parametrize(
    ("amount", "near", "used", "held", "status", "left"),
    [
        (100, 80, 79, 0, OK, (21, 0)),
        (100, 80, 80, 0, NEAR, (20, 0)),
        (100, 80, 50, 30, NEAR, (20, 0)),
        (100, 80, 50, 29, OK, (21, 0)),
        (100, 100, 99, 0, OK, (1, 0)),
        (100, 1, 1, 0, NEAR, (99, 0)),
        (100, 80, 100, 0, EXHAUSTED, (0, 0)),
        (100, 80, 90, 10, EXHAUSTED, (0, 0)),
        (100, 80, 100, 50, EXHAUSTED, (0, 0)),
        (100, 80, 101, 0, OVER, (0, 1)),
        (100, 80, 130, 20, OVER, (0, 30)),
        (0, 80, 0, 0, EXHAUSTED, (0, 0)),
        (0, 80, 1, 0, OVER, (0, 1)),
        (100, 80, -5, 0, OK, (105, 0)),
        (None, 1, 900, 50, OK, (None, 0)),
    ],
)
def test_a_budget_is_near_exhausted_or_over_by_what_is_used_and_held(
    ledger: Ledger,
    *,
    amount: int | None,
    near: int,
    used: int,
    held: int,
    status: BudgetStatus,
    left: tuple[int | None, int],
) -> None:
    set_limit(ledger, "ada", amount)
    settings(ledger, near_percent=near)
    if used >= 0:
        use(ledger, "ada", used)
    else:
        # What was used last month was corrected in this one.
        use(ledger, "ada", 1 - used, datetime(2026, 5, 1, tzinfo=UTC))
        [(source, id_)] = ledger.desk.sql(
            "SELECT source, external_id FROM usage_event WHERE workspace_id = %s", ledger.workspace_id
        )
        event = ledger.event("correction", source=source, at=NOW, credits=used * MICRO, corrects=id_, input_tokens=0)
        assert ledger.record(replace(event, cached_input_tokens=0, output_tokens=0)).accepted == 1
    if held:
        hold(ledger, ledger.users["ada"], held, NOW + timedelta(hours=1))
    budget = budget_of(ledger)
    assert budget.status is status
    assert figures(budget) == (used, held, *left)


def test_what_is_held_counts_until_it_expires_and_no_more_at_that_very_moment(ledger: Ledger) -> None:
    set_limit(ledger, "ada", 10, now=NOW - timedelta(days=1))
    hold(ledger, ledger.users["ada"], 4, NOW)
    assert figures(budget_of(ledger, now=NOW - timedelta(microseconds=1))) == (0, 4, 6, 0)
    assert figures(budget_of(ledger, now=NOW)) == (0, 0, 10, 0)


def test_the_narrower_limit_applies_and_the_ones_it_beat_are_named_best_first(ledger: Ledger) -> None:
    ledger.put_user("ada", home="red", groups=["red", "blue"])
    workspace = set_limit(ledger, None, 5000)
    assert budget_of(ledger).source == workspace
    blue, red = set_limit(ledger, "blue", 8000), set_limit(ledger, "red", 7000)
    assert (budget_of(ledger).source, budget_of(ledger).beaten) == (blue, (red, workspace))
    settings(ledger, multi_group="LOWEST")
    assert (budget_of(ledger).source, budget_of(ledger).beaten) == (red, (blue, workspace))
    own = set_limit(ledger, "ada", 6000)
    assert (budget_of(ledger).source, budget_of(ledger).beaten) == (own, (red, blue, workspace))
    assert budget_of(ledger, "bob").source == workspace
    more = set_limit(ledger, "ada", None, expires_at=NOW + timedelta(days=1))
    assert (budget_of(ledger).value, budget_of(ledger).beaten) == (UNLIMITED, (own, red, blue, workspace))
    assert budget_of(ledger, now=NOW + timedelta(days=1)).source == own
    assert budget_of(ledger).source == more


def test_a_limit_that_starts_later_does_not_apply_yet(ledger: Ledger) -> None:
    later = set_limit(ledger, "ada", 1, starts_at=NOW + timedelta(days=2))
    assert budget_of(ledger).value == UNLIMITED
    assert budget_of(ledger, now=NOW + timedelta(days=2)).source == later


def test_what_was_used_since_the_period_began_counts_although_the_limit_is_younger(ledger: Ledger) -> None:
    use(ledger, "ada", 90, datetime(2026, 5, 31, 23, 59, tzinfo=UTC))
    use(ledger, "ada", 4, datetime(2026, 6, 1, tzinfo=UTC))
    use(ledger, "ada", 5, datetime(2026, 6, 19, tzinfo=UTC))
    set_limit(ledger, "ada", 10, shape=CHAT)
    set_limit(ledger, "red", 10, shape=MONTH, shared=True)
    chat, red = (budget for budget in budgets_of(ledger, "ada") if budget.has_rule)
    assert [figures(budget) for budget in (chat, red)] == [(9, 0, 1, 0), (9, 0, 1, 0)]


def test_a_limit_of_a_product_or_a_model_is_a_budget_of_its_own_and_counts_only_that(ledger: Ledger) -> None:
    set_limit(ledger, None, 100)
    set_limit(ledger, "red", 30, shape=CHAT)
    set_limit(ledger, "ada", 10, shape=LARGE)
    use(ledger, "ada", 1)
    use(ledger, "ada", 2, model="small")
    use(ledger, "ada", 4, product="agent")
    found = [(budget.shape, figures(budget), budget.binding) for budget in budgets_of(ledger, "ada")]
    assert found == [
        (MONTH, (7, 0, 93, 0), False),
        (CHAT, (3, 0, 27, 0), False),
        (LARGE, (1, 0, 9, 0), True),
    ]
    # Bob is in no group: only what the workspace sets applies.
    assert [budget.shape for budget in budgets_of(ledger, "bob")] == [MONTH]


def test_limits_of_several_periods_are_budgets_side_by_side(ledger: Ledger) -> None:
    settings(ledger, anchor_days=[15])
    for shape in (DAY, WEEK, CYCLE, MONTH):
        set_limit(ledger, "ada", 100, shape=shape)
    for day, amount in ((1, 1), (14, 2), (15, 4), (19, 8), (20, 16)):
        use(ledger, "ada", amount, datetime(2026, 6, day, 8, tzinfo=UTC))
    found = [(budget.shape, budget.used, budget.period.first_day) for budget in budgets_of(ledger, "ada")]
    assert found == [
        (MONTH, 31 * MICRO, date(2026, 6, 1)),
        (CYCLE, 28 * MICRO, date(2026, 6, 15)),
        (WEEK, 28 * MICRO, date(2026, 6, 15)),
        (DAY, 16 * MICRO, date(2026, 6, 20)),
    ]


def test_the_first_budget_to_look_at_is_the_month_s_else_the_longest_that_has_a_rule(ledger: Ledger) -> None:
    assert budget_of(ledger).shape == MONTH
    for shape in (DAY, WEEK, CYCLE):
        set_limit(ledger, None, 5, shape=shape)
        assert budget_of(ledger).shape == shape
    set_limit(ledger, "ada", 5, shape=CHAT)
    assert budget_of(ledger).shape == CYCLE
    set_limit(ledger, "ada", None)
    assert budget_of(ledger).shape == MONTH
    assert budget_of(ledger, "bob").shape == CYCLE


@pytest.mark.parametrize(
    ("zone", "shape", "now", "period"),
    [
        ("Asia/Kathmandu", MONTH, "2026-06-30T18:14:59Z", ("2026-05-31T18:15Z", "2026-06-30T18:15Z")),
        ("Asia/Kathmandu", MONTH, "2026-06-30T18:15:00Z", ("2026-06-30T18:15Z", "2026-07-31T18:15Z")),
        ("Asia/Kathmandu", DAY, "2026-06-20T18:14:59Z", ("2026-06-19T18:15Z", "2026-06-20T18:15Z")),
        ("Europe/Berlin", DAY, "2026-03-29T10:00:00Z", ("2026-03-28T23:00Z", "2026-03-29T22:00Z")),
        ("Europe/Berlin", WEEK, "2026-03-29T21:59:59Z", ("2026-03-22T23:00Z", "2026-03-29T22:00Z")),
        ("Europe/Berlin", MONTH, "2026-03-31T21:59:59Z", ("2026-02-28T23:00Z", "2026-03-31T22:00Z")),
        ("America/Santiago", DAY, "2026-09-06T05:00:00Z", ("2026-09-06T04:00Z", "2026-09-07T03:00Z")),
    ],
)
def test_a_period_is_cut_in_the_workspace_s_zone_whatever_its_clocks_do(
    desk: Desk, zone: str, shape: Shape, now: str, period: tuple[str, str]
) -> None:
    ledger, moment = new_ledger(desk, zone), datetime.fromisoformat(now)
    first, after = (datetime.fromisoformat(boundary) for boundary in period)
    set_limit(ledger, "ada", 100, shape=shape, now=moment)
    instant = timedelta(microseconds=1)
    for at, amount in ((first - instant, 1), (first, 2), (after - instant, 4), (after, 8)):
        use(ledger, "ada", amount, at, product="agent")
    [budget] = [one for one in budgets_of(ledger, "ada", now=moment) if one.has_rule]
    assert (budget.period.start, budget.resets_at, budget.used) == (first, after, 6 * MICRO)


# What is shared, and what binds.


def test_the_pools_of_the_home_group_and_of_the_workspace_apply_and_no_other_group_s(ledger: Ledger) -> None:
    ledger.put_user("ada", home="red", groups=["red", "blue"])
    for on in ("red", "blue", None):
        set_limit(ledger, on, 100, shared=True)
    use(ledger, "ada", 5)
    use(ledger, "bob", 7)
    found = [(budget.scope, budget.scope_id, figures(budget)) for budget in budgets_of(ledger, "ada")]
    assert found == [
        (LimitScope.USER, ledger.users["ada"], (5, 0, None, 0)),
        (LimitScope.GROUP, ledger.groups["red"], (5, 0, 95, 0)),
        (LimitScope.WORKSPACE, ledger.workspace_id, (12, 0, 88, 0)),
    ]
    assert [budget.scope for budget in budgets_of(ledger, "bob")] == [LimitScope.USER, LimitScope.WORKSPACE]


def test_the_hard_limit_with_the_least_left_binds_and_only_that_one(ledger: Ledger) -> None:
    set_limit(ledger, "ada", 50)
    set_limit(ledger, "red", 40, shared=True)
    set_limit(ledger, None, 60, shared=True)

    def binding() -> list[LimitScope]:
        return [budget.scope for budget in budgets_of(ledger, "ada") if budget.binding]

    assert binding() == [LimitScope.GROUP]
    use(ledger, "bob", 25)
    assert binding() == [LimitScope.WORKSPACE]
    hold(ledger, ledger.users["ada"], 20, NOW + timedelta(minutes=1))
    assert binding() == [LimitScope.USER]
    # Both have nothing left; the one that is further over it binds.
    use(ledger, "bob", 45)
    assert binding() == [LimitScope.WORKSPACE]


def test_of_two_with_equally_little_left_the_user_s_own_binds(ledger: Ledger) -> None:
    set_limit(ledger, None, 10, shared=True)
    set_limit(ledger, "red", 10, shared=True)
    set_limit(ledger, "ada", 10)
    use(ledger, "ada", 3)
    assert [(budget.scope, budget.binding) for budget in budgets_of(ledger, "ada")] == [
        (LimitScope.USER, True),
        (LimitScope.GROUP, False),
        (LimitScope.WORKSPACE, False),
    ]


def test_neither_a_soft_limit_nor_an_unlimited_one_binds(ledger: Ledger) -> None:
    set_limit(ledger, "ada", 1, soft=True)
    set_limit(ledger, "red", None, shared=True)
    use(ledger, "ada", 3)
    own, red = budgets_of(ledger, "ada")
    assert (own.status, own.enforcement, own.binding, figures(own)) == (OVER, Enforcement.SOFT, False, (3, 0, 0, 2))
    assert (red.status, red.binding, figures(red)) == (OK, False, (3, 0, None, 0))
    set_limit(ledger, None, 100, shared=True)
    assert [budget.binding for budget in budgets_of(ledger, "ada")] == [False, False, True]


def test_a_group_and_the_workspace_have_a_budget_where_a_shared_limit_for_all_usage_is_set(ledger: Ledger) -> None:
    assert (pools(ledger), whole_pool(ledger)) == ({}, None)
    set_limit(ledger, "red", 50, shared=True, shape=CHAT)
    set_limit(ledger, "red", 50)
    set_limit(ledger, None, 50)
    assert (pools(ledger), whole_pool(ledger)) == ({}, None)
    set_limit(ledger, "red", 10, shared=True, shape=DAY)
    weekly = set_limit(ledger, "red", 40, shared=True, shape=WEEK)
    everybody_s = set_limit(ledger, None, 99, shared=True, soft=True)
    use(ledger, "ada", 6)
    use(ledger, "bob", 7)
    assert {name: (budget.source, figures(budget)) for name, budget in pools(ledger).items()} == {
        "red": (weekly, (6, 0, 34, 0))
    }
    found = whole_pool(ledger)
    assert found
    assert (found.source, figures(found), found.binding) == (everybody_s, (13, 0, 86, 0), False)
    # The daily pool has less left.
    assert pools(ledger)["red"].binding is False


# Who is told what.


@pytest.fixture
def shared(ledger: Ledger) -> Ledger:
    """Limits at each level; ada and rob share red's pool, ben blue's, and all of them the workspace's."""
    ledger.put_user("rob", home="red", groups=["red"])
    ledger.put_user("ben", home="blue", groups=["blue", "red"])
    set_limit(ledger, None, 500)
    set_limit(ledger, "blue", 70)
    set_limit(ledger, "red", 100, shared=True)
    set_limit(ledger, "blue", 200, shared=True)
    set_limit(ledger, None, 1000, shared=True)
    use(ledger, "ada", 10)
    use(ledger, "rob", 20)
    use(ledger, "ben", 40)
    return ledger


def told(found: Sequence[Budget]) -> list[tuple[LimitScope, tuple[int | None, ...]]]:
    return [(budget.scope, figures(budget)) for budget in found]


def test_a_member_is_told_what_is_left_of_the_pools_that_bind_them_and_nobody_s_share(shared: Ledger) -> None:
    ada = member(shared, "ada")
    own, red, workspace = budgets_of(shared, "ada", caller=ada)
    assert figures(own) == (10, 0, 490, 0)
    for pool, limit, remaining in ((red, 100, 70), (workspace, 1000, 930)):
        assert (pool.value, figures(pool)) == (Limited(limit * MICRO), (None, None, remaining, None))
        assert (pool.status, pool.resets_at) == (OK, datetime(2026, 7, 1, tzinfo=UTC))
        assert pool.source
    assert pools(shared, caller=ada) == {"red": replace(red, binding=True)}
    assert whole_pool(shared, caller=ada) == replace(workspace, binding=True)
    assert forecast_of(shared, own, red, workspace, caller=ada)[1:] == [None, None]


def test_a_member_is_told_nothing_of_a_pool_without_a_limit_but_that_there_is_none(shared: Ledger) -> None:
    set_limit(shared, "red", None, shared=True)
    [_, red, _] = budgets_of(shared, "ada", caller=member(shared, "ada"))
    assert (red.value, figures(red), red.status) == (UNLIMITED, (None, None, None, None), OK)


def test_a_member_is_told_of_no_other_user_s_budgets_and_of_no_other_group_s(shared: Ledger) -> None:
    found = budgets(shared, "ada", "bob", "rob", "ben", caller=member(shared, "ada"))
    assert set(found) == {"ada"}
    # Ben is in red, but blue pays for him.
    assert set(pools(shared, caller=member(shared, "ben"))) == {"blue"}
    assert set(pools(shared, caller=member(shared, "bob"))) == set()
    bob = budgets_of(shared, "bob", caller=member(shared, "bob"))
    assert told(bob) == [(LimitScope.USER, (0, 0, 500, 0)), (LimitScope.WORKSPACE, (None, None, 930, None))]


def test_whoever_sees_everyone_is_told_all_of_it(shared: Ledger) -> None:
    assert told(budgets_of(shared, "ada")) == [
        (LimitScope.USER, (10, 0, 490, 0)),
        (LimitScope.GROUP, (30, 0, 70, 0)),
        (LimitScope.WORKSPACE, (70, 0, 930, 0)),
    ]
    assert {name: figures(budget) for name, budget in pools(shared).items()} == {
        "red": (30, 0, 70, 0),
        "blue": (40, 0, 160, 0),
    }


def test_a_manager_sees_the_pool_of_their_group_in_full_and_the_workspace_s_as_a_member_does(shared: Ledger) -> None:
    boss = manager(shared, "bob", "red")
    found = budgets(shared, "ada", "bob", "rob", "ben", caller=boss)
    assert told(found["ada"]) == [
        (LimitScope.USER, (10, 0, 490, 0)),
        (LimitScope.GROUP, (30, 0, 70, 0)),
        (LimitScope.WORKSPACE, (None, None, 930, None)),
    ]
    assert {name: figures(budget) for name, budget in pools(shared, caller=boss).items()} == {"red": (30, 0, 70, 0)}
    pool = whole_pool(shared, caller=boss)
    assert pool
    assert figures(pool) == (None, None, 930, None)
    assert forecast_of(shared, pool, caller=boss) == [None]


def test_a_manager_is_told_what_limits_a_member_but_not_of_a_group_that_they_do_not_see(shared: Ledger) -> None:
    boss = manager(shared, "bob", "red")
    [own, workspace] = budgets_of(shared, "ben", caller=boss)
    # Blue's limit applies to ben. That it is blue's, and what is left of blue's pool, the manager of red is not told.
    assert (own.value, own.enforcement, own.source) == (Limited(70 * MICRO), Enforcement.HARD, None)
    assert [limit.scope for limit in own.beaten] == [LimitScope.WORKSPACE]
    assert (own.binding, workspace.scope) == (True, LimitScope.WORKSPACE)
    assert budget_of(shared, "ben").source
    # Whoever is in blue themselves sees its rules, and, where blue pays for them, what is left of its pool.
    shared.put_user("bob", home="blue", groups=["blue"])
    [own, blue, _] = budgets_of(shared, "ben", caller=boss)
    assert own.source
    assert figures(blue) == (None, None, 160, None)


def test_a_program_that_only_records_is_told_of_no_budget(shared: Ledger) -> None:
    caller = nobody(shared)
    assert budgets(shared, "ada", caller=caller) == {}
    assert (pools(shared, caller=caller), whole_pool(shared, caller=caller)) == ({}, None)


def test_nobody_is_told_of_another_workspace_s_budgets(desk: Desk, shared: Ledger) -> None:
    stranger = new_ledger(desk)
    reader = stranger.reader
    users, groups = list(shared.users.values()), list(shared.groups.values())
    assert desk.run(budgets_of_users(reader, stranger.everyone, users, now=NOW)) == {}
    assert desk.run(budget_of_groups(reader, stranger.everyone, groups, now=NOW)) == {}
    assert whole_pool(stranger) is None


def test_what_others_use_changes_nothing_for_a_member_but_what_is_left_of_the_pools_that_bind_them(
    shared: Ledger,
) -> None:
    ada = member(shared, "ada")

    def seen() -> list[Budget]:
        return [*budgets_of(shared, "ada", caller=ada), *pools(shared, caller=ada).values()]

    set_limit(shared, "red", 5000, shared=True, soft=True, shape=CHAT)
    set_limit(shared, "blue", 1, shared=True, shape=CHAT)
    set_limit(shared, None, None, shared=True, shape=WEEK)
    before = seen()
    use(shared, "ben", 3, product="agent")
    hold(shared, shared.users["ben"], 3, NOW + timedelta(hours=1))
    after = seen()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [(old.scope, old.shape) for old, _ in changed] == [(LimitScope.WORKSPACE, MONTH)]
    [(old, new)] = changed
    assert old == replace(new, remaining=(new.remaining or 0) + 3 * MICRO)
    # Where the workspace's pool has no amount, or there is none, ben's use changes nothing at all.
    set_limit(shared, None, None, shared=True)
    before = seen()
    use(shared, "ben", 900)
    assert seen() == before


# Forecasts.


def pace(ledger: Ledger, who: str, **changes: Any) -> None:
    """Have somebody use 4 on each weekday of the four weeks before today, and 1 today."""
    for ago in range(1, 29):
        day = TODAY - timedelta(days=ago)
        if day.weekday() < 5:
            use(ledger, who, 4, datetime(day.year, day.month, day.day, 9, tzinfo=UTC), **changes)
    use(ledger, who, 400, datetime(2026, 5, 22, 23, tzinfo=UTC), **changes)
    use(ledger, who, 1, **changes)


def test_a_forecast_goes_on_as_each_weekday_went_for_four_weeks(ledger: Ledger) -> None:
    pace(ledger, "ada")
    use(ledger, "bob", 5)
    set_limit(ledger, "ada", 70)
    set_limit(ledger, "ada", 3, shape=WEEK)
    month, week = budgets_of(ledger, "ada")
    # 15 weekdays of June so far and 1 today; then 7 weekdays: 61, and then 65 on Monday, 69, 73, ...
    assert month.used == 61 * MICRO
    exact = [Forecast(89 * MICRO, date(2026, 6, 24)), Forecast(21 * MICRO, TODAY)]
    assert forecast_of(ledger, month, week) == exact
    # Nobody else's use is in it.
    [of_bob] = budgets_of(ledger, "bob")
    assert forecast_of(ledger, of_bob) == [Forecast(5 * MICRO, None)]


def test_a_forecast_of_a_narrow_limit_or_of_a_pool_is_of_what_that_counts(ledger: Ledger) -> None:
    pace(ledger, "ada")
    pace(ledger, "bob", product="agent")
    for on in ("red", None):
        set_limit(ledger, on, 1000, shared=True)
    set_limit(ledger, None, 1000, shared=True, shape=replace(CHAT, product="agent"))
    set_limit(ledger, "ada", 1000, shape=LARGE)
    set_limit(ledger, "ada", 1000, shape=replace(LARGE, model="small"))
    found = budgets_of(ledger, "ada")
    assert [(one.scope.name, one.shape.product, one.shape.model) for one in found] == [
        ("USER", "", ""),
        ("USER", "chat", "large"),
        ("USER", "chat", "small"),
        ("GROUP", "", ""),
        ("WORKSPACE", "", ""),
        ("WORKSPACE", "agent", ""),
    ]
    projected = [one.projected // MICRO for one in forecast_of(ledger, *found) if one]
    assert projected == [89, 89, 0, 89, 178, 89]


def test_a_manager_has_forecasts_of_their_group_and_of_its_people(shared: Ledger) -> None:
    boss = manager(shared, "bob", "red")
    [own, red, _] = budgets_of(shared, "ada", caller=boss)
    assert forecast_of(shared, own, red, caller=boss) == [Forecast(10 * MICRO, None), Forecast(30 * MICRO, None)]


# Many at once.


def put_many(ledger: Ledger, count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    red, blue = ledger.groups["red"], ledger.groups["blue"]
    users = [
        NewUser(
            id=id_,
            display_name=f"User {number}",
            email=None,
            external_id=f"many-{number}",
            kind=UserKind.PERSON,
            home_group_id=(red, blue, None)[number % 3],
            group_ids=((red,), (red, blue), ())[number % 3],
        )
        for number, id_ in enumerate(ids)
    ]

    async def put() -> None:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            await put_users(conn, workspace_id=ledger.workspace_id, users=users, now=NOW)

    ledger.desk.run(put())
    return ids


def test_the_budgets_of_five_thousand_users_are_five_statements_and_their_forecasts_one_for_each_kind(
    ledger: Ledger,
) -> None:
    ids = put_many(ledger, 5000)
    set_limit(ledger, None, 100)
    set_limit(ledger, "blue", 50)
    for on in ("red", "blue", None):
        set_limit(ledger, on, 10_000, shared=True)
    set_limit(ledger, None, 30, shape=CHAT)
    set_limit(ledger, None, 30, shape=WEEK)
    own = [NewLimit(LimitScope.USER, id_, LimitKind.EACH_USER, MONTH, Limited(7 * MICRO)) for id_ in ids[::2]]
    write(ledger, own)
    batch = [ledger.event(f"many-{id_}", user=UserBy(id=id_), credits=MICRO, at=NOW) for id_ in ids[:1000]]
    assert ledger.record(*batch).accepted == 1000
    with statements(ledger) as ran:
        found = ledger.desk.run(budgets_of_users(ledger.reader, ledger.everyone, ids, now=NOW))
    assert ran == dict.fromkeys(
        ("controls_settings", "balance_kinds", "budget_holders", "budget_limits", "budget_balances"), 1
    )
    assert set(found) == set(ids)
    expected = [
        (7 if number % 2 == 0 else (100, 50, 100)[number % 3], 1 if number < 1000 else 0) for number in range(5000)
    ]
    mains = [main_budget(found[id_], LimitScope.USER) for id_ in ids]
    assert [(one.value, one.used) for one in mains if one] == [
        (Limited(amount * MICRO), used * MICRO) for amount, used in expected
    ]
    assert all(sum(budget.binding for budget in budgets_) == 1 for budgets_ in found.values())
    every = [budget for budgets_ in found.values() for budget in budgets_]
    with statements(ledger) as ran:
        forecasts = forecast_of(ledger, *every)
    # All usage of users (by the month and by the week), their use of chat, the two groups' pools, and the workspace's.
    assert ran == {"paces_of_users": 1, "narrow_paces_of_users": 1, "paces_of_pools": 2}
    assert [one.projected for one in forecasts if one] == [budget.used for budget in every]
    with statements(ledger) as ran:
        pools(ledger)
        whole_pool(ledger)
    assert sum(ran.values()) == 8
