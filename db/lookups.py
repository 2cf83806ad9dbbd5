"""Reads that are stated before they are made, so that several can be made at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from creditdesk.db.messages import Row

Found = TypeVar("Found")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Lookup(Generic[Found]):
    """Named statements of `db/sql/`, with their parameters and maybe others, and what is found in the rows of each."""

    statements: tuple[str, ...]
    parameters: Mapping[str, object]
    found: Callable[[Sequence[list[Row]]], Found]


def lookup(found: Callable[[Sequence[list[Row]]], Found], /, *statements: str, **parameters: object) -> Lookup[Found]:
    """State reads as they are made of a connection: `lookup(found, "name", "another", ...)`."""
    return Lookup(statements, parameters, found)


def found_of(lookup: Lookup[Found], make: Callable[[Found], Other]) -> Lookup[Other]:
    """State the same reads, of which something else is made."""
    return Lookup(lookup.statements, lookup.parameters, lambda rows: make(lookup.found(rows)))


def along(first: Lookup[Other], then: Lookup[Found]) -> Lookup[tuple[Other, Found]]:
    """State two reads as one, which takes one message. What both are given by the same name is the same."""
    count = len(first.statements)
    return Lookup(
        first.statements + then.statements,
        {**first.parameters, **then.parameters},
        lambda rows: (first.found(rows[:count]), then.found(rows[count:])),
    )
