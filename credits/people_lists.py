"""Ordered pages of users and groups as a caller may see them, many lists in one statement."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple, TypeVar
from uuid import UUID

from creditdesk.credits.directory import sort_name
from creditdesk.credits.errors import InvalidRangeError
from creditdesk.credits.people import (
    Group,
    Order,
    OrderedBy,
    Page,
    Position,
    User,
    UserFilter,
    Window,
    caller_arguments,
    user_from,
)
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.ranges import Months, month_arguments, months_of
from creditdesk.db.connections import Connection, Row
from creditdesk.db.lookups import Lookup, lookup

_NO_ID = UUID(int=0)
_NO_MONTHS = month_arguments(Months(date.min, date.min, ()))

Listed = TypeVar("Listed")


class UserRows(NamedTuple):
    """A page of users as the database returns them, for `user_of` and `position_of`."""

    rows: list[Row]
    more: bool
    total: int | None


def _order_arguments(order: Order, window: Window) -> dict[str, object]:
    arguments: dict[str, object] = {
        "credits_sign": 0,
        **_NO_MONTHS,
        "first_day": None,
        "last_day": None,
        "backwards": order.descending != window.from_end,
        "after_number": window.past.number if window.past else None,
        "after_name": window.past.name if window.past else None,
        "after_id": window.past.id if window.past else None,
        # One more than asked for tells whether the list goes on.
        "size": window.size + 1,
    }
    if order.by is OrderedBy.CREDITS and order.range is not None:
        if order.range.edges:
            raise InvalidRangeError("An order by credits takes whole days.")
        # The sign, not the direction, turns credits round: equals stay in the order of their names.
        arguments |= {
            "credits_sign": -1 if order.descending else 1,
            "backwards": window.from_end,
            "first_day": order.range.first_day,
            "last_day": order.range.last_day,
            **month_arguments(months_of(order.range)),
        }
    return arguments


def _shown(items: list[Listed], window: Window) -> tuple[list[Listed], bool]:
    """Return the part of what was read that is shown, in order, and whether the list goes on."""
    shown = items[: window.size]
    if window.from_end:
        shown.reverse()
    return shown, len(items) > window.size


def _filter_arguments(users: UserFilter, groups: Sequence[UUID | None]) -> dict[str, object]:
    return {
        "scopes": [group or _NO_ID for group in groups],
        "in_group": groups[0] is not None,
        "search": sort_name(users.search) if users.search else None,
        "groups": None if users.groups is None else list(users.groups),
        "kind": users.kind.name if users.kind else None,
        "active": users.active,
    }


async def users_pages(
    conn: Connection,
    permitted: PermittedScopes,
    groups: Sequence[UUID | None],
    users: UserFilter,
    *,
    order: Order,
    window: Window,
    counted: bool = False,
) -> list[Page[User]]:
    """Return a page of the users in each group, or of the whole workspace for None; all are of one kind.

    Where they are `counted`, the lists' totals come in the same message.
    """
    [found] = await conn.look_up([users_rows(permitted, groups, users, order=order, window=window, counted=counted)])
    return [Page(tuple((user_of(row), position_of(row)) for row in page.rows), page.more, page.total) for page in found]


def users_rows(
    permitted: PermittedScopes,
    groups: Sequence[UUID | None],
    users: UserFilter,
    *,
    order: Order,
    window: Window,
    counted: bool = False,
    named: bool = False,
) -> Lookup[list[UserRows]]:
    """State what finds the same as rows; where they are `named`, rows may end after ids, maybe as text, and names."""
    everybody, by_name = _is_everybody(permitted, groups, users), order.by is OrderedBy.NAME
    most = everybody and not by_name and order.descending and not window.from_end
    members = groups[0] is not None and users == UserFilter() and by_name

    def pages(read: Sequence[list[Row]]) -> list[UserRows]:
        rows, *totals = read
        found: list[list[Row]] = [[] for _ in groups]
        for row in rows:
            found[row[0] - 1].append(row)
        counts = _counts(groups, *totals) if counted else [None] * len(groups)
        return [UserRows(*_shown(one, window), total) for one, total in zip(found, counts, strict=True)]

    return lookup(
        pages,
        ("member_names_page" if named else "members_page")
        if members
        else "users_page_of_most"
        if most
        else "users_page",
        *(["users_count_of_workspace" if everybody else "users_count"] if counted else []),
        **caller_arguments(permitted),
        **_filter_arguments(users, groups),
        **_order_arguments(order, window),
    )


def user_of(row: Row) -> User:
    """Return the user whom a row of `users_rows` holds."""
    return user_from(row[1:9])


def position_of(row: Row) -> Position:
    """Return where the user stands whom a row of `users_rows` holds."""
    return Position(row[9], row[10], row[1])


def _counts(groups: Sequence[UUID | None], rows: Sequence[Row]) -> list[int]:
    counts = [0] * len(groups)
    for nth, count in rows:
        counts[nth - 1] = count
    return counts


async def users_counts(
    conn: Connection, permitted: PermittedScopes, groups: Sequence[UUID | None], users: UserFilter
) -> list[int]:
    """Return how many users each list has."""
    rows = await conn.rows(
        "users_count_of_workspace" if _is_everybody(permitted, groups, users) else "users_count",
        **caller_arguments(permitted),
        **_filter_arguments(users, groups),
    )
    return _counts(groups, rows)


def _is_everybody(permitted: PermittedScopes, groups: Sequence[UUID | None], users: UserFilter) -> bool:
    """Tell whether a list is of all the workspace's users."""
    return permitted.everyone and users == UserFilter() and list(groups) == [None]


async def groups_page(
    conn: Connection, permitted: PermittedScopes, search: str | None, *, order: Order, window: Window
) -> Page[Group]:
    """Return a page of the workspace's groups that the caller may see."""
    [page] = await conn.look_up([groups_listed(permitted, search, order=order, window=window)])
    return page


def groups_listed(
    permitted: PermittedScopes, search: str | None, *, order: Order, window: Window
) -> Lookup[Page[Group]]:
    """State what finds the same as `groups_page`."""

    def page(rows: Sequence[list[Row]]) -> Page[Group]:
        found = [(Group(*group), Position(number, name, group[0])) for *group, number, name in rows[0]]
        shown, more = _shown(found, window)
        return Page(tuple(shown), more)

    return lookup(
        page,
        "groups_page",
        search=sort_name(search) if search else None,
        **caller_arguments(permitted),
        **_order_arguments(order, window),
    )


async def groups_count(conn: Connection, permitted: PermittedScopes, search: str | None) -> int:
    """Return how many groups the list has."""
    rows = await conn.rows("groups_count", search=sort_name(search) if search else None, **caller_arguments(permitted))
    return int(rows[0][0])
