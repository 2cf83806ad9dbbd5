"""Totals, breakdowns and series against a second implementation: plain Python over the list of events."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from random import Random
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from creditdesk.credits.amounts import format_credits
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.ranges import Range, months_of, range_of_days, range_of_instants
from creditdesk.credits.series import Interval, Series, series_of, series_rows_of
from creditdesk.credits.usage import (
    NO_GROUP,
    Breakdown,
    BreakdownRow,
    Cell,
    Dimension,
    Figures,
    Filter,
    Key,
    Ordering,
    UsageQuery,
    usage_of,
    usage_rows_of,
)
from creditdesk.credits.written_usage import usage_written_of, usage_written_of_users
from creditdesk.graphql.ids import encode_id
from support.ledgers import Desk, Ledger

ZONES = ("UTC", "Asia/Kathmandu", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago")
FIRST = datetime(2026, 2, 20, tzinfo=UTC)
DAYS = 260
NOW = FIRST + timedelta(days=DAYS + 1)
GROUPS = ("red", "blue", "green")
USERS = ("u1", "u2", "u3", "u4", "u5", "u6", "u7")
# Not in the order of any language's dictionary: rows that tie are ordered bytewise.
PRODUCTS, MODELS = ("p", "Q", "é"), ("m", "N", "o")
QUESTIONS = 50


@dataclass(frozen=True, slots=True)
class Use:
    """An event and what it was charged to."""

    event: UsageEvent
    user_id: UUID
    group_id: UUID

    @property
    def figures(self) -> Figures:
        event = self.event
        requests = 1 if event.corrects is None else 0
        return Figures(event.credits or 0, requests, event.input_tokens, event.cached_input_tokens, event.output_tokens)

    def value(self, dimension: Dimension) -> UUID | str:
        match dimension:
            case Dimension.USER:
                return self.user_id
            case Dimension.GROUP:
                return self.group_id
            case Dimension.PRODUCT:
                return self.event.product
            case Dimension.MODEL:
                return self.event.model


@dataclass(frozen=True, slots=True)
class Population:
    """A workspace whose people have moved since some of its events."""

    ledger: Ledger
    uses: tuple[Use, ...]
    members: dict[UUID, frozenset[UUID]]


def offset_changes(zone: str) -> list[datetime]:
    """Return the moments at which a zone's clocks change."""
    hours = [FIRST + timedelta(minutes=30 * step) for step in range(DAYS * 48)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return [hour for hour, before, after in zip(hours[1:], offsets, offsets[1:], strict=False) if before != after]


def random_events(random: Random, ledger: Ledger, count: int, batch: int) -> list[UsageEvent]:
    changes = offset_changes(ledger.zone)
    events = []
    for number in range(count):
        at = FIRST + timedelta(seconds=random.randrange(DAYS * 86_400), microseconds=random.choice((0, 1, 999_999)))
        if changes and number % 10 == 0:
            at = random.choice(changes) + timedelta(minutes=random.randrange(-240, 240))
        events.append(
            UsageEvent(
                "s",
                f"{batch}-{number}",
                at,
                UserBy(id=ledger.users[random.choice(USERS)]),
                random.choice(PRODUCTS),
                random.choice(MODELS),
                # Few values, so that many rows tie.
                credits=random.choice((0, 1, 5, 1_000_000, random.randrange(10**7))),
                input_tokens=random.randrange(9),
                cached_input_tokens=random.randrange(9),
                output_tokens=random.randrange(9),
            )
        )
    return events


@pytest.fixture(scope="module", params=ZONES)
def population(request: pytest.FixtureRequest, desk: Desk) -> Population:
    zone: str = request.param
    random = Random(zone)  # noqa: S311 - dice, not a secret
    ledger = Ledger(desk, zone)
    ledger.put_groups(*GROUPS)
    uses: list[Use] = []
    members: dict[UUID, frozenset[UUID]] = {}
    for batch in range(3):
        homes: dict[UUID, UUID] = {}
        for name in USERS:
            home, groups = random.choice([*GROUPS, None]), random.sample(GROUPS, random.randint(0, 3))
            user_id = ledger.put_user(name, home=home, groups=groups)
            homes[user_id] = ledger.groups[home] if home else NO_GROUP
            members[user_id] = frozenset(ledger.groups[group] for group in groups)
        new = []
        for event in random_events(random, ledger, 900, batch):
            assert event.user.id
            new.append(Use(event, event.user.id, homes[event.user.id]))
        # Corrections are charged to whom the use was charged to, wherever that user is now.
        correctable = [use for use in uses or new if use.event.corrects is None]
        for number, use in enumerate(random.sample(correctable, 60)):
            event = replace(
                use.event,
                id=f"{batch}-c{number}",
                at=use.event.at + timedelta(hours=random.randrange(48)),
                credits=-(use.event.credits or 0),
                corrects=use.event.id,
            )
            new.append(replace(use, event=event))
        recorded = ledger.record(*(use.event for use in new), now=NOW)
        assert (recorded.accepted, recorded.rejected) == (len(new), ())
        uses += new
    assert ledger.reconciled().differences == ()
    return Population(ledger, tuple(uses), members)


# What is asked.


def random_range(random: Random, zone: str, *, longest: int) -> Range:
    start = FIRST + timedelta(seconds=random.randrange(DAYS * 86_400))
    if random.random() < 0.2 and offset_changes(zone):
        start = random.choice(offset_changes(zone)) - timedelta(minutes=random.randrange(0, 2880, 15))
    lengths = [600, 5000, 86_400, 3 * 86_400, 40 * 86_400, 100 * 86_400]
    end = start + timedelta(seconds=random.choice([length for length in lengths if length <= longest * 86_400]))
    if random.random() < 0.6:
        days = [moment.astimezone(ZoneInfo(zone)).date() for moment in (start, end)]
        return range_of_days(days[0], days[1], zone=zone)
    return range_of_instants(start, end, zone=zone)


def random_filter(random: Random, ledger: Ledger) -> Filter:
    def perhaps(values: Iterable[Any]) -> Any:
        return tuple(values) if random.random() < 0.2 else None

    return Filter(
        users=perhaps(random.sample(sorted(ledger.users.values()), 3)),
        groups=perhaps(random.sample(sorted(ledger.groups.values()), random.randrange(3))),
        products=perhaps(["Q"]),
        models=perhaps(["m", "no such model"]),
    )


def random_cells(random: Random, ledger: Ledger) -> list[Cell]:
    """Return cells of one shape."""
    groups = sorted(ledger.groups.values())
    choices: dict[str, Sequence[Any]] = {
        "user_id": sorted(ledger.users.values()),
        "group_id": [*groups, NO_GROUP],
        "product": PRODUCTS,
        "model": MODELS,
        "members_of": groups,
    }
    parts = [part for part in choices if random.random() < 0.3]
    return [Cell(**{part: random.choice(choices[part]) for part in parts}) for _ in range(random.randint(1, 4))]


def random_caller(random: Random, ledger: Ledger) -> PermittedScopes:
    user_id = random.choice(sorted(ledger.users.values()))
    managed = frozenset(random.sample(sorted(ledger.groups.values()), 1))
    match random.randrange(4):
        case 0:
            return PermittedScopes(ledger.workspace_id, False, user_id, frozenset())  # noqa: FBT003 - no everyone
        case 1:
            return PermittedScopes(ledger.workspace_id, False, user_id, managed)  # noqa: FBT003 - no everyone
        case _:
            return ledger.everyone


# The answers, from the list of events.


def may_read(population: Population, caller: PermittedScopes, cell: Cell) -> bool:
    if caller.everyone or cell.group_id in caller.managed_groups or cell.members_of in caller.managed_groups:
        return True
    if cell.user_id is None:
        return False
    return cell.user_id == caller.user_id or bool(population.members[cell.user_id] & caller.managed_groups)


def uses_in(population: Population, caller: PermittedScopes, cell: Cell, query: UsageQuery) -> list[Use]:
    if not may_read(population, caller, cell):
        return []

    def fits(use: Use) -> bool:
        event, narrowed = use.event, query.filter
        return (
            query.range.start <= event.at < query.range.end
            and cell.user_id in (None, use.user_id)
            and cell.group_id in (None, use.group_id)
            and cell.product in (None, event.product)
            and cell.model in (None, event.model)
            # A user who was broken out of a group's members needs no looking up again.
            and (
                cell.members_of is None
                or cell.user_id is not None
                or cell.members_of in population.members[use.user_id]
            )
            and (narrowed.users is None or use.user_id in narrowed.users)
            and (narrowed.groups is None or use.group_id in narrowed.groups)
            and (narrowed.products is None or event.product in narrowed.products)
            and (narrowed.models is None or event.model in narrowed.models)
        )

    return [use for use in population.uses if fits(use)]


def added(figures: Iterable[Figures]) -> Figures:
    names = Figures.__slots__
    listed = list(figures)
    return Figures(*(sum(getattr(one, name) for one in listed) for name in names))


def keyed(uses: Iterable[Use], by: Sequence[Dimension]) -> dict[Key, list[Use]]:
    names = {Dimension.USER: "user_id", Dimension.GROUP: "group_id", Dimension.PRODUCT: "product"}
    found: dict[Key, list[Use]] = defaultdict(list)
    for use in uses:
        values = {names.get(dimension, "model"): use.value(dimension) for dimension in by}
        found[Key(**cast("Any", values))].append(use)
    return found


def ties(key: Key) -> tuple[bytes, bytes, UUID, UUID]:
    return (key.product or "").encode(), (key.model or "").encode(), key.user_id or NO_GROUP, key.group_id or NO_GROUP


def rank(figures: Figures, ordering: Ordering) -> int:
    match ordering:
        case Ordering.CREDITS_DESC:
            return -figures.credits
        case Ordering.CREDITS_ASC:
            return figures.credits
        case Ordering.REQUESTS_DESC:
            return -figures.requests
        case Ordering.TOKENS_DESC:
            return -(figures.input_tokens + figures.cached_input_tokens + figures.output_tokens)


def expected_breakdown(uses: Iterable[Use], query: UsageQuery) -> Breakdown:
    rows = [BreakdownRow(key, added(use.figures for use in inside)) for key, inside in keyed(uses, query.by).items()]
    rows.sort(key=lambda row: (rank(row.figures, query.ordering), *ties(row.key)))
    others = rows[query.first :]
    return Breakdown(tuple(rows[: query.first]), added(row.figures for row in others), len(others))


@cache
def day_start(day: date, zone: str) -> datetime:
    """Find the first moment that a zone's calendar shows this day, by halving."""
    early, late = (datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=days) for days in (-2, 2))
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(ZoneInfo(zone)).date() >= day:
            late = middle
        else:
            early = middle
    return late


