"""Budgets: a limit applied, with what was used of it and what is left, as far as the caller may know."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from uuid import UUID

from creditdesk.credits.controls import Control
from creditdesk.credits.limits import Enforcement, Limit, LimitScope, LimitValue, Shape
from creditdesk.credits.periods import Cadence, Period

_PERCENT = 100
_SCOPES = (LimitScope.USER, LimitScope.GROUP, LimitScope.WORKSPACE)
_CADENCES = (Cadence.MONTH, Cadence.BILLING_CYCLE, Cadence.WEEK, Cadence.DAY)
"""In which order budgets are listed, and which of several for all usage is the first to look at."""


class BudgetStatus(Enum):
    """How a budget stands."""

    OK = "Enough is left, or there is no limit."
    NEAR = "What is used and held has come near the limit: the part of it that the workspace's settings name."
    EXHAUSTED = "Nothing is left. Holds count until they end, so some of it may come back."
    OVER = "More was used than the limit allows."


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit applied to a user, or to a group or the workspace that shares it. Amounts are micro-credits.

    `used`, `held` and `over_by` are None where the caller is bound by a shared limit without seeing who used how much;
    `remaining` is None there, and wherever the limit is none. `source` and `beaten` are rules that the caller may see.
    `today` is the day of the workspace's zone that the budget was read on.
    """

    scope: LimitScope
    scope_id: UUID
    shape: Shape
    value: LimitValue
    enforcement: Enforcement | None
    source: Limit | None
    beaten: tuple[Limit, ...]
    period: Period
    today: date
    used: int | None
    held: int | None
    remaining: int | None
    over_by: int | None
    status: BudgetStatus
    binding: bool

    @property
    def has_rule(self) -> bool:
        """Tell whether a rule is in force, be it one that the caller may not see."""
        return self.enforcement is not None

    @property
    def resets_at(self) -> datetime:
        """Return when the next period starts, and nothing is used of it."""
        return self.period.end


@dataclass(frozen=True, slots=True)
class Standing:
    """A control and what has become of its balance; `whole` where the caller may see all of it."""

    control: Control
    used: int
    held: int
    whole: bool

    @property
    def room(self) -> int | None:
        """Return what may still be held: below 0 where more was used, None where there is no limit."""
        amount = self.control.amount
        return None if amount is None else amount - self.used - self.held


@dataclass(frozen=True, slots=True)
class Reading:
    """What all budgets of one reading share: from when on a limit is near, the day, and the rules that may be shown."""

    near_percent: int
    today: date
    shown_rules: frozenset[UUID]


def budgets_of(standings: Sequence[Standing], reading: Reading) -> list[Budget]:
    """Return the budgets of one user, group or workspace: their own first, all usage before a part of it.

    The one that binds is the hard one with the least room, the first by the order of locks among equals: the one that
    a hold which fits nowhere is refused for.
    """
    hard = [
        (standing.room, standing.control.key, standing)
        for standing in standings
        if standing.control.is_hard and standing.room is not None
    ]
    binding = min(hard, key=lambda one: one[:2])[2] if hard else None
    ordered = sorted(standings, key=_place)
    return [applied_budget(standing, reading, binding=standing is binding) for standing in ordered]


def main_control(controls: Iterable[Control], scope: LimitScope) -> Control | None:
    """Return the control whose budget `main_budget` returns."""
    for_all = [control for control in controls if control.kind.scope is scope and not control.kind.shape.product]
    ordered = sorted(for_all, key=lambda control: _CADENCES.index(control.kind.shape.cadence))
    with_rule = [control for control in ordered if control.limit.source]
    return next(iter(with_rule or ordered), None)


def main_budget(budgets: Iterable[Budget], scope: LimitScope) -> Budget | None:
    """Return the budget for all usage that is looked at first: the monthly one, else the longest that has a rule."""
    for_all = [budget for budget in budgets if budget.scope is scope and not budget.shape.product]
    with_rule = [budget for budget in for_all if budget.has_rule]
    return next(iter(with_rule or for_all), None)


def _place(standing: Standing) -> tuple[int, str, str, int]:
    kind = standing.control.kind
    shape = kind.shape
    return (_SCOPES.index(kind.scope), shape.product, shape.model, _CADENCES.index(shape.cadence))


def applied_budget(standing: Standing, reading: Reading, *, binding: bool) -> Budget:
    """Return a budget as the caller may see it."""
    control, room = standing.control, standing.room
    limit = control.limit
    over_by = max(standing.used - control.amount, 0) if control.amount is not None else 0
    return Budget(
        scope=control.kind.scope,
        scope_id=control.scope_id,
        shape=control.kind.shape,
        value=limit.value,
        enforcement=limit.source.enforcement if limit.source else None,
        source=limit.source if limit.source and limit.source.id in reading.shown_rules else None,
        beaten=tuple(rule for rule in limit.beaten if rule.id in reading.shown_rules),
        period=control.period,
        today=reading.today,
        used=standing.used if standing.whole else None,
        held=standing.held if standing.whole else None,
        remaining=max(room, 0) if room is not None else None,
        over_by=over_by if standing.whole else None,
        status=_status(control.amount, standing, reading.near_percent),
        binding=binding,
    )


def _status(amount: int | None, standing: Standing, near_percent: int) -> BudgetStatus:
    if amount is None:
        return BudgetStatus.OK
    taken = standing.used + standing.held
    if standing.used > amount:
        return BudgetStatus.OVER
    if taken >= amount:
        return BudgetStatus.EXHAUSTED
    return BudgetStatus.NEAR if taken * _PERCENT >= amount * near_percent else BudgetStatus.OK
