"""Records usage from a file: JSON Lines or CSV. Recording is exactly once, however often and by how many."""

import argparse
import asyncio
import json
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import psycopg
import pytest

from creditdesk.app import imports
from creditdesk.app.import_lines import (
    MAX_LINE,
    Conventions,
    InputTokens,
    csv_fields,
    csv_header,
    event_of,
    json_fields,
)
from creditdesk.app.settings import load_settings
from creditdesk.credits import directory
from creditdesk.credits.errors import CreditError
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.permitted import Actor
from creditdesk.credits.pricing import Meter, NewRate
from creditdesk.credits.rates import put_rates
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope
from support.databases import FreshDatabase
from support.processes import COMMAND, clean_environment, creditdesk, wait_until

WORKSPACE = UUID("6a0e7d9c-0000-4000-8000-00000000ac3e")
ROLLUPS = (
    "rollup_user_detail_day",
    "rollup_user_day",
    "rollup_user_month",
    "rollup_group_day",
    "rollup_group_hour",
    "rollup_workspace_day",
)
EVENT = {
    "source": "vendor",
    "id": "e-1",
    "at": "2026-11-20T10:30:00.25+01:00",
    "externalId": "p-1",
    "product": "chat",
    "model": "atlas-1",
    "credits": "1.5",
}


def line(**changes: object) -> bytes:
    fields = {name: value for name, value in (EVENT | changes).items() if value is not None}
    return json.dumps(fields).encode() + b"\n"


def parsed(text: bytes, conventions: Conventions | None = None) -> UsageEvent:
    return event_of(json_fields(text), conventions or Conventions())


def refusal(text: bytes) -> tuple[str, str]:
    with pytest.raises(CreditError) as refused:
        parsed(text)
    return refused.value.code.name, refused.value.message


def test_a_line_of_json_becomes_an_event() -> None:
    text = line(inputTokens=100, cachedInputTokens="40", outputTokens=7, tags={"project": "x"}, corrects="e-0")
    assert parsed(text) == UsageEvent(
        source="vendor",
        id="e-1",
        at=datetime(2026, 11, 20, 9, 30, 0, 250_000, tzinfo=UTC),
        user=UserBy(external_id="p-1"),
        product="chat",
        model="atlas-1",
        credits=1_500_000,
        input_tokens=100,
        cached_input_tokens=40,
        output_tokens=7,
        corrects="e-0",
        tags={"project": "x"},
    )


def test_what_was_used_stands_in_for_credits_on_a_line_of_json_and_of_csv() -> None:
    text = line(credits=None, messages=3, tasks="0", minutes="?", tier="fast").replace(b'"?"', b"1.50")
    event = parsed(text)
    assert (event.credits, event.messages, event.tasks, event.minutes, event.tier) == (None, 3, 0, 1_500_000, "fast")
    columns = csv_header(b"source,id,at,externalId,product,model,credits,messages,tasks,minutes,tier")
    row = b"vendor,e-1,2026-11-20T10:30:00.25+01:00,p-1,chat,atlas-1,,3,0,1.5,fast"
    assert event_of(csv_fields(columns)(row), Conventions()) == event
    plain = parsed(line(tier=""))
    assert (plain.messages, plain.tasks, plain.minutes, plain.tier) == (None, None, None, "")


def test_a_line_of_csv_becomes_the_same_event() -> None:
    columns = csv_header(b"source,id,at,externalId,product,model,credits,inputTokens,tag.project,corrects\r\n")
    text = b'vendor,"e-1",2026-11-20T10:30:00.25+01:00,p-1,chat,atlas-1,1.5,3,x,\r\n'
    expected = parsed(line(inputTokens=3, tags={"project": "x"}))
    assert event_of(csv_fields(columns)(text), Conventions()) == expected


@pytest.mark.parametrize(
    ("written", "micro"),
    [
        (b"1.5", 1_500_000),
        (b"0.1", 100_000),
        (b"1.50000000", 1_500_000),
        (b"3", 3_000_000),
        (b"1e3", 1_000_000_000),
        (b"12345678901234567890.000001", 12345678901234567890000001),
        (b'"-0.000001"', -1),
    ],
)
def test_credits_are_exact_however_they_are_written(written: bytes, micro: int) -> None:
    assert parsed(line(credits="?").replace(b'"?"', written)).credits == micro


