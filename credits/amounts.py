"""Credits: exact, six decimals, kept as whole micro-credits. Never a float."""

import re
from typing import NewType

from creditdesk.credits.errors import InvalidInputError

Credits = NewType("Credits", int)
"""Micro-credits: 1_000_000 is one credit."""

_DECIMALS = 6
MICRO = 10**_DECIMALS
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
    # A big answer has thousands of amounts: cutting digits takes half as long as dividing.
    if amount >= MICRO:
        digits = str(amount)
    elif amount > 0:
        digits = str(amount).zfill(_DECIMALS + 1)
    else:
        return f"-{format_credits(-amount)}" if amount else "0"
    whole, fraction = digits[:-_DECIMALS], digits[-_DECIMALS:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
