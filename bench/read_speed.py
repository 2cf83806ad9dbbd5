"""How fast creditdesk is read, with every protection on, against PostGraphile, a plain peer, and raw SQL.

Run by `make bench-reads`, which writes its section of `docs/benchmarks.md` and the picture beside it. The candidates
take turns on one embedded PostgreSQL and one dataset; only their ratios within a round mean anything. Their answers
are compared in full before they are timed.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import psycopg
from hold_speed import postmaster_of
from hold_speed import served as identity_served
from loads import Measured, measured_load
from read_candidates import AUDIENCE, HERE, Candidate, Setting, candidates, node_modules
from read_dataset import HOT, Company, companies, fill, is_filled, recorded_events, subject_of
from read_pages import FLOOR, MAIN, OURS, OURS_ANEW, Results, picture, report
from read_workloads import WORKLOADS, Asked, Scene, of_days, owner_of, some_members, wire
from write_workloads import SCOPE, WRITES, client_of, written

from creditdesk.app.database import NAME
from creditdesk.app.demo.issuer import DemoIssuer, DemoPerson
from creditdesk.db import embedded
from creditdesk.db.bootstrap import OWNER, SERVER, ensure_owned_database
from creditdesk.db.migrate import migrate
from pages import machine, put_section

MEMBERS = 200
WARMING = 3
"""The round that is not counted lasts as long as so many: Node compiles what it runs often only after seconds."""
LIFETIME = timedelta(hours=6)
SLOW_MS = 8000
"""A peer that takes longer for an answer than this is timed once, and neither alone nor in two processes."""
OF_PAGES = ("R1", "R1s")
"""Where keeping what people used makes a difference."""
_PEOPLE = """{ viewer { workspace { users(first: 50, orderBy: {field: CREDITS, direction: DESC}) {
  pageInfo { endCursor } } } } }"""


@dataclass(frozen=True, slots=True)
class Load:
    """How candidates are asked, and for how long; whoever has been asked already needs no round to warm up."""

    connections: int
    processes: int
    rounds: int
    seconds: float
    warm: bool = False


@dataclass(slots=True)
class Bench:
    """The dataset, and whoever asks for it."""

    server: embedded.EmbeddedServer
    identity: DemoIssuer
    results: Results = field(default_factory=dict)
    writes: dict[str, dict[int, Measured]] = field(default_factory=dict)

    @property
    def postmaster(self) -> int:
        """Return the process that all of the database's are children of."""
        return postmaster_of(self.server)


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
        message = f"{candidate.name} answers {response.status_code}: {response.text[:500]} ... {response.text[-500:]}"
        raise RuntimeError(message) from error


def compared(workload: str, scene: Scene, everybody: Sequence[Candidate]) -> None:
    """Raise unless all candidates answer alike."""
    expected = answers(everybody[0], everybody[0].ask(workload, scene))
    for other in everybody[1:]:
        found = answers(other, other.ask(workload, scene))
        if found != expected:
            message = f"{workload}: {other.name} answers differently\n{str(expected)[:600]}\n{str(found)[:600]}"
            raise RuntimeError(message)


def timed(candidate: Candidate, workload: str, scene: Scene, load: Load, *, postmaster: int) -> Measured:
    """Let clients send requests to one candidate for a while."""
    asked = candidate.ask(workload, scene)
    host, port = candidate.server.url.removeprefix("http://").split(":")
    sent = {
        "host": host,
        "port": int(port),
        "requests": wire(asked, host),
        "connections": load.connections,
        "seconds": load.seconds,
    }
    return measured_load("read_clients.py", sent, candidate.server, postmaster=postmaster)


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


@contextmanager
def benched(server: embedded.EmbeddedServer, *, events: int, until: float = math.inf) -> Iterator[Bench]:
    """Serve an identity provider for everybody who asks; the dataset is made first where it is not there yet."""
    largest, hot = companies()[0], next(one for one in companies() if one.slug == HOT)

    def issuer(url: str) -> DemoIssuer:
        ready(server, events=events, issuer=url, until=until)
        members = some_members(largest, MEMBERS)
        subjects = {subject_of(owner_of(largest)): "owner", **{subject_of(member): "member" for member in members}}
        persons = [_person(subject, role, largest.slug) for subject, role in subjects.items()]
        return DemoIssuer(url, AUDIENCE, persons=persons, clients=[client_of(largest), client_of(hot)])

    with identity_served(issuer) as identity:
        yield Bench(server, identity)