def point_of(moment: datetime, interval: Interval, zone: str) -> datetime:
    """Return the start of the point that a moment is in."""
    local = moment.astimezone(ZoneInfo(zone))
    match interval:
        case Interval.HOUR:
            # As date_trunc('hour', at, zone) has it: the clock's own hour, also where clocks change by half of one.
            return moment - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        case Interval.DAY:
            return day_start(local.date(), zone)
        case Interval.WEEK:
            return day_start(local.date() - timedelta(days=local.weekday()), zone)
        case Interval.MONTH:
            return day_start(local.date().replace(day=1), zone)


def points_in(range_: Range, interval: Interval) -> list[datetime]:
    step = timedelta(minutes=10) if interval is Interval.HOUR else timedelta(hours=6)
    moments, moment = [range_.end - timedelta(microseconds=1)], range_.start
    while moment < range_.end:
        moments.append(moment)
        moment += step
    return sorted({point_of(moment, interval, range_.zone) for moment in moments})


def expected_series(uses: list[Use], query: UsageQuery, interval: Interval) -> tuple[Series, ...]:
    starts = points_in(query.range, interval)

    def shown(key: Key | None, inside: Iterable[Use]) -> Series:
        points: dict[datetime, list[Figures]] = defaultdict(list)
        for use in inside:
            points[point_of(use.event.at, interval, query.range.zone)].append(use.figures)
        assert set(points) <= set(starts)
        return Series(key, tuple((start, added(points[start])) for start in starts))

    if not query.by:
        return (shown(Key(), uses),)
    found = keyed(uses, query.by)
    ranked = sorted(found, key=lambda key: (-added(use.figures for use in found[key]).credits, *ties(key)))
    rest = [use for key in ranked[query.first :] for use in found[key]]
    return tuple(shown(key, found[key]) for key in ranked[: query.first]) + ((shown(None, rest),) if rest else ())


