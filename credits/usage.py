"""What was used: totals, breakdowns and series of many scopes at once, from rollups, in one statement each."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias
from uuid import UUID

from creditdesk.credits.people import User, user_from
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.ranges import Range, days_of, month_arguments, months_of, span_arguments
from creditdesk.db.connections import Connection, Row
from creditdesk.db.lookups import Lookup, lookup

NO_GROUP = UUID(int=0)
"""Charged to no group: the user had no home group then."""


class Dimension(Enum):
    """What usage can be broken down by."""

    USER = "Who used it."
    GROUP = "The group it was charged to: the user's home group at that time."
    PRODUCT = "The AI product."
    MODEL = "The model."


class Ordering(Enum):
    """How the rows of a breakdown are ordered. Ties are broken by product, model and id, so pages are stable."""

    CREDITS_DESC = "Most credits first."
    CREDITS_ASC = "Fewest credits first."
    REQUESTS_DESC = "Most requests first."
    TOKENS_DESC = "Most tokens first: input, cached input and output together."


@dataclass(frozen=True, slots=True)
class Cell:
    """What figures are of: the whole workspace, narrowed by any of these. `members_of` is whoever is in a group now."""

    user_id: UUID | None = None
    group_id: UUID | None = None
    product: str | None = None
    model: str | None = None
    members_of: UUID | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What figures are narrowed to; None does not narrow, an empty tuple leaves nothing."""

    users: tuple[UUID, ...] | None = None
    groups: tuple[UUID, ...] | None = None
    products: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None


ANYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Figures:
    """Credits in micro-credits, a count of requests, and tokens. Input tokens are the uncached ones."""

    credits: int = 0
    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """The values of the dimensions that were asked for; None for the others."""

    user_id: UUID | None = None
    group_id: UUID | None = None
    product: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class BreakdownRow:
    """One row of a breakdown."""

    key: Key
    figures: Figures


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The first rows, and all the others as one; together they are the whole, exactly."""

    rows: tuple[BreakdownRow, ...] = ()
    other: Figures = Figures()
    other_count: int = 0


class BreakdownRows(NamedTuple):
    """A breakdown as the database returns it, for whoever reads many: COLUMNS of the first rows, and of the rest.

    Where the first rows were asked for as JSON they are a list in `written`, and nothing else is there. `users` are
    those whom rows are of, where they came along.
    """

    rows: list[Row]
    other: Row
    written: str | None = None
    users: Sequence[User] = ()


UsageLookup: TypeAlias = Lookup[Sequence[BreakdownRows]]
"""What finds the breakdowns of cells, or of users, in their order."""

COLUMNS = (
    "of", "user_id", "group_id", "product", "model",
    "credits", "requests", "input_tokens", "cached_input_tokens", "output_tokens", "count", "place",
)  # fmt: skip
"""Of whole users, rows have the user as `of`, and neither count nor place; of who used most, the user behind them."""

NOTHING: Row = (0, None, None, None, None, 0, 0, 0, 0, 0, 0, None)
_NO_ROWS = BreakdownRows([], NOTHING)
_FIRST_FIGURE, _COUNT, _USER = COLUMNS.index("credits"), COLUMNS.index("count"), len(COLUMNS)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """What is asked of every cell of a batch.

    With `credits_only` whoever asks reads nothing but credits, and of a breakdown the first rows alone: all other
    figures, and the sum of the other rows, may be left at zero.
    """

    range: Range
    filter: Filter = ANYTHING
    by: tuple[Dimension, ...] = ()
    first: int = 1
    ordering: Ordering = Ordering.CREDITS_DESC
    credits_only: bool = False


async def usage_of(
    conn: Connection, permitted: PermittedScopes, cells: Sequence[Cell], query: UsageQuery
) -> list[Breakdown]:
    """Return each cell's breakdown, nothing where it may not be read. Without dimensions its one row is the total.

    All cells have the same parts set, so that one rollup serves them all.
    """
    [found] = await conn.look_up([usage_rows_of(permitted, cells, query)])
    return [breakdown_of(one) for one in found]


def usage_rows_of(permitted: PermittedScopes, cells: Sequence[Cell], query: UsageQuery) -> UsageLookup:
    """State what finds the same as `usage_of`, as rows."""

    def by_cell(rows: Sequence[list[Row]]) -> list[BreakdownRows]:
        found: list[list[Row]] = [[] for _ in cells]
        others = [NOTHING] * len(cells)
        for row in rows[0]:
            if row[-1] is None:
                others[row[0] - 1] = row
            else:
                found[row[0] - 1].append(row)
        return [BreakdownRows(*one) for one in zip(found, others, strict=True)]

    arguments = cell_arguments(permitted, cells, query) | {"ordering": query.ordering.name}
    if query.range.edges:
        spans = span_arguments(query.range, query.range.edges)
        return lookup(by_cell, "usage_breakdown_between", **arguments, **spans)
    if _are_whole_users(cells) and not arguments["by_user"]:
        return usage_rows_of_users(permitted, [cell.user_id or NO_GROUP for cell in cells], query)
    if arguments["on_user"]:
        return lookup(by_cell, "usage_breakdown_of_users", **arguments)
    if arguments["source"] == "WORKSPACE":
        return lookup(by_cell, "usage_breakdown_of_workspace", **arguments)
    if permitted.everyone and is_ranking(cells, query):
        return lookup(_most, "usage_most", **arguments)
    return lookup(by_cell, "usage_breakdown", **arguments)


def _most(rows: Sequence[list[Row]]) -> list[BreakdownRows]:
    users = [user_from(row[_USER:]) for row in rows[0] if row[_USER]]
    return [BreakdownRows(rows[0], NOTHING, users=users)]


def usage_rows_of_users(permitted: PermittedScopes, users: Sequence[UUID], query: UsageQuery) -> UsageLookup:
    """State what finds the breakdown of each of these users, nothing of those whom the caller may not see."""
    if query.range.edges or Dimension.USER in query.by:
        return usage_rows_of(permitted, [Cell(user_id=user_id) for user_id in users], query)

    def by_user(rows: Sequence[list[Row]]) -> list[BreakdownRows]:
        found: dict[UUID, list[Row]] = {}
        for row in rows[0]:
            found.setdefault(row[0], []).append(row)
        return [_first_rows(found[user_id], query.first) if user_id in found else _NO_ROWS for user_id in users]

    return lookup(
        by_user,
        "usage_breakdown_of_whole_users",
        **filter_arguments(permitted, query),
        cell_users=list(users),
        ordering=query.ordering.name,
    )


def _first_rows(rows: list[Row], first: int) -> BreakdownRows:
    if len(rows) <= first:
        return BreakdownRows(rows, NOTHING)
    rest = rows[first:]
    figures = (sum(row[number] for row in rest) for number in range(_FIRST_FIGURE, _COUNT))
    return BreakdownRows(rows[:first], (*NOTHING[:_FIRST_FIGURE], *figures, len(rest), None))


def breakdown_of(found: BreakdownRows) -> Breakdown:
    """Return a breakdown from its rows."""
    rows = tuple(BreakdownRow(Key(*row[1:_FIRST_FIGURE]), Figures(*row[_FIRST_FIGURE:_COUNT])) for row in found.rows)
    return Breakdown(rows, Figures(*found.other[_FIRST_FIGURE:_COUNT]), found.other[_COUNT])


def _are_whole_users(cells: Sequence[Cell]) -> bool:
    user_id = cells[0].user_id
    return user_id is not None and cells[0] == Cell(user_id=user_id)


def is_ranking(cells: Sequence[Cell], query: UsageQuery) -> bool:
    """Tell whether all the workspace's users are ranked by their credits in whole days, and nothing else is asked."""
    asked = (query.credits_only, query.range.edges, query.by, query.ordering, query.filter, *cells)
    return asked == (True, (), (Dimension.USER,), Ordering.CREDITS_DESC, ANYTHING, Cell())


