"""Audit trails to tamper with: entries written through the product, and the database's owner at work on them."""

from collections.abc import Sequence
from typing import cast
from uuid import uuid4

from creditdesk.credits.audit import AuditAction, AuditRecord, audit
from creditdesk.credits.audit_proof import AuditProof, proof_of
from creditdesk.credits.permitted import Actor
from support.ledgers import NOW, Ledger

ACTOR = Actor("PERSON", "olga «Ö»", None)


def record(number: int) -> AuditRecord:
    """Return a change that holds whatever text may hold."""
    text = 'a "quote", a \\ and a\nline: ✓'
    before = None if number % 3 == 0 else {"value": f"{number}", "reason": text, "none": None}
    id_ = uuid4()
    return AuditRecord(
        AuditAction.LIMIT_SET,
        "CreditLimit",
        id_,
        before,
        {"value": f"{number + 1}"},
        user_id=id_ if number % 2 else None,
        group_id=None if number % 2 else id_,
    )


async def writing(ledger: Ledger, records: Sequence[AuditRecord]) -> None:
    async with ledger.desk.database.transaction(ledger.scope) as conn:
        await audit(conn, workspace_id=ledger.workspace_id, actor=ACTOR, records=records, now=NOW)


def write(ledger: Ledger, count: int) -> list[int]:
    """Write so many entries, each in a transaction of its own, and return the ids of all there are."""
    for number in range(count):
        ledger.desk.run(writing(ledger, [record(number)]))
    return ids(ledger)


def ids(ledger: Ledger) -> list[int]:
    query = "SELECT id FROM audit_entry WHERE workspace_id = %s ORDER BY id"
    return [id_ for (id_,) in ledger.desk.sql(query, ledger.workspace_id)]


def proof(ledger: Ledger, expected: bytes | None = None) -> AuditProof:
    return cast("AuditProof", ledger.desk.run(proof_of(ledger.reader, ledger.workspace_id, expected=expected)))


def tamper(ledger: Ledger, query: str, *parameters: object) -> None:
    """Change the trail as the owner of the database could, past every privilege."""
    ledger.desk.sql(query, *parameters)


def put_end_back(ledger: Ledger) -> None:
    """Make the kept end of the chain fit what is there: what a thorough tamperer does as well."""
    tamper(
        ledger,
        "UPDATE audit_head AS h SET entries = e.entries, hash = e.hash FROM ("
        " SELECT count(*) OVER () AS entries, hash FROM audit_entry WHERE workspace_id = %s ORDER BY id DESC LIMIT 1"
        ") AS e WHERE h.workspace_id = %s",
        ledger.workspace_id,
        ledger.workspace_id,
    )
