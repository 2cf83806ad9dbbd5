"""Fields that plans read for many objects at once: what their resolvers answer, without a loader for each object."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar
from uuid import UUID

from creditdesk.credits import budget_rules, budgets, people, usage
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.series import SeriesRows, shown_series
from creditdesk.credits.usage import BreakdownRows, Cell, Figures, Filter, UsageQuery
from creditdesk.graphql.budgets import Budget, Period
from creditdesk.graphql.connections import Connection, connection_of, window_of
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Attribution, Dimension, Interval, Ordering
from creditdesk.graphql.execution.plans import Batch, Batches, Shape
from creditdesk.graphql.figures import FIGURES, UsageFilter, shown_figures
from creditdesk.graphql.limits import CreditLimit, shown_value
from creditdesk.graphql.loaders import cell_shape
from creditdesk.graphql.people import UserOrder
from creditdesk.graphql.ranges import Range, RangeInput
from creditdesk.graphql.selections import selects_any
from creditdesk.graphql.usage import (
    CreditUsage,
    Group,
    UsageBreakdown,
    UsageKey,
    UsageSeries,
    User,
    checked_dimensions,
    checked_rows,
    wants_credits_only,
    wants_points_of_credits,
)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


async def _main_budgets(users: Sequence[User], info: Info) -> list[budget_rules.Budget | None]:
    found = await _budgets(users, info)
    return [budget_rules.main_budget(one, LimitScope.USER) for one in found]


async def _budgets(users: Sequence[User], info: Info) -> list[list[budget_rules.Budget]]:
    return await info.context.loaders.budgets_together.ask(None, [user.user_id for user in users])


async def _group_budgets(groups: Sequence[Group], info: Info) -> list[budget_rules.Budget | None]:
    context = info.context
    ids = dict.fromkeys(group.group_id for group in groups)
    found = await budgets.budget_of_groups(context.reader, context.permitted, list(ids), now=context.now)
    return [found.get(group.group_id) for group in groups]


async def _members(
    groups: Sequence[Group],
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    order_by: UserOrder | None = None,
) -> list[Connection[User]]:
    context, wanted = info.context, people.UserFilter()
    order = order_by.resolved(context) if order_by else people.Order()
    window = window_of(order, first, after, last, before)
    ids = [group.group_id for group in groups]
    pages = await people.users_pages(context.reader, context.permitted, ids, wanted, order=order, window=window)
    counts = context.loaders.user_counts

    def count(group: Group) -> Callable[[], Awaitable[int]]:
        return lambda: counts.load((True, wanted), group.group_id)

    return [
        connection_of(page, order, window, show=User.of, count=count(group))
        for group, page in zip(groups, pages, strict=True)
    ]


async def _usage_of_users(
    users: Sequence[User], info: Info, range: RangeInput, filter: UsageFilter | None = None
) -> list[CreditUsage]:
    return await _usages(info, [Cell(user_id=user.user_id) for user in users], range, filter)


async def _usage_of_groups(
    groups: Sequence[Group],
    info: Info,
    range: RangeInput,
    filter: UsageFilter | None = None,
    attribution: Attribution = Attribution.CHARGED,
) -> list[CreditUsage | None]:
    charged = attribution is Attribution.CHARGED
    seen = [group for group in groups if info.context.permitted.may_read_group(group.group_id)]
    cells = [Cell(group_id=one.group_id) if charged else Cell(members_of=one.group_id) for one in seen]
    found = dict(zip((one.group_id for one in seen), await _usages(info, cells, range, filter), strict=True))
    return [found.get(group.group_id) for group in groups]


async def _usages(
    info: Info, cells: Sequence[Cell], range_: RangeInput, filter_: UsageFilter | None
) -> list[CreditUsage]:
    if not cells:
        return []
    context = info.context
    span = range_.resolved(context)
    wanted = filter_.wanted() if filter_ else Filter()
    figures = [Figures()] * len(cells)
    if selects_any(info._raw_info, FIGURES):  # noqa: SLF001 - Strawberry has no public way to the field's nodes
        question = (UsageQuery(span, wanted), cell_shape(cells[0]))
        totals = map(usage.breakdown_of, await context.loaders.breakdowns_together.ask(question, cells))
        figures = [total.rows[0].figures if total.rows else Figures() for total in totals]
    range_shown = Range.of(span)
    return [
        CreditUsage(
            range=range_shown, data_through=context.now, cell=cell, span=span, filter=wanted, **shown_figures(figure)
        )
        for cell, figure in zip(cells, figures, strict=True)
    ]


async def _breakdowns(
    usages: Sequence[CreditUsage],
    info: Info,
    by: list[Dimension],
    first: int = 10,
    order_by: Ordering = Ordering.CREDITS_DESC,
) -> list[tuple[BreakdownRows, CreditUsage]]:
    dimensions, size, context = checked_dimensions(by), checked_rows(first), info.context
    credits_only = wants_credits_only(info)

    asked: dict[Hashable, list[int]] = {}
    for index, one in enumerate(usages):
        asked.setdefault((one.span, one.filter, cell_shape(one.cell)), []).append(index)

    async def read(indexes: list[int]) -> dict[int, BreakdownRows]:
        one = usages[indexes[0]]
        question = (UsageQuery(one.span, one.filter, dimensions, size, order_by, credits_only), cell_shape(one.cell))
        cells = [usages[index].cell for index in indexes]
        return dict(zip(indexes, await context.loaders.breakdowns_together.ask(question, cells), strict=True))

    answers: dict[int, BreakdownRows] = {}
    for indexes in asked.values():
        answers |= await read(indexes)
    return [(answers[index], one) for index, one in enumerate(usages)]


async def _series(
    usages: Sequence[CreditUsage], info: Info, interval: Interval, by: Dimension | None = None, first: int = 10
) -> list[list[tuple[SeriesRows, bool]]]:
    dimensions, size, lean = (by,) if by else (), checked_rows(first), wants_points_of_credits(info)
    read = info.context.loaders.series_rows
    queries = [UsageQuery(one.span, one.filter, dimensions, size, credits_only=lean) for one in usages]
    found = await asyncio.gather(*(read(query, interval, one.cell) for query, one in zip(queries, usages, strict=True)))
    return [[(series, by is not None) for series in one] for one in found]


def _shown_series(found: Sequence[tuple[SeriesRows, bool]]) -> list[UsageSeries]:
    return [UsageSeries.of(shown_series(series), keyed=keyed) for series, keyed in found]


async def _users_of_rows(ids: Sequence[UUID | None], info: Info) -> list[User | None]:
    known = list(dict.fromkeys(id_ for id_ in ids if id_))
    loaded = await info.context.loaders.users.load_many(known)
    found = {id_: User.of(user) for id_, user in zip(known, loaded, strict=True) if user}
    return [found.get(id_) if id_ else None for id_ in ids]


def _shown_breakdown(found: tuple[BreakdownRows, CreditUsage]) -> UsageBreakdown:
    lean, whole = found
    return UsageBreakdown.of(usage.breakdown_of(lean), whole)


def _columns(prefix: str = "s") -> dict[str, str]:
    at = {name: f"{prefix}[{number}]" for number, name in enumerate(usage.COLUMNS)}
    return {
        "credits": at["credits"],
        "requests": at["requests"],
        "inputTokens": at["input_tokens"],
        "cachedInputTokens": at["cached_input_tokens"],
        "outputTokens": at["output_tokens"],
        "product": at["product"],
        "model": at["model"],
        "rowCount": at["count"],
    }


_OF_USER = "key.user_id"
_ROW = Shape(
    {name: read for name, read in _columns().items() if name != "rowCount"}
    | {_OF_USER: f"s[{usage.COLUMNS.index('user_id')}]"},
    {},
)
_REST = Shape({name: read for name, read in _columns().items() if name not in {"product", "model"}}, {})
_BREAKDOWN = Shape(
    {
        "rows": ("s[0].rows", _ROW),
        "other": ("s[0].other", _REST),
        "rowCount": f"len(s[0].rows) + s[0].other[{usage.COLUMNS.index('count')}]",
    },
    {},
)
_POINT = Shape(
    {
        "start": "s[0]",
        "credits": "s[1]",
        "requests": "s[2]",
        "inputTokens": "s[3]",
        "cachedInputTokens": "s[4]",
        "outputTokens": "s[5]",
    },
    {},
)
_SERIES = Shape(
    {"key": "UsageKey(key=s[0].key) if s[1] else None", "points": ("s[0].points", _POINT)}, {"UsageKey": UsageKey}
)
_BUDGET = Shape(
    {
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
    },
    {"shown_value": shown_value, "CreditLimit": CreditLimit, "Period": Period},
)


BATCHES: Batches = {
    ("User", "budget"): Batch(_main_budgets, None, _BUDGET, Budget.of),
    ("User", "budgets"): Batch(_budgets, None, _BUDGET, lambda found: [Budget.of(one) for one in found]),
    ("Group", "budget"): Batch(_group_budgets, None, _BUDGET, Budget.of),
    ("Group", "members"): Batch(_members),
    ("User", "usage"): Batch(_usage_of_users),
    ("Group", "usage"): Batch(_usage_of_groups),
    ("CreditUsage", "breakdown"): Batch(_breakdowns, None, _BREAKDOWN, _shown_breakdown),
    ("UsageRow", "user"): Batch(_users_of_rows, of=_OF_USER),
    ("CreditUsage", "series"): Batch(_series, None, _SERIES, _shown_series),
}
"""By type and field."""
