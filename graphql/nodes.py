"""Objects with an id of their own (the Relay Node interface)."""

import strawberry


@strawberry.interface(description="An object that can be fetched again by its id (Relay's Node).")
class Node:
    """An object with an id."""

    id: strawberry.ID = strawberry.field(description="The object's id: opaque, and unique over all types.")
