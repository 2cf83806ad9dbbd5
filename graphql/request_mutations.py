"""Asking for more credits over the API, and deciding about it."""

from datetime import date, datetime
from typing import Annotated

import strawberry

from creditdesk.auth.policy import authority
from creditdesk.credits import request_rules, requests
from creditdesk.credits.amounts import Credits
from creditdesk.credits.errors import CreditError, InvalidInputError
from creditdesk.credits.limits import Shape
from creditdesk.credits.permitted import Authority
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Cadence, ErrorCode, Permission, RequestDurationKind
from creditdesk.graphql.errors import InvalidInput, UserError
from creditdesk.graphql.guards import requires
from creditdesk.graphql.ids import decode_id_of
from creditdesk.graphql.requests import CreditRequest

_PATHS = {
    ErrorCode.ABOVE_CEILING: ("amount",),
    ErrorCode.INVALID_LIMIT: ("amount",),
    ErrorCode.INVALID_ID: ("id",),
    ErrorCode.OWN_REQUEST: ("id",),
    ErrorCode.UNKNOWN_REQUEST: ("id",),
}
"""Which part of the input an error is about; of the others it is the input as a whole."""


@strawberry.input(one_of=True, description="How long more is to be used.")
class RequestDurationInput:
    """Exactly one of the period, a day and forever."""

    this_period: bool | None = strawberry.field(
        default=strawberry.UNSET, description="True: until the limit's period ends. False is refused."
    )
    until: date | None = strawberry.field(
        default=strawberry.UNSET,
        description="Until this day, which is included: today or later, in the workspace's zone.",
    )
    permanent: bool | None = strawberry.field(
        default=strawberry.UNSET, description="True: from now on. False is refused."
    )

    def wanted(self) -> request_rules.Duration:
        """Return the duration; raise InvalidInputError."""
        if isinstance(self.until, date):
            return request_rules.Duration(RequestDurationKind.UNTIL, self.until)
        if self.permanent:
            return request_rules.Duration(RequestDurationKind.PERMANENT)
        if not self.this_period:
            raise InvalidInputError("`thisPeriod` or `permanent` is true, or a day is given.")
        return request_rules.Duration()


@strawberry.input(description="What is asked for: more of one limit of one's own, which is found by what it counts.")
class RequestCreditsInput:
    """What requestCredits takes."""

    amount: Credits = strawberry.field(
        description="How much more is needed in each period, on top of the limit that applies: more than 0, at most"
        " 1000000000."
    )
    reason: str = strawberry.field(description="Why, 1 to 1000 characters of text.")
    duration: RequestDurationInput | None = strawberry.field(
        default=None, description="How long; until the period ends if not given."
    )
    product: str | None = strawberry.field(
        default=None, description="The product whose limit is in the way; of the limit for all usage if not given."
    )
    model: str | None = strawberry.field(default=None, description="The product's model whose limit is in the way.")
    cadence: Cadence = strawberry.field(
        default=Cadence.MONTH, description="The length of the periods that the limit counts in."
    )

    def ask(self) -> request_rules.Ask:
        """Return what is asked; raise InvalidInputError."""
        duration = self.duration.wanted() if self.duration else request_rules.Duration()
        shape = Shape(self.cadence, self.product or "", self.model or "")
        return request_rules.Ask(self.amount, self.reason, shape, duration)


@strawberry.input(description="A request to approve, as it was made or otherwise.")
class ApproveCreditRequestInput:
    """What approveCreditRequest takes."""

    id: strawberry.ID = strawberry.field(description="The request's id.")
    amount: Credits | None = strawberry.field(
        default=None,
        description="How much more to grant, on top of the request's `limitThen`; what was asked if not given.",
    )
    duration: RequestDurationInput | None = strawberry.field(
        default=None, description="How long; what was asked if not given. The period is the one that is running now."
    )
    note: str | None = strawberry.field(default=None, description="A word to the decision, up to 1000 characters.")

    def approval(self) -> request_rules.Approval:
        """Return the decision; raise InvalidIdError or InvalidInputError."""
        return request_rules.Approval(
            decode_id_of("CreditRequest", self.id),
            amount=self.amount,
            duration=self.duration.wanted() if self.duration else None,
            note=self.note,
        )


