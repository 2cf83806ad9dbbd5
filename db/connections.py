"""One pool, two ways through it: a read in one message, and a transaction. Row-level security is on in both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.adapt import Transformer
from psycopg.types.array import ListBinaryDumper
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from creditdesk.db.at_hand import AtHand
from creditdesk.db.errors import DatabaseError, DatabaseUnavailable, translated
from creditdesk.db.lookups import Found, Lookup
from creditdesk.db.messages import (
    Call,
    Context,
    Reading,
    ServerConnection,
    calls_of,
    joined,
    named,
    read_in_one_message,
    reading_of,
)
from creditdesk.db.rounds import Rounds
from creditdesk.db.scopes import NAMES, RowScope, context_of

Row = tuple[Any, ...]


class Connection(Protocol):
    """What an operation that talks to PostgreSQL is given."""

    async def rows(self, statement: str, /, **parameters: object) -> list[Row]:
        """Run a named statement of `db/sql/` and return its rows; parameters that it does not take are left out."""
        ...

    async def several(self, *statements: str, **parameters: object) -> list[list[Row]]:
        """Run named statements one after the other, in one message where they are reads, and return each one's rows."""
        ...

    async def look_up(self, lookups: Sequence[Lookup[Found]]) -> list[Found]:
        """Make several reads at once, and return what each finds."""
        ...


