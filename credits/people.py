"""Users and groups as a caller may see them: by id, by name, and in ordered pages, many lists in one statement."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from creditdesk.credits.directory import UserKind, sort_name
from creditdesk.credits.errors import InvalidRangeError
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.ranges import Months, Range, months_of
from creditdesk.credits.usage import month_arguments
from creditdesk.db.connections import Connection, Row

_NO_ID = UUID(int=0)
_NO_MONTHS = month_arguments(Months(date.min, date.min, ()))


@dataclass(frozen=True, slots=True)
class User:
    """A person or a service account."""

    id: UUID
    display_name: str
    email: str | None
    external_id: str | None
    kind: UserKind
    active: bool
    home_group_id: UUID | None
    version: int


@dataclass(frozen=True, slots=True)
class Group:
    """People in a workspace."""

    id: UUID
    slug: str
    name: str
    version: int


class OrderedBy(Enum):
    """What a list of people or groups is ordered by."""

    NAME = "The name, without regard to case and accents."
    CREDITS = "The credits used in a range; then the name."


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a list. `range` has whole days only, and is there for CREDITS only."""

    by: OrderedBy = OrderedBy.NAME
    descending: bool = False
    range: Range | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where an item stands in a list's order."""

    number: int
    name: str
    id: UUID


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list to read: `size` items past a position, or, `from_end`, the last ones before it."""

    size: int
    past: Position | None = None
    from_end: bool = False


@dataclass(frozen=True, slots=True)
class UserFilter:
    """What users a list is narrowed to; None does not narrow. `search` is looked for in names and e-mail addresses."""

    search: str | None = None
    groups: tuple[UUID, ...] | None = None
    kind: UserKind | None = None
    active: bool | None = None


Item = TypeVar("Item")
Listed = TypeVar("Listed")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Items in the list's order, each with its position; `more` where the list goes on beyond them.

    `total` is how many the whole list has, where that was asked for with the page.
    """

    items: tuple[tuple[Item, Position], ...]
    more: bool
    total: int | None = None


class UserRows(NamedTuple):
    """A page of users as the database returns them, for `user_of` and `position_of`."""

    rows: list[Row]
    more: bool
    total: int | None


def _scope(permitted: PermittedScopes) -> dict[str, object]:
    return {
        "workspace_id": permitted.workspace_id,
        "everyone": permitted.everyone,
        "own_user": permitted.user_id,
        "managed_groups": list(permitted.managed_groups),
    }


def _user(row: Row) -> User:
    user_id, display_name, email, external_id, kind, active, home_group_id, version = row
    return User(user_id, display_name, email, external_id, UserKind[kind], active, home_group_id, version)


async def users_by_id(conn: Connection, permitted: PermittedScopes, ids: Collection[UUID]) -> dict[UUID, User]:
    """Return those of the users that the caller may see."""
    rows = await conn.rows("users_by_id", ids=list(ids), **_scope(permitted))
    return {row[0]: _user(row) for row in rows}


async def user_by_address(
    conn: Connection, permitted: PermittedScopes, *, email: str | None = None, external_id: str | None = None
) -> User | None:
    """Return the user with this e-mail address or external id, where the caller may see them."""
    lowered = email.lower() if email is not None else None
    rows = await conn.rows("users_by_address", email=lowered, external_id=external_id, **_scope(permitted))
    return _user(rows[0]) if rows else None


async def groups_by_id(conn: Connection, permitted: PermittedScopes, ids: Collection[UUID]) -> dict[UUID, Group]:
    """Return those of the groups that the caller may see."""
    rows = await conn.rows("groups_by_id", ids=list(ids), **_scope(permitted))
    return {row[0]: Group(*row) for row in rows}


async def group_by_slug(conn: Connection, permitted: PermittedScopes, *, slug: str) -> Group | None:
    """Return the group with this slug, where the caller may see it."""
    rows = await conn.rows("groups_by_slug", slug=slug, **_scope(permitted))
    return Group(*rows[0]) if rows else None


async def groups_of_users(
    conn: Connection, permitted: PermittedScopes, users: Collection[UUID]
) -> dict[UUID, list[Group]]:
    """Return the groups that each user is in and the caller may see, by name."""
    groups: dict[UUID, list[Group]] = {user_id: [] for user_id in users}
    for user_id, *group in await conn.rows("groups_of_users", users=list(users), **_scope(permitted)):
        groups[user_id].append(Group(*group))
    return groups


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
    found = await users_rows(conn, permitted, groups, users, order=order, window=window, counted=counted)
    return [Page(tuple((user_of(row), position_of(row)) for row in page.rows), page.more, page.total) for page in found]


async def users_rows(
    conn: Connection,
    permitted: PermittedScopes,
    groups: Sequence[UUID | None],
    users: UserFilter,
    *,
    order: Order,
    window: Window,
    counted: bool = False,
) -> list[UserRows]:
    """Return the same as rows."""
    ranked = order.by is OrderedBy.CREDITS and order.descending and not window.from_end
    most = ranked and permitted.everyone and users == UserFilter() and list(groups) == [None]
    arguments = {**_scope(permitted), **_filter_arguments(users, groups), **_order_arguments(order, window)}
    totals: list[list[Row]] = []
    if counted and most:
        rows, *totals = await conn.several("users_page_of_most", "users_count", **arguments)
    elif counted:
        rows, *totals = await conn.several("users_page", "users_count", **arguments)
    elif most:
        rows = await conn.rows("users_page_of_most", **arguments)
    elif groups[0] is not None and users == UserFilter() and order.by is OrderedBy.NAME:
        rows = await conn.rows("members_page", **arguments)
    else:
        rows = await conn.rows("users_page", **arguments)
    found: list[list[Row]] = [[] for _ in groups]
    for row in rows:
        found[row[0] - 1].append(row)
    counts = _counts(groups, *totals) if totals else [None] * len(groups)
    return [UserRows(*_shown(one, window), total) for one, total in zip(found, counts, strict=True)]


def user_of(row: Row) -> User:
    """Return the user whom a row of `users_rows` holds."""
    return _user(row[1:9])


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
    return _counts(groups, await conn.rows("users_count", **_scope(permitted), **_filter_arguments(users, groups)))


async def groups_page(
    conn: Connection, permitted: PermittedScopes, search: str | None, *, order: Order, window: Window
) -> Page[Group]:
    """Return a page of the workspace's groups that the caller may see."""
    arguments = _order_arguments(order, window)
    rows = await conn.rows(
        "groups_page", search=sort_name(search) if search else None, **_scope(permitted), **arguments
    )
    found = [(Group(*group), Position(number, name, group[0])) for *group, number, name in rows]
    shown, more = _shown(found, window)
    return Page(tuple(shown), more)


async def groups_count(conn: Connection, permitted: PermittedScopes, search: str | None) -> int:
    """Return how many groups the list has."""
    rows = await conn.rows("groups_count", search=sort_name(search) if search else None, **_scope(permitted))
    return int(rows[0][0])