def names_users(cells: Sequence[Cell], query: UsageQuery) -> bool:
    """Tell whether only a rollup that knows users can answer."""
    return Dimension.USER in query.by or query.filter.users is not None or cells[0].user_id is not None


def _source(cells: Sequence[Cell], query: UsageQuery) -> str:
    """Name the smallest rollup that can tell what is asked for."""
    cell = cells[0]
    if cell.user_id is not None:
        return "CELLS_OF_USERS"
    if cell.members_of is not None:
        return "CELLS_OF_MEMBERS"
    if not names_users(cells, query):
        by_group = Dimension.GROUP in query.by or query.filter.groups is not None or cell.group_id is not None
        return "GROUP" if by_group else "WORKSPACE"
    by_product = {Dimension.PRODUCT, Dimension.MODEL} & set(query.by)
    narrowed = (cell.product, cell.model, query.filter.products, query.filter.models) != (None, None, None, None)
    # Parts of days come from events with their products, and join the days of the rollup that has products too.
    return "USER_DETAIL" if by_product or narrowed or query.range.edges else "USER"


def filter_arguments(permitted: PermittedScopes, query: UsageQuery) -> dict[str, object]:
    """Return what every usage statement takes."""
    return {
        "workspace_id": permitted.workspace_id,
        "everyone": permitted.everyone,
        "own_user": permitted.user_id,
        "managed_groups": list(permitted.managed_groups),
        "by_user": Dimension.USER in query.by,
        "by_group": Dimension.GROUP in query.by,
        "by_product": Dimension.PRODUCT in query.by,
        "by_model": Dimension.MODEL in query.by,
        "users": _listed(query.filter.users),
        "groups": _listed(query.filter.groups),
        "products": _listed(query.filter.products),
        "models": _listed(query.filter.models),
        "first_day": query.range.first_day,
        "last_day": query.range.last_day,
    }


def cell_arguments(permitted: PermittedScopes, cells: Sequence[Cell], query: UsageQuery) -> dict[str, object]:
    """Return that, and what statements take whose cells are named one by one."""
    shape = cells[0]
    return filter_arguments(permitted, query) | {
        "cell_users": [cell.user_id or NO_GROUP for cell in cells],
        "cell_groups": [cell.group_id or NO_GROUP for cell in cells],
        "cell_products": [cell.product or "" for cell in cells],
        "cell_models": [cell.model or "" for cell in cells],
        "cell_members_of": [cell.members_of or NO_GROUP for cell in cells],
        "on_user": shape.user_id is not None,
        "on_group": shape.group_id is not None,
        "on_product": shape.product is not None,
        "on_model": shape.model is not None,
        "on_members": shape.members_of is not None,
        "source": _source(cells, query),
        **month_arguments(days_of(query.range) if query.range.edges else months_of(query.range)),
        "first": query.first,
        "credits_only": query.credits_only,
    }


def _listed(values: tuple[object, ...] | None) -> list[object] | None:
    return None if values is None else list(values)
