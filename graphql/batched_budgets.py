"""Budgets of many users and groups at once, left as the rules made them wherever the answer can be read from that."""

from collections.abc import Sequence
from uuid import UUID

from creditdesk.credits import budget_rules, budgets
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.main_budgets import MainBudget
from creditdesk.graphql.budgets import Period
from creditdesk.graphql.context import Info
from creditdesk.graphql.execution.plans import Shape
from creditdesk.graphql.limits import CreditLimit, shown_value


async def read_main_budgets(users: Sequence[UUID], info: Info) -> list[MainBudget | None]:
    """Read each user's main budget, and nothing of the others that they have: which one binds is not known."""
    return await info.context.loaders.main_budgets_together.ask(None, users)


async def read_first_budgets(users: Sequence[UUID], info: Info) -> list[budget_rules.Budget | None]:
    """Read all budgets of each user, and return the main one."""
    found = await read_budgets(users, info)
    return [budget_rules.main_budget(one, LimitScope.USER) for one in found]


async def read_budgets(users: Sequence[UUID], info: Info) -> list[list[budget_rules.Budget]]:
    """Read all budgets of each user."""
    return await info.context.loaders.budgets_together.ask(None, users)


async def read_group_budgets(groups: Sequence[UUID], info: Info) -> list[budget_rules.Budget | None]:
    """Read the budget that each group shares."""
    context = info.context
    ids = list(dict.fromkeys(groups))
    found = await budgets.budget_of_groups(context.reader, context.permitted, ids, now=context.now)
    return [found.get(group_id) for group_id in groups]


def _fields(budget: str) -> dict[str, str]:
    reads = {
        "limit": "shown_value(s.value)",
        "source": "CreditLimit.of(s.source) if s.source is not None else None",
        "candidates": "[CreditLimit.of(rule) for rule in s.beaten]",
        "product": "s.shape.product or None",
        "model": "s.shape.model or None",
        "used": "s.used",
        "held": "s.held",
        "remaining": "s.remaining",
        "overBy": "s.over_by",
        "period": "Period.of(s.period)",
        "resetsAt": "s.resets_at",
        "enforcement": "s.enforcement",
        "status": "s.status",
        "binding": "s.binding",
    }
    return {name: read.replace("s.", f"{budget}.") for name, read in reads.items()}


_NAMES = {"shown_value": shown_value, "CreditLimit": CreditLimit, "Period": Period}
BUDGET = Shape(_fields("s"), _NAMES)
MAIN_BUDGET = Shape(
    {name: read for name, read in _fields("s.whole").items() if name != "binding"}
    | {"limit": "shown_value(s.limit)", "used": "s.used", "held": "s.held"},
    _NAMES,
)
