"""Use that is recorded while a test runs, as gateways report it."""

from datetime import UTC, datetime
from uuid import uuid4

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.event_rules import UsageEvent, UserBy
from support.world import PLACES, World, record, user_id


def place_of(person: str) -> str:
    return next(place.name for place in PLACES if person in {one.name for one in place.people})


async def use(world: World, person: str, whole: int = 1, *, product: str = "chat", count: int = 1) -> None:
    """Record so many uses of a person in one commit, now."""
    now = datetime.now(UTC)
    events = [
        UsageEvent(
            source="gateway",
            id=str(uuid4()),
            at=now,
            user=UserBy(id=user_id(person)),
            product=product,
            model="large",
            credits=whole * MICRO,
            input_tokens=1,
            cached_input_tokens=1,
            output_tokens=1,
        )
        for _ in range(count)
    ]
    await record(world.database, place_of(person), events, now=now)
