"""What was used of holds, recorded as usage events: in the same statement as what the holds set aside is given back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from creditdesk.credits.amounts import format_credits
from creditdesk.credits.event_prices import stored_rates
from creditdesk.credits.pricing import Measured, Price
from creditdesk.db.connections import Connection


@dataclass(frozen=True, slots=True)
class HeldUse:
    """The use that a hold was placed for. `rates` is None where its source priced it; amounts are micro-credits.

    `held_until`, in seconds since 1970, and `held_amount` are what the hold had set aside.
    """

    source: str
    id: str
    at: datetime
    user_id: UUID
    group_id: UUID | None
    product: str
    model: str
    credits: int
    measured: Measured
    rates: tuple[UUID, ...] | None
    held_until: int
    held_amount: int


async def record_held_uses(conn: Connection, *, workspace_id: UUID, uses: Sequence[HeldUse], now: datetime) -> bool:
    """Record these uses and give back what was held for them; return False if an event has one of their ids already.

    Then nothing was given back for it, and the transaction has to be rolled back.
    """
    nothing: list[None] = [None] * len(uses)
    rows = await conn.rows(
        "record_usage_events",
        workspace_id=workspace_id,
        recorded_at=now,
        now_seconds=int(now.timestamp()),
        sources=[use.source for use in uses],
        ids=[use.id for use in uses],
        times=[use.at for use in uses],
        users=[use.user_id for use in uses],
        groups=[use.group_id for use in uses],
        products=[use.product for use in uses],
        models=[use.model for use in uses],
        credits=[use.credits for use in uses],
        requests=[1] * len(uses),
        input_tokens=[use.measured.input_tokens for use in uses],
        cached_input_tokens=[use.measured.cached_input_tokens for use in uses],
        output_tokens=[use.measured.output_tokens for use in uses],
        corrects=nothing,
        tags=nothing,
        rates=[stored_rates(None if use.rates is None else Price(use.credits, use.rates)) for use in uses],
        measured=[_named(use.measured) for use in uses],
        held_until=[use.held_until for use in uses],
        held_amounts=[use.held_amount for use in uses],
    )
    return len(rows) == len(uses)


def _named(measured: Measured) -> str | None:
    """Return what is kept of the quantities that are not tokens; None where they are a plain request's."""
    named = {
        "messages": str(measured.messages) if measured.messages != 1 else None,
        "tasks": str(measured.tasks) if measured.tasks else None,
        "minutes": format_credits(measured.micro_minutes) if measured.micro_minutes else None,
        "tier": measured.tier or None,
    }
    kept = {name: value for name, value in named.items() if value is not None}
    return orjson.dumps(kept).decode() if kept else None
