"""What is told as it happens. An event says that something has changed; what it is now is read under the caller's eyes.

So whatever is told could have been read by the same caller at the same moment, and by nobody else.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from typing import Annotated, TypeVar
from uuid import UUID

import strawberry

from creditdesk.credits import budget_rules
from creditdesk.credits.changes import EVERYBODY, Topic
from creditdesk.credits.errors import CreditError, ErrorCode, ForbiddenError
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.watching import OwnUsesWatch, RequestsWatch, UsesWatch, Watch
from creditdesk.db.errors import DatabaseUnavailable
from creditdesk.graphql.budgets import Budget
from creditdesk.graphql.context import Context, Info
from creditdesk.graphql.enums import Permission
from creditdesk.graphql.guards import requires
from creditdesk.graphql.ids import decode_id_of
from creditdesk.graphql.live import Live
from creditdesk.graphql.requests import CreditRequest, request_of
from creditdesk.graphql.usage import group_of, user_of
from creditdesk.graphql.usage_ticks import UsageTick, visible_uses

_HELD_LOOK_SECONDS = 60.0
"""Where something is held, how often it is looked whether a hold has expired: that is told by nobody."""

_NO_DAY = date.min
_SECONDS_AFTER_FAILURE = 0.5

Read = TypeVar("Read")


class _UnknownError(CreditError):
    def __init__(self, code: ErrorCode) -> None:
        self.code = code
        super().__init__()


@strawberry.input(one_of=True, description="Whose budgets are watched: a user's, or one that a group or all share.")
class BudgetOf:
    """Exactly one of three."""

    user: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The id of a user: each of the user's own budgets."
    )
    group: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The id of a group: the budget for all usage that the group shares."
    )
    workspace: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The id of the workspace: the budget for all usage that all share."
    )


async def _watched(info: Info, of: BudgetOf | None) -> tuple[LimitScope, UUID]:
    """Return whose budgets are watched; raise the same for what is not there and what the caller may not see."""
    context = info.context
    if of is None:
        if context.permitted.user_id is None:
            raise _UnknownError(ErrorCode.UNKNOWN_USER)
        return LimitScope.USER, context.permitted.user_id
    if isinstance(of.user, str):
        user_id = decode_id_of("User", of.user)
        if await user_of(info, user_id) is None:
            raise _UnknownError(ErrorCode.UNKNOWN_USER)
        return LimitScope.USER, user_id
    if isinstance(of.group, str):
        group_id = decode_id_of("Group", of.group)
        if await group_of(info, group_id) is None:
            raise _UnknownError(ErrorCode.UNKNOWN_GROUP)
        return LimitScope.GROUP, group_id
    permitted = context.permitted
    # It binds whoever is a user, or answers for some; nobody else would ever be told anything.
    is_bound = permitted.everyone or permitted.user_id is not None or permitted.managed_groups
    if decode_id_of("Workspace", str(of.workspace)) != permitted.workspace_id or not is_bound:
        raise ForbiddenError
    return LimitScope.WORKSPACE, permitted.workspace_id


async def _budgets(context: Context, scope: LimitScope, id_: UUID) -> AsyncGenerator[Budget, None]:
    """Yield each budget as it is, and again whenever it is another one."""
    live, permitted, watch = _live(context), context.permitted, Watch()
    told: dict[object, budget_rules.Budget] = {}
    async with live.feed.watching(permitted.workspace_id, [(Topic.BUDGET, id_)], watch):
        while True:
            budgets = await _patiently(context, live, partial(live.budgets.budgets, permitted, scope, id_))
            before, told = told, {budget.shape: replace(budget, today=_NO_DAY) for budget in budgets}
            for budget in budgets:
                if before.get(budget.shape) != told[budget.shape]:
                    context.renew(live.clock())
                    yield Budget.of(budget)
            await watch.noted(seconds=_seconds_until_it_changes(budgets, live.clock()))


def _seconds_until_it_changes(budgets: Sequence[budget_rules.Budget], now: datetime) -> float | None:
    """Return when budgets become others by themselves: a period or a temporary limit ends, or a hold may expire."""
    moments = [budget.period.end for budget in budgets]
    moments += [budget.source.expires_at for budget in budgets if budget.source and budget.source.expires_at]
    seconds = [(moment - now).total_seconds() for moment in moments]
    if any(budget.held for budget in budgets):
        seconds.append(_HELD_LOOK_SECONDS)
    # One that has just ended is read again at once, but not in a circle.
    return max(1.0, min(seconds)) if seconds else None


async def _patiently(context: Context, live: Live, read: Callable[[], Awaitable[Read]]) -> Read:
    """Read something as it is now, as soon as the database is there: who watches waits for changes anyway."""
    while True:
        context.renew(live.clock())
        try:
            return await read()
        except DatabaseUnavailable:
            await asyncio.sleep(_SECONDS_AFTER_FAILURE)


def _live(context: Context) -> Live:
    assert context.live is not None  # noqa: S101 - subscriptions are executed by Streams only, which gives it
    return context.live


def _whose(context: Context) -> UUID | None:
    """Return whose events are looked at: the caller's own, or EVERYBODY's, of which each is looked at once more."""
    permitted = context.permitted
    if permitted.everyone or permitted.managed_groups:
        return EVERYBODY
    if permitted.user_id is None:
        raise ForbiddenError
    return permitted.user_id


async def _uses(context: Context, whose: UUID | None) -> AsyncGenerator[UsageTick, None]:
    """Yield what was used since the last time, as far as the caller may see it."""
    live, watch = _live(context), UsesWatch() if whose is EVERYBODY else OwnUsesWatch(whose)
    async with live.feed.watching(context.permitted.workspace_id, [(Topic.USAGE, whose)], watch):
        while True:
            await watch.noted()
            uses = watch.taken()
            visible = await _patiently(context, live, partial(visible_uses, context, uses))
            if visible:
                yield UsageTick.of(visible)


async def _requests(info: Info, whose: UUID | None) -> AsyncGenerator[CreditRequest, None]:
    """Yield requests that were made or have ended, as they are now, each that the caller may see."""
    context, watch = info.context, RequestsWatch()
    live = _live(context)
    async with live.feed.watching(context.permitted.workspace_id, [(Topic.REQUEST, whose)], watch):
        while True:
            await watch.noted()
            for id_ in watch.taken():
                request = await _patiently(context, live, partial(request_of, info, id_))
                if request is not None:
                    yield request


@strawberry.type(
    description="What is told as it happens, over WebSocket (graphql-transport-ws) or as server-sent events."
)
class Subscription:
    """The ways in for waiting."""

    @strawberry.subscription(
        description="Budgets as they are, at once, and each again whenever it has become another one: by usage, holds,"
        " limits, or the end of its period. What changes in quick succession is told once. A hold that expires by"
        " itself is noticed within a minute.",
        extensions=[requires(Permission.WORKSPACE_READ)],
    )
    async def budget_changed(
        self,
        info: Info,
        of: Annotated[
            BudgetOf | None, strawberry.argument(description="Whose budgets; the caller's own if not given.")
        ] = None,
    ) -> AsyncGenerator[Budget, None]:
        """Watch budgets."""
        return _budgets(info.context, *await _watched(info, of))

    @strawberry.subscription(
        description="What is used, as it is recorded: everybody's for those who see everyone's spend, their groups' and"
        " their own for group managers, their own for all others. What is recorded in quick succession comes together.",
        extensions=[requires(Permission.WORKSPACE_READ)],
    )
    async def usage_recorded(self, info: Info) -> AsyncGenerator[UsageTick, None]:
        """Watch usage."""
        return _uses(info.context, _whose(info.context))

    @strawberry.subscription(
        description="Requests for credits that were made or have ended, as they are now: those that the caller may see."
        " One that expires by itself is not told.",
        extensions=[requires(Permission.WORKSPACE_READ)],
    )
    async def credit_request_changed(self, info: Info) -> AsyncGenerator[CreditRequest, None]:
        """Watch requests."""
        return _requests(info, _whose(info.context))
