"""The price of an event whose source gave none, and how it is stored what an event was priced with, and by."""

import orjson

from creditdesk.credits.amounts import format_credits
from creditdesk.credits.event_rules import UsageEvent
from creditdesk.credits.pricing import Measured, Price, RateCard, price


def event_price(card: RateCard, event: UsageEvent) -> Price:
    """Return what a use costs at its own time; raise EventError. A use is one message unless it says otherwise."""
    measured = Measured(
        messages=1 if event.messages is None else event.messages,
        tasks=event.tasks or 0,
        micro_minutes=event.minutes or 0,
        input_tokens=event.input_tokens,
        cached_input_tokens=event.cached_input_tokens,
        output_tokens=event.output_tokens,
        tier=event.tier,
    )
    return price(card, product=event.product, model=event.model, at=event.at, measured=measured)


def stored_rates(found: Price | None) -> str | None:
    """Write rates as PostgreSQL writes an array: it takes no arrays of arrays of unequal lengths."""
    return None if found is None else f"{{{','.join(map(str, found.rates))}}}"


def stored_measures(event: UsageEvent) -> str | None:
    """Write what the source named beside tokens, or None: what makes the event the same one when it comes again."""
    if event.is_plain:
        return None
    named = {
        "messages": None if event.messages is None else str(event.messages),
        "tasks": None if event.tasks is None else str(event.tasks),
        "minutes": None if event.minutes is None else format_credits(event.minutes),
        "tier": event.tier or None,
    }
    return orjson.dumps({name: text for name, text in named.items() if text is not None}).decode()
