"""Credits: exact, six decimals, kept as whole micro-credits. Never a float."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import NewType

from creditdesk.credits.errors import InvalidInputError

Credits = NewType("Credits", int)
"""Micro-credits: 1_000_000 is one credit."""

MICRO = 1_000_000
_DECIMAL = re.compile(r"(-?)(\d{1,40})(?:\.(\d{1,6}))?", re.ASCII)


def parse_credits(text: str) -> Credits:
    """Return the micro-credits that a decimal string names; raise InvalidInputError for any other text."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidInputError('Credits are a decimal string with at most six decimals, such as "12.5".')
    sign, whole, fraction = match.groups()
    micro = int(whole) * MICRO + int((fraction or "").ljust(6, "0"))
    return Credits(-micro if sign else micro)


def format_credits(amount: int) -> str:
    """Return the shortest decimal string of an amount in micro-credits: `12500000` is `"12.5"`."""
    whole, fraction = divmod(abs(amount), MICRO)
    text = f"{whole}.{fraction:06d}".rstrip("0").rstrip(".") if fraction else str(whole)
    return f"-{text}" if amount < 0 else text


def credits_of(amount: Decimal) -> Credits:
    """Return the micro-credits of an exact decimal; raise InvalidInputError past six decimals."""
    # A fraction, since decimals are multiplied to 28 digits only and would lose the rest without a word.
    micro = Fraction(amount) * MICRO if amount.is_finite() else None
    if micro is None or micro.denominator != 1:
        raise InvalidInputError("Credits are a number with at most six decimals.")
    return Credits(int(micro))
