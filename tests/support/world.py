"""Two workspaces full of people and usage, made by the product's own operations, and everybody who may call the API.

Every name, address, slug, product and source carries a canary: a word that occurs nowhere else, so that an answer
which holds it tells of its owner.
"""

import asyncio
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, TypeVar, cast
from uuid import UUID, uuid5

import httpx
import psycopg
from psycopg import sql

from creditdesk.auth.authenticate import Authenticator
from creditdesk.auth.callers import Callers
from creditdesk.credits.amounts import MICRO
from creditdesk.credits.controls import changing_controls, load_controls
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
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.hold_rules import HoldRequest
from creditdesk.credits.kept_usage import KeptUsage
from creditdesk.credits.limit_rules import NewLimit, write_limits
from creditdesk.credits.limits import UNLIMITED, Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor, Authority
from creditdesk.credits.pricing import Meter, NewMultiplier, NewRate
from creditdesk.credits.rates import put_rates
from creditdesk.credits.request_rules import Approval, Ask, Duration, DurationKind
from creditdesk.credits.requests import approve_request, cancel_request, request_credits
from creditdesk.credits.sessions import NewSession, SessionKey, start_session
from creditdesk.credits.usage_events import MAX_BATCH, record_usage
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope
from creditdesk.graphql.answering import Answering
from creditdesk.graphql.batched_reads import BATCHES
from creditdesk.graphql.charging import Charging
from creditdesk.graphql.endpoint import GraphQLEndpoint
from creditdesk.graphql.event_stream import EventStreams
from creditdesk.graphql.execution.executor import PlannedExecutor
from creditdesk.graphql.ids import encode_id
from creditdesk.graphql.live import Live
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.protection.limits import TRUSTED
from creditdesk.graphql.schema import core_schema, schema
from creditdesk.graphql.stored_documents import StoredDocuments
from creditdesk.graphql.streams import Streams
from creditdesk.graphql.subscribers import Subscribers
from support.databases import FreshDatabase
from support.issuers import URL, Site

T = TypeVar("T")

EXECUTOR = os.environ.get("TEST_EXECUTOR", "planned")
"""With what operations are executed: `planned`, each at first sight, or `stock`."""

NOW = datetime(2026, 6, 20, 10, tzinfo=UTC)
"""Just past the last event. The endpoint has a clock of its own, so exact figures are of explicit ranges."""
FIRST_DAY, LAST_DAY = "2026-03-12", "2026-06-20"
"""Every event is in these days, in either workspace's zone."""
ALL_DAYS = {"days": {"first": FIRST_DAY, "last": LAST_DAY}}
SPRING_FORWARD = datetime(2026, 3, 29, tzinfo=UTC)
"""A day of 23 hours in Berlin."""
MAX_BODY_BYTES = 2_000_000
MOST_SUBSCRIPTIONS = 20
BOUNDLESS = 2**31 - 1
NO_GROUP = UUID(int=0)

_NAMESPACE = UUID("0b9f6f0e-90a0-4f0f-8f0a-7d1c1c3a5e55")
_SHARED = (("chat", "small"), ("chat", "large"), ("agent", "large"), ("agent", "small"), ("api", "tiny"))


def canary(*owner: str) -> str:
    return "cy" + hashlib.sha256("/".join(owner).encode()).hexdigest()[:14]


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the world, by a name that is unique over both workspaces."""

    name: str
    home: str | None
    groups: tuple[str, ...]
    title: str = ""
    kind: UserKind = UserKind.PERSON
    active: bool = True
    moves_to: str | None = None
    """The group that becomes their only one, and their home, after their last event."""


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace of the world."""

    name: str
    zone: str
    groups: Mapping[str, str]
    people: tuple[Person, ...]
    events: int


