"""Sign-ins and refusals in the audit trail: who, how often, and no flood."""

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from creditdesk.app.holds import HoldsEndpoint
from creditdesk.auth.access_log import MOST_OPEN, AccessLog
from creditdesk.auth.authenticate import Authenticator
from creditdesk.auth.callers import Callers
from creditdesk.credits.audit_proof import proof_of
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope
from creditdesk.graphql.answering import Answering
from creditdesk.graphql.endpoint import GraphQLEndpoint
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema
from support.databases import FreshDatabase
from support.people import now_seconds
from support.world import ACME, World, put_place, user_id, workspace_id, workspace_slug, world_of

VIEWER = "{ viewer { subject } }"
SETTINGS = "mutation { changeSettings(input: {expectedVersion: 1}) { __typename } }"
_subjects = count(1)


@dataclass
class Server:
    """A server with an access log, whose clock a test moves."""

    world: World
    database: Database
    now: datetime = datetime(2026, 6, 20, 12, tzinfo=UTC)
    http: httpx.AsyncClient = field(init=False)
    log: AccessLog = field(init=False)

    def start(self) -> None:
        self.log = AccessLog(self.database, now=lambda: self.now)
        authenticator = Authenticator(verifier=self.world.site.verifier, database=self.database, access_log=self.log)
        desk = HoldDesk(self.database, lambda: datetime.now(UTC))
        answering = Answering(Documents(core_schema()), denied=self.log.denied)
        endpoint = GraphQLEndpoint(
            database=self.database,
            desk=desk,
            callers=Callers(authenticator),
            answering=answering,
            max_body_bytes=100_000,
        )
        holds = HoldsEndpoint(desk=desk, authenticator=authenticator, max_body_bytes=100_000, denied=self.log.denied)

        async def both(scope: Any, receive: Any, send: Any) -> None:
            await (holds if scope["path"].startswith("/v1") else endpoint)(scope, receive, send)

        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(both), base_url="http://test")

    async def posting(self, token: str, query: str = VIEWER) -> httpx.Response:
        return await self.http.post("/", json={"query": query}, headers={"authorization": f"Bearer {token}"})

    def post(self, token: str, query: str = VIEWER, times: int = 1) -> list[int]:
        """Send a request so many times at once, and return the answers' statuses; what is to be said is said then."""

        async def all_of_them() -> list[int]:
            answers = await asyncio.gather(*(self.posting(token, query) for _ in range(times)))
            await self.log.flush()
            return [answer.status_code for answer in answers]

        return list(self.world.run(all_of_them()))

    def flush(self, *, after: timedelta = timedelta(0)) -> None:
        self.now += after

        async def flushed() -> None:
            await self.log.flush()

        self.world.run(flushed())

    def token(self, subject: str, *roles: str, **claims: Any) -> str:
        given: dict[str, Any] = {"sub": subject, "roles": list(roles or ("member",))}
        return self.world.site.token(**given | {"workspace": workspace_slug("acme"), "iat": now_seconds()} | claims)

    def trail(self, action: str) -> list[tuple[Any, ...]]:
        return self.world.sql(
            "SELECT actor_kind, actor_subject, actor_user_id, after FROM audit_entry"
            " WHERE action = %s AND workspace_id = %s ORDER BY id",
            action,
            workspace_id("acme"),
        )

    def denials(self) -> list[tuple[str, str, str, int]]:
        """Return who was refused, with what code, what for, and how often."""
        return [
            (subject, state["code"], state["what"], int(state["count"]))
            for _, subject, _, state in self.trail("ACCESS_DENIED")
        ]


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    async def people(database: Database) -> None:
        await put_place(database, ACME)

    with world_of(module_database, people) as opened:
        yield opened


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    world.sql("DELETE FROM sign_in RETURNING 1")
    world.sql("DELETE FROM audit_entry RETURNING 1")
    world.sql("DELETE FROM audit_head RETURNING 1")
    database = Database(world.fresh.server_dsn)
    world.run(database.open())
    server = Server(world, database)
    server.start()
    yield server
    world.run(server.http.aclose())
    world.run(database.close())


def test_a_sign_in_is_said_once_whatever_comes_with_the_token(server: Server) -> None:
    token = server.token("mo")
    assert set(server.post(token, times=8)) == {200}
    assert set(server.post(token, times=3)) == {200}
    [(kind, subject, user, state)] = server.trail("SIGNED_IN")
    assert (kind, subject, user) == ("PERSON", "mo", user_id("mo"))
    assert (state["issuer"], state["roles"]) == (server.world.site.issuer.url, "MEMBER")


def test_another_token_of_the_same_hour_is_no_other_sign_in_and_a_later_one_is(server: Server) -> None:
    now = now_seconds()
    server.post(server.token("mo", iat=now - 7200))
    server.post(server.token("mo", iat=now - 3700))
    assert len(server.trail("SIGNED_IN")) == 1
    server.post(server.token("mo", iat=now))
    assert len(server.trail("SIGNED_IN")) == 2
    # A token that was refreshed says when its bearer signed in.
    server.post(server.token("mo", iat=now + 50_000, auth_time=now))
    assert len(server.trail("SIGNED_IN")) == 2


def test_another_server_says_it_no_more(server: Server) -> None:
    token = server.token("mo")
    server.post(token)
    other = Server(server.world, server.database)
    other.start()
    other.post(token)
    assert len(server.trail("SIGNED_IN")) == 1


