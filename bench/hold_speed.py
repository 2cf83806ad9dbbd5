"""How fast holds are placed over HTTP, on many balances and on one hot one, against a bare conditional UPDATE.

Run by `make bench-holds`, which writes its section of `docs/benchmarks.md`. pgbench, of the same PostgreSQL, and
creditdesk take turns on one embedded PostgreSQL with its durable settings; only their ratios mean anything.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import uvicorn

from creditdesk.app.database import NAME
from creditdesk.app.demo.issuer import DemoClient, DemoIssuer
from creditdesk.credits.amounts import MICRO
from creditdesk.credits.controls import changing_controls, load_controls
from creditdesk.credits.directory import NewGroup, NewUser, UserKind, put_groups, put_users, put_workspace
from creditdesk.credits.limit_rules import NewLimit, write_limit
from creditdesk.credits.limits import Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor
from creditdesk.db import embedded
from creditdesk.db.bootstrap import OWNER, SERVER, ensure_owned_database
from creditdesk.db.connections import Database
from creditdesk.db.embedded_binaries import binaries
from creditdesk.db.embedded_home import data_of
from creditdesk.db.migrate import migrate
from creditdesk.db.scopes import DatabaseRole, RowScope
from hold_report import BARE, CLIENTS, CONNECTIONS, PROCESSES, USERS, Round, report
from hold_watch import Watched
from pages import put_section

GROUPS = 10
AUDIENCE = "bench"
SCOPES = ("usage:write",)
TABLE = """
CREATE TABLE bare (id integer PRIMARY KEY, lim bigint NOT NULL, used bigint NOT NULL, held bigint NOT NULL)
  WITH (fillfactor = 50);
