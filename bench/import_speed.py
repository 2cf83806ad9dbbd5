"""How fast usage is recorded with every rollup kept, against a bare insert of the same rows into the same table.

Run by `make bench-import`, which writes `docs/benchmarks.md`. The two take turns on one embedded PostgreSQL with its
durable settings; only their ratio means anything, since machines differ and drift.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from uuid import NAMESPACE_DNS, UUID, uuid4, uuid5

import psycopg
from psycopg.types.array import ListBinaryDumper

from creditdesk.app.database import NAME
from creditdesk.credits.directory import NewGroup, NewUser, UserKind, put_groups, put_users, put_workspace
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.usage_events import MAX_BATCH, record_usage
from creditdesk.db import embedded
from creditdesk.db.bootstrap import OWNER, SERVER, ensure_owned_database
from creditdesk.db.connections import Database
from creditdesk.db.migrate import migrate
from creditdesk.db.scopes import DatabaseRole, RowScope
from pages import machine, put_section

USERS, GROUPS, EVENTS_A_DAY = 5000, 10, 27_000
PRODUCTS = ("chat", "code", "agents", "api")
BARE = """
INSERT INTO usage_event (
  workspace_id, user_id, at, group_id, recorded_at, credits, requests, input_tokens, cached_input_tokens,
  output_tokens, source, external_id, product, model, corrects, tags)
SELECT $1, i.user_id, i.at, i.group_id, $2, i.credits, i.requests, i.input_tokens,
  i.cached_input_tokens, i.output_tokens, i.source, i.external_id, i.product, i.model, i.corrects, i.tags::jsonb
FROM unnest($3::uuid[], $4::timestamptz[], $5::uuid[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
  $10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[])
  AS i(user_id, at, group_id, credits, requests, input_tokens, cached_input_tokens, output_tokens, source,
    external_id, product, model, corrects, tags)
ON CONFLICT DO NOTHING
"""


BARE_IN_SHORT = "INSERT INTO usage_event SELECT ... FROM unnest(...) ON CONFLICT DO NOTHING"


@dataclass(frozen=True, slots=True)
class Company:
    """A workspace of the benchmark's largest size."""

    id: UUID
    users: tuple[UUID, ...]
    home: dict[UUID, UUID]


def made_up(company: Company, *, seed: int, count: int, start: datetime) -> list[UsageEvent]:
    """Return events in order of time: a tenth of the users make half of them."""
    chance = random.Random(seed)  # noqa: S311 - made-up data, the same in every run
    heavy = company.users[: USERS // 10]
    step = timedelta(days=1) / EVENTS_A_DAY
    return [
        UsageEvent(
            source="gateway",
            id=f"evt-{seed}-{index:09d}",
            at=start + index * step,
            user=UserBy(id=chance.choice(heavy if index % 2 else company.users)),
            product=(product := chance.choice(PRODUCTS)),
            model=f"{product}-model-{chance.randrange(3)}",
            credits=chance.randrange(1, 5_000_000),
            input_tokens=chance.randrange(4000),
            cached_input_tokens=chance.randrange(2000),
            output_tokens=chance.randrange(1500),
        )
        for index in range(count)
    ]


def batches(events: Sequence[UsageEvent]) -> Iterator[Sequence[UsageEvent]]:
    """Cut events into batches of the size that the API takes."""
    for start in range(0, len(events), MAX_BATCH):
        yield events[start : start + MAX_BATCH]


async def founded(database: Database) -> Company:
    """Make the workspace."""
    now, id_ = datetime.now(UTC), uuid4()
    groups = [uuid5(NAMESPACE_DNS, f"{id_} group {number}") for number in range(GROUPS)]
    users = tuple(uuid5(NAMESPACE_DNS, f"{id_} user {number}") for number in range(USERS))
    home = {user: groups[number % GROUPS] for number, user in enumerate(users)}
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, id_)) as conn:
        await put_workspace(conn, workspace_id=id_, slug=f"bench-{id_}", name="Bench", zone="Europe/Berlin", now=now)
        named = [NewGroup(group, f"g{number}", f"Group {number}") for number, group in enumerate(groups)]
        await put_groups(conn, workspace_id=id_, groups=named, now=now)
        people = [NewUser(one, f"User {one}", None, None, UserKind.PERSON, home[one], (home[one],)) for one in users]
        await put_users(conn, workspace_id=id_, users=people, now=now)
    return Company(id_, users, home)


