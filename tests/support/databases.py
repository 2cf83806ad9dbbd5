"""One embedded PostgreSQL for the whole session, and a migrated database of its own for each test that asks."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from creditdesk.db import embedded
from creditdesk.db.bootstrap import OWNER, SERVER, ensure_owned_database
from creditdesk.db.migrate import migrate

TEMPLATE = "creditdesk_template"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class FreshDatabase:
    """A migrated, empty database."""

    name: str
    owner_dsn: str
    server_dsn: str
    superuser_dsn: str


@contextmanager
def embedded_server() -> Iterator[embedded.EmbeddedServer]:
    # Short, for the socket's path; and open to the account that root's server runs as.
    place = Path(tempfile.mkdtemp(prefix="cd-tests-", dir="/tmp"))
    place.chmod(0o755)
    server = embedded.start(place / "postgres")
    try:
        with _superuser(server) as connection:
            # Nothing here has to survive a crash.
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
            connection.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.leave()
        shutil.rmtree(place)


def make_template(server: embedded.EmbeddedServer) -> None:
    ensure_owned_database(server, TEMPLATE)
    migrate(server.dsn(user=OWNER, database=TEMPLATE), today=datetime.now(UTC).date())


@contextmanager
def cloned_database(server: embedded.EmbeddedServer, template: str = TEMPLATE) -> Iterator[FreshDatabase]:
    name = f"test_{next(_numbers)}"
    identifiers = [sql.Identifier(part) for part in (name, template, OWNER)]
    with _superuser(server) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*identifiers))
        try:
            yield FreshDatabase(
                name,
                owner_dsn=server.dsn(user=OWNER, database=name),
                server_dsn=server.dsn(user=SERVER, database=name),
                superuser_dsn=server.dsn(user=embedded.SUPERUSER, database=name),
            )
        finally:
            # FORCE: a test that failed may have left connections behind.
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifiers[0]))


def _superuser(server: embedded.EmbeddedServer) -> psycopg.Connection:
    return psycopg.connect(server.dsn(user=embedded.SUPERUSER, database="postgres"), autocommit=True)
