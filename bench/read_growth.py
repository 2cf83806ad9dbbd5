"""What reading and writing cost as the ledger grows: the same workloads at several sizes, each of them kept.

Run by `make bench-growth`. A step makes a dataset and measures it; datasets stay in their directory, so a step that was
cut short goes on where it stopped. `--write` writes the section of `docs/benchmarks.md` and its picture from all the
steps that are done.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from growth_pages import Cost, Step, Table, growth_picture, growth_report
from loads import Measured
from read_candidates import Candidate, Setting, candidates
from read_dataset import HOT, companies
from read_speed import LIFETIME, Bench, Load, benched, embedded_in, scene_of, timed
from read_workloads import WORKLOADS
from write_workloads import SCOPE, WRITES, written

from creditdesk.app.database import NAME
from creditdesk.credits.reconcile import reconcile
from creditdesk.db import embedded
from creditdesk.db.bootstrap import SERVER
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope
from pages import machine, put_section

DIRECTORY = Path("/tmp/creditdesk-growth")  # noqa: S108 - short, for a socket's path, and kept between steps
LOAD = Load(connections=4, processes=1, rounds=1, seconds=4)
STATISTICS_SECONDS = 1.5
"""After this long PostgreSQL has counted what was read."""
_COUNTERS = "SELECT blks_hit + blks_read, tup_returned FROM pg_stat_database WHERE datname = current_database()"
_TABLES = """
SELECT coalesce(p.relname, c.relname), sum(pg_relation_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint,
  sum(greatest(c.reltuples, 0))::bigint
FROM pg_class AS c
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
LEFT JOIN pg_class AS p ON p.oid = i.inhparent
WHERE c.relkind = 'r'
  AND (c.relname LIKE 'rollup%' OR c.relname LIKE 'usage_event%')
GROUP BY 1
ORDER BY 1
"""


def _counters(dsn: str) -> tuple[int, int]:
    time.sleep(STATISTICS_SECONDS)
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(_COUNTERS).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def cost(dsn: str, take: Callable[[], Measured]) -> Cost:
    """Measure twice, and return what a request of the second time took: the first one warms up."""
    take()
    before = _counters(dsn)
    taken = take()
    after = _counters(dsn)
    pages, rows = ((b - a) / taken.count for a, b in zip(before, after, strict=True))
    return Cost(taken.server_ms, taken.database_ms, pages, rows)


def tables(dsn: str) -> dict[str, Table]:
    """Return the sizes of events and rollups."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute(_TABLES).fetchall()
    return {name: Table(rows, heap, indexes) for name, heap, indexes, rows in found}


def differences(dsn: str) -> int:
    """Return how many differences `creditdesk reconcile` finds in all workspaces."""

    async def found() -> int:
        database = Database(dsn, max_connections=1, statement_timeout_seconds=3600)
        await database.open()
        try:
            total = 0
            for company in companies():
                reader = database.reader(RowScope(DatabaseRole.ADMINISTRATOR, company.id))
                total += len((await reconcile(reader, workspace_id=company.id, now=datetime.now(UTC))).differences)
            return total
        finally:
            await database.close()

    return asyncio.run(found())


def measured(bench: Bench, *, events: int) -> Step:
    """Read with creditdesk and with the floor, then write with creditdesk."""
    server, largest = bench.server, companies()[0]
    hot = next(one for one in companies() if one.slug == HOT)
    superuser = server.dsn(user=embedded.SUPERUSER, database=NAME)
    found = differences(server.dsn(user=SERVER, database=NAME))
    sizes = tables(superuser)
    with ExitStack() as stack:
        setting = Setting(server, bench.identity.url, largest)
        ours, floor = candidates(stack, setting, None, peers=False)
        scene = scene_of(bench.identity, ours.server.url, largest)

        def reading(candidate: Candidate, workload: str) -> Cost:
            return cost(superuser, lambda: timed(candidate, workload, scene, LOAD, postmaster=bench.postmaster))

        def writing(workload: str) -> Cost:
            company = hot if workload == "W2 hot" else largest
            token = bench.identity.issue_access_token(company.slug, scopes=(SCOPE,), lifetime=LIFETIME)
            postmaster, seconds = bench.postmaster, LOAD.seconds
            return cost(
                superuser,
                lambda: written(workload, ours.server, company, token, seconds=seconds, postmaster=postmaster),
            )

        costs = {workload: reading(ours, workload) for workload in WORKLOADS}
        floors = {workload: reading(floor, workload) for workload in WORKLOADS}
        costs |= {workload: writing(workload) for workload in WRITES}
    return Step(events, costs, floors, sizes, found)


def stored(step: Step) -> str:
    """Return a step as text."""
    return json.dumps(asdict(step), indent=1)


def restored(text: str) -> Step:
    """Return a step from text."""
    found: dict[str, Any] = json.loads(text)
    for part, kind in (("costs", Cost), ("floor", Cost), ("tables", Table)):
        found[part] = {name: kind(**values) for name, values in found[part].items()}
    return Step(**found)


def main() -> None:
    """Make and measure a step, or write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, action="append", default=[], help="a size to make and to measure")
    parser.add_argument("--keep", type=Path, default=DIRECTORY, help="the directory of the datasets")
    parser.add_argument("--minutes", type=float, default=8, help="how long making a dataset may take before it is left")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    keep: Path = arguments.keep
    keep.mkdir(exist_ok=True)
    keep.chmod(0o755)  # as root the server runs as another account
    for events in arguments.events:
        until = time.time() + arguments.minutes * 60
        with embedded_in(keep / str(events)) as server, benched(server, events=events, until=until) as bench:
            step = measured(bench, events=events)
        (keep / f"{events}.json").write_text(stored(step), encoding="utf-8")
    steps = sorted((restored(path.read_text()) for path in keep.glob("*.json")), key=lambda step: step.events)
    section = growth_report(steps, machine=machine())
    if arguments.write:
        put_section(arguments.write, section)
        arguments.write.with_name("growth.svg").write_text(growth_picture(steps), encoding="utf-8")
    print(section)  # noqa: T201 - a report for people


if __name__ == "__main__":
    main()
