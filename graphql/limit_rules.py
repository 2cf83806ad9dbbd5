"""Setting and removing limits over the API."""

from collections.abc import Mapping
from typing import Annotated

import strawberry

from creditdesk.auth.policy import authority
from creditdesk.credits import limit_changes
from creditdesk.credits.errors import CreditError, ForbiddenError
from creditdesk.credits.limit_rules import VersionConflictError
from creditdesk.credits.limit_targets import UnknownUserError
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import ErrorCode, Permission
from creditdesk.graphql.errors import InvalidInput, UserError
from creditdesk.graphql.guards import requires
from creditdesk.graphql.ids import decode_id_of
from creditdesk.graphql.limit_inputs import SetLimitInput, SetLimitsInput
from creditdesk.graphql.limits import CreditLimit

_SETTING = {
    ErrorCode.UNKNOWN_USER: ("target", "user"),
    ErrorCode.UNKNOWN_GROUP: ("target", "group"),
    ErrorCode.UNKNOWN_LIMIT: ("insteadOf",),
    ErrorCode.ABOVE_CEILING: ("value",),
    ErrorCode.BATCH_SIZE: ("users",),
}
"""Which part of the input an error is about; of the others it is the input as a whole."""
_REMOVING = dict.fromkeys((ErrorCode.UNKNOWN_LIMIT, ErrorCode.ABOVE_CEILING, ErrorCode.INVALID_ID), ("id",))


@strawberry.input(description="A limit to remove.")
class RemoveLimitInput:
    """What removeLimit takes."""

    id: strawberry.ID = strawberry.field(description="The limit's id.")
    expected_version: int = strawberry.field(description="The limit's version, as it was read.")


@strawberry.type(description="Somebody else changed this meanwhile; nothing was changed now.")
class VersionConflict(UserError):  # noqa: N818 - a type of the schema, not an exception
    """An expected version that is not the one there is."""

    current_version: int = strawberry.field(description="The version that there is; 0 if there is nothing.")
    current: CreditLimit | None = strawberry.field(
        default=None, description="The limit as it is; null if there is none, or it was not about a limit."
    )

    @classmethod
    def at(cls, error: CreditError, current_version: int, current: CreditLimit | None = None) -> "VersionConflict":
        """Show the conflict."""
        path = ["input", "expectedVersion"]
        return cls(message=error.message, code=error.code, path=path, current_version=current_version, current=current)


@strawberry.type(description="The limit was set.")
class SetLimitSuccess:
    """The outcome of setLimit."""

    limit: CreditLimit = strawberry.field(description="The limit as it is now.")


@strawberry.type(description="The limits were set, all of them.")
class SetLimitsSuccess:
    """The outcome of setLimits."""

    limits: list[CreditLimit] = strawberry.field(description="Each user's limit, in the order of the users.")


@strawberry.type(description="The limit was removed. What it went before applies at once.")
class RemoveLimitSuccess:
    """The outcome of removeLimit."""

    removed_id: strawberry.ID = strawberry.field(description="The id of the limit that is no more.")


SetLimitResult = Annotated[
    SetLimitSuccess | VersionConflict | InvalidInput,
    strawberry.union("SetLimitResult", description="The outcome of setLimit."),
]
SetLimitsResult = Annotated[
    SetLimitsSuccess | InvalidInput, strawberry.union("SetLimitsResult", description="The outcome of setLimits.")
]
RemoveLimitResult = Annotated[
    RemoveLimitSuccess | VersionConflict | InvalidInput,
    strawberry.union("RemoveLimitResult", description="The outcome of removeLimit."),
]


def _refused(error: CreditError, paths: Mapping[ErrorCode, tuple[str, ...]]) -> VersionConflict | InvalidInput:
    """Show why a limit was not set; raise what is not for the caller to put right."""
    match error:
        case ForbiddenError():
            raise error
        case VersionConflictError():
            limit = error.current
            return VersionConflict.at(error, limit.version if limit else 0, CreditLimit.of(limit) if limit else None)
        case _:
            return InvalidInput.of(error, "input", *paths.get(error.code, ()))


def _refused_of_many(error: CreditError) -> InvalidInput:
    """Show why no limit was set, with the place of the first user it was for."""
    match error:
        case ForbiddenError():
            raise error
        case UnknownUserError(index=index):
            return InvalidInput.of(error, "input", "users", str(index))
        case _:
            return InvalidInput.of(error, "input", *_SETTING.get(error.code, ()))


async def _set_limit(info: Info, input: SetLimitInput) -> SetLimitSuccess | VersionConflict | InvalidInput:
    allowed = authority(info.context.principal, Permission.LIMITS_WRITE)
    try:
        async with info.context.database.transaction(allowed.row_scope) as conn:
            limit = await limit_changes.set_limit(conn, allowed, input.change(), now=info.context.now)
    except CreditError as error:
        return _refused(error, _SETTING)
    info.context.forget()
    return SetLimitSuccess(limit=CreditLimit.of(limit))


async def _set_limits(info: Info, input: SetLimitsInput) -> SetLimitsSuccess | InvalidInput:
    allowed = authority(info.context.principal, Permission.LIMITS_WRITE)
    try:
        users, terms = input.named(), input.terms()
        async with info.context.database.transaction(allowed.row_scope) as conn:
            written = await limit_changes.set_limits(conn, allowed, users, terms, now=info.context.now)
    except CreditError as error:
        return _refused_of_many(error)
    info.context.forget()
    return SetLimitsSuccess(limits=[CreditLimit.of(limit) for limit in written])


async def _remove_limit(info: Info, input: RemoveLimitInput) -> RemoveLimitSuccess | VersionConflict | InvalidInput:
    allowed = authority(info.context.principal, Permission.LIMITS_WRITE)
    try:
        id_, version = decode_id_of("CreditLimit", input.id), input.expected_version
        async with info.context.database.transaction(allowed.row_scope) as conn:
            await limit_changes.remove_limit(conn, allowed, id_, expected_version=version, now=info.context.now)
    except CreditError as error:
        return _refused(error, _REMOVING)
    info.context.forget()
    return RemoveLimitSuccess(removed_id=input.id)


@strawberry.type(description="The ways in for changing limits.")
class LimitMutations:
    """A part of Mutation."""

    @strawberry.mutation(
        description="Set a limit: a new one, or the one there is of the same target, kind, product, model and cadence."
        " It applies at once; what was used in the period so far counts. A group's manager sets limits for each user of"
        " their groups, up to the groups' ceiling.",
        extensions=[requires(Permission.LIMITS_WRITE)],
    )
    async def set_limit(
        self, info: Info, input: Annotated[SetLimitInput, strawberry.argument(description="The limit.")]
    ) -> SetLimitResult:
        """Set a limit."""
        return await _set_limit(info, input)

    @strawberry.mutation(
        description="Set the same limit for each of up to 1000 users, or for none of them.",
        extensions=[requires(Permission.LIMITS_WRITE)],
    )
    async def set_limits(
        self, info: Info, input: Annotated[SetLimitsInput, strawberry.argument(description="The limit, and the users.")]
    ) -> SetLimitsResult:
        """Set limits."""
        return await _set_limits(info, input)

    @strawberry.mutation(
        description="Remove a limit. What it went before applies at once.",
        extensions=[requires(Permission.LIMITS_WRITE)],
    )
    async def remove_limit(
        self, info: Info, input: Annotated[RemoveLimitInput, strawberry.argument(description="Which limit.")]
    ) -> RemoveLimitResult:
        """Remove a limit."""
        return await _remove_limit(info, input)