async def recorded(database: Database, company: Company, events: Sequence[UsageEvent]) -> None:
    """Record events as the product does: checked, each once, with every rollup, a transaction for each batch."""
    now = datetime.now(UTC)
    for batch in batches(events):
        async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, company.id)) as conn:
            outcome = await record_usage(conn, workspace_id=company.id, events=batch, now=now)
        if outcome.accepted != len(batch):
            raise AssertionError(outcome)


async def inserted(
    connection: psycopg.AsyncConnection, workspace_id: UUID, company: Company, events: Sequence[UsageEvent]
) -> None:
    """Insert the same rows and nothing else, a transaction for each batch."""
    now = datetime.now(UTC)
    for batch in batches(events):
        columns: list[list[object]] = [
            [one.user.id for one in batch],
            [one.at for one in batch],
            [company.home[one.user.id] for one in batch if one.user.id],
            [one.credits for one in batch],
            [1] * len(batch),
            [one.input_tokens for one in batch],
            [one.cached_input_tokens for one in batch],
            [one.output_tokens for one in batch],
            [one.source for one in batch],
            [one.id for one in batch],
            [one.product for one in batch],
            [one.model for one in batch],
            [one.corrects for one in batch],
            [None] * len(batch),
        ]
        await psycopg.AsyncRawCursor(connection).execute(BARE, [workspace_id, now, *columns])


async def seconds(work: Callable[[], Coroutine[None, None, None]]) -> float:
    """Return how long it took."""
    start = perf_counter()
    await work()
    return perf_counter() - start


async def measured(server_dsn: str, owner_dsn: str, *, rounds: int, events: int) -> list[tuple[float, float]]:
    """Return events a second of each round: recorded, and bare."""
    database = Database(server_dsn, max_connections=2)
    await database.open()
    connection = await psycopg.AsyncConnection.connect(owner_dsn, autocommit=True)
    connection.adapters.register_dumper(list, ListBinaryDumper)
    try:
        company, results = await founded(database), []
        # From the start of a month that has a partition, so that neither side pays for making one.
        start = (datetime.now(UTC) - timedelta(days=70)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        bare_workspace = uuid4()
        for number in range(rounds + 1):
            since = start + number * events * timedelta(days=1) / EVENTS_A_DAY
            rows = made_up(company, seed=number, count=events, start=since)
            sides: list[Callable[[], Coroutine[None, None, None]]] = [
                lambda rows=rows: recorded(database, company, rows),  # type: ignore[misc]
                lambda rows=rows: inserted(connection, bare_workspace, company, rows),  # type: ignore[misc]
            ]
            order = (0, 1) if number % 2 else (1, 0)
            took = {side: await seconds(sides[side]) for side in order}
            if number:  # the first round warms up
                results.append((events / took[0], events / took[1]))
        return results
    finally:
        await connection.close()
        await database.close()


def report(results: Sequence[tuple[float, float]], *, command: str, events: int) -> str:
    """Return the page."""
    ratios = [recorded / bare for recorded, bare in results]
    rows = "\n".join(
        f"| {number} | {recorded:,.0f} | {bare:,.0f} | {recorded / bare:.2f} |"
        for number, (recorded, bare) in enumerate(results, start=1)
    )
    return f"""## Recording usage

`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()},
embedded PostgreSQL with its durable settings.

A workspace of {USERS:,} users in {GROUPS} groups with {EVENTS_A_DAY:,} events a day; {events:,} events a round in
batches of {MAX_BATCH}, a transaction each, on one connection. *Recorded* is `record_usage` as the API and the import
call it: events checked, users resolved, each event exactly once, six rollups and balances kept, row-level security on.
*Bare* is `{BARE_IN_SHORT}` of the same rows by the table's owner.
The two take turns, after a round that is not counted. Only the ratio means anything.

| round | recorded, events/s | bare, events/s | ratio |
| --- | --- | --- | --- |
{rows}

Ratio: median **{statistics.median(ratios):.2f}**, from {min(ratios):.2f} to {max(ratios):.2f}.
"""


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cd-bench-", dir="/tmp") as place:  # short, for a socket's path
        Path(place).chmod(0o755)  # as root the server runs as another account
        server = embedded.start(Path(place) / "postgres")
        try:
            ensure_owned_database(server, NAME)
            owner_dsn = server.dsn(user=OWNER, database=NAME)
            migrate(owner_dsn, today=datetime.now(UTC).date())
            results = asyncio.run(
                measured(
                    server.dsn(user=SERVER, database=NAME), owner_dsn, rounds=arguments.rounds, events=arguments.events
                )
            )
        finally:
            server.leave()
    page = report(results, command="make bench-import", events=arguments.events)
    if arguments.write:
        put_section(arguments.write, page)
    print(page)  # noqa: T201 - a report for people


if __name__ == "__main__":
    main()
