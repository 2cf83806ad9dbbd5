"""Changing users over the API."""

from collections.abc import Awaitable, Callable
from typing import Annotated, cast
from uuid import UUID

import strawberry

from creditdesk.auth.policy import authority
from creditdesk.credits import group_changes, user_changes
from creditdesk.credits.directory_changes import ChangedMeanwhileError, NamedUser, TakenError
from creditdesk.credits.errors import CreditError
from creditdesk.credits.permitted import Authority
from creditdesk.credits.user_changes import IdentityNamed, UserChanges
from creditdesk.db.connections import Connection
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import ErrorCode, Permission, UserKind
from creditdesk.graphql.errors import InvalidInput
from creditdesk.graphql.guards import requires
from creditdesk.graphql.ids import encode_id
from creditdesk.graphql.limit_inputs import group_named
from creditdesk.graphql.limit_rules import VersionConflict
from creditdesk.graphql.nodes import Node, later, node_of
from creditdesk.graphql.people import GroupBy, UserBy

_PATHS = {
    ErrorCode.UNKNOWN_USER: ("user",),
    ErrorCode.UNKNOWN_GROUP: ("group",),
    ErrorCode.UNKNOWN_IDENTITY: ("subject",),
}
"""Which part of the input an error is about; of the others it is the input as a whole."""


@strawberry.input(description="A user to make.")
class CreateUserInput:
    """What createUser takes."""

    display_name: str = strawberry.field(description="The user's name, 1 to 255 characters.")
    email: str | None = strawberry.field(
        default=None, description="The user's e-mail address. Either this or `externalId` is needed."
    )
    external_id: str | None = strawberry.field(
        default=None, description="The user's id in the directory they come from."
    )
    kind: UserKind = strawberry.field(default=UserKind.PERSON, description="A person or a service account.")
    groups: list[GroupBy] = strawberry.field(default_factory=list, description="The groups that the user is in.")
    home_group: GroupBy | None = strawberry.field(
        default=None, description="The group that is charged for what the user uses, which they are in then; or none."
    )


@strawberry.input(description="What to change of a user. What is not given stays as it is.")
class UpdateUserInput:
    """What updateUser takes; null takes an address or an external id away."""

    user: UserBy = strawberry.field(description="Which user.")
    display_name: str | None = strawberry.field(default=None, description="The user's name, 1 to 255 characters.")
    email: str | None = strawberry.field(default=strawberry.UNSET, description="The user's e-mail address; null: none.")
    external_id: str | None = strawberry.field(
        default=strawberry.UNSET, description="The user's id in the directory they come from; null: none."
    )
    expected_version: int | None = strawberry.field(
        default=None,
        description="The user's version, as it was read: somebody else's change is not lost then. Whatever is there is"
        " changed if not given.",
    )

    def changes(self) -> UserChanges:
        """Return what is to be changed."""
        given: dict[str, object] = {"email": self.email, "external_id": self.external_id}
        if self.display_name is not None:
            given["display_name"] = self.display_name
        return cast("UserChanges", {name: value for name, value in given.items() if value is not strawberry.UNSET})


@strawberry.input(description="A user who is named.")
class UserInput:
    """What deactivateUser, reactivateUser and endSessions take."""

    user: UserBy = strawberry.field(description="Which user.")


@strawberry.input(description="Which group is charged for what a user uses from now on.")
class SetHomeGroupInput:
    """What setHomeGroup takes."""

    user: UserBy = strawberry.field(description="Which user.")
    group: GroupBy | None = strawberry.field(description="A group that the user is in; null: none is charged.")


@strawberry.input(description="A subject of an identity provider, and the user it is to sign in as.")
class LinkIdentityInput:
    """What linkIdentity takes."""

    user: UserBy = strawberry.field(description="Which user.")
    issuer: str = strawberry.field(description="The identity provider, exactly as its tokens' `iss` says.")
    subject: str = strawberry.field(description="Who it is there: the tokens' subject.")


@strawberry.input(description="A subject of an identity provider that is to sign in as nobody.")
class UnlinkIdentityInput:
    """What unlinkIdentity takes."""

    issuer: str = strawberry.field(description="The identity provider, exactly as its tokens' `iss` says.")
    subject: str = strawberry.field(description="Who it is there: the tokens' subject.")


@strawberry.type(description="The user was changed, or was so already.")
class ChangeUserSuccess:
    """The outcome of every change of a user."""

    user_uuid: strawberry.Private[UUID]

    @strawberry.field(description="The user's id.")
    def user_id(self) -> strawberry.ID:
        """Show the id, also to a program that sees no people."""
        return encode_id("User", self.user_uuid)

    @strawberry.field(graphql_type=later("User") | None, description="The user; null if the caller may not see them.")
    async def user(self, info: Info) -> Node | None:
        """Load the user."""
        return await node_of(info, "User", self.user_uuid)


ChangeUserResult = Annotated[
    ChangeUserSuccess | InvalidInput,
    strawberry.union("ChangeUserResult", description="The outcome of a change of a user."),
]
UpdateUserResult = Annotated[
    ChangeUserSuccess | VersionConflict | InvalidInput,
    strawberry.union("UpdateUserResult", description="The outcome of updateUser."),
]

Change = Callable[[Connection, Authority], Awaitable[UUID]]


async def changed(info: Info, change: Change) -> UUID:
    """Make a change of people in a transaction of its own, and return the id of whom or what it is about."""
    allowed = authority(info.context.principal, Permission.PEOPLE_WRITE)
    async with info.context.database.transaction(allowed.row_scope) as conn:
        id_ = await change(conn, allowed)
    info.context.forget()
    return id_