def asked(population: Population, random: Random, *, longest: int = 400) -> UsageQuery:
    return UsageQuery(
        random_range(random, population.ledger.zone, longest=longest),
        random_filter(random, population.ledger),
        tuple(random.sample(list(Dimension), random.randrange(5))),
        first=random.choice((1, 2, 50)),
        ordering=random.choice(list(Ordering)),
    )


def test_breakdowns_are_what_the_events_say_whatever_is_asked(population: Population) -> None:
    random, ledger = Random(1), population.ledger  # noqa: S311 - dice, not a secret
    for _ in range(QUESTIONS):
        query, cells = asked(population, random), random_cells(random, ledger)
        caller = random_caller(random, ledger)
        conn = ledger.desk.database.reader(caller.row_scope)
        for cell, answer in zip(cells, ledger.desk.run(usage_of(conn, caller, cells, query)), strict=True):
            uses = uses_in(population, caller, cell, query)
            assert answer == expected_breakdown(uses, query), (caller, cell, query)
            assert added([*(row.figures for row in answer.rows), answer.other]) == added(use.figures for use in uses)


def test_who_used_most_is_the_same_with_credits_alone_and_whatever_day_it_is(population: Population) -> None:
    random, ledger = Random(2), population.ledger  # noqa: S311 - dice, not a secret
    for _ in range(QUESTIONS):
        first = (FIRST + timedelta(days=random.randrange(DAYS))).date()
        last = first + timedelta(days=random.choice((0, 6, 40, 89)))
        days = range_of_days(first, last, zone=ledger.zone, today=first + timedelta(days=random.randrange(99)))
        query = UsageQuery(days, by=(Dimension.USER,), first=random.choice((1, 3, 20)))
        expected = expected_breakdown(uses_in(population, ledger.everyone, Cell(), query), query)
        asked = [query, replace(query, credits_only=True)]
        whole, lean = (ledger.desk.run(usage_of(ledger.reader, ledger.everyone, [Cell()], one))[0] for one in asked)
        assert whole == expected
        assert [(row.key, row.figures.credits) for row in lean.rows] == [
            (row.key, row.figures.credits) for row in expected.rows
        ]


