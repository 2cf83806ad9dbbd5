"""Several statements in one message: the fewest steps in which PostgreSQL answers under a role and its policies."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import errors as pg

from creditdesk.db.literals import literal
from creditdesk.db.statements import AS_IT_SEES_FIT, Statement

Row = tuple[Any, ...]
Call = tuple[Statement, dict[str, object]]
"""A statement and its parameters, among which there may be others."""


class ServerConnection(psycopg.AsyncConnection[Row]):
    """A pooled connection that knows which statements it has prepared, for which role."""

    prepared: set[tuple[str, str]]


async def read_in_one_message(
    connection: ServerConnection, asked: Sequence[Call], *, role: str, context: str
) -> list[list[Row]]:
    """Run statements in one message, a transaction of its own, and return each one's rows.

    `context` is the text that sets the transaction's role and settings. Each role has statements of its own: one that
    two share would be planned again at every switch.
    """
    try:
        return await _executed(connection, asked, role=role, context=context)
    except pg.InvalidSqlStatementName:
        # A rollback makes psycopg deallocate every statement of the session, ours among them.
        connection.prepared.clear()
        return await _executed(connection, asked, role=role, context=context)


async def _executed(connection: ServerConnection, asked: Sequence[Call], *, role: str, context: str) -> list[list[Row]]:
    cursor = psycopg.AsyncClientCursor(connection)
    message, plan = [context], AS_IT_SEES_FIT
    for statement, parameters in asked:
        name = f'"{statement.name}_{role}"'
        if (statement.name, role) not in connection.prepared:
            prepare = f"{context}; PREPARE {name} AS {statement.text}"
            # It is there already where the request that prepared it was cancelled right then.
            with suppress(pg.DuplicatePreparedStatement):
                await cursor.execute(prepare.encode())
            connection.prepared.add((statement.name, role))
        arguments = ", ".join([literal(parameters[key], connection) for key in statement.parameters])
        call = f"EXECUTE {name}({arguments})" if statement.parameters else f"EXECUTE {name}"
        if statement.plan != plan:
            plan = statement.plan
            message.append(f"SET LOCAL plan_cache_mode = {plan}")
        message.append(call)
    await cursor.execute("; ".join(message).encode())
    found: list[list[Row]] = []
    more: bool | None = True
    while more:
        if cursor.statusmessage != "SET":
            found.append(await cursor.fetchall() if cursor.description else [])
        more = cursor.nextset()
    return found
