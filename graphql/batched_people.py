"""Members of many groups at once, as rows: read together, and made users of only where a resolver has to see one."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from creditdesk.credits import people, people_lists
from creditdesk.db.connections import Row
from creditdesk.graphql.connections import Connection, PageInfo, connection_of, page_info, window_of
from creditdesk.graphql.context import Info
from creditdesk.graphql.cursors import encode_cursor
from creditdesk.graphql.enums import UserKind
from creditdesk.graphql.execution.plans import Shape
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


async def read_members(
    groups: Sequence[UUID],
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    order_by: UserOrder | None = None,
) -> list[MembersPage]:
    """Read a page of each group's members."""
    context, wanted = info.context, people.UserFilter()
    order = order_by.resolved(context) if order_by else people.Order()
    window = window_of(order, first, after, last, before)
    pages = await people_lists.users_rows(context.reader, context.permitted, groups, wanted, order=order, window=window)
    counts = context.loaders.user_counts

    def count(group: UUID) -> Callable[[], Awaitable[int]]:
        return lambda: counts.load((True, wanted), group)

    return [
        MembersPage(page.rows, page.more, order, window, count(group))
        for group, page in zip(groups, pages, strict=True)
    ]


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
MEMBERS = Shape(
    {"nodes": ("s.rows", _MEMBER), "edges": ("[(row, s.order) for row in s.rows]", _EDGE), "pageInfo": "s.info"}, {}
)
