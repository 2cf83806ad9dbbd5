"""Members of many groups at once, as rows: read together, and made users of only where a resolver has to see one."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from creditdesk.credits import people, people_lists
from creditdesk.credits.people_lists import UserRows
from creditdesk.db.connections import Row
from creditdesk.db.lookups import Lookup
from creditdesk.graphql.connections import Connection, PageInfo, connection_of, page_info, window_of
from creditdesk.graphql.context import Context, Info
from creditdesk.graphql.cursors import encode_cursor
from creditdesk.graphql.enums import UserKind
from creditdesk.graphql.execution.plans import Ask, Shape
from creditdesk.graphql.ids import encode_id
from creditdesk.graphql.people import UserOrder
from creditdesk.graphql.usage import User


class MembersPage(NamedTuple):
    """A page of a group's members, as rows of `people_lists.users_rows`."""

    rows: list[Row]
    more: bool
    order: people.Order
    window: people.Window
    counted: Callable[[], Awaitable[int]]

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
    order, window = _asked(info, first, after, last, before, order_by)
    counts = info.context.loaders.user_counts

    def count(group: UUID) -> Callable[[], Awaitable[int]]:
        return lambda: counts.load((True, people.UserFilter()), group)

    def shown(pages: Sequence[UserRows]) -> list[MembersPage]:
        return [
            MembersPage(page.rows, page.more, order, window, count(group))
            for group, page in zip(groups, pages, strict=True)
        ]

    return Ask(_members, (order, window, False), groups, shown)


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
    return Ask(_members, (*_asked(info, first, after, last, before, order_by), True), groups)


def _asked(
    info: Info, first: int | None, after: str | None, last: int | None, before: str | None, order_by: UserOrder | None
) -> tuple[people.Order, people.Window]:
    order = order_by.resolved(info.context) if order_by else people.Order()
    return order, window_of(order, first, after, last, before)


def _members(
    context: Context, question: tuple[people.Order, people.Window, bool], groups: Sequence[UUID]
) -> Lookup[list[UserRows]]:
    order, window, named = question
    return people_lists.users_rows(
        context.permitted, groups, people.UserFilter(), order=order, window=window, named=named
    )


def shown_members(page: MembersPage) -> Connection[User]:
    """Return the type's own object of a page."""
    items = tuple((people_lists.user_of(row), people_lists.position_of(row)) for row in page.rows)
    return connection_of(people.Page(items, page.more), page.order, page.window, show=User.of, count=page.counted)


async def read_users(ids: Sequence[UUID | None], info: Info) -> list[User | None]:
    """Read the users of rows."""
    known = list(dict.fromkeys(id_ for id_ in ids if id_))
    loaded = await info.context.loaders.users.load_many(known)
    found = {id_: User.of(user) for id_, user in zip(known, loaded, strict=True) if user}
    return [found.get(id_) if id_ else None for id_ in ids]


_MEMBER = Shape(
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
    {"node": ("s[0]", _MEMBER), "cursor": "encode_cursor(s[1], position_of(s[0]))"},
    {"encode_cursor": encode_cursor, "position_of": people_lists.position_of},
)
MEMBER_NAMES = Shape(
    {
        "nodes": (
            "s.rows",
            Shape({name: _MEMBER.reads[name] for name in ("user_id", "id", "displayName")}, _MEMBER.names),
        )
    },
    {},
)
MEMBERS = Shape(
    {"nodes": ("s.rows", _MEMBER), "edges": ("[(row, s.order) for row in s.rows]", _EDGE), "pageInfo": "s.info"}, {}
)
