"""A connection that listens: what other processes say they have changed reaches this one."""

import asyncio
import logging
from collections.abc import AsyncIterator

import psycopg

from creditdesk.db.connections import Database

CHANNEL = "creditdesk_changes"
_LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


async def heard(database: Database) -> AsyncIterator[str | None]:
    """Yield each message of the channel, for ever; None whenever it is only now that nothing more can be missed.

    The connection is made again when it breaks. What was said meanwhile is lost: after a None, look for yourself.
    """
    pause = 0.1
    while True:
        try:
            async with await _connected(database) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                pause = 0.1
                yield None
                async for message in connection.notifies():
                    yield message.payload
        except psycopg.Error as error:
            _log.info("changes of other servers are not heard, for now: %s", type(error).__name__)
        # Twice as long each time, so that a database that is down is not hammered.
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


async def _connected(database: Database) -> psycopg.AsyncConnection:
    # Nothing is sent over it: only keepalives tell that the other side is gone.
    return await psycopg.AsyncConnection.connect(
        str(database._pool.conninfo),  # noqa: SLF001 - of the same floor
        autocommit=True,
        application_name="creditdesk listener",
        connect_timeout=5,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
    )
