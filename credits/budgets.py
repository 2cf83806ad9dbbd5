"""Budgets as a caller may see them, many in a few statements: those of users, of groups, and of the workspace."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import NamedTuple, TypeVar
from uuid import UUID

from creditdesk.credits.budget_rules import Budget, Reading, Standing, budgets_of, main_budget
from creditdesk.credits.controls import (
    BalanceKind,
    Control,
    Controls,
    Spender,
    by_scope,
    controls_of,
    limit_of,
    ruleless_controls,
    shared_control,
)
from creditdesk.credits.limits import LimitScope, Shape
from creditdesk.credits.periods import Cadence, period_of
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection, Row
from creditdesk.db.lookups import Lookup, lookup

_EVERYBODY_S = Shape(Cadence.MONTH)
"""What each user uses in a calendar month is a budget also where nobody set a limit."""

Found = TypeVar("Found")
Balances = Mapping[tuple[int, UUID], tuple[int, int]]
"""What was used and what is held of the balances that the caller may read, by kind and scope."""


@dataclass(frozen=True, slots=True)
class BudgetRules:
    """What limits the asked ones: settings and rules, the users with their own, and what may be shown to the caller."""

    controls: Controls
    holders: tuple[Spender, ...]
    shown: frozenset[UUID]


class LimitedGroups(NamedTuple):
    """What limits groups until a moment: the controls that they share, and the rules that those come from."""

    rules: BudgetRules
    controls: Mapping[UUID, Sequence[Control]]
    until: datetime


async def budgets_of_users(
    conn: Connection, permitted: PermittedScopes, users: Collection[UUID], *, now: datetime
) -> dict[UUID, list[Budget]]:
    """Return every budget that applies to each of these users, for those of them whom the caller may see.

    Each has the users' own ones, and those of the home group and of the workspace that share a limit, as far as they
    bind the caller or the caller may see all of them. The one that binds is marked.
    """
    [found] = await conn.look_up([users_budgets(permitted, users, now=now)])
    return found


def users_budgets(
    permitted: PermittedScopes, users: Collection[UUID], *, now: datetime
) -> Lookup[dict[UUID, list[Budget]]]:
    """State what finds the same as `budgets_of_users`."""

    def found(rules: BudgetRules, balances: Balances) -> dict[UUID, list[Budget]]:
        controls = {
            holder.id: in_use(controls_of(rules.controls, holder, permitted.workspace_id, now=now))
            for holder in rules.holders
        }
        return applied(permitted, rules, controls, balances, now=now)

    return _by_rules(found, permitted, users=users, groups=(), now=now)


async def budget_of_groups(
    conn: Connection, permitted: PermittedScopes, groups: Collection[UUID], *, now: datetime
) -> dict[UUID, Budget]:
    """Return the budget for all usage that each group shares, where one is set and the caller may look at it.

    That is where they may see what the group uses, or where it is their own home group's.
    """
    [found] = await conn.look_up([groups_budgets(permitted, groups, now=now)])
    return found


def groups_budgets(
    permitted: PermittedScopes,
    groups: Collection[UUID],
    *,
    now: datetime,
    keep: Callable[[LimitedGroups], None] = lambda _: None,
) -> Lookup[dict[UUID, Budget]]:
    """State what finds the same as `budget_of_groups`; what limits them is given to whoever keeps it."""

    def found(rules: BudgetRules, balances: Balances) -> dict[UUID, Budget]:
        every = {id_: list(_shared(rules.controls, LimitScope.GROUP, id_, now)) for id_ in groups}
        until = until_of(rules.controls, chain.from_iterable(every.values()), now=now)
        limited = LimitedGroups(rules, {id_: in_use(controls) for id_, controls in every.items()}, until)
        keep(limited)
        return main_budgets_of(permitted, limited, balances, now=now)

    return _by_rules(found, permitted, users=(), groups=groups, now=now)


def main_budgets_of(
    permitted: PermittedScopes, limited: LimitedGroups, balances: Balances, *, now: datetime
) -> dict[UUID, Budget]:
    """Return the budget for all usage that each group shares, where one is set."""
    budgets = applied(permitted, limited.rules, limited.controls, balances, now=now)
    return {id_: main for id_, of_group in budgets.items() if (main := main_budget(of_group, LimitScope.GROUP))}


def until_of(controls: Controls, every: Iterable[Control], *, now: datetime) -> datetime:
    """Return until when all of these stay as they are, if nobody changes anything: to the end of the day at most."""
    ends = [period_of(Cadence.DAY, now, zone=controls.zone, anchors=()).end]
    for control in every:
        ends.append(control.period.end)
        if control.limit.changes_at is not None:
            ends.append(control.limit.changes_at)
    return min(ends)


def named_balances(
    permitted: PermittedScopes,
    named: Sequence[tuple[Control, UUID | str]],
    found: Callable[[Sequence[tuple[int, int]]], Found],
    *,
    now: datetime,
) -> Lookup[Found]:
    """State what is found by what was used and what is held of each of these controls' balances of somebody."""

    def in_order(rows: Sequence[list[Row]]) -> Found:
        taken = {nth: (used, held) for nth, used, held in rows[0]}
        return found([taken.get(nth, (0, 0)) for nth in range(1, len(named) + 1)])

    return lookup(
        in_order,
        "balances",
        workspace_id=permitted.workspace_id,
        kinds=[control.kind.id for control, _ in named],
        scopes=[scope_id for _, scope_id in named],
        first_days=[control.period.first_day for control, _ in named],
        now_seconds=int(now.timestamp()),
    )