@strawberry.input(description="A request to deny.")
class DenyCreditRequestInput:
    """What denyCreditRequest takes."""

    id: strawberry.ID = strawberry.field(description="The request's id.")
    note: str | None = strawberry.field(default=None, description="A word to the decision, up to 1000 characters.")


@strawberry.input(description="A request of one's own to take back.")
class CancelCreditRequestInput:
    """What cancelCreditRequest takes."""

    id: strawberry.ID = strawberry.field(description="The request's id.")


@strawberry.type(description="The request was made. Its state says whether it waits, or was approved at once.")
class RequestCreditsSuccess:
    """The outcome of requestCredits."""

    request: CreditRequest = strawberry.field(description="The request.")


@strawberry.type(description="The request was decided.")
class DecideCreditRequestSuccess:
    """The outcome of approveCreditRequest and denyCreditRequest."""

    request: CreditRequest = strawberry.field(description="The request as it is now.")


@strawberry.type(description="The request was taken back.")
class CancelCreditRequestSuccess:
    """The outcome of cancelCreditRequest."""

    request: CreditRequest = strawberry.field(description="The request as it is now.")


@strawberry.type(description="There is a request for this limit that waits for a decision; no other was made.")
class RequestPending(UserError):  # noqa: N818 - a type of the schema, not an exception
    """One at a time."""

    request: CreditRequest = strawberry.field(description="The request that waits.")


@strawberry.type(description="A request for this limit was denied a short while ago; no other was made.")
class CoolingDown(UserError):  # noqa: N818 - a type of the schema, not an exception
    """Not yet."""

    until: datetime = strawberry.field(description="From when on one may ask again.")


@strawberry.type(description="Somebody else was first, or the request has expired; nothing was changed now.")
class RequestEnded(UserError):  # noqa: N818 - a type of the schema, not an exception
    """A request that is not pending any more."""

    request: CreditRequest = strawberry.field(description="The request as it is now.")


RequestCreditsResult = Annotated[
    RequestCreditsSuccess | RequestPending | CoolingDown | InvalidInput,
    strawberry.union("RequestCreditsResult", description="The outcome of requestCredits."),
]
DecideCreditRequestResult = Annotated[
    DecideCreditRequestSuccess | RequestEnded | InvalidInput,
    strawberry.union(
        "DecideCreditRequestResult", description="The outcome of approveCreditRequest and of denyCreditRequest."
    ),
]
CancelCreditRequestResult = Annotated[
    CancelCreditRequestSuccess | RequestEnded | InvalidInput,
    strawberry.union("CancelCreditRequestResult", description="The outcome of cancelCreditRequest."),
]


def _refused(info: Info, error: CreditError) -> RequestEnded | InvalidInput:
    if isinstance(error, request_rules.RequestEndedError):
        ended = CreditRequest.of(info, error.request)
        return RequestEnded(message=error.message, code=error.code, path=["input", "id"], request=ended)
    return InvalidInput.of(error, "input", *_PATHS.get(error.code, ()))


async def _request_credits(
    info: Info, input: RequestCreditsInput
) -> RequestCreditsSuccess | RequestPending | CoolingDown | InvalidInput:
    allowed = authority(info.context.principal, Permission.CREDITS_REQUEST)
    try:
        ask = input.ask()
        async with info.context.database.transaction(allowed.row_scope) as conn:
            request = await requests.request_credits(conn, allowed, ask, now=info.context.now)
    except request_rules.RequestPendingError as error:
        pending = CreditRequest.of(info, error.request)
        return RequestPending(message=error.message, code=error.code, path=["input"], request=pending)
    except request_rules.CoolingDownError as error:
        return CoolingDown(message=error.message, code=error.code, path=["input"], until=error.until)
    except CreditError as error:
        return InvalidInput.of(error, "input")
    info.context.forget()
    return RequestCreditsSuccess(request=CreditRequest.of(info, request))


