"""How much a document may ask for. What is refused here costs little: nothing has been read for it yet."""

from collections.abc import Mapping
from dataclasses import dataclass

from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.incoming import RefusedError


class QueryTooComplexError(RefusedError):
    """The document asks for too much at once. Split it, or ask for fewer items."""

    def __init__(self, message: str, extensions: Mapping[str, object] | None = None) -> None:
        super().__init__(400, ErrorCode.QUERY_TOO_COMPLEX, message, extensions=extensions)


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """The most that a document may have of each; what a fragment has counts wherever it is spread.

    The library parses and validates a document of this many tokens in about 20 ms; its time grows with the tokens.
    """

    characters: int = 32_768
    tokens: int = 1000
    fragments: int = 100
    depth: int = 25
    root_fields: int = 20
    fields: int = 1000
    aliases: int = 50
    directives: int = 50
    directives_at_one_place: int = 5
    list_items: int = 2000
    """Of one list or object, in the document or in the variables."""
    introspection_depth: int = 2
    """How often lists of the schema's fields may be nested: tools ask once, attacks go in circles."""
    comparisons: int = 5000
    """How much work it may be to see that fields under one name can be merged."""
    errors: int = 20
    """After so many a document is not looked at further."""
    is_introspection_allowed: bool = True

    @property
    def lines(self) -> int:
        """The most lines: each error is looked for in all of them."""
        return 1000 + 4 * self.tokens


STANDARD = DocumentLimits()
TRUSTED = DocumentLimits(
    characters=10**7,
    tokens=10**6,
    fragments=10**4,
    depth=200,
    root_fields=1000,
    fields=10**6,
    aliases=10**4,
    directives=10**4,
    list_items=10**6,
    comparisons=500_000,
)
"""For documents of our own: their validation takes as long as it takes."""


def exceeded(what: str, most: int) -> QueryTooComplexError:
    """Return the refusal of a document that has more of something than it may."""
    return QueryTooComplexError(f"The document has too many {what}: {most} at most.")
