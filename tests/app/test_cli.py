import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest

from creditdesk.app.cli import COMMANDS
from creditdesk.db import embedded
from creditdesk.db.bootstrap import OWNER, ensure_owned_database
from creditdesk.db.embedded import EmbeddedServer
from creditdesk.db.migrate import head_revision
from creditdesk.graphql.schema import schema_text
from support.databases import FreshDatabase
from support.processes import COMMAND, clean_environment, creditdesk, wait_until

UNREACHABLE = "postgresql://ana:s3cret@127.0.0.1:1/nothing"

HELP = """
import sys
from creditdesk.app.cli import main
try:
    main(["--help"])
except SystemExit:
    print(sorted(name for name in sys.modules if name.startswith(("creditdesk.", "sqlalchemy", "pydantic", "uvicorn"))))
"""


def revision_of(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert row is not None
    return str(row[0])


def test_help_lists_every_command_and_loads_none_of_them() -> None:
    shown = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True).stdout
    assert all(f"    {name}" in shown for name in COMMANDS)
    assert shown.splitlines()[-1] == "['creditdesk.app', 'creditdesk.app.cli']"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str) -> None:
    shown = creditdesk(command, "--help")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"usage: creditdesk {command} ")


def test_it_tells_its_version() -> None:
    assert creditdesk("--version").stdout == f"creditdesk {version('creditdesk')}\n"


@pytest.mark.parametrize("arguments", [(), ("fly",), ("serve", "--fast")])
def test_what_it_does_not_know_is_a_misuse(arguments: tuple[str, ...]) -> None:
    ended = creditdesk(*arguments)
    assert ended.returncode == 2
    assert "usage: creditdesk" in ended.stderr


def test_a_setting_that_is_off_ends_any_command_with_a_sentence() -> None:
    ended = creditdesk("migrate", CREDITDESK_PORT="eighty")
    assert ended.returncode == 2
    assert ended.stderr.startswith("creditdesk: CREDITDESK_PORT: ")
    assert ended.stderr.count("\n") == 1


def test_migrate_brings_the_owner_s_database_to_this_version_and_may_be_repeated(postgres: EmbeddedServer) -> None:
    ensure_owned_database(postgres, "test_cli_migrate")
    dsn = postgres.dsn(user=OWNER, database="test_cli_migrate")
    for _ in range(2):
        ended = creditdesk("migrate", CREDITDESK_OWNER_DATABASE_URL=dsn)
        assert ended.returncode == 0, ended.stderr
        assert revision_of(dsn) == head_revision()


def test_migrate_makes_the_embedded_database(open_directory: Path) -> None:
    ended = creditdesk("migrate", CREDITDESK_DATA_DIRECTORY=str(open_directory))
    assert ended.returncode == 0, ended.stderr
    server = embedded.start(open_directory / "postgres")
    try:
        assert revision_of(server.dsn(user=OWNER, database="creditdesk")) == head_revision()
    finally:
        server.leave()


def test_migrate_needs_the_owner_of_a_configured_database(fresh_database: FreshDatabase) -> None:
    ended = creditdesk("migrate", DATABASE_URL=fresh_database.server_dsn)
    assert ended.returncode == 2
    assert ended.stderr.startswith("creditdesk: CREDITDESK_OWNER_DATABASE_URL: is not set")


def test_a_migration_that_cannot_run_says_why_and_not_with_which_password() -> None:
    ended = creditdesk("migrate", CREDITDESK_OWNER_DATABASE_URL=UNREACHABLE)
    assert ended.returncode == 1
    assert ended.stderr.startswith("creditdesk: The migration did not run: ")
    assert "s3cret" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_interrupted_ends_without_a_traceback(
    fresh_database: FreshDatabase, sent: signal.Signals, code: int
) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(fresh_database.owner_dsn) as blocker:
        blocker.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen(
            [*COMMAND, "migrate"],
            env=clean_environment({"CREDITDESK_OWNER_DATABASE_URL": fresh_database.owner_dsn}),
            stderr=subprocess.PIPE,
            text=True,
        )
        with psycopg.connect(fresh_database.superuser_dsn, autocommit=True) as watcher:
            wait_until(lambda: watcher.execute(waiting).fetchone() == (1,), "held up")
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in said


def test_schema_prints_the_schema() -> None:
    shown = creditdesk("schema")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip() == schema_text().strip()


def test_schema_checks_a_committed_one(tmp_path: Path) -> None:
    file = tmp_path / "schema.graphql"
    file.write_text(creditdesk("schema").stdout)
    assert creditdesk("schema", "--check", str(file)).returncode == 0
    file.write_text(file.read_text().replace("type Query", "type Quarry"))
    ended = creditdesk("schema", "--check", str(file))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"{file} is not the schema" in ended.stderr
    assert "-type Quarry" in ended.stderr
    assert "+type Query" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_that_is_not_there_is_named() -> None:
    ended = creditdesk("schema", "--check", "nowhere.graphql")
    assert ended.returncode == 1
    assert ended.stderr == "creditdesk: nowhere.graphql: No such file or directory.\n"


def test_a_reader_who_leaves_hears_no_complaint() -> None:
    process = subprocess.Popen(
        [*COMMAND, "schema"], env=clean_environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait(timeout=60) == 141