def test_who_used_something_on_other_days_of_the_month_alone_has_no_row(ledger: Ledger) -> None:
    used = datetime(2026, 6, 3, 12, tzinfo=UTC)
    ledger.record(
        ledger.event("1", at=used, user=UserBy(id=ledger.users["ada"])),
        ledger.event("2", at=used, user=UserBy(id=ledger.users["bob"])),
        ledger.event("3", at=used + timedelta(days=9), user=UserBy(id=ledger.users["bob"]), credits=0),
    )
    days = range_of_days(date(2026, 6, 10), date(2026, 6, 30), zone=ledger.zone)
    assert months_of(days).start == date(2026, 6, 1)
    for credits_only in (False, True):
        query = UsageQuery(days, by=(Dimension.USER,), first=20, credits_only=credits_only)
        [found] = ledger.desk.run(usage_of(ledger.reader, ledger.everyone, [Cell()], query))
        assert [(row.key.user_id, row.figures.credits) for row in found.rows] == [(ledger.users["bob"], 0)]


TEMPLATE = '{"product":%1$s,"100%% of":%2$s,"figures":["%3$s","%4$s","%5$s","%6$s","%7$s"]}'


def as_written(breakdown: Breakdown) -> list[dict[str, object]]:
    return [
        {
            "product": row.key.product,
            "100% of": row.key.model,
            "figures": [format_credits(row.figures.credits), *map(str, astuple(row.figures)[1:])],
        }
        for row in breakdown.rows
    ]


def test_rows_that_are_written_say_what_the_events_say_of_those_whom_the_caller_may_see(population: Population) -> None:
    random, ledger = Random("written"), population.ledger  # noqa: S311 - dice, not a secret
    users = [ledger.users[name] for name in USERS]
    seen = 0
    for _ in range(QUESTIONS):
        first = (FIRST + timedelta(days=random.randrange(DAYS))).date()
        days = range_of_days(first, first + timedelta(days=random.choice((0, 6, 40, 89))), zone=ledger.zone)
        by = random.choice(((Dimension.PRODUCT, Dimension.MODEL), (Dimension.PRODUCT,), (Dimension.MODEL,), ()))
        query = UsageQuery(days, by=by, first=random.choice((1, 3, 20)), ordering=random.choice(list(Ordering)))
        caller = random_caller(random, ledger)
        conn = ledger.desk.database.reader(caller.row_scope)
        every = [*map(str, users)]
        asked = [every, *([user] for user in every)]  # one alone is read by another statement
        found, *alone = ledger.desk.run(
            conn.look_up([usage_written_of_users(caller, some, query, TEMPLATE) for some in asked])
        )
        assert [one for [one] in alone] == found
        for user_id, one in zip(users, found, strict=True):
            uses = uses_in(population, caller, Cell(user_id=user_id), query)
            assert json.loads(one.written or "") == as_written(expected_breakdown(uses, query)), (caller, query)
            seen += one.written != "[]"
    assert seen


