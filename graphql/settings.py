"""A workspace's settings, and the ceilings of its group managers."""

from datetime import date
from typing import Annotated, cast
from uuid import UUID

import strawberry

from creditdesk.auth.policy import allows, authority
from creditdesk.credits import workspace_settings
from creditdesk.credits.amounts import Credits
from creditdesk.credits.errors import CreditError, ForbiddenError
from creditdesk.credits.workspace_settings import SettingsChanges, SettingsConflictError
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import FirstSignIn, GroupClaims, MultiGroup, Permission, UnknownModel
from creditdesk.graphql.errors import InvalidInput
from creditdesk.graphql.guards import requires
from creditdesk.graphql.limit_inputs import group_named
from creditdesk.graphql.limit_rules import VersionConflict
from creditdesk.graphql.nodes import Node, later, node_of
from creditdesk.graphql.people import GroupBy


@strawberry.type(description="What a workspace has chosen about spending.")
class WorkspaceSettings:
    """The settings as they are now."""

    multi_group: MultiGroup = strawberry.field(description="Which group's limit applies to a user of several groups.")
    unknown_model: UnknownModel = strawberry.field(
        description="What becomes of a use of a product or model that is not on the rate card."
    )
    near_percent: int = strawberry.field(description="From this part of a limit on, in percent, a budget is NEAR.")
    manager_ceiling: Credits | None = strawberry.field(
        description="Up to what managers of groups without a ceiling of their own may set limits; null: nothing."
    )
    auto_approval_per_period: Credits | None = strawberry.field(
        description="How much is approved by itself for a user in a period of a limit; null: nothing."
    )
    cooldown_hours: int = strawberry.field(
        description="How many hours after a denial the same limit cannot be asked to be raised again."
    )
    request_open_days: int = strawberry.field(description="After how many days a request that nobody decides expires.")
    billing_anchor_day: int = strawberry.field(
        description="The day of the month on which billing cycles start, or the last day of a month without it."
    )
    next_billing_anchor_day: int | None = strawberry.field(
        description="The day on which later billing cycles start; null if no change is to come."
    )
    next_billing_anchor_from: date | None = strawberry.field(
        description="From when on that is so: when the running cycle ends; null if no change is to come."
    )
    first_sign_in: FirstSignIn = strawberry.field(
        description="What becomes of a person with a valid token whom the workspace does not know."
    )
    group_claims: GroupClaims = strawberry.field(description="What it means that a token names groups.")
    version: int = strawberry.field(description="How often the settings were changed, from 1: for `expectedVersion`.")

    @classmethod
    def of(cls, info: Info, settings: workspace_settings.WorkspaceSettings) -> "WorkspaceSettings":
        """Show settings."""
        coming = settings.next_anchor(info.context.now)
        return cls(
            multi_group=settings.multi_group,
            unknown_model=settings.unknown_model,
            near_percent=settings.near_percent,
            manager_ceiling=cast("Credits | None", settings.manager_ceiling),
            auto_approval_per_period=cast("Credits | None", settings.auto_approval_per_period),
            cooldown_hours=settings.cooldown_hours,
            request_open_days=settings.request_open_days,
            billing_anchor_day=settings.anchor(info.context.now).day,
            next_billing_anchor_day=coming.day if coming else None,
            next_billing_anchor_from=coming.since if coming else None,
            first_sign_in=settings.first_sign_in,
            group_claims=settings.group_claims,
            version=settings.version,
        )


@strawberry.type(description="The settings of a workspace.")
class SettingsOfWorkspace:
    """A part of Workspace."""

    @strawberry.field(description="What the workspace has chosen about spending; null if the caller may not see it.")
    async def settings(self, info: Info) -> WorkspaceSettings | None:
        """Load the settings."""
        context = info.context
        if not allows(context.principal, Permission.SETTINGS_WRITE):
            return None
        settings = await workspace_settings.load_settings(context.reader, context.principal.workspace.id)
        return WorkspaceSettings.of(info, settings)


@strawberry.type(description="The ceiling of a group's managers.")
class CeilingOfGroup:
    """A part of Group."""

    group_id: strawberry.Private[UUID]

    @strawberry.field(
        description="Up to what the group's managers may set limits, by its own ceiling or by the workspace's; null if"
        " they may set none, or the caller may not see it."
    )
    async def manager_ceiling(self, info: Info) -> Credits | None:
        """Load the ceiling."""
        ceiling = await info.context.loaders.ceilings.load(self.group_id)
        return None if ceiling is None else Credits(ceiling)


