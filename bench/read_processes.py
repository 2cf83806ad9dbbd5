"""Servers under measurement: started on free ports, watched for what they cost, stopped by their own pids."""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import IO

import httpx

_PROC = Path("/proc")
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Served:
    """A server that takes requests at an address."""

    url: str
    pid: int

    @property
    def pids(self) -> list[int]:
        """Return the server's processes."""
        return [self.pid, *descendants(self.pid)]


def descendants(pid: int) -> list[int]:
    """Return a process's children and theirs; none where there is no /proc."""
    parents = {}
    for entry in _PROC.glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        parents[int(entry.parent.name)] = int(fields[1])
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        children = [child for child, parent in parents.items() if parent == one]
        found += children
        waiting += children
    return found


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes of the largest process: its share of what it has in memory (PSS), and the most it ever had (RSS)."""

    share: float
    peak: float


def memory_of(pids: Iterable[int]) -> Memory:
    """Return the memory of the largest of some processes; zeros where there is no /proc."""
    shares, peaks = [0], [0]
    for pid in pids:
        shares.append(_kilobytes(pid, "smaps_rollup", "Pss"))
        peaks.append(_kilobytes(pid, "status", "VmHWM"))
    return Memory(max(shares) / 1024, max(peaks) / 1024)


def _kilobytes(pid: int, file: str, name: str) -> int:
    try:
        text = (_PROC / str(pid) / file).read_text()
    except OSError:
        return 0
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) if found else 0


@contextmanager
def served(
    command: Sequence[str], environment: Mapping[str, str], *, ready: str | None = None, folder: Path | None = None
) -> Iterator[Served]:
    """Run a server that says where it listens, until it takes requests; `ready` is a path that says so."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CREDITDESK_", "PG", "DATABASE"))}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env=kept | dict(environment), cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield Served(_address(process, log, ready), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: "subprocess.Popen[bytes]", log: IO[bytes], ready: str | None) -> str:
    until = monotonic() + START_SECONDS
    while monotonic() < until:
        log.seek(0)
        text = log.read().decode()
        found = re.search(r"(?:listening|running on).*?(http://[0-9.:]+)", text)
        if found and (ready is None or _answers(found[1] + ready)):
            return found[1]
        if process.poll() is not None:
            raise RuntimeError(text)
        sleep(0.1)
    message = f"A server did not start within {START_SECONDS} s: {command_of(process)}"
    raise RuntimeError(message)


def command_of(process: "subprocess.Popen[bytes]") -> str:
    """Return what was started."""
    return str(process.args)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
