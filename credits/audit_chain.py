"""The chain of the audit trail: what an entry's hash is, and where a chain of entries is off. Pure.

An entry's content is a JSON array, without spaces, in UTF-8, objects sorted by key: the workspace's id, the moment in
UTC with microseconds, the actor's kind, subject and user, the action, the object's type and id, the user, the group,
and the states before and after; what there is not is null. Its hash is SHA-256 of the hash before it, its id as 8 bytes
(big-endian), and SHA-256 of the content. Before a workspace's first entry stand 32 zero bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

GENESIS = bytes(32)
"""What stands before the first entry."""


@dataclass(frozen=True, slots=True)
class ChainedEntry:
    """An entry as it is stored, of whatever version of this program."""

    workspace_id: UUID
    id: int
    at: datetime
    actor_kind: str
    actor_subject: str
    actor_user_id: UUID | None
    action: str
    object_type: str
    object_id: UUID
    user_id: UUID | None
    group_id: UUID | None
    before: Mapping[str, str | None] | None
    after: Mapping[str, str | None] | None
    previous: bytes
    hash: bytes

    @property
    def content(self) -> bytes:
        """Return the hash of the content."""
        return content_hash(
            workspace_id=self.workspace_id,
            at=self.at,
            actor=(self.actor_kind, self.actor_subject, self.actor_user_id),
            action=self.action,
            about=(self.object_type, self.object_id),
            concerns=(self.user_id, self.group_id),
            states=(self.before, self.after),
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where a chain is off: the entry's id, or None where its end is, and why."""

    entry_id: int | None
    why: str


@dataclass(slots=True)
class Chain:
    """Entries in order, checked one by one; `fault` is the first that is off, and nothing after it is looked at."""

    first: bytes | None = None
    last: bytes = GENESIS
    entries: int = 0
    fault: Fault | None = None

    def add(self, entry: ChainedEntry) -> None:
        """Check the next entry."""
        if self.fault is not None:
            return
        if self.first is None:
            self.first = entry.previous
            self.last = entry.previous
        if entry.previous != self.last:
            why = "the entry before it is another one: entries are missing, were put in, or changed places"
            self.fault = Fault(entry.id, why)
        elif entry.hash != hash_of(entry.previous, entry.id, entry.content):
            self.fault = Fault(entry.id, "its content or its hash was changed")
        else:
            self.last = entry.hash
            self.entries += 1


def content_hash(
    *,
    workspace_id: UUID,
    at: datetime,
    actor: tuple[str, str, UUID | None],
    action: str,
    about: tuple[str, UUID],
    concerns: tuple[UUID | None, UUID | None],
    states: tuple[Mapping[str, str | None] | None, Mapping[str, str | None] | None],
) -> bytes:
    """Return SHA-256 of an entry's content: all of it but its id and its place in the chain."""
    kind, subject, actor_user = actor
    parts = [
        str(workspace_id), at.astimezone(UTC).isoformat(timespec="microseconds"), kind, subject, _text(actor_user),
        action, about[0], str(about[1]), *map(_text, concerns), *(None if one is None else dict(one) for one in states),
    ]  # fmt: skip
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def hash_of(previous: bytes, entry_id: int, content: bytes) -> bytes:
    """Return an entry's hash: the same as the function `add_audit_entries` of the database writes."""
    return hashlib.sha256(previous + entry_id.to_bytes(8, "big") + content).digest()


def _text(id_: UUID | None) -> str | None:
    return None if id_ is None else str(id_)
