"""How fast creditdesk is read, with every protection on, against PostGraphile, a plain peer, and raw SQL.

Run by `make bench-reads`, which writes its section of `docs/benchmarks.md` and the picture beside it. The candidates
take turns on one embedded PostgreSQL and one dataset; only their ratios within a round mean anything. Their answers
are compared in full before they are timed.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
from hold_speed import served as identity_served
from read_dataset import Company, fill, subject_of
from read_pages import Measured, picture, report
from read_processes import Served, cpu_seconds, descendants, parent_of, peak_megabytes, served
from read_workloads import (
    WORKLOADS,
    Asked,
    Scene,
    of_creditdesk,
    of_floor,
    of_plain,
    of_postgraphile,
    owner_of,
    some_members,
    wire,
)

from creditdesk.app.database import NAME
from creditdesk.app.demo.issuer import DemoIssuer, DemoPerson
from creditdesk.db import embedded
from creditdesk.db.bootstrap import OWNER, SERVER, ensure_owned_database
from creditdesk.db.connections import Database
from creditdesk.db.migrate import migrate
from pages import put_section

AUDIENCE = "bench"
MEMBERS = 200
LIFETIME = timedelta(hours=6)
HERE = Path(__file__).parent
_PEOPLE = """{ viewer { workspace { users(first: 50, orderBy: {field: CREDITS, direction: DESC}) {
  pageInfo { endCursor } } } } }"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server, and how it is asked."""

    name: str
    server: Served
    ask: Callable[[str, Scene], Asked]


def python(*arguments: str) -> list[str]:
    """Return the command of this Python."""
    return [sys.executable, *arguments]


def uvicorn_command(factory: str) -> list[str]:
    """Return the command of uvicorn, set up as creditdesk sets it up."""
    options = ["--factory", "--port", "0", "--no-access-log", "--loop", "uvloop", "--http", "httptools"]
    return python("-m", "uvicorn", factory, "--app-dir", str(HERE), *options)


@contextmanager
def node_modules() -> Iterator[Path]:
    """Install the Node peer's packages, as its lock names them."""
    with tempfile.TemporaryDirectory(prefix="cd-peer-") as place:
        folder = Path(place)
        for name in ("package.json", "package-lock.json", ".npmrc", "server.mjs"):
            shutil.copy(HERE / "postgraphile" / name, folder)
        subprocess.run(["npm", "ci", "--no-progress", "--silent"], cwd=folder, check=True)  # noqa: S607 - as the reader's path has it
        yield folder


def candidates(stack: ExitStack, server: embedded.EmbeddedServer, issuer: str, company: Company) -> list[Candidate]:
    """Start everybody."""
    superuser = server.dsn(user=embedded.SUPERUSER, database=NAME)
    sqlalchemy = superuser.replace("postgresql://", "postgresql+psycopg://", 1)
    own = {
        "DATABASE_URL": server.dsn(user=SERVER, database=NAME),
        "CREDITDESK_OIDC_ISSUER": issuer,
        "CREDITDESK_OIDC_AUDIENCE": AUDIENCE,
        "CREDITDESK_PORT": "0",
        **GENEROUS,
    }
    serve = python("-c", "import sys; from creditdesk.app.cli import main; sys.exit(main())", "serve")
    plain = {"SQLALCHEMY_URL": sqlalchemy, "WORKSPACE_ID": str(company.id)}
    found = [
        Candidate("creditdesk", stack.enter_context(served(serve, own, ready="/readyz")), of_creditdesk),
        Candidate(
            "raw SQL",
            stack.enter_context(served(uvicorn_command("read_floor:app"), {"DATABASE_URL": superuser})),
            of_floor,
        ),
        Candidate("plain Strawberry", stack.enter_context(served(uvicorn_command("read_plain:app"), plain)), of_plain),
    ]
    if shutil.which("npm") is None:
        sys.stderr.write("PostGraphile is left out: there is no npm here.\n")
        return found
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute((HERE / "postgraphile" / "views.sql").read_bytes())
    folder = stack.enter_context(node_modules())
    node = [str(folder / "node_modules" / ".bin" / "node"), "server.mjs"]
    for name, settings in (("PostGraphile", "on"), ("PostGraphile, no pgSettings", "off")):
        environment = {"DATABASE_URL": superuser, "CALLER_SETTINGS": settings, "GRAPHILE_ENV": "production"}
        peer = stack.enter_context(served(node, environment, folder=folder))
        found.append(Candidate(name, peer, partial(of_postgraphile, by_settings=settings == "on")))
    return found


GENEROUS: Mapping[str, str] = {
    "CREDITDESK_MAX_COST": "1000000",
    "CREDITDESK_COST_CAPACITY": "2147483647",
    "CREDITDESK_COST_PER_SECOND": "2147483647",
}
"""One caller asks all there is to ask, as fast as it is answered: costs are told and taken, from a share that lasts."""


def answers(candidate: Candidate, asked: Asked) -> Any:
    """Return what a candidate's answer to the first request means."""
    response = httpx.post(
        f"{candidate.server.url}{asked.path}",
        json=asked.bodies[0],
        headers=dict(asked.headers[0]),
        trust_env=False,
        timeout=120,
    )
    try:
        return asked.meaning(response.json())
    except (KeyError, TypeError, ValueError) as error:
        message = f"{candidate.name} answers {response.status_code}: {response.text[:500]}"
        raise RuntimeError(message) from error


def compared(workload: str, scene: Scene, everybody: Sequence[Candidate]) -> None:
    """Raise unless all candidates answer alike."""
    expected = answers(everybody[0], everybody[0].ask(workload, scene))
    for other in everybody[1:]:
        found = answers(other, other.ask(workload, scene))
        if found != expected:
            message = f"{workload}: {other.name} answers differently\n{str(expected)[:600]}\n{str(found)[:600]}"
            raise RuntimeError(message)


