"""`creditdesk audit`: proving a trail in the database and off-line, and writing it to a file."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg.types.json import Jsonb

from creditdesk.db.bootstrap import OWNER, ensure_owned_database
from creditdesk.db.embedded import SUPERUSER, EmbeddedServer
from creditdesk.db.migrate import migrate
from support.audits import proof, tamper, write
from support.databases import FreshDatabase
from support.ledgers import Desk, Ledger, desk_of, new_ledger
from support.processes import creditdesk

ENTRIES = 7


@pytest.fixture
def desk(fresh_database: FreshDatabase) -> Iterator[Desk]:
    with desk_of(fresh_database) as opened:
        yield opened


@pytest.fixture
def ledger(desk: Desk) -> Ledger:
    ledger = new_ledger(desk)
    write(ledger, ENTRIES)
    return ledger


def audit(ledger: Ledger, *arguments: str) -> Any:
    return creditdesk("audit", *arguments, DATABASE_URL=ledger.desk.fresh.server_dsn)


def slug(ledger: Ledger) -> str:
    return ledger.workspace_id.hex


def test_a_trail_is_proved_and_the_first_entry_that_is_off_is_named(desk: Desk, ledger: Ledger) -> None:
    other = new_ledger(desk)
    write(other, 2)
    ended = audit(ledger, "verify", slug(ledger), slug(other))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        f"{slug(ledger)}: 7 entries, an unbroken chain; head {proof(ledger).head.hex()}\n"
        f"{slug(other)}: 2 entries, an unbroken chain; head {proof(other).head.hex()}\n"
    )
    third = write(ledger, 0)[2]
    tamper(ledger, "UPDATE audit_entry SET actor_subject = 'x' WHERE workspace_id = %s AND id = %s",
           ledger.workspace_id, third)  # fmt: skip
    ended = audit(ledger, "verify", slug(other), slug(ledger))
    assert ended.returncode == 4
    assert ended.stdout.splitlines()[1] == (
        f"{slug(ledger)}: OFF at entry {third}, after 2 entries that are not: its content or its hash was changed"
    )


def test_a_head_that_is_kept_elsewhere_tells_of_an_end_that_was_taken_off(ledger: Ledger) -> None:
    head = audit(ledger, "verify", slug(ledger)).stdout.split()[-1]
    write(ledger, 1)
    assert audit(ledger, "verify", slug(ledger), "--expect", head).returncode == 0
    for query in (
        "DELETE FROM audit_entry WHERE workspace_id = %s",
        "DELETE FROM audit_head WHERE workspace_id = %s",
    ):
        tamper(ledger, query, ledger.workspace_id)
    write(ledger, 1)
    assert audit(ledger, "verify", slug(ledger)).returncode == 0
    ended = audit(ledger, "verify", slug(ledger), "--expect", head)
    assert ended.returncode == 4
    assert "OFF at the end, after 1 entries that are not: no entry has the hash that is expected" in ended.stdout


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_is_proved_without_the_database(ledger: Ledger, tmp_path: Path, form: str) -> None:
    exported = audit(ledger, "export", slug(ledger), "--format", form)
    assert (exported.returncode, exported.stderr) == (0, "")
    file = tmp_path / f"trail.{form}"
    file.write_text(exported.stdout)
    head = proof(ledger).head.hex()
    proved = creditdesk("audit", "verify", "--file", str(file), "--expect", head)
    assert (proved.returncode, proved.stdout) == (
        0, f"trail.{form}: 7 entries, an unbroken chain; head {head}\n"
    )  # fmt: skip
    # One word is another, one entry is missing, two are swapped, the end is missing.
    text = exported.stdout
    lines = text.splitlines(keepends=True)
    if form == "jsonl":
        for changed, expected in (
            (text.replace("LIMIT_SET", "LIMIT_REMOVED", 1), "its content or its hash was changed"),
            ("".join(lines[:2] + lines[3:]), "the entry before it is another one"),
            ("".join([lines[0], lines[2], lines[1], *lines[3:]]), "the entry before it is another one"),
            ("".join(lines[:-1]), "no entry has the hash that is expected"),
        ):
            file.write_text(changed)
            off = creditdesk("audit", "verify", "--file", str(file), "--expect", head)
            assert off.returncode == 4
            assert expected in off.stdout


def test_an_export_of_a_range_is_one_piece_of_the_chain(ledger: Ledger, tmp_path: Path) -> None:
    entries = write(ledger, 0)
    lines = audit(ledger, "export", slug(ledger), "--from", "2026-06-20", "--to", "2026-06-21").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == entries
    assert audit(ledger, "export", slug(ledger), "--from", "2026-06-20T10:00:00.000001Z").stdout == ""
    assert audit(ledger, "export", slug(ledger), "--to", "2026-06-20T10:00:00Z").stdout == ""
    file = tmp_path / "piece.jsonl"
    file.write_text("\n".join(lines[2:]) + "\n")
    proved = creditdesk("audit", "verify", "--file", str(file))
    first, last = json.loads(lines[2])["previous"], json.loads(lines[-1])["hash"]
    assert (proved.returncode, proved.stdout) == (
        0,
        (
            f"piece.jsonl: it goes on from the entry with the hash {first}\n"
            f"piece.jsonl: 5 entries, an unbroken chain; head {last}\n"
        ),
    )


def test_what_is_off_about_the_call_is_said(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "no.jsonl"
    file.write_text('{"id": 1}\n')
    for arguments, code, said in (
        (("verify",), 1, "Name the workspaces"),
        (("verify", "nobody"), 1, "There is no workspace nobody."),
        (("verify", "--file", str(file)), 1, "Entry 1 of the file is no entry of an audit trail."),
        (("verify", slug(ledger), "--expect", "abc"), 2, "64 hexadecimal digits"),
        (("export", slug(ledger), "--from", "yesterday"), 2, "takes 2026-06-18"),
        (("export", slug(ledger), "--from", "2026-06-18T10:00:00"), 2, "takes 2026-06-18"),
    ):
        ended = audit(ledger, *arguments)
        assert ended.returncode == code
        assert said in ended.stderr


def test_the_entries_of_an_older_version_are_chained_by_its_migration(
    postgres: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_owned_database(postgres, "test_chained_later")
    owner = postgres.dsn(user=OWNER, database="test_chained_later")
    upgrade = command.upgrade
    with monkeypatch.context() as earlier:
        earlier.setattr(command, "upgrade", lambda config, _: upgrade(config, "0005"))
        migrate(owner, today=date(2026, 6, 18))
    superuser = postgres.dsn(user=SUPERUSER, database="test_chained_later")
    with psycopg.connect(superuser, autocommit=True) as connection:
        for workspace in ("acme", "himal"):
            connection.execute(
                "INSERT INTO workspace VALUES (md5(%(slug)s)::uuid, %(slug)s, %(slug)s, 'UTC', now())",
                {"slug": workspace},
            )
        for number in range(5):
            connection.execute(
                "INSERT INTO audit_entry (workspace_id, at, actor_kind, actor_subject, action, object_type, object_id,"
                " before, after) VALUES (md5(%s)::uuid, now(), 'PERSON', 'Ö', 'RETIRED_ACTION', 'X', gen_random_uuid(),"
                " NULL, %s)",
                ("acme" if number < 3 else "himal", Jsonb({"a": "ü\n", "b": None})),
            )
    migrate(owner, today=date(2026, 6, 18))
    server = postgres.dsn(user="creditdesk_server", database="test_chained_later")
    ended = creditdesk("audit", "verify", "acme", "himal", DATABASE_URL=server)
    assert ended.returncode == 0
    assert [line.partition(",")[0] for line in ended.stdout.splitlines()] == ["acme: 3 entries", "himal: 2 entries"]
