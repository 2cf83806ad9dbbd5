"""Migrations make what the tables of db/ declare, in an order that can be told, and never hold everybody up."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from creditdesk.db import audit_tables, outbox_tables, session_tables, spend_tables, tables
from creditdesk.db.migrate import head_revision, migrate
from support.databases import FreshDatabase
from support.repository import texts

DECLARED = SQLModel.metadata
assert tables.UsageEvent.metadata is spend_tables.Balance.metadata is outbox_tables.Outbox.metadata is DECLARED
assert session_tables.BrowserSession.metadata is audit_tables.AuditEntry.metadata is DECLARED

PARTITION = re.compile(r"usage_event_(default|\d{4}_\d{2})")
NOT_DECLARED = {"alembic_version"}  # Alembic's own


def is_declared(_: object, name: str | None, kind: str, __: bool, ___: object) -> bool:  # noqa: FBT001 - Alembic's
    return kind != "table" or not (name in NOT_DECLARED or PARTITION.fullmatch(name or ""))


@pytest.fixture(scope="module")
def migrated(module_database: FreshDatabase) -> Iterator[sa.Connection]:
    engine = sa.create_engine(sa.make_url(module_database.owner_dsn).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def column(migrated: sa.Connection, query: str) -> list[Any]:
    return list(migrated.execute(sa.text(query)).scalars())


def test_migrations_make_what_the_tables_declare(migrated: sa.Connection) -> None:
    context = MigrationContext.configure(
        migrated, opts={"compare_type": True, "compare_server_default": True, "include_object": is_declared}
    )
    assert compare_metadata(context, DECLARED) == []


def test_migrations_make_the_checks_that_the_tables_declare(migrated: sa.Connection) -> None:
    # Alembic does not compare these.
    declared = {
        constraint.name
        for table in DECLARED.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    assert declared == set(column(migrated, "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0"))


def test_migrations_leave_room_on_the_pages_that_the_tables_declare(migrated: sa.Connection) -> None:
    declared = {
        name: [f"{option}={value}" for option, value in options.items()]
        for name, table in DECLARED.tables.items()
        if (options := table.dialect_options["postgresql"]["with"])
    }
    rows = migrated.execute(
        sa.text(
            "SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND reloptions IS NOT NULL"
            " AND relnamespace = 'public'::regnamespace"
        )
    )
    assert declared == {row.relname: row.reloptions for row in rows}


def test_events_are_partitioned_by_their_time(migrated: sa.Connection) -> None:
    declared = DECLARED.tables["usage_event"].dialect_options["postgresql"]["partition_by"]
    assert column(migrated, "SELECT pg_get_partkeydef('usage_event'::regclass)") == [declared]


def test_the_workspace_leads_every_key_and_index(migrated: sa.Connection) -> None:
    # So that a workspace can be moved to a shard of its own. A workspace itself is known by its id or its slug.
    leading = migrated.execute(
        sa.text(
            "SELECT i.indexrelid::regclass::text, a.attname FROM pg_index AS i"
            " JOIN pg_class AS t ON t.oid = i.indrelid AND t.relnamespace = 'public'::regnamespace"
            " JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            " WHERE t.relname NOT IN ('workspace', 'alembic_version')"
        )
    )
    assert [name for name, first in leading if first != "workspace_id"] == []


def test_a_table_without_row_level_security_holds_no_workspace_s_rows(migrated: sa.Connection) -> None:
    unguarded = column(
        migrated,
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relrowsecurity"
        " AND relnamespace = 'public'::regnamespace",
    )
    assert set(unguarded) == NOT_DECLARED


def test_a_migration_gives_up_soon_where_it_would_wait_for_a_lock(
    fresh_database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def upgrade(config: Any, _: str) -> None:
        for setting in ("lock_timeout", "statement_timeout"):
            seen[setting] = config.attributes["connection"].execute(sa.text(f"SHOW {setting}")).scalar_one()

    monkeypatch.setattr(command, "upgrade", upgrade)
    migrate(fresh_database.owner_dsn, today=date(2026, 6, 18))
    assert seen == {"lock_timeout": "5s", "statement_timeout": "30min"}


def test_a_migration_that_has_run_does_nothing(fresh_database: FreshDatabase) -> None:
    migrate(fresh_database.owner_dsn, today=date(2026, 6, 18))
    with psycopg.connect(fresh_database.owner_dsn) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(head_revision(),)]


def test_revisions_are_numbers_in_a_row() -> None:
    # Readiness compares them: a later one is a newer version's.
    versions = sorted(path for path in texts() if path.parent.name == "versions")
    numbers = [path.name.partition("_")[0] for path in versions]
    assert numbers == [f"{number:04d}" for number in range(1, len(versions) + 1)]
    assert numbers[-1] == head_revision()
    for path, number, previous in zip(versions, numbers, [None, *numbers], strict=False):
        assert f'revision = "{number}"' in texts()[path]
        before = "None" if previous is None else f'"{previous}"'
        assert f"down_revision = {before}\n" in texts()[path]
