"""Holds: credits set aside before a use, and the budget that stood in the way of one."""

from datetime import datetime
from uuid import UUID

import strawberry

from creditdesk.auth.policy import allows
from creditdesk.credits import hold_lists, hold_rules
from creditdesk.credits.amounts import Credits
from creditdesk.credits.authorizing import Authorization
from creditdesk.credits.errors import CreditError
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Cadence, HoldState, LimitScope, Permission
from creditdesk.graphql.errors import UserError
from creditdesk.graphql.ids import encode_id
from creditdesk.graphql.limits import TARGETS, CreditLimit, limit_of
from creditdesk.graphql.nodes import Node, found_by, later, node_of


@strawberry.type(description="Credits set aside before a use. It ends once: settled, released or expired.")
class Hold(Node):
    """A hold that the caller may see."""

    source: str = strawberry.field(description="Who placed it, such as the name of a gateway.")
    external_id: str = strawberry.field(
        description="Its id at the source, which the usage event that it is settled with has as well."
    )
    product: str = strawberry.field(description="The AI product.")
    model: str = strawberry.field(description="The model.")
    amount: Credits = strawberry.field(description="How much was set aside.")
    state: HoldState = strawberry.field(description="What has become of it.")
    placed_at: datetime = strawberry.field(
        description="When it was placed. What it is settled with counts as used at this moment."
    )
    expires_at: datetime = strawberry.field(description="When it stops counting if nobody ends it.")
    ended_at: datetime | None = strawberry.field(description="When it was settled or released.")
    settled_amount: Credits | None = strawberry.field(description="What was really used; null until it is settled.")
    overage: Credits = strawberry.field(
        description='How much of what was used was not set aside any more, or never was; "0" if all of it was.'
    )
    hold: strawberry.Private[hold_rules.Hold]

    @classmethod
    def of(cls, hold: hold_rules.Hold) -> "Hold":
        """Show a hold."""
        return cls(
            id=encode_id("Hold", hold.id),
            source=hold.source,
            external_id=hold.external_id,
            product=hold.product,
            model=hold.model,
            amount=Credits(hold.amount),
            state=hold.state,
            placed_at=hold.placed_at,
            expires_at=hold.expires_at,
            ended_at=hold.ended_at,
            settled_amount=None if hold.settled_amount is None else Credits(hold.settled_amount),
            overage=Credits(hold.overage),
            hold=hold,
        )

    @strawberry.field(
        graphql_type=later("User") | None, description="Whose credits they are; null if the caller may not see them."
    )
    async def user(self, info: Info) -> Node | None:
        """Load the user."""
        return await node_of(info, "User", self.hold.user_id)

    @strawberry.field(
        description="The soft limits that it went past when it was placed, as far as the caller may see them."
    )
    async def passed_soft_limits(self, info: Info) -> list[CreditLimit]:
        """Load the limits."""
        limits = [await limit_of(info, id_) for id_ in self.hold.passed_soft]
        return [limit for limit in limits if limit]


@found_by("Hold")
async def hold_of(info: Info, id_: UUID | None) -> Hold | None:
    """Return a hold that the caller may see: their own, of whom they see, or any where they place them."""
    if id_ is None:
        return None
    context = info.context
    if allows(context.principal, Permission.USAGE_WRITE):
        found = await context.desk.find(context.principal.workspace.id, id_)
    else:
        found = await hold_lists.hold_of_caller(context.reader, context.permitted, id_)
    return Hold.of(found.at(context.now)) if found else None


@strawberry.type(description="The hard budget with the least left for a use.")
class BindingBudget:
    """What binds a spend."""

    applies_to: LimitScope = strawberry.field(description="Whether it is a user's, a group's or the workspace's.")
    product: str | None = strawberry.field(description="The product whose use counts; null if all usage does.")
    model: str | None = strawberry.field(description="The product's model whose use counts; null if any does.")
    cadence: Cadence = strawberry.field(description="How long its period is.")
    limit: Credits = strawberry.field(description="How much may be used in the period.")
    remaining: Credits = strawberry.field(description="How much of it is left.")
    resets_at: datetime = strawberry.field(description="When the next period begins.")
    budget: strawberry.Private[hold_rules.BindingBudget]

    @classmethod
    def of(cls, budget: hold_rules.BindingBudget) -> "BindingBudget":
        """Show a budget."""
        return cls(
            applies_to=budget.scope,
            product=budget.shape.product or None,
            model=budget.shape.model or None,
            cadence=budget.shape.cadence,
            limit=Credits(budget.amount),
            remaining=Credits(budget.remaining),
            resets_at=budget.resets_at,
            budget=budget,
        )

    @strawberry.field(
        description="The user, the group or the workspace whose it is; null if the caller may not see them."
    )
    async def target(self, info: Info) -> Node | None:
        """Load whose it is."""
        return await node_of(info, TARGETS[self.budget.scope], self.budget.scope_id)


@strawberry.type(description="Nothing was held: a budget has not enough left for the whole of it.")
class BudgetExceeded(UserError):  # noqa: N818 - a type of the schema, not an exception
    """The refusal that a gateway passes on."""

    budget: BindingBudget = strawberry.field(description="The budget that stood in the way.")


@strawberry.type(description="The hold cannot be placed, settled or released; nothing was changed.")
class HoldRefused(UserError):  # noqa: N818 - a type of the schema, not an exception
    """Why, by its code."""


@strawberry.type(description="What placing a hold would come to now.")
class AuthorizationAnswer:
    """The outcome of a dry run."""

    allowed: bool = strawberry.field(description="Whether the hold would be placed.")
    amount: Credits = strawberry.field(description="How much it would be for.")
    budget: BindingBudget | None = strawberry.field(
        description="The budget with the least left; null where no hard limit applies."
    )

    @classmethod
    def of(cls, found: Authorization) -> "AuthorizationAnswer":
        """Show the outcome."""
        budget = BindingBudget.of(found.budget) if found.budget else None
        return cls(allowed=found.allowed, amount=Credits(found.amount), budget=budget)


def refused(error: CreditError) -> BudgetExceeded | HoldRefused:
    """Show why a hold was not placed, settled or released."""
    if isinstance(error, hold_rules.BudgetExceededError):
        return BudgetExceeded(message=error.message, code=error.code, budget=BindingBudget.of(error.budget))
    return HoldRefused(message=error.message, code=error.code)
