"""Usage of many users and groups at once, broken down or over time, as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from creditdesk.credits import usage
from creditdesk.credits.ranges import Range as ResolvedRange
from creditdesk.credits.series import SeriesLookup, SeriesRows, series_rows_of, shown_series
from creditdesk.credits.usage import ANYTHING, BreakdownRows, Cell, Figures, Filter, UsageLookup, UsageQuery
from creditdesk.credits.written_usage import OF_USER, usage_written_of, usage_written_of_users
from creditdesk.graphql.context import Context, Info
from creditdesk.graphql.enums import Attribution, Dimension, Interval, Ordering
from creditdesk.graphql.execution.plans import Ask, Columns, DeclinedError, Shape, Written
from creditdesk.graphql.figures import FIGURES, UsageFilter, shown_figures
from creditdesk.graphql.ids import uuid_of
from creditdesk.graphql.loaders import cell_shape
from creditdesk.graphql.ranges import Range, RangeInput
from creditdesk.graphql.selections import selects_any
from creditdesk.graphql.usage import CreditUsage, UsageBreakdown, UsageKey, UsageSeries
from creditdesk.graphql.usage_questions import (
    checked_dimensions,
    checked_rows,
    wants_credits_only,
    wants_points_of_credits,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the usage of every object of a batch."""

    span: ResolvedRange
    filter: Filter
    range: Range
    data_through: datetime


class UserUsage(NamedTuple):
    """What a user used, before it is known what is wanted of it. The id is text, as those of many users are."""

    user_id: str
    asked: Asked
    figures: Figures

    @property
    def shown(self) -> CreditUsage:
        """Return the type's own object."""
        return _shown_usage(Cell(user_id=UUID(self.user_id)), self.asked, self.figures)


def _shown_usage(cell: Cell, asked: Asked, figures: Figures) -> CreditUsage:
    return CreditUsage(
        range=asked.range,
        data_through=asked.data_through,
        cell=cell,
        span=asked.span,
        filter=asked.filter,
        **shown_figures(figures),
    )


def shown_usage(used: UserUsage) -> CreditUsage:
    """Return the type's own object."""
    return used.shown


def _asked(info: Info, range_: RangeInput, filter_: UsageFilter | None) -> Asked:
    span = range_.resolved(info.context)
    return Asked(span, filter_.wanted() if filter_ else ANYTHING, Range.of(span), info.context.now)


def _wants_figures(info: Info) -> bool:
    return selects_any(info._raw_info, FIGURES)  # noqa: SLF001 - Strawberry has no public way to the field's nodes


def _total(found: BreakdownRows) -> Figures:
    total = usage.breakdown_of(found)
    return total.rows[0].figures if total.rows else Figures()


def read_usage_of_users(
    users: Sequence[UUID | str], info: Info, range: RangeInput, filter: UsageFilter | None = None
) -> Ask | list[UserUsage]:
    """Ask for what each user used; the totals only where they are selected."""
    asked = _asked(info, range, filter)
    if not _wants_figures(info):
        nothing = Figures()
        return [UserUsage(str(user_id), asked, nothing) for user_id in users]

    def shown(found: Sequence[BreakdownRows]) -> list[UserUsage]:
        return [UserUsage(str(user_id), asked, _total(one)) for user_id, one in zip(users, found, strict=True)]

    return Ask(_usage_of_users, UsageQuery(asked.span, asked.filter), users, shown)


def read_usage_of_groups(
    groups: Sequence[UUID],
    info: Info,
    range: RangeInput,
    filter: UsageFilter | None = None,
    attribution: Attribution = Attribution.CHARGED,
) -> Ask | list[CreditUsage | None]:
    """Ask for what each group used, where the caller may see it; the totals only where they are selected."""
    charged, context = attribution is Attribution.CHARGED, info.context
    seen = [id_ for id_ in dict.fromkeys(groups) if context.permitted.may_read_group(id_)]
    if not seen:
        return [None] * len(groups)
    asked = _asked(info, range, filter)
    cells = [Cell(group_id=id_) if charged else Cell(members_of=id_) for id_ in seen]

    def shown(figures: Sequence[Figures]) -> list[CreditUsage | None]:
        usages = [_shown_usage(cell, asked, figure) for cell, figure in zip(cells, figures, strict=True)]
        found = dict(zip(seen, usages, strict=True))
        return [found.get(id_) for id_ in groups]

    if not _wants_figures(info):
        return shown([Figures()] * len(cells))
    question = (UsageQuery(asked.span, asked.filter), cell_shape(cells[0]), None)
    return Ask(_breakdowns, question, cells, lambda found: shown([*map(_total, found)]))


