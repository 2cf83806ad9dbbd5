"""Reading the audit trail, from the newest entry on. What is written into it is in `credits/audit.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from creditdesk.credits.audit import AuditAction
from creditdesk.credits.people import Page, Position, Window
from creditdesk.db.connections import Connection, Row


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change: who made it, and what it was about before and after; None where there was, or is, no object."""

    id: int
    at: datetime
    actor_kind: str
    actor_subject: str
    actor_user_id: UUID | None
    action: AuditAction
    object_type: str
    object_id: UUID
    user_id: UUID | None
    group_id: UUID | None
    before: Mapping[str, str | None] | None
    after: Mapping[str, str | None] | None
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What entries a list is narrowed to; None does not narrow. `user_id` is whom a change concerns."""

    action: AuditAction | None = None
    user_id: UUID | None = None
    object_id: UUID | None = None
    start: datetime | None = None
    end: datetime | None = None


async def audit_page(
    conn: Connection, workspace_id: UUID, narrowed: AuditFilter, *, window: Window
) -> Page[AuditEntry]:
    """Return a page of the audit trail, newest first. For those only who may read all of it."""
    rows = await conn.rows(
        "audit_page",
        workspace_id=workspace_id,
        after_number=window.past.number if window.past else None,
        # One more than asked for tells whether the list goes on.
        size=window.size + 1,
        **_narrowing(narrowed),
    )
    items = [(_entry(row), Position(row[0], "", row[7])) for row in rows]
    return Page(tuple(items[: window.size]), more=len(items) > window.size)


async def audit_count(conn: Connection, workspace_id: UUID, narrowed: AuditFilter) -> int:
    """Return how many entries the list has."""
    rows = await conn.rows("audit_count", workspace_id=workspace_id, **_narrowing(narrowed))
    return int(rows[0][0])


def _entry(row: Row) -> AuditEntry:
    id_, at, kind, subject, actor_user, action, *rest = row
    return AuditEntry(id_, at, kind, subject, actor_user, AuditAction[action], *rest)


def _narrowing(narrowed: AuditFilter) -> dict[str, object]:
    return {
        "action": narrowed.action.name if narrowed.action else None,
        "user_id": narrowed.user_id,
        "object_id": narrowed.object_id,
        "range_start": narrowed.start,
        "range_end": narrowed.end,
    }
