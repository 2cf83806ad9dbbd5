"""The feed: one for each process, which tells whoever waits of what was committed, here or in another process.

Whoever commits a change tells the feed of its own process at once, and the others by a message, at most one each
moment. The change itself is read from the outbox, so a message that is lost only makes it later.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID, uuid4

from creditdesk.credits.changes import Change, Topic, news_since, snapshot_now, tell_of_changes
from creditdesk.db.background import end
from creditdesk.db.connections import Connection, Database
from creditdesk.db.errors import DatabaseError
from creditdesk.db.listening import heard
from creditdesk.db.scopes import DatabaseRole, RowScope

MOMENT_SECONDS = 0.05
"""Changes of a moment are read, and told to others, together."""

LOOK_SECONDS = 5.0
"""How often the outbox is looked at without having been told: a message is lost where its sender dies before it."""

STALE_SECONDS = 300.0
"""After this long without having read the outbox everything is looked at anew: changes may have been trimmed."""

_MOST_NAMED = 200
"""How many workspaces one message names: it takes 8000 bytes."""

_log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Whoever waits for changes. It is called in the middle of others' turns, and takes a note: nothing that waits."""

    def changed(self, change: Change) -> None:
        """Take note of a change that concerns whoever is watched."""

    def lost_track(self) -> None:
        """Take note that anything may have changed."""


@dataclass(slots=True)
class _Watched:
    """A workspace that somebody watches, and how far its outbox has been read."""

    conn: Connection
    snapshot: str | None = None
    read_at: float = 0.0
    watchers: dict[Topic, dict[UUID | None, set[Watcher]]] = field(
        default_factory=lambda: {topic: {} for topic in Topic}
    )

    @property
    def is_idle(self) -> bool:
        return not any(self.watchers.values())

    def concerned(self, change: Change) -> set[Watcher]:
        found: set[Watcher] = set()
        for topic, ids in change.concerned.items():
            watchers = self.watchers[topic]
            # Of many ids and few who watch, or the other way round, only the fewer are gone through.
            for id_ in watchers.keys() & ids:
                found |= watchers[id_]
        if change.all_budgets:
            found = found.union(*self.watchers[Topic.BUDGET].values())
        return found

    def everybody(self) -> set[Watcher]:
        return set().union(*(one for watchers in self.watchers.values() for one in watchers.values()))


class Feed:
    """Reads the outbox of each workspace that is watched, once for all who watch it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._name = uuid4().hex
        self._watched: dict[UUID, _Watched] = {}
        self._changed: set[UUID] = set()
        self._untold: set[UUID] = set()
        self._woken = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hear, tell and read, while the block lasts."""
        self._database.change_observers.append(self._committed_here)
        tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._go_on())]
        try:
            yield
        finally:
            self._database.change_observers.remove(self._committed_here)
            await end(*tasks)

    @asynccontextmanager
    async def watching(
        self, workspace_id: UUID, subjects: Collection[tuple[Topic, UUID | None]], watcher: Watcher
    ) -> AsyncIterator[None]:
        """Tell the watcher of what is committed from now on, until the block ends."""
        watched = self._watched.get(workspace_id)
        if watched is None:
            conn = self._database.reader(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id))
            watched = self._watched[workspace_id] = _Watched(conn)
        for topic, id_ in subjects:
            watched.watchers[topic].setdefault(id_, set()).add(watcher)
        try:
            if watched.snapshot is None:
                snapshot = await snapshot_now(watched.conn, workspace_id)
                if watched.snapshot is None:
                    watched.snapshot, watched.read_at = snapshot, time.monotonic()
            yield
        finally:
            for topic, id_ in subjects:
                watchers = watched.watchers[topic]
                watchers[id_].discard(watcher)
                if not watchers[id_]:
                    del watchers[id_]
            if watched.is_idle and self._watched.get(workspace_id) is watched:
                del self._watched[workspace_id]

    def _committed_here(self, workspace_id: UUID) -> None:
        self._changed.add(workspace_id)
        self._untold.add(workspace_id)
        self._woken.set()

    async def _hear(self) -> None:
        async for message in heard(self._database):
            sender, _, named = (message or "").partition(":")
            if sender != self._name:
                self._changed.update(_workspaces(named) or self._watched)
                self._woken.set()

    async def _go_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()
                await asyncio.sleep(MOMENT_SECONDS)
            except TimeoutError:
                self._changed.update(self._watched)
            self._woken.clear()
            untold, self._untold = self._untold, set()
            changed, self._changed = self._changed, set()
            try:
                if untold:
                    await tell_of_changes(self._database, self._message(untold))
                for workspace_id in changed & self._watched.keys():
                    await self._read(workspace_id)
            except DatabaseError as error:
                # Nothing is lost: what was not read now is read at the next look.
                _log.info("changes cannot be read or told, for now: %s", error)
            except Exception:  # noqa: BLE001 - one of those who wait failed, and the others still do
                _log.exception("a change could not be told")

    def _message(self, workspaces: Collection[UUID]) -> str:
        """Name the workspaces; none of them stands for all."""
        named: Iterable[UUID] = workspaces if len(workspaces) <= _MOST_NAMED else ()
        return f"{self._name}:{','.join(map(str, named))}"

    async def _read(self, workspace_id: UUID) -> None:
        watched = self._watched.get(workspace_id)
        if watched is None or watched.snapshot is None:
            return
        news = await news_since(watched.conn, workspace_id, watched.snapshot)
        now = time.monotonic()
        if news.changes is None or now - watched.read_at > STALE_SECONDS:
            for watcher in watched.everybody():
                watcher.lost_track()
        else:
            for change in news.changes:
                for watcher in watched.concerned(change):
                    watcher.changed(change)
        watched.snapshot, watched.read_at = news.snapshot, now


def _workspaces(named: str) -> set[UUID]:
    """Return the workspaces that a message names; none where it is not one of ours."""
    try:
        return {UUID(one) for one in named.split(",")} if named else set()
    except ValueError:
        return set()