@pytest.mark.parametrize("names", [["ada"], ["bob", "ada"]])
def test_words_are_escaped_where_rows_are_written(ledger: Ledger, names: list[str]) -> None:
    words = ('say "100%s"', "back\\slash", "\u00e9", "of two lines")
    now = datetime(2026, 6, 3, 12, tzinfo=UTC)
    ada = ledger.users["ada"]
    ledger.record(
        *(
            ledger.event(str(nth), at=now, user=UserBy(id=ada), product=word, credits=9 - nth)
            for nth, word in enumerate(words)
        )
    )
    # No event has a line's end in a word, and no list may be cut there all the same.
    ledger.desk.sql(
        "UPDATE rollup_user_detail_day SET product = 'of two\n' || 'lines' WHERE product = 'of two lines'"
        " AND workspace_id = %s",
        ledger.workspace_id,
    )
    words = (*words[:-1], "of two\nlines")
    query = UsageQuery(range_of_days(now.date(), now.date(), zone=ledger.zone), by=(Dimension.PRODUCT,), first=9)
    users = [str(ledger.users[name]) for name in names]
    [found] = ledger.desk.run(ledger.reader.look_up([usage_written_of_users(ledger.everyone, users, query, "%1$s")]))
    assert json.loads(found[-1].written or "") == list(words)
    assert [one.written for one in found[:-1]] == ["[]"] * (len(names) - 1)


MOST = '{"id":"%8$s","name":%9$s,"address":%10$s,"100%% of":"%3$s","words":[%1$s,%2$s]}'


