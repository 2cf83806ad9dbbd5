"""Usage as it is recorded: what came together since the last time, as far as the caller may see it."""

from collections.abc import Sequence
from uuid import UUID

import strawberry

from creditdesk.credits.amounts import Credits
from creditdesk.credits.changes import Use
from creditdesk.graphql.context import Context, Info
from creditdesk.graphql.figures import known_group
from creditdesk.graphql.nodes import Node, later, node_of
from creditdesk.graphql.scalars import BigInt

MOST_ROWS = 100


@strawberry.type(description="What one user used of one product and model, charged to one group, since the last tick.")
class UsageTickRow:
    """A row of a tick."""

    product: str = strawberry.field(description="The product.")
    model: str = strawberry.field(description="The product's model.")
    credits: Credits = strawberry.field(description="Credits, corrections taken into account: it may be below 0.")
    requests: BigInt = strawberry.field(description="How many uses. A correction is not a use.")
    use: strawberry.Private[Use]

    @classmethod
    def of(cls, use: Use) -> "UsageTickRow":
        """Show what was used."""
        return cls(
            product=use.product,
            model=use.model,
            credits=Credits(use.credits),
            requests=BigInt(use.requests),
            use=use,
        )

    @strawberry.field(
        graphql_type=later("User") | None,
        description="The user; null where a group of the caller's paid for somebody whom they may not see.",
    )
    async def user(self, info: Info) -> Node | None:
        """Load the user."""
        return await node_of(info, "User", self.use.user_id)

    @strawberry.field(
        graphql_type=later("Group") | None,
        description="The group that was charged; null for none, and for one that the caller may not see.",
    )
    async def group(self, info: Info) -> Node | None:
        """Load the group."""
        return await node_of(info, "Group", known_group(self.use.group_id))


@strawberry.type(description="All the rows of a tick beyond the first ones, as one.")
class UsageTickRest:
    """The rest."""

    credits: Credits = strawberry.field(description="Credits, corrections taken into account.")
    requests: BigInt = strawberry.field(description="How many uses.")
    row_count: int = strawberry.field(description="How many rows these are.")


@strawberry.type(
    description="What was recorded since the last tick, as far as the caller may see it. Its rows and their rest add up"
    " to it, exactly."
)
class UsageTick:
    """What came together."""

    credits: Credits = strawberry.field(description="Credits, corrections taken into account.")
    requests: BigInt = strawberry.field(description="How many uses. A correction is not a use.")
    rows: list[UsageTickRow] = strawberry.field(
        description="Who used what: those with the most credits first, at most 100."
    )
    other: UsageTickRest | None = strawberry.field(
        description="The rows beyond the first ones; null if there are none."
    )

    @classmethod
    def of(cls, uses: Sequence[Use]) -> "UsageTick":
        """Show what was used."""
        ordered = sorted(uses, key=lambda use: (-use.credits, use.product, use.model, use.user_id))
        rest = ordered[MOST_ROWS:]
        return cls(
            credits=Credits(sum(use.credits for use in uses)),
            requests=BigInt(sum(use.requests for use in uses)),
            rows=[UsageTickRow.of(use) for use in ordered[:MOST_ROWS]],
            other=UsageTickRest(
                credits=Credits(sum(use.credits for use in rest)),
                requests=BigInt(sum(use.requests for use in rest)),
                row_count=len(rest),
            )
            if rest
            else None,
        )


async def visible_uses(context: Context, uses: Sequence[Use]) -> list[Use]:
    """Return what the caller may see of this: everybody's, their own, and what their groups paid for or used."""
    permitted = context.permitted
    if permitted.everyone:
        return list(uses)
    visible: set[UUID] = {permitted.user_id} if permitted.user_id else set()
    if permitted.managed_groups:
        # Under the caller's own permissions: who is in their groups now.
        asked = list({use.user_id for use in uses})
        found = await context.loaders.users.load_many(asked)
        visible |= {user.id for user in found if user is not None}
    return [use for use in uses if use.user_id in visible or use.group_id in permitted.managed_groups]
