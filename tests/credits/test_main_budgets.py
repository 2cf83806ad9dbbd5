"""The main budgets of many users, worked out together: those that each one's budgets would say."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from creditdesk.credits.budget_rules import Budget, main_budget
from creditdesk.credits.budgets import budgets_of_users, groups_budgets
from creditdesk.credits.known_budgets import LARGEST, MOST_PAGES, KnownBudgets
from creditdesk.credits.limits import LimitScope, Shape
from creditdesk.credits.main_budgets import main_budgets_of_users
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import PermittedScopes
from support.budgets import hold, manager, member, nobody, set_limit, settings, statements, use
from support.ledgers import NOW, Ledger

WEEK, CHAT = Shape(Cadence.WEEK), Shape(Cadence.MONTH, "chat")
PEOPLE = {
    "ada": ["red"], "bob": ["red", "blue"], "cleo": ["blue", "red"], "dan": [], "eve": ["green"], "finn": ["red"],
}  # fmt: skip


@pytest.fixture
def crowd(ledger: Ledger) -> Ledger:
    """Return a ledger of people who share groups in any way, with limits on each kind of scope, of several shapes."""
    ledger.put_groups("green")
    for name, groups in PEOPLE.items():
        ledger.put_user(name, home=groups[0] if groups else None, groups=groups)
    set_limit(ledger, None, 5000)
    set_limit(ledger, "red", 700)
    set_limit(ledger, "red", 900, expires_at=NOW + timedelta(days=1))
    set_limit(ledger, "red", 60, shape=WEEK)
    set_limit(ledger, "blue", 800)
    set_limit(ledger, "blue", 40, shape=CHAT)
    set_limit(ledger, "finn", 20)
    set_limit(ledger, "green", 9, shared=True)
    for number, name in enumerate(PEOPLE):
        use(ledger, name, number)
    hold(ledger, ledger.users["ada"], 3, NOW + timedelta(minutes=5))
    return ledger


def main_budgets(ledger: Ledger, users: list[UUID], permitted: PermittedScopes) -> list[Budget | None]:
    reader = ledger.desk.database.reader(permitted.row_scope)
    [found] = ledger.desk.run(reader.look_up([main_budgets_of_users(permitted, [*map(str, users)], now=NOW)]))
    return [one.whole if one else None for one in found]


def expected(ledger: Ledger, users: list[UUID], permitted: PermittedScopes) -> list[Budget | None]:
    """Return what all budgets of each of them say. Which one binds is not told of one alone."""
    reader = ledger.desk.database.reader(permitted.row_scope)
    found = ledger.desk.run(budgets_of_users(reader, permitted, users, now=NOW))
    mains = [main_budget(found.get(id_, []), LimitScope.USER) for id_ in users]
    return [replace(main, binding=False) if main else None for main in mains]


@pytest.mark.parametrize("policy", ["HIGHEST", "LOWEST"])
def test_everybody_s_main_budget_is_the_one_that_all_of_their_budgets_say(crowd: Ledger, policy: str) -> None:
    settings(crowd, multi_group=policy)
    users = [crowd.users[name] for name in PEOPLE]
    found = main_budgets(crowd, users, crowd.everyone)
    assert None not in found
    assert found == expected(crowd, users, crowd.everyone)


def test_each_caller_is_told_of_those_they_may_see_and_in_the_order_asked(crowd: Ledger) -> None:
    users = [uuid4(), *(crowd.users[name] for name in reversed(PEOPLE))]
    for caller, seen in (
        (manager(crowd, "ada", "blue"), {"ada", "bob", "cleo"}),
        (member(crowd, "eve"), {"eve"}),
        (nobody(crowd), set()),
    ):
        found = main_budgets(crowd, users, caller)
        assert {name for name in PEOPLE if found[users.index(crowd.users[name])]} == seen
        assert found == expected(crowd, users, caller)


def test_nobody_asked_for_is_nobody_told_of(crowd: Ledger) -> None:
    assert main_budgets(crowd, [], crowd.everyone) == []


def test_the_statements_are_as_many_for_one_user_as_for_all(crowd: Ledger) -> None:
    with statements(crowd) as ran:
        main_budgets(crowd, [crowd.users["ada"]], crowd.everyone)
    one = dict(ran)
    with statements(crowd) as ran:
        main_budgets(crowd, [*crowd.users.values()], crowd.everyone)
    assert dict(ran) == one


MOMENTS = [
    timedelta(),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(days=1),
    timedelta(days=9),
    timedelta(40),
]
"""Before and after a hold ends, a day, a limit, a week and a month."""


def test_budgets_of_those_whose_limits_are_known_are_those_that_are_read_anew_at_any_moment(crowd: Ledger) -> None:
    set_limit(crowd, "blue", 9, shared=True, soft=True)
    set_limit(crowd, "blue", 3, shared=True, expires_at=NOW + timedelta(hours=3))
    users, groups = [uuid4(), *crowd.users.values()], [*crowd.groups.values(), uuid4()]
    asked = [*map(str, users)]
    seen: set[object] = set()
    for caller in (crowd.everyone, manager(crowd, "ada", "blue"), member(crowd, "eve"), nobody(crowd)):
        reader = crowd.desk.database.reader(caller.row_scope)
        known = KnownBudgets(caller)
        for number, moment in enumerate(MOMENTS):
            now = NOW + moment
            for _ in range(2):
                use(crowd, "bob", number + 1, at=now)
                read = [main_budgets_of_users(caller, asked, now=now), known.main_budgets(asked, now=now)]
                anew, found = crowd.desk.run(reader.look_up(read))
                assert [one and (one.limit, one.whole) for one in found] == [
                    one and (one.limit, one.whole) for one in anew
                ]
                pools = [groups_budgets(caller, groups, now=now), known.group_budgets(groups, now=now)]
                anew, shared = crowd.desk.run(reader.look_up(pools))
                assert shared == anew
                seen |= {(one.limit, one.whole.period) for one in found if one}
                seen |= {(one.value, one.period) for one in shared.values()}
    assert len(seen) > len(MOMENTS)


def test_of_those_whose_limits_are_known_nothing_is_read_but_what_is_used_and_held(crowd: Ledger) -> None:
    known, users = KnownBudgets(crowd.everyone), [*map(str, crowd.users.values())]

    def ran(*, now: datetime = NOW) -> dict[str, int]:
        with statements(crowd) as names:
            for asked in (known.main_budgets(users, now=now), known.group_budgets([*crowd.groups.values()], now=now)):
                crowd.desk.run(crowd.reader.look_up([asked]))
        return dict(names)

    assert "rules_of_users" in ran()
    assert ran() == {"balances": 2}
    assert "rules_of_users" in ran(now=NOW + timedelta(days=1)), "the day is over"


def test_so_many_pages_are_kept_and_none_that_is_too_large(crowd: Ledger) -> None:
    known, groups = KnownBudgets(crowd.everyone), [*crowd.groups.values()]
    pages = [[*groups, *(uuid4() for _ in range(nth))] for nth in range(MOST_PAGES + 1)]
    large = [*groups, *(uuid4() for _ in range(LARGEST))]

    def is_known(page: list[UUID]) -> bool:
        return known.group_budgets(page, now=NOW).statements == ("balances",)

    for page in (*pages, large):
        crowd.desk.run(crowd.reader.look_up([known.group_budgets(page, now=NOW)]))
    assert [is_known(page) for page in pages] == [False, *([True] * MOST_PAGES)]
    assert not is_known(large)