def test_a_program_signs_in_as_well_and_who_has_no_user_does(server: Server) -> None:
    server.post(server.token("gateway", "service", scope="usage:write"))
    server.post(server.token("stranger"))
    assert [row[:3] for row in server.trail("SIGNED_IN")] == [
        ("SERVICE", "gateway", None),
        ("PERSON", "stranger", None),
    ]


def test_a_sign_in_that_was_said_costs_a_look_at_the_version_and_no_other_statement(server: Server) -> None:
    token = server.token("mo")
    server.post(token)
    ran: list[str] = []
    server.database.observers.append(ran.append)
    server.post(token)
    assert ran == ["controls_version"]


def test_whoever_is_refused_is_in_the_trail_and_how_often_is_said_when_the_minute_is_over(server: Server) -> None:
    token = server.token("mo")
    server.post(token, SETTINGS, times=20)
    assert server.denials() == [("mo", "FORBIDDEN", "changeSettings", 1)]
    server.flush(after=timedelta(seconds=59))
    assert len(server.denials()) == 1
    server.flush(after=timedelta(seconds=2))
    assert server.denials()[1:] == [("mo", "FORBIDDEN", "changeSettings", 19)]
    # Whoever goes on is counted again, and said once a minute.
    server.post(token, SETTINGS, times=5)
    assert len(server.denials()) == 2
    server.flush(after=timedelta(seconds=61))
    assert server.denials()[2:] == [("mo", "FORBIDDEN", "changeSettings", 5)]
    server.flush(after=timedelta(seconds=61))
    server.flush(after=timedelta(seconds=61))
    assert len(server.denials()) == 3


def test_a_gateway_that_may_not_hold_is_in_the_trail(server: Server) -> None:
    token = server.token("reader", "service", scope="usage:read")

    async def ask() -> int:
        answer = await server.http.post("/v1/holds", json={}, headers={"authorization": f"Bearer {token}"})
        await server.log.flush()
        return answer.status_code

    assert server.world.run(ask()) == 403
    assert server.denials() == [("reader", "FORBIDDEN", "/v1/holds", 1)]


def test_a_person_whose_token_is_refused_is_named(server: Server) -> None:
    assert server.post(server.token("ina")) == [401]
    [(kind, subject, user, state)] = server.trail("ACCESS_DENIED")
    assert (kind, subject, user) == ("PERSON", "ina", user_id("ina"))
    assert (state["code"], state["what"]) == ("UNAUTHENTICATED", "the user is deactivated")


def forged(server: Server, **claims: Any) -> str:
    """Return a token that nobody signed, of whoever an attacker says."""
    payload = server.world.site.claims(workspace=workspace_slug("acme"), **claims)
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "at+jwt"}, payload)]
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "c2lnbmF0dXJl"])


def test_tokens_that_nobody_signed_name_nobody_and_make_no_flood(server: Server) -> None:
    server.post(server.token("mo"))  # so that the server knows the workspace
    for number in range(60):
        assert server.post(forged(server, sub=f"victim-{number}")) == [401]
    server.flush(after=timedelta(seconds=61))
    [first, rest] = server.trail("ACCESS_DENIED")
    assert first[:3] == rest[:3] == ("NOBODY", "", None)
    assert (first[3]["count"], rest[3]["count"]) == ("1", "59")


def test_a_workspace_that_is_not_known_costs_no_look_up(server: Server) -> None:
    ran: list[str] = []
    server.database.observers.append(ran.append)
    assert server.post(forged(server, sub="x")) == [401]
    for token in ("a.b.c", "no token", "e30.e30.e30", "." * 1000):
        assert server.post(token) == [401]
    assert ran == []
    assert server.denials() == []


def test_thousands_of_callers_at_once_are_counted_together(server: Server) -> None:
    world = server.world

    async def refuse_all() -> None:
        principal = await Authenticator(verifier=world.site.verifier, database=server.database).principal_of(
            f"Bearer {server.token('mo')}"
        )
        for number in range(MOST_OPEN + 200):
            server.log.denied(_renamed(principal, f"caller-{number}"), "changeSettings")
        assert len(server.log._windows) <= MOST_OPEN + 1  # noqa: SLF001 - that it is bounded is the point
        await server.log.flush()

    world.run(refuse_all())
    server.flush(after=timedelta(seconds=61))
    together = [row for row in server.trail("ACCESS_DENIED") if row[1] == ""]
    assert sum(int(row[3]["count"]) for row in together) == 200


def _renamed(principal: Any, subject: str) -> Any:
    return replace(principal, subject=subject)


def test_a_server_that_ends_says_what_it_counted(server: Server) -> None:
    async def serve() -> None:
        async with server.log.running():
            for _ in range(4):
                await server.posting(server.token("mo"), SETTINGS)

    server.world.run(serve())
    assert [row[3] for row in server.denials()] == [1, 3]


def test_sign_ins_and_refusals_are_part_of_the_chain(server: Server) -> None:
    server.post(server.token("mo"), SETTINGS, times=3)
    server.post(server.token("gina", "group_manager"))
    server.flush(after=timedelta(seconds=61))
    reader = server.database.reader(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id("acme")))
    found = server.world.run(proof_of(reader, workspace_id("acme")))
    assert (found.entries, found.fault) == (4, None)
