"""A dry run of limits, against an independent one that goes through the events one by one."""

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, cast
from uuid import UUID

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.errors import InvalidRangeError
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.limit_rules import NewLimit
from creditdesk.credits.limits import UNLIMITED, Enforcement, Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence, period_of
from creditdesk.credits.ranges import range_of_days
from creditdesk.credits.simulations import Simulation, simulate_limits
from support.holding import Holding
from support.ledgers import NOW, Ledger, new_ledger

FIRST, LAST = date(2026, 4, 10), date(2026, 6, 19)
MONTH = Shape(Cadence.MONTH)


def rule(scope_id: UUID, whole: int, shape: Shape = MONTH, **changes: Any) -> NewLimit:
    fields: dict[str, Any] = {
        "scope": LimitScope.USER,
        "scope_id": scope_id,
        "kind": LimitKind.EACH_USER,
        "shape": shape,
        "value": Limited(whole * MICRO),
    }
    return NewLimit(**fields | changes)


def simulate(ledger: Ledger, *rules: NewLimit, first: date = FIRST, last: date = LAST, size: int = 1000) -> Simulation:
    days = range_of_days(first, last, zone=ledger.zone)
    return cast(
        "Simulation",
        ledger.desk.run(simulate_limits(ledger.reader, ledger.workspace_id, rules, over=days, first=size, now=NOW)),
    )


def use(ledger: Ledger, user: str, at: str, whole: int, product: str = "chat") -> UsageEvent:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    by = UserBy(id=ledger.users[user])
    return ledger.event(f"{user} {at}", user=by, at=moment, credits=whole * MICRO, product=product)


def test_a_limit_says_who_would_have_been_stopped_when_and_by_how_much(ledger: Ledger) -> None:
    ledger.record(
        use(ledger, "ada", "2026-05-03T10:00", 4),
        use(ledger, "ada", "2026-05-20T10:00", 4),
        use(ledger, "ada", "2026-05-20T11:00", 3),
        use(ledger, "ada", "2026-05-20T12:00", 1),
        use(ledger, "ada", "2026-05-31T23:59", 5),
        use(ledger, "ada", "2026-06-01T00:00", 10),
        use(ledger, "bob", "2026-05-20T11:00", 30),
    )
    found = simulate(ledger, rule(ledger.users["ada"], 10))
    [stop] = found.stops
    assert (stop.scope_id, stop.amount, stop.simulated) == (ledger.users["ada"], 10 * MICRO, True)
    assert stop.at == datetime(2026, 5, 20, 11, tzinfo=UTC)
    assert (stop.period.first_day, stop.period.last_day) == (date(2026, 5, 1), date(2026, 5, 31))
    assert (stop.used, stop.over, stop.requests) == (17 * MICRO, 7 * MICRO, 3)
    assert (found.count, found.over) == (1, 7 * MICRO)