class Database:
    """The pool of the server's own role, which owns nothing and cannot bypass row-level security."""

    def __init__(
        self,
        dsn: str,
        *,
        max_connections: int = 10,
        statement_timeout_seconds: int = 15,
        acquire_timeout_seconds: float = 10,
    ) -> None:
        self._statement_timeout = f"{statement_timeout_seconds}s"
        self._attempts = max_connections + 1
        self.remembered: dict[str, UUID] = {}
        """Ids of workspaces by slug, as far as they have been looked up: neither ever changes."""
        self.observers: list[Callable[[str], None]] = []
        """Called with each statement's name before it runs: for metrics, and for tests that count."""
        self.change_observers: list[Callable[[UUID], None]] = []
        """Called with a workspace's id after something was committed that is in its outbox."""
        self._rounds = Rounds(self._sent)
        self._pool = AsyncConnectionPool(
            dsn,
            connection_class=ServerConnection,
            kwargs={"autocommit": True, "application_name": "creditdesk", "connect_timeout": 5},
            min_size=1,
            max_size=max_connections,
            timeout=acquire_timeout_seconds,
            reconnect_timeout=30,
            configure=self._configure,
            open=False,
        )
        self._at_hand = AtHand(self._pool)

    async def open(self) -> None:
        """Open the pool without waiting for a connection: readiness is asked for by `check`."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Give every connection back to PostgreSQL."""
        await self._at_hand.put_down()
        await self._pool.close()

    async def _configure(self, connection: ServerConnection) -> None:
        connection.prepared = set()
        # Batches are arrays of a thousand moments, ids and words: as text each element costs 2 to 15 times as much.
        connection.adapters.register_dumper(list, ListBinaryDumper)
        connection.transformer = Transformer(connection)
        await psycopg.AsyncClientCursor(connection).execute(
            # Pages are in memory or on a disk that seeks for nothing: with the default of 4 a hundred users' days are
            # read by going through everybody's.
            "SET random_page_cost = 1.1; SET timezone = 'UTC'; SET statement_timeout = %s;"
            " SET standard_conforming_strings = on; SET idle_in_transaction_session_timeout = '60s'",
            (self._statement_timeout,),
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[ServerConnection]:
        connection = await self._taken()
        try:
            async with connection:
                yield connection
        finally:
            await self._at_hand.give(connection)

    async def _taken(self) -> ServerConnection:
        """Take a connection, to be given back."""
        try:
            return await self._at_hand.take()
        except (PoolTimeout, PoolClosed) as error:
            raise DatabaseUnavailable(DatabaseUnavailable.__doc__) from error

    def reader(self, scope: RowScope) -> Connection:
        """Return a connection on which every statement is a transaction of its own, in one message to the server.

        Meant for reads. What changes something must be safe to be run twice: where the connection breaks in the middle,
        the statement is sent again on another.
        """
        return _Reader(self, scope, context_of(scope))

    @asynccontextmanager
    async def transaction(self, scope: RowScope) -> AsyncIterator[Connection]:
        """Open a transaction in this scope; it commits when the block ends, and rolls back when it raises."""
        try:
            async with self._begun(scope) as connection:
                transaction = _Transaction(self, connection)
                try:
                    yield transaction
                except BaseException:
                    if not connection.broken:
                        await connection.rollback()
                    raise
                await connection.commit()
        except psycopg.Error as error:
            raise translated(error) from error
        if transaction.is_told:
            self._tell(scope)

    def _tell(self, scope: RowScope) -> None:
        if scope.workspace_id is not None:
            for observe in self.change_observers:
                observe(scope.workspace_id)

    @asynccontextmanager
    async def _begun(self, scope: RowScope) -> AsyncIterator[ServerConnection]:
        # After a restart of PostgreSQL every pooled connection is dead and only says so when used. Nothing has
        # happened before BEGIN, so the next one is tried.
        for attempt in range(self._attempts):
            async with self._connection() as connection:
                try:
                    begin = sql.SQL("; ").join([sql.SQL("BEGIN"), *scope.settings()])
                    await psycopg.AsyncClientCursor(connection).execute(begin)
                except psycopg.OperationalError:
                    if connection.broken and attempt + 1 < self._attempts:
                        continue
                    raise
                yield connection
                return

    async def read(self, scope: RowScope, context: Context, asked: Sequence[Sequence[Call]]) -> list[list[list[Row]]]:
        """Make several reads at once, of one or more statements each, and return the rows of each one's.

        Role, context and queries travel in one string, which is its own transaction. Short reads share it, also with
        those of whoever reads at the same time. Of those that take long, each has its own, so that they run at once;
        what takes little beside them goes along with the first.
        """
        readings = [reading_of(NAMES[scope.role], context, calls) for calls in asked]
        if len(readings) == 1:
            return [await self._found(scope, readings[0])]
        places = list(range(len(readings)))
        light = [place for place in places if readings[place].is_light]
        first, *others = [[place] for place in places if not readings[place].is_light] or [[]]
        messages = [[*light, *first], *others]
        sent = [self._found(scope, joined([readings[place] for place in message])) for message in messages]
        # None is left behind running: what fails says so when all have ended.
        ended = await asyncio.gather(*sent, return_exceptions=True) if others else [await sent[0]]
        found: dict[int, list[list[Row]]] = {}
        for message, one in zip(messages, ended, strict=True):
            if isinstance(one, BaseException):
                raise one
            rows = iter(one)
            found |= {place: [next(rows) for _ in readings[place].calls] for place in message}
        return [found[place] for place in places]

    async def _found(self, scope: RowScope, reading: Reading) -> list[list[Row]]:
        for statement, _ in reading.calls:
            for observe in self.observers:
                observe(statement.name)
        try:
            found = await self._rounds.ask(reading) if reading.is_short else (await self._sent([reading]))[0]
        except psycopg.Error as error:
            raise translated(error) from error
        if any(statement.is_told for statement, _ in reading.calls):
            self._tell(scope)
        return found

    async def _sent(self, readings: Sequence[Reading]) -> list[list[list[Row]]]:
        for attempt in range(self._attempts):
            connection = await self._taken()
            try:
                # A message is a transaction of its own: nothing is left to be ended, as a connection's block does.
                return await read_in_one_message(connection, readings)
            except psycopg.OperationalError:
                if not connection.broken or attempt + 1 == self._attempts:
                    raise
            finally:
                await self._at_hand.give(connection)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def check(self) -> None:
        """Raise DatabaseUnavailable unless a statement runs; raise DatabaseError for a role that is too mighty."""
        try:
            async with self._connection() as connection:
                cursor = await connection.execute(
                    "SELECT rolsuper OR rolbypassrls OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid)"
                    " FROM pg_roles AS r WHERE rolname = current_user"
                )
                row = await cursor.fetchone()
        except psycopg.Error as error:
            raise translated(error) from error
        if row is None or row[0]:
            message = "The server's database role owns tables or bypasses row-level security. Use creditdesk_server."
            raise DatabaseError(message)


@dataclass(frozen=True, slots=True)
class _Reader:
    database: Database
    scope: RowScope
    context: Context

    async def rows(self, statement: str, /, **parameters: object) -> list[Row]:
        return (await self.several(statement, **parameters))[0]

    async def several(self, *statements: str, **parameters: object) -> list[list[Row]]:
        return (await self.database.read(self.scope, self.context, [calls_of(statements, parameters)]))[0]

    async def look_up(self, lookups: Sequence[Lookup[Found]]) -> list[Found]:
        asked = [calls_of(one.statements, one.parameters) for one in lookups]
        read = await self.database.read(self.scope, self.context, asked)
        return [one.found(rows) for one, rows in zip(lookups, read, strict=True)]


@dataclass(slots=True)
class _Transaction:
    database: Database
    connection: ServerConnection
    is_told: bool = False

    async def several(self, *statements: str, **parameters: object) -> list[list[Row]]:
        return [await self.rows(one, **parameters) for one in statements]

    async def look_up(self, lookups: Sequence[Lookup[Found]]) -> list[Found]:
        return [one.found(await self.several(*one.statements, **one.parameters)) for one in lookups]

    async def rows(self, statement: str, /, **parameters: object) -> list[Row]:
        found = named(statement, parameters)
        for observe in self.database.observers:
            observe(found.name)
        arguments: Sequence[object] = [parameters[key] for key in found.parameters]
        try:
            cursor = psycopg.AsyncRawCursor(self.connection)
            await cursor.execute(found.text, arguments, binary=True)
            self.is_told = self.is_told or found.is_told
            return await cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise translated(error) from error