def timed(
    candidate: Candidate, workload: str, scene: Scene, *, connections: int, seconds: float, postmaster: int
) -> Measured:
    """Let clients send requests to one candidate for a while."""
    asked = candidate.ask(workload, scene)
    host, port = candidate.server.url.removeprefix("http://").split(":")
    sent = {
        "host": host,
        "port": int(port),
        "requests": wire(asked, host),
        "connections": connections,
        "seconds": seconds,
    }
    database = [postmaster, *descendants(postmaster)]
    before = cpu_seconds(candidate.server.pids), cpu_seconds(database)
    done = subprocess.run(
        python(str(HERE / "read_clients.py")), input=json.dumps(sent), capture_output=True, text=True, check=False
    )
    after = cpu_seconds(candidate.server.pids), cpu_seconds(database)
    found = json.loads(done.stdout) if done.returncode == 0 else {"failed": 1}
    if found["failed"]:
        message = f"{candidate.name} failed in {workload}: {done.stderr[-2000:]}"
        raise RuntimeError(message)
    return Measured(
        rate=found["rate"],
        p50=found["p50"],
        p99=found["p99"],
        server_ms=(after[0] - before[0]) / found["count"] * 1000,
        database_ms=(after[1] - before[1]) / found["count"] * 1000,
        megabytes=peak_megabytes(candidate.server.pids),
    )


def scene_of(identity: DemoIssuer, url: str, company: Company) -> Scene:
    """Return what the workloads are about, with tokens for everybody who asks."""
    members = some_members(company, MEMBERS)
    owner = identity.issue_access_token(subject_of(owner_of(company)), lifetime=LIFETIME)
    response = httpx.post(
        f"{url}/graphql", json={"query": _PEOPLE}, headers={"authorization": f"Bearer {owner}"}, trust_env=False
    )
    cursor = response.json()["data"]["viewer"]["workspace"]["users"]["pageInfo"]["endCursor"]
    return Scene(
        company=company,
        today=datetime.now(UTC).date(),
        members=members,
        owner_token=owner,
        member_tokens=[identity.issue_access_token(subject_of(member), lifetime=LIFETIME) for member in members],
        cursor=cursor,
    )


def measured(
    server: embedded.EmbeddedServer, *, events: int, rounds: int, seconds: float, connections: int
) -> dict[str, dict[str, list[Measured]]]:
    """Return the rounds of each candidate in each workload."""
    dsn = server.dsn(user=SERVER, database=NAME)
    results: dict[str, dict[str, list[Measured]]] = {}

    def issuer(url: str) -> DemoIssuer:
        largest = asyncio.run(filled(server, dsn, events=events, issuer=url))
        made.append(largest)
        members = some_members(largest, MEMBERS)
        subjects = {subject_of(owner_of(largest)): "owner", **{subject_of(member): "member" for member in members}}
        persons = [_person(subject, role, largest.slug) for subject, role in subjects.items()]
        return DemoIssuer(url, AUDIENCE, persons=persons, clients=[])

    made: list[Company] = []
    with ExitStack() as stack:
        identity = stack.enter_context(identity_served(issuer))
        everybody = candidates(stack, server, identity.url, made[0])
        scene = scene_of(identity, everybody[0].server.url, made[0])
        postmaster = postmaster_of(dsn)
        for workload in WORKLOADS:
            compared(workload, scene, everybody)
            measure = partial(
                timed, workload=workload, scene=scene, connections=connections, seconds=seconds, postmaster=postmaster
            )
            found = results[workload] = {one.name: [] for one in everybody}
            for number in range(rounds + 1):
                order = everybody if number % 2 else everybody[::-1]
                for one in order:
                    taken = measure(one)
                    if number:  # the first round warms up
                        found[one.name].append(taken)
            sys.stderr.write(f"{workload}: { {name: round(rows[-1].rate, 1) for name, rows in found.items()} }\n")
    return results


def postmaster_of(dsn: str) -> int:
    """Return the process that all of the database's are children of; 0 where there is no /proc."""
    with psycopg.connect(dsn) as connection:
        return parent_of(connection.info.backend_pid)


async def filled(server: embedded.EmbeddedServer, dsn: str, *, events: int, issuer: str) -> Company:
    """Make the dataset, and return the largest workspace."""
    database = Database(dsn, max_connections=2)
    await database.open()
    try:
        made = await fill(database, events=events, issuer=issuer, last=datetime.now(UTC).date())
    finally:
        await database.close()
    superuser = server.dsn(user=embedded.SUPERUSER, database=NAME)
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return made[0]


def _person(subject: str, role: str, slug: str) -> DemoPerson:
    return DemoPerson(subject, subject, f"{subject}@example.com", claims={"workspace": slug, "roles": [role]})


def main() -> None:
    """Measure, and write the section and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cd-bench-", dir="/tmp") as place:  # short, for a socket's path
        Path(place).chmod(0o755)  # as root the server runs as another account
        server = embedded.start(Path(place) / "postgres")
        try:
            ensure_owned_database(server, NAME)
            migrate(server.dsn(user=OWNER, database=NAME), today=datetime.now(UTC).date())
            results = measured(
                server,
                events=arguments.events,
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                connections=arguments.connections,
            )
        finally:
            server.leave()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    section = report(results, events=arguments.events, connections=arguments.connections, machine=machine)
    if arguments.write:
        put_section(arguments.write, section)
        arguments.write.with_name("reading.svg").write_text(picture(results), encoding="utf-8")
    print(section)  # noqa: T201 - a report for people


if __name__ == "__main__":
    main()
