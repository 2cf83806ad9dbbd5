"""Pages of people by credits against a sort in Python: every page from every place, with ties and with nobody's use."""

from datetime import UTC, date, datetime
from random import Random

import pytest

from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.people import Order, OrderedBy, UserFilter, Window
from creditdesk.credits.people_lists import users_pages
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.ranges import range_of_days
from support.ledgers import Desk, Ledger, new_ledger

SPENT = [9, 9, 9, 7, 5, 5, 5, 5, 1, 0, 0, None, None, None, -2, -2]
"""What people used; nothing at all is as good as none, and corrections may take more than there was."""


@pytest.fixture(scope="module")
def spenders(desk: Desk) -> tuple[Ledger, list[str]]:
    ledger, random = new_ledger(desk), Random(3)  # noqa: S311 - dice, not a secret
    names = [f"u{number:02}" for number in range(len(SPENT))]
    random.shuffle(names)
    at = datetime(2026, 6, 10, tzinfo=UTC)
    for name, spent in zip(names, SPENT, strict=True):
        user = UserBy(id=ledger.put_user(name, home=(home := random.choice(["red", "blue"])), groups=[home]))
        if spent is not None:
            ledger.record(ledger.event(name, user=user, at=at, credits=max(spent, 0)))
        if spent is not None and spent < 0:
            ledger.record(ledger.event(f"c-{name}", user=user, at=at, corrects=name, credits=spent))
        ledger.record(ledger.event(f"other-{name}", user=user, at=at.replace(day=20), credits=random.randrange(9)))
    amounts = {**dict(zip(names, SPENT, strict=True)), "ada": None, "bob": None}
    return ledger, sorted(amounts, key=lambda name: (-(amounts[name] or 0), name))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 40])
def test_pages_by_most_credits_are_the_whole_list_in_order(spenders: tuple[Ledger, list[str]], size: int) -> None:
    ledger, expected = spenders
    days = range_of_days(date(2026, 6, 3), date(2026, 6, 15), zone=ledger.zone)
    order = Order(OrderedBy.CREDITS, descending=True, range=days)
    found: list[str] = []
    window = Window(size)
    while True:
        [page] = ledger.desk.run(
            users_pages(ledger.reader, ledger.everyone, [None], UserFilter(), order=order, window=window, counted=True)
        )
        found += [user.display_name.lower() for user, _ in page.items]
        assert page.total == len(expected)
        if not page.more:
            break
        window = Window(size, past=page.items[-1][1])
    assert found == expected


def test_one_who_may_not_see_everyone_gets_the_same_order_of_whom_they_may_see(
    spenders: tuple[Ledger, list[str]],
) -> None:
    ledger, expected = spenders
    ada = PermittedScopes(ledger.workspace_id, False, ledger.users["ada"], frozenset({ledger.groups["red"]}))  # noqa: FBT003 - no everyone
    days = range_of_days(date(2026, 6, 3), date(2026, 6, 15), zone=ledger.zone)
    order = Order(OrderedBy.CREDITS, descending=True, range=days)
    conn = ledger.desk.database.reader(ada.row_scope)
    [page] = ledger.desk.run(users_pages(conn, ada, [None], UserFilter(), order=order, window=Window(40), counted=True))
    names = [user.display_name.lower() for user, _ in page.items]
    reds = {name for (name,) in ledger.desk.sql(
        "SELECT lower(u.display_name) FROM app_user AS u JOIN group_member AS m ON m.user_id = u.id"
        " WHERE m.group_id = %s", ledger.groups["red"],
    )}  # fmt: skip
    assert names == [name for name in expected if name in reds]
    assert page.total == len(names)
    assert 0 < len(names) < len(expected)
