"""How users and groups are named, filtered and ordered."""

from uuid import UUID

import strawberry

from creditdesk.credits import people
from creditdesk.credits.errors import InvalidInputError
from creditdesk.credits.event_rules import UserBy as UserNamed
from creditdesk.credits.ranges import range_of_preset
from creditdesk.graphql.context import Context
from creditdesk.graphql.enums import OrderDirection, OrderedBy, RangePreset, UserKind
from creditdesk.graphql.ids import decode_id_of
from creditdesk.graphql.ranges import RangeInput

_MAX_IDS = 1000


@strawberry.input(one_of=True, description="A user, named in one of three ways.")
class UserBy:
    """Exactly one of an id, an e-mail address and an external id."""

    id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="The user's id in this API.")
    email: str | None = strawberry.field(
        default=strawberry.UNSET, description="The user's e-mail address, in any case."
    )
    external_id: str | None = strawberry.field(
        default=strawberry.UNSET, description="The user's id in the directory they come from."
    )

    def named(self) -> UserNamed:
        """Return who is meant; raise InvalidIdError."""
        return UserNamed(
            id=decode_id_of("User", self.id) if isinstance(self.id, str) else None,
            email=self.email or None,
            external_id=self.external_id or None,
        )


@strawberry.input(one_of=True, description="A group, named in one of two ways.")
class GroupBy:
    """Exactly one of an id and a slug."""

    id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="The group's id in this API.")
    slug: str | None = strawberry.field(default=strawberry.UNSET, description="The group's short name.")


@strawberry.input(description="What users a list is narrowed to; every part that is given must fit.")
class UserFilter:
    """Parts that are not given do not narrow."""

    search: str | None = strawberry.field(
        default=None,
        description="Looked for in names and e-mail addresses, without regard to case and accents in names.",
    )
    groups: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Users who are in one of these groups now."
    )
    kind: UserKind | None = strawberry.field(default=None, description="Users of this kind.")
    active: bool | None = strawberry.field(default=None, description="Users who are active, or who are not.")

    def wanted(self) -> people.UserFilter:
        """Return the filter; raise InvalidIdError."""
        groups = decoded_ids("Group", self.groups)
        return people.UserFilter(search=self.search, groups=groups, kind=self.kind, active=self.active)


@strawberry.input(description="What groups a list is narrowed to.")
class GroupFilter:
    """Parts that are not given do not narrow."""

    search: str | None = strawberry.field(
        default=None, description="Looked for in names, without regard to case and accents."
    )


def _order(context: Context, by: OrderedBy, direction: OrderDirection, range_: RangeInput | None) -> people.Order:
    descending = direction is OrderDirection.DESC
    if by is OrderedBy.NAME:
        return people.Order(by, descending)
    if range_ is None:
        this_month = range_of_preset(RangePreset.THIS_MONTH, zone=context.zone, now=context.now)
        return people.Order(by, descending, this_month)
    return people.Order(by, descending, range_.resolved(context))


@strawberry.input(description="The order of a list of users.")
class UserOrder:
    """By name unless told otherwise."""

    field: OrderedBy = strawberry.field(default=OrderedBy.NAME, description="What to order by.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.ASC, description="Which way.")
    range: RangeInput | None = strawberry.field(
        default=None, description="For CREDITS: the range whose credits count, in whole days. This month if not given."
    )

    def resolved(self, context: Context) -> people.Order:
        """Return the order; raise InvalidRangeError."""
        return _order(context, self.field, self.direction, self.range)


@strawberry.input(description="The order of a list of groups. CREDITS counts what was charged to a group.")
class GroupOrder:
    """By name unless told otherwise."""

    field: OrderedBy = strawberry.field(default=OrderedBy.NAME, description="What to order by.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.ASC, description="Which way.")
    range: RangeInput | None = strawberry.field(
        default=None, description="For CREDITS: the range whose credits count, in whole days. This month if not given."
    )

    def resolved(self, context: Context) -> people.Order:
        """Return the order; raise InvalidRangeError."""
        return _order(context, self.field, self.direction, self.range)


def decoded_ids(type_name: str, ids: list[strawberry.ID] | None) -> tuple[UUID, ...] | None:
    """Return the UUIDs of ids of this type, in a stable order; raise InvalidIdError or InvalidInputError."""
    if ids is None:
        return None
    if len(ids) > _MAX_IDS:
        raise InvalidInputError(f"At most {_MAX_IDS} ids at once.")
    return tuple(sorted({decode_id_of(type_name, id_) for id_ in ids}))
