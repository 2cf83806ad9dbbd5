"""Several statements in one message: the fewest steps in which PostgreSQL answers under a role and its policies.

What several callers ask at the same time may share a message, each under its own role and context. Rows are read from
what libpq has received, without a cursor: for small reads that, and its description of columns, was most of the time.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.abc import Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from creditdesk.db.literals import literal
from creditdesk.db.statements import AS_IT_SEES_FIT, Statement, all_statements

Row = tuple[Any, ...]
Call = tuple[Statement, Mapping[str, object]]
"""A statement and its parameters, among which there may be others."""

Context = tuple[str, ...]
"""What sets a role and its context: as many settings for everybody, each in its place."""

MOST_CHARACTERS = 2_000
"""Of the arguments of a reading that shares a message: those of a few users, not of a page of groups."""

_SETS = (b"SET", None)
_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE)


class ServerConnection(psycopg.AsyncConnection[Row]):
    """A pooled connection that knows which statements it has prepared, for which role."""

    prepared: set[tuple[str, str]]
    transformer: Transformer
    taken_at: float
    """When it was taken out of the pool, by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one caller asks: statements with their arguments, under a role and what sets it and its context."""

    role: str
    context: Context
    calls: tuple[tuple[Statement, str], ...]

    @property
    def is_short(self) -> bool:
        """Tell whether it may share a message: it asks what is read by a few keys, and names only few."""
        return (
            all(statement.is_short for statement, _ in self.calls)
            and sum(len(arguments) for _, arguments in self.calls) <= MOST_CHARACTERS
        )

    @property
    def is_light(self) -> bool:
        """Tell whether it may go along with what takes long."""
        return all(statement.is_light for statement, _ in self.calls)


def named(statement: str, parameters: Mapping[str, object]) -> Statement:
    """Return the statement of this name; raise TypeError unless all that it takes is given."""
    found = all_statements()[statement]
    if missing := [name for name in found.parameters if name not in parameters]:
        message = f"{statement} was not given {missing}"
        raise TypeError(message)
    return found


def calls_of(statements: Sequence[str], parameters: Mapping[str, object]) -> list[Call]:
    """Return calls of named statements with the same parameters."""
    return [(named(statement, parameters), parameters) for statement in statements]


def reading_of(role: str, context: Context, asked: Sequence[Call]) -> Reading:
    """Return a reading, whose arguments are written out."""
    return Reading(role, context, tuple([(statement, _arguments(statement, given)) for statement, given in asked]))


def joined(readings: Sequence[Reading]) -> Reading:
    """Return readings of one caller as one."""
    return Reading(readings[0].role, readings[0].context, tuple([call for one in readings for call in one.calls]))


def _arguments(statement: Statement, given: Mapping[str, object]) -> str:
    if not statement.parameters:
        return ""
    return f"({', '.join([literal(given[key]) for key in statement.parameters])})"


async def read_in_one_message(connection: ServerConnection, readings: Sequence[Reading]) -> list[list[list[Row]]]:
    """Run readings in one message, a transaction of its own, and return the rows of each one's statements.

    Each role has statements of its own: one that two share would be planned again at every switch.
    """
    try:
        return await _read(connection, readings)
    except pg.InvalidSqlStatementName:
        # A rollback makes psycopg deallocate every statement of the session, ours among them.
        connection.prepared.clear()
        return await _read(connection, readings)


async def _read(connection: ServerConnection, readings: Sequence[Reading]) -> list[list[list[Row]]]:
    message: list[str] = []
    plan = AS_IT_SEES_FIT
    context: Context = ()
    for reading in readings:
        # Every context sets all that any of them sets, so nothing is left of whose turn was before. What that one had
        # set alike, mostly the role and the workspace, is set: the first of a message sets everything.
        message += [one for one, before in zip_longest(reading.context, context) if one != before]
        context = reading.context
        for statement, arguments in reading.calls:
            if (statement.name, reading.role) not in connection.prepared:
                await _prepare(connection, reading, statement)
            if statement.plan != plan:
                message += statement.plan.instead_of(plan)
                plan = statement.plan
            message.append(f"EXECUTE {_name(statement, reading.role)}{arguments}")
    results = iter(await _sent(connection, "; ".join(message)))
    return [[_rows(connection, _next(results)) for _ in reading.calls] for reading in readings]


def _name(statement: Statement, role: str) -> str:
    return f'"{statement.name}_{role}"'


async def _prepare(connection: ServerConnection, reading: Reading, statement: Statement) -> None:
    # It is there already where the request that prepared it was cancelled right then.
    with suppress(pg.DuplicatePreparedStatement):
        prepare = f"PREPARE {_name(statement, reading.role)} AS {statement.text}"
        await _sent(connection, "; ".join([*reading.context, prepare]))
    connection.prepared.add((statement.name, reading.role))


async def _sent(connection: ServerConnection, message: str) -> Sequence[PGresult]:
    connection.pgconn.send_query(message.encode())
    results: Sequence[PGresult] = await connection.wait(execute(connection.pgconn))
    if not results or results[-1].status in _FAILED:
        raise pg.error_from_result(results[-1]) if results else psycopg.OperationalError("the connection is lost")
    return results


def _next(results: Iterator[PGresult]) -> PGresult:
    """Return what the next statement gave, past what only set something."""
    return next(result for result in results if result.command_status not in _SETS)


def _rows(connection: ServerConnection, result: PGresult) -> list[Row]:
    if not result.ntuples:
        return []
    connection.transformer.set_pgresult(result)
    return connection.transformer.load_rows(0, result.ntuples, tuple)
