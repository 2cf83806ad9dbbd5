"""What rows a caller may read, and where they may decide: handed into every operation, made only by `auth/policy`."""

from dataclasses import dataclass
from uuid import UUID

from creditdesk.db.scopes import DatabaseRole, RowScope


@dataclass(frozen=True, slots=True)
class PermittedScopes:
    """One workspace, and in it: everyone, or one's own row and the groups one manages."""

    workspace_id: UUID
    everyone: bool
    user_id: UUID | None
    managed_groups: frozenset[UUID]

    @property
    def row_scope(self) -> RowScope:
        """The database role and context that reads for this caller run under.

        A group manager reads as an administrator with the groups as a predicate in every statement: row-level
        security knows the workspace and the own row only, since membership look-ups in policies cost 15 to 1000 times.
        """
        role = DatabaseRole.ADMINISTRATOR if self.everyone or self.managed_groups else DatabaseRole.MEMBER
        return RowScope(role, self.workspace_id, self.user_id)

    def may_read_group(self, group_id: UUID) -> bool:
        """Tell whether what was charged to the group, and what its members used, may be read."""
        return self.everyone or group_id in self.managed_groups


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, as the audit trail keeps it: a person or a program, and the user that a person is here."""

    kind: str
    subject: str
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class Authority:
    """Where in one workspace somebody may exercise one permission: everywhere, or in the groups they manage."""

    workspace_id: UUID
    actor: Actor
    everywhere: bool
    managed_groups: frozenset[UUID]

    @property
    def row_scope(self) -> RowScope:
        """The database role and context that changes are made under; the operation narrows them to its groups."""
        return RowScope(DatabaseRole.ADMINISTRATOR, self.workspace_id, self.actor.user_id)
