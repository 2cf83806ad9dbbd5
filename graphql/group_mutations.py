"""Changing groups, and who is in them, over the API."""

from typing import Annotated
from uuid import UUID

import strawberry

from creditdesk.credits import group_changes
from creditdesk.credits.directory_changes import ChangedMeanwhileError, NamedGroup, TakenError
from creditdesk.credits.errors import CreditError
from creditdesk.credits.limit_targets import UnknownUserError
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import ErrorCode, Permission
from creditdesk.graphql.errors import InvalidInput
from creditdesk.graphql.guards import requires
from creditdesk.graphql.ids import encode_id
from creditdesk.graphql.limit_inputs import group_named
from creditdesk.graphql.limit_rules import VersionConflict
from creditdesk.graphql.nodes import Node, later, node_of
from creditdesk.graphql.people import GroupBy, UserBy
from creditdesk.graphql.user_mutations import Change, changed

_PATHS = {ErrorCode.UNKNOWN_GROUP: ("group",), ErrorCode.BATCH_SIZE: ("users",)}


@strawberry.input(description="A group to make.")
class CreateGroupInput:
    """What createGroup takes."""

    slug: str = strawberry.field(
        description="The group's short name, which it keeps: 1 to 63 lower-case letters, digits and dashes."
    )
    name: str = strawberry.field(description="The group's name, 1 to 255 characters.")


@strawberry.input(description="What to change of a group.")
class UpdateGroupInput:
    """What updateGroup takes."""

    group: GroupBy = strawberry.field(description="Which group.")
    name: str = strawberry.field(description="The group's name, 1 to 255 characters.")
    expected_version: int | None = strawberry.field(
        default=None,
        description="The group's version, as it was read: somebody else's change is not lost then. Whatever is there is"
        " changed if not given.",
    )


@strawberry.input(description="Users to put into a group, or to take out of it.")
class GroupMembersInput:
    """What addGroupMembers and removeGroupMembers take."""

    group: GroupBy = strawberry.field(description="Which group.")
    users: list[UserBy] = strawberry.field(description="1 to 1000 users: all of them or, where one is unknown, none.")


@strawberry.type(description="The group was changed, or was so already.")
class ChangeGroupSuccess:
    """The outcome of every change of a group."""

    group_uuid: strawberry.Private[UUID]

    @strawberry.field(description="The group's id.")
    def group_id(self) -> strawberry.ID:
        """Show the id, also to a program that sees no groups."""
        return encode_id("Group", self.group_uuid)

    @strawberry.field(graphql_type=later("Group") | None, description="The group; null if the caller may not see it.")
    async def group(self, info: Info) -> Node | None:
        """Load the group."""
        return await node_of(info, "Group", self.group_uuid)


ChangeGroupResult = Annotated[
    ChangeGroupSuccess | InvalidInput,
    strawberry.union("ChangeGroupResult", description="The outcome of a change of a group, or of who is in it."),
]
UpdateGroupResult = Annotated[
    ChangeGroupSuccess | VersionConflict | InvalidInput,
    strawberry.union("UpdateGroupResult", description="The outcome of updateGroup."),
]


async def _changed_group(info: Info, change: Change) -> ChangeGroupSuccess | InvalidInput:
    try:
        return ChangeGroupSuccess(group_uuid=await changed(info, change))
    except ChangedMeanwhileError:
        raise
    except TakenError as error:
        return InvalidInput.of(error, "input", error.field)
    except UnknownUserError as error:
        return InvalidInput.of(error, "input", "users", str(error.index))
    except CreditError as error:
        return InvalidInput.of(error, "input", *_PATHS.get(error.code, ()))


async def _update_group(info: Info, input: UpdateGroupInput) -> ChangeGroupSuccess | VersionConflict | InvalidInput:
    version, now = input.expected_version, info.context.now
    try:
        return await _changed_group(
            info,
            lambda conn, allowed: group_changes.update_group(
                conn, allowed, group_named(input.group), input.name, expected_version=version, now=now
            ),
        )
    except ChangedMeanwhileError as error:
        return VersionConflict.at(error, error.version)


@strawberry.type(description="The ways in for changing groups.")
class GroupMutations:
    """A part of Mutation."""

    @strawberry.mutation(description="Make a group.", extensions=[requires(Permission.PEOPLE_WRITE)])
    async def create_group(
        self, info: Info, input: Annotated[CreateGroupInput, strawberry.argument(description="The group.")]
    ) -> ChangeGroupResult:
        """Make a group."""
        group = NamedGroup(input.slug, input.name)
        return await _changed_group(
            info, lambda conn, allowed: group_changes.create_group(conn, allowed, group, now=info.context.now)
        )

    @strawberry.mutation(
        description="Rename a group. It keeps its slug.", extensions=[requires(Permission.PEOPLE_WRITE)]
    )
    async def update_group(
        self, info: Info, input: Annotated[UpdateGroupInput, strawberry.argument(description="What to change.")]
    ) -> UpdateGroupResult:
        """Rename a group."""
        return await _update_group(info, input)

    @strawberry.mutation(
        description="Put users into a group. Its limits count for them from now on.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def add_group_members(
        self, info: Info, input: Annotated[GroupMembersInput, strawberry.argument(description="Who.")]
    ) -> ChangeGroupResult:
        """Put users into a group."""
        return await _changed_group(
            info,
            lambda conn, allowed: group_changes.add_members(
                conn, allowed, group_named(input.group), [user.named() for user in input.users], now=info.context.now
            ),
        )

    @strawberry.mutation(
        description="Take users out of a group. For whom it is the home group, none is charged from now on.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def remove_group_members(
        self, info: Info, input: Annotated[GroupMembersInput, strawberry.argument(description="Who.")]
    ) -> ChangeGroupResult:
        """Take users out of a group."""
        return await _changed_group(
            info,
            lambda conn, allowed: group_changes.remove_members(
                conn, allowed, group_named(input.group), [user.named() for user in input.users], now=info.context.now
            ),
        )
