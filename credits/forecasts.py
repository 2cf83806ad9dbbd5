"""Forecasts of a budget: what a period comes to if people go on as they did, and the day its limit is reached.

The method is a seasonal mean: the mean method of Hyndman & Athanasopoulos, "Forecasting: Principles and Practice",
3rd edition, section 5.2 (simple methods), taken for each weekday by itself, over the last four weeks. A day to come is
expected to use the mean of its weekday, and today what is left of today's mean. It is plain enough to be done by hand,
knows weekends, and needs no history beyond 28 days.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from creditdesk.credits.limits import Limited, LimitValue
from creditdesk.credits.periods import Period

WEEKS = 4
"""How many weeks before today are looked at: each weekday occurs that often in them."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast credits were used lately, in micro-credits: on each weekday of the 28 days before today, and today.

    `weekday_sums` start on Monday; each is the sum of four days. Days without use count, as days on which nothing was.
    """

    weekday_sums: tuple[int, int, int, int, int, int, int]
    today: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a period comes to, in micro-credits, and the day its limit is reached, if it is."""

    projected: int
    runs_out_on: date | None


def forecast(*, used: int, value: LimitValue, period: Period, today: date, pace: Pace) -> Forecast:
    """Return what the period comes to, and the first day by whose end more is expected to be used than the limit.

    That is today where nothing remains already. A period that is over comes to what was used, and runs out no more.
    """
    projected, runs_out_on = used, None
    day = max(today, period.first_day)
    while day <= period.last_day:
        projected += _expected_use(day, today, pace)
        if runs_out_on is None and isinstance(value, Limited) and (used >= value.amount or projected > value.amount):
            runs_out_on = day
        day += _DAY
    return Forecast(projected, runs_out_on)


def _expected_use(day: date, today: date, pace: Pace) -> int:
    """Return what is expected to be used from now on until the end of a day: a mean rounded half up, never below 0."""
    # Corrections may outweigh the use of four days; nobody is expected to give credits back.
    mean = (max(pace.weekday_sums[day.weekday()], 0) + WEEKS // 2) // WEEKS
    return max(mean - pace.today, 0) if day == today else mean
