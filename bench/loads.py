"""A load on a server, put on it by clients in a process of their own: what came of it, and what it took."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from read_processes import Memory, Served, memory_of

from cpu import cpu_seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """A round: how many requests, and how many a second; milliseconds, and memory."""

    count: int
    rate: float
    p50: float
    p99: float
    server_ms: float
    database_ms: float
    memory: Memory


def measured_load(clients: str, asked: Mapping[str, object], server: Served, *, postmaster: int) -> Measured:
    """Let a program of clients, named by its file beside this one, do what it is asked; raise RuntimeError."""
    # Both with all that they have started and what of that has ended: while clients are busy, pools close connections
    # that nobody needs, and open others.
    before = cpu_seconds(server.pid), cpu_seconds(postmaster)
    command = [sys.executable, str(Path(__file__).with_name(clients))]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    after = cpu_seconds(server.pid), cpu_seconds(postmaster)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout)
    if found.get("failed"):
        message = f"{found['failed']} requests failed: {done.stderr[-2000:]}"
        raise RuntimeError(message)
    return Measured(
        count=found["count"],
        rate=found["rate"],
        p50=found["p50"],
        p99=found["p99"],
        server_ms=(after[0] - before[0]) / found["count"] * 1000,
        database_ms=(after[1] - before[1]) / found["count"] * 1000,
        memory=memory_of(server.pids),
    )
