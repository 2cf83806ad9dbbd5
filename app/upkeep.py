"""What a running server does by itself, every now and then."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from creditdesk.app.metrics import Metrics
from creditdesk.credits.changes import trim_outbox
from creditdesk.credits.partitions import make_partitions_ahead
from creditdesk.credits.sessions import remove_expired_sessions
from creditdesk.db.background import end
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseError
from creditdesk.db.readiness import pool_use

SECONDS_BETWEEN = 6 * 3600
SECONDS_BETWEEN_TRIMS = 300
SECONDS_BETWEEN_NOTES = 1
SECONDS_BETWEEN_REMOVALS = 900
_SECONDS_AFTER_FAILURE = 60

_log = logging.getLogger(__name__)


@asynccontextmanager
async def kept_up(database: Database, metrics: Metrics, *, session_idle: timedelta) -> AsyncIterator[None]:
    """Keep the database ready for the months to come, the outbox short, and sessions that have expired out of it.

    Where workers share their metrics each notes what it knows of itself, whichever is asked for the page.
    """

    async def note(database: Database) -> None:
        metrics.note_pool(pool_use(database))
        metrics.write_out()

    tasks = [
        asyncio.create_task(_again_and_again(_make_partitions, database, SECONDS_BETWEEN)),
        asyncio.create_task(_again_and_again(_trim, database, SECONDS_BETWEEN_TRIMS)),
        asyncio.create_task(
            _again_and_again(partial(_remove_expired, idle=session_idle), database, SECONDS_BETWEEN_REMOVALS)
        ),
    ]
    if metrics.is_shared:
        tasks.append(asyncio.create_task(_again_and_again(note, database, SECONDS_BETWEEN_NOTES)))
    try:
        yield
    finally:
        await end(*tasks)
        metrics.write_out()


async def _again_and_again(chore: Callable[[Database], Awaitable[None]], database: Database, seconds: float) -> None:
    while True:
        try:
            await chore(database)
        except DatabaseError as error:
            _log.warning("upkeep has to wait: %s", error)
            await asyncio.sleep(_SECONDS_AFTER_FAILURE)
        else:
            await asyncio.sleep(seconds)


async def _make_partitions(database: Database) -> None:
    made = await make_partitions_ahead(database, today=datetime.now(UTC).date())
    if made:
        _log.info("made %d partitions for the coming months", made)


async def _trim(database: Database) -> None:
    await trim_outbox(database, now=datetime.now(UTC))


async def _remove_expired(database: Database, *, idle: timedelta) -> None:
    now = datetime.now(UTC)
    removed = await remove_expired_sessions(database, now=now, seen_since=now - idle)
    if removed:
        _log.info("removed %d sessions that had expired", removed)
