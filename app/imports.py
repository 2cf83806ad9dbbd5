"""Records usage from a file: JSON Lines or CSV, of any length. Run again, it goes on where it was stopped."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO
from uuid import UUID

from tqdm import tqdm

from creditdesk.app.database import running_database
from creditdesk.app.failures import CommandFailed
from creditdesk.app.import_lines import (
    MAX_LINE,
    Conventions,
    FieldsOf,
    InputTokens,
    csv_fields,
    csv_header,
    event_of,
    json_fields,
)
from creditdesk.app.recording import record_batch
from creditdesk.app.settings import Settings
from creditdesk.credits.directory import workspace_by_slug
from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.credits.event_rules import UsageEvent
from creditdesk.credits.usage_events import MAX_BATCH, Recorded, Rejection
from creditdesk.db.connections import Database
from creditdesk.db.errors import AmountOverflow, DatabaseError

SOME_REJECTED = 3
SHOWN = 20
DEMO_WORKSPACE = "acme"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_SOURCE = 100
_STATEMENT_SECONDS = 60
"""Nobody waits for an answer, and another import may hold the same keys."""
_ACQUIRE_SECONDS = 2
"""For each of six attempts: a database that is gone is told of after some twenty seconds."""


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that was not recorded, and why."""

    line: int
    code: str
    reason: str


@dataclass(slots=True)
class _Batch:
    """Up to a thousand events with their lines' numbers, and the lines between them that are none."""

    events: list[UsageEvent] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejected: list[RejectedLine] = field(default_factory=list)
    size: int = 0

    def is_full(self) -> bool:
        return len(self.events) == MAX_BATCH or len(self.rejected) == MAX_BATCH


@dataclass(slots=True)
class _Outcome:
    """What has become of the lines whose transactions are committed."""

    report: TextIO | None
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    unpriced: int = 0
    shown: list[RejectedLine] = field(default_factory=list)

    def add(self, batch: _Batch, recorded: Recorded) -> None:
        late = [RejectedLine(batch.lines[one.index], one.code.name, one.message) for one in recorded.rejected]
        rejected = sorted([*batch.rejected, *late], key=lambda one: one.line)
        self.accepted += recorded.accepted
        self.duplicates += recorded.duplicates
        self.unpriced += recorded.unpriced
        self.rejected += len(rejected)
        self.shown += rejected[: SHOWN - len(self.shown)]
        if self.report is not None:
            for one in rejected:
                self.report.write(json.dumps({"line": one.line, "code": one.code, "reason": one.reason}) + "\n")

    def print_rejected(self) -> None:
        for one in self.shown:
            sys.stderr.write(f"line {one.line}: {one.code}: {one.reason}\n")
        if self.rejected > len(self.shown):
            sys.stderr.write(f"... and {self.rejected - len(self.shown)} more; --report FILE keeps all of them.\n")

    def counts(self) -> str:
        counted = f"{self.accepted} accepted, {self.duplicates} duplicate, {self.rejected} rejected"
        return f"{counted}; {self.unpriced} accepted without a price" if self.unpriced else counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the file, and what its lines leave to be said."""
    parser.add_argument("file", metavar="FILE", help="JSON Lines or CSV; - reads standard input")
    parser.add_argument(
        "--workspace", metavar="SLUG", default=DEMO_WORKSPACE, help="where the usage belongs (default: %(default)s)"
    )
    parser.add_argument("--source", metavar="NAME", type=_source, help="the source of lines that name none")
    parser.add_argument(
        "--format", choices=("jsonl", "csv"), help="default: csv for a file of that name, otherwise jsonl"
    )
    parser.add_argument(
        "--input-tokens",
        choices=[each.value for each in InputTokens],
        default=InputTokens.UNCACHED.value,
        help="whether the lines' input tokens include the cached ones (default: %(default)s, they do not)",
    )
    parser.add_argument("--report", metavar="FILE", help="write every rejected line there, as JSON Lines")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Record the file; return 0 when every line is recorded, 3 when some are rejected."""
    conventions = Conventions(arguments.source, InputTokens(arguments.input_tokens))
    is_csv = arguments.format == "csv" or (arguments.format is None and arguments.file.lower().endswith(".csv"))
    with ExitStack() as stack:
        stream, size = stack.enter_context(_opened(arguments.file))
        report = None
        if arguments.report is not None:
            report = stack.enter_context(Path(arguments.report).open("w", encoding="utf-8"))
        database = stack.enter_context(running_database(settings, today=datetime.now(UTC).date()))
        outcome = _Outcome(report)
        is_hidden = arguments.quiet or not sys.stderr.isatty()
        with tqdm(total=size, unit="B", unit_scale=True, desc="Importing", disable=is_hidden) as bar:
            _import(
                database.dsn, arguments.workspace, _batches(stream, conventions, is_csv=is_csv), outcome, bar.update
            )
    outcome.print_rejected()
    sys.stdout.write(f"{outcome.counts()}\n")
    return SOME_REJECTED if outcome.rejected else 0