def test_who_used_most_is_written_as_the_rows_say(population: Population) -> None:
    random, ledger = Random("most"), population.ledger  # noqa: S311 - dice, not a secret
    ledger.desk.sql(
        "UPDATE app_user SET email = NULL, display_name = %s WHERE workspace_id = %s AND id = %s",
        'say "100%s"', ledger.workspace_id, ledger.users["u3"],
    )  # fmt: skip
    shown: list[dict[str, object]] = []
    for _ in range(QUESTIONS // 3):
        first = (FIRST + timedelta(days=random.randrange(DAYS))).date()
        days = range_of_days(first, first + timedelta(days=random.choice((0, 6, 40, 89))), zone=ledger.zone)
        query = UsageQuery(days, by=(Dimension.USER,), first=random.choice((1, 3, 20)), credits_only=True)
        asked = [
            usage_written_of(ledger.everyone, [Cell()], query, MOST),
            usage_rows_of(ledger.everyone, [Cell()], query),
        ]
        [written], [lean] = ledger.desk.run(ledger.reader.look_up(asked))
        users = {user.id: user for user in lean.users}
        found = json.loads(written.written or "")
        assert found == [
            {
                "id": encode_id("User", user_id),
                "name": users[user_id].display_name,
                "address": users[user_id].email,
                "100% of": format_credits(spent),
                "words": [None, None],
            }
            for _, user_id, _, _, _, spent, *_ in lean.rows
        ]
        shown += found
    assert {(one["name"], one["address"]) for one in shown} >= {('say "100%s"', None), ("U1", "u1@example.com")}


def test_who_is_not_there_to_be_named_is_not_written(ledger: Ledger) -> None:
    now = datetime(2026, 6, 3, 12, tzinfo=UTC)
    ledger.record(ledger.event("1", at=now, user=UserBy(id=ledger.users["ada"])))
    day = range_of_days(now.date(), now.date(), zone=ledger.zone)
    query = UsageQuery(day, by=(Dimension.USER,), first=9, credits_only=True)
    asked = [usage_written_of(ledger.everyone, [Cell()], query, "%8$s")]
    ledger.desk.run(ledger.reader.look_up(asked))
    ledger.desk.sql(
        "UPDATE rollup_user_day SET user_id = gen_random_uuid() WHERE workspace_id = %s", ledger.workspace_id
    )
    with pytest.raises(LookupError):
        ledger.desk.run(ledger.reader.look_up(asked))


POINT = '{"at":"%1$s","100%% of":"%2$s"}'


@pytest.mark.parametrize("interval", [Interval.DAY, Interval.WEEK, Interval.MONTH])
def test_points_that_are_written_say_what_the_events_say(population: Population, interval: Interval) -> None:
    random, ledger = Random(f"written {interval.name}"), population.ledger  # noqa: S311 - dice, not a secret
    rest = 0
    for _ in range(QUESTIONS // 3):
        first = (FIRST + timedelta(days=random.randrange(DAYS))).date()
        days = range_of_days(first, first + timedelta(days=random.choice((0, 6, 40, 89))), zone=ledger.zone)
        by = random.choice(((Dimension.PRODUCT,), (Dimension.PRODUCT,), (Dimension.MODEL,), ()))
        query = UsageQuery(days, by=by, first=random.choice((1, 2, 20)), credits_only=True)
        asked = series_rows_of(ledger.everyone, [Cell()], query, interval, POINT)
        [[found]] = ledger.desk.run(ledger.reader.look_up([asked]))
        expected = expected_series(uses_in(population, ledger.everyone, Cell(), query), query, interval)
        assert [(one.key, json.loads(one.written or "")) for one in found] == [
            (
                one.key,
                [
                    {"at": f"{start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "100% of": format_credits(figures.credits)}
                    for start, figures in one.points
                ],
            )
            for one in expected
        ], query
        rest += any(one.key is None for one in found)
    assert rest


def credits_of(series: Series) -> tuple[Key | None, list[tuple[datetime, int]]]:
    return series.key, [(start, figures.credits) for start, figures in series.points]


@pytest.mark.parametrize("interval", list(Interval))
def test_series_are_what_the_events_say_and_leave_no_point_out(population: Population, interval: Interval) -> None:
    random, ledger = Random(interval.name), population.ledger  # noqa: S311 - dice, not a secret
    for _ in range(QUESTIONS // 3):
        query = asked(population, random, longest=3 if interval is Interval.HOUR else 400)
        query, cells = replace(query, by=query.by[:1]), random_cells(random, ledger)
        caller = random_caller(random, ledger)
        conn = ledger.desk.database.reader(caller.row_scope)
        for cell, answer in zip(cells, ledger.desk.run(series_of(conn, caller, cells, query, interval)), strict=True):
            uses = uses_in(population, caller, cell, query)
            expected = expected_series(uses, query, interval)
            assert answer == expected, (caller, cell, query)
            [lean] = ledger.desk.run(series_of(conn, caller, [cell], replace(query, credits_only=True), interval))
            assert [credits_of(one) for one in lean] == [credits_of(one) for one in expected]
            points = [figures for series in answer for _, figures in series.points]
            assert added(points) == added(use.figures for use in uses)


@pytest.mark.parametrize("interval", [Interval.DAY, Interval.WEEK, Interval.MONTH])
def test_series_of_the_workspace_s_credits_are_what_the_events_say(population: Population, interval: Interval) -> None:
    random, ledger = Random(interval.name), population.ledger  # noqa: S311 - dice, not a secret
    for _ in range(QUESTIONS // 3):
        first = (FIRST + timedelta(days=random.randrange(-30, DAYS))).date()
        days = range_of_days(first, first + timedelta(days=random.choice((0, 6, 40, 89))), zone=ledger.zone)
        by = random.choice(((), (Dimension.PRODUCT,), (Dimension.MODEL,)))
        query = UsageQuery(days, by=by, first=random.choice((1, 2, 50)), credits_only=True)
        caller = random_caller(random, ledger)
        conn = ledger.desk.database.reader(caller.row_scope)
        [found] = ledger.desk.run(series_of(conn, caller, [Cell()], query, interval))
        expected = expected_series(uses_in(population, caller, Cell(), query), query, interval)
        assert [credits_of(one) for one in found] == [credits_of(one) for one in expected], (caller, query)


def test_the_hours_of_days_on_which_clocks_change_add_up_to_those_days(population: Population) -> None:
    ledger = population.ledger
    for change in offset_changes(ledger.zone):
        day = change.astimezone(ZoneInfo(ledger.zone)).date()
        query = UsageQuery(range_of_days(day - timedelta(days=1), day + timedelta(days=1), zone=ledger.zone))
        [[total]] = [one.rows for one in ledger.desk.run(usage_of(ledger.reader, ledger.everyone, [Cell()], query))]
        for interval in Interval:
            [[series]] = ledger.desk.run(series_of(ledger.reader, ledger.everyone, [Cell()], query, interval))
            assert added(figures for _, figures in series.points) == total.figures
            assert total.figures.requests > 0
