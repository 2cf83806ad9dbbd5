"""Objects with an id of their own (the Relay Node interface), and the way from an id to its object.

Types lead to each other in circles, modules do not: a type is found by its name here, whichever module it is in.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar
from uuid import UUID

import strawberry

from creditdesk.graphql.context import Info

_HOMES = {
    "User": "usage",
    "Group": "usage",
    "Workspace": "workspace",
    "CreditLimit": "limits",
}
"""In which module of this folder a type is that others, below it, lead to."""


@strawberry.interface(description="An object that can be fetched again by its id (Relay's Node).")
class Node:
    """An object with an id."""

    id: strawberry.ID = strawberry.field(description="The object's id: opaque, and unique over all types.")


_finders: dict[str, Callable[[Info, UUID], Awaitable[Node | None]]] = {}

Finder = TypeVar("Finder", bound=Callable[[Info, UUID], Awaitable[Node | None]])


def found_by(type_name: str) -> Callable[[Finder], Finder]:
    """Say that this function finds objects of a type: those that the caller may see."""

    def remember(finder: Finder) -> Finder:
        _finders[type_name] = finder
        return finder

    return remember


async def node_of(info: Info, type_name: str, id_: UUID | None) -> Node | None:
    """Return the object of this type and id; None where there is none, or none that the caller may see."""
    finder = _finders.get(type_name)
    return await finder(info, id_) if finder and id_ else None


def later(type_name: str) -> Any:
    """Return a type that is defined in a module above, for `graphql_type` of a field whose resolver asks `node_of`."""
    return Annotated[type_name, strawberry.lazy(f"creditdesk.graphql.{_HOMES[type_name]}")]
