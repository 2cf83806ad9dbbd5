"""Connections at hand: the one that was given back last is taken first, and none that is of no use is kept."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from creditdesk.db.at_hand import MOST_AT_HAND
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseUnavailable
from creditdesk.db.readiness import pool_use
from support.databases import FreshDatabase

Use = Callable[[Database], Awaitable[None]]


def using(fresh: FreshDatabase, use: Use, *, most: int = 8, patience: float = 10) -> None:
    """Use a pool of up to so many connections, and close it."""

    async def used() -> None:
        database = Database(fresh.server_dsn, max_connections=most, acquire_timeout_seconds=patience)
        await database.open()
        try:
            await use(database)
        finally:
            await database.close()

    asyncio.run(used())


async def session_of(database: Database, *, seconds: float = 0) -> int:
    """Return the process id of the session that a statement ran in, which took so long."""
    async with database._connection() as connection:  # noqa: SLF001 - what all statements but reads go by
        cursor = await connection.execute("SELECT pg_backend_pid(), pg_sleep(%s)", [seconds])
        [row] = await cursor.fetchall()
        return int(row[0])


async def several(database: Database, count: int) -> list[int]:
    """Return the sessions that as many statements ran in at once."""
    return await asyncio.gather(*(session_of(database, seconds=0.2) for _ in range(count)))


def test_one_statement_after_the_other_runs_in_one_session(fresh_database: FreshDatabase) -> None:
    async def use(database: Database) -> None:
        assert len(set(await several(database, 6))) == 6
        assert len({await session_of(database) for _ in range(20)}) == 1

    using(fresh_database, use)


def test_no_more_than_a_few_are_kept_and_those_are_idle_ones(fresh_database: FreshDatabase) -> None:
    async def use(database: Database) -> None:
        await several(database, 6)
        assert len(database._at_hand) == MOST_AT_HAND  # noqa: SLF001
        found = pool_use(database)
        assert (found.in_use, found.idle, found.waiting) == (0, 6, 0)

    using(fresh_database, use)


def test_whoever_waits_is_given_one_that_comes_back(fresh_database: FreshDatabase) -> None:
    async def use(database: Database) -> None:
        assert len(set(await several(database, 12))) == 2
        assert len(database._at_hand) == 2  # noqa: SLF001

    using(fresh_database, use, most=2)


def test_whoever_waits_for_too_long_is_told_and_nothing_is_lost(fresh_database: FreshDatabase) -> None:
    async def use(database: Database) -> None:
        long = asyncio.create_task(session_of(database, seconds=0.6))
        await asyncio.sleep(0.2)
        with pytest.raises(DatabaseUnavailable):
            await session_of(database)
        assert await long == await session_of(database)

    using(fresh_database, use, most=1, patience=0.1)


def test_a_connection_that_was_cut_is_not_kept(fresh_database: FreshDatabase) -> None:
    async def use(database: Database) -> None:
        first = await session_of(database)
        with psycopg.connect(fresh_database.superuser_dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
        with pytest.raises(psycopg.OperationalError):
            await session_of(database)
        assert len(database._at_hand) == 0  # noqa: SLF001
        assert await session_of(database) != first

    using(fresh_database, use)


def test_a_connection_in_the_middle_of_something_is_not_kept(fresh_database: FreshDatabase) -> None:
    async def use(database: Database) -> None:
        connection = await database._taken()  # noqa: SLF001
        await connection.execute("BEGIN")
        await database._at_hand.give(connection)  # noqa: SLF001
        assert len(database._at_hand) == 0  # noqa: SLF001
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE  # the pool has rolled it back

    using(fresh_database, use)


def test_a_connection_goes_back_to_the_pool_when_its_time_is_over(
    fresh_database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(database: Database) -> None:
        await session_of(database)
        assert len(database._at_hand) == 1  # noqa: SLF001
        monkeypatch.setattr("creditdesk.db.at_hand.LONGEST_SECONDS", 0)
        await session_of(database)
        assert len(database._at_hand) == 0  # noqa: SLF001

    using(fresh_database, use)


def test_those_at_hand_are_closed_with_the_pool_and_so_is_one_that_comes_back_later(
    fresh_database: FreshDatabase,
) -> None:
    def sessions() -> int:
        with psycopg.connect(fresh_database.superuser_dsn, autocommit=True) as other:
            [(count,)] = other.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'creditdesk' AND datname = %s",
                [fresh_database.name],
            )
            return int(count)

    async def use(database: Database) -> None:
        await several(database, 3)
        late = await database._taken()  # noqa: SLF001
        assert sessions() == 3
        await database.close()
        await database._at_hand.give(late)  # noqa: SLF001
        async with asyncio.timeout(10):
            while sessions():  # noqa: ASYNC110 - PostgreSQL ends them when it notices
                await asyncio.sleep(0.01)

    using(fresh_database, use, most=3)  # else the pool opens one more, on a slow machine, for who waits
