"""Brings a database to the schema of this version, one starter at a time, without waiting long for anybody's lock."""

from datetime import date, timedelta
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

_DIRECTORY = Path(__file__).resolve().parent / "migrations"
_MIGRATION_LOCK = 7_308_327_745_291_136
"""Any number that nobody else takes: the key of the advisory lock."""

MONTHS_BEHIND = 13
MONTHS_AHEAD = 3


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_DIRECTORY))
    return config


def head_revision() -> str:
    """Return the revision that this version of creditdesk needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:  # pragma: no cover - there is always a first migration
        raise AssertionError
    return revision


def migrate(owner_dsn: str, *, today: date) -> None:
    """Run the missing migrations as the tables' owner, and make the partitions around `today`."""
    engine = sa.create_engine(sa.make_url(owner_dsn).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        # A migration that cannot have its lock soon fails and is run again: it must not queue up the server's queries.
        connection.execute(sa.text("SET lock_timeout = '5s'"))
        connection.execute(sa.text("SET statement_timeout = '30min'"))
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.execute(
            sa.text("SELECT ensure_usage_partitions(:first, :last)"),
            {"first": today - timedelta(days=31 * MONTHS_BEHIND), "last": today + timedelta(days=31 * MONTHS_AHEAD)},
        )
        connection.commit()
    engine.dispose()
