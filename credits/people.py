"""Users and groups as a caller may see them, by id and by name; and what a list of them is asked for."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar
from uuid import UUID

from creditdesk.credits.directory import UserKind
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.ranges import Range
from creditdesk.db.connections import Connection, Row
from creditdesk.db.lookups import Lookup, lookup


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


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Items in the list's order, each with its position; `more` where the list goes on beyond them.

    `total` is how many the whole list has, where that was asked for with the page.
    """

    items: tuple[tuple[Item, Position], ...]
    more: bool
    total: int | None = None


def caller_arguments(permitted: PermittedScopes) -> dict[str, object]:
    """Return what every statement about people takes: who is asking, and whom they may see."""
    return {
        "workspace_id": permitted.workspace_id,
        "everyone": permitted.everyone,
        "own_user": permitted.user_id,
        "managed_groups": list(permitted.managed_groups),
    }


def user_from(row: Row) -> User:
    """Return the user of a row that holds nothing else."""
    user_id, display_name, email, external_id, kind, active, home_group_id, version = row
    return User(user_id, display_name, email, external_id, UserKind[kind], active, home_group_id, version)


async def users_by_id(conn: Connection, permitted: PermittedScopes, ids: Collection[UUID]) -> dict[UUID, User]:
    """Return those of the users that the caller may see."""
    [found] = await conn.look_up([users_named(permitted, ids)])
    return found


def users_named(permitted: PermittedScopes, ids: Collection[UUID]) -> Lookup[dict[UUID, User]]:
    """State what finds the same as `users_by_id`."""
    return lookup(
        lambda rows: {row[0]: user_from(row) for row in rows[0]},
        "users_by_id",
        ids=list(ids),
        **caller_arguments(permitted),
    )


async def user_by_address(
    conn: Connection, permitted: PermittedScopes, *, email: str | None = None, external_id: str | None = None
) -> User | None:
    """Return the user with this e-mail address or external id, where the caller may see them."""
    lowered = email.lower() if email is not None else None
    rows = await conn.rows("users_by_address", email=lowered, external_id=external_id, **caller_arguments(permitted))
    return user_from(rows[0]) if rows else None


async def groups_by_id(conn: Connection, permitted: PermittedScopes, ids: Collection[UUID]) -> dict[UUID, Group]:
    """Return those of the groups that the caller may see."""
    rows = await conn.rows("groups_by_id", ids=list(ids), **caller_arguments(permitted))
    return {row[0]: Group(*row) for row in rows}


async def group_by_slug(conn: Connection, permitted: PermittedScopes, *, slug: str) -> Group | None:
    """Return the group with this slug, where the caller may see it."""
    rows = await conn.rows("groups_by_slug", slug=slug, **caller_arguments(permitted))
    return Group(*rows[0]) if rows else None


async def groups_of_users(
    conn: Connection, permitted: PermittedScopes, users: Collection[UUID]
) -> dict[UUID, list[Group]]:
    """Return the groups that each user is in and the caller may see, by name."""
    groups: dict[UUID, list[Group]] = {user_id: [] for user_id in users}
    for user_id, *group in await conn.rows("groups_of_users", users=list(users), **caller_arguments(permitted)):
        groups[user_id].append(Group(*group))
    return groups
