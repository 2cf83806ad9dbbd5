"""Ranges of a report: presets, days and instants, cut into whole days of the workspace's zone and what is left over.

A day is the span between two midnights of the zone, so it has 23 to 25 hours where clocks change.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
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

    `first_day` is after `last_day` where no day is whole.
    """

    zone: str
    start: datetime
    end: datetime
    first_day: date
    last_day: date
    edges: tuple[Span, ...]


def midnight(day: date, zone: str) -> datetime:
    """Return the instant a day starts in a zone, in UTC; where clocks skip midnight, the instant they do."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def day_of(moment: datetime, zone: str) -> date:
    """Return the day a moment is in, in a zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


def next_month(day: date) -> date:
    """Return the first day of the month after the day's."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def range_of_days(first: date, last: date, *, zone: str) -> Range:
    """Return the range from `first` to `last`, both included; raise InvalidRangeError where it is none."""
    if not _FIRST_DAY <= first <= last <= _LAST_DAY or (last - first).days >= MAX_DAYS:
        raise InvalidRangeError
    return Range(zone, midnight(first, zone), midnight(last + _DAY, zone), first, last, ())


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
            return range_of_days(today, today, zone=zone)
        case RangePreset.LAST_7_DAYS:
            return range_of_days(today - 6 * _DAY, today, zone=zone)
        case RangePreset.LAST_30_DAYS:
            return range_of_days(today - 29 * _DAY, today, zone=zone)
        case RangePreset.LAST_90_DAYS:
            return range_of_days(today - 89 * _DAY, today, zone=zone)
        case RangePreset.THIS_MONTH | RangePreset.THIS_PERIOD:
            # Whole, so that it is read from the monthly rollup, and spans what a budget's period spans.
            return range_of_days(first_of_month, next_month(today) - _DAY, zone=zone)
        case RangePreset.LAST_MONTH | RangePreset.LAST_PERIOD:
            last = first_of_month - _DAY
            return range_of_days(last.replace(day=1), last, zone=zone)