@strawberry.input(description="What to change of the settings. What is not given stays as it is.")
class ChangeSettingsInput:
    """What changeSettings takes; null is an answer where nothing may be chosen."""

    expected_version: int = strawberry.field(description="The settings' version, as it was read.")
    multi_group: MultiGroup | None = strawberry.field(
        default=None, description="Which group's limit applies to a user of several groups."
    )
    unknown_model: UnknownModel | None = strawberry.field(
        default=None, description="What becomes of a use of a product or model that is not on the rate card."
    )
    near_percent: int | None = strawberry.field(
        default=None, description="From which part of a limit on a budget is NEAR: 1 to 100 percent."
    )
    manager_ceiling: Credits | None = strawberry.field(
        default=strawberry.UNSET,
        description="Up to what managers of groups without a ceiling of their own may set limits; null: nothing.",
    )
    auto_approval_per_period: Credits | None = strawberry.field(
        default=strawberry.UNSET,
        description="How much is approved by itself for a user in a period of a limit; null: nothing.",
    )
    cooldown_hours: int | None = strawberry.field(
        default=None, description="How long a limit cannot be asked for again after a denial: 0 to 8760 hours."
    )
    request_open_days: int | None = strawberry.field(
        default=None, description="After how many days a request that nobody decides expires: 1 to 365."
    )
    billing_anchor_day: int | None = strawberry.field(
        default=None,
        description="The day of the month on which billing cycles start, 1 to 31: from the end of the running one on.",
    )

    first_sign_in: FirstSignIn | None = strawberry.field(
        default=None, description="What becomes of a person with a valid token whom the workspace does not know."
    )
    group_claims: GroupClaims | None = strawberry.field(
        default=None, description="What it means that a token names groups."
    )

    def changes(self) -> SettingsChanges:
        """Return what is to be changed."""
        given = {name: value for name in SettingsChanges.__annotations__ if (value := getattr(self, name)) is not None}
        for name in ("manager_ceiling", "auto_approval_per_period"):
            if getattr(self, name) is None:
                given[name] = None
        return cast("SettingsChanges", {name: value for name, value in given.items() if value is not strawberry.UNSET})


@strawberry.type(description="The settings were changed.")
class ChangeSettingsSuccess:
    """The outcome of changeSettings."""

    settings: WorkspaceSettings = strawberry.field(description="The settings as they are now.")


ChangeSettingsResult = Annotated[
    ChangeSettingsSuccess | VersionConflict | InvalidInput,
    strawberry.union("ChangeSettingsResult", description="The outcome of changeSettings."),
]


@strawberry.input(description="A ceiling to set.")
class SetManagerCeilingInput:
    """What setManagerCeiling takes."""

    group: GroupBy = strawberry.field(description="The group whose managers it is for.")
    ceiling: Credits | None = strawberry.field(
        description="Up to what they may set limits, 0 to 1000000000; null: as the workspace's settings say."
    )


@strawberry.type(description="The ceiling was set.")
class SetManagerCeilingSuccess:
    """The outcome of setManagerCeiling."""

    group_id: strawberry.Private[UUID]

    @strawberry.field(graphql_type=later("Group") | None, description="The group; null if the caller may not see it.")
    async def group(self, info: Info) -> Node | None:
        """Load the group."""
        return await node_of(info, "Group", self.group_id)


SetManagerCeilingResult = Annotated[
    SetManagerCeilingSuccess | InvalidInput,
    strawberry.union("SetManagerCeilingResult", description="The outcome of setManagerCeiling."),
]


async def _change_settings(
    info: Info, input: ChangeSettingsInput
) -> ChangeSettingsSuccess | VersionConflict | InvalidInput:
    allowed, version = authority(info.context.principal, Permission.SETTINGS_WRITE), input.expected_version
    try:
        async with info.context.database.transaction(allowed.row_scope) as conn:
            settings = await workspace_settings.change_settings(
                conn, allowed, input.changes(), expected_version=version, now=info.context.now
            )
    except SettingsConflictError as error:
        return VersionConflict.at(error, error.current.version)
    except CreditError as error:
        return InvalidInput.of(error, "input")
    info.context.forget()
    return ChangeSettingsSuccess(settings=WorkspaceSettings.of(info, settings))


async def _set_manager_ceiling(info: Info, input: SetManagerCeilingInput) -> SetManagerCeilingSuccess | InvalidInput:
    allowed = authority(info.context.principal, Permission.LIMITS_WRITE)
    try:
        async with info.context.database.transaction(allowed.row_scope) as conn:
            group_id = await workspace_settings.set_manager_ceiling(
                conn, allowed, group_named(input.group), input.ceiling, now=info.context.now
            )
    except ForbiddenError:
        raise
    except CreditError as error:
        return InvalidInput.of(error, "input")
    info.context.forget()
    return SetManagerCeilingSuccess(group_id=group_id)


@strawberry.type(description="The ways in for changing settings.")
class SettingsMutations:
    """A part of Mutation."""

    @strawberry.mutation(
        description="Change the workspace's settings. They decide from now on, but for the billing day, which moves"
        " when the running billing cycle ends.",
        extensions=[requires(Permission.SETTINGS_WRITE)],
    )
    async def change_settings(
        self, info: Info, input: Annotated[ChangeSettingsInput, strawberry.argument(description="What to change.")]
    ) -> ChangeSettingsResult:
        """Change the settings."""
        return await _change_settings(info, input)

    @strawberry.mutation(
        description="Set up to what a group's managers may set limits. For those only who set limits everywhere.",
        extensions=[requires(Permission.LIMITS_WRITE)],
    )
    async def set_manager_ceiling(
        self, info: Info, input: Annotated[SetManagerCeilingInput, strawberry.argument(description="The ceiling.")]
    ) -> SetManagerCeilingResult:
        """Set a ceiling."""
        return await _set_manager_ceiling(info, input)
