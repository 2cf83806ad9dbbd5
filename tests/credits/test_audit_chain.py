"""The audit trail is a chain: whatever is done to it past the program shows, and where."""

import asyncio
import hashlib
import json
from datetime import UTC
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from creditdesk.credits.audit import audit
from creditdesk.credits.audit_chain import GENESIS, Fault
from creditdesk.db.errors import DatabaseError
from support.audits import ACTOR, proof, put_end_back, record, tamper, write, writing
from support.ledgers import NOW, Desk, Ledger, new_ledger

CHANGED = "its content or its hash was changed"
ANOTHER = "the entry before it is another one: entries are missing, were put in, or changed places"


def test_an_untouched_trail_is_an_unbroken_chain(ledger: Ledger) -> None:
    assert (proof(ledger).entries, proof(ledger).fault) == (0, None)
    write(ledger, 5)
    found = proof(ledger)
    assert (found.entries, found.fault) == (5, None)
    [(head, entries)] = ledger.desk.sql(
        "SELECT hash, entries FROM audit_head WHERE workspace_id = %s", ledger.workspace_id
    )
    assert (head, entries) == (found.head, found.entries)


def test_the_chain_is_what_its_description_says(ledger: Ledger) -> None:
    write(ledger, 4)
    last = bytes(32)
    rows = ledger.desk.sql(
        "SELECT workspace_id, id, at, actor_kind, actor_subject, actor_user_id, action, object_type, object_id,"
        " user_id, group_id, before, after, previous, hash FROM audit_entry WHERE workspace_id = %s ORDER BY id",
        ledger.workspace_id,
    )
    assert len(rows) == 4
    for workspace, id_, at, *middle, before, after, previous, hash_ in rows:
        shown = [str(one) if isinstance(one, UUID) else one for one in middle]
        parts = [str(workspace), at.astimezone(UTC).isoformat(timespec="microseconds"), *shown, before, after]
        text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).digest()
        assert previous == last
        last = hashlib.sha256(last + id_.to_bytes(8, "big") + digest).digest()
        assert hash_ == last


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "'2026-06-20 10:00:00.000001+00'"),
        ("actor_kind", "'SERVICE'"),
        ("actor_subject", "'somebody else'"),
        ("actor_user_id", "gen_random_uuid()"),
        ("action", "'LIMIT_REMOVED'"),
        ("object_type", "'User'"),
        ("object_id", "gen_random_uuid()"),
        ("user_id", "gen_random_uuid()"),
        ("group_id", "gen_random_uuid()"),
        ("before", 'before || \'{"value": "9"}\''),
        ("after", "NULL"),
        ("hash", "sha256('x')"),
    ],
)
def test_an_entry_that_was_changed_is_named(ledger: Ledger, column: str, value: str) -> None:
    entries = write(ledger, 5)
    query = f"UPDATE audit_entry SET {column} = {value} WHERE workspace_id = %s AND id = %s"  # noqa: S608 - from here
    tamper(ledger, query, ledger.workspace_id, entries[1])
    found = proof(ledger)
    assert (found.entries, found.fault) == (1, Fault(entries[1], CHANGED))


def test_an_entry_that_was_changed_with_its_hash_shows_in_the_next(ledger: Ledger) -> None:
    entries = write(ledger, 4)
    # The content is changed and the hash is made to fit it, by somebody who knows how; but the next one keeps the old.
    tamper(
        ledger, "UPDATE audit_entry SET hash = sha256('forged') WHERE workspace_id = %s AND id = %s",
        ledger.workspace_id, entries[3],
    )  # fmt: skip
    assert proof(ledger).fault == Fault(entries[3], CHANGED)
    tamper(
        ledger, "UPDATE audit_entry SET previous = sha256('forged') WHERE workspace_id = %s AND id = %s",
        ledger.workspace_id, entries[2],
    )  # fmt: skip
    assert proof(ledger).fault == Fault(entries[2], ANOTHER)


@pytest.mark.parametrize("nth", [0, 1, 3])
def test_an_entry_that_was_taken_away_is_missed(ledger: Ledger, nth: int) -> None:
    entries = write(ledger, 5)
    tamper(ledger, "DELETE FROM audit_entry WHERE workspace_id = %s AND id = %s", ledger.workspace_id, entries[nth])
    found = proof(ledger)
    assert found.entries == nth
    assert found.fault is not None
    assert found.fault.entry_id == entries[nth + 1]


def test_entries_that_changed_places_are_named(ledger: Ledger) -> None:
    entries = write(ledger, 5)
    swap = "UPDATE audit_entry SET id = %s WHERE workspace_id = %s AND id = %s"
    for new, old in ((0, entries[1]), (entries[1], entries[2]), (entries[2], 0)):
        tamper(ledger, swap, new, ledger.workspace_id, old)
    assert proof(ledger).fault == Fault(entries[1], ANOTHER)


