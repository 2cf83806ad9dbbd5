"""Budgets against a second implementation, in the plainest way: from the list of events and the list of rules."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.budget_rules import Budget, BudgetStatus
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.limit_rules import NewLimit
from creditdesk.credits.limits import Enforcement, Limit, Limited, LimitKind, Shape
from creditdesk.credits.periods import Cadence
from support.budgets import MONTH, budgets, rule, settings, write
from support.ledgers import Desk, Ledger

OK, NEAR, EXHAUSTED, OVER = BudgetStatus


@dataclass(frozen=True, slots=True)
class Charged:
    event: UsageEvent
    group: str | None


WORDS = (("chat", "large"), ("chat", "small"), ("agent", "large"))
SHAPES = [
    Shape(cadence, product, model)
    for cadence in Cadence
    for product, model in (("", ""), ("chat", ""), ("chat", "large"), ("agent", ""))
]
ANCHOR_DAY = 31
STARTS = ((3, 1), (3, 21), (5, 20))
"""Months and days; in the weeks after the first two, clocks change in America and in Europe."""


def first_days(cadence: Cadence) -> list[date]:
    """Return every first day of a period of these months."""
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(240)]
    match cadence:
        case Cadence.DAY:
            return days
        case Cadence.WEEK:
            return [day for day in days if day.isoweekday() == 1]
        case Cadence.MONTH:
            return [day for day in days if day.day == 1]
        case Cadence.BILLING_CYCLE:
            # Anchored to the 31st: the last day of each month.
            return [day for day in days if (day + timedelta(days=1)).day == 1]


def day_in(zone: str, moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(zone)).date()


def used_by(uses: Sequence[Charged], zone: str, now: datetime, shape: Shape, **who: object) -> int:
    starts = first_days(shape.cadence)
    first = max(day for day in starts if day <= day_in(zone, now))
    after = min(day for day in starts if day > first)
    return sum(
        use_.event.credits or 0
        for use_ in uses
        if first <= day_in(zone, use_.event.at) < after
        and shape.product in ("", use_.event.product)
        and shape.model in ("", use_.event.model)
        and ("user" not in who or use_.event.user.id == who["user"])
        and ("group" not in who or use_.group == who["group"])
    )


def plain_limit(candidates: Sequence[Limit]) -> int | None:
    """Return the amount of the first of rules on one thing, the temporary one first; None is unlimited."""
    [limit, *_] = sorted(candidates, key=lambda one: not one.temporary)
    return limit.value.amount if isinstance(limit.value, Limited) else None


@dataclass(slots=True)
class Stage:
    """A workspace as it is: who is where, what the rules are, and what was used."""

    ledger: Ledger
    highest: bool
    places: dict[str, tuple[str | None, list[str]]] = field(default_factory=dict)
    uses: list[Charged] = field(default_factory=list)
    rules: list[Limit] = field(default_factory=list)


def expected_of(stage: Stage, name: str, now: datetime) -> dict[tuple[str, Shape], tuple[int | None, int]]:
    """Return the limit and the use of all that applies to a user, by scope and shape."""
    ledger, uses, (home, groups) = stage.ledger, stage.uses, stage.places[name]
    found: dict[tuple[str, Shape], tuple[int | None, int]] = {}
    live = [one for one in stage.rules if one.starts_at <= now and (one.expires_at is None or one.expires_at > now)]
    user_id = ledger.users[name]
    for shape in SHAPES:
        own = [one for one in live if one.shape == shape and one.kind is LimitKind.EACH_USER]
        by_scope = {id_: [one for one in own if one.scope_id == id_] for id_ in {one.scope_id for one in own}}
        of_groups = [plain_limit(by_scope[id_]) for id_ in (ledger.groups[one] for one in groups) if id_ in by_scope]
        used = used_by(uses, ledger.zone, now, shape, user=user_id)
        if user_id in by_scope:
            found["USER", shape] = (plain_limit(by_scope[user_id]), used)
        elif of_groups:
            as_numbers = [10**30 if one is None else one for one in of_groups]
            best = max(as_numbers) if stage.highest else min(as_numbers)
            found["USER", shape] = (None if best == 10**30 else best, used)
        elif ledger.workspace_id in by_scope:
            found["USER", shape] = (plain_limit(by_scope[ledger.workspace_id]), used)
        elif shape == MONTH:
            found["USER", shape] = (None, used)
        pooled = [one for one in live if one.shape == shape and one.kind is LimitKind.SHARED]
        red = [one for one in pooled if home and one.scope_id == ledger.groups[home]]
        if red:
            found["GROUP", shape] = (plain_limit(red), used_by(uses, ledger.zone, now, shape, group=home))
        everybody_s = [one for one in pooled if one.scope_id == ledger.workspace_id]
        if everybody_s:
            found["WORKSPACE", shape] = (plain_limit(everybody_s), used_by(uses, ledger.zone, now, shape))
    return found


def random_rules(random: Random, ledger: Ledger, set_at: datetime, shapes: Sequence[Shape]) -> list[NewLimit]:
    keys: dict[object, NewLimit] = {}
    for _ in range(30):
        on = random.choice([*ledger.users, *ledger.groups, None])
        shared = on not in ledger.users and random.random() < 0.5
        expires = set_at + timedelta(hours=random.choice((1, 60, 900))) if random.random() < 0.3 else None
        one = rule(
            ledger,
            on,
            random.choice((0, 5, 20, 60, None)),
            shared=shared,
            shape=random.choice(shapes),
            soft=random.random() < 0.3,
            expires_at=expires,
            starts_at=set_at + timedelta(days=random.choice((0, 0, 0, 3, 400))) if expires is None else None,
        )
        keys[on, shared, one.shape, expires is None] = one
    # Lasting ones first: setting one takes the temporary one away.
    return sorted(keys.values(), key=lambda one: one.expires_at is not None)


def plain_status(amount: int | None, used: int, near: int) -> BudgetStatus:
    if amount is None:
        return OK
    return OVER if used > amount else EXHAUSTED if used == amount else NEAR if 100 * used >= near * amount else OK


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "Europe/Berlin", "America/St_Johns"])
@pytest.mark.parametrize("seed", range(3))
def test_budgets_are_what_the_events_and_the_rules_say(desk: Desk, zone: str, seed: int) -> None:
    random = Random(f"{zone}/{seed}")  # noqa: S311 - dice, not a secret
    ledger = Ledger(desk, zone)
    ledger.put_groups("red", "blue", "green")
    near, highest = random.choice((1, 50, 80, 100)), random.random() < 0.5
    settings(ledger, anchor_days=[ANCHOR_DAY], near_percent=near, multi_group="HIGHEST" if highest else "LOWEST")
    stage = Stage(ledger, highest)
    start = datetime(2026, *STARTS[seed], tzinfo=UTC)
    set_at = start + timedelta(days=8, hours=12)
    for batch in range(2):
        for name in ("u1", "u2", "u3", "u4", "u5"):
            home = random.choice(("red", "blue", "green", None))
            stage.places[name] = (home, random.sample(("red", "blue", "green"), random.randint(0, 3)))
            ledger.put_user(name, home=home, groups=stage.places[name][1])
        new = []
        for number in range(300):
            name, (product, model) = random.choice(list(stage.places)), random.choice(WORDS)
            event = ledger.event(
                f"{batch}-{number}",
                at=start + timedelta(minutes=random.randrange(30 * 1440)),
                user=UserBy(id=ledger.users[name]),
                product=product,
                model=model,
                credits=random.choice((0, 1, MICRO, 3 * MICRO)),
            )
            new.append(Charged(event, stage.places[name][0]))
        assert ledger.record(*(one.event for one in new)).accepted == 300
        stage.uses += new
        if batch == 0:
            stage.rules = write(ledger, random_rules(random, ledger, set_at, random.sample(SHAPES, 7)), set_at)
    for hours in (1, 59, 60, 61, 100, 300, 500):
        now = set_at + timedelta(hours=hours)
        found = budgets(ledger, *stage.places, now=now)
        for name in stage.places:
            wanted = expected_of(stage, name, now)
            shown = {(one.scope.name, one.shape): one for one in found[name]}
            assert {key: (_amount(one), one.used) for key, one in shown.items()} == wanted
            assert len(shown) == len(found[name])
            for one in found[name]:
                amount, used = wanted[one.scope.name, one.shape]
                assert one.status is plain_status(amount, used, near)
                assert one.remaining == (None if amount is None else max(amount - used, 0))
                assert one.over_by == (0 if amount is None else max(used - amount, 0))
            hard = [
                amount - used
                for key, (amount, used) in wanted.items()
                if amount is not None and shown[key].enforcement is Enforcement.HARD
            ]
            assert [_room(one) for one in found[name] if one.binding] == ([min(hard)] if hard else [])


def _amount(budget: Budget) -> int | None:
    return budget.value.amount if isinstance(budget.value, Limited) else None


def _room(budget: Budget) -> int:
    amount = _amount(budget)
    assert amount is not None
    assert budget.used is not None
    return amount - budget.used
