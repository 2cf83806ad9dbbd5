"""Recording usage over the API."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import strawberry

from creditdesk.credits import usage_events
from creditdesk.credits.amounts import Credits
from creditdesk.credits.errors import BatchSizeError, CreditError
from creditdesk.credits.event_rules import UsageEvent
from creditdesk.db.scopes import DatabaseRole, RowScope
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.errors import InvalidInput
from creditdesk.graphql.people import UserBy
from creditdesk.graphql.scalars import BigInt, Millionths


@strawberry.input(description="A free label of an event.")
class TagInput:
    """A key and a value."""

    key: str = strawberry.field(description="1 to 60 printable characters.")
    value: str = strawberry.field(description="Up to 200 printable characters.")


@strawberry.input(description="One use, or the correction of one.")
class UsageEventInput:
    """An event as a source reports it."""

    source: str = strawberry.field(description="Who reports it, such as the name of a gateway. 1 to 100 characters.")
    id: str = strawberry.field(
        description="The event's id at its source, 1 to 200 characters. The same id again is the same event: the same"
        " content is a duplicate, any other an error."
    )
    at: datetime = strawberry.field(description="When it was used: from the year 2000 on, at most a day ahead.")
    user: UserBy = strawberry.field(description="Who used it. The user's home group is charged.")
    product: str = strawberry.field(description="The AI product, 1 to 100 characters.")
    model: str = strawberry.field(description="The model, 1 to 100 characters.")
    credits: Credits | None = strawberry.field(
        default=None,
        description="What it cost: 0 to 1000000000. Not given, the rate card of the event's own time prices it by what"
        " was used. A correction gives its credits, which may be negative.",
    )
    input_tokens: BigInt = strawberry.field(
        default=BigInt(0), description="Input tokens that were not served from a cache."
    )
    cached_input_tokens: BigInt = strawberry.field(
        default=BigInt(0), description="Input tokens that were served from a cache."
    )
    output_tokens: BigInt = strawberry.field(default=BigInt(0), description="Output tokens.")
    messages: BigInt | None = strawberry.field(
        default=None, description="Messages: 0 to 10^12. To price the event it counts as one if not given."
    )
    tasks: BigInt | None = strawberry.field(
        default=None, description="Tasks: 0 to 10^12. To price the event it counts as none if not given."
    )
    minutes: Millionths | None = strawberry.field(
        default=None, description="Minutes: 0 to 10^9. To price the event they count as none if not given."
    )
    tier: str | None = strawberry.field(
        default=None,
        description="The service tier, up to 100 characters, by which the price is multiplied. Not given, it is the"
        " standard one, which is not.",
    )
    corrects: str | None = strawberry.field(
        default=None,
        description="The id, at the same source, of the use that this event corrects. Its figures are added to that"
        " use's, and charged to the same group.",
    )
    tags: list[TagInput] | None = strawberry.field(default=None, description="Up to 20 free labels.")

    def event(self) -> UsageEvent:
        """Return the event; raise InvalidIdError."""
        return UsageEvent(
            source=self.source,
            id=self.id,
            at=self.at,
            user=self.user.named(),
            product=self.product,
            model=self.model,
            credits=self.credits,
            input_tokens=self.input_tokens,
            cached_input_tokens=self.cached_input_tokens,
            output_tokens=self.output_tokens,
            corrects=self.corrects,
            tags={tag.key: tag.value for tag in self.tags} if self.tags else None,
            messages=self.messages,
            tasks=self.tasks,
            minutes=self.minutes,
            tier=self.tier or "",
        )


@strawberry.input(description="A batch of events.")
class RecordUsageInput:
    """What recordUsage takes."""

    events: list[UsageEventInput] = strawberry.field(description="1 to 1000 events, in any order.")


@strawberry.type(description="Why an event of a batch was not recorded. The others were.")
class RejectedEvent:
    """An event that was turned down."""

    index: int = strawberry.field(description="Where the event stands in the batch, from 0.")
    code: ErrorCode = strawberry.field(description="Why, for machines.")
    message: str = strawberry.field(description="Why, for people.")


@strawberry.type(description="What became of a batch. Every event is accepted, a duplicate, or rejected.")
class RecordUsageSuccess:
    """The batch's outcome."""

    accepted: int = strawberry.field(description="How many events were recorded.")
    duplicates: int = strawberry.field(description="How many were recorded before, with the same content.")
    rejected: list[RejectedEvent] = strawberry.field(description="The events that were not recorded, and why.")
    unpriced: int = strawberry.field(
        description="How many of the accepted came without credits, and no rate prices them: they are recorded with 0"
        " credits, which only the workspace's policy for unknown models allows."
    )


RecordUsageResult = Annotated[
    RecordUsageSuccess | InvalidInput,
    strawberry.union("RecordUsageResult", description="The outcome of recordUsage."),
]


def _events(inputs: Sequence[UsageEventInput]) -> tuple[list[UsageEvent], list[int], list[RejectedEvent]]:
    """Return the events, where each stood in the batch, and those whose user's id is none."""
    events, indexes, rejected = [], [], []
    for index, one in enumerate(inputs):
        try:
            events.append(one.event())
            indexes.append(index)
        except CreditError as error:
            rejected.append(RejectedEvent(index=index, code=error.code, message=error.message))
    return events, indexes, rejected


async def record_usage(info: Info, batch: RecordUsageInput) -> RecordUsageSuccess | InvalidInput:
    """Record a batch in one transaction."""
    if not 1 <= len(batch.events) <= usage_events.MAX_BATCH:
        return InvalidInput.of(BatchSizeError(), "input", "events")
    events, indexes, rejected = _events(batch.events)
    recorded = usage_events.Recorded(0, 0, ())
    if events:
        workspace_id = info.context.principal.workspace.id
        async with info.context.database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)) as conn:
            recorded = await usage_events.record_usage(
                conn, workspace_id=workspace_id, events=events, now=info.context.now
            )
    rejected += [
        RejectedEvent(index=indexes[one.index], code=one.code, message=one.message) for one in recorded.rejected
    ]
    return RecordUsageSuccess(
        accepted=recorded.accepted,
        duplicates=recorded.duplicates,
        rejected=sorted(rejected, key=lambda one: one.index),
        unpriced=recorded.unpriced,
    )
