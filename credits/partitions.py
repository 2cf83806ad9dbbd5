"""Months of usage get their own partition before they begin; what waited in the default one moves into it."""

from datetime import date, timedelta

from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope

DAYS_AHEAD = 93


async def make_partitions_ahead(database: Database, *, today: date) -> int:
    """Make the partitions of this month and the next three that are missing; return how many were.

    Several servers may do so at once. Nothing is lost where it fails: events wait in the default partition.
    """
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, None)) as conn:
        [(made,)] = await conn.rows("ensure_usage_partitions", first=today, last=today + timedelta(days=DAYS_AHEAD))
    return int(made)
