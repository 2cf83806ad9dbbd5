"""Workspaces to record usage into, one operation after the other, without an API before them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg

from creditdesk.credits.directory import NewGroup, NewUser, UserKind, put_groups, put_users, put_workspace
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.reconcile import Reconciliation, reconcile
from creditdesk.credits.usage_events import Recorded, record_usage
from creditdesk.db.connections import Connection, Database
from creditdesk.db.scopes import DatabaseRole, RowScope
from support.databases import FreshDatabase

NOW = datetime(2026, 6, 20, 10, tzinfo=UTC)


@dataclass
class Desk:
    """A database, and an event loop that the product's operations run in."""

    fresh: FreshDatabase
    runner: asyncio.Runner
    database: Database

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run plain SQL past every policy."""
        with psycopg.connect(self.fresh.superuser_dsn, autocommit=True) as connection:
            cursor = connection.execute(cast("Any", query), parameters)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def desk_of(fresh: FreshDatabase) -> Iterator[Desk]:
    with asyncio.Runner() as runner:
        database = Database(fresh.server_dsn, max_connections=12)
        runner.run(database.open())
        try:
            yield Desk(fresh, runner, database)
        finally:
            runner.run(database.close())


@dataclass
class Ledger:
    """One workspace: its users and groups by name, and what is recorded for them."""

    desk: Desk
    zone: str = "UTC"
    workspace_id: UUID = field(default_factory=uuid4)
    users: dict[str, UUID] = field(default_factory=dict)
    groups: dict[str, UUID] = field(default_factory=dict)

    @property
    def scope(self) -> RowScope:
        return RowScope(DatabaseRole.ADMINISTRATOR, self.workspace_id)

    @property
    def reader(self) -> Connection:
        return self.desk.database.reader(self.scope)

    @property
    def everyone(self) -> PermittedScopes:
        return PermittedScopes(self.workspace_id, everyone=True, user_id=None, managed_groups=frozenset())

    def put_groups(self, *names: str) -> None:
        async def put() -> None:
            async with self.desk.database.transaction(self.scope) as conn:
                await put_workspace(
                    conn,
                    workspace_id=self.workspace_id,
                    slug=self.workspace_id.hex,
                    name="A ledger",
                    zone=self.zone,
                    now=NOW,
                )
                groups = [NewGroup(self.groups.setdefault(name, uuid4()), name, name.title()) for name in names]
                await put_groups(conn, workspace_id=self.workspace_id, groups=groups, now=NOW)

        self.desk.run(put())

    def put_user(self, name: str, *, home: str | None = None, groups: Sequence[str] = (), active: bool = True) -> UUID:
        """Put a user in place, or move them."""
        id_ = self.users.setdefault(name, uuid4())
        user = NewUser(
            id=id_,
            display_name=name.title(),
            email=f"{name}@example.com",
            external_id=f"x-{name}",
            kind=UserKind.PERSON,
            home_group_id=self.groups[home] if home else None,
            group_ids=tuple(self.groups[group] for group in groups),
            active=active,
        )

        async def put() -> None:
            async with self.desk.database.transaction(self.scope) as conn:
                await put_users(conn, workspace_id=self.workspace_id, users=[user], now=NOW)

        self.desk.run(put())
        return id_

    async def recording(self, events: Sequence[UsageEvent], now: datetime = NOW) -> Recorded:
        async with self.desk.database.transaction(self.scope) as conn:
            return await record_usage(conn, workspace_id=self.workspace_id, events=events, now=now)

    def record(self, *events: UsageEvent, now: datetime = NOW) -> Recorded:
        """Record a batch in a transaction of its own."""
        return cast("Recorded", self.desk.run(self.recording(events, now)))

    def reconciled(self, now: datetime = NOW) -> Reconciliation:
        return cast("Reconciliation", self.desk.run(reconcile(self.reader, workspace_id=self.workspace_id, now=now)))

    def rows(self, table: str = "usage_event") -> int:
        query = f"SELECT count(*) FROM {table} WHERE workspace_id = %s"  # noqa: S608 - a table's name, from a test
        return int(self.desk.sql(query, self.workspace_id)[0][0])

    def charged(self) -> dict[str | None, tuple[int, int]]:
        """Return the credits and requests that each group, by name, was charged, from the events themselves."""
        names: dict[UUID | None, str] = {id_: name for name, id_ in self.groups.items()}
        rows = self.desk.sql(
            "SELECT group_id, sum(credits)::bigint, sum(requests)::bigint FROM usage_event"
            " WHERE workspace_id = %s GROUP BY 1",
            self.workspace_id,
        )
        return {names.get(group_id): (spent, requests) for group_id, spent, requests in rows}

    def event(self, id_: str = "1", **changes: Any) -> UsageEvent:
        """Return an event of the user `ada`, changed where a test says so."""
        fields: dict[str, Any] = {
            "source": "gateway",
            "id": id_,
            "at": datetime(2026, 6, 1, 12, tzinfo=UTC),
            "user": UserBy(id=self.users.get("ada")),
            "product": "chat",
            "model": "large",
            "credits": 2_500_000,
            "input_tokens": 100,
            "cached_input_tokens": 20,
            "output_tokens": 30,
        }
        return UsageEvent(**fields | changes)


def new_ledger(desk: Desk, zone: str = "UTC") -> Ledger:
    """Return a ledger with the groups `red` and `blue`, and `ada`, who is in red, and `bob`, who is in no group."""
    ledger = Ledger(desk, zone)
    ledger.put_groups("red", "blue")
    ledger.put_user("ada", home="red", groups=["red"])
    ledger.put_user("bob")
    return ledger
