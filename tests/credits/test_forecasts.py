from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditdesk.credits.forecasts import Forecast, Pace, forecast
from creditdesk.credits.limits import UNLIMITED, Limited, LimitValue
from creditdesk.credits.periods import BillingAnchor, Cadence, Period, period_of_day

DAY = timedelta(days=1)
ANCHORS = (BillingAnchor(date(2000, 1, 1), 31),)
MONDAY = date(2026, 6, 15)
# 100 from Monday to Thursday, 100.5 on Friday, nothing on Saturday, and on Sunday more was corrected than used.
PACE = Pace((400, 400, 400, 400, 402, 0, -8), today=40)


def period(cadence: Cadence, day: date) -> Period:
    return period_of_day(cadence, day, zone="Europe/Berlin", anchors=ANCHORS)


JUNE = period(Cadence.MONTH, MONDAY)


@pytest.mark.parametrize(
    ("value", "runs_out_on"),
    [
        (UNLIMITED, None),
        (Limited(2163), None),
        (Limited(2162), None),  # Just enough: what is expected may be used.
        (Limited(2161), date(2026, 6, 30)),
        (Limited(1461), date(2026, 6, 22)),  # Friday ends on the limit, and nobody works on the weekend.
        (Limited(1460), date(2026, 6, 19)),
        (Limited(1060), date(2026, 6, 16)),
        (Limited(1059), MONDAY),
        (Limited(1000), MONDAY),  # Nothing remains.
        (Limited(999), MONDAY),
        (Limited(0), MONDAY),
    ],
)
def test_each_day_to_come_uses_the_mean_of_its_weekday(value: LimitValue, runs_out_on: date | None) -> None:
    # 60 today, then 100, 100, 100, 101 | 0, 0 | 100, 100, 100, 100, 101 | 0, 0 | 100, 100
    assert forecast(used=1000, value=value, period=JUNE, today=MONDAY, pace=PACE) == Forecast(2162, runs_out_on)


@pytest.mark.parametrize(
    ("weekday_sum", "mean"), [(-6, 0), (-1, 0), (0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2), (8, 2)]
)
def test_a_mean_is_rounded_half_up_and_never_below_nothing(weekday_sum: int, mean: int) -> None:
    pace = Pace((0, weekday_sum, 0, 0, 0, 0, 0), today=0)
    week = period(Cadence.WEEK, MONDAY)
    assert forecast(used=0, value=UNLIMITED, period=week, today=MONDAY, pace=pace).projected == mean


@pytest.mark.parametrize(("used_today", "projected"), [(0, 1100), (99, 1001), (100, 1000), (101, 1000), (900, 1000)])
def test_today_uses_what_is_left_of_its_mean_and_never_less_than_nothing(used_today: int, projected: int) -> None:
    pace, today = replace(PACE, today=used_today), period(Cadence.DAY, MONDAY)
    assert forecast(used=1000, value=UNLIMITED, period=today, today=MONDAY, pace=pace) == Forecast(projected, None)


@pytest.mark.parametrize(
    ("cadence", "projected"),
    [(Cadence.DAY, 1060), (Cadence.WEEK, 1461), (Cadence.BILLING_CYCLE, 2062), (Cadence.MONTH, 2162)],
)
def test_only_what_is_left_of_the_period_counts(cadence: Cadence, projected: int) -> None:
    answer = forecast(used=1000, value=UNLIMITED, period=period(cadence, MONDAY), today=MONDAY, pace=PACE)
    assert answer.projected == projected


def test_on_the_last_day_only_today_is_left() -> None:
    answer = forecast(used=1000, value=Limited(1059), period=JUNE, today=JUNE.last_day, pace=PACE)
    assert answer == Forecast(1060, date(2026, 6, 30))


@pytest.mark.parametrize("value", [UNLIMITED, Limited(0), Limited(1000), Limited(1001)])
def test_a_period_that_is_over_comes_to_what_was_used(value: LimitValue) -> None:
    answer = forecast(used=1000, value=value, period=JUNE, today=date(2026, 7, 1), pace=PACE)
    assert answer == Forecast(1000, None)


def test_a_period_to_come_is_expected_from_its_first_day() -> None:
    week = period(Cadence.WEEK, MONDAY + 7 * DAY)
    answer = forecast(used=0, value=Limited(250), period=week, today=MONDAY, pace=PACE)
    assert answer == Forecast(501, date(2026, 6, 24))