ACME = Place(
    "acme",
    "Europe/Berlin",
    {"research": "Réséarch", "design": "Design", "sales": "Sales", "platform": "Åland platform"},
    (
        Person("olga", "platform", ("platform",), "Olga Öwner"),
        Person("adam", "platform", ("platform",), "Adam Admin"),
        Person("bill", "sales", ("sales",), "Bill Billing"),
        Person("anna", "sales", ("sales",), "Anna Analyst"),
        Person("gina", "design", ("design",), "Gina Manager"),
        Person("mo", "research", ("research",), "Mo Member"),
        Person("mia", "design", ("research", "design"), "Mia Twogroups"),
        Person("nora", None, (), "Nora Nohome"),
        Person("robo", "platform", ("platform",), "robo", kind=UserKind.SERVICE_ACCOUNT),
        Person("ina", "research", ("research",), "Ina Inactive", active=False),
        Person("lee", "research", ("research",), "Lee Mover", moves_to="sales"),
        Person("zoe", "sales", ("sales",), "Zoë Müller"),
    ),
    2600,
)
HIMAL = Place(
    "himal",
    "Asia/Kathmandu",
    {"guides": "Guides", "bookings": "Bookings"},
    (
        Person("hari", "guides", ("guides",), "Hari Owner"),
        Person("maya", "bookings", ("bookings", "guides"), "Maya Member"),
        Person("yeti", "guides", ("guides",), "yeti", kind=UserKind.SERVICE_ACCOUNT),
    ),
    400,
)
PLACES = (ACME, HIMAL)


@dataclass(frozen=True, slots=True)
class Use:
    """An event as it is to be charged: the ledger that figures are checked against."""

    place: str
    person: str
    group: str | None
    event: UsageEvent

    @property
    def requests(self) -> int:
        return 0 if self.event.corrects else 1

    @property
    def figures(self) -> tuple[int, int, int, int, int]:
        event = self.event
        assert event.credits is not None
        return event.credits, self.requests, event.input_tokens, event.cached_input_tokens, event.output_tokens


def id_of(*thing: str) -> UUID:
    return uuid5(_NAMESPACE, "/".join(thing))


def workspace_id(place: str) -> UUID:
    return id_of("workspace", place)


def workspace_slug(place: str) -> str:
    return f"{place}-{canary('workspace', place)}"


def user_id(person: str) -> UUID:
    return id_of("user", person)


def group_id(group: str) -> UUID:
    return id_of("group", group)


def group_slug(group: str) -> str:
    return f"{group}-{canary('group', group)}"


def email_of(person: str) -> str:
    return f"{person}.{canary('user', person)}@example.com"


def external_id_of(person: str) -> str:
    return f"X-{canary('user', person)}"


def own_product(person: str, group: str | None) -> str:
    """Return a product that this person alone uses, while they are charged to this group."""
    return f"tool-{canary('product', person, group or '-')}"


def shown_id(kind: str, id_: UUID) -> str:
    """Return an id as the API shows it."""
    return encode_id(kind, id_)


CALLERS: Mapping[str, Mapping[str, object]] = {
    "OWNER": {"sub": "olga", "roles": ["owner"]},
    "ADMIN": {"sub": "adam", "roles": ["admin"]},
    "BILLING": {"sub": "bill", "roles": ["billing"]},
    "ANALYST": {"sub": "anna", "roles": ["analyst"]},
    "GROUP_MANAGER": {"sub": "gina", "roles": ["group_manager"], "managed_groups": [group_slug("research")]},
    "MEMBER": {"sub": "mo", "roles": ["member"]},
    "READER": {"sub": "reader", "roles": ["service"], "scope": "usage:read"},
    "WRITER": {"sub": "writer", "roles": ["service"], "scope": "usage:write"},
    "UNMAPPED": {"sub": "zoe", "roles": ["intern"]},
    "UNLINKED": {"sub": "stranger", "roles": ["member"]},
    "OTHER_OWNER": {"sub": "hari", "roles": ["owner"], "workspace": workspace_slug("himal")},
}
"""READER and WRITER are services. UNMAPPED has no role that is known here, UNLINKED no user."""
EVERYONE = ("OWNER", "ADMIN", "BILLING", "ANALYST", "READER")
"""Those who see everyone's spend."""