def ready(server: embedded.EmbeddedServer, *, events: int, issuer: str, until: float) -> None:
    """Make the dataset, and let it know its identity provider; exit where there was no time for all of it."""
    ensure_owned_database(server, NAME)
    migrate(server.dsn(user=OWNER, database=NAME), today=datetime.now(UTC).date())
    superuser = server.dsn(user=embedded.SUPERUSER, database=NAME)
    recorded = recorded_events(superuser)
    if not is_filled(recorded, events=events):
        started, last, dsn = monotonic(), datetime.now(UTC).date(), server.dsn(user=SERVER, database=NAME)
        fill(dsn, events=events, issuer=issuer, last=last, recorded=recorded, until=until)
        found = sum(recorded_events(superuser).values())
        sys.stderr.write(f"{found:,} events after {monotonic() - started:.0f} s\n")
        if not is_filled(recorded_events(superuser), events=events):
            sys.exit("There was no time for all of the events: the same again goes on from here.")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("UPDATE user_identity SET issuer = %s", [issuer])
        # As creditdesk sets it for itself: for all of them alike.
        connection.execute(f"ALTER DATABASE {NAME} SET random_page_cost = 1.1")
        connection.execute("DROP SCHEMA IF EXISTS peer CASCADE")
        connection.execute((HERE / "postgraphile" / "views.sql").read_bytes())
        connection.execute("VACUUM ANALYZE")


def _person(subject: str, role: str, slug: str) -> DemoPerson:
    return DemoPerson(subject, subject, f"{subject}@example.com", claims={"workspace": slug, "roles": [role]})


def reads(bench: Bench, everybody: Sequence[Candidate], scene: Scene, loads: Sequence[Load]) -> None:
    """Time each candidate in each workload, under each load in turn."""
    for workload in WORKLOADS:
        asked = [one for one in everybody if workload in OF_PAGES or one.name != OURS_ANEW]
        if workload == "R3":
            floor = next(one for one in everybody if one.name == FLOOR)
            asked.insert(asked.index(floor) + 1, Candidate(f"{FLOOR}, user days only", floor.server, of_days))
        compared(workload, scene, asked)
        main = bench.results.get(MAIN, {}).get(workload, {})
        slow = {name for name, rows in main.items() if name != OURS and rows[-1].p50 > SLOW_MS}
        for load in loads:
            found = bench.results.setdefault((load.connections, load.processes), {})
            rows = found[workload] = {one.name: [] for one in asked}
            for number in range(1 if load.warm else 0, load.rounds + 1):
                for one in asked if number % 2 else asked[::-1]:
                    if one.name in slow and (number > 1 or (load.connections, load.processes) != MAIN):
                        continue
                    lasting = load if number else replace(load, seconds=WARMING * load.seconds)
                    taken = timed(one, workload, scene, lasting, postmaster=bench.postmaster)
                    if taken.p50 > SLOW_MS and one.name != OURS:
                        slow.add(one.name)
                    if number:  # the first round warms up
                        rows[one.name].append(taken)
            shown = {name: round(taken[-1].rate, 1) for name, taken in rows.items() if taken}
            sys.stderr.write(f"{workload} {load.connections}/{load.processes}: {shown}\n")


def measured(bench: Bench, *, rounds: int, seconds: float) -> None:
    """Read with one process and with two, from many connections and from one; then write."""
    largest, *others = companies()
    of_workload = {"W1": largest, "W2 cold": largest, "W2 hot": next(one for one in others if one.slug == HOT)}
    plans = {
        1: [Load(16, 1, rounds, seconds), Load(1, 1, 1, seconds / 2, warm=True)],
        2: [Load(16, 2, 1, seconds)],
    }
    with node_modules() as folder:
        for processes, loads in plans.items():
            with ExitStack() as stack:
                setting = Setting(bench.server, bench.identity.url, largest, processes)
                everybody = candidates(stack, setting, folder)
                reads(bench, everybody, scene_of(bench.identity, everybody[0].server.url, largest), loads)
                for workload in WRITES:
                    company = of_workload[workload]
                    token = bench.identity.issue_access_token(company.slug, scopes=(SCOPE,), lifetime=LIFETIME)
                    for _ in range(2):  # the first round warms up
                        taken = written(
                            workload, everybody[0].server, company, token, seconds=seconds, postmaster=bench.postmaster
                        )
                    bench.writes.setdefault(workload, {})[processes] = taken


@contextmanager
def embedded_in(place: Path | None) -> Iterator[embedded.EmbeddedServer]:
    """Run PostgreSQL in a directory that is kept, or in one that is not."""
    with ExitStack() as stack:
        if place is None:
            kept = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="cd-bench-", dir="/tmp")
            )  # short, for a socket's path
            place = Path(kept)
        place.mkdir(exist_ok=True)
        place.chmod(0o755)  # as root the server runs as another account
        server = embedded.start(place / "postgres")
        try:
            yield server
        finally:
            server.leave()


def main() -> None:
    """Measure, and write the section and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--keep", type=Path, help="keep the dataset in this directory, and take it from there")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    with embedded_in(arguments.keep) as server, benched(server, events=arguments.events) as bench:
        measured(bench, rounds=arguments.rounds, seconds=arguments.seconds)
    section = report(bench.results, bench.writes, events=arguments.events, machine=machine())
    if arguments.write:
        put_section(arguments.write, section)
        arguments.write.with_name("reading.svg").write_text(picture(bench.results), encoding="utf-8")
    print(section)  # noqa: T201 - a report for people


if __name__ == "__main__":
    main()
