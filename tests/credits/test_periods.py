import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditdesk.credits.errors import ErrorCode, InvalidInputError
from creditdesk.credits.periods import (
    BillingAnchor,
    Cadence,
    Period,
    anchors_with,
    next_boundary,
    period_of,
    period_of_day,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "periods.json").read_text(encoding="utf-8"))["cases"]
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
MILLENNIUM = date(2000, 1, 1)
# Some skip a midnight, some set the clocks back over it, Apia and Fakaofo skipped all of 30 December 2011.
ZONES = st.sampled_from(
    [
        "UTC",
        "Africa/Cairo",
        "America/Havana",
        "America/New_York",
        "America/Santiago",
        "America/St_Johns",
        "Antarctica/Casey",
        "Asia/Beirut",
        "Asia/Kathmandu",
        "Asia/Tehran",
        "Australia/Lord_Howe",
        "Europe/Berlin",
        "Pacific/Apia",
        "Pacific/Fakaofo",
        "Pacific/Kiritimati",
    ]
)
# Where clocks change, so that not only one moment in thousands is near such a change.
TURNS = st.sampled_from(
    [
        datetime(2010, 3, 4, 15, 0, tzinfo=UTC),  # Casey goes back from 2 o'clock to 23 o'clock of the day before.
        datetime(2010, 11, 7, 2, 31, tzinfo=UTC),  # St. John's goes back from 0:01 to 23:01 of the day before.
        datetime(2011, 12, 30, 10, 0, tzinfo=UTC),  # Apia goes on from the 29th to the 31st.
        datetime(2026, 3, 28, 22, 0, tzinfo=UTC),  # Beirut goes from midnight to 1 o'clock.
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2026, 4, 23, 22, 0, tzinfo=UTC),  # Cairo goes from midnight to 1 o'clock.
        datetime(2026, 9, 6, 4, 0, tzinfo=UTC),  # Santiago goes from midnight to 1 o'clock.
        datetime(2026, 11, 1, 5, 0, tzinfo=UTC),  # Havana goes from 1 o'clock to midnight.
    ]
)
MOMENTS = st.one_of(
    st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    st.builds(lambda turn, after: turn + after, TURNS, st.timedeltas(-2 * DAY, 2 * DAY)),
    st.builds(lambda turn, hours: turn + timedelta(hours=hours), TURNS, st.integers(-30, 30)),
)
DAYS = st.dates(MILLENNIUM, date(2036, 12, 31))
ANCHOR_DAYS = st.integers(1, 31)


@st.composite
def moments_and_anchors(draw: st.DrawFn) -> tuple[datetime, tuple[BillingAnchor, ...]]:
    """A moment, and anchors that change on any days around it, boundaries or not."""
    moment = draw(MOMENTS)
    first = draw(st.dates(date(1999, 1, 1), MILLENNIUM))
    around = st.integers(-70, 70).map(lambda days: moment.date() + days * DAY)
    later = draw(st.sets(around.filter(lambda day: day > first), max_size=4))
    return moment, tuple(BillingAnchor(since, draw(ANCHOR_DAYS)) for since in (first, *sorted(later)))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def anchored(*days: int) -> tuple[BillingAnchor, ...]:
    return tuple(BillingAnchor(MILLENNIUM, day) for day in days)


def days_of(period: Period) -> tuple[str, str]:
    return period.first_day.isoformat(), period.last_day.isoformat()


# The oracle: it walks day by day and looks at the clock on the wall, and knows nothing of months' lengths.
def starts_a_period(cadence: Cadence, day: date, anchors: Sequence[BillingAnchor]) -> bool:
    match cadence:
        case Cadence.DAY:
            return True
        case Cadence.WEEK:
            return day.isoweekday() == 1
        case Cadence.MONTH:
            return day.day == 1
        case Cadence.BILLING_CYCLE:
            anchor = [one for one in anchors if one.since <= day or one is anchors[0]][-1]
            is_last_of_month = (day + DAY).day == 1
            is_a_change = anchor is not anchors[0] and anchor.since == day
            return is_a_change or day.day == anchor.day or (is_last_of_month and day.day < anchor.day)


def first_instant(day: date, zone: str) -> datetime:
    """Return the first quarter of an hour at which the wall shows the day, or a later one."""
    instant = datetime.combine(day, time(), UTC) - timedelta(hours=15)
    while instant.astimezone(ZoneInfo(zone)).date() < day:
        instant += timedelta(minutes=15)
    return instant


