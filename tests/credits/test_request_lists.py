"""Lists of requests: what is in them, in which order, and for whom."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from random import Random
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from creditdesk.credits.errors import InvalidCursorError
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.people import Page, Position, Window
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.request_lists import RequestFilter, requests_by_id, requests_counts, requests_pages
from creditdesk.credits.request_rules import CreditRequest, RequestState
from support.ledgers import NOW, Desk, Ledger, new_ledger

MEMBERS = {"ada": ("red",), "bob": (), "cleo": ("red", "blue"), "dan": ("blue",)}
PRODUCTS = ("", "chat", "agent")
DAY = timedelta(days=1)


class Shelf:
    """A ledger with sixty requests, of all states, several of them made at the same instant."""

    def __init__(self, desk: Desk) -> None:
        self.ledger = new_ledger(desk)
        for name, groups in MEMBERS.items():
            self.ledger.put_user(name, groups=groups)
        random = Random(5)  # noqa: S311 - dice, not a secret
        for number in range(60):
            state = random.choice([*RequestState, RequestState.EXPIRED])
            created_at = NOW - random.randrange(8) * DAY
            # The partial unique index takes one pending request for each limit, so each has a model of its own.
            desk.sql(
                "INSERT INTO credit_request (workspace_id, id, user_id, cadence, product, model, amount, reason,"
                " duration, state, limit_then, used_then, created_at, expires_at, automatic)"
                " VALUES (%s, %s, %s, 'MONTH', %s, %s, 1, 'Why not?', 'PERMANENT', %s, 0, 0, %s, %s, false)",
                self.ledger.workspace_id,
                uuid4(),
                self.ledger.users[random.choice(list(MEMBERS))],
                random.choice(PRODUCTS),
                f"model-{number}",
                "PENDING" if state is RequestState.EXPIRED and number % 2 else state.name,
                created_at,
                NOW - DAY * (number % 2) if state is RequestState.EXPIRED else NOW + DAY,
            )

    def permitted(
        self, name: str | None = None, *, everyone: bool = False, manages: Sequence[str] = ()
    ) -> PermittedScopes:
        user_id = self.ledger.users[name] if name else None
        groups = frozenset(self.ledger.groups[group] for group in manages)
        return PermittedScopes(self.ledger.workspace_id, everyone, user_id, groups)

    def page(
        self,
        permitted: PermittedScopes,
        scope: LimitScope,
        scope_id: UUID,
        wanted: RequestFilter | None = None,
        **window: Any,
    ) -> Page[CreditRequest]:
        conn = self.ledger.desk.database.reader(permitted.row_scope)
        asked = requests_pages(
            conn,
            permitted,
            scope,
            [scope_id],
            wanted or RequestFilter(),
            window=Window(**({"size": 100} | window)),
            now=NOW,
        )
        return cast("list[Page[CreditRequest]]", self.ledger.desk.run(asked))[0]

    def listed(self, *asked: Any, **options: Any) -> list[CreditRequest]:
        return [request.at(NOW) for request, _ in self.page(*asked, **options).items]

    def count(
        self, permitted: PermittedScopes, scope: LimitScope, scope_id: UUID, wanted: RequestFilter | None = None
    ) -> int:
        conn = self.ledger.desk.database.reader(permitted.row_scope)
        counts = requests_counts(conn, permitted, scope, [scope_id], wanted or RequestFilter(), now=NOW)
        return cast("list[int]", self.ledger.desk.run(counts))[0]

    def all(self) -> list[CreditRequest]:
        return self.listed(self.permitted(everyone=True), LimitScope.WORKSPACE, self.ledger.workspace_id)

    def of(self, *names: str) -> list[CreditRequest]:
        users = {self.ledger.users[name] for name in names}
        return [request for request in self.all() if request.user_id in users]


@pytest.fixture(scope="module")
def shelf(desk: Desk) -> Shelf:
    return Shelf(desk)


@pytest.fixture(scope="module")
def everyone(shelf: Shelf) -> PermittedScopes:
    return shelf.permitted(everyone=True)


def test_all_requests_are_there_with_the_newest_first(shelf: Shelf) -> None:
    found = shelf.all()
    assert len(found) == 60
    assert found == sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)
    assert len({one.created_at for one in found}) == 8
    assert {one.state for one in found} == set(RequestState)


@pytest.mark.parametrize("size", [1, 7, 59, 60])
def test_pages_lead_through_the_whole_list_and_leave_nothing_out(
    shelf: Shelf, everyone: PermittedScopes, size: int
) -> None:
    walked: list[CreditRequest] = []
    past: Position | None = None
    more = True
    while more:
        page = shelf.page(everyone, LimitScope.WORKSPACE, shelf.ledger.workspace_id, size=size, past=past)
        walked += [request.at(NOW) for request, _ in page.items]
        past, more = page.items[-1][1], page.more
        assert len(page.items) == size or not more
    assert walked == shelf.all()


FILTERS: dict[str, tuple[dict[str, Any], Any]] = {
    "a state": ({"states": (RequestState.PENDING,)}, lambda one: one.state is RequestState.PENDING),
    "another": ({"states": (RequestState.EXPIRED,)}, lambda one: one.state is RequestState.EXPIRED),
    "two states": (
        {"states": (RequestState.DENIED, RequestState.EXPIRED)},
        lambda one: one.state in {RequestState.DENIED, RequestState.EXPIRED},
    ),
    "no state": ({"states": ()}, lambda _: False),
    "no user": ({"users": ()}, lambda _: False),
    "no group": ({"groups": ()}, lambda _: False),
    "a product": ({"product": "chat"}, lambda one: one.shape.product == "chat"),
    "all usage": ({"product": ""}, lambda one: one.shape.product == ""),
    "a product that is none": ({"product": "video"}, lambda _: False),
    "from then on": ({"created_from": NOW - 3 * DAY}, lambda one: one.created_at >= NOW - 3 * DAY),
    "before then": ({"created_to": NOW - 3 * DAY}, lambda one: one.created_at < NOW - 3 * DAY),
}


@pytest.mark.parametrize("which", FILTERS)
def test_a_filter_leaves_what_fits(shelf: Shelf, everyone: PermittedScopes, which: str) -> None:
    arguments, fits = FILTERS[which]
    wanted, workspace_id = RequestFilter(**arguments), shelf.ledger.workspace_id
    expected = [one for one in shelf.all() if fits(one)]
    assert shelf.listed(everyone, LimitScope.WORKSPACE, workspace_id, wanted) == expected
    assert shelf.count(everyone, LimitScope.WORKSPACE, workspace_id, wanted) == len(expected)


def test_every_part_of_a_filter_must_fit(shelf: Shelf, everyone: PermittedScopes) -> None:
    workspace_id = shelf.ledger.workspace_id
    for (arguments, fits), (others, fit_too) in combinations(FILTERS.values(), 2):
        if set(arguments).isdisjoint(others):
            expected = [one for one in shelf.all() if fits(one) and fit_too(one)]
            wanted = RequestFilter(**arguments, **others)
            assert shelf.listed(everyone, LimitScope.WORKSPACE, workspace_id, wanted) == expected


def test_requests_are_narrowed_to_users_and_to_whoever_is_in_a_group_now(
    shelf: Shelf, everyone: PermittedScopes
) -> None:
    ledger = shelf.ledger

    def listed(**wanted: Any) -> list[CreditRequest]:
        return shelf.listed(everyone, LimitScope.WORKSPACE, ledger.workspace_id, RequestFilter(**wanted))

    assert listed(users=(ledger.users["bob"], ledger.users["dan"])) == shelf.of("bob", "dan")
    assert listed(groups=(ledger.groups["red"],)) == shelf.of("ada", "cleo")
    assert listed(groups=(ledger.groups["red"], ledger.groups["blue"])) == shelf.of("ada", "cleo", "dan")
    assert listed(groups=(ledger.groups["red"],), users=(ledger.users["dan"],)) == []
    assert listed(users=(uuid4(),)) == []


def test_a_manager_s_lists_are_of_the_members_of_their_groups(shelf: Shelf) -> None:
    ledger = shelf.ledger
    manager = shelf.permitted("bob", manages=["blue"])
    # Their own are not among those that wait for them, but with their own user.
    assert shelf.listed(manager, LimitScope.WORKSPACE, ledger.workspace_id) == shelf.of("cleo", "dan")
    assert shelf.count(manager, LimitScope.WORKSPACE, ledger.workspace_id) == len(shelf.of("cleo", "dan"))
    assert shelf.listed(manager, LimitScope.GROUP, ledger.groups["blue"]) == shelf.of("cleo", "dan")
    users = {name: shelf.listed(manager, LimitScope.USER, ledger.users[name]) for name in MEMBERS}
    assert users == {"ada": [], **{name: shelf.of(name) for name in ("bob", "cleo", "dan")}}
    # Who of them is in a group that they do not manage is not for them to find out.
    in_red = RequestFilter(groups=(ledger.groups["red"],))
    assert shelf.listed(manager, LimitScope.WORKSPACE, ledger.workspace_id, in_red) == []
    assert shelf.count(manager, LimitScope.WORKSPACE, ledger.workspace_id, in_red) == 0


def test_a_member_s_lists_are_of_their_own(shelf: Shelf) -> None:
    ledger = shelf.ledger
    member = shelf.permitted("cleo")
    for scope, scope_id in (
        (LimitScope.WORKSPACE, ledger.workspace_id),
        (LimitScope.GROUP, ledger.groups["red"]),
        (LimitScope.USER, ledger.users["ada"]),
    ):
        assert shelf.listed(member, scope, scope_id) == []
        assert shelf.count(member, scope, scope_id) == 0
    assert shelf.listed(member, LimitScope.USER, ledger.users["cleo"]) == shelf.of("cleo")


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        ({"everyone": True}, {"ada", "bob", "cleo", "dan"}),
        ({"name": "bob", "manages": ["red"]}, {"ada", "bob", "cleo"}),
        ({"name": "ada"}, {"ada"}),
        ({}, set()),
    ],
)
def test_a_request_is_found_by_its_id_by_whoever_may_see_it(shelf: Shelf, who: dict[str, Any], sees: set[str]) -> None:
    permitted = shelf.permitted(**who)
    conn = shelf.ledger.desk.database.reader(permitted.row_scope)
    asked = requests_by_id(conn, permitted, [one.id for one in shelf.all()] + [uuid4()])
    found = cast("dict[UUID, CreditRequest]", shelf.ledger.desk.run(asked))
    assert set(found) == {one.id for one in shelf.of(*sees)}
    assert all(one.at(NOW) in shelf.all() for one in found.values())


def test_another_workspace_s_requests_are_in_no_list(desk: Desk, shelf: Shelf) -> None:
    other = new_ledger(desk)
    stranger = PermittedScopes(other.workspace_id, everyone=True, user_id=None, managed_groups=frozenset())
    ledger: Ledger = shelf.ledger
    targets = [
        (LimitScope.WORKSPACE, other.workspace_id),
        (LimitScope.WORKSPACE, ledger.workspace_id),
        (LimitScope.GROUP, ledger.groups["red"]),
        (LimitScope.USER, ledger.users["ada"]),
    ]
    for (scope, scope_id), wanted in product(targets, (None, RequestFilter(users=tuple(ledger.users.values())))):
        assert shelf.listed(stranger, scope, scope_id, wanted) == []


def test_many_users_lists_are_read_in_one_statement(shelf: Shelf, everyone: PermittedScopes) -> None:
    ledger = shelf.ledger
    ran: list[str] = []
    ledger.desk.database.observers.append(ran.append)
    try:
        names, window = list(MEMBERS), Window(3)
        ids = [ledger.users[name] for name in names]
        pages = ledger.desk.run(
            requests_pages(ledger.reader, everyone, LimitScope.USER, ids, RequestFilter(), window=window, now=NOW)
        )
    finally:
        ledger.desk.database.observers.remove(ran.append)
    assert ran == ["requests_page"]
    for name, page in zip(names, pages, strict=True):
        assert [request.at(NOW) for request, _ in page.items] == shelf.of(name)[:3]
        assert page.more is (len(shelf.of(name)) > 3)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_a_cursor_to_no_moment_at_all_is_refused(shelf: Shelf, everyone: PermittedScopes, number: int) -> None:
    with pytest.raises(InvalidCursorError):
        shelf.page(everyone, LimitScope.WORKSPACE, shelf.ledger.workspace_id, past=Position(number, "", uuid4()))


def test_a_cursor_before_the_first_or_behind_the_last_is_none_the_less_one(
    shelf: Shelf, everyone: PermittedScopes
) -> None:
    workspace_id = shelf.ledger.workspace_id
    far = int(datetime(2090, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
    past = {"past": Position(far, "", uuid4())}
    assert shelf.listed(everyone, LimitScope.WORKSPACE, workspace_id, **past) == shelf.all()
    assert shelf.listed(everyone, LimitScope.WORKSPACE, workspace_id, past=Position(0, "", uuid4())) == []
