"""Placing, settling and releasing holds over the API, one by one or up to a thousand together."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, TypeVar

import strawberry

from creditdesk.credits import hold_rules
from creditdesk.credits.amounts import Credits
from creditdesk.credits.errors import BatchSizeError, CreditError
from creditdesk.credits.hold_rules import DEFAULT_SECONDS, HoldRequest, Settlement
from creditdesk.credits.pricing import Measured
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Permission
from creditdesk.graphql.errors import InvalidInput
from creditdesk.graphql.guards import requires
from creditdesk.graphql.holds import AuthorizationAnswer, BudgetExceeded, Hold, HoldRefused, refused
from creditdesk.graphql.ids import decode_id_of
from creditdesk.graphql.people import UserBy
from creditdesk.graphql.scalars import BigInt, Millionths

MAX_BATCH = 1000
_SAME_AGAIN = (
    " The same again is answered the same, and changes nothing: an answer that was lost is simply asked for again."
)


@strawberry.input(description="What is used, for the rate card to price. Quantities are 0 or above.")
class MeasuredInput:
    """Quantities by meter."""

    messages: BigInt = strawberry.field(default=BigInt(1), description="Messages.")
    tasks: BigInt = strawberry.field(default=BigInt(0), description="Tasks.")
    minutes: Millionths = strawberry.field(default=Millionths(0), description="Minutes.")
    input_tokens: BigInt = strawberry.field(
        default=BigInt(0), description="Input tokens that are not served from a cache."
    )
    cached_input_tokens: BigInt = strawberry.field(
        default=BigInt(0), description="Input tokens that are served from a cache."
    )
    output_tokens: BigInt = strawberry.field(default=BigInt(0), description="Output tokens.")
    tier: str | None = strawberry.field(default=None, description="The service tier; the standard one if not given.")

    def measured(self) -> Measured:
        """Return the quantities."""
        return Measured(
            messages=self.messages,
            tasks=self.tasks,
            micro_minutes=self.minutes,
            input_tokens=self.input_tokens,
            cached_input_tokens=self.cached_input_tokens,
            output_tokens=self.output_tokens,
            tier=self.tier or "",
        )


@strawberry.input(description="Credits to set aside before a use.")
class PlaceHoldInput:
    """What placeHold takes."""

    source: str = strawberry.field(description="Who asks, such as the name of a gateway. 1 to 100 characters.")
    id: str = strawberry.field(
        description="The use's id at its source, 1 to 200 characters. The same id again is the same hold. The usage"
        " event that it is settled with has the same source and id."
    )
    user: UserBy = strawberry.field(description="Whose credits. The user's home group is charged.")
    product: str = strawberry.field(description="The AI product, 1 to 100 characters.")
    model: str = strawberry.field(description="The model, 1 to 100 characters.")
    amount: Credits | None = strawberry.field(
        default=None, description="How much: above 0, up to 1000000000. Not given, `expected` is priced."
    )
    expected: MeasuredInput | None = strawberry.field(
        default=None, description="What is expected to be used, to be priced by the rate card where no amount is given."
    )
    seconds: int = strawberry.field(
        default=DEFAULT_SECONDS,
        description="How long it lasts at least, 1 to 86400. Its end is rounded up, by up to a tenth and an hour at"
        " most; short holds by a second.",
    )

    def request(self) -> HoldRequest:
        """Return the request; raise InvalidIdError."""
        return HoldRequest(
            source=self.source,
            id=self.id,
            user=self.user.named(),
            product=self.product,
            model=self.model,
            amount=self.amount,
            expected=self.expected.measured() if self.expected and self.amount is None else None,
            seconds=self.seconds,
        )


@strawberry.input(description="What was really used of a hold.")
class SettleHoldInput:
    """What settleHold takes."""

    id: strawberry.ID = strawberry.field(description="The hold's id.")
    amount: Credits | None = strawberry.field(
        default=None, description="What was used: 0 to 1000000000. Not given, `measured` is priced."
    )
    measured: MeasuredInput | None = strawberry.field(
        default=None, description="What was used, by meter: recorded, and priced by the rate card without an amount."
    )

    def settlement(self) -> Settlement:
        """Return the settlement; raise InvalidIdError."""
        measured = self.measured.measured() if self.measured else None
        return Settlement(decode_id_of("Hold", self.id), self.amount, measured)


@strawberry.input(description="A hold that nothing was used of.")
class ReleaseHoldInput:
    """What releaseHold takes."""

    id: strawberry.ID = strawberry.field(description="The hold's id.")


@strawberry.input(description="Holds to place, 1 to 1000 together.")
class PlaceHoldsInput:
    """What placeHolds takes."""

    holds: list[PlaceHoldInput] = strawberry.field(description="The holds. Each has an answer of its own.")


@strawberry.input(description="Holds to settle, 1 to 1000 together.")
class SettleHoldsInput:
    """What settleHolds takes."""

    holds: list[SettleHoldInput] = strawberry.field(description="The holds. Each has an answer of its own.")


@strawberry.input(description="Holds to release, 1 to 1000 together.")
class ReleaseHoldsInput:
    """What releaseHolds takes."""

    holds: list[ReleaseHoldInput] = strawberry.field(description="The holds. Each has an answer of its own.")


PlaceHoldResult = Annotated[
    Hold | BudgetExceeded | HoldRefused,
    strawberry.union("PlaceHoldResult", description="The outcome of placing a hold."),
]
EndHoldResult = Annotated[
    Hold | HoldRefused, strawberry.union("EndHoldResult", description="The outcome of settling or releasing a hold.")
]
AuthorizeResult = Annotated[
    AuthorizationAnswer | HoldRefused, strawberry.union("AuthorizeResult", description="The outcome of authorize.")
]


@strawberry.type(description="What became of each hold, in the order of the input.")
class PlaceHoldsSuccess:
    """The answers."""

    results: list[PlaceHoldResult] = strawberry.field(description="An answer for each hold.")


@strawberry.type(description="What became of each hold, in the order of the input.")
class EndHoldsSuccess:
    """The answers."""

    results: list[EndHoldResult] = strawberry.field(description="An answer for each hold.")


PlaceHoldsResult = Annotated[
    PlaceHoldsSuccess | InvalidInput,
    strawberry.union("PlaceHoldsResult", description="The outcome of placeHolds."),
]
EndHoldsResult = Annotated[
    EndHoldsSuccess | InvalidInput,
    strawberry.union("EndHoldsResult", description="The outcome of settleHolds or releaseHolds."),
]

One = TypeVar("One")
Answer = Hold | BudgetExceeded | HoldRefused


async def _answer(work: Coroutine[Any, Any, hold_rules.Hold]) -> Answer:
    try:
        return Hold.of(await work)
    except CreditError as error:
        return refused(error)


async def _answers(
    asked: Sequence[One], work: Callable[[One], Coroutine[Any, Any, hold_rules.Hold]]
) -> list[Any] | InvalidInput:
    """Return an answer for each. They arrive together at the desk, which takes them together."""
    if not 1 <= len(asked) <= MAX_BATCH:
        return InvalidInput.of(BatchSizeError(), "input", "holds")
    return await asyncio.gather(*(_answer(work(one)) for one in asked))


async def _place(info: Info, one: PlaceHoldInput) -> hold_rules.Hold:
    return await info.context.desk.place(info.context.principal.workspace.id, one.request())


async def _settle(info: Info, one: SettleHoldInput) -> hold_rules.Hold:
    return await info.context.desk.settle(info.context.principal.workspace.id, one.settlement())


async def _release(info: Info, one: ReleaseHoldInput) -> hold_rules.Hold:
    return await info.context.desk.release(info.context.principal.workspace.id, decode_id_of("Hold", one.id))


@strawberry.type(description="Asking whether credits would be held.")
class HoldQueries:
    """A part of Query."""

    @strawberry.field(
        description="Whether a hold would be placed now, and which budget binds. Nothing is changed, and nothing is"
        " promised: only a hold keeps others from using the credits.",
        extensions=[requires(Permission.USAGE_WRITE)],
    )
    async def authorize(
        self, info: Info, input: Annotated[PlaceHoldInput, strawberry.argument(description="The hold to try.")]
    ) -> AuthorizeResult:
        """Try a hold."""
        try:
            found = await info.context.desk.authorize(info.context.principal.workspace.id, input.request())
        except CreditError as error:
            return HoldRefused(message=error.message, code=error.code)
        return AuthorizationAnswer.of(found)


@strawberry.type(description="Setting credits aside.")
class HoldMutations:
    """A part of Mutation."""

    @strawberry.mutation(
        description="Set credits aside before a use: the whole amount, and only if every hard limit that applies has"
        f" room for it.{_SAME_AGAIN}",
        extensions=[requires(Permission.USAGE_WRITE)],
    )
    async def place_hold(
        self, info: Info, input: Annotated[PlaceHoldInput, strawberry.argument(description="The hold.")]
    ) -> PlaceHoldResult:
        """Place a hold."""
        return await _answer(_place(info, input))

    @strawberry.mutation(
        description="End a hold with what was really used, which is recorded in full, also past the hold and after it"
        f" has expired.{_SAME_AGAIN}",
        extensions=[requires(Permission.USAGE_WRITE)],
    )
    async def settle_hold(
        self, info: Info, input: Annotated[SettleHoldInput, strawberry.argument(description="What was used.")]
    ) -> EndHoldResult:
        """Settle a hold."""
        return await _answer(_settle(info, input))  # type: ignore[return-value]  # only placing exceeds a budget

    @strawberry.mutation(
        description=f"End a hold that nothing was used of.{_SAME_AGAIN}",
        extensions=[requires(Permission.USAGE_WRITE)],
    )
    async def release_hold(
        self, info: Info, input: Annotated[ReleaseHoldInput, strawberry.argument(description="Which hold.")]
    ) -> EndHoldResult:
        """Release a hold."""
        return await _answer(_release(info, input))  # type: ignore[return-value]  # only placing exceeds a budget

    @strawberry.mutation(
        description="Place up to 1000 holds, each with an answer of its own, as placeHold does.",
        extensions=[requires(Permission.USAGE_WRITE)],
    )
    async def place_holds(
        self, info: Info, input: Annotated[PlaceHoldsInput, strawberry.argument(description="The holds.")]
    ) -> PlaceHoldsResult:
        """Place holds."""
        answers = await _answers(input.holds, lambda one: _place(info, one))
        return answers if isinstance(answers, InvalidInput) else PlaceHoldsSuccess(results=answers)

    @strawberry.mutation(
        description="Settle up to 1000 holds, each with an answer of its own, as settleHold does.",
        extensions=[requires(Permission.USAGE_WRITE)],
    )
    async def settle_holds(
        self, info: Info, input: Annotated[SettleHoldsInput, strawberry.argument(description="What was used.")]
    ) -> EndHoldsResult:
        """Settle holds."""
        answers = await _answers(input.holds, lambda one: _settle(info, one))
        return answers if isinstance(answers, InvalidInput) else EndHoldsSuccess(results=answers)

    @strawberry.mutation(
        description="Release up to 1000 holds, each with an answer of its own, as releaseHold does.",
        extensions=[requires(Permission.USAGE_WRITE)],
    )
    async def release_holds(
        self, info: Info, input: Annotated[ReleaseHoldsInput, strawberry.argument(description="Which holds.")]
    ) -> EndHoldsResult:
        """Release holds."""
        answers = await _answers(input.holds, lambda one: _release(info, one))
        return answers if isinstance(answers, InvalidInput) else EndHoldsSuccess(results=answers)
