"""The database that a command works with: the one that is configured, else an embedded PostgreSQL of our own."""

import argparse
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from sqlalchemy.exc import SQLAlchemyError

from creditdesk.app.logs import configure_logs, redacted
from creditdesk.app.settings import Settings, SettingsError, forget_libpq_variables
from creditdesk.db import embedded
from creditdesk.db.bootstrap import OWNER, SERVER, ensure_owned_database
from creditdesk.db.embedded import EmbeddedServer, EmbeddedServerError
from creditdesk.db.errors import DatabaseError
from creditdesk.db.migrate import migrate

NAME = "creditdesk"
CARE_SECONDS = 1.0

_log = logging.getLogger(__name__)


class MigrationFailed(DatabaseError):  # noqa: N818 - an event, like its siblings of this floor's errors
    """A migration did not run; what it had begun is rolled back, and it can be run again."""


@dataclass(frozen=True, slots=True)
class RunningDatabase:
    """A migrated database, while the block lasts; the owner's URL is None where it is not configured."""

    dsn: str = field(repr=False)
    owner_dsn: str | None = field(repr=False)


@contextmanager
def running_database(settings: Settings, *, today: date) -> Iterator[RunningDatabase]:
    """Yield the configured database as it is, or the embedded one: started, migrated, and restarted should it die."""
    if settings.database_url is not None:
        owner = settings.owner_database_url
        yield RunningDatabase(
            settings.database_url.get_secret_value(), owner.get_secret_value() if owner is not None else None
        )
        return
    forget_libpq_variables()
    server = embedded.start(settings.data_directory / "postgres")
    try:
        ensure_owned_database(server, NAME)
        owner_dsn = server.dsn(user=OWNER, database=NAME)
        run_migrations(owner_dsn, today=today)
        with _kept_running(server):
            yield RunningDatabase(server.dsn(user=SERVER, database=NAME), owner_dsn)
    finally:
        server.leave()


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Take nothing: `creditdesk migrate` does what the environment says."""


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Migrate the configured database as its owner, or the embedded one."""
    configure_logs(level=settings.log_level, form=settings.log_format)
    today = datetime.now(UTC).date()
    if settings.owner_database_url is not None:
        run_migrations(settings.owner_database_url.get_secret_value(), today=today)
    elif settings.database_url is not None:
        raise SettingsError("CREDITDESK_OWNER_DATABASE_URL: is not set; DATABASE_URL's role may not change the schema.")
    else:
        with running_database(settings, today=today):
            pass
    return 0


def run_migrations(owner_dsn: str, *, today: date) -> None:
    """Run the missing migrations, or raise MigrationFailed with what the database said."""
    try:
        migrate(owner_dsn, today=today)
    except SQLAlchemyError as error:
        said = redacted(str(getattr(error, "orig", None) or error)).strip().partition("\n")[0]
        raise MigrationFailed(f"The migration did not run: {said}") from error


@contextmanager
def _kept_running(server: EmbeddedServer) -> Iterator[None]:
    ended = threading.Event()

    def care() -> None:
        while not ended.wait(CARE_SECONDS):
            try:
                embedded.keep_running(server)
            except EmbeddedServerError as error:
                _log.error("the embedded PostgreSQL cannot be started again: %s", error)

    carer = threading.Thread(target=care, name="embedded-postgres", daemon=True)
    carer.start()
    try:
        yield
    finally:
        ended.set()
        carer.join()
