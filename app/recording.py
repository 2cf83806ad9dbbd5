"""Recording batch after batch: a batch is idempotent, so one that the database did not take is simply sent again."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from creditdesk.credits.event_rules import UsageEvent
from creditdesk.credits.usage_events import Recorded, record_usage
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseUnavailable, StatementTimeout
from creditdesk.db.scopes import DatabaseRole, RowScope

PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt: a restart of PostgreSQL takes less than their sum."""


async def record_batch(
    database: Database, *, workspace_id: UUID, events: Sequence[UsageEvent], now: datetime
) -> Recorded:
    """Record a batch in a transaction of its own; raise DatabaseUnavailable or StatementTimeout after six attempts."""
    for pause in PAUSES:
        try:
            return await _record(database, workspace_id, events, now)
        except (DatabaseUnavailable, StatementTimeout):
            await asyncio.sleep(pause)
    return await _record(database, workspace_id, events, now)


async def _record(database: Database, workspace_id: UUID, events: Sequence[UsageEvent], now: datetime) -> Recorded:
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)) as conn:
        return await record_usage(conn, workspace_id=workspace_id, events=events, now=now)