def _uses(place: Place) -> Iterator[Use]:
    random = Random(place.name)  # noqa: S311 - dice, not a secret
    span = timedelta(days=99)
    for number in range(place.events):
        person = place.people[min(int(random.expovariate(0.25)), len(place.people) - 1)]
        at = NOW - timedelta(seconds=random.randrange(int(span.total_seconds())))
        if number % 80 == 0:
            at = SPRING_FORWARD + timedelta(minutes=random.randrange(-120, 240))
        product, model = random.choice(_SHARED)
        if random.random() < 0.25:
            product, model = own_product(person.name, person.home), f"model-{product}"
        event = UsageEvent(
            source=f"gateway-{canary('source', place.name)}",
            id=f"{place.name}-{number}",
            at=at,
            user=UserBy(id=user_id(person.name)),
            product=product,
            model=model,
            credits=random.randrange(20 * MICRO),
            input_tokens=random.randrange(5000),
            cached_input_tokens=random.randrange(2000),
            output_tokens=random.randrange(1000),
            tags={"project": canary("tag", person.name)} if number % 7 == 0 else None,
        )
        yield Use(place.name, person.name, person.home, event)
        if number % 40 == 0:
            yield Use(place.name, person.name, person.home, _correction_of(event, random))


def _correction_of(event: UsageEvent, random: Random) -> UsageEvent:
    assert event.credits is not None
    return UsageEvent(
        source=event.source,
        id=f"{event.id}-correction",
        at=min(event.at + timedelta(hours=random.randrange(30)), NOW),
        user=event.user,
        product=event.product,
        model=event.model,
        credits=-event.credits // 2,
        output_tokens=-event.output_tokens,
        corrects=event.id,
    )


USES: tuple[Use, ...] = tuple(use for place in PLACES for use in _uses(place))


def uses_of(place: str) -> list[Use]:
    return [use for use in USES if use.place == place]


def all_canaries() -> dict[str, str]:
    """Return every canary and whose it is: `workspace/acme`, `user/mo`, `product/mo/research`, ..."""
    owners: list[tuple[str, ...]] = [(kind, place.name) for place in PLACES for kind in ("workspace", "source")]
    for place in PLACES:
        owners += [("group", group) for group in place.groups]
        for person in place.people:
            owners += [("user", person.name), ("tag", person.name), ("product", person.name, person.home or "-")]
            owners += [("reason", person.name), ("note", person.name)]
            owners += [("hold", person.name)] if person.active else []
    return {canary(*owner): "/".join(owner) for owner in owners}


def place_of(owner: str) -> str:
    """Return the workspace that a canary's owner belongs to."""
    kind, name = owner.split("/")[:2]
    for place in PLACES:
        names = {"group": set(place.groups), "workspace": {place.name}, "source": {place.name}}
        if name in names.get(kind, {person.name for person in place.people}):
            return place.name
    raise AssertionError(owner)


async def put_place(database: Database, place: Place, *, moved: bool = False) -> None:
    """Put a workspace's people in place; `moved`, as they are after those who move have moved."""
    id_ = workspace_id(place.name)
    users, identities = [], []
    for person in place.people:
        moves = person.moves_to if moved else None
        home, groups = (moves, (moves,)) if moves else (person.home, person.groups)
        users.append(
            NewUser(
                id=user_id(person.name),
                display_name=f"{person.title} {canary('user', person.name)}",
                email=email_of(person.name) if person.kind is UserKind.PERSON else None,
                external_id=external_id_of(person.name),
                kind=person.kind,
                home_group_id=group_id(home) if home else None,
                group_ids=tuple(group_id(group) for group in groups),
                active=person.active,
            )
        )
        identities.append(Identity(URL, person.name, user_id(person.name)))
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, id_)) as conn:
        await put_workspace(
            conn,
            workspace_id=id_,
            slug=workspace_slug(place.name),
            name=f"The {place.name} {canary('workspace', place.name)}",
            zone=place.zone,
            now=NOW,
        )
        groups_ = [
            NewGroup(group_id(slug), group_slug(slug), f"{name} {canary('group', slug)}")
            for slug, name in place.groups.items()
        ]
        await put_groups(conn, workspace_id=id_, groups=groups_, now=NOW)
        await put_users(conn, workspace_id=id_, users=users, now=NOW)
        await put_identities(conn, workspace_id=id_, identities=identities)


