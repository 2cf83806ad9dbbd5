"""The benchmark's data: ten workspaces, the largest with half of all people, recorded by the product itself.

A tenth of the people make half of the spend, and weekdays see more of it than weekends. The same in every run.
"""

import asyncio
import itertools
import math
import multiprocessing
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import NAMESPACE_DNS, UUID, uuid5

import psycopg

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
from creditdesk.credits.limit_rules import NewLimit, write_limit
from creditdesk.credits.limits import Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope

WORKSPACES, GROUPS, DAYS = 10, 50, 365
LARGEST, OTHERS = 5000, 555
MODELS = {
    "chat": ("chat-small", "chat-large", "chat-reasoning"),
    "code": ("code-fast", "code-deep", "code-review"),
    "agents": ("agent-browser", "agent-research", "agent-office"),
    "api": ("api-text", "api-image", "api-speech"),
}
HOT = "company-1"
"""The workspace whose people share a limit of all of it: they meet at one balance."""
_WEEKEND = (5, 6)
BATCH = 20_000
_COLUMNS = (
    "ids", "times", "users", "groups", "products", "models", "credits", "input_tokens", "cached_input_tokens",
    "output_tokens",
)  # fmt: skip
_UNUSED = ("corrects", "tags", "rates", "measured", "held_until", "held_amounts")
_ACTOR = Actor("SERVICE", "bench", None)


@dataclass(frozen=True, slots=True)
class Company:
    """A workspace and its people, each in one group, which is charged."""

    slug: str
    groups: tuple[UUID, ...]
    users: tuple[UUID, ...]

    @property
    def id(self) -> UUID:
        """Return the workspace's id."""
        return _named("workspace", self.slug)


def _named(*parts: object) -> UUID:
    return uuid5(NAMESPACE_DNS, "/".join(map(str, parts)))


def companies() -> list[Company]:
    """Return all workspaces, the largest first."""
    made = []
    for number in range(WORKSPACES):
        slug, size = f"company-{number}", OTHERS if number else LARGEST
        groups = tuple(_named(slug, "group", one) for one in range(GROUPS if size == LARGEST else 5))
        made.append(Company(slug, groups, tuple(_named(slug, "user", one) for one in range(size))))
    return made


def emails_of(company: Company) -> list[str]:
    """Return everybody's address, in the order of the users."""
    return [f"user-{number}@{company.slug}.example" for number in range(len(company.users))]


def subject_of(user: UUID) -> str:
    """Return a user's subject at the identity provider."""
    return f"s-{user}"


async def put_company(database: Database, company: Company, *, issuer: str, now: datetime) -> None:
    """Put a workspace in place: people, and limits for each user, in groups, for single users, and of whole groups."""
    scope = RowScope(DatabaseRole.ADMINISTRATOR, company.id)
    async with database.transaction(scope) as conn:
        await put_workspace(
            conn, workspace_id=company.id, slug=company.slug, name=company.slug.title(), zone="UTC", now=now
        )
        groups = [NewGroup(one, f"g-{number}", f"Group {number:03}") for number, one in enumerate(company.groups)]
        await put_groups(conn, workspace_id=company.id, groups=groups, now=now)
        people, emails = [], emails_of(company)
        for number, user in enumerate(company.users):
            home = company.groups[number % len(company.groups)]
            email = emails[number]
            people.append(NewUser(user, f"User {number:05}", email, None, UserKind.PERSON, home, (home,)))
        await put_users(conn, workspace_id=company.id, users=people, now=now)
        identities = [Identity(issuer, subject_of(user), user) for user in company.users]
        await put_identities(conn, workspace_id=company.id, identities=identities)
    async with database.transaction(scope) as conn:
        await changing_controls(conn, company.id)
        for rule in _rules(company):
            controls = await load_controls(conn, company.id)
            await write_limit(conn, controls, workspace_id=company.id, actor=_ACTOR, rule=rule, now=now)


def _rules(company: Company) -> Iterator[NewLimit]:
    month, each, shared = Shape(Cadence.MONTH), LimitKind.EACH_USER, LimitKind.SHARED
    yield NewLimit(LimitScope.WORKSPACE, company.id, each, month, Limited(5000 * MICRO))
    if company.slug == HOT:
        yield NewLimit(LimitScope.WORKSPACE, company.id, shared, month, Limited(100_000_000 * MICRO))
    for number, group in enumerate(company.groups):
        if number % 5 == 0:
            yield NewLimit(LimitScope.GROUP, group, each, month, Limited((4000 + number) * MICRO))
        yield NewLimit(LimitScope.GROUP, group, shared, month, Limited((400_000 + number) * MICRO))
    for number, user in enumerate(company.users[::20]):
        yield NewLimit(LimitScope.USER, user, each, month, Limited((6000 + number) * MICRO))


