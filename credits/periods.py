"""Periods that budgets count in: calendar months, ISO weeks, days and billing cycles, cut at midnights of a zone.

A period's days follow from the calendar alone; only its two instants need the zone.
"""

from bisect import bisect_right
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

from creditdesk.credits.errors import InvalidInputError
from creditdesk.credits.ranges import day_of, midnight, next_month

_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_LAST_ANCHOR_DAY = 31


class Cadence(Enum):
    """How long a limit's period is, and where it starts."""

    MONTH = "Calendar months."
    WEEK = "ISO weeks, from Monday to Sunday."
    DAY = "Days, from midnight to midnight."
    BILLING_CYCLE = "Months that start on the workspace's billing day, or on the last day of a month without that day."


@dataclass(frozen=True, slots=True)
class BillingAnchor:
    """From the day `since` on, billing cycles start on this day of the month, 1 to 31, or on the month's last day."""

    since: date
    day: int


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open span in UTC, `[start, end)`, and the days of the zone it is made of, both included."""

    cadence: Cadence
    first_day: date
    last_day: date
    start: datetime
    end: datetime


def period_of(cadence: Cadence, moment: datetime, *, zone: str, anchors: Sequence[BillingAnchor]) -> Period:
    """Return the period that a moment is in; `anchors` are ordered by `since`, and only billing cycles need one."""
    day = day_of(moment, zone)
    if midnight(day + _DAY, zone) <= moment:
        # Clocks were set back over midnight (St. John's until 2011): a day that has begun does not end again.
        day += _DAY
    return period_of_day(cadence, day, zone=zone, anchors=anchors)


def period_of_day(cadence: Cadence, day: date, *, zone: str, anchors: Sequence[BillingAnchor]) -> Period:
    """Return the period that a day of the zone is in; it is empty for a single day that the zone skipped."""
    first, after = _days_around(cadence, day, anchors)
    return Period(cadence, first, after - _DAY, midnight(first, zone), midnight(after, zone))


def next_boundary(cadence: Cadence, moment: datetime, *, zone: str, anchors: Sequence[BillingAnchor]) -> datetime:
    """Return the first instant after a moment at which a period starts."""
    return period_of(cadence, moment, zone=zone, anchors=anchors).end


def anchors_with(anchors: Sequence[BillingAnchor], day: int, *, today: date) -> tuple[BillingAnchor, ...]:
    """Return the anchors after moving the billing day, which takes effect when the cycle that today is in ends.

    A change that has not taken effect yet is replaced. Raise InvalidInputError for a day that no month has.
    """
    if not 1 <= day <= _LAST_ANCHOR_DAY:
        raise InvalidInputError("A billing cycle starts on a day of the month from 1 to 31.")
    begun = (anchors[0], *(anchor for anchor in anchors[1:] if anchor.since <= today))
    if begun[-1].day == day:
        return begun
    _, after = _cycle_around(today, begun)
    return (*begun, BillingAnchor(after, day))


def _days_around(cadence: Cadence, day: date, anchors: Sequence[BillingAnchor]) -> tuple[date, date]:
    """Return the first day of the period that a day is in, and of the next one."""
    match cadence:
        case Cadence.MONTH:
            return day.replace(day=1), next_month(day)
        case Cadence.WEEK:
            monday = day - day.weekday() * _DAY
            return monday, monday + _WEEK
        case Cadence.DAY:
            return day, day + _DAY
        case Cadence.BILLING_CYCLE:
            return _cycle_around(day, anchors)


def _cycle_around(day: date, anchors: Sequence[BillingAnchor]) -> tuple[date, date]:
    """Return the first day of the billing cycle that a day is in, and of the next one.

    A change of the anchor is itself a boundary, so the cycle that starts there may be short. The first anchor also
    holds for the days before it: in zones behind UTC the year 2000 starts on the last day of 1999.
    """
    nth = max(bisect_right(anchors, day, key=lambda anchor: anchor.since) - 1, 0)
    anchor = anchors[nth]
    first, after = _anchored(day, anchor), _anchored(next_month(day), anchor)
    if day < first:
        first, after = _anchored(day.replace(day=1) - _DAY, anchor), first
    if nth > 0:
        first = max(first, anchor.since)
    if nth + 1 < len(anchors):
        after = min(after, anchors[nth + 1].since)
    return first, after


def _anchored(day: date, anchor: BillingAnchor) -> date:
    """Return the day on which a cycle starts in the month that a day is in."""
    return day.replace(day=min(anchor.day, monthrange(day.year, day.month)[1]))