def walked_period(cadence: Cadence, moment: datetime, zone: str, anchors: Sequence[BillingAnchor]) -> Period:
    first = moment.date() + 2 * DAY
    while not starts_a_period(cadence, first, anchors) or first_instant(first, zone) > moment:
        first -= DAY
    after = first + DAY
    while not starts_a_period(cadence, after, anchors) or first_instant(after, zone) <= moment:
        after += DAY
    return Period(cadence, first, after - DAY, first_instant(first, zone), first_instant(after, zone))


@pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])
def test_vector(case: dict[str, Any]) -> None:
    anchors = () if case["anchorDay"] is None else anchored(case["anchorDay"])
    cadence, moment = Cadence[case["cadence"]], at(case["moment"])
    period = period_of(cadence, moment, zone=case["zone"], anchors=anchors)
    assert (period.cadence, period.start, period.end) == (cadence, at(case["start"]), at(case["end"]))
    assert next_boundary(cadence, moment, zone=case["zone"], anchors=anchors) == at(case["end"])


@given(st.sampled_from(Cadence), moments_and_anchors(), ZONES)
def test_a_period_is_what_walking_from_day_to_day_finds(
    cadence: Cadence, when: tuple[datetime, tuple[BillingAnchor, ...]], zone: str
) -> None:
    moment, anchors = when
    period = period_of(cadence, moment, zone=zone, anchors=anchors)
    assert period == walked_period(cadence, moment, zone, anchors)
    assert period.start <= moment < period.end
    assert {period.start.tzinfo, period.end.tzinfo} == {UTC}


@given(st.sampled_from(Cadence), moments_and_anchors(), ZONES)
def test_periods_touch_without_gap_or_overlap(
    cadence: Cadence, when: tuple[datetime, tuple[BillingAnchor, ...]], zone: str
) -> None:
    moment, anchors = when

    def period_at(moment: datetime) -> Period:
        return period_of(cadence, moment, zone=zone, anchors=anchors)

    period = period_at(moment)
    assert period_at(period.start) == period_at(period.end - TICK) == period
    assert period_at(period.end).start == period.end
    assert period_at(period.start - TICK).end == period.start
    assert next_boundary(cadence, moment, zone=zone, anchors=anchors) == period.end


@given(st.sampled_from(Cadence), moments_and_anchors(), ZONES)
def test_every_day_of_a_period_leads_to_it(
    cadence: Cadence, when: tuple[datetime, tuple[BillingAnchor, ...]], zone: str
) -> None:
    moment, anchors = when
    period = period_of(cadence, moment, zone=zone, anchors=anchors)
    days = [period.first_day + nth * DAY for nth in range((period.last_day - period.first_day).days + 1)]
    assert {period_of_day(cadence, day, zone=zone, anchors=anchors) for day in days} == {period}


def test_a_moment_may_come_in_any_zone_and_the_instants_are_utc() -> None:
    moment = at("2026-06-30T20:00:00-04:00")
    assert period_of(Cadence.MONTH, moment, zone="Europe/Berlin", anchors=()) == Period(
        Cadence.MONTH, date(2026, 7, 1), date(2026, 7, 31), at("2026-06-30T22:00:00Z"), at("2026-07-31T22:00:00Z")
    )


def test_a_period_starts_where_clocks_skip_midnight() -> None:
    period = period_of_day(Cadence.DAY, date(2026, 9, 6), zone="America/Santiago", anchors=())
    assert (period.start, period.end) == (at("2026-09-06T04:00:00Z"), at("2026-09-07T03:00:00Z"))


def test_an_hour_that_comes_again_after_midnight_belongs_to_the_day_that_had_begun() -> None:
    again = at("2010-11-07T02:45:00Z")
    assert again.astimezone(ZoneInfo("America/St_Johns")).date() == date(2010, 11, 6)
    period = period_of(Cadence.DAY, again, zone="America/St_Johns", anchors=())
    assert (period.first_day, period.start, period.end) == (
        date(2010, 11, 7), at("2010-11-07T02:30:00Z"), at("2010-11-08T03:30:00Z")
    )  # fmt: skip


def test_a_day_that_a_zone_skipped_is_empty_and_no_moment_is_in_it() -> None:
    skipped = period_of_day(Cadence.DAY, date(2011, 12, 30), zone="Pacific/Apia", anchors=())
    assert skipped.start == skipped.end == at("2011-12-30T10:00:00Z")
    assert period_of(Cadence.DAY, skipped.start, zone="Pacific/Apia", anchors=()).first_day == date(2011, 12, 31)


