"""Requests for more credits: what is asked, what became of it, and the lists that they are read in."""

from collections.abc import Awaitable
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import strawberry

from creditdesk.credits import request_lists, request_rules
from creditdesk.credits.amounts import Credits
from creditdesk.credits.limits import Limited
from creditdesk.graphql.connections import After, Connection, First, connection_of, window_of
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Cadence, LimitScope, RequestDurationKind, RequestState
from creditdesk.graphql.ids import encode_id
from creditdesk.graphql.limits import LimitValue, shown_value
from creditdesk.graphql.nodes import Node, found_by, later, node_of
from creditdesk.graphql.people import decoded_ids

_ORDER = "REQUESTS"


@strawberry.type(description="How long more may be used.")
class RequestDuration:
    """A kind, and for one of them a day."""

    kind: RequestDurationKind = strawberry.field(description="What it lasts by.")
    until: date | None = strawberry.field(description="For UNTIL: the last day, which is included.")


@strawberry.type(
    description="Somebody asks for more credits than their limit gives them. It waits for a decision, and ends once."
)
class CreditRequest(Node):
    """A request that the caller may see."""

    amount: Credits = strawberry.field(description="How much more is asked for, in each period that it lasts.")
    reason: str = strawberry.field(description="Why, in the asker's words.")
    duration: RequestDuration = strawberry.field(description="How long more is asked for.")
    product: str | None = strawberry.field(
        description="The product whose limit is to be raised; null for the limit of all usage."
    )
    model: str | None = strawberry.field(description="The product's model whose limit is to be raised; null for any.")
    cadence: Cadence = strawberry.field(description="The length of the periods that the limit counts in.")
    state: RequestState = strawberry.field(description="What has become of it, as of now.")
    limit_then: LimitValue = strawberry.field(description="The limit that applied when it was asked.")
    used_then: Credits = strawberry.field(description="What was used of that limit in the period, when it was asked.")
    created_at: datetime = strawberry.field(description="When it was asked.")
    expires_at: datetime = strawberry.field(description="Until when it waits for a decision.")
    decided_at: datetime | None = strawberry.field(
        description="When it was approved, denied or cancelled; null while it is pending, and if it expired."
    )
    automatic: bool = strawberry.field(description="Whether it was approved by the workspace's rule, and by nobody.")
    decision_note: str | None = strawberry.field(description="What was said to the decision.")
    granted_amount: Credits | None = strawberry.field(
        description="How much more was granted on top of `limitThen`; null unless it was approved."
    )
    granted_until: datetime | None = strawberry.field(
        description="When what was granted ends; null if it lasts, or nothing was granted."
    )
    request: strawberry.Private[request_rules.CreditRequest]

    @classmethod
    def of(cls, info: Info, stored: request_rules.CreditRequest) -> "CreditRequest":
        """Show a request as it is now."""
        request = stored.at(info.context.now)
        return cls(
            id=encode_id("CreditRequest", request.id),
            amount=Credits(request.amount),
            reason=request.reason,
            duration=RequestDuration(kind=request.duration, until=request.last_day(info.context.zone)),
            product=request.shape.product or None,
            model=request.shape.model or None,
            cadence=request.shape.cadence,
            state=request.state,
            limit_then=shown_value(Limited(request.limit_then)),
            used_then=Credits(request.used_then),
            created_at=request.created_at,
            expires_at=request.expires_at,
            decided_at=request.decided_at,
            automatic=request.automatic,
            decision_note=request.decision_note,
            granted_amount=None if request.granted_amount is None else Credits(request.granted_amount),
            granted_until=request.granted_until,
            request=request,
        )

    @strawberry.field(graphql_type=later("User"), description="Who asks.")
    async def user(self, info: Info) -> Node | None:
        """Load who asks."""
        return await node_of(info, "User", self.request.user_id)

    @strawberry.field(
        graphql_type=later("User") | None,
        description="Who approved, denied or cancelled it; null if nobody did, if that was a program, or if the caller"
        " may not see them.",
    )
    async def decided_by(self, info: Info) -> Node | None:
        """Load who decided."""
        return await node_of(info, "User", self.request.decided_by)

    @strawberry.field(
        graphql_type=later("CreditLimit") | None,
        description="The limit that gives what was granted: the one that the approval set, or the raise that covered"
        " the request. Null if nothing was granted, if it is no more, or if the caller may not see it.",
    )
    async def limit(self, info: Info) -> Node | None:
        """Load the limit."""
        return await node_of(info, "CreditLimit", self.request.limit_id)


