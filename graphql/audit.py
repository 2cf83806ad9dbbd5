"""The audit trail: who did what to what, when, and what it was before and after."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import strawberry

from creditdesk.auth.policy import allows, authority
from creditdesk.credits import audit_trail
from creditdesk.graphql.connections import After, Connection, First, connection_of, window_of
from creditdesk.graphql.context import Context, Info
from creditdesk.graphql.enums import AuditAction, Permission, PrincipalKind
from creditdesk.graphql.ids import decode_id, decode_id_of
from creditdesk.graphql.nodes import Node, later, node_of
from creditdesk.graphql.ranges import RangeInput

_ORDER = "AUDIT"


@strawberry.type(description="What a field of an object was.")
class AuditValue:
    """A field and its value."""

    field: str = strawberry.field(description="The field, as this API names it.")
    value: str | None = strawberry.field(description="Its value as text; null if it had none.")


@strawberry.type(description="A change: who made it, when, and what it was about before and after.")
class AuditEntry:
    """An entry of the audit trail."""

    at: datetime = strawberry.field(description="When it was changed.")
    action: AuditAction = strawberry.field(description="What was done.")
    actor_kind: PrincipalKind = strawberry.field(
        description="Whether a person or a program did it, or nobody knows who."
    )
    actor_subject: str = strawberry.field(description="Who did it, as the identity provider names them.")
    object_type: str = strawberry.field(description="The type of what was changed.")
    before: list[AuditValue] | None = strawberry.field(description="What it was before; null if it was not there.")
    after: list[AuditValue] | None = strawberry.field(description="What it was after; null if it was there no more.")
    previous_hash: str = strawberry.field(
        description="The hash of the workspace's entry before it, which chains the two; zeros before the first one."
    )
    hash: str = strawberry.field(
        description="SHA-256, in hexadecimal, of `previousHash`, the entry's number and its content. Whoever keeps it"
        " can prove later that nothing up to this entry was changed or taken away."
    )
    entry: strawberry.Private[audit_trail.AuditEntry]

    @classmethod
    def of(cls, entry: audit_trail.AuditEntry) -> "AuditEntry":
        """Show an entry."""
        return cls(
            at=entry.at,
            action=entry.action,
            actor_kind=PrincipalKind[entry.actor_kind],
            actor_subject=entry.actor_subject,
            object_type=entry.object_type,
            before=_shown(entry.before),
            after=_shown(entry.after),
            previous_hash=entry.previous.hex(),
            hash=entry.hash.hex(),
            entry=entry,
        )

    @strawberry.field(
        graphql_type=later("User") | None, description="The user who did it; null for a program, or if not visible."
    )
    async def actor(self, info: Info) -> Node | None:
        """Load who did it."""
        return await node_of(info, "User", self.entry.actor_user_id)

    @strawberry.field(description="What was changed; null if it is there no more, or the caller may not see it.")
    async def object(self, info: Info) -> Node | None:
        """Load what was changed."""
        return await node_of(info, self.entry.object_type, self.entry.object_id)

    @strawberry.field(graphql_type=later("User") | None, description="Whom it concerns; null if that is no one user.")
    async def user(self, info: Info) -> Node | None:
        """Load whom it concerns."""
        return await node_of(info, "User", self.entry.user_id)

    @strawberry.field(graphql_type=later("Group") | None, description="Which group it concerns; null if that is none.")
    async def group(self, info: Info) -> Node | None:
        """Load the group."""
        return await node_of(info, "Group", self.entry.group_id)


def _shown(state: Mapping[str, str | None] | None) -> list[AuditValue] | None:
    return None if state is None else [AuditValue(field=name, value=value) for name, value in sorted(state.items())]


@strawberry.input(description="What entries a list is narrowed to; every part that is given must fit.")
class AuditFilter:
    """Parts that are not given do not narrow."""

    action: AuditAction | None = strawberry.field(default=None, description="Entries of this action.")
    user: strawberry.ID | None = strawberry.field(default=None, description="Entries that concern this user.")
    object: strawberry.ID | None = strawberry.field(
        default=None, description="Entries about the object of this id, whether or not it is still there."
    )
    range: RangeInput | None = strawberry.field(default=None, description="Entries of this range.")

    def wanted(self, context: Context) -> audit_trail.AuditFilter:
        """Return the filter; raise InvalidIdError or InvalidRangeError."""
        range_ = self.range.resolved(context) if self.range else None
        return audit_trail.AuditFilter(
            action=self.action,
            user_id=decode_id_of("User", self.user) if self.user else None,
            object_id=decode_id(self.object)[1] if self.object else None,
            start=range_.start if range_ else None,
            end=range_.end if range_ else None,
        )


@strawberry.type(description="The audit trail of a workspace.")
class AuditOfWorkspace:
    """A part of Workspace."""

    @strawberry.field(
        description="Every change of limits, requests, rates, settings, people and groups, who signed in and who was"
        " refused, newest first; null if the caller may not see the audit trail."
    )
    async def audit(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        filter: Annotated[
            AuditFilter | None, strawberry.argument(description="What entries to narrow the list to.")
        ] = None,
    ) -> Connection[AuditEntry] | None:
        """Load a page of the audit trail."""
        context, allowed = info.context, authority(info.context.principal, Permission.AUDIT_READ)
        if not allows(context.principal, Permission.AUDIT_READ):
            return None
        conn, workspace_id = context.database.reader(allowed.row_scope), allowed.workspace_id
        wanted, window = (
            filter.wanted(context) if filter else audit_trail.AuditFilter(),
            window_of(_ORDER, first, after),
        )
        page = await audit_trail.audit_page(conn, workspace_id, wanted, window=window)
        count = lambda: audit_trail.audit_count(conn, workspace_id, wanted)  # noqa: E731
        return connection_of(page, _ORDER, window, show=AuditEntry.of, count=count)