async def budget_of_workspace(conn: Connection, permitted: PermittedScopes, *, now: datetime) -> Budget | None:
    """Return the budget for all usage that everybody shares, or None where none is set or the caller is nobody here."""

    def found(rules: BudgetRules, balances: Balances) -> Budget | None:
        id_ = permitted.workspace_id
        controls = {id_: in_use(_shared(rules.controls, LimitScope.WORKSPACE, id_, now))}
        budgets = applied(permitted, rules, controls, balances, now=now)
        return main_budget(budgets[id_], LimitScope.WORKSPACE)

    [budget] = await conn.look_up([_by_rules(found, permitted, users=(), groups=(), now=now)])
    return budget


def scope_arguments(permitted: PermittedScopes) -> dict[str, object]:
    """Return what every statement about budgets takes: whose rows may be read."""
    return {
        "workspace_id": permitted.workspace_id,
        "everyone": permitted.everyone,
        "own_user": permitted.user_id,
        "managed_groups": list(permitted.managed_groups),
    }


def _by_rules(
    found: Callable[[BudgetRules, Balances], Found],
    permitted: PermittedScopes,
    *,
    users: Collection[UUID],
    groups: Collection[UUID],
    now: datetime,
) -> Lookup[Found]:
    """State what is found by what limits the visible ones of these users, their home groups and the workspace.

    Or by what limits these groups. All of it is in one message: for a single user most of the time is on the way.
    """

    def found_in(rows: Sequence[list[Row]]) -> Found:
        settings, kinds, limits, balances, *holders = rows
        rules = rules_of(settings, kinds, limits, holders[0] if holders else ())
        return found(rules, {(kind_id, scope_id): (used, held) for kind_id, scope_id, used, held in balances})

    return lookup(
        found_in,
        "controls_settings",
        "balance_kinds",
        "budget_limits",
        "budget_balances",
        *(["budget_holders"] if users else []),
        users=list(users),
        groups=list(groups),
        now_seconds=int(now.timestamp()),
        **scope_arguments(permitted),
    )


def rules_of(
    settings: Sequence[Row], kinds: Sequence[Row], limit_rows: Sequence[Row], holders: Sequence[Row]
) -> BudgetRules:
    """Return what `controls_settings`, `balance_kinds`, `budget_limits` and `budget_holders` read."""
    limits = by_scope([limit_of(row[:-1]) for row in limit_rows])
    return BudgetRules(
        controls=replace(ruleless_controls(settings, kinds), limits=limits),
        holders=tuple(
            Spender(id_, email, external_id, active, home, tuple(group_ids), limits.get(id_, ()))
            for id_, email, external_id, active, home, group_ids in holders
        ),
        shown=frozenset(row[0] for row in limit_rows if row[-1]),
    )


def _shared(controls: Controls, scope: LimitScope, id_: UUID, now: datetime) -> Iterator[Control]:
    """Return the controls that a group, or the workspace, shares."""
    for kind in controls.kinds:
        if kind.scope is scope:
            period = period_of(kind.shape.cadence, now, zone=controls.zone, anchors=controls.anchors)
            yield shared_control(controls, kind, id_, period, now)


def in_use(controls: Iterable[Control]) -> list[Control]:
    """Return the controls that budgets are told of: where a rule is in force, and everybody's month."""
    return [control for control in controls if control.limit.source or _is_everybody_s(control.kind)]


def _is_everybody_s(kind: BalanceKind) -> bool:
    return kind.scope is LimitScope.USER and kind.shape == _EVERYBODY_S


def applied(
    permitted: PermittedScopes,
    rules: BudgetRules,
    found: Mapping[UUID, Sequence[Control]],
    balances: Balances,
    *,
    now: datetime,
) -> dict[UUID, list[Budget]]:
    """Return the budgets that controls make with their balances; without a row nothing was used, nothing is held."""
    reading = reading_of(rules.controls, rules.shown, now=now)

    def standing(control: Control) -> Standing:
        used, held = balances.get((control.kind.id, control.scope_id), (0, 0))
        return Standing(control, used, held, whole=_sees_all_of(permitted, control))

    return {id_: budgets_of([standing(control) for control in controls], reading) for id_, controls in found.items()}


def reading_of(controls: Controls, shown: frozenset[UUID], *, now: datetime) -> Reading:
    """Return what all budgets of one reading share; `shown` are the rules that the caller may see."""
    today = period_of(Cadence.DAY, now, zone=controls.zone, anchors=()).first_day
    return Reading(controls.near_percent, today, shown)


def _sees_all_of(permitted: PermittedScopes, control: Control) -> bool:
    """Tell whether the caller may see how much was used of a budget, not only what is left of it.

    Whoever sees a user sees the user's own budgets: `budget_holders` and `budget_balances` read no others.
    """
    match control.kind.scope:
        case LimitScope.USER:
            return True
        case LimitScope.GROUP:
            return permitted.may_read_group(control.scope_id)
        case LimitScope.WORKSPACE:
            return permitted.everyone
