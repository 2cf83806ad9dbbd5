"""Connections as Relay describes them: a page of a list, with cursors to go on from."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Generic, TypeVar

import strawberry

from creditdesk.credits.errors import InvalidPageError
from creditdesk.credits.people import Order, Page, Position, Window
from creditdesk.graphql.context import Info
from creditdesk.graphql.cursors import decode_cursor, encode_cursor
from creditdesk.graphql.selections import selects_any

MAX_PAGE = 100
DEFAULT_PAGE = 50
_TOTAL = frozenset({"totalCount"})

NodeType = TypeVar("NodeType")
Item = TypeVar("Item")

First = Annotated[
    int | None, strawberry.argument(description="Take this many from the start, 1 to 100; 50 where nothing is given.")
]
After = Annotated[str | None, strawberry.argument(description="Start behind the item of this cursor.")]
Last = Annotated[
    int | None, strawberry.argument(description="Take this many from the end, 1 to 100. Not together with `first`.")
]
Before = Annotated[str | None, strawberry.argument(description="Stop before the item of this cursor.")]


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """Relay's PageInfo."""

    has_next_page: bool = strawberry.field(description="Whether there is more behind this page.")
    has_previous_page: bool = strawberry.field(description="Whether there is more before this page.")
    start_cursor: str | None = strawberry.field(description="The cursor of the page's first item.")
    end_cursor: str | None = strawberry.field(description="The cursor of the page's last item.")


@strawberry.type(description="An item of a page, with its cursor.")
class Edge(Generic[NodeType]):
    """Relay's Edge."""

    node: NodeType = strawberry.field(description="The item.")
    cursor: str = strawberry.field(description="Where the item stands in the list: for `after` and `before`.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[NodeType]):
    """Relay's Connection; the count is read only where it is asked for."""

    edges: list[Edge[NodeType]] = strawberry.field(description="The page's items with their cursors.")
    nodes: list[NodeType] = strawberry.field(description="The page's items.")
    page_info: PageInfo = strawberry.field(description="Where the page stands in the list.")
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @strawberry.field(description="How many items the whole list has. It costs a read of its own.")
    async def total_count(self) -> int:
        """Count the list."""
        return await self.count()


def wants_total(info: Info) -> bool:
    """Tell whether the count of a connection's list is selected."""
    return selects_any(info._raw_info, _TOTAL)  # noqa: SLF001 - Strawberry has no public way to the field's nodes


def window_of(
    order: Order | str, first: int | None, after: str | None, last: int | None = None, before: str | None = None
) -> Window:
    """Return the part of the list that is asked for; raise InvalidPageError or InvalidCursorError."""
    backward = last is not None or before is not None
    if backward and (first is not None or after is not None):
        raise InvalidPageError("Page forward with `first` and `after`, or backward with `last` and `before`.")
    size = last if backward else first
    if size is None:
        size = DEFAULT_PAGE
    if not 1 <= size <= MAX_PAGE:
        raise InvalidPageError
    cursor = before if backward else after
    return Window(size, decode_cursor(order, cursor) if cursor is not None else None, from_end=backward)


def connection_of(
    page: Page[Item],
    order: Order | str,
    window: Window,
    *,
    show: Callable[[Item], NodeType],
    count: Callable[[], Awaitable[int]],
) -> Connection[NodeType]:
    """Show a page."""
    edges = [Edge(node=show(item), cursor=encode_cursor(order, position)) for item, position in page.items]
    return Connection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=page_info(order, window, [position for _, position in page.items], more=page.more),
        count=count,
    )


def page_info(order: Order | str, window: Window, positions: Sequence[Position], *, more: bool) -> PageInfo:
    """Return where a page stands; `positions` are its items', or its first and last one's."""
    return PageInfo(
        has_next_page=window.past is not None if window.from_end else more,
        has_previous_page=more if window.from_end else window.past is not None,
        start_cursor=encode_cursor(order, positions[0]) if positions else None,
        end_cursor=encode_cursor(order, positions[-1]) if positions else None,
    )
