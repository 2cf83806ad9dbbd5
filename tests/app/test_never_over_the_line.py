"""Nobody gets over the line: across processes, while the database is killed and clients die, and as limits change."""

import asyncio
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, takewhile
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from creditdesk.app.demo.issuer import DemoIssuer
from creditdesk.credits.amounts import MICRO, format_credits, parse_credits
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
from creditdesk.credits.reconcile import Difference, reconcile
from creditdesk.db import embedded
from creditdesk.db.bootstrap import OWNER, SERVER, ensure_owned_database
from creditdesk.db.connections import Database
from creditdesk.db.migrate import migrate
from creditdesk.db.scopes import DatabaseRole, RowScope
from creditdesk.graphql.ids import encode_id
from support.gateways import Answer, Gateway
from support.issuers import AUDIENCE
from support.processes import RunningProcess, running, served, wait_until

HOLDS = "/v1/holds"
CLIENTS = 64
NAME = "creditdesk"
"""The database's, which `creditdesk serve` uses as well."""
SAMPLE_SECONDS = 0.02
SET_LIMIT = "mutation($input: SetLimitInput!) { setLimit(input: $input) { ... on SetLimitSuccess { limit { id } } } }"
BALANCES = """
SELECT k.scope, k.cadence, k.product, b.scope_id, b.used,
  held_now(b.held, floor(extract(epoch FROM clock_timestamp()))::bigint)
FROM balance AS b
JOIN balance_kind AS k ON k.workspace_id = b.workspace_id AND k.id = b.kind_id
WHERE b.workspace_id = %s
"""
"""One snapshot, and what is held in it at a moment after it was taken: nobody counts a hold as expired earlier."""

Shape = tuple[str, str, str]
"""Whose balance it is, per what period, of which product."""


@dataclass
class Site:
    """A server of two processes on a PostgreSQL that survives being killed, which the server starts again."""

    server: RunningProcess
    postgres: embedded.EmbeddedServer
    issuer: DemoIssuer

    @property
    def superuser_dsn(self) -> str:
        return self.postgres.dsn(user=embedded.SUPERUSER, database=NAME)

    def token(self, slug: str, **claims: object) -> str:
        now = int(time.time())
        known = {"iss": self.issuer.url, "aud": AUDIENCE, "iat": now, "exp": now + 3600, "workspace": slug}
        return self.issuer.sign(known | claims, typ="at+jwt")

    def postmaster(self) -> int | None:
        """Return the postmaster's process id, which its file holds while it lives."""
        try:
            return int((self.postgres.home / "data" / "postmaster.pid").read_text().partition("\n")[0])
        except (OSError, ValueError):
            return None

    def kill_the_database(self) -> None:
        """Kill the postmaster with -9, and wait until there is another one."""
        killed = self.postmaster()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: self.postmaster() not in {None, killed}, "another postmaster")

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.superuser_dsn, autocommit=True) as connection:
            return connection.execute(query.encode(), parameters).fetchall()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    place = Path(tempfile.mkdtemp(prefix="cd-line-", dir="/tmp"))
    place.chmod(0o755)  # for the account that root's PostgreSQL runs as
    postgres = embedded.start(place / "postgres")
    issuers: list[DemoIssuer] = []

    def issuer_at(url: str) -> Any:
        issuers.append(DemoIssuer(url, AUDIENCE, persons=[], clients=[]))
        return issuers[0].app()

    try:
        ensure_owned_database(postgres, NAME)
        migrate(postgres.dsn(user=OWNER, database=NAME), today=datetime.now(UTC).date())
        with served(issuer_at) as url:
            settings = {"CREDITDESK_OIDC_ISSUER": url, "CREDITDESK_OIDC_AUDIENCE": AUDIENCE}
            settings |= {"CREDITDESK_DATA_DIRECTORY": str(place), "CREDITDESK_WORKERS": "2"}
            with running("serve", **settings) as server:
                running_site = Site(server, postgres, issuers[0])
                assert running_site.sql("SELECT current_setting('fsync'), current_setting('synchronous_commit')") == [
                    ("on", "on")
                ]
                yield running_site
    finally:
        postgres.leave()
        shutil.rmtree(place)
        shutil.rmtree(postgres.home, ignore_errors=True)


