"""Limits as they are asked for: whom they are for, how much they allow, and of what."""

from datetime import datetime

import strawberry

from creditdesk.credits import limit_changes, limit_targets, limits
from creditdesk.credits.amounts import Credits
from creditdesk.credits.errors import BatchSizeError, InvalidInputError
from creditdesk.credits.event_rules import UserBy as UserNamed
from creditdesk.credits.limit_changes import LimitChange, Terms
from creditdesk.graphql.enums import Cadence, Enforcement, LimitKind
from creditdesk.graphql.ids import decode_id_of
from creditdesk.graphql.people import GroupBy, UserBy


def group_named(by: GroupBy) -> limit_targets.GroupNamed:
    """Return which group is meant; raise InvalidIdError."""
    id_ = decode_id_of("Group", by.id) if isinstance(by.id, str) else None
    return limit_targets.GroupNamed(id=id_, slug=by.slug or None)


@strawberry.input(one_of=True, description="Whom a limit is for.")
class LimitTargetInput:
    """Exactly one of the workspace, a group and a user."""

    workspace: bool | None = strawberry.field(
        default=strawberry.UNSET, description="True: the whole workspace. False is refused."
    )
    group: GroupBy | None = strawberry.field(default=strawberry.UNSET, description="A group.")
    user: UserBy | None = strawberry.field(default=strawberry.UNSET, description="A user.")

    def named(self) -> limit_targets.Target:
        """Return whom it is for; raise InvalidIdError or InvalidInputError."""
        if self.user:
            return self.user.named()
        if self.group:
            return group_named(self.group)
        if not self.workspace:
            raise InvalidInputError("`workspace` is true, or another target is given.")
        return limit_targets.WholeWorkspace()


@strawberry.input(one_of=True, description="How much a limit allows in a period.")
class LimitValueInput:
    """Exactly one of an amount and no limit."""

    amount: Credits | None = strawberry.field(
        default=strawberry.UNSET, description="So much: 0 to 1000000000. 0 blocks everything."
    )
    unlimited: bool | None = strawberry.field(
        default=strawberry.UNSET, description="True: as much as anyone likes. False is refused."
    )

    def parsed(self) -> limits.LimitValue:
        """Return the value; raise InvalidInputError."""
        if isinstance(self.amount, int):
            return limits.Limited(self.amount)
        if not self.unlimited:
            raise InvalidInputError("`unlimited` is true, or an amount is given.")
        return limits.UNLIMITED


@strawberry.input(description="What a limit says, whomever it is for.")
class LimitTermsInput:
    """What every limit that is asked for has."""

    value: LimitValueInput = strawberry.field(description="How much it allows in a period.")
    product: str | None = strawberry.field(default=None, description="The product whose use counts; all if not given.")
    model: str | None = strawberry.field(
        default=None, description="The product's model whose use counts; any if not given."
    )
    cadence: Cadence = strawberry.field(default=Cadence.MONTH, description="How long a period is, and where it starts.")
    enforcement: Enforcement = strawberry.field(
        default=Enforcement.HARD, description="What happens where the limit is reached."
    )
    expires_at: datetime | None = strawberry.field(
        default=None,
        description="Until when it goes before the lasting limit, which then applies again; a limit without an expiry"
        " lasts, and also removes the one that went before it.",
    )
    reason: str | None = strawberry.field(default=None, description="Why, up to 1000 characters.")

    def shape(self) -> limits.Shape:
        """Return what usage it counts, and per what period."""
        return limits.Shape(self.cadence, self.product or "", self.model or "")

    def terms(self) -> Terms:
        """Return what the limit says; raise InvalidInputError."""
        return Terms(self.value.parsed(), self.shape(), self.enforcement, self.expires_at, self.reason)


@strawberry.input(description="A limit to set.")
class SetLimitInput(LimitTermsInput):
    """What setLimit takes."""

    target: LimitTargetInput = strawberry.field(description="Whom it is for.")
    kind: LimitKind = strawberry.field(
        default=LimitKind.EACH_USER, description="Whether each user has this much, or all share it."
    )
    expected_version: int | None = strawberry.field(
        default=None,
        description="The version of the limit that this changes, 0 for none: somebody else's change is not lost then."
        " Whatever is there is changed if not given.",
    )
    instead_of: Cadence | None = strawberry.field(
        default=None,
        description="The cadence of the limit that this one takes the place of, when that one's period ends; then"
        " `expectedVersion` is of that one.",
    )

    def change(self) -> LimitChange:
        """Return the limit to set; raise InvalidIdError or InvalidInputError."""
        return LimitChange(self.target.named(), self.kind, self.terms(), self.expected_version, self.instead_of)


@strawberry.input(description="A limit to set for many users, each by themselves.")
class SetLimitsInput(LimitTermsInput):
    """What setLimits takes."""

    users: list[UserBy] = strawberry.field(description="1 to 1000 users.")

    def named(self) -> list[UserNamed]:
        """Return the users; raise InvalidIdError or BatchSizeError."""
        if not 1 <= len(self.users) <= limit_changes.MAX_BATCH:
            raise BatchSizeError
        return [user.named() for user in self.users]