async def record(database: Database, place: str, events: Sequence[UsageEvent], *, now: datetime = NOW) -> None:
    """Record events, all of which are new."""
    id_ = workspace_id(place)
    for start in range(0, len(events), MAX_BATCH):
        batch = events[start : start + MAX_BATCH]
        async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, id_)) as conn:
            recorded = await record_usage(conn, workspace_id=id_, events=batch, now=now)
        assert (recorded.accepted, recorded.rejected) == (len(batch), ())


async def put_rate_card(database: Database, place: Place) -> None:
    """Put rates and multipliers of everybody's own products on a workspace's card, that end and that do not."""
    id_, start = workspace_id(place.name), NOW - timedelta(days=50)
    products = [own_product(person.name, person.home) for person in place.people]
    multipliers = [NewMultiplier(product, "fast", 2_000_000, start, NOW) for product in products]
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, id_)) as conn:
        await put_rates(
            conn,
            workspace_id=id_,
            actor=Actor("PERSON", "a test", None),
            rates=[NewRate(product, "pro", Meter.MESSAGE, 5, start, NOW) for product in products]
            + [NewRate(product, "", Meter.TASK, 7, NOW, None) for product in products],
            multipliers=multipliers,
            now=NOW,
        )


async def put_limits(database: Database, place: Place) -> None:
    """Set limits at every level. Those that are shared have no amount: what is left of one changes with others' use."""
    id_, person, group = workspace_id(place.name), *(("mo", "research") if place is ACME else ("maya", "guides"))
    month, each, shared = Shape(Cadence.MONTH), LimitKind.EACH_USER, LimitKind.SHARED
    rules = [
        NewLimit(LimitScope.WORKSPACE, id_, each, month, Limited(5000 * MICRO)),
        NewLimit(LimitScope.WORKSPACE, id_, each, Shape(Cadence.MONTH, "video", "pro"), Limited(0)),
        NewLimit(LimitScope.WORKSPACE, id_, each, Shape(Cadence.MONTH, "image"), Limited(0)),
        NewLimit(LimitScope.WORKSPACE, id_, shared, month, UNLIMITED),
        *(NewLimit(LimitScope.GROUP, group_id(slug), shared, month, UNLIMITED) for slug in place.groups),
        NewLimit(LimitScope.GROUP, group_id(group), each, month, Limited(3000 * MICRO)),
        NewLimit(LimitScope.USER, user_id(person), each, month, Limited(4000 * MICRO), reason="A trial."),
    ]
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, id_)) as conn:
        await changing_controls(conn, id_)
        controls = await load_controls(conn, id_)
        actor = Actor("PERSON", place.people[0].name, user_id(place.people[0].name))
        await write_limits(conn, controls, workspace_id=id_, actor=actor, rules=rules, now=NOW)


async def place_holds(database: Database, place: Place) -> None:
    """Hold a little for everybody who is active."""
    desk = HoldDesk(database, lambda: NOW)
    for person in place.people:
        if person.active:
            asked = HoldRequest(
                source=canary("hold", person.name),
                id="1",
                user=UserBy(id=user_id(person.name)),
                product=own_product(person.name, person.home),
                model="pro",
                amount=MICRO,
            )
            await desk.place(workspace_id(place.name), asked)


