"""Budgets: limits applied to users, and to the groups and the workspace that share them."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from creditdesk.credits import budget_rules
from creditdesk.credits.amounts import Credits
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.periods import Period as ResolvedPeriod
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import BudgetStatus, Cadence, Enforcement, ForecastMethod
from creditdesk.graphql.limits import CreditLimit, LimitValue, shown_value
from creditdesk.graphql.nodes import Node, later, node_of

_SCOPES = {LimitScope.USER: "User", LimitScope.GROUP: "Group", LimitScope.WORKSPACE: "Workspace"}
_UNTOLD = (
    " Null for a shared budget whose users the caller may not see: it binds the caller, but how much others use is"
    " theirs to know."
)

BudgetScope: Any = Annotated[
    later("User") | later("Group") | later("Workspace"),
    strawberry.union("BudgetScope", description="Whose budget it is: one user's, or of all who share it."),
]


@strawberry.type(description="The span of time that a budget counts in, cut at midnights of the workspace's zone.")
class Period:
    """A half-open span."""

    cadence: Cadence = strawberry.field(description="How long periods are, and where they start.")
    start: datetime = strawberry.field(description="The first moment that is in the period.")
    end: datetime = strawberry.field(description="The first moment after the period: the next one's start.")

    @classmethod
    def of(cls, period: ResolvedPeriod) -> "Period":
        """Show a period."""
        return cls(cadence=period.cadence, start=period.start, end=period.end)


@strawberry.type(description="What a budget's period comes to if people go on as they did.")
class Forecast:
    """A projection."""

    projected: Credits = strawberry.field(description="How much will have been used when the period ends.")
    runs_out_on: date | None = strawberry.field(
        description="The first day by whose end more is expected to be used than the limit; today where nothing is left"
        " already, null where the limit lasts."
    )
    method: ForecastMethod = strawberry.field(description="How it was forecast.")


@strawberry.type(
    description="A limit applied: how much may be used in the current period, how much was, and what is left."
)
class Budget:
    """A budget of the current period."""

    limit: LimitValue = strawberry.field(description="How much may be used in the period.")
    source: CreditLimit | None = strawberry.field(
        description="The rule that the limit comes from; null where none is set anywhere, and where the caller may not"
        " see whose rule it is."
    )
    candidates: list[CreditLimit] = strawberry.field(
        description="The other rules in force that the source goes before, best first, as far as the caller may see"
        " them."
    )
    product: str | None = strawberry.field(description="The product whose use counts; null if all usage does.")
    model: str | None = strawberry.field(description="The product's model whose use counts; null if any does.")
    used: Credits | None = strawberry.field(
        description="What was used since the period began, also before the limit was set." + _UNTOLD
    )
    held: Credits | None = strawberry.field(description="What is set aside by holds now." + _UNTOLD)
    remaining: Credits | None = strawberry.field(
        description='What may still be used or held, never below "0"; null where there is no limit.'
    )
    over_by: Credits | None = strawberry.field(
        description='By how much more was used than the limit allows; "0" where it is kept.' + _UNTOLD
    )
    period: Period = strawberry.field(description="The current period.")
    resets_at: datetime = strawberry.field(description="When the next period starts, and nothing of it is used.")
    enforcement: Enforcement | None = strawberry.field(
        description="What happens where the limit is reached; null where no rule is set anywhere."
    )
    status: BudgetStatus = strawberry.field(description="How the budget stands, by what is used and held.")
    binding: bool = strawberry.field(
        description="Whether this is the one that stops first: of all budgets of the same user, or that the same group"
        " or the workspace shares, the hard one with the least left. Exactly one is, wherever a hard limit applies."
    )
    found: strawberry.Private[budget_rules.Budget]

    @classmethod
    def of(cls, budget: budget_rules.Budget) -> "Budget":
        """Show a budget."""
        return cls(
            limit=shown_value(budget.value),
            source=CreditLimit.of(budget.source) if budget.source else None,
            candidates=[CreditLimit.of(rule) for rule in budget.beaten],
            product=budget.shape.product or None,
            model=budget.shape.model or None,
            used=_shown(budget.used),
            held=_shown(budget.held),
            remaining=_shown(budget.remaining),
            over_by=_shown(budget.over_by),
            period=Period.of(budget.period),
            resets_at=budget.resets_at,
            enforcement=budget.enforcement,
            status=budget.status,
            binding=budget.binding,
            found=budget,
        )

    @strawberry.field(
        graphql_type=BudgetScope | None,
        description="The user whose budget it is, or the group or the workspace that shares it; null where a group pays"
        " for the caller without their being in it.",
    )
    async def scope(self, info: Info) -> Node | None:
        """Load whose budget it is."""
        return await node_of(info, _SCOPES[self.found.scope], self.found.scope_id)

    @strawberry.field(description="What the period comes to." + _UNTOLD)
    async def forecast(self, info: Info) -> Forecast | None:
        """Load the forecast, together with those of the other budgets that are asked for one."""
        forecast = await info.context.loaders.forecasts.load(self.found)
        if forecast is None:
            return None
        return Forecast(
            projected=Credits(forecast.projected),
            runs_out_on=forecast.runs_out_on,
            method=ForecastMethod.WEEKDAY_MEANS,
        )


def _shown(amount: int | None) -> Credits | None:
    return None if amount is None else Credits(amount)


@strawberry.type(description="The budgets of a user.")
class UserBudgets:
    """A part of User."""

    user_id: strawberry.Private[UUID]

    @strawberry.field(
        description="The user's own budget for all usage: the monthly one if a monthly limit applies or none at all"
        " does, else that of the longest period with a limit."
    )
    async def budget(self, info: Info) -> Budget | None:
        """Load the first budget to look at."""
        budgets = await info.context.loaders.budgets.load(self.user_id)
        main = budget_rules.main_budget(budgets, LimitScope.USER)
        return Budget.of(main) if main else None

    @strawberry.field(
        description="Every budget that a use of theirs may count in: their own, and those that their home group and the"
        " workspace share, as far as the caller may see them. The one that stops first is marked."
    )
    async def budgets(self, info: Info) -> list[Budget]:
        """Load all budgets."""
        return [Budget.of(budget) for budget in await info.context.loaders.budgets.load(self.user_id)]


@strawberry.type(description="The budget of a group.")
class GroupBudget:
    """A part of Group."""

    group_id: strawberry.Private[UUID]

    @strawberry.field(
        description="What may be charged to the group, by all together, for all usage: the monthly budget, else that of"
        " the longest period with a limit. Null where none is set, and where the group neither pays for the caller nor"
        " may they see its usage."
    )
    async def budget(self, info: Info) -> Budget | None:
        """Load the budget that the group shares."""
        budget = await info.context.loaders.group_budgets.load(self.group_id)
        return Budget.of(budget) if budget else None


@strawberry.type(description="The budget of the workspace.")
class WorkspaceBudget:
    """A part of Workspace."""

    @strawberry.field(
        description="What may be used in the workspace, by everybody together, for all usage: the monthly budget, else"
        " that of the longest period with a limit. Null where none is set, and for a program that may not see usage."
    )
    async def budget(self, info: Info) -> Budget | None:
        """Load the budget that everybody shares."""
        budget = await info.context.loaders.workspace_budgets.load(info.context.permitted.workspace_id)
        return Budget.of(budget) if budget else None
