"""Requests as a caller may see them: by id, and in pages, the newest first, many lists in one statement."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from creditdesk.credits.errors import InvalidCursorError
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.people import Page, Position, Window
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.request_rows import request_of
from creditdesk.credits.request_rules import CreditRequest, RequestState
from creditdesk.db.connections import Connection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """What requests a list is narrowed to; None does not narrow.

    `states` are as they are at the moment of asking, `groups` those that whoever asks is in now. An empty product is
    of the limits for all usage. `created_from` is in the span of time, `created_to` is not.
    """

    states: tuple[RequestState, ...] | None = None
    users: tuple[UUID, ...] | None = None
    groups: tuple[UUID, ...] | None = None
    product: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


async def requests_by_id(
    conn: Connection, permitted: PermittedScopes, ids: Collection[UUID]
) -> dict[UUID, CreditRequest]:
    """Return those of the requests that the caller may see, as they are stored."""
    rows = await conn.rows(
        "requests_by_id",
        workspace_id=permitted.workspace_id,
        everyone=permitted.everyone,
        own_user=permitted.user_id,
        managed_groups=list(permitted.managed_groups),
        ids=list(ids),
    )
    return {row[0]: request_of(row) for row in rows}


async def requests_pages(
    conn: Connection,
    permitted: PermittedScopes,
    scope: LimitScope,
    scope_ids: Sequence[UUID],
    requests: RequestFilter,
    *,
    window: Window,
    now: datetime,
) -> list[Page[CreditRequest]]:
    """Return a page of the requests of each user, of each group's members, or of the workspace, as stored.

    Raise InvalidCursorError for a position that is no moment.
    """
    rows = await conn.rows(
        "requests_page",
        **_list_arguments(permitted, scope, scope_ids, requests, now),
        after_created_at=_moment_of(window.past) if window.past else None,
        after_id=window.past.id if window.past else None,
        # One more than asked for tells whether the list goes on.
        size=window.size + 1,
    )
    found: list[list[tuple[CreditRequest, Position]]] = [[] for _ in scope_ids]
    for nth, *row in rows:
        request = request_of(tuple(row))
        found[nth - 1].append((request, _position_of(request)))
    return [Page(tuple(items[: window.size]), more=len(items) > window.size) for items in found]


async def requests_counts(
    conn: Connection,
    permitted: PermittedScopes,
    scope: LimitScope,
    scope_ids: Sequence[UUID],
    requests: RequestFilter,
    *,
    now: datetime,
) -> list[int]:
    """Return how many requests each list has."""
    counts = [0] * len(scope_ids)
    arguments = _list_arguments(permitted, scope, scope_ids, requests, now)
    for nth, count in await conn.rows("requests_count", **arguments):
        counts[nth - 1] = count
    return counts


def _list_arguments(
    permitted: PermittedScopes, scope: LimitScope, scope_ids: Sequence[UUID], requests: RequestFilter, now: datetime
) -> dict[str, object]:
    return {
        "workspace_id": permitted.workspace_id,
        "everyone": permitted.everyone,
        # A manager's queue is of what others ask; one's own requests are with one's own user.
        "own_user": permitted.user_id if scope is LimitScope.USER else None,
        "managed_groups": list(permitted.managed_groups),
        "scope_kind": scope.name,
        "scopes": list(scope_ids),
        "states": None if requests.states is None else [state.name for state in requests.states],
        "users": None if requests.users is None else list(requests.users),
        "groups": None if requests.groups is None else list(requests.groups),
        "asked_product": requests.product,
        "created_from": requests.created_from,
        "created_to": requests.created_to,
        "now": now,
    }


def _position_of(request: CreditRequest) -> Position:
    return Position((request.created_at - _EPOCH) // _MICROSECOND, "", request.id)


def _moment_of(position: Position) -> datetime:
    try:
        return _EPOCH + position.number * _MICROSECOND
    except OverflowError as error:
        raise InvalidCursorError from error
