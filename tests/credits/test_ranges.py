from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditdesk.credits.errors import ErrorCode, InvalidRangeError
from creditdesk.credits.ranges import (
    MAX_DAYS,
    RangePreset,
    Span,
    day_of,
    days_of,
    midnight,
    months_of,
    range_of_days,
    range_of_instants,
    range_of_preset,
)

ZONES = st.sampled_from(
    ["UTC", "Asia/Kathmandu", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia", "Asia/Tehran"]
)
MOMENTS = st.datetimes(datetime(2001, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 3, 28), "Europe/Berlin", 24),
        (date(2026, 3, 29), "Europe/Berlin", 23),
        (date(2026, 10, 25), "Europe/Berlin", 25),
        (date(2026, 4, 5), "Australia/Lord_Howe", 24.5),
        (date(2026, 10, 4), "Australia/Lord_Howe", 23.5),
        (date(2026, 4, 4), "America/Santiago", 25),
        (date(2026, 9, 6), "America/Santiago", 23),
        (date(2011, 12, 30), "Pacific/Apia", 0),
        (date(2026, 6, 1), "Asia/Kathmandu", 24),
    ],
)
def test_a_day_is_as_long_as_the_zone_s_clocks_make_it(day: date, zone: str, hours: float) -> None:
    range_ = range_of_days(day, day, zone=zone)
    assert range_.end - range_.start == timedelta(hours=hours)
    assert (range_.first_day, range_.last_day, range_.edges) == (day, day, ())


def test_midnight_that_clocks_skip_is_the_moment_they_do() -> None:
    assert midnight(date(2026, 9, 6), "America/Santiago") == at("2026-09-06T04:00:00Z")
    assert midnight(date(2026, 6, 1), "Asia/Kathmandu") == at("2026-05-31T18:15:00Z")


# In Berlin it is the 29th of March, one hour after midnight, when UTC is still on the 29th; in Kathmandu it is later.
PRESETS = [
    ("2026-03-29T23:30:00Z", "Europe/Berlin", RangePreset.TODAY, "2026-03-30", "2026-03-30"),
    ("2026-03-29T21:30:00Z", "Europe/Berlin", RangePreset.TODAY, "2026-03-29", "2026-03-29"),
    ("2026-03-29T23:30:00Z", "UTC", RangePreset.TODAY, "2026-03-29", "2026-03-29"),
    ("2026-03-29T18:15:00Z", "Asia/Kathmandu", RangePreset.TODAY, "2026-03-30", "2026-03-30"),
    ("2026-03-01T12:00:00Z", "UTC", RangePreset.LAST_7_DAYS, "2026-02-23", "2026-03-01"),
    ("2028-03-01T12:00:00Z", "UTC", RangePreset.LAST_7_DAYS, "2028-02-24", "2028-03-01"),
    ("2026-03-31T12:00:00Z", "UTC", RangePreset.LAST_30_DAYS, "2026-03-02", "2026-03-31"),
    ("2026-03-31T12:00:00Z", "UTC", RangePreset.LAST_90_DAYS, "2026-01-01", "2026-03-31"),
    ("2026-03-31T12:00:00Z", "UTC", RangePreset.THIS_MONTH, "2026-03-01", "2026-03-31"),
    ("2026-03-31T12:00:00Z", "UTC", RangePreset.LAST_MONTH, "2026-02-01", "2026-02-28"),
    ("2028-03-31T12:00:00Z", "UTC", RangePreset.LAST_MONTH, "2028-02-01", "2028-02-29"),
    ("2026-01-01T00:00:00Z", "UTC", RangePreset.LAST_MONTH, "2025-12-01", "2025-12-31"),
    ("2026-01-01T00:00:00Z", "America/Santiago", RangePreset.LAST_MONTH, "2025-11-01", "2025-11-30"),
    ("2026-01-01T00:00:00Z", "UTC", RangePreset.THIS_PERIOD, "2026-01-01", "2026-01-31"),
    ("2026-01-01T00:00:00Z", "UTC", RangePreset.LAST_PERIOD, "2025-12-01", "2025-12-31"),
    ("2026-06-30T22:00:00Z", "Europe/Berlin", RangePreset.THIS_MONTH, "2026-07-01", "2026-07-31"),
]


@pytest.mark.parametrize(("now", "zone", "preset", "first", "last"), PRESETS)
def test_presets_are_days_of_the_zone(now: str, zone: str, preset: RangePreset, first: str, last: str) -> None:
    expected = range_of_days(date.fromisoformat(first), date.fromisoformat(last), zone=zone)
    assert range_of_preset(preset, zone=zone, now=at(now)) == expected


@given(MOMENTS, ZONES)
def test_every_preset_is_a_range_on_every_day(now: datetime, zone: str) -> None:
    for preset in RangePreset:
        range_ = range_of_preset(preset, zone=zone, now=now)
        past = preset in (RangePreset.LAST_MONTH, RangePreset.LAST_PERIOD)
        assert (range_.end <= now) if past else (range_.start <= now < range_.end)


@given(MOMENTS, st.timedeltas(timedelta(microseconds=1), timedelta(days=400)), ZONES)
def test_whole_days_and_edges_are_the_range_without_gap_or_overlap(
    start: datetime, length: timedelta, zone: str
) -> None:
    range_ = range_of_instants(start, start + length, zone=zone)
    spans = list(range_.edges)
    if range_.first_day <= range_.last_day:
        days = range_of_days(range_.first_day, range_.last_day, zone=zone)
        spans.append(Span(days.start, days.end))
    spans.sort(key=lambda span: span.start)
    assert (spans[0].start, spans[-1].end) == (start, start + length)
    assert [span.end for span in spans[:-1]] == [span.start for span in spans[1:]]
    # The edges are parts of days, so that few events are read for them.
    assert all(len({day_of(moment, zone) for moment in (span.start, span.end)}) <= 2 for span in range_.edges)