def test_where_nothing_was_used_lately_a_budget_lasts_unless_nothing_remains() -> None:
    idle = Pace((0, 0, 0, 0, 0, 0, 0), today=0)
    answers = [forecast(used=5, value=Limited(limit), period=JUNE, today=MONDAY, pace=idle) for limit in (6, 5)]
    assert answers == [Forecast(5, None), Forecast(5, MONDAY)]


def test_amounts_past_what_a_float_can_hold_stay_exact() -> None:
    pace = Pace((0, 4 * 10**18 + 4, 0, 0, 0, 0, 0), today=0)
    week = period(Cadence.WEEK, MONDAY)
    answer = forecast(used=10**18, value=Limited(2 * 10**18), period=week, today=MONDAY, pace=pace)
    assert answer == Forecast(2 * 10**18 + 1, date(2026, 6, 16))


AMOUNTS = st.one_of(st.integers(0, 50), st.integers(0, 10**16))
SIGNED = st.one_of(st.integers(-50, 50), st.integers(-(10**16), 10**16))
WEEKS = st.tuples(SIGNED, SIGNED, SIGNED, SIGNED, SIGNED, SIGNED, SIGNED)
PACES = st.builds(Pace, weekday_sums=WEEKS, today=AMOUNTS)
PERIODS = st.builds(period, st.sampled_from(Cadence), st.dates(date(2026, 1, 1), date(2028, 12, 31)))


@st.composite
def days_in(draw: st.DrawFn) -> tuple[Period, date]:
    found = draw(PERIODS)
    return found, draw(st.dates(found.first_day, found.last_day))


def added_up(used: int, today: date, last: date, pace: Pace) -> int:
    """The oracle: the same sum, in fractions, day by day."""
    days = [today + nth * DAY for nth in range((last - today).days + 1)]
    means = [floor(Fraction(max(0, pace.weekday_sums[day.isoweekday() - 1]), 4) + Fraction(1, 2)) for day in days]
    return used + max(0, means[0] - pace.today) + sum(means[1:])


@given(AMOUNTS, AMOUNTS, days_in(), PACES)
def test_a_forecast_is_what_adding_up_day_by_day_gives(
    used: int, limit: int, when: tuple[Period, date], pace: Pace
) -> None:
    found, today = when
    answer = forecast(used=used, value=Limited(limit), period=found, today=today, pace=pace)
    days = [today + nth * DAY for nth in range((found.last_day - today).days + 1)]
    above = [day for day in days if used >= limit or added_up(used, today, day, pace) > limit]
    assert answer == Forecast(added_up(used, today, found.last_day, pace), above[0] if above else None)


@given(AMOUNTS, AMOUNTS, days_in(), PACES)
def test_a_budget_runs_out_if_more_is_expected_than_it_holds_or_nothing_remains(
    used: int, limit: int, when: tuple[Period, date], pace: Pace
) -> None:
    found, today = when
    answer = forecast(used=used, value=Limited(limit), period=found, today=today, pace=pace)
    assert answer.projected >= used
    assert (answer.runs_out_on is not None) == (answer.projected > limit or used >= limit)
    assert answer.runs_out_on is None or today <= answer.runs_out_on <= found.last_day
    assert forecast(used=used, value=UNLIMITED, period=found, today=today, pace=pace) == Forecast(
        answer.projected, None
    )


@given(AMOUNTS, AMOUNTS, days_in(), PACES, st.tuples(AMOUNTS, st.integers(0, 6)))
def test_more_use_is_never_expected_to_last_longer_and_more_room_never_shorter(
    used: int, limit: int, when: tuple[Period, date], pace: Pace, added: tuple[int, int]
) -> None:
    (found, today), (more, weekday) = when, added

    def expected(*, used: int, limit: int, pace: Pace) -> tuple[int, date]:
        answer = forecast(used=used, value=Limited(limit), period=found, today=today, pace=pace)
        return answer.projected, answer.runs_out_on or date.max

    sums = list(pace.weekday_sums)
    sums[weekday] += more
    monday, tuesday, wednesday, thursday, friday, saturday, sunday = sums
    faster = replace(pace, weekday_sums=(monday, tuesday, wednesday, thursday, friday, saturday, sunday))
    projected, runs_out_on = expected(used=used, limit=limit, pace=pace)
    spent, hurried = expected(used=used + more, limit=limit, pace=pace), expected(used=used, limit=limit, pace=faster)
    assert min(spent[0], hurried[0]) >= projected
    assert max(spent[1], hurried[1]) <= runs_out_on
    roomier = expected(used=used, limit=limit + more, pace=pace)
    assert roomier[0] == projected
    assert roomier[1] >= runs_out_on
