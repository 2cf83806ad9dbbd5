"""Budgets over the API: what they show, to whom, and in how many statements."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.controls import changing_controls, load_controls
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.limit_rules import NewLimit, write_limits
from creditdesk.credits.limits import UNLIMITED, Enforcement, Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence, period_of
from creditdesk.credits.permitted import Actor
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope
from support.databases import FreshDatabase
from support.world import (
    ACME,
    HIMAL,
    World,
    group_id,
    put_place,
    record,
    shown_id,
    user_id,
    workspace_id,
    world_of,
)

MONTH, CHAT = Shape(Cadence.MONTH), Shape(Cadence.MONTH, "chat")
ACME_ID = workspace_id("acme")
EACH, SHARED = LimitKind.EACH_USER, LimitKind.SHARED


def uid(person: str) -> str:
    return shown_id("User", user_id(person))


def gid(group: str) -> str:
    return shown_id("Group", group_id(group))


def limited(scope: LimitScope, scope_id: Any, kind: LimitKind, credits: int | None, **more: Any) -> NewLimit:  # noqa: A002
    value = UNLIMITED if credits is None else Limited(credits * MICRO)
    return NewLimit(scope, scope_id, kind, more.pop("shape", MONTH), value, **more)


RULES = (
    limited(LimitScope.WORKSPACE, ACME_ID, EACH, 500),
    limited(LimitScope.WORKSPACE, ACME_ID, SHARED, 1000),
    limited(LimitScope.GROUP, group_id("research"), EACH, 300),
    limited(LimitScope.GROUP, group_id("research"), SHARED, 100),
    limited(LimitScope.GROUP, group_id("design"), SHARED, None),
    limited(LimitScope.GROUP, group_id("sales"), SHARED, 50, enforcement=Enforcement.SOFT),
    limited(LimitScope.USER, user_id("mo"), EACH, 40, reason="A trial."),
    limited(LimitScope.USER, user_id("mo"), EACH, 9, shape=CHAT),
)
USED = {"mo": 35, "ina": 5, "gina": 7, "zoe": 60, "nora": 2}


async def set_limits(database: Database, rules: Sequence[NewLimit]) -> None:
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, ACME_ID)) as conn:
        await changing_controls(conn, ACME_ID)
        controls = await load_controls(conn, ACME_ID)
        actor, now = Actor("PERSON", "olga", user_id("olga")), datetime.now(UTC)
        await write_limits(conn, controls, workspace_id=ACME_ID, actor=actor, rules=rules, now=now)


async def use(database: Database, person: str, amount: int, product: str = "agent") -> None:
    now = datetime.now(UTC)
    user = UserBy(id=user_id(person))
    event = UsageEvent("test", uuid4().hex, now, user, product, "large", credits=amount * MICRO)
    await record(database, "acme", [event], now=now)


async def _fill(database: Database) -> None:
    for place in (ACME, HIMAL):
        await put_place(database, place)
    await set_limits(database, RULES)
    for person, amount in USED.items():
        await use(database, person, amount)


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    """Two workspaces; in the one are limits at every level, and what was used today."""
    with world_of(module_database, _fill) as filled:
        yield filled


VALUE = "{ __typename ... on LimitedTo { amount } }"
FIGURES = f"limit {VALUE} used held remaining overBy status binding"
SCOPE = "scope { __typename ... on Node { id } }"


def view(*figures: Any, **also: Any) -> dict[str, Any]:
    """Return a budget as FIGURES shows it: limit, used, held, remaining, over by, status, and whether it binds."""
    amount, *others = figures
    value = {"__typename": "Unlimited"} if amount is None else {"__typename": "LimitedTo", "amount": amount}
    names = ("used", "held", "remaining", "overBy", "status", "binding")
    return {"limit": value, **dict(zip(names, others, strict=True)), **also}


def user_budgets(world: World, caller: str, person: str, asked: str = FIGURES) -> Any:
    query = f"query($id: ID!) {{ node(id: $id) {{ ... on User {{ budgets {{ {asked} }} }} }} }}"
    node = world.ask(caller, query, id=uid(person))["node"]
    return node and node["budgets"]


def group_budget(world: World, caller: str, group: str) -> Any:
    query = f"query($id: ID!) {{ node(id: $id) {{ ... on Group {{ budget {{ {FIGURES} }} }} }} }}"
    node = world.ask(caller, query, id=gid(group))["node"]
    return node and node["budget"]


def workspace_budget(world: World, caller: str) -> Any:
    return world.ask(caller, f"{{ viewer {{ workspace {{ budget {{ {FIGURES} }} }} }} }}")["viewer"]["workspace"][
        "budget"
    ]


def test_a_budget_shows_the_limit_its_source_and_what_is_left(world: World) -> None:
    query = f"""{{ viewer {{ user {{ budget {{
      {FIGURES} {SCOPE} product model enforcement resetsAt period {{ cadence start end }}
      source {{ appliesTo kind value {VALUE} reason version }}
      candidates {{ appliesTo value {VALUE} reason }}
    }} }} }} }}"""
    period = period_of(Cadence.MONTH, datetime.now(UTC), zone="Europe/Berlin", anchors=())
    start, end = (moment.isoformat().replace("+00:00", "Z") for moment in (period.start, period.end))
    assert world.ask("MEMBER", query)["viewer"]["user"]["budget"] == view(
        "40", "35", "0", "5", "0", "NEAR", True,  # noqa: FBT003 - it binds
        scope={"__typename": "User", "id": uid("mo")},
        product=None,
        model=None,
        enforcement="HARD",
        resetsAt=end,
        period={"cadence": "MONTH", "start": start, "end": end},
        source={
            "appliesTo": "USER",
            "kind": "EACH_USER",
            "value": {"__typename": "LimitedTo", "amount": "40"},
            "reason": "A trial.",
            "version": 1,
        },
        # Why a wider rule was set is not for everybody that it applies to.
        candidates=[
            {"appliesTo": "GROUP", "value": {"__typename": "LimitedTo", "amount": "300"}, "reason": None},
            {"appliesTo": "WORKSPACE", "value": {"__typename": "LimitedTo", "amount": "500"}, "reason": None},
        ],
    )  # fmt: skip


OWN = [
    view("40", "35", "0", "5", "0", "NEAR", True, product=None),  # noqa: FBT003 - it binds
    view("9", "0", "0", "9", "0", "OK", False, product="chat"),  # noqa: FBT003 - it does not
]


def test_a_member_sees_what_is_left_of_the_pools_that_bind_them_and_nobody_s_share(world: World) -> None:
    mine = user_budgets(world, "MEMBER", "mo", f"{FIGURES} product")
    research = view("100", None, None, "60", None, "OK", False)  # noqa: FBT003 - it does not bind
    everybody = view("1000", None, None, "891", None, "OK", False)  # noqa: FBT003 - it does not bind
    assert mine == [*OWN, research | {"product": None}, everybody | {"product": None}]
    assert group_budget(world, "MEMBER", "research") == research | {"binding": True}
    assert workspace_budget(world, "MEMBER") == everybody | {"binding": True}
    assert user_budgets(world, "MEMBER", "zoe") is None
    assert [one["forecast"] is None for one in user_budgets(world, "MEMBER", "mo", "forecast { method }")] == [
        False, False, True, True
    ]  # fmt: skip


@pytest.mark.parametrize("caller", ["OWNER", "ADMIN", "BILLING", "ANALYST", "READER"])
def test_whoever_sees_everyone_sees_every_budget_in_full(world: World, caller: str) -> None:
    [_, _, research, everybody] = user_budgets(world, caller, "mo")
    assert research == view("100", "40", "0", "60", "0", "OK", False)  # noqa: FBT003 - it does not bind
    assert everybody == view("1000", "109", "0", "891", "0", "OK", False)  # noqa: FBT003 - it does not bind
    assert group_budget(world, caller, "research") == research | {"binding": True}
    assert group_budget(world, caller, "design") == view(None, "7", "0", None, "0", "OK", False)  # noqa: FBT003
    assert group_budget(world, caller, "sales") == view("50", "60", "0", "0", "10", "OVER", False)  # noqa: FBT003
    assert group_budget(world, caller, "platform") is None
    assert workspace_budget(world, caller) == everybody | {"binding": True}
    assert user_budgets(world, caller, "nora") == [
        view("500", "2", "0", "498", "0", "OK", True),  # noqa: FBT003 - it binds
        everybody,
    ]


def test_a_group_manager_sees_the_pool_of_their_group_in_full_and_others_as_a_member_does(world: World) -> None:
    research = view("100", "40", "0", "60", "0", "OK", False)  # noqa: FBT003 - it does not bind
    everybody = view("1000", None, None, "891", None, "OK", False)  # noqa: FBT003 - it does not bind
    assert user_budgets(world, "GROUP_MANAGER", "mo")[2:] == [research, everybody]
    assert group_budget(world, "GROUP_MANAGER", "research") == research | {"binding": True}
    # Design is their own home group, which they do not manage: its pool has no limit, and more they are not told.
    assert group_budget(world, "GROUP_MANAGER", "design") == view(None, None, None, None, None, "OK", False)  # noqa: FBT003
    assert group_budget(world, "GROUP_MANAGER", "sales") is None
    assert workspace_budget(world, "GROUP_MANAGER") == everybody | {"binding": True}
    assert user_budgets(world, "GROUP_MANAGER", "zoe") is None


@pytest.mark.parametrize("caller", ["WRITER", "UNLINKED"])
def test_whoever_is_nobody_here_sees_no_budget(world: World, caller: str) -> None:
    assert workspace_budget(world, caller) is None
    assert group_budget(world, caller, "research") is None
    assert user_budgets(world, caller, "mo") is None


def test_the_owner_of_another_workspace_sees_none_of_these_budgets(world: World) -> None:
    assert user_budgets(world, "OTHER_OWNER", "mo") is None
    assert group_budget(world, "OTHER_OWNER", "research") is None
    assert workspace_budget(world, "OTHER_OWNER") is None


def test_each_budget_leads_to_whose_it_is(world: World) -> None:
    scopes = [one["scope"] for one in user_budgets(world, "OWNER", "mo", SCOPE)]
    assert scopes == [
        {"__typename": "User", "id": uid("mo")},
        {"__typename": "User", "id": uid("mo")},
        {"__typename": "Group", "id": gid("research")},
        {"__typename": "Workspace", "id": shown_id("Workspace", ACME_ID)},
    ]


def test_a_forecast_says_what_the_period_comes_to_and_how_it_was_made(world: World) -> None:
    asked = "forecast { projected runsOutOn method }"
    forecasts = [one["forecast"] for one in user_budgets(world, "OWNER", "mo", asked)]
    # Nothing was used before today, so nothing is expected of the days to come.
    assert forecasts == [
        {"projected": used, "runsOutOn": None, "method": "WEEKDAY_MEANS"} for used in ("35", "0", "40", "109")
    ]


def test_what_others_use_changes_only_what_is_left_of_the_pools_that_bind_a_member(
    fresh_database: FreshDatabase,
) -> None:
    with world_of(fresh_database, _fill) as world:

        def seen() -> list[Any]:
            budgets = user_budgets(world, "MEMBER", "mo", f"{FIGURES} forecast {{ projected }}")
            return [*budgets, group_budget(world, "MEMBER", "research"), workspace_budget(world, "MEMBER")]

        before = seen()
        world.run(use(world.database, "zoe", 3, "chat"))
        less = [one | ({"remaining": "888"} if one["remaining"] == "891" else {}) for one in before]
        assert seen() == less
        world.run(use(world.database, "ina", 4))
        assert [one["remaining"] for one in seen()] == ["5", "9", "56", "884", "56", "884"]


# How many statements.


def ran(world: World, query: str, **variables: Any) -> Counter[str]:
    """Return which statements a query takes of somebody who has not asked it before."""
    world.forget()
    with world.statements() as names:
        world.ask("OWNER", query, **variables)
    return Counter(names)


READS = ("controls_settings", "balance_kinds", "budget_holders", "budget_limits", "budget_balances")


def test_a_page_of_users_reads_all_their_budgets_in_five_statements(world: World) -> None:
    def page(asked: str) -> Counter[str]:
        return ran(world, f"{{ viewer {{ workspace {{ users {{ nodes {{ {asked} }} }} }} }} }}")

    users = page("id")
    five = users + Counter(READS)
    assert page(f"budget {{ {FIGURES} }}") == five
    assert page(f"budget {{ {FIGURES} source {{ id }} }} budgets {{ {FIGURES} candidates {{ id }} }}") == five


def test_forecasts_are_read_only_where_they_are_selected_and_once_for_each_kind(world: World) -> None:
    def page(asked: str) -> Counter[str]:
        return ran(world, f"{{ viewer {{ workspace {{ users {{ nodes {{ budgets {{ {asked} }} }} }} }} }} }}")

    paces = Counter({"paces_of_users": 1, "narrow_paces_of_users": 1, "paces_of_pools": 2})
    assert page("used forecast { projected }") - page("used") == paces


def test_the_budgets_of_groups_are_read_together(world: World) -> None:
    query = "{ viewer { workspace { groups { nodes { id %s } } } } }"
    more = ran(world, query % "budget { used }") - ran(world, query % "")
    assert more == Counter(name for name in READS if name != "budget_holders")


def test_a_field_that_fails_takes_nothing_away_from_another_that_waits_for_the_same(world: World) -> None:
    one = 'node(id: "%s") { ... on User { usage(range: {preset: TODAY}) { %s breakdown(by: [GROUP]) { rowCount } } } }'
    bad, good = one % (uid("mo"), "series(interval: DAY, first: 0) { points { start } }"), one % (uid("mo"), "")
    answer = world.answer("OWNER", f"{{ bad: {bad} good: {good} }}")
    assert answer["data"] == {"bad": {"usage": None}, "good": {"usage": {"breakdown": {"rowCount": 1}}}}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["INVALID_PAGE"]


def test_a_group_that_pays_for_a_member_without_having_them_binds_them_and_stays_unnamed(world: World) -> None:
    # Changes the world, so it comes last.
    world.sql("DELETE FROM group_member WHERE user_id = %s RETURNING 1", user_id("mo"))
    research = user_budgets(world, "MEMBER", "mo", f"{FIGURES} {SCOPE} source {{ target {{ id }} }}")[2]
    figures = view("100", None, None, "60", None, "OK", False)  # noqa: FBT003 - it does not bind
    assert research == figures | {"scope": None, "source": {"target": None}}
    assert group_budget(world, "MEMBER", "research") is None
