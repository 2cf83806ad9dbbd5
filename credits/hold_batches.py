"""Holds that are placed together, as the arrays that the database takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from typing import NamedTuple
from uuid import UUID

from creditdesk.credits.controls import Control, Spender
from creditdesk.credits.event_prices import stored_rates
from creditdesk.credits.hold_rules import Hold, HoldRequest, HoldState, moment
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.pricing import Price

_MOST = 2**62
"""More than any balance holds: what may be taken of one without a limit."""


class Counted(NamedTuple):
    """A balance that a use counts in, by its key in the order of locks, and what its limit is, if there is one."""

    key: str
    kind_id: int
    scope_id: UUID
    first_day: date
    is_shared: bool
    amount: int | None
    is_hard: bool
    limit_id: UUID | None

    @classmethod
    def of(cls, control: Control) -> "Counted":
        """Return the balance of a control."""
        return cls(
            key=control.key,
            kind_id=control.kind.id,
            scope_id=control.scope_id,
            first_day=control.period.first_day,
            is_shared=control.kind.scope is not LimitScope.USER,
            amount=control.amount,
            is_hard=control.is_hard,
            limit_id=control.limit.source.id if control.limit.source else None,
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """The controls of a user's use of a product and model, and until when they are these; made once for many holds."""

    until: datetime | None
    controls: tuple[Control, ...]
    counted: tuple[Counted, ...]
    named: str
    """What requests for such a use have in common, as `request_hash` takes it."""

    @classmethod
    def of(cls, controls: Iterable[Control], named: str) -> "Applied":
        """Return what these controls come to."""
        found = tuple(controls)
        moments = [moment for one in found for moment in (one.period.end, one.limit.changes_at) if moment]
        return cls(min(moments, default=None), found, tuple(map(Counted.of, found)), named)


class Placing(NamedTuple):
    """A request that can be placed, the `nth` of those that came together: for whom, how much, what it counts in."""

    nth: int
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
        request, spender = self.request, self.spender
        source, external_id, _, product, model, *_ = request
        return Hold(  # by place, in the order of its fields, like a row of the database: one is made for each call
            self.id, source, external_id, spender.id, spender.home_group_id, product, model, self.priced.credits,
            HoldState.HELD, now, moment(self.until), None, None, 0, self.rates, (),
        )  # fmt: skip


def balances_of(placing: Sequence[Placing]) -> dict[str, Counted]:
    """Return the balances that holds count in, each once, in the order of locks."""
    found = {counted.key: counted for one in placing for counted in one.applied.counted}
    return {key: found[key] for key in sorted(found)}


def hold_columns(placing: Sequence[Placing]) -> dict[str, object]:
    """Turn holds into the arrays that are stored of them."""
    requests = [one.request for one in placing]
    return {
        "ids": [one.id for one in placing],
        "hashes": [one.hash for one in placing],
        "sources": [one.source for one in requests],
        "external_ids": [one.id for one in requests],
        "users": [one.spender.id for one in placing],
        "groups": [one.spender.home_group_id for one in placing],
        "products": [one.product for one in requests],
        "models": [one.model for one in requests],
        "amounts": [one.priced.credits for one in placing],
        "until": [one.until for one in placing],
        "rates": [None if one.request.amount is not None else stored_rates(one.priced) for one in placing],
    }


def granting_columns(placing: Sequence[Placing], balances: dict[str, Counted]) -> dict[str, object] | None:
    """Return the arrays with which all of them are granted, if there is room; None where there cannot be.

    Of each balance: the most that may have been taken of it beforehand, and what expires when, added up. A limit that
    is soft counts like any other: whoever passes one is told, so such a hold is not just granted. One of nothing
    refuses even what is free.
    """
    if any(counted.amount == 0 for counted in balances.values()):
        return None
    held: dict[str, dict[int, int]] = {key: {} for key in balances}
    for one in placing:
        amount, until = one.priced.credits, one.until
        for counted in one.applied.counted:
            sums = held[counted.key]
            sums[until] = sums.get(until, 0) + amount
    highest = [
        (_MOST if counted.amount is None else counted.amount) - sum(sums.values())
        for counted, sums in zip(balances.values(), held.values(), strict=True)
    ]
    if min(highest, default=0) < 0:
        return None
    return {
        "balance_kinds": [counted.kind_id for counted in balances.values()],
        "balance_scopes": [counted.scope_id for counted in balances.values()],
        "balance_days": [counted.first_day for counted in balances.values()],
        "balance_highest": highest,
        "balance_held": [
            "{" + ",".join([f"{{{until},{amount}}}" for until, amount in sums.items()]) + "}" for sums in held.values()
        ],
    }


def choosing_columns(placing: Sequence[Placing], balances: dict[str, Counted]) -> dict[str, object]:
    """Return the arrays with which each of them is granted or refused: of balances to lock, and of limits to keep."""
    place = {key: nth for nth, key in enumerate(balances, start=1)}
    controls = [counted for one in placing for counted in one.applied.counted]
    counts = [len(one.applied.counted) for one in placing]
    lasts = list(accumulate(counts))
    return {
        "firsts": [last - count + 1 for last, count in zip(lasts, counts, strict=True)],
        "lasts": lasts,
        "balance_kinds": [counted.kind_id for counted in balances.values()],
        "balance_scopes": [counted.scope_id for counted in balances.values()],
        "balance_days": [counted.first_day for counted in balances.values()],
        "balance_shared": [counted.is_shared for counted in balances.values()],
        "control_balances": [place[counted.key] for counted in controls],
        "control_amounts": [counted.amount for counted in controls],
        "control_hard": [counted.is_hard for counted in controls],
        "control_limits": [counted.limit_id for counted in controls],
    }
