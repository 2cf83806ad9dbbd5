"""The scalars of the API: exact numbers as strings, moments in UTC, days of the workspace's zone."""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from creditdesk.credits.amounts import Credits, format_credits, parse_credits
from creditdesk.credits.errors import InvalidInputError

BigInt = NewType("BigInt", int)
Millionths = NewType("Millionths", int)
"""What `Decimal` names: 1_000_000 is one."""

_MAX_DIGITS = 40
_BIG_INT = re.compile(rf"-?[0-9]{{1,{_MAX_DIGITS}}}", re.ASCII)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _parse_credits(value: object) -> Credits:
    if not isinstance(value, str):
        raise InvalidInputError('Credits are a string, such as "12.5": a number could lose decimals on its way.')
    return parse_credits(value)


def _parse_decimal(value: object) -> int:
    if isinstance(value, str):
        try:
            return parse_credits(value)
        except InvalidInputError:
            pass
    raise InvalidInputError('A Decimal is a decimal string with at most six decimals, such as "1.5".')


def _parse_big_int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if value.bit_length() <= 4 * _MAX_DIGITS else ""
    if not isinstance(value, str) or not _BIG_INT.fullmatch(value):
        raise InvalidInputError('A BigInt is an integer as a string, such as "1200".')
    return int(value)


def _parse_date_time(value: object) -> datetime:
    if isinstance(value, str) and _DATE_TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise InvalidInputError('A DateTime is an RFC 3339 moment with its offset, such as "2026-06-18T09:30:00Z".')


@lru_cache(maxsize=10_000)
def _format_date_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _parse_date(value: object) -> date:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise InvalidInputError('A Date is a day, such as "2026-06-18".')


SCALARS: dict[object, ScalarDefinition] = {
    Credits: strawberry.scalar(
        name="Credits",
        description='An amount of credits: an exact decimal as a string, with at most six decimals, such as "12.5".',
        serialize=format_credits,
        parse_value=_parse_credits,
    ),
    Millionths: strawberry.scalar(
        name="Decimal",
        description='An exact decimal as a string, with at most six decimals, such as "1.5".',
        serialize=format_credits,
        parse_value=_parse_decimal,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description='An integer of any size as a string, such as "1200".',
        serialize=str,
        parse_value=_parse_big_int,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description='A moment as in RFC 3339, in UTC, such as "2026-06-18T09:30:00Z". Input may carry any offset.',
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
        serialize=_format_date_time,
        parse_value=_parse_date_time,
    ),
    date: strawberry.scalar(
        name="Date",
        description='A day in the workspace\'s zone, such as "2026-06-18".',
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
        serialize=date.isoformat,
        parse_value=_parse_date,
    ),
}
