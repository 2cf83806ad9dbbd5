"""What a server remembers of people who ask about themselves is what it would read, after each kind of change."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from creditdesk.db.messages import Reading, Row
from creditdesk.db.scopes import RowScope
from support.databases import FreshDatabase
from support.world import EXECUTOR, World, another_endpoint, group_id, shown_id, user_id, world_of

BUDGET = "limit { ... on LimitedTo { amount } } used held remaining overBy binding product period { start end }"
OWN = f"""{{ viewer {{ user {{ id displayName email homeGroup {{ slug }} version
  main: budget {{ {BUDGET.replace("binding", "resetsAt status enforcement")} source {{ id }} candidates {{ id }} }}
  budget {{ {BUDGET} source {{ id version }} }} budgets {{ {BUDGET} candidates {{ id version }} }} }} }} }}"""
PAGES = f"""{{ viewer {{ workspace {{ groups(first: 9) {{ nodes {{ name budget {{ {BUDGET} source {{ id version }} }}
  members(first: 9) {{ nodes {{ displayName budget {{ {BUDGET.replace("binding", "resetsAt status enforcement")}
    source {{ id version }} candidates {{ id version }} }} }} }} }} }} }} }} }}"""
USED = """{ viewer { workspace { groups(first: 9) { nodes { name members(first: 9) { nodes { displayName
  usage(range: {days: {first: "2026-05-22", last: "2026-06-20"}}) { breakdown(by: [PRODUCT, MODEL], first: 99) {
    rows { product model credits requests inputTokens } } } } } } } } } }"""
CALLERS = ("MEMBER", "GROUP_MANAGER", "OWNER")
MO = {"id": shown_id("User", user_id("mo"))}
ZOE, LEE, BILL = ({"id": shown_id("User", user_id(name))} for name in ("zoe", "lee", "bill"))
RESEARCH, SALES = ({"id": shown_id("Group", group_id(name))} for name in ("research", "sales"))
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("setLimit", {"target": {"user": MO}, "value": {"amount": "4321"}}),
    ("setLimit", {"target": {"user": MO}, "cadence": "DAY", "value": {"amount": "0.5"}}),
    ("setLimit", {"target": {"workspace": True}, "cadence": "WEEK", "product": "chat", "value": {"amount": "77"}}),
    ("updateUser", {"user": MO, "displayName": "Mo the Second"}),
    ("setHomeGroup", {"user": MO, "group": None}),
    ("removeGroupMembers", {"group": RESEARCH, "users": [MO]}),
    (
        "placeHold",
        {"source": "gateway", "id": "own-1", "user": MO, "product": "chat", "model": "large", "amount": "0.25"},
    ),
]
OWNER_S_USED = len(CALLERS) + CALLERS.index("OWNER")
SPENDING = ("placeHold", "recordUsage")
TYPES = {"removeGroupMembers": "GroupMembersInput", "addGroupMembers": "GroupMembersInput"}


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database) as filled:
        yield filled


async def elsewhere(world: World, caller: str, query: str) -> Any:
    """Return what a caller is told by a server that remembers nothing of anybody."""
    transport = httpx.ASGITransport(another_endpoint(world.database, world.site))
    async with httpx.AsyncClient(transport=transport, base_url="http://second") as http:
        response = await http.post("/", json={"query": query}, headers=world.headers(caller))
        return response.json()["data"]["viewer"]


def told(world: World) -> list[Any]:
    """Return what several callers are told of themselves, then of those they see: as they are told it elsewhere."""
    asked = [(caller, query) for query in (OWN, USED, PAGES) for caller in CALLERS]
    for _ in range(3):  # it is remembered once it was planned, and read
        remembered = [world.ask(caller, query)["viewer"] for caller, query in asked]
        assert remembered == [world.run(elsewhere(world, *one)) for one in asked]
    return remembered


def change(world: World, field: str, values: dict[str, Any]) -> None:
    type_ = TYPES.get(field, f"{field[0].upper()}{field[1:]}Input")
    caller = "WRITER" if field in SPENDING else "OWNER"
    query = f"mutation($input: {type_}!) {{ {field}(input: $input) {{ __typename ... on UserError {{ message }} }} }}"
    answer = world.ask(caller, query, input=values)[field]
    assert "message" not in answer, answer


@pytest.mark.parametrize(("field", "values"), CHANGES, ids=[f"{nth}-{field}" for nth, (field, _) in enumerate(CHANGES)])
def test_after_each_kind_of_change_somebody_is_told_what_is_so(
    world: World, field: str, values: dict[str, Any]
) -> None:
    before = told(world)
    change(world, field, values)
    assert told(world)[0] != before[0]


CHANGES_OF_OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("setLimit", {"target": {"group": RESEARCH}, "kind": "SHARED", "value": {"amount": "5"}}),
    ("setLimit", {"target": {"group": RESEARCH}, "kind": "SHARED", "value": {"amount": "6"}}),
    ("setLimit", {"target": {"group": RESEARCH}, "value": {"amount": "7"}}),
    ("setLimit", {"target": {"workspace": True}, "value": {"amount": "8"}}),
    ("updateGroup", {"group": RESEARCH, "name": "Renamed"}),
    ("createGroup", {"slug": "another", "name": "Another"}),
    ("addGroupMembers", {"group": RESEARCH, "users": [ZOE]}),
    ("removeGroupMembers", {"group": SALES, "users": [ZOE]}),
    ("createUser", {"displayName": "Aa", "email": "aa@example.com", "groups": [RESEARCH]}),
    ("updateUser", {"user": BILL, "displayName": "Bb"}),
    (
        "syncDirectory",
        {
            "users": [{"displayName": "Cc", "externalId": "cc", "groups": ["also"]}],
            "groups": [{"slug": "also", "name": "D"}],
        },
    ),
    (
        "placeHold",
        {"source": "gateway", "id": "own-2", "user": LEE, "product": "chat", "model": "large", "amount": "0.5"},
    ),
]


@pytest.mark.parametrize(
    ("field", "values"), CHANGES_OF_OTHERS, ids=[f"{nth}-{field}" for nth, (field, _) in enumerate(CHANGES_OF_OTHERS)]
)
def test_after_each_kind_of_change_of_others_whoever_has_looked_at_them_is_told_what_is_so(
    world: World, field: str, values: dict[str, Any]
) -> None:
    before = told(world)
    change(world, field, values)
    assert told(world)[-1] != before[-1]


USE = {
    "source": "gateway", "id": "own-3", "at": "2026-06-01T12:00:00+02:00", "user": LEE, "product": "chat",
    "model": "large", "credits": "12.5",
}  # fmt: skip


def test_after_each_use_whoever_has_looked_at_it_is_told_what_is_so(world: World) -> None:
    before = told(world)
    assert '"inputTokens"' in json.dumps(before[OWNER_S_USED])
    for use in (USE, USE | {"id": "own-4", "credits": "-2.5", "corrects": "own-3"}):
        change(world, "recordUsage", {"events": [use]})
        after = told(world)
        assert after[OWNER_S_USED] != before[OWNER_S_USED]
        before = after


def test_of_a_page_that_was_looked_at_only_what_is_used_and_held_is_read(world: World) -> None:
    for _ in range(3):
        world.ask("OWNER", PAGES)
    with world.statements() as ran:
        world.ask("OWNER", PAGES)
    with world.statements() as ran_large:
        world.ask("OWNER", PAGES.replace("members(first: 9)", "members(first: 99)"))
        world.ask("OWNER", PAGES.replace("members(first: 9)", "members(first: 99)"))
    if EXECUTOR == "planned":
        assert ran == ["balances", "balances"]
        assert ran_large.count("member_names_page") == 1 + 1, "a large page is not kept"
        return
    # Nothing is kept for the stock executor but own accounts: it reads everything, each time.
    rules = ["controls_settings", "balance_kinds", "budget_limits", "budget_balances"]
    everything = sorted([*rules, *rules, "budget_holders", "groups_page", "members_page"])
    assert sorted(ran) == everything
    assert sorted(ran_large) == sorted(2 * everything)


def test_what_is_beneath_a_page_that_was_looked_at_is_read_in_the_same_message_as_what_is_beside_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, messages = world.database._found, []  # noqa: SLF001 - what sends a message, alone or in a round

    async def noted(scope: RowScope, reading: Reading) -> list[list[Row]]:
        messages.append([statement.name for statement, _ in reading.calls])
        return await read(scope, reading)

    for _ in range(3):
        world.ask("OWNER", PAGES)
    monkeypatch.setattr(world.database, "_found", noted)
    world.ask("OWNER", PAGES)
    at_once = [["controls_version", "balances", "balances"]]
    # Nothing is kept for the stock executor, whose levels wait for each other.
    assert messages == at_once if EXECUTOR == "planned" else len(messages) == 5
    messages.clear()
    world.forget()
    world.ask("OWNER", PAGES)
    # Groups, then their members beside what limits the groups, then what limits the members.
    assert len(messages) == (3 if EXECUTOR == "planned" else 5)


def test_once_somebody_is_known_only_the_version_and_what_is_used_and_held_are_read(world: World) -> None:
    query = "{ viewer { user { displayName budget { used held } } } }"
    world.ask("MEMBER", query)
    ran: list[str] = []
    world.database.observers.append(ran.append)
    world.ask("MEMBER", query)
    world.database.observers.remove(ran.append)
    # A plan asks for the version along with what it reads, and the stock executor once it has read.
    order = ["controls_version", "balances"]
    assert ran == (order if EXECUTOR == "planned" else order[::-1])


def test_everybody_is_told_of_themselves_though_they_ask_at_the_same_moment(world: World) -> None:
    answers = world.ask_together([(caller, OWN, {}) for caller in CALLERS * 10])
    shown = [answer["data"]["viewer"]["user"]["id"] for answer in answers]
    assert shown == [shown_id("User", user_id(name)) for name in ("mo", "gina", "olga")] * 10
