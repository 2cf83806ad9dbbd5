"""The audit trail as a file: JSON Lines or CSV, out and in, so that it can be proved without the database."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from io import StringIO
from typing import IO, Any
from uuid import UUID

from creditdesk.app.failures import CommandFailed
from creditdesk.credits.audit_chain import ChainedEntry

FORMATS = ("jsonl", "csv")
COLUMNS = (
    "workspaceId", "id", "at", "actorKind", "actorSubject", "actorUserId", "action", "objectType", "objectId", "userId",
    "groupId", "before", "after", "previous", "hash",
)  # fmt: skip


def header(form: str) -> str:
    """Return what a file begins with."""
    return _csv_line(COLUMNS) if form == "csv" else ""


def line(entry: ChainedEntry, form: str) -> str:
    """Return an entry as a line of a file."""
    shown = _shown(entry)
    if form == "jsonl":
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":")) + "\n"
    # What is not there is an empty cell.
    cells = [
        json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict) else value
        for value in shown.values()
    ]
    return _csv_line("" if cell is None else str(cell) for cell in cells)


def entries_of(file: IO[str], form: str) -> Iterator[ChainedEntry]:
    """Yield the entries of a file; raise CommandFailed for the first line that holds none."""
    csv.field_size_limit(1 << 24)
    rows: Iterable[Mapping[str, Any]] = csv.DictReader(file) if form == "csv" else map(_object, file)
    number = 0
    while True:
        number += 1
        try:
            row = next(iter(rows), None)
            if row is None:
                return
            yield _entry(row)
        except (ValueError, KeyError, TypeError, AttributeError, csv.Error):
            raise CommandFailed(f"Entry {number} of the file is no entry of an audit trail.") from None


def _shown(entry: ChainedEntry) -> dict[str, Any]:
    values = (
        str(entry.workspace_id),
        entry.id,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.actor_kind,
        entry.actor_subject,
        _text(entry.actor_user_id),
        entry.action,
        entry.object_type,
        str(entry.object_id),
        _text(entry.user_id),
        _text(entry.group_id),
        None if entry.before is None else dict(entry.before),
        None if entry.after is None else dict(entry.after),
        entry.previous.hex(),
        entry.hash.hex(),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _entry(row: Mapping[str, Any]) -> ChainedEntry:
    return ChainedEntry(
        workspace_id=UUID(row["workspaceId"]),
        id=int(row["id"]),
        at=datetime.fromisoformat(row["at"]),
        actor_kind=row["actorKind"],
        actor_subject=row["actorSubject"],
        actor_user_id=_id(row["actorUserId"]),
        action=row["action"],
        object_type=row["objectType"],
        object_id=UUID(row["objectId"]),
        user_id=_id(row["userId"]),
        group_id=_id(row["groupId"]),
        before=_state(row["before"]),
        after=_state(row["after"]),
        previous=bytes.fromhex(row["previous"]),
        hash=bytes.fromhex(row["hash"]),
    )


def _object(text: str) -> Mapping[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError
    return value


def _state(value: object) -> Mapping[str, str | None] | None:
    if value is None or value == "":
        return None
    return _object(value) if isinstance(value, str) else dict(value)  # type: ignore[call-overload]


def _id(text: str | None) -> UUID | None:
    return UUID(text) if text else None


def _text(id_: UUID | None) -> str | None:
    return None if id_ is None else str(id_)


def _csv_line(cells: Iterable[str]) -> str:
    out = StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