DAYS = st.dates(date(2019, 12, 1), date(2028, 3, 31))


@given(DAYS, st.integers(0, 399), st.none() | DAYS)
def test_months_with_days_added_and_taken_away_are_the_range(first: date, length: int, today: date | None) -> None:
    range_ = range_of_days(first, first + timedelta(days=length), zone="UTC", today=today)
    for months in (days_of(range_), months_of(range_)):
        counted = Counter(days_between(months.start, months.end - timedelta(days=1)))
        for span in months.days:
            for day in days_between(span.first, span.last):
                counted[day] += span.sign
        assert {day: times for day, times in counted.items() if times} == dict.fromkeys(
            days_between(range_.first_day, range_.last_day), 1
        )
    # No more than half of a month at either end; days to come hold nothing.
    read = [day for span in months.days for day in days_between(span.first, span.last) if today is None or day <= today]
    assert len(read) <= 2 * 16


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


@pytest.mark.parametrize(
    ("today", "months", "days"),
    [
        # The rest of November is still to come, so November is read whole.
        ("2026-11-20", ("2026-09-01", "2026-12-01"), [("2026-08-23", 9, 1), ("2026-11-21", 10, -1)]),
        (None, ("2026-09-01", "2026-12-01"), [("2026-08-23", 9, 1), ("2026-11-21", 10, -1)]),
        ("2026-11-02", ("2026-08-01", "2026-12-01"), [("2026-08-01", 4, -1), ("2026-11-03", 28, -1)]),
    ],
)  # fmt: skip
def test_ninety_days_are_read_as_months_and_the_fewest_days(
    today: str | None, months: tuple[str, str], days: list[tuple[str, int, int]]
) -> None:
    last = date.fromisoformat(today or "2026-11-20")
    known = last if today else None
    found = months_of(range_of_days(last - timedelta(days=89), last, zone="UTC", today=known))
    assert (str(found.start), str(found.end)) == months
    assert [(str(span.first), (span.last - span.first).days + 1, span.sign) for span in found.days] == days


def test_instants_that_are_midnights_are_whole_days_without_edges() -> None:
    range_ = range_of_instants(at("2026-03-28T23:00:00Z"), at("2026-03-30T00:00:00+02:00"), zone="Europe/Berlin")
    assert range_ == range_of_days(date(2026, 3, 29), date(2026, 3, 29), zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2026, 6, 2), date(2026, 6, 1)),
        (date(1, 1, 1), date(1, 1, 1)),
        (date(9999, 12, 31), date(9999, 12, 31)),
        (date(1999, 12, 31), date(2000, 1, 1)),
        (date(2100, 12, 31), date(2101, 1, 1)),
        (date(1, 1, 1), date(9999, 12, 31)),
        (date(2010, 1, 1), date(2010, 1, 1) + timedelta(days=MAX_DAYS)),
    ],
)
def test_days_that_are_no_range_are_refused(first: date, last: date) -> None:
    for zone in ("UTC", "Asia/Kathmandu", "America/Santiago"):
        with pytest.raises(InvalidRangeError) as refused:
            range_of_days(first, last, zone=zone)
        assert refused.value.code is ErrorCode.INVALID_RANGE


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-06-01T00:00:00Z", "2026-06-01T00:00:00Z"),
        ("2026-06-01T00:00:01Z", "2026-06-01T00:00:00Z"),
        ("2026-06-01T02:00:00+02:00", "2026-06-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z"),
        ("9999-12-31T00:00:00Z", "9999-12-31T23:59:59Z"),
        ("1999-12-31T23:59:59Z", "2000-01-02T00:00:00Z"),
        ("2100-12-31T00:00:00Z", "2101-01-01T00:00:01Z"),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
        ("2010-01-01T00:00:00Z", "2020-03-01T00:00:00Z"),
    ],
)
def test_instants_that_are_no_range_are_refused(start: str, end: str) -> None:
    for zone in ("UTC", "Asia/Kathmandu", "America/Santiago"):
        with pytest.raises(InvalidRangeError) as refused:
            range_of_instants(at(start), at(end), zone=zone)
        assert refused.value.code is ErrorCode.INVALID_RANGE


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))])),
       st.datetimes(timezones=st.just(UTC)), ZONES)  # fmt: skip
def test_any_two_moments_are_a_range_or_refused(start: datetime, end: datetime, zone: str) -> None:
    try:
        range_ = range_of_instants(start, end, zone=zone)
    except InvalidRangeError:
        return
    assert (range_.start, range_.end) == (start, end)


@given(st.dates(), st.dates(), ZONES)
def test_any_two_days_are_a_range_or_refused(first: date, last: date, zone: str) -> None:
    try:
        range_ = range_of_days(first, last, zone=zone)
    except InvalidRangeError:
        return
    assert (range_.first_day, range_.last_day) == (first, last)
    assert range_.start.astimezone(ZoneInfo(zone)).date() >= first


def test_the_first_and_the_last_day_of_all_are_ranges() -> None:
    assert range_of_days(date(2000, 1, 1), date(2000, 1, 1), zone="Asia/Kathmandu").start == at("1999-12-31T18:15:00Z")
    assert range_of_days(date(2100, 12, 31), date(2100, 12, 31), zone="UTC").end == at("2101-01-01T00:00:00Z")