@dataclass
class Company:
    """A workspace with users in groups, and the limits that its owner has set over the API."""

    site: Site
    slug: str
    id: UUID = field(default_factory=uuid4)
    groups: list[UUID] = field(default_factory=lambda: [uuid4() for _ in range(3)])
    users: list[UUID] = field(default_factory=lambda: [uuid4() for _ in range(12)])

    def home(self, user: UUID) -> UUID:
        return self.groups[self.users.index(user) % 3]

    def groups_of(self, user: UUID) -> list[UUID]:
        """Return a user's groups: of every fourth, the next one as well."""
        number = self.users.index(user)
        return [self.home(user)] + ([self.groups[(number + 1) % 3]] if number % 4 == 0 else [])

    async def fill(self) -> None:
        database = Database(self.site.postgres.dsn(user=SERVER, database=NAME), max_connections=1)
        await database.open()
        now = datetime.now(UTC)
        users = [
            NewUser(
                id=user, display_name="A user", email=None, external_id=f"{self.slug}-{number}", kind=UserKind.PERSON,
                home_group_id=self.home(user), group_ids=tuple(self.groups_of(user)), active=True,
            )
            for number, user in enumerate(self.users)
        ]  # fmt: skip
        groups = [NewGroup(group, f"group-{number}", "A group") for number, group in enumerate(self.groups)]
        async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, self.id)) as conn:
            await put_workspace(
                conn, workspace_id=self.id, slug=self.slug, name="A company", zone="Asia/Kathmandu", now=now
            )
            await put_groups(conn, workspace_id=self.id, groups=groups, now=now)
            await put_users(conn, workspace_id=self.id, users=users, now=now)
            owner = Identity(self.site.issuer.url, "olga", self.users[0])
            await put_identities(conn, workspace_id=self.id, identities=[owner])
        await database.close()

    def gateway(self) -> Gateway:
        token = self.site.token(self.slug, sub="gateway", roles=["service"], scope="usage:write")
        return Gateway(self.site.server.url, token)

    async def limit(self, target: UUID | None, amount: str, **more: str) -> None:
        """Set a limit on the workspace, or on a group or a user, as the owner does."""
        on: dict[str, Any] = {"workspace": True}
        if target is not None:
            kind = "user" if target in self.users else "group"
            on = {kind: {"id": encode_id(kind.title(), target)}}
        owner = Gateway(self.site.server.url, self.site.token(self.slug, sub="olga", roles=["owner"]))
        asked = {"target": on, "value": {"amount": amount}} | more
        answer = await owner.ask("/graphql", {"query": SET_LIMIT, "variables": {"input": asked}})
        assert answer.body["data"]["setLimit"].get("limit"), answer
        owner.hang_up()

    async def differences(self) -> tuple[Difference, ...]:
        """Return where the ledger, the holds and the balances do not say the same."""
        database = Database(self.site.postgres.dsn(user=SERVER, database=NAME), max_connections=1)
        await database.open()
        reader = database.reader(RowScope(DatabaseRole.ADMINISTRATOR, self.id))
        found = await reconcile(reader, workspace_id=self.id, now=datetime.now(UTC))
        await database.close()
        return found.differences


