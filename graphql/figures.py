"""The figures of usage, and what they are narrowed to."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict
from uuid import UUID

import strawberry

from creditdesk.credits.amounts import Credits
from creditdesk.credits.errors import InvalidInputError
from creditdesk.credits.usage import Figures, Filter
from creditdesk.graphql.people import decoded_ids
from creditdesk.graphql.scalars import BigInt

FIGURES = frozenset({"credits", "requests", "inputTokens", "cachedInputTokens", "outputTokens"})
_MAX_NAMES = 1000


@strawberry.interface(description="What was used.")
class UsageFigures:
    """The five figures."""

    credits: Credits = strawberry.field(description="Credits, corrections taken into account.")
    requests: BigInt = strawberry.field(description="How many uses. A correction is not a use.")
    input_tokens: BigInt = strawberry.field(description="Input tokens that were not served from a cache.")
    cached_input_tokens: BigInt = strawberry.field(description="Input tokens that were served from a cache.")
    output_tokens: BigInt = strawberry.field(description="Output tokens.")


class ShownFigures(TypedDict):
    """The figures as arguments of a type that implements UsageFigures."""

    credits: Credits
    requests: BigInt
    input_tokens: BigInt
    cached_input_tokens: BigInt
    output_tokens: BigInt


def shown_figures(figures: Figures) -> ShownFigures:
    """Return the figures as arguments of a type that implements UsageFigures."""
    return {
        "credits": Credits(figures.credits),
        "requests": BigInt(figures.requests),
        "input_tokens": BigInt(figures.input_tokens),
        "cached_input_tokens": BigInt(figures.cached_input_tokens),
        "output_tokens": BigInt(figures.output_tokens),
    }


@strawberry.type(description="All the rows of a breakdown beyond the first ones, as one.")
class UsageRest(UsageFigures):
    """The rest."""

    row_count: int = strawberry.field(description="How many rows these are.")


@strawberry.type(description="What was used in one interval.")
class UsagePoint(UsageFigures):
    """A point of a series."""

    start: datetime = strawberry.field(
        description="When the interval starts: in a series of weeks or months it may start before the range does."
    )


@strawberry.input(
    description="What usage is narrowed to. Every part that is given must fit; an empty list fits nothing."
)
class UsageFilter:
    """Parts that are not given do not narrow."""

    products: list[str] | None = strawberry.field(default=None, description="Usage of these products.")
    models: list[str] | None = strawberry.field(default=None, description="Usage of these models.")
    groups: list[strawberry.ID] | None = strawberry.field(default=None, description="Usage charged to these groups.")
    users: list[strawberry.ID] | None = strawberry.field(default=None, description="Usage by these users.")

    def wanted(self) -> Filter:
        """Return the filter; raise InvalidIdError or InvalidInputError."""
        return Filter(
            users=decoded_ids("User", self.users),
            groups=decoded_ids("Group", self.groups),
            products=_names(self.products),
            models=_names(self.models),
        )


def _names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if len(names) > _MAX_NAMES:
        raise InvalidInputError(f"At most {_MAX_NAMES} names at once.")
    return tuple(sorted(set(names)))


def known_group(id_: UUID | None) -> UUID | None:
    """Return the id of a group, or None for usage that was charged to none."""
    return id_ if id_ is not None and id_.int else None
