"""Values written into a statement that is sent as one message."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
from psycopg import sql

_PLAIN = frozenset({UUID, date, int, bool, type(None)})
"""What PostgreSQL reads in an array as JSON writes it."""

_WORDS = frozenset({str, type(None)})


def literal(value: object) -> str:
    """Quote a value. What most of them are needs no look-up of how it is written: psycopg's takes ten times as long.

    Connections have standard-conforming strings, so that within quotes only a quote is special.
    """
    kind = type(value)
    if kind is str:
        return _word(value)  # type: ignore[arg-type]  # mypy does not narrow by `type`
    if kind is UUID or kind is date or kind is datetime:
        return f"'{value}'"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return f" {value}"
    if value is None:
        return "NULL"
    return (isinstance(value, list) and _array_literal(value)) or sql.Literal(value).as_string()


def _word(text: str) -> str:
    return sql.Literal(text).as_string() if "\0" in text or "\\" in text else "'" + text.replace("'", "''") + "'"


def _array_literal(values: list[Any]) -> str | None:
    """Write values that are all plain, or all words or nulls, as an array; return None for any others.

    An array of words is a JSON one as well, but for what JSON escapes, and for what it has no words for.
    """
    kinds = set(map(type, values))
    are_words = kinds <= _WORDS
    if not are_words and not kinds <= _PLAIN:
        return None
    try:
        text = orjson.dumps(values)[1:-1].decode()
    except TypeError:  # half a character, or a number beyond 64 bits: PostgreSQL says so itself
        return _array_of_words(values) if are_words else None
    if are_words:
        if "\\" in text:
            return _array_of_words(values)
        text = text.replace("'", "''")
    return f"'{{{text}}}'"


def _array_of_words(values: list[str | None]) -> str | None:
    """Write words as an array: each in quotes, with a backslash before what is special there."""
    quoted = ["NULL" if word is None else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in values]
    text = ",".join(quoted).replace("'", "''")
    return None if "\0" in text else f"'{{{text}}}'"
