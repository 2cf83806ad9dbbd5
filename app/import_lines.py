"""From a line of a file to an event, or to the reason why it is none. Nothing here reads, writes or waits."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import NoReturn
from uuid import UUID

from creditdesk.credits.amounts import Credits, parse_credits
from creditdesk.credits.errors import ErrorCode, EventError, InvalidInputError
from creditdesk.credits.event_rules import UsageEvent, UserBy

MAX_LINE = 131_072
"""Bytes: twice the longest event, with every character of it escaped."""

_TAG = "tag."
_USER_FIELDS = ("userId", "email", "externalId")
_TOKEN_FIELDS = ("inputTokens", "cachedInputTokens", "outputTokens")
_MEASURED_FIELDS = ("messages", "tasks", "minutes", "tier")
_FIELDS = frozenset(
    {"source", "id", "at", "product", "model", "credits", "corrects", *_USER_FIELDS, *_TOKEN_FIELDS, *_MEASURED_FIELDS}
)
_LONGEST_USER = 320
_LARGEST_EXPONENT = 40
_MOST_QUOTED = 60
_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
# RFC 3339, section 5.6; the space of its note is not taken, and `fromisoformat` knows no 60th second.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,60})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII)


class InputTokens(Enum):
    """What a source counts as input tokens; creditdesk stores the uncached ones."""

    UNCACHED = "uncached"
    INCLUDING_CACHED = "including-cached"


@dataclass(frozen=True, slots=True)
class Conventions:
    """What the lines leave to be said: their source, if they name none, and what their input tokens are."""

    source: str | None = None
    input_tokens: InputTokens = InputTokens.UNCACHED


Fields = Mapping[str, object]
FieldsOf = Callable[[bytes], Fields]
"""Turns one line into fields; raises CreditError with the reason when it is not one."""


def text_of(line: bytes) -> str:
    """Return the line's text without its end; raise EventError unless it is UTF-8 without NUL."""
    if len(line) > MAX_LINE:
        raise EventError(ErrorCode.INVALID_INPUT, f"The line is longer than {MAX_LINE} bytes.")
    if b"\0" in line:
        raise EventError(ErrorCode.INVALID_INPUT, "The line contains a NUL byte.")
    try:
        return line.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError:
        raise EventError(ErrorCode.INVALID_INPUT, "The line is not UTF-8.") from None


def json_fields(line: bytes) -> Fields:
    """Return the fields of a line of JSON; numbers stay exact, and no float appears."""
    text = text_of(line)
    try:
        found = json.loads(
            text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_without_repetition
        )
    except (ValueError, ArithmeticError, RecursionError):
        raise EventError(ErrorCode.INVALID_INPUT, "The line is not JSON.") from None
    if not isinstance(found, dict):
        raise EventError(ErrorCode.INVALID_INPUT, "The line is not a JSON object.")
    return found


def csv_header(line: bytes) -> Sequence[str]:
    """Return the columns' names; raise EventError for one that is unknown or named twice."""
    names = [name.strip() for name in _cells(line)]
    for name in names:
        if name not in _FIELDS and not (name.startswith(_TAG) and len(name) > len(_TAG)):
            raise EventError(ErrorCode.INVALID_INPUT, f"There is no field {_quoted(name)}.")
        if names.count(name) > 1:
            raise EventError(ErrorCode.INVALID_INPUT, f"The column {_quoted(name)} is there twice.")
    return names


def csv_fields(columns: Sequence[str]) -> FieldsOf:
    """Return what turns a line of these columns into fields; an empty cell is a missing field.

    A record is one line: no field may hold a line break, so a stray quote costs its own line and not all that follow.
    """

    def fields_of(line: bytes) -> Fields:
        cells = _cells(line)
        if len(cells) != len(columns):
            raise EventError(
                ErrorCode.INVALID_INPUT, f"The line has {len(cells)} cells, where the header has {len(columns)}."
            )
        given = {name: cell for name, cell in zip(columns, cells, strict=True) if cell}
        tags = {name.removeprefix(_TAG): given.pop(name) for name in columns if name.startswith(_TAG) and name in given}
        return given | ({"tags": tags} if tags else {})

    return fields_of


