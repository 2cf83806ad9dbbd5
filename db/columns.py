"""Columns as all tables have them."""

from typing import Any

from sqlalchemy import BigInteger, DateTime, Text
from sqlmodel import Field

FILLFACTOR = "80"
"""Leaves room on the page, so that a rollup's update stays on it and touches no index."""


def collated_text() -> Any:
    """Return the type of text, in bytewise order: the same on every platform, so that cursors survive a move."""
    return Text(collation="C")


def moment(**options: Any) -> Any:
    """Return a column of instants."""
    return Field(sa_type=DateTime(timezone=True), **options)


def count(**options: Any) -> Any:
    """Return a column of whole numbers of 64 bits: micro-credits, tokens."""
    return Field(sa_type=BigInteger, **options)


def words(**options: Any) -> Any:
    """Return a column of text."""
    return Field(sa_type=collated_text(), **options)