class _Event(NamedTuple):
    """A use as the ledger keeps it; the group is the user's, who pays."""

    id: str
    at: datetime
    user: UUID
    group: UUID
    product: str
    model: str
    credits: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int


def _uses(count: int, last: date) -> list[tuple[date, int]]:
    """Return how many events each day of a year has."""
    days = [last - timedelta(days=ago) for ago in reversed(range(DAYS))]
    weights = [1 if day.weekday() in _WEEKEND else 4 for day in days]
    return [(day, round(count * weight / sum(weights))) for day, weight in zip(days, weights, strict=True)]


def events_of(company: Company, *, count: int, last: date, seed: int) -> Iterator[_Event]:
    """Return a year of events up to a day, in order of time."""
    dice = random.Random(seed)  # noqa: S311 - made-up data, the same in every run
    everybody = [(user, company.groups[number % len(company.groups)]) for number, user in enumerate(company.users)]
    heavy, number, products = everybody[: len(everybody) // 10], 0, [*MODELS]
    for day, uses in _uses(count, last):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for nth in range(uses):
            user, group = dice.choice(heavy if dice.random() < 0.5 else everybody)  # noqa: PLR2004 - half
            product = dice.choice(products)
            yield _Event(
                id=f"{company.slug}-{number}",
                at=start + timedelta(seconds=86_399 * nth / uses),
                user=user,
                group=group,
                product=product,
                model=dice.choice(MODELS[product]),
                credits=dice.randrange(1, 5 * MICRO),
                input_tokens=dice.randrange(4000),
                cached_input_tokens=dice.randrange(2000),
                output_tokens=dice.randrange(1500),
            )
            number += 1


async def _record(database: Database, company: Company, events: Sequence[_Event], now: datetime) -> None:
    """Record a batch by the product's own statement, which takes more events at once than the API does."""
    columns: dict[str, Sequence[object]] = dict(zip(_COLUMNS, zip(*events, strict=True), strict=True))
    arrays = {name: list(column) for name, column in columns.items()}
    nothing: list[None] = [None] * len(events)
    arguments: dict[str, object] = {**arrays, **dict.fromkeys(_UNUSED, nothing)}
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, company.id)) as conn:
        rows = await conn.rows(
            "record_usage_events",
            workspace_id=company.id,
            recorded_at=now,
            now_seconds=int(now.timestamp()),
            sources=["bench"] * len(events),
            requests=[1] * len(events),
            **arguments,
        )
    if len(rows) != len(events):
        message = f"{company.slug}: {len(rows)} of {len(events)} events were new"
        raise AssertionError(message)


@dataclass(frozen=True, slots=True)
class _Share:
    """What one process puts into the database, until a moment of the clock; `recorded` is what is there already."""

    dsn: str
    issuer: str
    last: date
    events: int
    numbers: tuple[int, ...]
    recorded: dict[UUID, int]
    until: float


async def _put(share: _Share) -> None:
    database = Database(share.dsn, max_connections=1, statement_timeout_seconds=600)
    await database.open()
    try:
        now, made = datetime.now(UTC), companies()
        for number in share.numbers:
            company, known = made[number], share.recorded.get(made[number].id, 0)
            if not known:
                await put_company(database, company, issuer=share.issuer, now=now)
            count = share.events // 2 if number == 0 else share.events // 2 // (len(made) - 1)
            if known >= sum(uses for _, uses in _uses(count, share.last)):
                continue
            events = itertools.islice(events_of(company, count=count, last=share.last, seed=number), known, None)
            while time.time() < share.until and (batch := list(itertools.islice(events, BATCH))):
                await _record(database, company, batch, now)
    finally:
        await database.close()


def _process(share: _Share) -> None:
    asyncio.run(_put(share))


def recorded_events(superuser: str) -> dict[UUID, int]:
    """Return how many of the made-up events each workspace has."""
    with psycopg.connect(superuser) as connection:
        return dict(
            connection.execute(
                "SELECT workspace_id, count(*) FROM usage_event WHERE source = 'bench' GROUP BY 1"
            ).fetchall()
        )


def fill(dsn: str, *, events: int, issuer: str, last: date, recorded: dict[UUID, int], until: float = math.inf) -> None:
    """Make what is not there yet, until a moment of the clock, in two processes: each makes half of the events."""
    shares = [
        _Share(dsn, issuer, last, events, numbers, recorded, until) for numbers in ((0,), tuple(range(1, WORKSPACES)))
    ]
    with multiprocessing.get_context("spawn").Pool(len(shares)) as pool:
        pool.map(_process, shares, chunksize=1)


def is_filled(recorded: dict[UUID, int], *, events: int) -> bool:
    """Tell whether all of the events are there; days are rounded, so there may be a few more or less."""
    return sum(recorded.values()) >= events - DAYS * WORKSPACES
