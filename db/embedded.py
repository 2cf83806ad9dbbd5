"""The supervisor of the embedded PostgreSQL: several processes share one server, the last to leave stops it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from creditdesk.db import embedded_postmaster as postmaster
from creditdesk.db.embedded_binaries import Account, EmbeddedServerError, exclusive, open_lock
from creditdesk.db.embedded_home import (
    PORT,
    SUPERUSER,
    clear_leftovers,
    data_of,
    find_home,
    initialise,
    prepare_socket_directory,
    remove_distant_socket_directory,
    socket_directory,
)

__all__ = ["SUPERUSER", "EmbeddedServer", "EmbeddedServerError", "ensure_database", "keep_running", "start"]

SILENT_SECONDS = 60  # how long a server may say nothing at all
RECOVERY_SECONDS = 900  # how long it may answer that it is not ready: crash recovery reads up to max_wal_size
CREATE_DATABASE = """
SELECT format('CREATE DATABASE %I TEMPLATE template0', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""
FIND_DATABASE = "SELECT 'found' FROM pg_database WHERE datname = :'name'"


@dataclass(slots=True)
class Share:
    """A starter's share in the server: a shared file lock, which the kernel takes back from a dead process."""

    descriptor: int | None
    process: int


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server, and our share in it."""

    directory: Path
    home: Path
    account: Account | None = field(repr=False)
    share: Share = field(repr=False, compare=False)

    def dsn(self, *, user: str, database: str) -> str:
        """Return the URL to connect by."""
        host = quote(os.fsencode(socket_directory(self.home)), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def is_running(self) -> bool:
        """Tell whether the postmaster lives."""
        return postmaster.postmaster_of(self.home) is not None

    def leave(self) -> None:
        """Give up our share; the last one to leave stops the server and waits for its end."""
        if self.share.process != os.getpid() or not self.home.exists():
            _drop(self.share)  # a fork's share is its parent's; without its directory PostgreSQL stops by itself
            return
        with _explained(self.directory), exclusive(_start_lock(self.home)):
            if _give_up(self.share):
                postmaster.stop(self.home)
                remove_distant_socket_directory(self.home)


def start(directory: Path, *, account: str | None = None) -> EmbeddedServer:
    """Start the server of the directory, or join it; root's server runs as the account."""
    with _explained(directory):
        asked = directory.resolve()
        home, runs_as = find_home(asked, account)
        with exclusive(_start_lock(home)) as lock:
            share = _take_share(home)
            try:
                _bring_up(home, runs_as, lock)
            except BaseException:
                # An interrupt too: what was launched for us alone must not outlive us.
                if _give_up(share):
                    postmaster.stop(home)
                raise
            return EmbeddedServer(asked, home, runs_as, share)


def keep_running(server: EmbeddedServer) -> None:
    """Start the server again in place if its postmaster died while we have a share in it."""
    if server.is_running() or server.share.descriptor is None:
        return
    with _explained(server.directory), exclusive(_start_lock(server.home)) as lock:
        if server.share.descriptor is not None:  # asked again under the lock: we may have left meanwhile
            _bring_up(server.home, server.account, lock)


def ensure_database(server: EmbeddedServer, name: str) -> None:
    """Create the database if it is missing; another process may do the same at once."""
    with _explained(server.directory):
        created = postmaster.ask(server.home, server.account, statement=CREATE_DATABASE, name=name)
        if created.returncode == 0:
            return
        found = postmaster.ask(server.home, server.account, statement=FIND_DATABASE, name=name)
    if found.stdout.strip() != "found":
        message = (
            f"PostgreSQL could not create the database {name} ({created.stderr.strip()}): mend that and try again."
        )
        raise EmbeddedServerError(message)


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        message = f"The embedded PostgreSQL cannot use {directory} ({error}): choose another one, or set DATABASE_URL."
        raise EmbeddedServerError(message) from error


def _start_lock(home: Path) -> Path:
    return home / "server.lock"


def _take_share(home: Path) -> Share:
    descriptor = open_lock(home / "starters.lock")
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return Share(descriptor, os.getpid())


def _give_up(share: Share) -> bool:
    """Give up the share and tell whether it was the last one; the caller holds the start lock."""
    if share.descriptor is None:
        return False
    try:
        fcntl.flock(share.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        _drop(share)


def _drop(share: Share) -> None:
    descriptor, share.descriptor = share.descriptor, None
    if descriptor is not None:
        os.close(descriptor)


def _bring_up(home: Path, account: Account | None, lock: int) -> None:
    """Return when the server accepts connections; the caller holds the start lock."""
    if not (data_of(home) / "PG_VERSION").exists():
        clear_leftovers(home)
        initialise(home, account, lock)
    begun, patience = time.monotonic(), SILENT_SECONDS
    launched: int | None = None
    log_before = 0
    while time.monotonic() - begun < patience:
        if postmaster.postmaster_of(home) is not None:
            answer = postmaster.answer_of(home, account)
            if answer == postmaster.ACCEPTS:
                return
            if answer == postmaster.REJECTS:
                patience = RECOVERY_SECONDS
        elif launched is None or not postmaster.is_postmaster(launched, home):
            if launched is not None:
                postmaster.refuse_unless_old_children_remain(home, log_before)
            prepare_socket_directory(home, account)
            log_before = postmaster.trim_log(home)
            launched = postmaster.launch(home, account)
        time.sleep(0.02)
    message = f"PostgreSQL in {home} does not accept connections: read {postmaster.log_of(home)}, then start again."
    raise EmbeddedServerError(message)