@dataclass
class Book:
    """What a company's clients were answered, by the ids that they gave their holds."""

    users: dict[str, UUID] = field(default_factory=dict)
    products: dict[str, str] = field(default_factory=dict)
    granted: dict[str, tuple[str, int]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Whose budget was in the way."""
    unanswered: set[str] = field(default_factory=set)
    settled: dict[str, int] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)
    processes: set[str] = field(default_factory=set)
    """The servers', which ids of requests begin with."""
    unavailable: int = 0


@dataclass
class Sampler:
    """Looks at all balances of a company at one snapshot, again and again, past crashes."""

    company: Company
    look: Callable[[dict[tuple[Shape, UUID], tuple[int, int]]], None]
    samples: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    async def during(self, work: Any) -> None:
        """Sample while the work is done."""
        looking = asyncio.create_task(asyncio.to_thread(self._sample))
        try:
            await work
        finally:
            self._ended.set()
            await looking

    def _sample(self) -> None:
        while not self._ended.is_set():
            try:
                with psycopg.connect(self.company.site.superuser_dsn, autocommit=True) as connection:
                    while not self._ended.wait(SAMPLE_SECONDS):
                        rows = connection.execute(BALANCES, [self.company.id]).fetchall()
                        self.samples += 1
                        self.look({((*shape,), scope): sums for *shape, scope, sums in _summed(rows)})
            except psycopg.OperationalError:
                self._ended.wait(0.05)


def _summed(rows: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    # The latest period's alone would do; a test that runs over a midnight sees both.
    for *key, used, held in rows:
        yield (*key, (used, held))


def body_of(chance: Random, company: Company, book: Book, id_: str, *, seconds: int) -> dict[str, Any]:
    """Return a hold of a random amount for a random user, and note whose it is."""
    book.users[id_] = chance.choice(company.users)
    book.products[id_] = chance.choice(("chat", "agent", "agent", f"tool-{chance.randrange(50)}"))
    return {
        "source": "gateway", "id": id_, "userId": str(book.users[id_]), "product": book.products[id_], "model": "large",
        "credits": format_credits(chance.randint(1, 6 * MICRO)), "seconds": seconds,
    }  # fmt: skip


@dataclass
class Client:
    """Asks for a hold and ends it, over and over, on two connections; now and then it dies in between."""

    company: Company
    book: Book
    name: str
    chance: Random = field(init=False)
    uses: int = 0

    def __post_init__(self) -> None:
        self.chance = Random(f"{self.company.slug}/{self.name}")  # noqa: S311 - dice, not a secret
        self.one, self.other = self.company.gateway(), self.company.gateway()

    async def work(self, until: float) -> None:
        try:
            while time.monotonic() < until:
                self.uses += 1
                await self.use(f"{self.name}-{self.uses}")
        finally:
            self.hang_up()
            self.book.unavailable += self.one.unavailable + self.other.unavailable

    def hang_up(self) -> None:
        self.one.hang_up()
        self.other.hang_up()

    async def use(self, id_: str) -> None:
        dice = self.chance.random()
        dies = dice < 0.2
        body = body_of(self.chance, self.company, self.book, id_, seconds=self.chance.randint(1, 2) if dies else 600)
        if dice < 0.05:
            self.book.unanswered.add(id_)
            await self.one.ask_and_hang_up(HOLDS, body)
            return
        answer = await self.asked(HOLDS, body)
        self.book.processes.add(answer.headers["x-request-id"].partition("-")[0])
        if answer.status == 402:
            self.book.refused[id_] = answer.body["errors"][0]["extensions"]["budget"]["scope"]
            return
        hold = answer.hold
        assert hold["credits"] == body["credits"]
        self.book.granted[id_] = (hold["id"], parse_credits(body["credits"]))
        if dies:
            self.hang_up()
        else:
            await self.end(id_, *self.book.granted[id_])

    async def asked(self, path: str, body: object = None) -> Answer:
        """Ask once, twice one after the other, or twice at once on two connections: the answer is the same."""
        dice = self.chance.random()
        if dice > 0.2:
            return await self.one.insist(path, body)
        if dice > 0.1:
            first, second = await self.one.insist(path, body), await self.other.insist(path, body)
        else:
            first, second = await asyncio.gather(self.one.insist(path, body), self.other.insist(path, body))
        assert essence(first) == essence(second)
        return first

    async def end(self, id_: str, hold_id: str, amount: int) -> None:
        """Settle with no more than was held, mostly a little; release; or both at once, of which one wins."""
        most = amount if self.chance.random() < 0.002 else amount // 500
        used = self.chance.randint(0, most)
        settlement = {"credits": format_credits(used), "outputTokens": self.chance.randrange(1000)}
        settle, release = f"{HOLDS}/{hold_id}/settle", f"{HOLDS}/{hold_id}/release"
        dice = self.chance.random()
        if dice < 0.5:
            ended = (await self.asked(settle, settlement)).hold
        elif dice < 0.85:
            ended = (await self.asked(release)).hold
        else:
            both = await asyncio.gather(self.one.insist(settle, settlement), self.other.insist(release))
            assert sorted(answer.status for answer in both) == [200, 409]
            assert [answer.code for answer in both if answer.status == 409] == ["HOLD_ENDED"]
            ended = next(answer.hold for answer in both if answer.status == 200)
        if ended["state"] == "SETTLED":
            assert (ended["settledCredits"], ended["overageCredits"]) == (settlement["credits"], "0")
            self.book.settled[id_] = used
        else:
            assert ended["state"] == "RELEASED"
            self.book.released.add(id_)


def essence(answer: Answer) -> object:
    """Return what an answer and its repetition have in common."""
    if answer.status == 402:
        return answer.body["errors"][0]["extensions"]["budget"]
    # A hold of a second may have expired meanwhile.
    return answer.status, {name: value for name, value in answer.hold.items() if name != "state"}


def assert_kept(company: Company, book: Book) -> None:
    """Compare what was answered with what is stored: nothing is lost, nothing is twice, nothing is made up."""
    stored = {
        id_: (state, str(hold), amount, settled)
        for id_, state, hold, amount, settled in company.site.sql(
            "SELECT external_id, state, id, amount, settled_amount FROM hold WHERE workspace_id = %s", company.id
        )
    }
    for id_, (hold, amount) in book.granted.items():
        state = "SETTLED" if id_ in book.settled else "RELEASED" if id_ in book.released else "HELD"
        assert stored[id_] == (state, hold, amount, book.settled.get(id_)), id_
    assert {id_ for id_ in book.refused if stored[id_][0] != "REFUSED"} == set()
    rest = stored.keys() - book.granted.keys() - book.refused.keys()
    assert rest <= book.unanswered
    assert {stored[id_][0] for id_ in rest} <= {"HELD", "REFUSED"}
    events = company.site.sql("SELECT external_id, credits FROM usage_event WHERE workspace_id = %s", company.id)
    assert sorted(events) == sorted(book.settled.items())
    # Summed up here, by hand: what each balance must say.
    expected: Counter[tuple[str, str, UUID]] = Counter()
    for id_, used in book.settled.items():
        user, product = book.users[id_], book.products[id_]
        for scope, scope_id in (("USER", user), ("GROUP", company.home(user)), ("WORKSPACE", company.id)):
            expected[scope, "", scope_id] += used
            expected[scope, product, scope_id] += used
    sums: Counter[tuple[Shape, UUID]] = Counter()
    for scope, cadence, product, scope_id, used, held in company.site.sql(BALANCES, company.id):
        sums[(scope, cadence, product), scope_id] += used
        assert held == 0
    assert {key: used for key, used in sums.items() if used != expected[key[0][0], key[0][2], key[1]]} == {}
    assert sum(sums[shape, scope] for shape, scope in sums if shape == ("WORKSPACE", "MONTH", "")) == sum(
        book.settled.values()
    )


async def set_limits(company: Company) -> dict[Shape, dict[UUID, int]]:
    """Set limits at every level, and return how many credits each hard one allows, worked out by hand.

    Each user's: the third group has the highest of several, the second less than the workspace, the first none.
    """
    first, second, third = company.groups
    generous, nothing = company.users[2], company.users[7]
    await company.limit(None, "15")
    await company.limit(second, "10")
    await company.limit(third, "20")
    await company.limit(generous, "25")
    await company.limit(nothing, "0")
    await company.limit(None, "8", product="chat", cadence="DAY")
    await company.limit(first, "30", kind="SHARED")
    await company.limit(third, "12", kind="SHARED", product="chat", cadence="WEEK")
    await company.limit(None, "80", kind="SHARED")
    await company.limit(None, "35", kind="SHARED", product="agent", cadence="DAY")
    await company.limit(None, "1", kind="SHARED", cadence="WEEK", enforcement="SOFT")

    def each(user: UUID) -> int:
        if user in {generous, nothing}:
            return 25 if user == generous else 0
        return max((20 if group == third else 10 for group in company.groups_of(user) if group != first), default=15)

    whole: dict[Shape, dict[UUID, int]] = {
        ("USER", "MONTH", ""): {user: each(user) for user in company.users},
        ("USER", "DAY", "chat"): dict.fromkeys(company.users, 8),
        ("GROUP", "MONTH", ""): {first: 30},
        ("GROUP", "WEEK", "chat"): {third: 12},
        ("WORKSPACE", "MONTH", ""): {company.id: 80},
        ("WORKSPACE", "DAY", "agent"): {company.id: 35},
    }
    return {shape: {scope: amount * MICRO for scope, amount in of.items()} for shape, of in whole.items()}


@pytest.mark.parametrize("seconds", [12, pytest.param(60, marks=pytest.mark.soak)])
def test_nobody_gets_over_the_line_while_the_database_is_killed_twice_and_clients_die(site: Site, seconds: int) -> None:
    company, book = Company(site, f"line-{seconds}"), Book()
    over: list[str] = []

    async def run() -> tuple[Difference, ...]:
        await company.fill()
        allowed = await set_limits(company)

        def look(balances: dict[tuple[Shape, UUID], tuple[int, int]]) -> None:
            for (shape, scope), (used, held) in balances.items():
                limit = allowed.get(shape, {}).get(scope)
                if limit is not None and used + held > limit:
                    over.append(f"{shape} of {scope}: {used} used and {held} held of {limit}")

        sampler = Sampler(company, look)

        async def work() -> None:
            until = time.monotonic() + seconds
            clients = [asyncio.create_task(Client(company, book, str(n)).work(until)) for n in range(CLIENTS)]
            try:
                for _ in range(2):
                    await asyncio.sleep(seconds / 4)
                    await asyncio.to_thread(site.kill_the_database)
                await asyncio.gather(*clients)
            finally:
                for client in clients:
                    client.cancel()
            await asyncio.sleep(4)  # until the last of those who died has lost its hold

        await sampler.during(work())
        assert sampler.samples > 3 * seconds
        return await company.differences()

    differences = asyncio.run(run())
    assert over == []
    assert differences == ()
    assert_kept(company, book)
    # The line was there to be reached, and what may go wrong did.
    counts = {"granted": len(book.granted), "refused": len(book.refused), "settled": len(book.settled)}
    assert all(number > 2 * seconds for number in counts.values()), counts
    assert set(book.refused.values()) == {"USER", "GROUP", "WORKSPACE"}
    assert min(book.unavailable, len(book.unanswered)) > 0
    assert len(book.processes) == 2
    assert "Traceback" not in site.server.logged()


@dataclass
class Line:
    """A limit of all together that is moved. `moves` is odd while it is; between two moves it is `amount`."""

    company: Company
    amount: int
    moves: int = 0
    late: list[str] = field(default_factory=list)
    """What was granted beyond it."""
    refusals: Counter[int] = field(default_factory=Counter)
    """How often it was in the way, by its amount."""
    seen: list[tuple[int, int]] = field(default_factory=list)
    """What was taken, and after which move."""

    async def move(self, amount: int) -> None:
        self.moves += 1
        await self.company.limit(None, str(amount), kind="SHARED")
        self.amount = amount
        self.moves += 1

    def look(self, balances: dict[tuple[Shape, UUID], tuple[int, int]]) -> None:
        """Compare what is taken with what was: that may be beyond the line, but nothing is granted there."""
        amount, moves = self.amount * MICRO, self.moves
        taken = sum(sum(sums) for ((scope, _, _), _), sums in balances.items() if scope == "WORKSPACE")
        # The one before was taken after this move for sure if the one before that was looked at after it.
        if moves % 2 == 0 and [move for move, _ in self.seen[-2:]] == [moves, moves]:
            before = self.seen[-1][1]
            if taken > max(amount, before):
                self.late.append(f"{taken} are taken, {before} were, and {amount} is the limit")
        self.seen.append((moves, taken))

    async def refused(self, gateway: Gateway, body: dict[str, Any]) -> Answer | None:
        """Ask for a hold; if it is refused, check that it is by the limit there is now, and return nothing."""
        moves, amount = self.moves, self.amount
        answer = await gateway.insist(HOLDS, body)
        if answer.status != 402:
            return answer
        if moves == self.moves and moves % 2 == 0:
            self.refusals[amount] += 1
            assert answer.body["errors"][0]["extensions"]["budget"]["limit"] == str(amount)
        return None


async def push(line: Line, book: Book, name: str, enough: asyncio.Event) -> None:
    """Place holds, and end them after a moment, with a little of it used or nothing."""
    chance, gateway = Random(name), line.company.gateway()  # noqa: S311 - dice, not a secret
    for number in takewhile(lambda _: not enough.is_set(), count()):
        id_ = f"{name}-{number}"
        body = body_of(chance, line.company, book, id_, seconds=600)
        answer = await line.refused(gateway, body)
        if answer is None:
            book.refused[id_] = "WORKSPACE"
            continue
        book.granted[id_] = (answer.hold["id"], parse_credits(body["credits"]))
        await asyncio.sleep(chance.random() / 20)
        path = f"{HOLDS}/{answer.hold['id']}"
        if chance.random() < 0.5:
            book.settled[id_] = chance.randint(0, book.granted[id_][1] // 1000)
            ended = await gateway.insist(f"{path}/settle", {"credits": format_credits(book.settled[id_])})
        else:
            book.released.add(id_)
            ended = await gateway.insist(f"{path}/release")
        assert ended.status == 200
    gateway.hang_up()


def test_a_limit_that_is_moved_under_load_bites_at_once_and_leaves_what_was_used(site: Site) -> None:
    company, book = Company(site, "moved"), Book()
    line = Line(company, 30)

    async def work() -> None:
        enough = asyncio.Event()
        pushing = asyncio.gather(*(push(line, book, str(number), enough) for number in range(32)))
        for amount in (30, 5, 40, 0, 20):
            await line.move(amount)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(wait_until, lambda: line.refusals[line.amount] > 0, "in the way")
        await asyncio.to_thread(wait_until, lambda: line.seen[-1][1] > 10 * MICRO, "granted again")
        enough.set()
        await pushing

    async def run() -> tuple[Difference, ...]:
        await company.fill()
        await line.move(30)
        await Sampler(company, line.look).during(work())
        return await company.differences()

    differences = asyncio.run(run())
    assert line.late == []
    assert differences == ()
    assert_kept(company, book)
    assert line.refusals.keys() == {30, 5, 40, 0, 20}
