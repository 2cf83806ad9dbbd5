"""Asking whether a hold would be placed, without placing it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from creditdesk.credits.controls import Control
from creditdesk.credits.errors import ErrorCode
from creditdesk.credits.hold_placing import HoldPlacer, priced
from creditdesk.credits.hold_rules import BindingBudget, HoldError, HoldRequest, check_request
from creditdesk.db.connections import Connection


@dataclass(frozen=True, slots=True)
class Authorization:
    """Whether a hold of `amount` micro-credits would be placed now, and the budget that binds; None without one."""

    allowed: bool
    amount: int
    budget: BindingBudget | None


async def authorization(
    conn: Connection, placer: HoldPlacer, workspace_id: UUID, request: HoldRequest, *, now: datetime
) -> Authorization:
    """Return what placing this hold now would come to; raise HoldError or EventError where it could not be placed."""
    check_request(request)
    await placer.refresh()
    rules = await placer.rules([request.user])
    spender = rules.spender(request.user)
    if spender is None:
        raise HoldError(ErrorCode.UNKNOWN_USER)
    if not spender.active:
        raise HoldError(ErrorCode.INACTIVE_USER)
    if request.amount is None:
        await placer.card(rules)
    amount = priced(rules, request, now).credits
    hard = [control for control in placer.applied(rules, spender, request, now).controls if control.is_hard]
    rooms = [(room, control) for room, control in zip(await _rooms(conn, workspace_id, hard, now), hard, strict=True)]
    limited = [(room, control) for room, control in rooms if room is not None]
    if not limited:
        return Authorization(allowed=True, amount=amount, budget=None)
    room, control = min(limited, key=lambda one: one[0])
    allowed = all(room >= amount and control.amount != 0 for room, control in limited)
    budget = BindingBudget(
        scope=control.kind.scope,
        scope_id=control.scope_id,
        shape=control.kind.shape,
        limit_id=control.limit.source.id if control.limit.source else None,
        amount=control.amount or 0,
        remaining=max(0, room),
        resets_at=control.period.end,
    )
    return Authorization(allowed=allowed, amount=amount, budget=budget)


async def _rooms(conn: Connection, workspace_id: UUID, controls: list[Control], now: datetime) -> list[int | None]:
    """Return what is left under each limit, below zero where it is passed; None where it is no limit."""
    rows = await conn.rows(
        "balances",
        workspace_id=workspace_id,
        kinds=[control.kind.id for control in controls],
        scopes=[control.scope_id for control in controls],
        first_days=[control.period.first_day for control in controls],
        now_seconds=int(now.timestamp()),
    )
    taken = {nth: used + held for nth, used, held in rows}
    return [
        None if control.amount is None else control.amount - taken.get(nth, 0)
        for nth, control in enumerate(controls, start=1)
    ]
