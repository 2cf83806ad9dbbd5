"""What a running server does by itself, every few hours."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from creditdesk.credits.partitions import make_partitions_ahead
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseError

SECONDS_BETWEEN = 6 * 3600
_SECONDS_AFTER_FAILURE = 60

_log = logging.getLogger(__name__)


@asynccontextmanager
async def kept_up(database: Database) -> AsyncIterator[None]:
    """Keep the database ready for the months to come, while the block lasts."""
    task = asyncio.create_task(_keep_up(database))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep_up(database: Database) -> None:
    while True:
        try:
            made = await make_partitions_ahead(database, today=datetime.now(UTC).date())
        except DatabaseError as error:
            _log.warning("partitions for the coming months could not be made: %s", error)
            await asyncio.sleep(_SECONDS_AFTER_FAILURE)
            continue
        if made:
            _log.info("made %d partitions for the coming months", made)
        await asyncio.sleep(SECONDS_BETWEEN)