def read_breakdowns(
    usages: Sequence[CreditUsage | UserUsage],
    info: Info,
    by: list[Dimension],
    first: int = 10,
    order_by: Ordering = Ordering.CREDITS_DESC,
    template: str | None = None,
) -> Ask:
    """Ask for the breakdown of each usage. They are of one field, which was asked one thing."""
    dimensions, size = checked_dimensions(by), checked_rows(first)

    def shown(found: Sequence[BreakdownRows]) -> list[tuple[BreakdownRows, CreditUsage | UserUsage]]:
        info.context.loaders.keep_users_of(found)
        return list(zip(found, usages, strict=True))

    if isinstance(usages[0], UserUsage):
        asked = usages[0].asked
        users = [one.user_id for one in usages if isinstance(one, UserUsage)]
        question = UsageQuery(asked.span, asked.filter, dimensions, size, order_by)
        if template is None:
            return Ask(_usage_of_users, question, users, shown)
        return Ask(_written_usage_of_users, (question, template), users, shown)
    whole = [one for one in usages if isinstance(one, CreditUsage)]
    cells, shape = _alike([one.cell for one in whole])
    query = UsageQuery(whole[0].span, whole[0].filter, dimensions, size, order_by, wants_credits_only(info))
    return Ask(_breakdowns, (query, shape, template), cells, shown)


def _usage_of_users(context: Context, query: UsageQuery, users: Sequence[UUID | str]) -> UsageLookup:
    return usage.usage_rows_of_users(context.permitted, [uuid_of(id_) for id_ in users], query)


def _written_usage_of_users(context: Context, question: tuple[UsageQuery, str], users: Sequence[str]) -> UsageLookup:
    query, template = question
    return usage_written_of_users(context.permitted, users, query, template, context.kept_usage)


def _breakdowns(
    context: Context, question: tuple[UsageQuery, tuple[bool, ...], str | None], cells: Sequence[Cell]
) -> UsageLookup:
    query, _, template = question
    if template is None:
        return usage.usage_rows_of(context.permitted, cells, query)
    return usage_written_of(context.permitted, cells, query, template)


def shown_breakdown(found: tuple[BreakdownRows, CreditUsage | UserUsage]) -> UsageBreakdown:
    """Return the type's own object."""
    lean, whole = found
    return UsageBreakdown.of(usage.breakdown_of(lean), whole if isinstance(whole, CreditUsage) else whole.shown)


def read_series(
    usages: Sequence[CreditUsage | UserUsage],
    info: Info,
    interval: Interval,
    by: Dimension | None = None,
    first: int = 10,
    template: str | None = None,
) -> Ask:
    """Ask for the series of each usage, and note whether they are by a dimension."""
    dimensions, size, lean = (by,) if by else (), checked_rows(first), wants_points_of_credits(info)
    whole = [one if isinstance(one, CreditUsage) else one.shown for one in usages]
    cells, shape = _alike([one.cell for one in whole])
    query = UsageQuery(whole[0].span, whole[0].filter, dimensions, size, credits_only=lean)

    def shown(found: Sequence[list[SeriesRows]]) -> list[list[tuple[SeriesRows, bool]]]:
        return [[(series, by is not None) for series in one] for one in found]

    return Ask(_series, (query, interval, shape, template), cells, shown)


def _series(
    context: Context, question: tuple[UsageQuery, Interval, tuple[bool, ...], str | None], cells: Sequence[Cell]
) -> SeriesLookup:
    query, interval, _, template = question
    return series_rows_of(context.permitted, cells, query, interval, template)


def _alike(cells: list[Cell]) -> tuple[list[Cell], tuple[bool, ...]]:
    """Return cells with their shape; raise DeclinedError where one rollup does not serve them all."""
    shape = cell_shape(cells[0])
    if any(cell_shape(cell) != shape for cell in cells):
        raise DeclinedError
    return cells, shape


def shown_all_series(found: Sequence[tuple[SeriesRows, bool]]) -> list[UsageSeries]:
    """Return the type's own objects."""
    return [UsageSeries.of(shown_series(series), keyed=keyed) for series, keyed in found]


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


USER_OF_ROW = "key.user_id"
_ROW = Shape(
    {name: read for name, read in _columns().items() if name != "rowCount"}
    | {USER_OF_ROW: f"s[{usage.COLUMNS.index('user_id')}]"},
    {},
)
_REST = Shape({name: read for name, read in _columns().items() if name not in {"product", "model"}}, {})
_WRITTEN_ROW: Columns = {
    "product": "%1$s",
    "model": "%2$s",
    "credits": '"%3$s"',
    "requests": '"%4$s"',
    "inputTokens": '"%5$s"',
    "cachedInputTokens": '"%6$s"',
    "outputTokens": '"%7$s"',
    "user": {"id": f'"{OF_USER[0]}"', "displayName": OF_USER[1], "email": OF_USER[2]},
}
"""As what writes rows takes it."""
BREAKDOWN = Shape(
    {
        "rows": Written("s[0].written", _WRITTEN_ROW, ("s[0].rows", _ROW)),
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
_WRITTEN_POINT: Columns = {"start": '"%1$s"', "credits": '"%2$s"'}
"""As `series_rows_of` takes it."""
SERIES = Shape(
    {
        "key": "UsageKey(key=s[0].key) if s[1] else None",
        "points": Written("s[0].written", _WRITTEN_POINT, ("s[0].points", _POINT), beside=frozenset({"key"})),
    },
    {"UsageKey": UsageKey},
)
USAGE = Shape(
    {
        "range": "s.asked.range",
        "dataThrough": "s.asked.data_through",
        "credits": "s.figures.credits",
        "requests": "s.figures.requests",
        "inputTokens": "s.figures.input_tokens",
        "cachedInputTokens": "s.figures.cached_input_tokens",
        "outputTokens": "s.figures.output_tokens",
    },
    {},
)