@pytest.mark.parametrize(
    "written",
    [
        b"1e-7", b"1.0000000000000000000000000000000001", b"1e999999999", b"1e99999999999999999999", b"NaN",
        b"Infinity", b'"1e3"', b'" 1"', b'"1,5"', b"true", b"[1]", b'"\\u0661"',
    ],
)  # fmt: skip
def test_credits_that_are_not_exact_are_refused(written: bytes) -> None:
    assert refusal(line(credits="?").replace(b'"?"', written))[0] == "INVALID_INPUT"


@pytest.mark.parametrize(
    "at",
    [
        "2026-11-20T10:30:00", "2026-11-20 10:30:00Z", "2026-11-20T10:30Z", "20261120T103000Z", "2026-11-20",
        "2026-02-30T10:30:00Z", "2026-11-20T24:00:00Z", "2026-11-20T10:30:60Z", "2026-11-20T10:30:00+24:00",
        "0001-01-01T00:00:00+10:00", "2026-W47-5T10:30:00Z", "", 1_763_000_000,
    ],
)  # fmt: skip
def test_a_time_that_is_not_rfc_3339_with_an_offset_is_refused(at: object) -> None:
    assert refusal(line(at=at))[0] == "INVALID_INPUT"


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        (b"{", "INVALID_INPUT", "The line is not JSON."),
        (b"[" * 100_000, "INVALID_INPUT", "The line is not JSON."),
        (b'{"credits": ' + b"9" * 10_000 + b"}", "INVALID_INPUT", "The line is not JSON."),
        (b"[]", "INVALID_INPUT", "The line is not a JSON object."),
        (b'{"id": "\0"}', "INVALID_INPUT", "The line contains a NUL byte."),
        (b'{"id": "\xff"}', "INVALID_INPUT", "The line is not UTF-8."),
        (b" " * (MAX_LINE + 1), "INVALID_INPUT", "The line is longer than 131072 bytes."),
        (b'{"id": "a", "id": "b"}', "INVALID_INPUT", "The field 'id' is there twice."),
        (line(surprise=1), "INVALID_INPUT", "There is no field 'surprise'."),
        (line(**{"\ud800": 1}), "INVALID_INPUT", "There is no field '\\ud800'."),
        (line(product=None), "INVALID_EVENT", "`product` is missing."),
        (line(source=None), "INVALID_EVENT", "`source` is missing."),
        (line(model=7), "INVALID_INPUT", "`model` is not text."),
        (line(messages=1.5), "INVALID_INPUT", "`messages` is not a whole number."),
        (line(tasks="x"), "INVALID_INPUT", "`tasks` is not a whole number."),
        (line(minutes=True), "INVALID_INPUT", "`minutes` are not a decimal with at most six decimals."),
        (line(minutes="1.0000001"), "INVALID_INPUT", "`minutes` are not a decimal with at most six decimals."),
        (line(credits="1e3"), "INVALID_INPUT", "`credits` are not a decimal with at most six decimals."),
        (line(tier=5), "INVALID_INPUT", "`tier` is not text."),
        (line(inputTokens=1.0), "INVALID_INPUT", "`inputTokens` is not a whole number."),
        (line(inputTokens=True), "INVALID_INPUT", "`inputTokens` is not a whole number."),
        (line(tags={"a": 1}), "INVALID_INPUT", "`tags` are not a JSON object of texts."),
        (line(userId="7"), "INVALID_EVENT", "A user is named by exactly one of `userId`, `email`, `externalId`."),
        (line(externalId="\ud800"), "INVALID_EVENT", "`externalId` takes 1 to 320 printable characters."),
        (line(externalId=None, userId="{x}"), "INVALID_INPUT", "`userId` is not a UUID."),
    ],
)  # fmt: skip
def test_a_line_that_is_no_event_is_refused_with_its_reason(text: bytes, code: str, reason: str) -> None:
    assert refusal(text) == (code, reason)


def test_a_source_that_counts_cached_tokens_as_input_has_them_taken_off() -> None:
    including = Conventions(input_tokens=InputTokens.INCLUDING_CACHED)
    assert parsed(line(inputTokens=100, cachedInputTokens=40), including).input_tokens == 60
    with pytest.raises(CreditError, match="are not fewer"):
        parsed(line(inputTokens=10, cachedInputTokens=40), including)


