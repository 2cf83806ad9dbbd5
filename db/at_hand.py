"""Connections at hand: whoever gave one back last, the next one takes it.

psycopg's pool hands out the connection that has rested longest, so a busy server goes round all of its sessions. Each
has caches of its own in PostgreSQL, of plans and of the catalog, which are out of the processor's by then.
"""

from time import monotonic

from psycopg.pq import ConnStatus, TransactionStatus
from psycopg_pool import AsyncConnectionPool

from creditdesk.db.messages import ServerConnection

MOST_AT_HAND = 4
"""How many connections are kept out of the pool while nobody uses them."""

LONGEST_SECONDS = 60.0
"""After so long a connection goes back to the pool, which looks at its age and at how many there are."""


class AtHand:
    """A pool's connections, of which a few are kept at hand."""

    def __init__(self, pool: AsyncConnectionPool[ServerConnection]) -> None:
        self._pool = pool
        self._kept: list[ServerConnection] = []
        self._waiting = 0
        self._is_ending = False

    def __len__(self) -> int:
        """Return how many connections are at hand, which the pool counts among those that are used."""
        return len(self._kept)

    async def take(self) -> ServerConnection:
        """Return a connection, to be given back; raise PoolTimeout or PoolClosed where there is none."""
        if self._kept:
            return self._kept.pop()
        self._waiting += 1
        try:
            connection = await self._pool.getconn()
        finally:
            self._waiting -= 1
        connection.taken_at = monotonic()
        return connection

    async def give(self, connection: ServerConnection) -> None:
        """Take a connection back, whatever has become of it."""
        if self._may_be_kept(connection):
            self._kept.append(connection)
        else:
            await self._pool.putconn(connection)

    def _may_be_kept(self, connection: ServerConnection) -> bool:
        session = connection.pgconn
        return (
            not self._waiting
            and not self._is_ending
            and len(self._kept) < MOST_AT_HAND
            and session.status == ConnStatus.OK
            and session.transaction_status == TransactionStatus.IDLE
            and monotonic() - connection.taken_at < LONGEST_SECONDS
        )

    async def put_down(self) -> None:
        """Give all that are at hand back to the pool, and keep none from now on."""
        self._is_ending = True
        kept, self._kept = self._kept, []
        for connection in kept:
            await self._pool.putconn(connection)
