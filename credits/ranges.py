"""Ranges of a report: presets, days and instants, cut into whole days of the workspace's zone and what is left over.

A day is the span between two midnights of the zone, so it has 23 to 25 hours where clocks change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import lru_cache
from zoneinfo import ZoneInfo

from creditdesk.credits.errors import InvalidRangeError

MAX_DAYS = 3700
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2100, 12, 31)
_DAY = timedelta(days=1)


class RangePreset(Enum):
    """Ranges that are named: days up to today, or whole months."""

    TODAY = "Today, in the workspace's zone."
    LAST_7_DAYS = "The last 7 days, today included."
    LAST_30_DAYS = "The last 30 days, today included."
    LAST_90_DAYS = "The last 90 days, today included."
    THIS_MONTH = "The whole of this month, the days to come included."
    LAST_MONTH = "The whole of last month."
    THIS_PERIOD = "The whole of the budget period that today is in. The period is the calendar month."
    LAST_PERIOD = "The whole of the budget period before this one. The period is the calendar month."


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open span of time: `start` is in it, `end` is not."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Range:
    """A half-open span in UTC, the days of the zone that are whole in it, and up to two spans outside those days.

    `first_day` is after `last_day` where no day is whole. `today`, where it is known, says which days are still to
    come: it makes reading cheaper and changes no answer.
    """

    zone: str
    start: datetime
    end: datetime
    first_day: date
    last_day: date
    edges: tuple[Span, ...]
    today: date | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DaySpan:
    """Days, both included, that are added to whole months, or taken away from them."""

    first: date
    last: date
    sign: int


@dataclass(frozen=True, slots=True)
class Months:
    """Whole days as months from `start` until before `end`, and the days that make up the difference."""

    start: date
    end: date
    days: tuple[DaySpan, ...]


def midnight(day: date, zone: str) -> datetime:
    """Return the instant a day starts in a zone, in UTC; where clocks skip midnight, the instant they do."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def day_of(moment: datetime, zone: str) -> date:
    """Return the day a moment is in, in a zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


def next_month(day: date) -> date:
    """Return the first day of the month after the day's."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def days_of(range_: Range) -> Months:
    """Return the whole days of a range as days alone."""
    return Months(range_.first_day, range_.first_day, (DaySpan(range_.first_day, range_.last_day, 1),))


@lru_cache(maxsize=256)
def months_of(range_: Range) -> Months:
    """Return the whole days of a range as whole months, with the fewest days that make up the difference.

    A month that is partly in the range is read as its days in it, or as the month without its other days. Days to come
    are as good as empty, so a range that ends today is read as if it ended with the month.
    """
    whole: list[date] = []
    spans: list[DaySpan] = []
    month = range_.first_day.replace(day=1)
    while month <= range_.last_day:
        last_of_month = next_month(month) - _DAY
        inside = DaySpan(max(range_.first_day, month), min(range_.last_day, last_of_month), 1)
        outside = [DaySpan(month, inside.first - _DAY, -1), DaySpan(inside.last + _DAY, last_of_month, -1)]
        outside = [span for span in outside if span.first <= span.last]
        if sum(_past_days(span, range_.today) for span in outside) < _past_days(inside, range_.today):
            whole.append(month)
            spans += outside
        else:
            spans.append(inside)
        month = next_month(month)
    if not whole:
        return days_of(range_)
    return Months(whole[0], next_month(whole[-1]), tuple(spans))


def _past_days(span: DaySpan, today: date | None) -> int:
    last = span.last if today is None else min(span.last, today)
    return max((last - span.first).days + 1, 0)


@lru_cache(maxsize=256)
def range_of_days(first: date, last: date, *, zone: str, today: date | None = None) -> Range:
    """Return the range from `first` to `last`, both included; raise InvalidRangeError where it is none."""
    if not _FIRST_DAY <= first <= last <= _LAST_DAY or (last - first).days >= MAX_DAYS:
        raise InvalidRangeError
    return Range(zone, midnight(first, zone), midnight(last + _DAY, zone), first, last, (), today)


def range_of_instants(start: datetime, end: datetime, *, zone: str) -> Range:
    """Return the range from `start` until just before `end`; raise InvalidRangeError where it is none."""
    if not start < end or start.year < _FIRST_DAY.year or end.year > _LAST_DAY.year or (end - start).days >= MAX_DAYS:
        raise InvalidRangeError
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    first, last = day_of(start, zone), day_of(end, zone) - _DAY
    if midnight(first, zone) < start:
        first += _DAY
    if last < first:
        # Inside one day, or over one midnight: all of it is edge.
        return Range(zone, start, end, first, first - _DAY, (Span(start, end),))
    edges = (Span(start, midnight(first, zone)), Span(midnight(last + _DAY, zone), end))
    return Range(zone, start, end, first, last, tuple(edge for edge in edges if edge.start < edge.end))


def range_of_preset(preset: RangePreset, *, zone: str, now: datetime) -> Range:
    """Return the range that a preset names at this moment."""
    today = day_of(now, zone)
    first_of_month = today.replace(day=1)
    match preset:
        case RangePreset.TODAY:
            return range_of_days(today, today, zone=zone, today=today)
        case RangePreset.LAST_7_DAYS:
            return range_of_days(today - 6 * _DAY, today, zone=zone, today=today)
        case RangePreset.LAST_30_DAYS:
            return range_of_days(today - 29 * _DAY, today, zone=zone, today=today)
        case RangePreset.LAST_90_DAYS:
            return range_of_days(today - 89 * _DAY, today, zone=zone, today=today)
        case RangePreset.THIS_MONTH | RangePreset.THIS_PERIOD:
            # Whole, so that it is read from the monthly rollup, and spans what a budget's period spans.
            return range_of_days(first_of_month, next_month(today) - _DAY, zone=zone, today=today)
        case RangePreset.LAST_MONTH | RangePreset.LAST_PERIOD:
            last = first_of_month - _DAY
            return range_of_days(last.replace(day=1), last, zone=zone, today=today)


def month_arguments(months: Months) -> dict[str, object]:
    """Return what a statement takes that reads months of users, and days where a range is none."""
    return {
        "months_from": months.start,
        "months_to": months.end,
        "edge_firsts": [span.first for span in months.days],
        "edge_lasts": [span.last for span in months.days],
        "edge_signs": [span.sign for span in months.days],
    }


def span_arguments(range_: Range, spans: Sequence[Span]) -> dict[str, object]:
    """Return what the statements that read events take as well."""
    return {
        "zone": range_.zone,
        "span_starts": [span.start for span in spans],
        "span_ends": [span.end for span in spans],
        "starts": range_.start,
        "ends": range_.end,
    }
