"""What a caller may ask for, and what is left of it."""

from datetime import datetime, timedelta

import strawberry

from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Permission
from creditdesk.graphql.guards import requires


@strawberry.type(description="The most that a document may have; what a fragment has counts wherever it is spread.")
class DocumentMaxima:
    """The limits of this server."""

    cost: int = strawberry.field(description="The cost of an operation.")
    characters: int = strawberry.field(description="The characters of a document.")
    tokens: int = strawberry.field(description="The tokens of a document, comments among them.")
    depth: int = strawberry.field(description="How deeply fields are nested.")
    root_fields: int = strawberry.field(description="The fields at the root of an operation.")
    fields: int = strawberry.field(description="The fields of an operation.")
    aliases: int = strawberry.field(description="The aliases of an operation.")
    directives: int = strawberry.field(description="The directives of an operation.")
    directives_at_one_place: int = strawberry.field(description="The directives at one place.")
    fragments: int = strawberry.field(description="The fragments of a document.")
    list_items: int = strawberry.field(description="The items of one list or object, also in the variables.")
    introspection_depth: int = strawberry.field(description="How deeply lists of the schema's fields are nested.")


@strawberry.type(
    description="What the caller may ask for. Each operation costs as many objects as it may give, as `@listSize` and"
    " `@cost` say in the schema. Costs go into a bucket, and leak out of it at an even rate; what does not fit is"
    " refused with RATE_LIMITED. Each process of the server has a bucket of its own for each caller."
)
class RateLimit:
    """The bucket of the caller, in this process."""

    limit: int = strawberry.field(description="What the caller's bucket holds.")
    remaining: int = strawberry.field(description="What fits into it now, this operation counted.")
    reset_at: datetime = strawberry.field(description="When it is empty, if nothing more is asked for.")
    per_second: int = strawberry.field(description="How much leaks out of it in a second.")
    cost: int = strawberry.field(description="What this operation costs.")
    maxima: DocumentMaxima = strawberry.field(description="What a document may have.")

    @classmethod
    def of(cls, info: Info) -> "RateLimit":
        """Show what the caller has left."""
        allowance = info.context.allowance
        assert allowance is not None  # noqa: S101 - nothing is executed that is not charged for
        charge, limits = allowance.charge, allowance.limits
        return cls(
            limit=charge.capacity,
            remaining=charge.remaining,
            reset_at=info.context.now + timedelta(seconds=charge.reset_after_seconds),
            per_second=allowance.per_second,
            cost=charge.cost,
            maxima=DocumentMaxima(
                cost=allowance.most_cost,
                characters=limits.characters,
                tokens=limits.tokens,
                depth=limits.depth,
                root_fields=limits.root_fields,
                fields=limits.fields,
                aliases=limits.aliases,
                directives=limits.directives,
                directives_at_one_place=limits.directives_at_one_place,
                fragments=limits.fragments,
                list_items=limits.list_items,
                introspection_depth=limits.introspection_depth,
            ),
        )


@strawberry.type(description="Asking what is left of one's share.")
class RateLimitQueries:
    """A part of Query."""

    @strawberry.field(
        description="What the caller may ask for, and what is left of it.",
        extensions=[requires(Permission.WORKSPACE_READ)],
    )
    def rate_limit(self, info: Info) -> RateLimit:
        """Show the caller's share."""
        return RateLimit.of(info)
