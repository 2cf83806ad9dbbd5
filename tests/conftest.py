"""Fixtures for everybody: a real PostgreSQL, and a database cloned from a migrated template."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from creditdesk.db.embedded import EmbeddedServer
from support.databases import FreshDatabase, cloned_database, embedded_server, make_template


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedServer]:
    """One PostgreSQL for the session, holding the migrated template."""
    with embedded_server() as server:
        make_template(server)
        yield server


@pytest.fixture
def fresh_database(postgres: EmbeddedServer) -> Iterator[FreshDatabase]:
    """A migrated, empty database for one test."""
    with cloned_database(postgres) as database:
        yield database


@pytest.fixture(scope="module")
def module_database(postgres: EmbeddedServer) -> Iterator[FreshDatabase]:
    """A migrated, empty database that the tests of a module share."""
    with cloned_database(postgres) as database:
        yield database


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A short directory that every account can enter, for embedded data: pytest's own are closed to PostgreSQL's."""
    with tempfile.TemporaryDirectory(prefix="cd-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a set by its sorted items: its own order differs between the processes that run tests side by side."""
    return str(sorted(map(str, val))) if isinstance(val, set | frozenset) else None
