"""`creditdesk audit verify` proves that an audit trail is the one that was written; `export` writes it to a file."""

import argparse
import asyncio
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from creditdesk.app.audit_files import FORMATS, entries_of, header, line
from creditdesk.app.database import running_database
from creditdesk.app.failures import CommandFailed
from creditdesk.app.settings import Settings
from creditdesk.credits.audit_chain import GENESIS, Chain, Fault
from creditdesk.credits.audit_proof import AuditProof, chained_entries, proof_of, span_of
from creditdesk.credits.directory import Workspace, workspace_by_slug
from creditdesk.db.connections import Connection, Database
from creditdesk.db.scopes import DatabaseRole, RowScope

_TIMEOUT_SECONDS = 3600
_OFF = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take what to do, and with whose audit trail."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="prove that nothing was changed, put in or taken away")
    verify.add_argument("workspaces", nargs="*", metavar="SLUG", help="the workspace's short name")
    verify.add_argument("--file", type=Path, help="an export, instead of the database")
    verify.add_argument(
        "--expect", type=_hash, metavar="HASH", help="the head of an earlier proof, which must still be in the chain"
    )
    export = actions.add_parser("export", help="write the audit trail to standard output")
    export.add_argument("workspaces", nargs=1, metavar="SLUG", help="the workspace's short name")
    export.add_argument("--from", dest="start", type=_moment, metavar="WHEN", help="a day, or a moment with its offset")
    export.add_argument("--to", dest="end", type=_moment, metavar="WHEN", help="where it ends: not itself included")
    export.add_argument("--format", choices=FORMATS, default="jsonl", help="JSON Lines (default) or CSV")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Verify or export; 0 where all is well, 4 where a chain is off, 1 where a workspace or a file is not there."""
    if arguments.action == "verify" and arguments.file is not None:
        return _verify_file(arguments.file, arguments.expect)
    if not arguments.workspaces:
        raise CommandFailed("Name the workspaces to verify, or a file with --file.")
    with running_database(settings, today=datetime.now(UTC).date()) as database:
        return asyncio.run(_with_database(database.dsn, arguments))


def _hash(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != len(GENESIS):
        raise argparse.ArgumentTypeError("takes a hash as `verify` prints it: 64 hexadecimal digits")
    return value


def _moment(text: str) -> date | datetime:
    try:
        if len(text) == len("2026-06-18"):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError("takes 2026-06-18, or 2026-06-18T09:30:00Z")
    return moment


async def _with_database(dsn: str, arguments: argparse.Namespace) -> int:
    database = Database(dsn, max_connections=1, statement_timeout_seconds=_TIMEOUT_SECONDS)
    await database.open()
    try:
        if arguments.action == "export":
            return await _export(database, arguments)
        return max([await _verify(database, slug, arguments.expect) for slug in arguments.workspaces])
    finally:
        await database.close()


async def _found(database: Database, slug: str) -> tuple[Workspace, Connection]:
    workspace = await workspace_by_slug(database, slug)
    if workspace is None:
        raise CommandFailed(f"There is no workspace {slug}.")
    return workspace, database.reader(RowScope(DatabaseRole.ADMINISTRATOR, workspace.id))


async def _verify(database: Database, slug: str, expected: bytes | None) -> int:
    workspace, conn = await _found(database, slug)
    return _told(slug, await proof_of(conn, workspace.id, expected=expected))


def _verify_file(path: Path, expected: bytes | None) -> int:
    form = "csv" if path.suffix == ".csv" else "jsonl"
    chain, was_there = Chain(), expected is None
    with path.open(encoding="utf-8", newline="") as file:
        for entry in entries_of(file, form):
            chain.add(entry)
            was_there = was_there or expected in {entry.previous, entry.hash}
    fault = chain.fault
    if fault is None and not was_there:
        fault = Fault(None, "no entry has the hash that is expected: its end was taken off")
    if chain.first not in {None, GENESIS} and fault is None:
        sys.stdout.write(f"{path.name}: it goes on from the entry with the hash {(chain.first or b'').hex()}\n")
    return _told(path.name, AuditProof(chain.entries, chain.last, fault))


def _told(name: str, proof: AuditProof) -> int:
    if proof.fault is None:
        sys.stdout.write(f"{name}: {proof.entries} entries, an unbroken chain; head {proof.head.hex()}\n")
        return 0
    where = f"entry {proof.fault.entry_id}" if proof.fault.entry_id is not None else "the end"
    sys.stdout.write(f"{name}: OFF at {where}, after {proof.entries} entries that are not: {proof.fault.why}\n")
    return _OFF


async def _export(database: Database, arguments: argparse.Namespace) -> int:
    workspace, conn = await _found(database, arguments.workspaces[0])
    start, end = (_instant(when, workspace.zone) for when in (arguments.start, arguments.end))
    span = await span_of(conn, workspace.id, start=start, end=end)
    sys.stdout.write(header(arguments.format))
    if span is not None:
        async for entry in chained_entries(conn, workspace.id, from_id=span[0], to_id=span[1]):
            sys.stdout.write(line(entry, arguments.format))
    return 0


def _instant(when: date | datetime | None, zone: str) -> datetime | None:
    """Return the moment that is meant: of a day, when it starts in the workspace's zone."""
    if when is None or isinstance(when, datetime):
        return when
    return datetime(when.year, when.month, when.day, tzinfo=ZoneInfo(zone))
