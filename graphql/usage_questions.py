"""What is asked of usage: which dimensions, how many rows, and which of their figures anybody looks at."""

from collections.abc import Sequence

from creditdesk.credits.errors import InvalidInputError, InvalidPageError
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Dimension
from creditdesk.graphql.figures import FIGURES
from creditdesk.graphql.selections import selects_any, selects_any_of

MAX_ROWS = 1000

_DIMENSIONS = tuple(Dimension)
_MORE_THAN_ROWS = frozenset({"other", "rowCount"})
_MORE_THAN_CREDITS = FIGURES - {"credits"} | {"share", "usage"}


def wants_credits_only(info: Info) -> bool:
    """Tell whether a breakdown is asked for its first rows and their credits, and for nothing else."""
    raw = info._raw_info  # noqa: SLF001 - Strawberry has no public way to the field's nodes
    return not selects_any(raw, _MORE_THAN_ROWS) and not selects_any_of(raw, "rows", _MORE_THAN_CREDITS)


def wants_points_of_credits(info: Info) -> bool:
    """Tell whether series are asked for their credits, and for no other figure."""
    return not selects_any_of(info._raw_info, "points", _MORE_THAN_CREDITS)  # noqa: SLF001 - as above


def checked_dimensions(by: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """Return the dimensions of a breakdown in their order; raise InvalidInputError."""
    # Looked for in a list they need no hash, which is a call for each.
    found = tuple([dimension for dimension in _DIMENSIONS if dimension in by])
    if not found or len(found) < len(by):
        raise InvalidInputError("`by` takes one or more dimensions, each once.")
    return found


def checked_rows(first: int) -> int:
    """Return how many rows are asked for; raise InvalidPageError."""
    if not 1 <= first <= MAX_ROWS:
        raise InvalidPageError(f"`first` takes 1 to {MAX_ROWS} here.")
    return first
