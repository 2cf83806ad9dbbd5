"""The audit trail: who did what to what, when, and what it was before and after. Written with the change itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

import orjson

from creditdesk.credits.audit_chain import content_hash
from creditdesk.credits.permitted import Actor
from creditdesk.db.connections import Connection


class AuditAction(Enum):
    """What was done."""

    LIMIT_SET = "A limit was set, or an existing one changed."
    LIMIT_REMOVED = "A limit was removed."
    CEILING_SET = "The ceiling of a group's managers was set."
    REQUEST_MADE = "Credits were asked for."
    REQUEST_APPROVED = "A request was approved."
    REQUEST_DENIED = "A request was denied."
    REQUEST_CANCELLED = "A request was taken back."
    RATE_ADDED = "A rate was put on the rate card."
    RATE_REMOVED = "A rate that had not come into effect was taken off the rate card."
    MULTIPLIER_ADDED = "A multiplier of a service tier was put on the rate card."
    MULTIPLIER_REMOVED = "A multiplier that had not come into effect was taken off the rate card."
    SETTINGS_CHANGED = "The workspace's settings were changed."
    GROUP_CREATED = "A group was made."
    GROUP_CHANGED = "A group was renamed."
    USER_CREATED = "A user was made."
    USER_CHANGED = "What is known of a user was changed, or the groups they are in."
    USER_DEACTIVATED = "A user was deactivated: they lose access, and their sessions are ended."
    USER_REACTIVATED = "A user was made active again."
    SESSIONS_ENDED = "A user's sessions were ended: what began before is refused."
    IDENTITY_LINKED = "A subject of an identity provider was linked to a user."
    SIGNED_IN = "Somebody signed in: said once for each identity and hour, not for each request or token."
    ACCESS_DENIED = "Somebody was refused: said once a minute for each caller and code, with how often."
    IDENTITY_UNLINKED = "A subject of an identity provider was unlinked from a user."


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change: the object's state before and after it, as text by field; None where there was, or is, no object.

    `object_type` is the name of the API's type. `user_id` and `group_id` say whom the change concerns.
    """

    action: AuditAction
    object_type: str
    object_id: UUID
    before: Mapping[str, str | None] | None
    after: Mapping[str, str | None] | None
    user_id: UUID | None = None
    group_id: UUID | None = None


async def audit(
    conn: Connection, *, workspace_id: UUID, actor: Actor, records: Sequence[AuditRecord], now: datetime
) -> None:
    """Add changes to the audit trail, in the transaction that makes them.

    It waits for whoever else adds to the workspace's chain: whatever else is locked, such as `changing_controls`, is
    locked before it.
    """
    if records:
        await conn.rows("add_audit_entries", **_columns(workspace_id, actor, records, now))


async def note(
    conn: Connection, *, workspace_id: UUID, actor: Actor, records: Sequence[AuditRecord], now: datetime
) -> None:
    """Add to the audit trail what changed nothing, so that nobody who waits for changes is told."""
    await conn.rows("note_audit_entries", **_columns(workspace_id, actor, records, now))


def _columns(workspace_id: UUID, actor: Actor, records: Sequence[AuditRecord], now: datetime) -> dict[str, object]:
    who = (actor.kind, actor.subject, actor.user_id)
    return {
        "workspace_id": workspace_id,
        "now": now,
        "actor_kind": actor.kind,
        "actor_subject": actor.subject,
        "actor_user": actor.user_id,
        "actions": [record.action.name for record in records],
        "object_types": [record.object_type for record in records],
        "object_ids": [record.object_id for record in records],
        "users": [record.user_id for record in records],
        "groups": [record.group_id for record in records],
        "befores": [_text(record.before) for record in records],
        "afters": [_text(record.after) for record in records],
        "contents": [
            content_hash(
                workspace_id=workspace_id,
                at=now,
                actor=who,
                action=record.action.name,
                about=(record.object_type, record.object_id),
                concerns=(record.user_id, record.group_id),
                states=(record.before, record.after),
            )
            for record in records
        ],
    }


def _text(state: Mapping[str, str | None] | None) -> str | None:
    return None if state is None else orjson.dumps(dict(state)).decode()