@pytest.mark.parametrize(
    ("header", "reason"),
    [(b"id,at,id", "The column 'id' is there twice."), (b"id,tag.", "no field 'tag.'."), (b"ID", "no field 'ID'")],
)
def test_a_header_names_known_columns_once(header: bytes, reason: str) -> None:
    with pytest.raises(CreditError, match=reason):
        csv_header(header)


# From here on with PostgreSQL.


@pytest.fixture
def workspace(fresh_database: FreshDatabase) -> FreshDatabase:
    async def put() -> None:
        database = Database(fresh_database.server_dsn)
        await database.open()
        now = datetime.now(UTC)
        group = directory.NewGroup(uuid5(WORKSPACE, "group"), "crew", "Crew")
        users = [
            directory.NewUser(
                uuid5(WORKSPACE, name), name, None, name, directory.UserKind.PERSON, group.id, (group.id,)
            )
            for name in ("p-1", "p-2", "p-3")
        ]
        try:
            async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, WORKSPACE)) as conn:
                await directory.put_workspace(
                    conn, workspace_id=WORKSPACE, slug="acme", name="Acme", zone="Asia/Kathmandu", now=now
                )
                await directory.put_groups(conn, workspace_id=WORKSPACE, groups=[group], now=now)
                await directory.put_users(conn, workspace_id=WORKSPACE, users=users, now=now)
        finally:
            await database.close()

    asyncio.run(put())
    return fresh_database


def imported(database: FreshDatabase, *arguments: str) -> int:
    """Run `creditdesk import` in this process."""
    parser = argparse.ArgumentParser()
    imports.add_arguments(parser)
    return imports.run(parser.parse_args(arguments), load_settings({"DATABASE_URL": database.server_dsn}))


def event_lines(numbers: Iterable[int]) -> list[bytes]:
    return [
        line(
            id=f"e-{number}",
            externalId=f"p-{1 + number % 3}",
            at=f"2026-11-{1 + number % 20:02d}T{number % 24:02d}:15:00Z",
            credits=f"0.{1 + number % 999:06d}",
            inputTokens=number,
        )
        for number in numbers
    ]


def credits_of(numbers: Iterable[int]) -> int:
    return sum(1 + number % 999 for number in numbers)


def sums(database: FreshDatabase) -> Mapping[str, tuple[int, ...]]:
    """Return credits, requests and input tokens in each table; the first column of events is their number."""
    figures = (
        "coalesce(sum(credits), 0)::bigint, coalesce(sum(requests), 0)::bigint, coalesce(sum(input_tokens), 0)::bigint"
    )
    with psycopg.connect(database.owner_dsn) as connection:
        return {
            table: connection.execute(f"SELECT {figures} FROM {table}".encode()).fetchone() or ()  # noqa: S608 - our own names
            for table in ("usage_event", *ROLLUPS)
        }


def recorded(database: FreshDatabase) -> int:
    with psycopg.connect(database.owner_dsn) as connection:
        rows = connection.execute("SELECT count(*) FROM usage_event").fetchall()
    return int(rows[0][0])


def assert_exactly_once(database: FreshDatabase, numbers: Sequence[int]) -> None:
    expected = (credits_of(numbers), len(numbers), sum(numbers))
    assert recorded(database) == len(numbers)
    assert sums(database) == dict.fromkeys(("usage_event", *ROLLUPS), expected)


