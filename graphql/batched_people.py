"""Users of the workspace and of many groups, as rows, and made users of only where a resolver has to see one."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias
from uuid import UUID

from creditdesk.credits import people, people_lists
from creditdesk.credits.people import users_named
from creditdesk.credits.people_lists import UserRows
from creditdesk.db.connections import Row
from creditdesk.db.lookups import Lookup, found_of
from creditdesk.graphql.connections import Connection, PageInfo, connection_of, page_info, wants_total, window_of
from creditdesk.graphql.context import Context, Info
from creditdesk.graphql.cursors import encode_cursor
from creditdesk.graphql.enums import UserKind
from creditdesk.graphql.execution.plans import Ask, DeclinedError, Shape
from creditdesk.graphql.ids import encode_id
from creditdesk.graphql.loaders import UsersQuestion
from creditdesk.graphql.people import GroupFilter, GroupOrder, UserFilter, UserOrder
from creditdesk.graphql.usage import Group, User
from creditdesk.graphql.workspace import shown_groups

_Page: TypeAlias = tuple[int | None, str | None, int | None, str | None]
"""`first`, `after`, `last` and `before`."""


MOST_KEPT = 100
"""Of those on pages that are kept."""


class UsersPage(NamedTuple):
    """A page of users, as rows of `people_lists.users_rows`; `total` is there where it is selected."""

    rows: list[Row]
    more: bool
    total: int | None
    order: people.Order
    window: people.Window

    @property
    def info(self) -> PageInfo:
        """Return where the page stands in its list."""
        ends = [people_lists.position_of(row) for row in (*self.rows[:1], *self.rows[-1:])]
        return page_info(self.order, self.window, ends, more=self.more)


def read_members(
    groups: Sequence[UUID],
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    order_by: UserOrder | None = None,
) -> Ask:
    """Ask for a page of each group's members."""
    return _page_of_each(groups, info, people.UserFilter(), order_by, (first, after, last, before))


def read_member_names(
    groups: Sequence[UUID],
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    order_by: UserOrder | None = None,
) -> Ask:
    """Ask for the same, and nothing but the ids and names of those who are on it."""
    order, window = _asked(info, order_by, (first, after, last, before))
    return Ask(_member_names, (order, window), groups, lasts=_last(order, window, groups))


def read_users_of_workspaces(
    workspaces: Sequence[object],
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    filter: UserFilter | None = None,
    order_by: UserOrder | None = None,
) -> Ask:
    """Ask for a page of the workspace's users: there is only one workspace, however often it is asked for."""
    wanted = filter.wanted() if filter else people.UserFilter()
    return _page_of_each([None] * len(workspaces), info, wanted, order_by, (first, after, last, before))


def _page_of_each(
    groups: Sequence[UUID | None],
    info: Info,
    users: people.UserFilter,
    order_by: UserOrder | None,
    page: _Page,
) -> Ask:
    order, window = _asked(info, order_by, page)

    def shown(found: Sequence[UserRows]) -> list[UsersPage]:
        return [UsersPage(*one, order, window) for one in found]

    question = (groups[0] is not None, users, order, window, wants_total(info))
    return Ask(_users_rows, question, groups, shown, _last(order, window, groups))


def read_groups_of_workspaces(
    workspaces: Sequence[object],
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    filter: GroupFilter | None = None,
    order_by: GroupOrder | None = None,
) -> Ask:
    """Ask for a page of the workspace's groups: there is only one workspace, however often it is asked for."""
    search = filter.search if filter else None
    order, window = _asked(info, order_by, (first, after, last, before))

    def shown(found: Sequence[people.Page[people.Group]]) -> list[Connection[Group]]:
        return [shown_groups(page, info.context, search, order, window) for page in found]

    pages = [None] * len(workspaces)
    return Ask(_groups, (search, order, window), pages, shown, _last(order, window, pages))


def _groups(
    context: Context, question: tuple[str | None, people.Order, people.Window], pages: Sequence[None]
) -> Lookup[list[people.Page[people.Group]]]:
    search, order, window = question
    found = people_lists.groups_listed(context.permitted, search, order=order, window=window)
    return found_of(found, lambda page: [page] * len(pages))


