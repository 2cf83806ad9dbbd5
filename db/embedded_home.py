"""Where the embedded PostgreSQL lives: its home, its data directory and its socket directory."""

import errno
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from creditdesk.db import embedded_binaries
from creditdesk.db.embedded_binaries import (
    Account,
    EmbeddedServerError,
    account_named,
    binaries,
    major_version,
    make_open_directories,
    reaches,
    run,
)

PORT = 5432  # names the socket file only
SUPERUSER = "postgres"
LONGEST_SOCKET_PATH = 100  # sun_path holds 104 bytes on macOS, 108 on Linux
# What libc classifies characters by (text search, trigrams); macOS has no C.UTF-8.
CHARACTER_TYPE = "UTF-8" if sys.platform == "darwin" else "C.UTF-8"


def data_of(home: Path) -> Path:
    """Return the data directory of a home."""
    return home / "data"


def find_home(directory: Path, account_name: str | None) -> tuple[Path, Account | None]:
    """Return the home for the asked-for directory, made if missing, and the account to run as (None: ourselves)."""
    if os.geteuid() != 0:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_other_major_version(directory)
        return directory, None
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    own_home = embedded_binaries.OWN_PLACE / name
    # Existing data decides first: permissions or accounts that changed since must not lead to an empty database.
    for home in (directory, own_home):
        if (data_of(home) / "PG_VERSION").exists():
            _refuse_other_major_version(home)
            return home, _owner_of_data(home, account_name)
    account = account_named(account_name)
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(nearest))
    home = directory if reaches(account, nearest) else own_home
    make_open_directories(home)
    if not reaches(account, home):
        message = f"The account {account.uid} cannot enter {home}: open its parents to it, or name another account."
        raise EmbeddedServerError(message)
    return home, account


def initialise(home: Path, account: Account | None, lock: int) -> None:
    """Make the data directory; it gets its name only when it is whole."""
    fresh = _fresh_directory(home, account)
    done = run(
        account,
        [
            binaries(account) / "initdb",
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            f"--lc-ctype={CHARACTER_TYPE}",
            "--text-search-config=simple",
            "--data-checksums",
            "--auth-local=trust",
            "--auth-host=reject",
        ],
        # An initdb that outlives its killed starter keeps the lock, so that nobody clears the directory under it.
        inherited=[lock],
    )
    if done.returncode != 0:
        message = f"PostgreSQL's initdb failed in {home}: {done.stderr.strip()}"
        raise EmbeddedServerError(message)
    fresh.rename(data_of(home))
    descriptor = os.open(home, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_leftovers(home: Path) -> None:
    """Remove what killed starters left half-made; the caller holds the lock."""
    for leftover in home.glob("new-*"):
        shutil.rmtree(leftover)


def socket_directory(home: Path) -> Path:
    """Return the directory of the server's socket."""
    run_directory = home / "run"
    return run_directory.readlink() if run_directory.is_symlink() else run_directory


def prepare_socket_directory(home: Path, account: Account | None) -> None:
    """Make the private socket directory, elsewhere with a link to it if the home's path cannot name a socket."""
    run_directory = home / "run"
    owner = os.geteuid() if account is None else account.uid
    if _is_private(socket_directory(home), owner):
        return
    # libpq takes a comma in a host for the next host.
    if len(os.fsencode(run_directory / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH and "," not in str(run_directory):
        if run_directory.is_symlink():
            run_directory.unlink()
        _fresh_directory(home, account).rename(run_directory)
        return
    target = _fresh_directory(_short_parent(account), account, prefix="creditdesk-")
    link = Path(tempfile.mkdtemp(prefix="new-", dir=home)) / "run"
    link.symlink_to(target)
    link.rename(run_directory)
    link.parent.rmdir()


def remove_distant_socket_directory(home: Path) -> None:
    """Remove the socket directory of a stopped server if it lies outside the home."""
    if (home / "run").is_symlink():
        shutil.rmtree(socket_directory(home), ignore_errors=True)
        (home / "run").unlink()


def _owner_of_data(home: Path, account_name: str | None) -> Account:
    status = data_of(home).stat()
    account = Account(status.st_uid, status.st_gid)
    if account.uid == 0:
        message = f"The data in {home} belongs to root, as whom PostgreSQL refuses to run: give it to another account."
        raise EmbeddedServerError(message)
    if account_name is not None and account_named(account_name).uid != account.uid:
        message = f"The data in {home} belongs to the account {account.uid}, not to {account_name}: name its owner."
        raise EmbeddedServerError(message)
    if not reaches(account, data_of(home)):
        message = (
            f"The account {account.uid} can no longer reach its data in {home}: open the parents of that directory."
        )
        raise EmbeddedServerError(message)
    return account


def _refuse_other_major_version(home: Path) -> None:
    written_by = data_of(home) / "PG_VERSION"
    if written_by.exists() and (found := written_by.read_text().strip()) != major_version():
        message = (
            f"The data in {home} was written by PostgreSQL {found} and this release runs {major_version()}: "
            f"dump it with {found} and load it into a new directory; nothing was changed."
        )
        raise EmbeddedServerError(message)


def _fresh_directory(parent: Path, account: Account | None, *, prefix: str = "new-") -> Path:
    """Make a private directory of the account, with an unpredictable name."""
    fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    if account is not None:
        os.chown(fresh, account.uid, account.gid, follow_symlinks=False)
    return fresh


def _is_private(directory: Path, owner: int) -> bool:
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077


def _short_parent(account: Account | None) -> Path:
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 -- only a parent: what is made in it is unpredictable and private
        longest = len(os.fsencode(parent / "creditdesk-01234567" / f".s.PGSQL.{PORT}"))
        if longest <= LONGEST_SOCKET_PATH and "," not in str(parent) and reaches(account, parent):
            return parent
    message = "Neither the temporary directory nor /tmp can hold PostgreSQL's socket: choose a shorter directory."
    raise EmbeddedServerError(message)
