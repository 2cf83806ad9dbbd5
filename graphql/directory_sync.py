"""Bulk provisioning over the API: a whole directory in one call."""

from typing import Annotated

import strawberry

from creditdesk.auth.policy import authority
from creditdesk.credits import provisioning
from creditdesk.credits.directory_changes import NamedGroup, NamedUser
from creditdesk.credits.directory_plan import DirectoryUser, ItemError
from creditdesk.credits.errors import CreditError
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import ErrorCode, Permission, UserKind
from creditdesk.graphql.errors import InvalidInput
from creditdesk.graphql.guards import requires


@strawberry.input(description="A group of a directory: made, or renamed.")
class DirectoryGroupInput:
    """A group, known by its slug."""

    slug: str = strawberry.field(
        description="The group's short name, which it is known by: 1 to 63 lower-case letters, digits and dashes."
    )
    name: str = strawberry.field(description="The group's name, 1 to 255 characters.")


@strawberry.input(description="A subject of an identity provider.")
class DirectoryIdentityInput:
    """Who a user signs in as."""

    issuer: str = strawberry.field(description="The identity provider, exactly as its tokens' `iss` says.")
    subject: str = strawberry.field(description="Who it is there: the tokens' subject.")


@strawberry.input(
    description="A user of a directory: made, or changed to what is said here. Known by the external id, or by the"
    " e-mail address where there is none."
)
class DirectoryUserInput:
    """A user as the directory has them."""

    display_name: str = strawberry.field(description="The user's name, 1 to 255 characters.")
    email: str | None = strawberry.field(default=None, description="The user's e-mail address; null: none.")
    external_id: str | None = strawberry.field(default=None, description="The user's id in the directory; null: none.")
    kind: UserKind = strawberry.field(default=UserKind.PERSON, description="A person or a service account.")
    active: bool | None = strawberry.field(
        default=None, description="Whether the user may sign in; it stays as it is if not given, and new users may."
    )
    home_group: str | None = strawberry.field(
        default=None, description="The slug of the group that is charged, which the user is in then; null: none."
    )
    groups: list[str] = strawberry.field(
        default_factory=list, description="The slugs of the groups that the user is in, and of no others."
    )
    identities: list[DirectoryIdentityInput] = strawberry.field(
        default_factory=list, description="Who the user signs in as. Identities that are not named stay."
    )

    def wanted(self) -> DirectoryUser:
        """Return the user as the directory names them."""
        named = NamedUser(
            display_name=self.display_name,
            email=self.email,
            external_id=self.external_id,
            kind=self.kind,
            home_group=self.home_group,
            groups=tuple(dict.fromkeys(self.groups)),
            identities=tuple(dict.fromkeys((one.issuer, one.subject) for one in self.identities)),
        )
        return DirectoryUser(named, self.active)


@strawberry.input(description="A directory to put in place. What it does not name stays as it is.")
class SyncDirectoryInput:
    """What syncDirectory takes."""

    groups: list[DirectoryGroupInput] = strawberry.field(default_factory=list, description="Groups, at most 5000.")
    users: list[DirectoryUserInput] = strawberry.field(default_factory=list, description="Users, at most 5000.")
    deactivate_missing: bool = strawberry.field(
        default=False,
        description="True: deactivate every active person who is not named, but for the caller. Service accounts stay;"
        " where an item has an error, nobody is deactivated.",
    )
    dry_run: bool = strawberry.field(default=False, description="True: say what would be changed, and change nothing.")

    def wanted(self) -> provisioning.Directory:
        """Return the directory."""
        return provisioning.Directory(
            groups=tuple(NamedGroup(group.slug, group.name) for group in self.groups),
            users=tuple(user.wanted() for user in self.users),
            deactivate_missing=self.deactivate_missing,
            dry_run=self.dry_run,
        )


@strawberry.type(description="Why one item of a directory was left out.")
class DirectoryItemError:
    """An error of one group or user."""

    path: list[str] = strawberry.field(description="Where in the input it went wrong, such as `users`, `3`, `email`.")
    code: ErrorCode = strawberry.field(description="What went wrong, for machines. It does not change.")
    message: str = strawberry.field(description="One sentence for people. It may change.")

    @classmethod
    def of(cls, error: ItemError) -> "DirectoryItemError":
        """Show an error."""
        return cls(path=list(error.path), code=error.code, message=error.message)


@strawberry.type(description="The directory is in place, but for the items with errors; or would be, by a dry run.")
class SyncDirectorySuccess:
    """The outcome of syncDirectory."""

    groups_created: int = strawberry.field(description="How many groups were made.")
    groups_changed: int = strawberry.field(description="How many groups were renamed.")
    users_created: int = strawberry.field(description="How many users were made.")
    users_changed: int = strawberry.field(description="How many users were changed.")
    users_unchanged: int = strawberry.field(description="How many users were so already.")
    users_deactivated: int = strawberry.field(description="How many people were deactivated because they were missing.")
    identities_linked: int = strawberry.field(description="How many identities were linked.")
    errors: list[DirectoryItemError] = strawberry.field(description="The items that were left out, and why.")


SyncDirectoryResult = Annotated[
    SyncDirectorySuccess | InvalidInput,
    strawberry.union("SyncDirectoryResult", description="The outcome of syncDirectory."),
]


async def _sync_directory(info: Info, input: SyncDirectoryInput) -> SyncDirectorySuccess | InvalidInput:
    context, allowed = info.context, authority(info.context.principal, Permission.PEOPLE_WRITE)
    try:
        synced = await provisioning.sync_directory(context.database, allowed, input.wanted(), now=context.now)
    except CreditError as error:
        return InvalidInput.of(error, "input")
    context.forget()
    return SyncDirectorySuccess(
        groups_created=synced.groups_created,
        groups_changed=synced.groups_changed,
        users_created=synced.users_created,
        users_changed=synced.users_changed,
        users_unchanged=synced.users_unchanged,
        users_deactivated=synced.users_deactivated,
        identities_linked=synced.identities_linked,
        errors=[DirectoryItemError.of(error) for error in synced.errors],
    )


@strawberry.type(description="The way in for whole directories.")
class DirectoryMutations:
    """A part of Mutation."""

    @strawberry.mutation(
        description="Put groups, users and identities in place, all in one transaction. Items that cannot be keep no"
        " others out. To send a directory again is safe: it changes nothing.",
        extensions=[requires(Permission.PEOPLE_WRITE)],
    )
    async def sync_directory(
        self, info: Info, input: Annotated[SyncDirectoryInput, strawberry.argument(description="The directory.")]
    ) -> SyncDirectoryResult:
        """Put a directory in place."""
        return await _sync_directory(info, input)