def _decider(info: Info) -> Authority:
    return authority(info.context.principal, Permission.REQUESTS_DECIDE)


async def _approve(
    info: Info, input: ApproveCreditRequestInput
) -> DecideCreditRequestSuccess | RequestEnded | InvalidInput:
    allowed = _decider(info)
    try:
        approval = input.approval()
        async with info.context.database.transaction(allowed.row_scope) as conn:
            request = await requests.approve_request(conn, allowed, approval, now=info.context.now)
    except CreditError as error:
        return _refused(info, error)
    info.context.forget()
    return DecideCreditRequestSuccess(request=CreditRequest.of(info, request))


async def _deny(info: Info, input: DenyCreditRequestInput) -> DecideCreditRequestSuccess | RequestEnded | InvalidInput:
    allowed = _decider(info)
    try:
        id_ = decode_id_of("CreditRequest", input.id)
        async with info.context.database.transaction(allowed.row_scope) as conn:
            request = await requests.deny_request(conn, allowed, id_, note=input.note, now=info.context.now)
    except CreditError as error:
        return _refused(info, error)
    info.context.forget()
    return DecideCreditRequestSuccess(request=CreditRequest.of(info, request))


async def _cancel(
    info: Info, input: CancelCreditRequestInput
) -> CancelCreditRequestSuccess | RequestEnded | InvalidInput:
    allowed = authority(info.context.principal, Permission.CREDITS_REQUEST)
    try:
        id_ = decode_id_of("CreditRequest", input.id)
        async with info.context.database.transaction(allowed.row_scope) as conn:
            request = await requests.cancel_request(conn, allowed, id_, now=info.context.now)
    except CreditError as error:
        return _refused(info, error)
    info.context.forget()
    return CancelCreditRequestSuccess(request=CreditRequest.of(info, request))


@strawberry.type(description="The ways in for asking for more credits, and for deciding about it.")
class RequestMutations:
    """A part of Mutation."""

    @strawberry.mutation(
        description="Ask for more credits than one's own limit gives. One request at a time waits for each limit. Where"
        " the workspace allows it, a small amount is approved at once.",
        extensions=[requires(Permission.CREDITS_REQUEST)],
    )
    async def request_credits(
        self, info: Info, input: Annotated[RequestCreditsInput, strawberry.argument(description="What is asked for.")]
    ) -> RequestCreditsResult:
        """Ask for more."""
        return await _request_credits(info, input)

    @strawberry.mutation(
        description="Approve a request, as it was made or with another amount and duration. The user's limit is raised,"
        " never lowered, and the request ends, or neither. Nobody approves their own request; a group manager approves"
        " those of their groups, up to the groups' ceiling.",
        extensions=[requires(Permission.REQUESTS_DECIDE)],
    )
    async def approve_credit_request(
        self, info: Info, input: Annotated[ApproveCreditRequestInput, strawberry.argument(description="The decision.")]
    ) -> DecideCreditRequestResult:
        """Approve a request."""
        return await _approve(info, input)

    @strawberry.mutation(
        description="Deny a request. Nobody denies their own, and a group manager those of their groups.",
        extensions=[requires(Permission.REQUESTS_DECIDE)],
    )
    async def deny_credit_request(
        self, info: Info, input: Annotated[DenyCreditRequestInput, strawberry.argument(description="The decision.")]
    ) -> DecideCreditRequestResult:
        """Deny a request."""
        return await _deny(info, input)

    @strawberry.mutation(
        description="Take a request of one's own back.", extensions=[requires(Permission.CREDITS_REQUEST)]
    )
    async def cancel_credit_request(
        self, info: Info, input: Annotated[CancelCreditRequestInput, strawberry.argument(description="Which one.")]
    ) -> CancelCreditRequestResult:
        """Take a request back."""
        return await _cancel(info, input)
