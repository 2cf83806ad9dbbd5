"""Proving that a workspace's audit trail is the one that was written, and reading all of it in order."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from creditdesk.credits.audit_chain import GENESIS, Chain, ChainedEntry, Fault
from creditdesk.db.connections import Connection

PAGE = 2000


@dataclass(frozen=True, slots=True)
class AuditProof:
    """How many entries a chain has, the hash of the last one, and the first place where it is off, if it is."""

    entries: int
    head: bytes
    fault: Fault | None


async def chained_entries(
    conn: Connection, workspace_id: UUID, *, from_id: int = 0, to_id: int | None = None
) -> AsyncIterator[ChainedEntry]:
    """Yield entries in the order of their chain, a page of them at a time."""
    while True:
        rows = await conn.rows("audit_chain", workspace_id=workspace_id, from_id=from_id, to_id=to_id, size=PAGE)
        for row in rows:
            yield ChainedEntry(*row)
        if len(rows) < PAGE:
            return
        from_id = rows[-1][1] + 1


async def span_of(
    conn: Connection, workspace_id: UUID, *, start: datetime | None, end: datetime | None
) -> tuple[int, int] | None:
    """Return the first and the last entry of a range; None where it has none.

    All that stand between them belong to it, so that they are one piece of the chain: servers' clocks differ.
    """
    [(first, last)] = await conn.rows("audit_span", workspace_id=workspace_id, range_start=start, range_end=end)
    return None if first is None else (first, last)


async def proof_of(conn: Connection, workspace_id: UUID, *, expected: bytes | None = None) -> AuditProof:
    """Go through a workspace's audit trail, from its first entry to its end.

    `expected` is the hash of an entry that was there once: what was taken off the end shows by it, even where the kept
    end of the chain was put back as well.
    """
    # What is added while this goes on is behind the end that is read first.
    [(entries, head)] = await conn.rows("audit_head", workspace_id=workspace_id) or [(0, GENESIS)]
    chain, was_there, at_head = Chain(), expected in (None, GENESIS), head == GENESIS
    async for entry in chained_entries(conn, workspace_id):
        if chain.first is None and entry.previous != GENESIS:
            chain.fault = Fault(entry.id, "it is not the first one that was written: entries before it are missing")
        chain.add(entry)
        if chain.fault is not None:
            return AuditProof(chain.entries, chain.last, chain.fault)
        was_there = was_there or entry.hash == expected
        at_head = at_head or entry.hash == head
    if not at_head or chain.entries < entries:
        fault = Fault(None, f"its end is missing: {entries} entries were written, {chain.entries} are there")
        return AuditProof(chain.entries, chain.last, fault)
    if not was_there:
        fault = Fault(None, "no entry has the hash that is expected: its end was taken off")
        return AuditProof(chain.entries, chain.last, fault)
    return AuditProof(chain.entries, chain.last, None)