async def _changed_user(info: Info, change: Change) -> ChangeUserSuccess | InvalidInput:
    try:
        return ChangeUserSuccess(user_uuid=await changed(info, change))
    except ChangedMeanwhileError:
        raise
    except TakenError as error:
        return InvalidInput.of(error, "input", error.field)
    except CreditError as error:
        return InvalidInput.of(error, "input", *_PATHS.get(error.code, ()))


async def _create_user(info: Info, input: CreateUserInput) -> ChangeUserSuccess | InvalidInput:
    async def create(conn: Connection, allowed: Authority) -> UUID:
        named = [await group_changes.group_named(conn, allowed, group_named(group)) for group in input.groups]
        home = input.home_group and await group_changes.group_named(conn, allowed, group_named(input.home_group))
        user = NamedUser(
            display_name=input.display_name,
            email=input.email,
            external_id=input.external_id,
            kind=input.kind,
            home_group=home.slug if home else None,
            groups=tuple(sorted({group.slug for group in (*named, home) if group})),
        )
        return await user_changes.create_user(conn, allowed, user, now=info.context.now)

    return await _changed_user(info, create)


async def _update_user(info: Info, input: UpdateUserInput) -> ChangeUserSuccess | VersionConflict | InvalidInput:
    async def update(conn: Connection, allowed: Authority) -> UUID:
        version, now = input.expected_version, info.context.now
        return await user_changes.update_user(
            conn, allowed, input.user.named(), input.changes(), expected_version=version, now=now
        )

    try:
        return await _changed_user(info, update)
    except ChangedMeanwhileError as error:
        return VersionConflict.at(error, error.version)


@strawberry.type(description="The ways in for changing users.")
class UserMutations:
    """A part of Mutation."""

    @strawberry.mutation(
        description="Make a user. Nobody signs in as them until an identity is linked.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def create_user(
        self, info: Info, input: Annotated[CreateUserInput, strawberry.argument(description="The user.")]
    ) -> ChangeUserResult:
        """Make a user."""
        return await _create_user(info, input)

    @strawberry.mutation(
        description="Change a user's name, e-mail address or external id.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def update_user(
        self, info: Info, input: Annotated[UpdateUserInput, strawberry.argument(description="What to change.")]
    ) -> UpdateUserResult:
        """Change a user."""
        return await _update_user(info, input)

    @strawberry.mutation(
        description="Take a user's access away at once: their tokens and open sessions are refused from now on, and"
        " nothing is held for them. What they used stays. Nobody deactivates themselves.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def deactivate_user(
        self, info: Info, input: Annotated[UserInput, strawberry.argument(description="Which user.")]
    ) -> ChangeUserResult:
        """Deactivate a user."""
        return await _changed_user(
            info,
            lambda conn, allowed: user_changes.deactivate_user(conn, allowed, input.user.named(), now=info.context.now),
        )

    @strawberry.mutation(
        description="Give a user's access back. They sign in again: what was issued before stays refused.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def reactivate_user(
        self, info: Info, input: Annotated[UserInput, strawberry.argument(description="Which user.")]
    ) -> ChangeUserResult:
        """Reactivate a user."""
        return await _changed_user(
            info,
            lambda conn, allowed: user_changes.reactivate_user(conn, allowed, input.user.named(), now=info.context.now),
        )

    @strawberry.mutation(
        description="Refuse every token that was issued to a user before now, and every session that began before, at"
        " the next request. They may sign in again.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def end_sessions(
        self, info: Info, input: Annotated[UserInput, strawberry.argument(description="Which user.")]
    ) -> ChangeUserResult:
        """End a user's sessions."""
        return await _changed_user(
            info,
            lambda conn, allowed: user_changes.end_sessions(conn, allowed, input.user.named(), now=info.context.now),
        )

    @strawberry.mutation(
        description="Charge what a user uses from now on to another of their groups, or to none. What was charged"
        " stays where it is.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def set_home_group(
        self, info: Info, input: Annotated[SetHomeGroupInput, strawberry.argument(description="The home group.")]
    ) -> ChangeUserResult:
        """Set a home group."""

        async def set_group(conn: Connection, allowed: Authority) -> UUID:
            group = input.group and await group_changes.group_named(conn, allowed, group_named(input.group))
            slug = group.slug if group else None
            return await user_changes.set_home_group(conn, allowed, input.user.named(), slug, now=info.context.now)

        return await _changed_user(info, set_group)

    @strawberry.mutation(
        description="Let a subject of an identity provider sign in as a user. A user may have several.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def link_identity(
        self, info: Info, input: Annotated[LinkIdentityInput, strawberry.argument(description="Who is who.")]
    ) -> ChangeUserResult:
        """Link an identity."""
        identity = IdentityNamed(input.issuer, input.subject)
        return await _changed_user(
            info,
            lambda conn, allowed: user_changes.link_identity(
                conn, allowed, input.user.named(), identity, now=info.context.now
            ),
        )

    @strawberry.mutation(
        description="Let a subject of an identity provider sign in as nobody, from its next request on.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def unlink_identity(
        self, info: Info, input: Annotated[UnlinkIdentityInput, strawberry.argument(description="Which identity.")]
    ) -> ChangeUserResult:
        """Unlink an identity."""
        identity = IdentityNamed(input.issuer, input.subject)
        return await _changed_user(
            info,
            lambda conn, allowed: user_changes.unlink_identity(conn, allowed, identity, now=info.context.now),
        )