async def put_requests(database: Database, place: Place) -> None:
    """Let everybody ask for more twice: one request is left open, one was approved; and let each take one back."""
    id_, video = workspace_id(place.name), Shape(Cadence.MONTH, "video", "pro")
    until = Duration(DurationKind.UNTIL, date(2099, 1, 1))
    for person in place.people:
        other = place.people[1 if person is place.people[0] else 0]
        decider = Authority(id_, Actor("PERSON", other.name, user_id(other.name)), True, frozenset())  # noqa: FBT003
        asker = Authority(id_, Actor("PERSON", person.name, user_id(person.name)), False, frozenset())  # noqa: FBT003
        reason = f"For {canary('reason', person.name)}."
        async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, id_)) as conn:
            await request_credits(conn, asker, Ask(7 * MICRO, reason, Shape(Cadence.MONTH), until), now=NOW)
            asked = await request_credits(conn, asker, Ask(5 * MICRO, reason, video, until), now=NOW)
            approval = Approval(asked.id, note=f"So be it: {canary('note', person.name)}.")
            await approve_request(conn, decider, approval, now=NOW)
            asked = await request_credits(conn, asker, Ask(MICRO, reason, video), now=NOW + timedelta(hours=1))
            await cancel_request(conn, asker, asked.id, now=NOW + timedelta(hours=2))


async def put_sessions(database: Database, place: Place) -> None:
    """Let everybody be signed in with a browser, by tokens that nobody can open."""
    id_ = workspace_id(place.name)
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, id_)) as conn:
        for person in place.people:
            new = NewSession(
                key=SessionKey(id_, id_of("session", person.name)),
                user_id=user_id(person.name),
                issuer=URL,
                subject=person.name,
                issuer_session=None,
                secret_hash=hashlib.sha256(person.name.encode()).digest(),
                expires_at=NOW + timedelta(hours=12),
                tokens="sealed",
                tokens_expire_at=NOW + timedelta(hours=1),
            )
            await start_session(conn, new, now=NOW)


async def _fill(database: Database) -> None:
    for place in PLACES:
        await put_place(database, place)
        await put_rate_card(database, place)
        await record(database, place.name, [use.event for use in uses_of(place.name)])
        await put_place(database, place, moved=True)
        await put_limits(database, place)
        await put_requests(database, place)
        await place_holds(database, place)
        await put_sessions(database, place)


_PEOPLE_TABLES = ("app_user", "user_group", "group_member", "user_identity", "browser_session")


