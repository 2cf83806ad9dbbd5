"""Clients of graphql-transport-ws on real connections, to servers that are processes of their own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from creditdesk.app.demo.issuer import DemoIssuer
from creditdesk.credits.directory import (
    Identity,
    NewGroup,
    NewUser,
    UserKind,
    put_groups,
    put_identities,
    put_users,
    put_workspace,
)
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope
from creditdesk.graphql.ids import encode_id
from support.issuers import AUDIENCE
from support.ledgers import NOW

RECORD = "mutation($events: [UsageEventInput!]!) { recordUsage(input: {events: $events}) { __typename } }"
OWN_BUDGET = "subscription { budgetChanged { used } }"
USAGE = "subscription { usageRecorded { credits } }"


@dataclass
class Town:
    """A workspace of many members, each in one of a few groups, and everybody who may call."""

    issuer: DemoIssuer
    slug: str = field(default_factory=lambda: f"town-{uuid4().hex[:8]}")
    id: UUID = field(default_factory=uuid4)
    groups: dict[str, UUID] = field(default_factory=dict)
    users: dict[str, UUID] = field(default_factory=dict)
    group_of: dict[str, str] = field(default_factory=dict)
    gateway: str = ""

    async def build(self, dsn: str, names: list[str], groups: list[str]) -> None:
        """Put everybody in place; the members are dealt out to the groups."""
        database = Database(dsn)
        await database.open()
        self.groups = {name: uuid4() for name in groups}
        self.users = {name: uuid4() for name in names}
        self.group_of = {name: groups[nth % len(groups)] for nth, name in enumerate(names)}
        try:
            async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, self.id)) as conn:
                await put_workspace(conn, workspace_id=self.id, slug=self.slug, name="A town", zone="UTC", now=NOW)
                new_groups = [NewGroup(id_, name, name.title()) for name, id_ in self.groups.items()]
                await put_groups(conn, workspace_id=self.id, groups=new_groups, now=NOW)
                await put_users(conn, workspace_id=self.id, users=[self._user(name) for name in names], now=NOW)
                identities = [Identity(self.issuer.url, name, id_) for name, id_ in self.users.items()]
                await put_identities(conn, workspace_id=self.id, identities=identities)
        finally:
            await database.close()

    def _user(self, name: str) -> NewUser:
        group = self.groups[self.group_of[name]]
        return NewUser(
            id=self.users[name],
            display_name=name,
            email=None,
            external_id=name,
            kind=UserKind.PERSON,
            home_group_id=group,
            group_ids=(group,),
        )

    def token(self, subject: str, *roles: str, seconds: int = 3600, **claims: object) -> str:
        now = int(time.time())
        known = {"iss": self.issuer.url, "aud": AUDIENCE, "iat": now, "exp": now + seconds, "workspace": self.slug}
        return self.issuer.sign(known | {"sub": subject, "roles": list(roles), **claims}, typ="at+jwt")

    def event(self, name: str, amount: str) -> dict[str, object]:
        """Return a use of a member, as a gateway reports it."""
        return {
            "source": "gateway",
            "id": uuid4().hex,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "user": {"id": encode_id("User", self.users[name])},
            "product": "chat",
            "model": "large",
            "credits": amount,
        }

    async def record(self, http: httpx.AsyncClient, url: str, events: list[dict[str, object]]) -> None:
        """Report uses to a server; raise where it does not answer that they are recorded."""
        # One token for all: a server remembers those that it has verified.
        self.gateway = self.gateway or self.token("gateway", "service", scope="usage:write")
        answer = await http.post(
            f"{url}/graphql",
            json={"query": RECORD, "variables": {"events": events}},
            headers={"authorization": f"Bearer {self.gateway}"},
        )
        assert answer.json().get("data") == {"recordUsage": {"__typename": "RecordUsageSuccess"}}, answer.text


@dataclass
class Watcher:
    """One subscription on a connection of its own. What it is told is kept; pings are answered while it reads."""

    connection: ClientConnection
    told: list[Any] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    errors: list[Any] = field(default_factory=list)
    code: int | None = None

    async def read(self) -> None:
        try:
            async for text in self.connection:
                message = json.loads(text)
                match message["type"]:
                    case "ping":
                        await self.connection.send('{"type":"pong"}')
                    case "next" if "errors" not in message["payload"]:
                        [shown] = message["payload"]["data"].values()
                        self.told.append(shown)
                    case _:
                        self.errors.append(message)
                self.more.set()
        except ConnectionClosed:
            pass
        self.code = self.connection.close_code
        self.more.set()

    async def until(self, told: int) -> list[Any]:
        """Return everything once so much was told."""
        async with asyncio.timeout(60):
            while len(self.told) < told:
                assert self.code is None, self.code
                self.more.clear()
                await self.more.wait()
        return self.told


@asynccontextmanager
async def watcher(url: str, token: str, query: str, path: str = "/graphql") -> AsyncIterator[Watcher]:
    """Subscribe to something."""
    address = url.replace("http", "ws", 1) + path
    async with connect(
        address, subprotocols=[Subprotocol("graphql-transport-ws")], ping_interval=None, compression=None, proxy=None
    ) as connection:
        await connection.send(json.dumps({"type": "connection_init", "payload": {"token": token}}))
        assert json.loads(await connection.recv()) == {"type": "connection_ack"}
        await connection.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
        watching = Watcher(connection)
        reading = asyncio.create_task(watching.read())
        try:
            yield watching
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