@pytest.mark.parametrize(
    ("anchor", "day", "expected"),
    [
        (1, date(2026, 2, 28), ("2026-02-01", "2026-02-28")),
        (29, date(2027, 2, 28), ("2027-02-28", "2027-03-28")),
        (29, date(2028, 2, 28), ("2028-01-29", "2028-02-28")),
        (30, date(2028, 2, 29), ("2028-02-29", "2028-03-29")),
        (31, date(2026, 12, 30), ("2026-11-30", "2026-12-30")),
        (31, date(2026, 12, 31), ("2026-12-31", "2027-01-30")),
        (15, date(1999, 12, 31), ("1999-12-15", "2000-01-14")),
    ],
)
def test_a_billing_cycle_starts_on_the_anchor_day_or_the_month_s_last(
    anchor: int, day: date, expected: tuple[str, str]
) -> None:
    period = period_of_day(Cadence.BILLING_CYCLE, day, zone="UTC", anchors=anchored(anchor))
    assert days_of(period) == expected


def test_changing_the_anchor_takes_effect_at_the_next_boundary() -> None:
    changed = anchors_with(anchored(15), 3, today=date(2026, 6, 20))
    assert changed == (BillingAnchor(MILLENNIUM, 15), BillingAnchor(date(2026, 7, 15), 3))
    # The cycle that is running keeps its length, the one after is short, and then cycles start on the new day.
    days = [date(2026, 6, 20), date(2026, 7, 14), date(2026, 7, 15), date(2026, 8, 2), date(2026, 8, 3)]
    assert [days_of(period_of_day(Cadence.BILLING_CYCLE, day, zone="UTC", anchors=changed)) for day in days] == [
        ("2026-06-15", "2026-07-14"),
        ("2026-06-15", "2026-07-14"),
        ("2026-07-15", "2026-08-02"),
        ("2026-07-15", "2026-08-02"),
        ("2026-08-03", "2026-09-02"),
    ]


def test_an_anchor_of_today_already_holds_so_a_further_change_waits_for_the_end_of_its_short_cycle() -> None:
    changed = anchors_with(anchored(15), 3, today=date(2026, 6, 20))
    again = anchors_with(changed, 28, today=date(2026, 7, 15))
    assert again == (*changed, BillingAnchor(date(2026, 8, 3), 28))


def test_a_pending_change_is_replaced_by_the_next_one() -> None:
    pending = anchors_with(anchored(15), 3, today=date(2026, 6, 20))
    assert anchors_with(pending, 28, today=date(2026, 7, 14)) == (
        BillingAnchor(MILLENNIUM, 15),
        BillingAnchor(date(2026, 7, 15), 28),
    )


def test_a_pending_change_is_taken_back_by_naming_the_day_that_holds() -> None:
    pending = anchors_with(anchored(15), 3, today=date(2026, 6, 20))
    assert anchors_with(pending, 15, today=date(2026, 6, 21)) == anchored(15)


def test_naming_the_same_day_changes_nothing() -> None:
    assert anchors_with(anchored(15), 15, today=date(2026, 6, 20)) == anchored(15)
    pending = anchors_with(anchored(15), 3, today=date(2026, 6, 20))
    assert anchors_with(list(pending), 3, today=date(2026, 6, 21)) == pending


@pytest.mark.parametrize("day", [-1, 0, 32])
def test_a_billing_day_that_no_month_has_is_refused(day: int) -> None:
    with pytest.raises(InvalidInputError, match="from 1 to 31") as refused:
        anchors_with(anchored(15), day, today=date(2026, 6, 20))
    assert refused.value.code is ErrorCode.INVALID_INPUT


@given(ANCHOR_DAYS, st.lists(st.tuples(st.integers(0, 70), ANCHOR_DAYS), max_size=6), DAYS, ZONES)
def test_no_change_of_the_anchor_moves_a_cycle_that_has_begun(
    first: int, changes: list[tuple[int, int]], today: date, zone: str
) -> None:
    def period_on(day: date, anchors: Sequence[BillingAnchor]) -> Period:
        return period_of_day(Cadence.BILLING_CYCLE, day, zone=zone, anchors=anchors)

    anchors: tuple[BillingAnchor, ...] = anchored(first)
    for later, day in changes:
        today += timedelta(days=later)
        changed = anchors_with(anchors, day, today=today)
        running = period_on(today, anchors)
        assert [period_on(today - back * DAY, changed) for back in (0, 30, 90)] == [
            period_on(today - back * DAY, anchors) for back in (0, 30, 90)
        ]
        # The next cycle starts where the running one ends, and at the latest the one after starts on the named day.
        following = period_on(running.last_day + DAY, changed)
        assert following.first_day == running.last_day + DAY
        assert starts_a_period(Cadence.BILLING_CYCLE, following.last_day + DAY, [BillingAnchor(MILLENNIUM, day)])
        assert (changed[-1].day, changed[0]) == (day, anchors[0])
        assert sum(anchor.since > today for anchor in changed) <= 1
        assert [anchor.since for anchor in changed] == sorted({anchor.since for anchor in changed})
        anchors = changed
