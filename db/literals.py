"""Values written into a statement that is sent as one message."""

from datetime import date
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg import sql

_PLAIN = frozenset({UUID, date, int, bool, type(None)})
"""What PostgreSQL reads in an array as JSON writes it."""


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


def _array_literal(values: list[Any]) -> str | None:
    """Write values that are all plain, or all words or nulls, as an array; return None for any others."""
    kinds = set(map(type, values))
    if kinds <= _PLAIN:
        try:
            return f"'{{{orjson.dumps(values)[1:-1].decode()}}}'"
        except TypeError:  # a number beyond 64 bits: PostgreSQL says so itself
            return None
    if kinds <= {str, type(None)}:
        return _array_of_words(values)
    return None


def _array_of_words(values: list[str | None]) -> str | None:
    """Write words as an array: each in quotes, with a backslash before what is special there."""
    quoted = ["NULL" if word is None else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in values]
    text = ",".join(quoted).replace("'", "''")
    return None if "\0" in text else f"'{{{text}}}'"