INSERT INTO bare SELECT i, 1000000000000, 0, 0 FROM generate_series(1, 5000) AS i;
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace to place holds in."""

    slug: str
    id: UUID
    users: tuple[UUID, ...]


async def founded(database: Database, slug: str, *, shared: bool) -> Workspace:
    """Make a workspace with a limit for each user, and one that all of them share if wanted."""
    now, id_ = datetime.now(UTC), uuid4()
    groups = [uuid4() for _ in range(GROUPS)]
    users = tuple(uuid4() for _ in range(USERS))
    scope = RowScope(DatabaseRole.ADMINISTRATOR, id_)
    async with database.transaction(scope) as conn:
        await put_workspace(conn, workspace_id=id_, slug=slug, name=slug, zone="UTC", now=now)
        named = [NewGroup(group, f"g{number}", f"Group {number}") for number, group in enumerate(groups)]
        await put_groups(conn, workspace_id=id_, groups=named, now=now)
        people = [
            NewUser(one, f"User {one}", None, None, UserKind.PERSON, groups[n % GROUPS], (groups[n % GROUPS],))
            for n, one in enumerate(users)
        ]
        await put_users(conn, workspace_id=id_, users=people, now=now)
    kinds = (LimitKind.EACH_USER, LimitKind.SHARED) if shared else (LimitKind.EACH_USER,)
    async with database.transaction(scope) as conn:
        await changing_controls(conn, id_)
        for kind in kinds:
            rule = NewLimit(LimitScope.WORKSPACE, id_, kind, Shape(Cadence.MONTH), Limited(100_000_000 * MICRO))
            controls = await load_controls(conn, id_)
            actor = Actor("SERVICE", "bench", None)
            await write_limit(conn, controls, workspace_id=id_, actor=actor, rule=rule, now=now)
    return Workspace(slug, id_, users)


@contextmanager
def served(issuer: Callable[[str], DemoIssuer]) -> Iterator[DemoIssuer]:
    """Serve an identity provider in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = issuer("http://{}:{}".format(*listener.getsockname()))
        server = uvicorn.Server(uvicorn.Config(made.app(), log_config=None, ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield made
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serving(dsn: str, issuer_url: str) -> Iterator[tuple[str, int]]:
    """Run `creditdesk serve` with two processes, with every protection on, and yield its address and process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CREDITDESK_", "PG"))}
    settings = {
        "DATABASE_URL": dsn,
        "CREDITDESK_OIDC_ISSUER": issuer_url,
        "CREDITDESK_OIDC_AUDIENCE": AUDIENCE,
        "CREDITDESK_PORT": "0",
        "CREDITDESK_WORKERS": str(PROCESSES),
    }
    command = [sys.executable, "-c", "import sys; from creditdesk.app.cli import main; sys.exit(main())", "serve"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=kept | settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while True:
                log.seek(0)
                text = log.read().decode()
                found = re.search(r"listening.*?(http://[^\s\"]+)", text)
                if found and ready(found[1]):
                    break
                if process.poll() is not None:
                    raise RuntimeError(text)
            yield found[1], process.pid
        finally:
            process.terminate()
            process.wait(timeout=30)


def ready(url: str) -> bool:
    """Tell whether the server takes requests."""
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def holds(url: str, token: str, workspace: Workspace, *, tag: str, seconds: float) -> dict[str, Any]:
    """Place holds of random users for a while, with as many connections and processes as pgbench has, and threads."""
    host, port = url.removeprefix("http://").split(":")
    asked = {
        "host": host, "port": int(port), "token": token, "users": [str(user) for user in workspace.users],
        "seconds": seconds, "connections": CONNECTIONS // CLIENTS,
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name("hold_clients.py"))]

    def run(number: int) -> subprocess.CompletedProcess[str]:
        given = json.dumps(asked | {"tag": f"{tag}-{number}", "seed": number})
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(CLIENTS) as threads:
        done = list(threads.map(run, range(CLIENTS)))
    if any(one.returncode for one in done):
        raise RuntimeError("\n".join(one.stderr for one in done))
    found = [json.loads(one.stdout) for one in done]
    if any(one["refused"] for one in found):
        raise RuntimeError("\n".join(one.stderr for one in done))
    counts = [(float(latency), count) for one in found for latency, count in one["latencies"].items()]
    latencies = [latency for latency, count in sorted(counts) for _ in range(count)]
    return {
        "rate": sum(one["rate"] for one in found),
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
    }


def postmaster_of(server: embedded.EmbeddedServer) -> int:
    """Return the process of PostgreSQL that has started all others."""
    return int((data_of(server.home) / "postmaster.pid").read_text().split()[0])


def pgbench(program: Path, dsn: str, *, rows: int, seconds: float) -> float:
    """Return how many bare updates pgbench makes a second."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set id random(1, {rows})\n{BARE}\n")
        script.flush()
        options = ["-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", str(CLIENTS), "-T", str(int(seconds))]
        done = subprocess.run(
            [str(program), *options, "-f", script.name, dsn], capture_output=True, text=True, check=False
        )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if not found:
        raise RuntimeError(done.stderr)
    return float(found[1])


def measured(server: embedded.EmbeddedServer, *, rounds: int, seconds: float) -> dict[str, list[Round]]:
    """Return the rounds of cold balances, and of a hot one."""
    owner_dsn, dsn = server.dsn(user=OWNER, database=NAME), server.dsn(user=SERVER, database=NAME)
    superuser = server.dsn(user=embedded.SUPERUSER, database="postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bare")
    bare_dsn = server.dsn(user=embedded.SUPERUSER, database="bare")
    with psycopg.connect(bare_dsn, autocommit=True) as connection:
        connection.execute(TABLE)
    migrate(owner_dsn, today=datetime.now(UTC).date())

    async def found() -> list[Workspace]:
        database = Database(dsn, max_connections=2)
        await database.open()
        try:
            return [await founded(database, "cold", shared=False), await founded(database, "hot", shared=True)]
        finally:
            await database.close()

    cold, hot = asyncio.run(found())
    program = binaries(None) / "pgbench"  # a client: it needs no account of its own
    results: dict[str, list[Round]] = {"cold": [], "hot": []}

    def issuer(url: str) -> DemoIssuer:
        clients = [
            DemoClient(
                one.slug,
                secret="bench",  # noqa: S106 - on this machine, for a few minutes
                grants=frozenset({"client_credentials"}),
                scopes=frozenset(SCOPES),
                claims={"workspace": one.slug, "roles": ["service"]},
            )
            for one in (cold, hot)
        ]
        return DemoIssuer(url, AUDIENCE, persons=[], clients=clients)

    with served(issuer) as identity, serving(dsn, identity.url) as (url, pid):
        watched = Watched(pid, postmaster_of(server), server.dsn(user=embedded.SUPERUSER, database=NAME))
        for number in range(rounds + 1):
            for one, rows in ((cold, USERS), (hot, 1)):
                # The first round warms up, and lasts until everybody and everything has been met.
                lasting = seconds if number else 2 * seconds
                token = identity.issue_access_token(one.slug, scopes=SCOPES)
                place = partial(holds, url, token, one, tag=f"{uuid4()}-{number}", seconds=lasting)
                update = partial(pgbench, program, bare_dsn, rows=rows, seconds=seconds)
                if number % 2:
                    bare, cpu = watched.bare(update, seconds)
                    placed = watched.holds(place, lasting)
                else:
                    placed = watched.holds(place, lasting)
                    bare, cpu = watched.bare(update, seconds)
                if number:
                    results[one.slug].append(replace(placed, bare=bare, bare_cpu=cpu))
    return results


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cd-bench-", dir="/tmp") as place:  # short, for a socket's path
        Path(place).chmod(0o755)  # as root the server runs as another account
        server = embedded.start(Path(place) / "postgres")
        try:
            ensure_owned_database(server, NAME)
            results = measured(server, rounds=arguments.rounds, seconds=arguments.seconds)
        finally:
            server.leave()
    section = report(results, command="make bench-holds")
    if arguments.write:
        put_section(arguments.write, section)
    print(section)  # noqa: T201 - a report for people


if __name__ == "__main__":
    main()
