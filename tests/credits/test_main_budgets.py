"""The main budgets of many users, worked out together: those that each one's budgets would say."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from creditdesk.credits.budget_rules import Budget, main_budget
from creditdesk.credits.budgets import budgets_of_users
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
