"""Limits: the rules that say how much may be used, and what they allow."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from creditdesk.credits import limit_lists, limits
from creditdesk.credits.amounts import Credits
from creditdesk.graphql.connections import After, Connection, First, connection_of, window_of
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Cadence, Enforcement, LimitKind, LimitScope
from creditdesk.graphql.ids import decode_id_of, encode_id
from creditdesk.graphql.nodes import Node, found_by, later, node_of

_ORDER = "LIMITS"
TARGETS = {LimitScope.USER: "User", LimitScope.GROUP: "Group", LimitScope.WORKSPACE: "Workspace"}
"""The type of what a limit is set for."""


@strawberry.type(description="A limit of so much and no more.")
class LimitedTo:
    """An amount."""

    amount: Credits = strawberry.field(description="How much may be used in a period; 0 blocks everything.")


@strawberry.type(description="A limit that says: as much as anyone likes.")
class Unlimited:
    """No amount."""

    nothing: bool | None = strawberry.field(
        name="_", default=None, description="Always null: GraphQL has no type without a field."
    )


LimitValue = Annotated[
    LimitedTo | Unlimited, strawberry.union("LimitValue", description="How much a limit allows in a period.")
]


def shown_value(value: limits.LimitValue) -> LimitedTo | Unlimited:
    """Show how much a limit allows."""
    return LimitedTo(amount=Credits(value.amount)) if isinstance(value, limits.Limited) else Unlimited()


@strawberry.type(
    description="A rule: how much may be used per period, by whom and of what. A user may see those that apply."
)
class CreditLimit(Node):
    """A limit that the caller may see."""

    applies_to: LimitScope = strawberry.field(description="Whether it is set for a user, a group or the workspace.")
    kind: LimitKind = strawberry.field(description="Whether each user has this much, or all share it.")
    value: LimitValue = strawberry.field(description="How much may be used in a period.")
    product: str | None = strawberry.field(description="The product whose use counts; null if all usage does.")
    model: str | None = strawberry.field(description="The product's model whose use counts; null if any does.")
    cadence: Cadence = strawberry.field(description="How long a period is, and where it starts.")
    enforcement: Enforcement = strawberry.field(description="What happens where the limit is reached.")
    starts_at: datetime = strawberry.field(description="From when on the limit is in force.")
    expires_at: datetime | None = strawberry.field(
        description="From when on it is in force no more, and what it went before applies again; null if it lasts."
    )
    temporary: bool = strawberry.field(
        description="Whether it goes before a lasting limit of the same kind, and leaves that one untouched."
    )
    set_at: datetime = strawberry.field(description="When it was set, or last changed.")
    version: int = strawberry.field(
        description="How often it was set, from 1: for `expectedVersion`, so that no change of somebody else is lost."
    )
    rule: strawberry.Private[limits.Limit]

    @classmethod
    def of(cls, limit: limits.Limit) -> "CreditLimit":
        """Show a limit."""
        return cls(
            id=encode_id("CreditLimit", limit.id),
            applies_to=limit.scope,
            kind=limit.kind,
            value=shown_value(limit.value),
            product=limit.shape.product or None,
            model=limit.shape.model or None,
            cadence=limit.shape.cadence,
            enforcement=limit.enforcement,
            starts_at=limit.starts_at,
            expires_at=limit.expires_at,
            temporary=limit.temporary,
            set_at=limit.set_at,
            version=limit.version,
            rule=limit,
        )

    @strawberry.field(
        description="The user, the group or the workspace that it is set for; null if the caller may not see them."
    )
    async def target(self, info: Info) -> Node | None:
        """Load what it is set for."""
        return await node_of(info, TARGETS[self.rule.scope], self.rule.scope_id)

    @strawberry.field(
        graphql_type=later("User") | None,
        description="Who set it; null if that was a program, or the caller may not know.",
    )
    async def set_by(self, info: Info) -> Node | None:
        """Load who set it."""
        known = limit_lists.sees_details(info.context.limits_permitted, self.rule)
        return await node_of(info, "User", self.rule.set_by) if known else None

    @strawberry.field(description="Why it was set; null if nobody said, or the caller may not know.")
    def reason(self, info: Info) -> str | None:
        """Show the reason to whoever may know it."""
        return self.rule.reason if limit_lists.sees_details(info.context.limits_permitted, self.rule) else None


@found_by("CreditLimit")
async def limit_of(info: Info, id_: UUID | None) -> CreditLimit | None:
    """Return a limit that the caller may see."""
    limit = await info.context.loaders.limits.load(id_) if id_ else None
    return CreditLimit.of(limit) if limit else None


@strawberry.input(description="What limits a list is narrowed to; every part that is given must fit.")
class LimitFilter:
    """Parts that are not given do not narrow."""

    applies_to: LimitScope | None = strawberry.field(
        default=None, description="Limits that are set for users, for groups or for the workspace."
    )
    group: strawberry.ID | None = strawberry.field(default=None, description="Limits that are set for this group.")
    user: strawberry.ID | None = strawberry.field(default=None, description="Limits that are set for this user.")
    product: str | None = strawberry.field(
        default=None, description="Limits of this product's use; an empty text: those of all usage."
    )
    cadence: Cadence | None = strawberry.field(default=None, description="Limits for periods of this length.")

    def wanted(self) -> limit_lists.LimitFilter:
        """Return the filter; raise InvalidIdError."""
        return limit_lists.LimitFilter(
            scope=self.applies_to,
            group_id=decode_id_of("Group", self.group) if self.group else None,
            user_id=decode_id_of("User", self.user) if self.user else None,
            product=self.product,
            cadence=self.cadence,
        )


@strawberry.type(description="The limits of a workspace.")
class WorkspaceLimits:
    """A part of Workspace."""

    @strawberry.field(
        description="The limits that are in force or will be, the one that was set last first; null if the caller sees"
        " neither everyone's spend nor may set limits. A group manager's are those of their groups and of the members."
    )
    async def limits(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        filter: Annotated[
            LimitFilter | None, strawberry.argument(description="What limits to narrow the list to.")
        ] = None,
    ) -> Connection[CreditLimit] | None:
        """Load a page of limits."""
        context, wanted = info.context, filter.wanted() if filter else limit_lists.LimitFilter()
        conn, permitted, now = context.limits_reader, context.limits_permitted, context.now
        if not permitted.everyone and not permitted.managed_groups:
            return None
        window = window_of(_ORDER, first, after)
        page = await limit_lists.limits_page(conn, permitted, wanted, window=window, now=now)
        count = lambda: limit_lists.limits_count(conn, permitted, wanted, now=now)  # noqa: E731
        return connection_of(page, _ORDER, window, show=CreditLimit.of, count=count)


@strawberry.type(description="The limits of a group.")
class GroupLimits:
    """A part of Group."""

    group_id: strawberry.Private[UUID]

    @strawberry.field(
        description="The limit in force that the group sets for each of its members, for all usage in a calendar"
        " month; null if it sets none. A member's budget says which limit applies to them."
    )
    async def member_limit(self, info: Info) -> CreditLimit | None:
        """Load the limit for each member."""
        limit = await info.context.loaders.member_limits.load(self.group_id)
        return CreditLimit.of(limit) if limit else None