@dataclass
class World:
    """The endpoint over a filled database, in an event loop of its own that lives as long as the world."""

    fresh: FreshDatabase
    site: Site
    runner: asyncio.Runner
    database: Database
    authenticator: Authenticator
    callers: Callers
    endpoint: GraphQLEndpoint
    streams: Streams
    http: httpx.AsyncClient
    tokens: dict[str, str] = field(default_factory=dict)

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def token(self, caller: str) -> str:
        if caller not in self.tokens:
            claims: dict[str, Any] = {"workspace": workspace_slug("acme"), **CALLERS[caller]}
            self.tokens[caller] = self.site.token(**claims)
        return self.tokens[caller]

    def headers(self, caller: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(caller)}"}

    async def posting(self, caller: str, query: str, variables: Mapping[str, Any] | None = None) -> httpx.Response:
        body = {"query": query, "variables": variables}
        return await self.http.post("/", json=body, headers=self.headers(caller))

    async def answering(self, caller: str, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        response = await self.posting(caller, query, variables)
        assert response.status_code == 200, response.text
        answer = cast("dict[str, Any]", response.json())
        # What it cost differs from one request to the next.
        assert set(answer.pop("extensions", {})) == ({"cost"} if "data" in answer else set())
        return answer

    def answer(self, caller: str, query: str, **variables: Any) -> dict[str, Any]:
        """Return the whole answer, errors and all."""
        return cast("dict[str, Any]", self.run(self.answering(caller, query, variables)))

    def ask(self, caller: str, query: str, **variables: Any) -> Any:
        """Return the data of an answer without errors."""
        answer = self.answer(caller, query, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def errors(self, caller: str, query: str, **variables: Any) -> list[str]:
        """Return the codes of an answer's errors."""
        errors = self.answer(caller, query, **variables).get("errors", [])
        return [error["extensions"]["code"] for error in errors]

    def ask_together(self, asked: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """Send (caller, query, variables) all at once, in one loop, and return their answers."""

        async def all_answers() -> list[dict[str, Any]]:
            return await asyncio.gather(*(self.answering(*one) for one in asked))

        return cast("list[dict[str, Any]]", self.run(all_answers()))

    def forget(self) -> None:
        """Have nothing kept of any caller but who they are: what they ask is read as if for the first time."""
        for found in self.authenticator._entered.values():  # noqa: SLF001 - nobody else wants that
            found.kept.clear()

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Collect the names of the statements that run, but for those of signing in."""
        ran: list[str] = []
        signing_in = {"workspace_by_slug", "user_of_identity", "controls_version"}

        def note(name: str) -> None:
            if name not in signing_in:
                ran.append(name)

        self.database.observers.append(note)
        try:
            yield ran
        finally:
            self.database.observers.remove(note)

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run plain SQL past every policy."""
        with psycopg.connect(self.fresh.superuser_dsn, autocommit=True) as connection:
            return connection.execute(cast("Any", query), parameters).fetchall()

    def fingerprints(self, place: str | None = None) -> dict[str, str]:
        """Return a hash of all that is in each table, or is there of one workspace: what denied calls do not change."""
        of_place = f"%{workspace_id(place)}%" if place else "%"
        with psycopg.connect(self.fresh.superuser_dsn, autocommit=True) as connection:
            names = connection.execute(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
                " AND relnamespace = 'public'::regnamespace ORDER BY 1"
            ).fetchall()
            query = "SELECT md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '')) FROM {} AS t"
            query += " WHERE t::text LIKE %s"
            return {
                name: connection.execute(sql.SQL(query).format(sql.Identifier(name)), [of_place]).fetchall()[0][0]
                for (name,) in names
            }

    def keep_people(self) -> None:
        """Remember who there is, and who is in which group: for `restore_people`."""
        with psycopg.connect(self.fresh.superuser_dsn, autocommit=True) as connection:
            for table in _PEOPLE_TABLES:
                query = "CREATE TABLE IF NOT EXISTS {} AS TABLE {}"
                names = (sql.Identifier("kept", table), sql.Identifier(table))
                connection.execute("CREATE SCHEMA IF NOT EXISTS kept")
                connection.execute(sql.SQL(query).format(*names))

    def restore_people(self) -> None:
        """Have people, their groups, identities and sessions as they were; who was made since then stays."""
        with psycopg.connect(self.fresh.superuser_dsn) as connection:
            connection.execute(
                "UPDATE user_group AS g SET name = k.name, sort_name = k.sort_name FROM kept.user_group AS k"
                " WHERE g.id = k.id"
            )
            connection.execute(
                "UPDATE app_user AS u SET display_name = k.display_name, sort_name = k.sort_name, email = k.email,"
                " external_id = k.external_id, active = k.active, home_group_id = k.home_group_id,"
                " sessions_ended_at = k.sessions_ended_at FROM kept.app_user AS k WHERE u.id = k.id"
            )
            for table in ("group_member", "user_identity", "browser_session"):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
                connection.execute(
                    sql.SQL("INSERT INTO {} SELECT * FROM {}").format(
                        sql.Identifier(table), sql.Identifier("kept", table)
                    )
                )
            # As every change of people does: a server knows by it that what it remembers is over.
            connection.execute(
                "UPDATE workspace_settings SET controls_version = controls_version + 1 WHERE workspace_id = %s",
                (workspace_id("acme"),),
            )

    def row_counts(self) -> dict[str, int]:
        """Return how many rows every table has: what a denied call does not change."""
        names = self.sql(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
        )
        return {name: self.sql(f'SELECT count(*) FROM "{name}"')[0][0] for (name,) in names}  # noqa: S608 - the catalog's


def _authenticator(database: Database, site: Site) -> Authenticator:
    return Authenticator(verifier=site.verifier, database=database)


def boundless(stored: StoredDocuments | None = None, *, executor: str = EXECUTOR, seconds: float = 60) -> Answering:
    """Return what answers documents that are giants, made to select everything."""
    leaps = itertools.count(step=10)  # by this clock whatever was spent has come back when the next one asks
    charging = Charging(
        core_schema(),
        TRUSTED,
        most_cost=BOUNDLESS,
        capacity=BOUNDLESS,
        per_second=BOUNDLESS,
        clock=lambda: float(next(leaps)),
    )
    plans = PlannedExecutor(schema, BATCHES, compile_at=1, most_functions=5000) if executor == "planned" else None
    return Answering(Documents(core_schema(), TRUSTED), charging=charging, stored=stored, plans=plans, seconds=seconds)


def _verifying_endpoint(database: Database, callers: Callers, answering: Answering) -> tuple[GraphQLEndpoint, Streams]:
    desk = HoldDesk(database, lambda: datetime.now(UTC))
    live = Live.over(database, lambda: datetime.now(UTC))
    subscribers = Subscribers(most_per_caller=MOST_SUBSCRIPTIONS)
    streams = Streams(database=database, desk=desk, answering=answering, live=live, subscribers=subscribers)
    endpoint = GraphQLEndpoint(
        database=database,
        desk=desk,
        callers=callers,
        answering=answering,
        max_body_bytes=MAX_BODY_BYTES,
        events=EventStreams(callers=callers, streams=streams),
        kept_usage=KeptUsage(most_bytes=1_000_000),
    )
    return endpoint, streams


def another_endpoint(database: Database, site: Site) -> GraphQLEndpoint:
    """Return the endpoint of another server, with a pool and a memory of tokens of its own."""
    return _verifying_endpoint(database, Callers(_authenticator(database, site)), boundless())[0]


@contextmanager
def without_plans(world: World) -> Iterator[World]:
    """Put an endpoint before the same world that makes every answer by the stock executor."""
    endpoint, streams = _verifying_endpoint(world.database, world.callers, boundless(executor="stock"))
    http = httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url="http://test")
    try:
        yield replace(world, endpoint=endpoint, streams=streams, http=http)
    finally:
        world.run(http.aclose())


@contextmanager
def world_of(
    fresh: FreshDatabase, fill: Callable[[Database], Any] = _fill, answering: Answering | None = None
) -> Iterator[World]:
    """Fill a database, and put the endpoint before it, without limits unless `answering` has some."""
    with asyncio.Runner() as runner:
        database = Database(fresh.server_dsn)

        async def opened() -> World:
            site = Site()
            await database.open()
            await fill(database)
            # Whoever is linked to no user comes in all the same: what they see is one of the questions.
            with psycopg.connect(fresh.superuser_dsn, autocommit=True) as connection:
                connection.execute("UPDATE workspace_settings SET first_sign_in = 'ADMIT'")
            authenticator = _authenticator(database, site)
            callers = Callers(authenticator)
            endpoint, streams = _verifying_endpoint(database, callers, answering or boundless())
            http = httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url="http://test")
            return World(fresh, site, runner, database, authenticator, callers, endpoint, streams, http)

        async def closed() -> None:
            await world.http.aclose()
            await world.site.http.aclose()
            await database.close()

        world = runner.run(opened())
        try:
            yield world
        finally:
            runner.run(closed())