def test_an_entry_that_was_put_in_is_named(ledger: Ledger) -> None:
    entries = write(ledger, 2)
    write(new_ledger(ledger.desk), 3)  # leaves ids between
    more = write(ledger, 1)
    inside = entries[1] + 1
    assert inside < more[-1]
    tamper(
        ledger,
        "INSERT INTO audit_entry SELECT workspace_id, %s, at, actor_kind, actor_subject, actor_user_id, action,"
        " object_type, object_id, user_id, group_id, before, after, hash, sha256('x')"
        " FROM audit_entry WHERE workspace_id = %s AND id = %s",
        inside, ledger.workspace_id, entries[1],
    )  # fmt: skip
    assert proof(ledger).fault == Fault(inside, CHANGED)


def test_an_end_that_was_taken_off_is_missed(ledger: Ledger) -> None:
    entries = write(ledger, 5)
    anchor = proof(ledger).head
    tamper(ledger, "DELETE FROM audit_entry WHERE workspace_id = %s AND id > %s", ledger.workspace_id, entries[2])
    found = proof(ledger)
    assert (found.entries, found.fault) == (3, Fault(None, "its end is missing: 5 entries were written, 3 are there"))
    # Whoever puts the kept end back as well is caught by the hash that somebody else kept.
    put_end_back(ledger)
    assert proof(ledger).fault is None
    taken_off = Fault(None, "no entry has the hash that is expected: its end was taken off")
    assert proof(ledger, anchor).fault == taken_off


def test_a_trail_that_was_taken_away_as_a_whole_is_missed(ledger: Ledger) -> None:
    write(ledger, 2)
    tamper(ledger, "DELETE FROM audit_entry WHERE workspace_id = %s", ledger.workspace_id)
    assert proof(ledger).fault == Fault(None, "its end is missing: 2 entries were written, 0 are there")


def test_an_earlier_head_is_still_in_the_chain_that_went_on(ledger: Ledger) -> None:
    assert proof(ledger, GENESIS).fault is None
    write(ledger, 2)
    anchor = proof(ledger).head
    write(ledger, 3)
    assert proof(ledger, anchor).fault is None


def test_eight_writers_at_once_make_one_chain(ledger: Ledger) -> None:
    async def all_of_them() -> None:
        async def one(number: int) -> None:
            for nth in range(15):
                records = [record(number * 100 + nth + more) for more in range(nth % 3 + 1)]
                await writing(ledger, records)

        await asyncio.gather(*(one(number) for number in range(8)))

    ledger.desk.run(all_of_them())
    found = proof(ledger)
    assert (found.entries, found.fault) == (8 * 30, None)


def test_what_is_rolled_back_leaves_the_chain_whole(ledger: Ledger) -> None:
    async def lost() -> None:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            await audit(conn, workspace_id=ledger.workspace_id, actor=ACTOR, records=[record(1)], now=NOW)
            raise ConnectionError

    write(ledger, 2)
    with pytest.raises(ConnectionError):
        ledger.desk.run(lost())
    assert len(write(ledger, 1)) == 3
    assert (proof(ledger).entries, proof(ledger).fault) == (3, None)


def test_each_workspace_has_a_chain_of_its_own(desk: Desk) -> None:
    one, other = new_ledger(desk), new_ledger(desk)
    for _ in range(3):
        write(one, 1)
        write(other, 1)
    tamper(one, "DELETE FROM audit_entry WHERE workspace_id = %s", one.workspace_id)
    assert proof(one).fault is not None
    assert (proof(other).entries, proof(other).fault) == (3, None)


def test_nobody_writes_into_the_trail_but_through_the_chain(ledger: Ledger) -> None:
    write(ledger, 1)
    statements = (
        "INSERT INTO audit_entry SELECT * FROM audit_entry",
        "UPDATE audit_entry SET action = 'x'",
        "DELETE FROM audit_entry",
        "INSERT INTO audit_head SELECT * FROM audit_head",
        "UPDATE audit_head SET entries = 0",
        "DELETE FROM audit_head",
        "SELECT nextval('audit_entry_id_seq')",
    )
    with psycopg.connect(ledger.desk.fresh.server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier("creditdesk_administrator")))
        connection.execute(sql.SQL("SET app.workspace_id = {}").format(str(ledger.workspace_id)))
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert proof(ledger).entries == 1


def test_nothing_is_added_to_the_trail_of_another_workspace(desk: Desk, ledger: Ledger) -> None:
    other = new_ledger(desk)

    async def foreign() -> None:
        async with desk.database.transaction(ledger.scope) as conn:
            await audit(conn, workspace_id=other.workspace_id, actor=ACTOR, records=[record(1)], now=NOW)

    with pytest.raises(DatabaseError, match="InsufficientPrivilege"):
        desk.run(foreign())
    assert proof(other).entries == 0
