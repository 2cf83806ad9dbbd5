"""The limits of documents and the shares of callers, as the settings say."""

from dataclasses import replace

from creditdesk.app.settings import Settings
from creditdesk.graphql.charging import Charging
from creditdesk.graphql.protection.limits import STANDARD, DocumentLimits
from creditdesk.graphql.schema import core_schema


def document_limits(settings: Settings) -> DocumentLimits:
    """Return what a document may have."""
    return replace(
        STANDARD,
        tokens=settings.max_tokens,
        depth=settings.max_depth,
        aliases=settings.max_aliases,
        is_introspection_allowed=settings.introspection == "on",
    )


def charging(settings: Settings) -> Charging:
    """Return what keeps each caller to their share of this process.

    Workers do not know of each other: each has an equal part of what a caller may spend on the server, but never less
    than one operation may cost.
    """
    return Charging(
        core_schema(),
        document_limits(settings),
        most_cost=settings.max_cost,
        capacity=max(settings.cost_capacity // settings.workers, settings.max_cost),
        per_second=max(settings.cost_per_second // settings.workers, 1),
    )
