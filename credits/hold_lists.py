"""Holds as a caller may see them."""

from uuid import UUID

from creditdesk.credits.hold_rows import StoredHold
from creditdesk.credits.hold_rules import Hold
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection


async def hold_of_caller(conn: Connection, permitted: PermittedScopes, id_: UUID) -> Hold | None:
    """Return a hold of somebody whose spend the caller may see; None where there is none. A refusal is none."""
    rows = await conn.rows(
        "hold_of_caller",
        id=id_,
        workspace_id=permitted.workspace_id,
        everyone=permitted.everyone,
        own_user=permitted.user_id,
        managed_groups=list(permitted.managed_groups),
    )
    return StoredHold(rows[0]).hold if rows else None