def _last(order: people.Order, window: people.Window, pages: Sequence[object]) -> bool:
    """Tell whether pages stay the same until the version moves, and are little to keep.

    Whatever changes users, groups, and who is in which makes a new version; what was used is another matter.
    """
    return order.by is people.OrderedBy.NAME and len(pages) * window.size <= MOST_KEPT


def _asked(info: Info, order_by: UserOrder | GroupOrder | None, page: _Page) -> tuple[people.Order, people.Window]:
    order = order_by.resolved(info.context) if order_by else people.Order()
    return order, window_of(order, *page)


def _users_rows(context: Context, question: UsersQuestion, groups: Sequence[UUID | None]) -> Lookup[list[UserRows]]:
    _, users, order, window, counted = question
    return people_lists.users_rows(context.permitted, groups, users, order=order, window=window, counted=counted)


def _member_names(
    context: Context, question: tuple[people.Order, people.Window], groups: Sequence[UUID]
) -> Lookup[list[UserRows]]:
    order, window = question
    users = people.UserFilter()
    return people_lists.users_rows(context.permitted, groups, users, order=order, window=window, named=True)


def shown_users(page: UsersPage) -> Connection[User]:
    """Return the type's own object of a page."""
    items = tuple((people_lists.user_of(row), people_lists.position_of(row)) for row in page.rows)

    async def count() -> int:
        if page.total is None:
            raise DeclinedError  # it was selected in a way that was not seen
        return page.total

    return connection_of(people.Page(items, page.more), page.order, page.window, show=User.of, count=count)


def read_own_users(viewers: Sequence[object], info: Info) -> Ask | list[people.User | None]:
    """Ask for the caller's own user, unless it is known."""
    context, count = info.context, len(viewers)
    id_, own = context.permitted.user_id, context.own
    known = own.known_user(id_) if own is not None else None
    return [known] * count if known is not None or id_ is None else Ask(_own_users, None, [id_] * count)


def _own_users(context: Context, _: None, ids: Sequence[UUID]) -> Lookup[list[people.User | None]]:
    if context.own is not None:
        return found_of(context.own.user(), lambda user: [user] * len(ids))
    return found_of(users_named(context.permitted, ids[:1]), lambda found: [found.get(id_) for id_ in ids])


async def read_users(ids: Sequence[UUID | None], info: Info) -> list[User | None]:
    """Read the users of rows."""
    known = list(dict.fromkeys(id_ for id_ in ids if id_))
    loaded = await info.context.loaders.users.load_many(known)
    found = {id_: User.of(user) for id_, user in zip(known, loaded, strict=True) if user}
    return [found.get(id_) if id_ else None for id_ in ids]


OWN_USER = Shape(
    {
        "user_id": "s.id",
        "id": "encode_id('User', s.id)",
        "displayName": "s.display_name",
        "email": "s.email",
        "kind": "s.kind",
        "active": "s.active",
        "version": "s.version",
    },
    {"encode_id": encode_id},
)
_USER = Shape(
    {
        "user_id": "s[1]",
        "id": "encode_id('User', s[1])",
        "displayName": "s[2]",
        "email": "s[3]",
        "kind": "UserKind[s[5]]",
        "active": "s[6]",
        "version": "s[8]",
    },
    {"encode_id": encode_id, "UserKind": UserKind},
)
_EDGE = Shape(
    {"node": ("s[0]", _USER), "cursor": "encode_cursor(s[1], position_of(s[0]))"},
    {"encode_cursor": encode_cursor, "position_of": people_lists.position_of},
)
MEMBER_NAMES = Shape(
    {
        "nodes": (
            "s.rows",
            Shape({name: _USER.reads[name] for name in ("user_id", "id", "displayName")}, _USER.names),
        )
    },
    {},
)
USERS = Shape(
    {
        "nodes": ("s.rows", _USER),
        "edges": ("[(row, s.order) for row in s.rows]", _EDGE),
        "pageInfo": "s.info",
        "totalCount": "s.total",
    },
    {},
)
