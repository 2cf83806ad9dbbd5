"""Limits and holds on a ledger, for tests: rules by plain SQL or by the product's own operations, holds by the desk."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from creditdesk.credits.amounts import MICRO, format_credits
from creditdesk.credits.authorizing import Authorization
from creditdesk.credits.controls import changing_controls, load_controls
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.hold_rules import BindingBudget, BudgetExceededError, Hold, HoldRequest, Settlement
from creditdesk.credits.limit_rules import NewLimit, write_limit
from creditdesk.credits.limits import UNLIMITED, Enforcement, Limit, Limited, LimitKind, LimitScope, LimitValue, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor
from creditdesk.credits.reconcile import Difference
from creditdesk.db.connections import Database
from support.ledgers import NOW, Ledger

ACTOR = Actor("PERSON", "tester", None)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Holding:
    """A ledger with a desk of holds before it; amounts are whole credits."""

    ledger: Ledger
    clock: Clock = field(default_factory=Clock)
    desk: HoldDesk = field(init=False)

    def __post_init__(self) -> None:
        self.desk = self.another_desk()

    def another_desk(self, database: Database | None = None) -> HoldDesk:
        """Return a desk that knows nothing yet: another process's, at the same clock."""
        return HoldDesk(database or self.ledger.desk.database, self.clock)

    def limit(self, on: str | None, amount: int | None, **options: Any) -> Limit:
        """Set a limit on a user or a group by name, or on the workspace for None; no credits is unlimited."""
        return self.ledger.desk.run(self.limiting(on, amount, **options))  # type: ignore[no-any-return]

    async def limiting(self, on: str | None, amount: int | None, **options: Any) -> Limit:
        ledger = self.ledger
        scope, scope_id = LimitScope.WORKSPACE, ledger.workspace_id
        if on in ledger.users:
            scope, scope_id = LimitScope.USER, ledger.users[on]
        elif on is not None:
            scope, scope_id = LimitScope.GROUP, ledger.groups[on]
        value: LimitValue = UNLIMITED if amount is None else Limited(amount * MICRO)
        rule = NewLimit(
            scope=scope,
            scope_id=scope_id,
            kind=LimitKind.SHARED if options.pop("shared", False) else LimitKind.EACH_USER,
            shape=Shape(options.pop("cadence", Cadence.MONTH), options.pop("product", ""), options.pop("model", "")),
            value=value,
            enforcement=Enforcement.SOFT if options.pop("soft", False) else Enforcement.HARD,
            **options,
        )
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            await changing_controls(conn, ledger.workspace_id)
            controls = await load_controls(conn, ledger.workspace_id)
            return await write_limit(
                conn, controls, workspace_id=ledger.workspace_id, actor=ACTOR, rule=rule, now=self.clock.now
            )

    def request(self, id_: str, whole: int | None = 1, **changes: Any) -> HoldRequest:
        """Return a request of the user `ada` for whole credits, or for what is `expected`."""
        fields: dict[str, Any] = {
            "source": "gateway",
            "id": id_,
            "user": UserBy(id=self.ledger.users["ada"]),
            "product": "chat",
            "model": "large",
            "amount": None if whole is None else whole * MICRO,
        }
        return HoldRequest(**fields | changes)

    def place(self, id_: str, whole: int | None = 1, *, at: HoldDesk | None = None, **changes: Any) -> Hold:
        request = self.request(id_, whole, **changes)
        return self.ledger.desk.run((at or self.desk).place(self.ledger.workspace_id, request))  # type: ignore[no-any-return]

    def refused(self, id_: str, whole: int | None = 1, *, at: HoldDesk | None = None, **changes: Any) -> BindingBudget:
        """Place a hold that does not fit, and return the budget that binds."""
        with pytest.raises(BudgetExceededError) as refusal:
            self.place(id_, whole, at=at, **changes)
        return refusal.value.budget

    def together(self, *requests: HoldRequest, at: HoldDesk | None = None) -> list[Hold | BaseException]:
        """Place holds at the same time, and return each one's own answer."""

        async def placing() -> list[Hold | BaseException]:
            asked = [(at or self.desk).place(self.ledger.workspace_id, request) for request in requests]
            return await asyncio.gather(*asked, return_exceptions=True)

        return self.ledger.desk.run(placing())  # type: ignore[no-any-return]

    def authorize(self, whole: int | None = 1, *, at: HoldDesk | None = None, **changes: Any) -> Authorization:
        request = self.request("asked", whole, **changes)
        return self.ledger.desk.run((at or self.desk).authorize(self.ledger.workspace_id, request))  # type: ignore[no-any-return]

    def settle(self, hold: Hold | UUID, whole: int | None = None, **changes: Any) -> Hold:
        id_ = hold if isinstance(hold, UUID) else hold.id
        settlement = Settlement(id_, None if whole is None else whole * MICRO, **changes)
        return self.ledger.desk.run(self.desk.settle(self.ledger.workspace_id, settlement))  # type: ignore[no-any-return]

    def release(self, hold: Hold | UUID) -> Hold:
        id_ = hold if isinstance(hold, UUID) else hold.id
        return self.ledger.desk.run(self.desk.release(self.ledger.workspace_id, id_))  # type: ignore[no-any-return]

    def balances(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return what is used and held now, in credits, of each balance's latest period.

        The keys name the user, group or workspace, and the kind by its cadence, product and model.
        """
        names = {id_: name for name, id_ in (self.ledger.users | self.ledger.groups).items()}
        rows = self.ledger.desk.sql(
            "SELECT b.scope_id, concat_ws(' ', k.cadence, nullif(k.product, ''), nullif(k.model, '')), b.used,"
            " held_now(b.held, %s) FROM balance AS b JOIN balance_kind AS k"
            " ON k.workspace_id = b.workspace_id AND k.id = b.kind_id"
            " WHERE b.workspace_id = %s ORDER BY b.first_day",
            int(self.clock.now.timestamp()),
            self.ledger.workspace_id,
        )
        return {
            (names.get(scope, "workspace"), what): (format_credits(used), format_credits(held))
            for scope, what, used, held in rows
        }

    def differences(self) -> tuple[Difference, ...]:
        """Return where the ledger, the holds and the balances do not say the same now."""
        return self.ledger.reconciled(self.clock.now).differences
