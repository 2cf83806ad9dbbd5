"""Limits as a caller may see them: by id, in a list of those that one answers for, and a group's for its members."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from creditdesk.credits.controls import limit_of
from creditdesk.credits.limits import Limit, LimitScope
from creditdesk.credits.people import Page, Position, Window
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection


@dataclass(frozen=True, slots=True)
class LimitFilter:
    """What a list of limits is narrowed to; None does not narrow."""

    scope: LimitScope | None = None
    group_id: UUID | None = None
    user_id: UUID | None = None
    product: str | None = None
    cadence: Cadence | None = None


def sees_details(permitted: PermittedScopes, limit: Limit) -> bool:
    """Tell whether the caller may know who set a limit that they see, and why.

    Of what only applies to them, through a group or the workspace, they see what it allows.
    """
    return permitted.everyone or limit.scope is LimitScope.USER or limit.scope_id in permitted.managed_groups


async def limits_by_id(conn: Connection, permitted: PermittedScopes, ids: Collection[UUID]) -> dict[UUID, Limit]:
    """Return those of the limits that the caller may see."""
    rows = await conn.rows("limits_by_id", ids=list(ids), **_scope(permitted))
    return {row[0]: limit_of(row) for row in rows}


async def limits_page(
    conn: Connection, permitted: PermittedScopes, narrowed: LimitFilter, *, window: Window, now: datetime
) -> Page[Limit]:
    """Return a page of the limits that have not expired, the one that was set last first.

    A group manager's list has the rules of their groups and of those groups' members.
    """
    rows = await conn.rows(
        "limits_page",
        after_number=window.past.number if window.past else None,
        after_id=window.past.id if window.past else None,
        # One more than asked for tells whether the list goes on.
        size=window.size + 1,
        now=now,
        **_scope(permitted),
        **_narrowing(narrowed),
    )
    items = [(limit_of(tuple(row)), Position(number, "", row[0])) for *row, number in rows]
    return Page(tuple(items[: window.size]), more=len(items) > window.size)


async def limits_count(conn: Connection, permitted: PermittedScopes, narrowed: LimitFilter, *, now: datetime) -> int:
    """Return how many limits the list has."""
    rows = await conn.rows("limits_count", now=now, **_scope(permitted), **_narrowing(narrowed))
    return int(rows[0][0])


async def member_limits(
    conn: Connection, permitted: PermittedScopes, groups: Collection[UUID], *, now: datetime
) -> dict[UUID, Limit]:
    """Return the limit in force of each group for each of its members, for all usage in a calendar month."""
    rows = await conn.rows("member_limits", groups=list(groups), now=now, **_scope(permitted))
    return {limit.scope_id: limit for limit in (limit_of(row) for row in rows)}


def _scope(permitted: PermittedScopes) -> dict[str, object]:
    return {
        "workspace_id": permitted.workspace_id,
        "everyone": permitted.everyone,
        "own_user": permitted.user_id,
        "managed_groups": list(permitted.managed_groups),
    }


def _narrowing(narrowed: LimitFilter) -> dict[str, object]:
    return {
        "scope": narrowed.scope.name if narrowed.scope else None,
        "group_id": narrowed.group_id,
        "user_id": narrowed.user_id,
        "product": narrowed.product,
        "cadence": narrowed.cadence.name if narrowed.cadence else None,
    }