def event_of(fields: Fields, conventions: Conventions) -> UsageEvent:
    """Return the event that the fields describe; raise CreditError with the first thing that is off."""
    for name in fields:
        if name not in _FIELDS and name != "tags":
            raise EventError(ErrorCode.INVALID_INPUT, f"There is no field {_quoted(name)}.")
    cached = _tokens(fields, "cachedInputTokens")
    corrects = None if fields.get("corrects") is None else _text(fields, "corrects")
    return UsageEvent(
        source=_text(fields, "source", default=conventions.source),
        id=_text(fields, "id"),
        at=_moment(_text(fields, "at")),
        user=_user(fields),
        product=_text(fields, "product"),
        model=_text(fields, "model"),
        credits=_decimal(fields, "credits"),
        input_tokens=_uncached(_tokens(fields, "inputTokens"), cached, conventions, is_correction=corrects is not None),
        cached_input_tokens=cached,
        output_tokens=_tokens(fields, "outputTokens"),
        corrects=corrects,
        tags=_tags(fields.get("tags")),
        messages=_whole(fields, "messages"),
        tasks=_whole(fields, "tasks"),
        minutes=_decimal(fields, "minutes"),
        tier=_text(fields, "tier", default=""),
    )


def _no_constant(_: str) -> NoReturn:
    raise ValueError  # NaN and Infinity are Python's, not JSON's


def _without_repetition(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise EventError(ErrorCode.INVALID_INPUT, f"The field {_quoted(name)} is there twice.")
        found[name] = value
    return found


def _cells(line: bytes) -> list[str]:
    text = text_of(line)
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise EventError(ErrorCode.INVALID_INPUT, f"The line is not CSV: {error}.") from None


def _quoted(name: str) -> str:
    """Return a name to be printed in a report: bounded, and in ASCII whatever it holds."""
    return ascii(name[:_MOST_QUOTED])


def _text(fields: Fields, name: str, *, default: str | None = None) -> str:
    value = fields.get(name)
    if value is None:
        value = default
    if value is None:
        raise EventError(ErrorCode.INVALID_EVENT, f"`{name}` is missing.")
    if not isinstance(value, str):
        raise EventError(ErrorCode.INVALID_INPUT, f"`{name}` is not text.")
    return value


def _moment(text: str) -> datetime:
    if _MOMENT.fullmatch(text):
        try:
            # PostgreSQL keeps microseconds; finer digits are cut off, the same each time.
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise EventError(
        ErrorCode.INVALID_INPUT, "`at` is not an RFC 3339 time with an offset, such as 2026-11-23T09:30:00Z."
    )


def _user(fields: Fields) -> UserBy:
    given = [name for name in _USER_FIELDS if fields.get(name) is not None]
    if len(given) != 1:
        raise EventError(ErrorCode.INVALID_EVENT, "A user is named by exactly one of `userId`, `email`, `externalId`.")
    name = given[0]
    text = _text(fields, name)
    # The database is asked for it as it stands, and takes neither NUL nor lone surrogates.
    if not 0 < len(text) <= _LONGEST_USER or not text.isprintable():
        raise EventError(ErrorCode.INVALID_EVENT, f"`{name}` takes 1 to {_LONGEST_USER} printable characters.")
    if name == "email":
        return UserBy(email=text)
    if name == "externalId":
        return UserBy(external_id=text)
    if not _UUID.fullmatch(text):
        raise EventError(ErrorCode.INVALID_INPUT, "`userId` is not a UUID.")
    return UserBy(id=UUID(text))


def _decimal(fields: Fields, name: str) -> Credits | None:
    """Return the millionths of a decimal, which are micro-credits or millionths of a minute."""
    value = fields.get(name)
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) <= _LARGEST_EXPONENT:
        plain = format(value, "f")
        value = plain.rstrip("0").rstrip(".") if "." in plain else plain
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None:
        return None
    if isinstance(value, str):
        with suppress(InvalidInputError):
            return parse_credits(value)
    raise EventError(ErrorCode.INVALID_INPUT, f"`{name}` are not a decimal with at most six decimals.")


def _tokens(fields: Fields, name: str) -> int:
    return _whole(fields, name) or 0


def _whole(fields: Fields, name: str) -> int | None:
    match fields.get(name):
        case None:
            return None
        case bool():
            pass
        case int() as number:
            return number
        case str() as text if _INTEGER.fullmatch(text):
            return int(text)
    raise EventError(ErrorCode.INVALID_INPUT, f"`{name}` is not a whole number.")


def _uncached(tokens: int, cached: int, conventions: Conventions, *, is_correction: bool) -> int:
    if conventions.input_tokens is InputTokens.UNCACHED:
        return tokens
    if tokens < cached and not is_correction:
        raise EventError(ErrorCode.INVALID_AMOUNT, "`inputTokens` include `cachedInputTokens`, so are not fewer.")
    return tokens - cached


def _tags(value: object) -> Mapping[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise EventError(ErrorCode.INVALID_INPUT, "`tags` are not a JSON object of texts.")
    return value or None
