"""The workspace, and the caller's place in it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from creditdesk.auth.principal import Principal
from creditdesk.credits import directory, people, people_lists
from creditdesk.credits.usage import Cell
from creditdesk.graphql.audit import AuditOfWorkspace
from creditdesk.graphql.budgets import WorkspaceBudget
from creditdesk.graphql.connections import After, Before, Connection, First, Last, connection_of, window_of
from creditdesk.graphql.context import Context, Info
from creditdesk.graphql.enums import Permission, PrincipalKind, Role
from creditdesk.graphql.ids import decode_id_of, encode_id
from creditdesk.graphql.limits import WorkspaceLimits
from creditdesk.graphql.nodes import Node, found_by
from creditdesk.graphql.people import GroupBy, GroupFilter, GroupOrder, UserBy
from creditdesk.graphql.rates import WorkspaceRates
from creditdesk.graphql.requests import WorkspaceRequests
from creditdesk.graphql.settings import SettingsOfWorkspace
from creditdesk.graphql.usage import (
    CreditUsage,
    Group,
    InRange,
    Narrowed,
    User,
    UsersNarrowed,
    UsersOrdered,
    group_of,
    usage_of,
    user_of,
    users_page,
)


def shown_groups(
    page: people.Page[people.Group], context: Context, search: str | None, order: people.Order, window: people.Window
) -> Connection[Group]:
    """Show a page of the workspace's groups."""
    return connection_of(
        page,
        order,
        window,
        show=Group.of,
        count=lambda: people_lists.groups_count(context.reader, context.permitted, search),
    )


@strawberry.input(one_of=True, description="A workspace, named in one of two ways.")
class WorkspaceBy:
    """Exactly one of an id and a slug."""

    id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="The workspace's id in this API.")
    slug: str | None = strawberry.field(default=strawberry.UNSET, description="The workspace's short name.")


@strawberry.type(description="The tenant: its users, its groups, its credits.")
class Workspace(
    WorkspaceLimits, WorkspaceRequests, SettingsOfWorkspace, AuditOfWorkspace, WorkspaceRates, WorkspaceBudget, Node
):
    """The caller's workspace; there is no way to another."""

    slug: str = strawberry.field(description="The workspace's short name.")
    name: str = strawberry.field(description="The workspace's name.")
    zone: str = strawberry.field(description="The IANA time zone that days, weeks and months are cut in.")
    created_at: datetime = strawberry.field(description="When the workspace was made.")

    @classmethod
    def of(cls, workspace: directory.Workspace) -> "Workspace":
        """Show a workspace."""
        return cls(
            id=encode_id("Workspace", workspace.id),
            slug=workspace.slug,
            name=workspace.name,
            zone=workspace.zone,
            created_at=workspace.created_at,
        )

    @strawberry.field(description="What everybody used; null if the caller may not see everyone's spend.")
    async def usage(self, info: Info, range: InRange, filter: Narrowed = None) -> CreditUsage | None:
        """Load what the workspace used."""
        if not info.context.permitted.everyone:
            return None
        return await usage_of(info, Cell(), range, filter)

    @strawberry.field(description="The workspace's users, as far as the caller may see them.")
    async def users(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: UsersNarrowed = None,
        order_by: UsersOrdered = None,
    ) -> Connection[User]:
        """Load a page of users."""
        wanted = filter.wanted() if filter else people.UserFilter()
        order = order_by.resolved(info.context) if order_by else people.Order()
        return await users_page(info, None, wanted, order, (first, after, last, before))

    @strawberry.field(description="One user; null if there is none, or none that the caller may see.")
    async def user(
        self, info: Info, by: Annotated[UserBy, strawberry.argument(description="Which user.")]
    ) -> User | None:
        """Load a user."""
        named, context = by.named(), info.context
        if named.id:
            return await user_of(info, named.id)
        user = await people.user_by_address(
            context.reader, context.permitted, email=named.email, external_id=named.external_id
        )
        return User.of(user) if user else None

    @strawberry.field(description="The workspace's groups, as far as the caller may see them.")
    async def groups(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[
            GroupFilter | None, strawberry.argument(description="What groups to narrow the list to.")
        ] = None,
        order_by: Annotated[
            GroupOrder | None, strawberry.argument(description="The order; by name if not given.")
        ] = None,
    ) -> Connection[Group]:
        """Load a page of groups."""
        context, search = info.context, filter.search if filter else None
        order = order_by.resolved(context) if order_by else people.Order()
        window = window_of(order, first, after, last, before)
        page = await people_lists.groups_page(context.reader, context.permitted, search, order=order, window=window)
        return shown_groups(page, context, search, order, window)

    @strawberry.field(description="One group; null if there is none, or none that the caller may see.")
    async def group(
        self, info: Info, by: Annotated[GroupBy, strawberry.argument(description="Which group.")]
    ) -> Group | None:
        """Load a group."""
        if isinstance(by.id, str):
            return await group_of(info, decode_id_of("Group", by.id))
        context, slug = info.context, by.slug or ""
        found = await people.group_by_slug(context.reader, context.permitted, slug=slug)
        return Group.of(found) if found else None


@found_by("Workspace")
async def _own_workspace(info: Info, id_: UUID) -> Workspace | None:
    own = info.context.principal.workspace
    return Workspace.of(own) if id_ == own.id else None


@strawberry.type(description="The caller: a person, who has a user in the workspace, or a program, which has none.")
class Viewer:
    """Who the token stands for."""

    kind: PrincipalKind = strawberry.field(description="A person or a program.")
    subject: str = strawberry.field(description="The token's subject, as the identity provider names it.")
    principal: strawberry.Private[Principal]

    @classmethod
    def of(cls, info: Info) -> "Viewer":
        """Show the caller."""
        principal = info.context.principal
        return cls(kind=principal.kind, subject=principal.subject, principal=principal)

    @strawberry.field(description="The roles that the token gives in this workspace.")
    def roles(self) -> list[Role]:
        """Show the roles."""
        return [role for role in Role if role in self.principal.roles]

    @strawberry.field(description="What the caller may do.")
    def permissions(self) -> list[Permission]:
        """Show the permissions."""
        return [permission for permission in Permission if permission in self.principal.permissions]

    @strawberry.field(description="The workspace that the token is for.")
    def workspace(self) -> Workspace:
        """Show the workspace."""
        return Workspace.of(self.principal.workspace)

    @strawberry.field(description="The caller's own user; null for a program, and until the person is linked to one.")
    async def user(self, info: Info) -> User | None:
        """Load the caller's user."""
        return await user_of(info, info.context.permitted.user_id)
