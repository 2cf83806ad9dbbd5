"""The benchmark's data: ten workspaces, the largest with half of all people, recorded by the product itself.

A tenth of the people make half of the spend, and weekdays see more of it than weekends. The same in every run.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import NAMESPACE_DNS, UUID, uuid5

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
from creditdesk.credits.limit_rules import NewLimit, write_limit
from creditdesk.credits.limits import Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor
from creditdesk.credits.usage_events import MAX_BATCH, record_usage
from creditdesk.db.connections import Database, DatabaseRole, RowScope

WORKSPACES, GROUPS, DAYS = 10, 50, 365
LARGEST, OTHERS = 5000, 555
MODELS = {
    "chat": ("chat-small", "chat-large", "chat-reasoning"),
    "code": ("code-fast", "code-deep", "code-review"),
    "agents": ("agent-browser", "agent-research", "agent-office"),
    "api": ("api-text", "api-image", "api-speech"),
}
_WEEKEND = (5, 6)
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
        people = []
        for number, user in enumerate(company.users):
            home = company.groups[number % len(company.groups)]
            email = f"user-{number}@{company.slug}.example"
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
    for number, group in enumerate(company.groups):
        if number % 5 == 0:
            yield NewLimit(LimitScope.GROUP, group, each, month, Limited((4000 + number) * MICRO))
        yield NewLimit(LimitScope.GROUP, group, shared, month, Limited((400_000 + number) * MICRO))
    for number, user in enumerate(company.users[::20]):
        yield NewLimit(LimitScope.USER, user, each, month, Limited((6000 + number) * MICRO))


def events_of(company: Company, *, count: int, last: date, seed: int) -> Iterator[UsageEvent]:
    """Return a year of events up to a day, in order of time."""
    dice = random.Random(seed)  # noqa: S311 - made-up data, the same in every run
    days = [last - timedelta(days=ago) for ago in reversed(range(DAYS))]
    weights = [1 if day.weekday() in _WEEKEND else 4 for day in days]
    heavy, number = company.users[: len(company.users) // 10], 0
    for day, weight in zip(days, weights, strict=True):
        uses = round(count * weight / sum(weights))
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for nth in range(uses):
            product = dice.choice([*MODELS])
            yield UsageEvent(
                source="bench",
                id=f"{company.slug}-{number}",
                at=start + timedelta(seconds=86_399 * nth / uses),
                user=UserBy(id=dice.choice(heavy if dice.random() < 0.5 else company.users)),  # noqa: PLR2004 - half
                product=product,
                model=dice.choice(MODELS[product]),
                credits=dice.randrange(1, 5 * MICRO),
                input_tokens=dice.randrange(4000),
                cached_input_tokens=dice.randrange(2000),
                output_tokens=dice.randrange(1500),
            )
            number += 1


def _batches(events: Iterator[UsageEvent]) -> Iterator[Sequence[UsageEvent]]:
    batch: list[UsageEvent] = []
    for event in events:
        batch.append(event)
        if len(batch) == MAX_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def fill(database: Database, *, events: int, issuer: str, last: date) -> list[Company]:
    """Make everything: half of the events are the largest workspace's."""
    now, made = datetime.now(UTC), companies()
    for number, company in enumerate(made):
        await put_company(database, company, issuer=issuer, now=now)
        count = events // 2 if number == 0 else events // 2 // (len(made) - 1)
        scope = RowScope(DatabaseRole.ADMINISTRATOR, company.id)
        for batch in _batches(events_of(company, count=count, last=last, seed=number)):
            async with database.transaction(scope) as conn:
                recorded = await record_usage(conn, workspace_id=company.id, events=batch, now=now)
            if recorded.accepted != len(batch):
                raise AssertionError(recorded)
    return made
