"""Forecasts of budgets, many in a few statements; how one is made is in credits/forecasts.py."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from creditdesk.credits.budget_rules import Budget
from creditdesk.credits.budgets import scope_arguments
from creditdesk.credits.forecasts import Forecast, Pace, forecast
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection

_Usage = tuple[LimitScope, str, str, date]
"""Whose use of what, up to which day: paces of one are read together, whatever the budgets' periods."""

_NO_USE = Pace((0, 0, 0, 0, 0, 0, 0), today=0)


async def forecasts_of(
    conn: Connection, permitted: PermittedScopes, budgets: Sequence[Budget]
) -> list[Forecast | None]:
    """Return what each budget's period comes to; None where the caller may not see what was used."""
    asked: dict[_Usage, set[UUID]] = {}
    for budget in budgets:
        if budget.used is not None:
            asked.setdefault(_usage_of(budget), set()).add(budget.scope_id)
    paces = {usage: await _paces(conn, permitted, usage, ids) for usage, ids in asked.items()}
    return [_forecast(budget, paces.get(_usage_of(budget), {})) for budget in budgets]


def _usage_of(budget: Budget) -> _Usage:
    return (budget.scope, budget.shape.product, budget.shape.model, budget.today)


def _forecast(budget: Budget, paces: dict[UUID, Pace]) -> Forecast | None:
    if budget.used is None:
        return None
    pace = paces.get(budget.scope_id, _NO_USE)
    return forecast(used=budget.used, value=budget.value, period=budget.period, today=budget.today, pace=pace)


async def _paces(conn: Connection, permitted: PermittedScopes, usage: _Usage, ids: set[UUID]) -> dict[UUID, Pace]:
    """Return how fast each user, group or workspace used something lately; those that used nothing are left out."""
    scope, product, model, today = usage
    caller = scope_arguments(permitted)
    narrowed = {"product": product, "model": model, "today": today}
    match scope:
        case LimitScope.USER if not product:
            rows = await conn.rows("paces_of_users", users=list(ids), today=today, **caller)
        case LimitScope.USER:
            rows = await conn.rows("narrow_paces_of_users", users=list(ids), **narrowed, **caller)
        case _:
            of_groups = scope is LimitScope.GROUP
            rows = await conn.rows("paces_of_pools", pools=list(ids), of_groups=of_groups, **narrowed, **caller)
    sums: dict[UUID, list[int]] = {}
    for scope_id, weekday, used in rows:
        sums.setdefault(scope_id, [0] * 8)[weekday] = used
    return {
        scope_id: Pace((monday, tuesday, wednesday, thursday, friday, saturday, sunday), today_)
        for scope_id, (today_, monday, tuesday, wednesday, thursday, friday, saturday, sunday) in sums.items()
    }
