"""The demo's usage: every event follows from the workspace and the day, so any day can be made again.

Nothing depends on when the demo is started, except that the present day ends now. A later start makes the same events
again, which are duplicates, and those that are missing, which are not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from operator import attrgetter
from random import Random
from zoneinfo import ZoneInfo

from creditdesk.app.demo.mix import HOURS, LOOP, PROJECTS, SERVICES, SIZES, WEEKDAYS, ModelUse, uses_of
from creditdesk.app.demo.people import RUNAWAY, DemoUser, DemoWorkspace
from creditdesk.credits.directory import UserKind
from creditdesk.credits.event_rules import UsageEvent, UserBy

SOURCE = "gateway"
"""Who reports the demo's usage. With a second source, recorded at the same time, the first start took as long."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR = 3_600_000_000
_LEFT_AFTER = timedelta(days=200)
"""When those who are no longer active used it last, from the first day on."""
_RUNAWAY_FROM, _RUNAWAY_UNTIL = timedelta(days=275), timedelta(days=305)
_GROWTH = timedelta(days=365)
_LATEST_CORRECTION = 6 * _HOUR
_CORRECTED_PERCENT = 60
_TAGGED = 0.16

_PERSONS_HOURS = tuple(hour for hour, share in enumerate(HOURS) for _ in range(share))
_ALL_HOURS = tuple(range(24))


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the demo is. The small workspace follows the large one."""

    users: int = 400
    days: int = 365
    events_per_day: int = 1_500


@dataclass(frozen=True, slots=True)
class _Habits:
    by: UserBy
    hours: Sequence[int]
    uses: Sequence[ModelUse]
    tags: Sequence[dict[str, str] | None]


@dataclass(frozen=True, slots=True)
class _Pool:
    """Who may be drawn, and up to where each one's share of the draw reaches."""

    habits: Sequence[_Habits]
    reaches: Sequence[float]


@dataclass(frozen=True, slots=True)
class Stream:
    """The usage of a workspace, from its first day on."""

    workspace: DemoWorkspace
    first_day: date
    events_per_day: int
    everyone: _Pool
    remaining: _Pool
    runaway: _Habits | None


def stream_of(workspace: DemoWorkspace, *, first_day: date, events_per_day: int) -> Stream:
    """Return the workspace's usage: `events_per_day` on an average day of the first year."""
    runaway = [user for user in workspace.users if user.new.display_name == RUNAWAY]
    return Stream(
        workspace,
        first_day,
        events_per_day,
        _pool(workspace.users),
        _pool([user for user in workspace.users if user.new.active]),
        _habits(runaway[0]) if runaway else None,
    )


def _pool(users: Sequence[DemoUser]) -> _Pool:
    return _Pool([_habits(user) for user in users], list(accumulate(user.weight for user in users)))


def _habits(user: DemoUser) -> _Habits:
    is_person = user.new.kind is UserKind.PERSON
    mine = [dict(PROJECTS[len(user.new.display_name) % len(PROJECTS)]), dict(PROJECTS[user.new.id.int % len(PROJECTS)])]
    return _Habits(
        UserBy(id=user.new.id),
        _PERSONS_HOURS if is_person else _ALL_HOURS,
        uses_of(user.group_slug) if is_person else SERVICES,
        mine,
    )


def local_day(moment: datetime, zone: str) -> date:
    """Return the day that a moment falls on in a zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


def start_of_day(day: date, zone: str) -> datetime:
    """Return the moment at which a day begins in a zone."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def days_between(first: date, last: date) -> Iterator[date]:
    """Yield the days from the first to the last, both included."""
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield date.fromordinal(ordinal)


def count_of_day(stream: Stream, day: date) -> int:
    """Return how many uses the whole day has; its corrections come on top."""
    return sum(_counts(stream, day, _dice(stream, day)))


