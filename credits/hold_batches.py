"""Holds that are placed together, as the arrays that the database takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from uuid import UUID

from creditdesk.credits.controls import Control, Spender
from creditdesk.credits.event_prices import stored_rates
from creditdesk.credits.hold_rules import Hold, HoldRequest, HoldState, moment
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.pricing import Price


@dataclass(frozen=True, slots=True)
class Applied:
    """The controls of a user's use of a product and model, and until when they are these; most of it is made once."""

    until: datetime | None
    balances: dict[str, Control]
    """Each control by the key of the balance that it counts in."""
    amounts: tuple[int | None, ...]
    hard: tuple[bool, ...]
    limits: tuple[UUID | None, ...]

    @classmethod
    def of(cls, controls: Iterable[Control]) -> "Applied":
        """Return what these controls come to."""
        found = tuple(controls)
        moments = [moment for one in found for moment in (one.period.end, one.limit.changes_at) if moment]
        return cls(
            until=min(moments, default=None),
            balances={one.key: one for one in found},
            amounts=tuple(one.amount for one in found),
            hard=tuple(one.is_hard for one in found),
            limits=tuple(one.limit.source.id if one.limit.source else None for one in found),
        )


@dataclass(frozen=True, slots=True)
class Placing:
    """A request that can be placed: for whom, for how much, and what it counts in."""

    id: UUID
    request: HoldRequest
    hash: UUID
    spender: Spender
    priced: Price
    applied: Applied
    until: int

    @property
    def rates(self) -> tuple[UUID, ...] | None:
        """Return what it was priced with; None where its source priced it."""
        return None if self.request.amount is not None else self.priced.rates

    def granted(self, now: datetime) -> Hold:
        """Return the hold that it has become, where nothing stood in its way."""
        return Hold(
            id=self.id,
            source=self.request.source,
            external_id=self.request.id,
            user_id=self.spender.id,
            group_id=self.spender.home_group_id,
            product=self.request.product,
            model=self.request.model,
            amount=self.priced.credits,
            state=HoldState.HELD,
            placed_at=now,
            expires_at=moment(self.until),
            ended_at=None,
            settled_amount=None,
            overage=0,
            rates=self.rates,
            passed_soft=(),
        )


def balances_of(placing: Sequence[Placing]) -> dict[str, Control]:
    """Return the balances that holds count in, each once, in the order of locks."""
    found: dict[str, Control] = {}
    for one in placing:
        found |= one.applied.balances
    return {key: found[key] for key in sorted(found)}


def columns_of(placing: Sequence[Placing], balances: dict[str, Control]) -> dict[str, object]:
    """Turn holds into the arrays that the statement takes: of holds, of balances to lock, of limits to keep to."""
    place = {key: nth for nth, key in enumerate(balances, start=1)}
    applied = [one.applied for one in placing]
    counts = [len(one.balances) for one in applied]
    lasts = list(accumulate(counts))
    return {
        "ids": [one.id for one in placing],
        "hashes": [one.hash for one in placing],
        "sources": [one.request.source for one in placing],
        "external_ids": [one.request.id for one in placing],
        "users": [one.spender.id for one in placing],
        "groups": [one.spender.home_group_id for one in placing],
        "products": [one.request.product for one in placing],
        "models": [one.request.model for one in placing],
        "amounts": [one.priced.credits for one in placing],
        "until": [one.until for one in placing],
        "rates": [None if one.rates is None else stored_rates(one.priced) for one in placing],
        "firsts": [last - count + 1 for last, count in zip(lasts, counts, strict=True)],
        "lasts": lasts,
        "balance_kinds": [control.kind.id for control in balances.values()],
        "balance_scopes": [control.scope_id for control in balances.values()],
        "balance_days": [control.period.first_day for control in balances.values()],
        "balance_shared": [control.kind.scope is not LimitScope.USER for control in balances.values()],
        "control_balances": [place[key] for one in applied for key in one.balances],
        "control_amounts": [amount for one in applied for amount in one.amounts],
        "control_hard": [hard for one in applied for hard in one.hard],
        "control_limits": [limit for one in applied for limit in one.limits],
    }