def test_the_limits_of_today_count_and_the_simulated_ones_take_their_place(ledger: Ledger) -> None:
    holding = Holding(ledger)
    ledger.record(use(ledger, "ada", "2026-05-03T10:00", 9), use(ledger, "bob", "2026-05-03T10:00", 9))
    holding.limit(None, 5)
    holding.limit("ada", 3, expires_at=NOW + timedelta(days=1))

    def stopped(*rules: NewLimit) -> set[tuple[UUID, int, bool]]:
        return {(stop.scope_id, stop.amount // MICRO, stop.simulated) for stop in simulate(ledger, *rules).stops}

    ada, bob = ledger.users["ada"], ledger.users["bob"]
    assert stopped() == {(ada, 3, False), (bob, 5, False)}
    assert stopped(rule(ada, 7)) == {(ada, 7, True), (bob, 5, False)}
    default = rule(ledger.workspace_id, 8, scope=LimitScope.WORKSPACE)
    assert stopped(default) == {(ada, 3, False), (bob, 8, True)}
    soft = rule(ada, 1, enforcement=Enforcement.SOFT)
    assert stopped(default, soft) == {(bob, 8, True)}
    assert stopped(rule(ada, 0, value=UNLIMITED), rule(bob, 9)) == set()
    assert [ledger.rows(table) for table in ("credit_limit", "audit_entry", "balance_kind")] == [2, 2, 1]


def test_what_was_used_since_the_period_began_counts_and_the_first_use_in_the_range_is_stopped(ledger: Ledger) -> None:
    ledger.record(
        use(ledger, "ada", "2026-05-03T10:00", 20),
        use(ledger, "ada", "2026-05-20T10:00", 1),
        use(ledger, "ada", "2026-05-28T10:00", 1),
    )
    [stop] = simulate(ledger, rule(ledger.users["ada"], 10), first=date(2026, 5, 10), last=date(2026, 5, 27)).stops
    assert stop.at == datetime(2026, 5, 20, 10, tzinfo=UTC)
    assert (stop.used, stop.requests) == (21 * MICRO, 1)


def test_a_shared_limit_counts_what_was_charged_to_the_group_then(ledger: Ledger) -> None:
    ledger.record(use(ledger, "ada", "2026-05-03T10:00", 6), use(ledger, "bob", "2026-05-03T11:00", 6))
    ledger.put_user("ada", home="blue", groups=["blue"])
    ledger.record(use(ledger, "ada", "2026-05-04T10:00", 6))
    groups = [rule(ledger.groups[name], 5, scope=LimitScope.GROUP, kind=LimitKind.SHARED) for name in ("red", "blue")]
    whole = rule(ledger.workspace_id, 17, scope=LimitScope.WORKSPACE, kind=LimitKind.SHARED)
    stops = simulate(ledger, *groups, whole).stops
    assert {(stop.scope_id, stop.at.day, stop.used) for stop in stops} == {
        (ledger.groups["red"], 3, 6 * MICRO),
        (ledger.groups["blue"], 4, 6 * MICRO),
        (ledger.workspace_id, 4, 18 * MICRO),
    }


def test_a_correction_before_the_line_is_reached_makes_room(ledger: Ledger) -> None:
    ledger.record(use(ledger, "ada", "2026-05-03T10:00", 9))
    back = ledger.event(
        "back", corrects="ada 2026-05-03T10:00", at=datetime(2026, 5, 4, tzinfo=UTC), credits=-9 * MICRO
    )
    ledger.record(back)
    ledger.record(use(ledger, "ada", "2026-05-05T10:00", 10), use(ledger, "ada", "2026-05-06T10:00", 1))
    [stop] = simulate(ledger, rule(ledger.users["ada"], 10)).stops
    assert (stop.at.day, stop.used, stop.requests) == (6, 11 * MICRO, 1)


def test_the_worst_come_first_and_all_are_counted(ledger: Ledger) -> None:
    ledger.record(*(use(ledger, "ada", f"2026-05-{day:02}T10:00", day) for day in range(1, 11)))
    found = simulate(ledger, rule(ledger.users["ada"], 2, Shape(Cadence.DAY)), size=3)
    assert [stop.over // MICRO for stop in found.stops] == [8, 7, 6]
    assert (found.count, found.over) == (8, 36 * MICRO)


@pytest.mark.parametrize(("first", "last"), [(date(2025, 5, 1), LAST), (FIRST, date(2026, 6, 21))])
def test_a_range_that_is_too_long_or_still_to_come_is_refused(ledger: Ledger, first: date, last: date) -> None:
    with pytest.raises(InvalidRangeError):
        simulate(ledger, rule(ledger.users["ada"], 1), first=first, last=last)
    assert simulate(ledger, first=date(2025, 5, 17), last=date(2026, 6, 20)).stops == ()


def expected(ledger: Ledger, events: list[UsageEvent], limit: NewLimit) -> dict[datetime, tuple[datetime, int, int]]:
    """Return, by the period's start, the first use that does not fit, what was used, and how many came from it on."""
    found: dict[datetime, tuple[datetime, int, int]] = {}
    totals: dict[datetime, int] = {}
    for event in sorted(events, key=lambda one: one.at):
        if not (event.user.id == limit.scope_id and limit.shape.covers(event.product, event.model)):
            continue
        period = period_of(limit.shape.cadence, event.at, zone=ledger.zone, anchors=ANCHORS)
        total = totals[period.start] = totals.get(period.start, 0) + cast("int", event.credits)
        if period.start in found:
            at, _, requests = found[period.start]
            found[period.start] = (at, total, requests + 1)
        elif total > cast("Limited", limit.value).amount and SPAN[0] <= event.at:
            found[period.start] = (event.at, total, 1)
    return found


ANCHORS = ()
SPAN = (datetime(2026, 4, 9, 18, 15, tzinfo=UTC), datetime(2026, 6, 19, 18, 15, tzinfo=UTC))
"""The days from FIRST to LAST, in Kathmandu."""


@pytest.mark.parametrize("cadence", [Cadence.DAY, Cadence.WEEK, Cadence.MONTH])
@pytest.mark.parametrize("product", ["", "chat"])
def test_random_uses_are_stopped_where_going_through_them_one_by_one_says_so(
    ledger: Ledger, cadence: Cadence, product: str
) -> None:
    far = new_ledger(ledger.desk, "Asia/Kathmandu")
    random = Random(f"{cadence} {product}")  # noqa: S311 - dice, not a secret
    start = datetime(2026, 4, 1, tzinfo=UTC)
    events = [
        far.event(
            str(number),
            user=UserBy(id=far.users[random.choice(["ada", "bob"])]),
            at=start + timedelta(minutes=random.randrange(80 * 24 * 60), microseconds=number),
            credits=random.randrange(3 * MICRO),
            product=random.choice(["chat", "agent"]),
        )
        for number in range(600)
    ]
    far.record(*events)
    whole = {Cadence.DAY: 4, Cadence.WEEK: 25, Cadence.MONTH: 110}[cadence] // (2 if product else 1)
    limit = rule(far.users["ada"], whole, Shape(cadence, product))
    wanted = expected(far, [event for event in events if event.at < SPAN[1]], limit)
    found = simulate(far, limit)
    assert {stop.period.start: (stop.at, stop.used, stop.requests) for stop in found.stops} == wanted
    assert found.count == len(wanted) > 1
