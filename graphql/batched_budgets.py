"""Budgets of many users and groups at once, left as the rules made them wherever the answer can be read from that."""

from collections.abc import Sequence
from uuid import UUID

from creditdesk.credits.budget_rules import Budget, main_budget
from creditdesk.credits.budgets import groups_budgets, users_budgets
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.main_budgets import MainBudget, main_budgets_of_users
from creditdesk.db.lookups import Lookup, found_of
from creditdesk.graphql.budgets import Period
from creditdesk.graphql.context import Context, Info
from creditdesk.graphql.execution.plans import Ask, Shape
from creditdesk.graphql.ids import uuid_of
from creditdesk.graphql.limits import CreditLimit, shown_value


def read_main_budgets(users: Sequence[UUID | str], info: Info) -> Ask:  # noqa: ARG001 - as all batches are asked
    """Ask for each user's main budget, and nothing of the others that they have: which one binds is not known."""
    return Ask(_main_budgets, None, users)


def read_first_budgets(users: Sequence[UUID | str], info: Info) -> Ask:  # noqa: ARG001 - as above
    """Ask for all budgets of each user, of which the main one is the answer."""
    return Ask(_budgets, None, users, lambda found: [main_budget(one, LimitScope.USER) for one in found])


def read_budgets(users: Sequence[UUID | str], info: Info) -> Ask:  # noqa: ARG001 - as above
    """Ask for all budgets of each user."""
    return Ask(_budgets, None, users)


def read_group_budgets(groups: Sequence[UUID], info: Info) -> Ask:  # noqa: ARG001 - as above
    """Ask for the budget that each group shares."""
    return Ask(_group_budgets, None, groups)


def _main_budgets(context: Context, _: None, users: Sequence[UUID | str]) -> Lookup[list[MainBudget | None]]:
    own = context.own_account(users)
    if own is not None:
        return found_of(own.main_budget(now=context.now), lambda budget: [budget])
    ids = [str(id_) for id_ in users]
    if context.known is not None:
        return context.known.main_budgets(ids, now=context.now)
    return main_budgets_of_users(context.permitted, ids, now=context.now)


def _budgets(context: Context, _: None, users: Sequence[UUID | str]) -> Lookup[list[list[Budget]]]:
    own = context.own_account(users)
    if own is not None:
        return found_of(own.budgets(now=context.now), lambda budgets: [budgets])
    ids = [uuid_of(id_) for id_ in users]
    found = users_budgets(context.permitted, ids, now=context.now)
    return found_of(found, lambda by_user: [by_user.get(id_, []) for id_ in ids])


def _group_budgets(context: Context, _: None, groups: Sequence[UUID]) -> Lookup[list[Budget | None]]:
    ids = list(dict.fromkeys(groups))
    known = context.known
    found = (
        known.group_budgets(ids, now=context.now) if known else groups_budgets(context.permitted, ids, now=context.now)
    )
    return found_of(found, lambda by_group: [by_group.get(id_) for id_ in groups])


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
