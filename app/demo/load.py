"""Loads the demo's dataset through the product's own operations; remembers nothing, so it can be killed at any time."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain, islice

from tqdm import tqdm

from creditdesk.app.demo.dataset import (
    SOURCE,
    Scale,
    Stream,
    count_of_day,
    days_between,
    events_of_day,
    local_day,
    start_of_day,
    stream_of,
)
from creditdesk.app.demo.people import DemoWorkspace, acme, himal
from creditdesk.app.recording import record_batch
from creditdesk.credits import directory
from creditdesk.credits.event_rules import UsageEvent
from creditdesk.credits.usage_events import MAX_BATCH
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope

_SMALLER = 27
"""How many times fewer events the small workspace has."""


@dataclass(frozen=True, slots=True)
class _Missing:
    """The days that are not, or not wholly, recorded yet."""

    stream: Stream
    days: Sequence[date]

    def count(self) -> int:
        return sum(count_of_day(self.stream, day) for day in self.days)


async def load(database: Database, *, scale: Scale, now: datetime) -> int:
    """Put the demo's workspaces in place, record every use up to `now` that is missing, and return how many were."""
    missing: list[_Missing] = []
    for workspace, events_per_day in (
        (acme(scale.users), scale.events_per_day),
        (himal(scale.users), max(scale.events_per_day // _SMALLER, 1)),
    ):
        first_day = await _put_people(database, workspace, days=scale.days, now=now)
        stream = stream_of(workspace, first_day=first_day, events_per_day=events_per_day)
        missing.append(await _missing_of(database, stream, now=now))
    is_quiet = not sys.stderr.isatty()
    total = sum(each.count() for each in missing)
    with tqdm(total=total, desc="Recording usage", unit=" events", disable=is_quiet, smoothing=0.1) as bar:
        loading = [asyncio.create_task(_record(database, each, now=now, advance=bar.update)) for each in missing]
        return sum(await asyncio.gather(*loading))


async def _put_people(database: Database, workspace: DemoWorkspace, *, days: int, now: datetime) -> date:
    """Return the first day of the demo, which is when its workspace was made: a later start keeps it."""
    first_day = local_day(now, workspace.zone) - timedelta(days=days - 1)
    made_at = start_of_day(first_day, workspace.zone)
    id_ = workspace.id
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, id_)) as conn:
        await directory.put_workspace(
            conn, workspace_id=id_, slug=workspace.slug, name=workspace.name, zone=workspace.zone, now=made_at
        )
        await directory.put_groups(conn, workspace_id=id_, groups=workspace.groups, now=made_at)
        await directory.put_users(conn, workspace_id=id_, users=[user.new for user in workspace.users], now=made_at)
        ((*_, created_at),) = await conn.rows("workspace_by_slug", slug=workspace.slug)
    return local_day(created_at, workspace.zone)


async def _missing_of(database: Database, stream: Stream, *, now: datetime) -> _Missing:
    workspace = stream.workspace
    conn = database.reader(RowScope(DatabaseRole.ADMINISTRATOR, workspace.id))
    ((last,),) = await conn.rows("demo_last_event", workspace_id=workspace.id, source=SOURCE)
    # Batches are recorded one by one in the order of their times, so all before the last event is there.
    first = stream.first_day if last is None else local_day(last, workspace.zone)
    return _Missing(stream, list(days_between(first, local_day(now, workspace.zone))))


async def _record(database: Database, missing: _Missing, *, now: datetime, advance: Callable[[int], object]) -> int:
    workspace_id = missing.stream.workspace.id
    accepted = 0
    async with aclosing(_made_ahead(_batches(missing, now=now))) as batches:
        async for batch in batches:
            recorded = await record_batch(database, workspace_id=workspace_id, events=batch, now=now)
            accepted += recorded.accepted
            advance(len(batch))
    return accepted


def _batches(missing: _Missing, *, now: datetime) -> Iterator[list[UsageEvent]]:
    events = chain.from_iterable(events_of_day(missing.stream, day, now=now) for day in missing.days)
    while batch := list(islice(events, MAX_BATCH)):
        yield batch


async def _made_ahead(batches: Iterator[list[UsageEvent]]) -> AsyncGenerator[list[UsageEvent], None]:
    """Yield each batch while the next one is being made in a thread."""
    coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
    while batch := await coming:
        coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
        yield batch
