"""Holds as they are stored: from rows to holds, and to refusals."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from creditdesk.credits.controls import Controls
from creditdesk.credits.hold_rules import BindingBudget, BudgetExceededError, Hold, HoldState
from creditdesk.credits.periods import period_of_day
from creditdesk.db.connections import Row


class StoredHold:
    """A row of `hold_columns`: a hold, or the refusal of one, with the hashes of what was asked."""

    __slots__ = ("hold", "refusal", "request_hash", "settlement_hash")

    def __init__(self, row: Row) -> None:
        (
            id_, source, external_id, user_id, group_id, product, model, amount, state, placed_at, expires_at, ended_at,
            settled_amount, overage, rates, passed_soft, request_hash, settlement_hash, refusal,
        ) = row  # fmt: skip
        self.request_hash: UUID = request_hash
        self.settlement_hash: UUID | None = settlement_hash
        self.refusal: Mapping[str, Any] | None = refusal
        self.hold = Hold(
            id=id_,
            source=source,
            external_id=external_id,
            user_id=user_id,
            group_id=group_id,
            product=product,
            model=model,
            amount=amount,
            state=HoldState.RELEASED if state == "REFUSED" else HoldState[state],
            placed_at=placed_at,
            expires_at=expires_at,
            ended_at=ended_at,
            settled_amount=settled_amount,
            overage=overage or 0,
            rates=None if rates is None else tuple(rates),
            passed_soft=tuple(passed_soft or ()),
        )

    def answer(self, controls: Controls, now: datetime) -> Hold | BudgetExceededError:
        """Return the hold as it is now, or the refusal that was the answer when it was asked for."""
        if self.refusal is None:
            return self.hold.at(now)
        kind = next(kind for kind in controls.kinds if kind.id == self.refusal["kind_id"])
        day = date.fromisoformat(self.refusal["first_day"])
        period = period_of_day(kind.shape.cadence, day, zone=controls.zone, anchors=controls.anchors)
        limit_id = self.refusal["limit_id"]
        return BudgetExceededError(
            BindingBudget(
                scope=kind.scope,
                scope_id=UUID(self.refusal["scope_id"]),
                shape=kind.shape,
                limit_id=UUID(limit_id) if limit_id else None,
                amount=int(self.refusal["amount"]),
                remaining=int(self.refusal["remaining"]),
                resets_at=period.end,
            )
        )
