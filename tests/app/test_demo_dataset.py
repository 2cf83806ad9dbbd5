"""The demo's dataset: the same on every machine, wherever it is cut, and shaped like a company."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import pytest

from creditdesk.app.demo.dataset import (
    SOURCE,
    Stream,
    count_of_day,
    days_between,
    events_of_day,
    local_day,
    start_of_day,
    stream_of,
)
from creditdesk.app.demo.people import DEMO_PERSONS, RUNAWAY, acme, himal
from creditdesk.credits.event_rules import UsageEvent, check_event

FIRST_DAY = date(2025, 11, 24)
LAST_DAY = date(2026, 11, 23)
END = datetime(2026, 11, 24, tzinfo=UTC)


def small(events_per_day: int = 200) -> Stream:
    return stream_of(acme(40), first_day=FIRST_DAY, events_per_day=events_per_day)


def events_of(stream: Stream, days: Iterable[date], now: datetime = END) -> list[UsageEvent]:
    return [event for day in days for event in events_of_day(stream, day, now=now)]


@pytest.fixture(scope="module")
def year() -> list[UsageEvent]:
    stream = stream_of(acme(400), first_day=FIRST_DAY, events_per_day=150)
    return events_of(stream, days_between(FIRST_DAY, LAST_DAY))


def test_the_whole_demo_has_more_than_half_a_million_events() -> None:
    large = stream_of(acme(400), first_day=FIRST_DAY, events_per_day=1_500)
    assert sum(count_of_day(large, day) for day in days_between(FIRST_DAY, LAST_DAY)) == 549_070


def test_people_and_groups_are_those_of_a_company() -> None:
    workspace = acme(400)
    assert (len(workspace.users), len(workspace.groups)) == (400, 14)
    users = [user.new for user in workspace.users]
    assert len({user.id for user in users}) == len({user.external_id for user in users}) == 400
    assert len({user.email for user in users if user.email}) == 394
    assert Counter(user.kind.name for user in users) == {"PERSON": 394, "SERVICE_ACCOUNT": 6}
    in_several = sum(len(user.group_ids) > 1 for user in users)
    homeless, inactive = sum(user.home_group_id is None for user in users), sum(not user.active for user in users)
    assert (in_several, homeless, inactive) == (49, 4, 11)
    assert (len(himal(400).users), len(himal(400).groups), himal(400).zone) == (25, 3, "Asia/Kathmandu")


def test_more_users_leave_the_first_ones_who_they_are() -> None:
    assert [user.new for user in acme(100).users[:94]] == [user.new for user in acme(400).users[:94]]
    assert all(acme(400).users[index].new.active for index in DEMO_PERSONS.values())


def test_an_hour_does_not_change_when_the_rest_of_the_day_comes() -> None:
    stream = small()
    noon = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
    morning, whole = events_of_day(stream, LAST_DAY, now=noon), events_of_day(stream, LAST_DAY, now=END)
    assert 0 < len(morning) < len(whole)
    assert whole[: len(morning)] == morning
    assert whole[len(morning)].at > noon
    assert morning[0].id == "demo-2026-11-23-000000"


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 7, 1)])
def test_a_days_events_are_in_order_and_within_the_day_also_when_clocks_change(day: date) -> None:
    events = events_of_day(small(), day, now=END)
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert {local_day(event.at, "Europe/Berlin") for event in events} == {day}


def test_days_begin_at_the_zones_midnight() -> None:
    assert start_of_day(date(2026, 3, 29), "Europe/Berlin") == datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
    assert start_of_day(date(2026, 3, 30), "Europe/Berlin") == datetime(2026, 3, 29, 22, 0, tzinfo=UTC)
    assert start_of_day(date(2026, 3, 30), "Asia/Kathmandu") == datetime(2026, 3, 29, 18, 15, tzinfo=UTC)


def test_every_event_could_be_recorded_and_has_an_id_of_its_own(year: list[UsageEvent]) -> None:
    for event in year:
        check_event(event, now=END)
    assert len({event.id for event in year}) == len(year)
    assert {event.source for event in year} == {SOURCE}
    assert all(isinstance(event.credits, int) for event in year)


def test_a_tenth_of_the_users_make_half_of_the_spend(year: list[UsageEvent]) -> None:
    spent: Counter[object] = Counter()
    for event in year:
        spent[event.user] += event.credits or 0
    share = 100 * sum(amount for _, amount in spent.most_common(40)) // spent.total()
    assert 45 <= share <= 58


def test_it_has_four_products_twelve_models_and_more_at_the_end(year: list[UsageEvent]) -> None:
    assert len({event.product for event in year}) == 4
    assert len({event.model for event in year}) == 12
    first_quarter = sum(event.at < END - timedelta(days=274) for event in year)
    last_quarter = sum(event.at >= END - timedelta(days=91) for event in year)
    assert last_quarter > 1.5 * first_quarter


def test_nights_and_weekends_are_quiet(year: list[UsageEvent]) -> None:
    by_weekday = Counter(event.at.weekday() for event in year)
    assert by_weekday[5] < by_weekday[2] / 3
    by_hour = Counter(event.at.hour for event in year)
    assert by_hour[2] < by_hour[9] / 5


def test_one_groups_agents_ran_away_for_a_month(year: list[UsageEvent]) -> None:
    runaway = next(user.new.id for user in acme(400).users if user.new.display_name == RUNAWAY)
    by_month: Counter[str] = Counter()
    for event in year:
        if event.user.id == runaway:
            by_month[f"{event.at:%Y-%m}"] += event.credits or 0
    (worst, most), (_, next_most), (_, third) = by_month.most_common(3)
    assert worst == "2026-09"
    assert most > 10 * third
    assert next_most > third


def test_corrections_point_to_an_earlier_use_and_take_no_more_than_it_had(year: list[UsageEvent]) -> None:
    by_id = {event.id: event for event in year}
    corrections = [event for event in year if event.corrects]
    assert 100 < len(corrections) < 400
    for correction in corrections:
        use = by_id[correction.corrects or ""]
        assert use.corrects is None
        assert use.at < correction.at
        assert (use.user, use.product, use.model) == (correction.user, correction.product, correction.model)
        assert 0 <= -(correction.credits or 0) <= (use.credits or 0)