def events_of_day(stream: Stream, day: date, *, now: datetime) -> list[UsageEvent]:
    """Return the day's events up to `now`, in the order of their times."""
    rng = _dice(stream, day)
    ordinary, looped = _counts(stream, day, rng)
    has_left = day >= stream.first_day + _LEFT_AFTER
    pool = stream.remaining if has_left else stream.everyone
    drawn = list(_draw(pool, ordinary, _hour_starts(day, stream.workspace.zone), rng))
    if stream.runaway is not None and looped:
        alone = _Pool([replace(stream.runaway, uses=(LOOP,))], [1.0])
        drawn += _draw(alone, looped, _hour_starts(day, stream.workspace.zone), rng)
    drawn.sort(key=_moment_of)
    events = _events(day, drawn, rng)
    events += _corrections(events, day, rng, until=start_of_day(day + timedelta(days=1), stream.workspace.zone))
    events.sort(key=attrgetter("at"))
    return [event for event in events if event.at <= now]


def _dice(stream: Stream, day: date) -> Random:
    return Random(f"{stream.workspace.slug}/{day}")  # noqa: S311 - a demo's dice, not a secret


def _counts(stream: Stream, day: date, rng: Random) -> tuple[int, int]:
    """Return the ordinary uses of the day, and those of an agent in a loop."""
    age = min(max((day - stream.first_day) / _GROWTH, 0), 1)
    expected = stream.events_per_day * WEEKDAYS[day.weekday()] * (0.6 + 0.8 * age) * rng.uniform(0.93, 1.07)
    # Rounded up as often as the fraction says, so that a small demo's weekends are not all empty.
    ordinary = int(expected + rng.random())
    is_runaway = _RUNAWAY_FROM <= day - stream.first_day < _RUNAWAY_UNTIL
    return ordinary, stream.events_per_day // 12 if is_runaway and stream.runaway is not None else 0


@lru_cache(maxsize=16)
def _hour_starts(day: date, zone: str) -> Sequence[int]:
    """Return when each hour of the wall clock begins, in microseconds since 1970; one that is skipped is the next."""
    hours = (datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo(zone)) for hour in range(24))
    return [(hour.astimezone(UTC) - _EPOCH) // _MICROSECOND for hour in hours]


_Drawn = tuple[int, _Habits, ModelUse, int]


def _moment_of(drawn: _Drawn) -> int:
    return drawn[0]


def _draw(pool: _Pool, count: int, hour_starts: Sequence[int], rng: Random) -> Iterator[_Drawn]:
    random = rng.random
    for habits in rng.choices(pool.habits, cum_weights=pool.reaches, k=count):
        hours, uses = habits.hours, habits.uses
        moment = hour_starts[hours[int(random() * len(hours))]] + int(random() * _HOUR)
        yield moment, habits, uses[int(random() * len(uses))], SIZES[int(random() * 1024)]


def _events(day: date, drawn: Sequence[_Drawn], rng: Random) -> list[UsageEvent]:
    random, prefix = rng.random, f"demo-{day}-"
    events = []
    for number, (moment, habits, use, size) in enumerate(drawn):
        all_input = use.input_tokens * size >> 6
        cached = all_input * use.cached_percent // 100
        uncached = all_input - cached
        output = use.output_tokens * size >> 6
        dice = random()
        events.append(
            UsageEvent(
                SOURCE,
                f"{prefix}{number:06d}",
                _EPOCH + timedelta(microseconds=moment),
                habits.by,
                use.product,
                use.model,
                uncached * use.input_price + cached * use.cached_price + output * use.output_price,
                uncached,
                cached,
                output,
                None,
                habits.tags[dice < _TAGGED / 4] if dice < _TAGGED else None,
            )
        )
    return events


def _corrections(events: Sequence[UsageEvent], day: date, rng: Random, *, until: datetime) -> list[UsageEvent]:
    """Return at most one correction for the day: a use given back in full or by half, some hours later."""
    if not events or rng.randrange(100) >= _CORRECTED_PERCENT:
        return []
    wrong = events[rng.randrange(len(events))]
    at = wrong.at + timedelta(microseconds=rng.randrange(_LATEST_CORRECTION // 12, _LATEST_CORRECTION))
    parts = 1 + rng.randrange(2)
    if at >= until:  # in the next day it would be missed by a start that finds that day begun
        return []
    return [
        UsageEvent(
            SOURCE,
            f"demo-{day}-c00000",
            at,
            wrong.user,
            wrong.product,
            wrong.model,
            -((wrong.credits or 0) // parts),
            -(wrong.input_tokens // parts),
            -(wrong.cached_input_tokens // parts),
            -(wrong.output_tokens // parts),
            corrects=wrong.id,
        )
    ]
