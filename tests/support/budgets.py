"""Limits and budgets on a ledger, for tests. Amounts that a test names are whole credits."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import Any, cast
from uuid import UUID, uuid4

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.budget_forecasts import forecasts_of
from creditdesk.credits.budget_rules import Budget, main_budget
from creditdesk.credits.budgets import budget_of_groups, budget_of_workspace, budgets_of_users
from creditdesk.credits.controls import changing_controls, load_controls
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.forecasts import Forecast
from creditdesk.credits.limit_rules import NewLimit, write_limits
from creditdesk.credits.limits import UNLIMITED, Enforcement, Limit, Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor, PermittedScopes
from support.ledgers import NOW, Ledger

MONTH = Shape(Cadence.MONTH)
ADMIN = Actor("PERSON", "admin", None)
_JUNE = date(2026, 6, 1)


def rule(ledger: Ledger, on: str | None, amount: int | None, **changes: Any) -> NewLimit:
    """Return a limit of so many credits on a user or a group by name, or on the workspace; None is unlimited."""
    fields: dict[str, Any] = {"scope": LimitScope.WORKSPACE, "scope_id": ledger.workspace_id}
    if on in ledger.users:
        fields = {"scope": LimitScope.USER, "scope_id": ledger.users[on]}
    elif on is not None:
        fields = {"scope": LimitScope.GROUP, "scope_id": ledger.groups[on]}
    fields |= {
        "kind": LimitKind.SHARED if changes.pop("shared", False) else LimitKind.EACH_USER,
        "shape": MONTH,
        "value": UNLIMITED if amount is None else Limited(amount * MICRO),
        "enforcement": Enforcement.SOFT if changes.pop("soft", False) else Enforcement.HARD,
    }
    return NewLimit(**fields | changes)


def write(ledger: Ledger, rules: Sequence[NewLimit], now: datetime = NOW) -> list[Limit]:
    async def writing() -> list[Limit]:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            await changing_controls(conn, ledger.workspace_id)
            controls = await load_controls(conn, ledger.workspace_id)
            return await write_limits(
                conn, controls, workspace_id=ledger.workspace_id, actor=ADMIN, rules=rules, now=now
            )

    return cast("list[Limit]", ledger.desk.run(writing()))


def set_limit(ledger: Ledger, on: str | None, amount: int | None, **changes: Any) -> Limit:
    now = changes.pop("now", NOW)
    [limit] = write(ledger, [rule(ledger, on, amount, **changes)], now)
    return limit


def settings(ledger: Ledger, **changes: object) -> None:
    for column, value in changes.items():
        query = f"UPDATE workspace_settings SET {column} = %s WHERE workspace_id = %s"  # noqa: S608 - a column, from a test
        ledger.desk.sql(query, value, ledger.workspace_id)


def use(ledger: Ledger, who: str, amount: int, at: datetime = NOW, **changes: Any) -> None:
    event = ledger.event(uuid4().hex, user=UserBy(id=ledger.users[who]), credits=amount * MICRO, at=at, **changes)
    assert ledger.record(event, now=at).accepted == 1


def hold(ledger: Ledger, scope_id: UUID, amount: int, until: datetime, *, period: date = _JUNE) -> None:
    """Set credits aside in every balance of a user, group or workspace for this period."""
    ledger.desk.sql(
        "INSERT INTO balance (workspace_id, kind_id, scope_id, first_day, shared, used, held)"
        " SELECT workspace_id, id, %s, %s, scope <> 'USER', 0, ARRAY[ARRAY[%s, %s]::bigint[]] FROM balance_kind"
        " WHERE workspace_id = %s AND scope = %s ON CONFLICT (workspace_id, kind_id, scope_id, first_day)"
        " DO UPDATE SET held = excluded.held",
        scope_id, period, int(until.timestamp()), amount * MICRO, ledger.workspace_id, _scope_of(ledger, scope_id),
    )  # fmt: skip


def _scope_of(ledger: Ledger, scope_id: UUID) -> str:
    if scope_id in ledger.users.values():
        return "USER"
    return "GROUP" if scope_id in ledger.groups.values() else "WORKSPACE"


def member(ledger: Ledger, name: str) -> PermittedScopes:
    return PermittedScopes(ledger.workspace_id, everyone=False, user_id=ledger.users[name], managed_groups=frozenset())


def manager(ledger: Ledger, name: str, *groups: str) -> PermittedScopes:
    return replace(member(ledger, name), managed_groups=frozenset(ledger.groups[group] for group in groups))


def nobody(ledger: Ledger) -> PermittedScopes:
    """Return what a program that only records may read."""
    return PermittedScopes(ledger.workspace_id, everyone=False, user_id=None, managed_groups=frozenset())


def budgets(
    ledger: Ledger, *names: str, caller: PermittedScopes | None = None, now: datetime = NOW
) -> dict[str, list[Budget]]:
    permitted = caller or ledger.everyone
    reader = ledger.desk.database.reader(permitted.row_scope)
    found = ledger.desk.run(budgets_of_users(reader, permitted, [ledger.users[name] for name in names], now=now))
    by_id = {id_: name for name, id_ in ledger.users.items()}
    return {by_id[id_]: of_user for id_, of_user in found.items()}


def budgets_of(ledger: Ledger, name: str, **asked: Any) -> list[Budget]:
    return budgets(ledger, name, **asked)[name]


def budget_of(ledger: Ledger, name: str = "ada", **asked: Any) -> Budget:
    """Return what `User.budget` shows."""
    found = main_budget(budgets_of(ledger, name, **asked), LimitScope.USER)
    assert found
    return found


def pools(ledger: Ledger, *, caller: PermittedScopes | None = None, now: datetime = NOW) -> dict[str, Budget]:
    permitted = caller or ledger.everyone
    reader = ledger.desk.database.reader(permitted.row_scope)
    by_id = {id_: name for name, id_ in ledger.groups.items()}
    found = ledger.desk.run(budget_of_groups(reader, permitted, list(by_id), now=now))
    return {by_id[id_]: budget for id_, budget in found.items()}


def whole_pool(ledger: Ledger, *, caller: PermittedScopes | None = None, now: datetime = NOW) -> Budget | None:
    permitted = caller or ledger.everyone
    reader = ledger.desk.database.reader(permitted.row_scope)
    return cast("Budget | None", ledger.desk.run(budget_of_workspace(reader, permitted, now=now)))


def forecast_of(ledger: Ledger, *asked: Budget, caller: PermittedScopes | None = None) -> list[Forecast | None]:
    permitted = caller or ledger.everyone
    reader = ledger.desk.database.reader(permitted.row_scope)
    return cast("list[Forecast | None]", ledger.desk.run(forecasts_of(reader, permitted, asked)))


def figures(budget: Budget) -> tuple[int | None, ...]:
    """Return used, held, remaining and over by, in whole credits."""
    amounts = (budget.used, budget.held, budget.remaining, budget.over_by)
    assert all(amount is None or amount % MICRO == 0 for amount in amounts)
    return tuple(None if amount is None else amount // MICRO for amount in amounts)


@contextmanager
def statements(ledger: Ledger) -> Iterator[Counter[str]]:
    ran: Counter[str] = Counter()

    def note(name: str) -> None:
        ran[name] += 1

    ledger.desk.database.observers.append(note)
    try:
        yield ran
    finally:
        ledger.desk.database.observers.remove(note)