def test_a_file_is_recorded_and_again_is_all_duplicates(
    workspace: FreshDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "usage.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(each.strip() for each in event_lines(range(2_500))) + b"\r\n\r\n")
    assert imported(workspace, str(file)) == 0
    assert capsys.readouterr() == ("2500 accepted, 0 duplicate, 0 rejected\n", "")
    assert imported(workspace, str(file)) == 0
    assert capsys.readouterr() == ("0 accepted, 2500 duplicate, 0 rejected\n", "")
    assert_exactly_once(workspace, range(2_500))


def put_card(database: FreshDatabase, *rates: NewRate, unknown_model: str) -> None:
    async def put() -> None:
        opened = Database(database.server_dsn)
        await opened.open()
        try:
            async with opened.transaction(RowScope(DatabaseRole.ADMINISTRATOR, WORKSPACE)) as conn:
                actor, now = Actor("PERSON", "a test", None), datetime.now(UTC)
                given: dict[str, Any] = {"workspace_id": WORKSPACE, "actor": actor, "now": now}
                await put_rates(conn, rates=rates, multipliers=[], **given)
        finally:
            await opened.close()

    asyncio.run(put())
    with psycopg.connect(database.superuser_dsn) as connection:
        connection.execute("UPDATE workspace_settings SET unknown_model = %s", (unknown_model,))


@pytest.mark.parametrize(
    ("convention", "credits_"), [(InputTokens.UNCACHED, 5_000_400), (InputTokens.INCLUDING_CACHED, 3_000_400)]
)
def test_lines_without_credits_are_priced_by_the_rate_card_and_by_what_their_input_tokens_are(
    workspace: FreshDatabase,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    convention: InputTokens,
    credits_: int,
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rates = {Meter.INPUT_TOKENS: 5_000_000, Meter.CACHED_INPUT_TOKENS: 1_000}
    put_card(
        workspace,
        *(NewRate("chat", "atlas-1", meter, micro, start, None) for meter, micro in rates.items()),
        unknown_model="ALLOW_UNPRICED",
    )
    file = tmp_path / "usage.jsonl"
    at = "2026-02-01T00:00:00Z"
    used = {"credits": None, "at": at, "inputTokens": 1_000_000, "cachedInputTokens": 400_000}
    lines = [line(**used), line(**used, id="e-2", model="new"), line(id="e-3", at=at, credits="2", tasks=1)]
    file.write_bytes(b"".join([*lines, line(id="e-4", at=at, credits=None)]))
    arguments = [str(file), "--input-tokens", convention.value]
    assert imported(workspace, *arguments) == imports.SOME_REJECTED
    counted = "3 accepted, 0 duplicate, 1 rejected; 1 accepted without a price\n"
    reason = "The use has nothing of what the rate counts, so it has no price. Report that, or the credits."
    assert capsys.readouterr() == (counted, f"line 4: INVALID_AMOUNT: {reason}\n")
    with psycopg.connect(workspace.owner_dsn) as connection:
        found = connection.execute("SELECT credits, cardinality(rate_ids) FROM usage_event ORDER BY external_id")
        assert found.fetchall() == [(credits_, 2), (0, 0), (2_000_000, None)]
    assert imported(workspace, *arguments) == imports.SOME_REJECTED
    assert capsys.readouterr().out == "0 accepted, 3 duplicate, 1 rejected\n"


def test_bad_lines_are_reported_and_do_not_keep_the_others_out(
    workspace: FreshDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, report = tmp_path / "usage.jsonl", tmp_path / "report.jsonl"
    good = event_lines(range(3))
    bad = [
        b"nonsense\n",
        b'"' + b"x" * 1_000_000 + b'"\n',
        line(id="x", externalId="nobody"),
        line(id="y", credits="-1"),
        b"\xff\n",
    ]
    bad += [b"\0\n", line(id="\ud800"), line(id="e-0")]
    file.write_bytes(b"".join([good[0], b"\n", *bad, good[1], good[2].rstrip()]))
    assert imported(workspace, str(file), "--report", str(report)) == 3
    said = capsys.readouterr()
    assert said.out == "3 accepted, 0 duplicate, 8 rejected\n"
    assert said.err.splitlines()[0] == "line 3: INVALID_INPUT: The line is not JSON."
    reported = [json.loads(each) for each in report.read_text().splitlines()]
    assert [(one["line"], one["code"]) for one in reported] == [
        (3, "INVALID_INPUT"), (4, "INVALID_INPUT"), (5, "UNKNOWN_USER"), (6, "INVALID_AMOUNT"), (7, "INVALID_INPUT"),
        (8, "INVALID_INPUT"), (9, "INVALID_EVENT"), (10, "IDEMPOTENCY_CONFLICT"),
    ]  # fmt: skip
    assert_exactly_once(workspace, range(3))


def test_twenty_rejected_lines_are_shown_and_the_rest_is_counted(
    workspace: FreshDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "usage.jsonl"
    file.write_bytes(b"x\n" * 2_500)
    assert imported(workspace, str(file)) == 3
    shown = capsys.readouterr().err.splitlines()
    assert shown[19] == "line 20: INVALID_INPUT: The line is not JSON."
    assert shown[20:] == ["... and 2480 more; --report FILE keeps all of them."]


def test_csv_rows_of_another_length_cost_only_themselves(
    workspace: FreshDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "usage.CSV"
    head = "id,at,externalId,product,model,credits,tag.project"
    row = "2026-11-20T10:00:00Z,p-1,chat,atlas-1,0.5"
    file.write_text(f'{head}\r\na,{row},x\r\nb,{row}\r\nc,{row},x,y\r\n"d,{row},x\r\ne,{row},\r\n', newline="")
    assert imported(workspace, str(file), "--source", "vendor") == 3
    said = capsys.readouterr()
    assert said.out == "2 accepted, 0 duplicate, 3 rejected\n"
    assert [each.partition(": ")[0] for each in said.err.splitlines()] == ["line 3", "line 4", "line 5"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_records_nothing(
    workspace: FreshDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    for name in ("empty.jsonl", "empty.csv"):
        (tmp_path / name).write_bytes(content)
        assert imported(workspace, str(tmp_path / name)) == 0
        assert capsys.readouterr().out == "0 accepted, 0 duplicate, 0 rejected\n"


def test_sums_beyond_64_bits_reject_the_events_that_would_make_them(
    workspace: FreshDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "usage.jsonl"
    file.write_bytes(b"".join(line(id=f"big-{number}", credits=10**9) for number in range(9_300)))
    assert imported(workspace, str(file)) == 3
    assert capsys.readouterr().out == "9223 accepted, 0 duplicate, 77 rejected\n"
    assert sums(workspace)["rollup_group_day"][0] == sums(workspace)["usage_event"][0] == Decimal(9223) * 10**15


def test_a_missing_workspace_and_a_database_that_is_gone_end_in_a_sentence(
    workspace: FreshDatabase, tmp_path: Path
) -> None:
    file = tmp_path / "usage.jsonl"
    file.write_bytes(line())
    nowhere = creditdesk("import", str(file), "--workspace", "none", DATABASE_URL=workspace.server_dsn)
    assert (nowhere.returncode, nowhere.stderr) == (
        1,
        "creditdesk: There is no workspace 'none': name one with --workspace.\n",
    )


def importer(database: FreshDatabase, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*COMMAND, "import", *arguments],
        env=clean_environment({"DATABASE_URL": database.server_dsn}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_an_import_killed_in_the_middle_is_finished_by_running_it_again(
    workspace: FreshDatabase, tmp_path: Path
) -> None:
    lines = event_lines(range(5_000))
    with importer(workspace, "-") as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(lines[:3_500]))
        process.stdin.flush()
        wait_until(lambda: recorded(workspace) == 3_000, "three batches are recorded")
        process.kill()
    (tmp_path / "usage.jsonl").write_bytes(b"".join(lines))
    assert imported(workspace, str(tmp_path / "usage.jsonl")) == 0
    assert_exactly_once(workspace, range(5_000))


def test_a_lost_database_says_how_many_lines_are_safe(workspace: FreshDatabase) -> None:
    with importer(workspace, "-") as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(event_lines(range(1_000))))
        process.stdin.flush()
        wait_until(lambda: recorded(workspace) == 1_000, "the first batch is recorded")
        with psycopg.connect(workspace.superuser_dsn.replace(workspace.name, "postgres"), autocommit=True) as superuser:
            name = psycopg.sql.Identifier(workspace.name)
            superuser.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (workspace.name,)
            )
            out, err = process.communicate(b"".join(event_lines(range(1_000, 2_000))))
            superuser.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    assert (process.returncode, out) == (1, b"")
    assert err.endswith(
        b"1000 lines are safely recorded (1000 accepted, 0 duplicate, 0 rejected); run it again to go on.\n"
    )
    assert_exactly_once(workspace, range(1_000))


def test_twenty_imports_of_overlapping_files_leave_one_copy_of_each_event(
    workspace: FreshDatabase, tmp_path: Path
) -> None:
    lines = event_lines(range(3_000))
    codes: list[int] = []
    threads = []
    for nth in range(20):
        part = [lines[(nth * 150 + offset) % 3_000] for offset in range(1_500)]
        file = tmp_path / f"{nth}.jsonl"
        file.write_bytes(b"".join(part[::-1] if nth % 2 else part))
        threads.append(threading.Thread(target=lambda file=file: codes.append(imported(workspace, str(file)))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 20
    assert_exactly_once(workspace, range(3_000))
