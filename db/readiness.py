"""Whether the database is ready for this version, and how busy the pool is."""

from dataclasses import dataclass
from functools import cache

import psycopg
from psycopg import errors as pg

from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseError, DatabaseUnavailable
from creditdesk.db.migrate import head_revision

_head_revision = cache(head_revision)  # Alembic reads and imports every migration to tell


class SchemaBehind(DatabaseError):  # noqa: N818 - a state, and what /readyz says
    """The database's schema is not that of this version. Run `creditdesk migrate`."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


async def check_schema(database: Database) -> None:
    """Raise SchemaBehind unless every migration of this version has run."""
    try:
        # Read as the server's own role: alembic_version belongs to no workspace, and no policy speaks of it.
        async with database._connection() as connection:  # noqa: SLF001 - of the same floor
            cursor = await connection.execute("SELECT version_num FROM alembic_version")
            row = await cursor.fetchone()
    except (pg.UndefinedTable, pg.InsufficientPrivilege):
        raise SchemaBehind from None
    except psycopg.Error as error:
        raise DatabaseUnavailable(DatabaseUnavailable.__doc__) from error
    # Revisions are numbers of four digits. A later one is a newer version's, which migrates before it replaces this
    # one: its migrations expand, so this version still works and must not stop answering.
    if row is None or row[0] < _head_revision():
        raise SchemaBehind


@dataclass(frozen=True, slots=True)
class PoolUse:
    """The pool's connections, and the callers that wait for one."""

    in_use: int
    idle: int
    waiting: int


def pool_use(database: Database) -> PoolUse:
    """Return how busy the pool is now."""
    stats = database._pool.get_stats()  # noqa: SLF001 - of the same floor
    size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0) + len(database._at_hand)  # noqa: SLF001
    return PoolUse(size - idle, idle, stats.get("requests_waiting", 0))
