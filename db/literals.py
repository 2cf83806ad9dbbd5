"""Values written into a statement that is sent as one message."""

from datetime import date
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

_PLAIN = frozenset({UUID, date, int, bool, type(None)})
"""What PostgreSQL reads as Python writes it."""


def literal(value: object, connection: psycopg.AsyncConnection[Any]) -> str:
    """Quote a value. What most of them are needs no look-up of how it is written: psycopg's takes ten times as long."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            return f" {value}"
        case UUID():
            return f"'{value}'"
        case list():
            return _array_literal(value) or sql.Literal(value).as_string(connection)
        case _:
            return sql.Literal(value).as_string(connection)


def _array_literal(values: list[object]) -> str | None:
    """Write ids, days, numbers, truths and nulls as an array; return None where there is anything else among them."""
    if not all(type(value) in _PLAIN for value in values):
        return None
    return "'{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}'"
