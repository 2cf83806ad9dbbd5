"""Who came to the demo before whoever looks at it now, and who was refused: the audit trail is not only of changes."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from creditdesk.app.demo.sign_ins import SignIn
from creditdesk.credits.audit import AuditAction
from creditdesk.credits.audit_trail import AuditFilter, audit_count
from creditdesk.credits.newcomers import note_denial, note_sign_in
from creditdesk.credits.permitted import Actor
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope

_EARLIER = timedelta(minutes=90)


async def put_access(database: Database, people: Sequence[SignIn], *, issuer_url: str, now: datetime) -> None:
    """Say that everybody signed in a while ago, and that one was refused, where the trail knows of nobody who was."""
    for one in people:
        actor = Actor("PERSON", one.subject, one.user.new.id)
        await note_sign_in(
            database,
            one.workspace.id,
            actor,
            issuer=issuer_url,
            roles=[one.role.upper()],
            began_at=now - _EARLIER,
            now=now - _EARLIER,
        )
        conn = database.reader(RowScope(DatabaseRole.ADMINISTRATOR, one.workspace.id))
        denied = AuditFilter(action=AuditAction.ACCESS_DENIED)
        if one.name == "MEMBER" and not await audit_count(conn, one.workspace.id, denied):
            state: dict[str, str | None] = {
                "code": "FORBIDDEN",
                "what": "changeSettings",
                "count": "3",
                "since": (now - _EARLIER).isoformat(),
            }
            await note_denial(database, one.workspace.id, actor, state, now=now - _EARLIER)
