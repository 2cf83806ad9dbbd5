"""Under what role and context statements run: what row-level security goes by."""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from uuid import UUID

from psycopg import sql

from creditdesk.db.messages import Context


class DatabaseRole(Enum):
    """The two roles that statements run as; each has its own row-level policies."""

    ADMINISTRATOR = "creditdesk_administrator"
    MEMBER = "creditdesk_member"


NAMES = {role: role.name.lower() for role in DatabaseRole}
"""What prepared statements of each role are called by."""


@dataclass(frozen=True, slots=True)
class RowScope:
    """The role and context of row-level security. Without a workspace id no row is seen.

    `workspace_slug` opens one row of `workspace`, by its slug: what a sign-in needs before it knows the id.
    """

    role: DatabaseRole
    workspace_id: UUID | None
    user_id: UUID | None = None
    workspace_slug: str | None = None

    def settings(self) -> list[sql.Composed]:
        """Return the `SET LOCAL` statements: `set_config` would not reach a distributed database's workers.

        What is not known is set to nothing, so that it is not what another context of the same transaction has set.
        """
        settings = {
            "app.workspace_id": self.workspace_id,
            "app.user_id": self.user_id,
            "app.workspace_slug": self.workspace_slug,
        }
        return [sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.role.value))] + [
            sql.SQL("SET LOCAL {} = {}").format(sql.SQL(name), sql.Literal("" if value is None else str(value)))
            for name, value in settings.items()
        ]


@lru_cache(maxsize=10_000)
def context_of(scope: RowScope) -> Context:
    """Return what sets a scope, one statement after the other."""
    return tuple([setting.as_string(None) for setting in scope.settings()])