@found_by("CreditRequest")
async def request_of(info: Info, id_: UUID | None) -> CreditRequest | None:
    """Return a request that the caller may see."""
    request = await info.context.loaders.requests.load(id_) if id_ else None
    return CreditRequest.of(info, request) if request else None


@strawberry.input(
    description="What requests a list is narrowed to. Every part that is given must fit; an empty list fits nothing."
)
class CreditRequestFilter:
    """Parts that are not given do not narrow."""

    states: list[RequestState] | None = strawberry.field(
        default=None, description="Requests that are in one of these states now."
    )
    users: list[strawberry.ID] | None = strawberry.field(default=None, description="Requests of these users.")
    groups: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Requests of users who are in one of these groups now."
    )
    product: str | None = strawberry.field(
        default=None, description="Requests to raise limits of this product; an empty text: limits of all usage."
    )
    created_from: datetime | None = strawberry.field(default=None, description="Requests made then or later.")
    created_to: datetime | None = strawberry.field(default=None, description="Requests made before then.")

    def wanted(self) -> request_lists.RequestFilter:
        """Return the filter; raise InvalidIdError or InvalidInputError."""
        states = None if self.states is None else tuple(state for state in RequestState if state in self.states)
        return request_lists.RequestFilter(
            states=states,
            users=decoded_ids("User", self.users),
            groups=decoded_ids("Group", self.groups),
            product=self.product,
            created_from=self.created_from,
            created_to=self.created_to,
        )


Narrowed = Annotated[
    CreditRequestFilter | None, strawberry.argument(description="What requests to narrow the list to.")
]


async def _page(
    info: Info,
    scope: LimitScope,
    scope_id: UUID,
    page: tuple[int | None, str | None],
    filter_: CreditRequestFilter | None,
) -> Connection[CreditRequest]:
    """Return a page of the requests of a user, a group's members, or the workspace."""
    loaders, window = info.context.loaders, window_of(_ORDER, *page)
    wanted = filter_.wanted() if filter_ else request_lists.RequestFilter()

    def count() -> Awaitable[int]:
        return loaders.request_counts.load((scope, wanted), scope_id)

    found = await loaders.request_pages.load((scope, wanted, window), scope_id)
    return connection_of(found, _ORDER, window, show=lambda one: CreditRequest.of(info, one), count=count)


@strawberry.type(description="The requests of a user.")
class UserRequests:
    """A part of User."""

    user_id: strawberry.Private[UUID]

    @strawberry.field(description="What the user has asked for, the newest first.")
    async def requests(
        self, info: Info, first: First = None, after: After = None, filter: Narrowed = None
    ) -> Connection[CreditRequest] | None:
        """Load a page of the user's requests."""
        return await _page(info, LimitScope.USER, self.user_id, (first, after), filter)


@strawberry.type(description="The requests of a group's members.")
class GroupRequests:
    """A part of Group."""

    group_id: strawberry.Private[UUID]

    @strawberry.field(
        description="What those who are in the group now have asked for, the newest first; null if the caller neither"
        " sees everyone's spend nor manages the group."
    )
    async def requests(
        self, info: Info, first: First = None, after: After = None, filter: Narrowed = None
    ) -> Connection[CreditRequest] | None:
        """Load a page of the members' requests."""
        if not info.context.permitted.may_read_group(self.group_id):
            return None
        return await _page(info, LimitScope.GROUP, self.group_id, (first, after), filter)


@strawberry.type(description="The requests of a workspace.")
class WorkspaceRequests:
    """A part of Workspace."""

    @strawberry.field(
        description="What was asked for, the newest first; null if the caller neither sees everyone's spend nor manages"
        " a group. A group manager's are those of the members of their groups."
    )
    async def requests(
        self, info: Info, first: First = None, after: After = None, filter: Narrowed = None
    ) -> Connection[CreditRequest] | None:
        """Load a page of requests."""
        permitted = info.context.permitted
        if not permitted.everyone and not permitted.managed_groups:
            return None
        return await _page(info, LimitScope.WORKSPACE, permitted.workspace_id, (first, after), filter)
