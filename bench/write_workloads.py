"""Writing through creditdesk's own doors: what a gateway streams in, and holds that are placed and settled."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from read_dataset import Company, emails_of
from read_processes import Memory, Served, memory_of

from cpu import cpu_seconds
from creditdesk.app.demo.issuer import DemoClient

SCOPE = "usage:write"
SIZE = 500
CONNECTIONS: Mapping[str, int] = {"W1": 8, "W2 cold": 16, "W2 hot": 16}
WRITES: Mapping[str, str] = {
    "W1": f"ingest: a batch of {SIZE} events over GraphQL",
    "W2 cold": "a hold of a random user placed, then settled; groups share limits",
    "W2 hot": "the same where all of the workspace share one limit",
}


@dataclass(frozen=True, slots=True)
class Written:
    """A round of writing: batches, or holds that were placed and settled, a second; milliseconds; memory."""

    count: int
    rate: float
    p50: float
    p99: float
    server_ms: float
    database_ms: float
    memory: Memory


def client_of(company: Company) -> DemoClient:
    """Return a program that may write in a workspace."""
    return DemoClient(
        company.slug,
        secret="bench",  # noqa: S106 - on this machine, for a few minutes
        grants=frozenset({"client_credentials"}),
        scopes=frozenset({SCOPE}),
        claims={"workspace": company.slug, "roles": ["service"]},
    )


def written(workload: str, server: Served, company: Company, token: str, *, seconds: float, postmaster: int) -> Written:
    """Let clients write for a while."""
    host, port = server.url.removeprefix("http://").split(":")
    asked = {
        "host": host, "port": int(port), "token": token, "emails": emails_of(company), "tag": str(uuid4()),
        "kind": "events" if workload == "W1" else "holds", "size": SIZE, "seconds": seconds,
        "connections": CONNECTIONS[workload],
    }  # fmt: skip
    before = cpu_seconds(server.pid), cpu_seconds(postmaster)
    clients = str(Path(__file__).with_name("write_clients.py"))
    done = subprocess.run(
        [sys.executable, clients], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    after = cpu_seconds(server.pid), cpu_seconds(postmaster)
    if done.returncode:
        message = f"{workload}: {done.stderr[-2000:]}"
        raise RuntimeError(message)
    found = json.loads(done.stdout)
    return Written(
        count=found["count"],
        rate=found["rate"],
        p50=found["p50"],
        p99=found["p99"],
        server_ms=(after[0] - before[0]) / found["count"] * 1000,
        database_ms=(after[1] - before[1]) / found["count"] * 1000,
        memory=memory_of(server.pids),
    )