def _source(text: str) -> str:
    if not 0 < len(text) <= _LONGEST_SOURCE or not text.isprintable():
        message = f"takes 1 to {_LONGEST_SOURCE} printable characters"
        raise argparse.ArgumentTypeError(message)
    return text


@contextmanager
def _opened(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """Yield the stream, and its size if it is known: a pipe has none."""
    if name == "-":
        yield sys.stdin.buffer, None
        return
    with Path(name).open("rb") as stream:
        yield stream, Path(name).stat().st_size or None


def _import(
    dsn: str, slug: str, batches: Iterator[_Batch], outcome: _Outcome, advance: Callable[[int], object]
) -> None:
    """Record batch after batch; whatever ends it early, say first what is recorded."""
    # Reading happens here, between the runs of the loop: Ctrl-C also ends a wait for standard input.
    with asyncio.Runner() as runner, closing(_Recorder(runner, dsn)) as recorder:
        workspace_id = runner.run(_workspace_id(recorder.database, slug))
        try:
            for batch in batches:
                recorded = Recorded(0, 0, ())
                if batch.events:
                    recorded = runner.run(_recorded(recorder.database, workspace_id, batch.events))
                outcome.add(batch, recorded)
                advance(batch.size)
        except DatabaseError as error:
            raise CommandFailed(f"{error} {_so_far(outcome)}") from error
        except (KeyboardInterrupt, SystemExit):
            sys.stderr.write(f"\ncreditdesk: Stopped. {_so_far(outcome)}\n")
            raise


def _so_far(outcome: _Outcome) -> str:
    safe = outcome.accepted + outcome.duplicates
    return f"{safe} lines are safely recorded ({outcome.counts()}); run it again to go on."


class _Recorder:
    """The open database, closed whatever happens: a pool that is left open keeps the loop from ending."""

    def __init__(self, runner: asyncio.Runner, dsn: str) -> None:
        self._runner = runner
        self.database = Database(
            dsn,
            max_connections=1,
            statement_timeout_seconds=_STATEMENT_SECONDS,
            acquire_timeout_seconds=_ACQUIRE_SECONDS,
        )
        runner.run(self.database.open())

    def close(self) -> None:
        self._runner.run(self.database.close())


async def _workspace_id(database: Database, slug: str) -> UUID:
    workspace = await workspace_by_slug(database, slug) if slug.isprintable() else None
    if workspace is None:
        raise CommandFailed(f"There is no workspace {slug!a}: name one with --workspace.")
    return workspace.id


async def _recorded(database: Database, workspace_id: UUID, events: Sequence[UsageEvent]) -> Recorded:
    """Record a batch; where its sums leave 64 bits, find the events that do it and reject those alone."""
    try:
        return await record_batch(database, workspace_id=workspace_id, events=events, now=datetime.now(UTC))
    except AmountOverflow as error:
        if len(events) == 1:
            return Recorded(0, 0, (Rejection(0, ErrorCode.INVALID_AMOUNT, str(error)),))
    half = len(events) // 2
    first = await _recorded(database, workspace_id, events[:half])
    second = await _recorded(database, workspace_id, events[half:])
    moved = (Rejection(one.index + half, one.code, one.message) for one in second.rejected)
    return Recorded(
        first.accepted + second.accepted,
        first.duplicates + second.duplicates,
        (*first.rejected, *moved),
        first.unpriced + second.unpriced,
    )


def _batches(stream: BinaryIO, conventions: Conventions, *, is_csv: bool) -> Iterator[_Batch]:
    batch = _Batch()
    fields_of: FieldsOf | None = None if is_csv else json_fields
    for number, line, size in _lines(stream):
        batch.size += size
        if not line.strip():
            continue
        try:
            if fields_of is None:
                fields_of = csv_fields(csv_header(line))
                continue
            batch.events.append(event_of(fields_of(line), conventions))
            batch.lines.append(number)
        except CreditError as error:
            batch.rejected.append(RejectedLine(number, error.code.name, error.message))
            if fields_of is None:
                break  # nothing below a header that is off can be read
        if batch.is_full():
            yield batch
            batch = _Batch()
    yield batch


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Yield each line with its number and size; of one that is too long only the beginning is kept."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        size, rest = len(line), line
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE + 1)
            size += len(rest)
        yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line, size
