"""Pieces of generated code: what the compiler puts together to functions."""

from dataclasses import dataclass

from graphql import GraphQLList, GraphQLNonNull, GraphQLOutputType


@dataclass(frozen=True, slots=True)
class Made:
    """The name of a generated writer, and of the reach for the branches beneath, if there are any.

    Where the writer is one f-string of `s`, which raises without an object, `inline` is that: to call for each item was
    half of the time that a long list took.
    """

    write: str
    reach: str | None
    inline: str | None = None


@dataclass(slots=True)
class Lines:
    """What a field comes to in its object's writer, and in its reach. Its f-string has `text` of it."""

    write: list[str]
    reach: list[str]
    text: str


def flattened(type_: GraphQLOutputType, values: str) -> str:
    """Return an expression for the objects, in order, that values of a type hold."""
    while isinstance(type_, GraphQLNonNull | GraphQLList):
        if isinstance(type_, GraphQLList):
            values = f"[x for list_ in {values} if list_ is not None for x in list_]"
        type_ = type_.of_type
    return f"[x for x in {values} if x is not None]"
