"""Subscriptions: what is told, to whom, how often, and what it costs those whom it does not concern."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from creditdesk.credits import watching
from creditdesk.credits.amounts import MICRO, parse_credits
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.hold_rules import HoldRequest
from creditdesk.db.connections import Database
from support.databases import FreshDatabase
from support.manifest import manifest
from support.talking import Talk, talking, until, watcher_count, with_feed
from support.using import use
from support.world import (
    CALLERS,
    PLACES,
    World,
    group_id,
    put_place,
    record,
    shown_id,
    user_id,
    workspace_id,
    world_of,
)

USAGE = "subscription { usageRecorded { credits requests rows { product model credits user { id } group { id } }"
USAGE += " other { credits rowCount } } }"
REQUESTS = "subscription { creditRequestChanged { id state user { id } decidedBy { id } } }"
BUDGETS = """
subscription($of: BudgetOf) { budgetChanged(of: $of) {
  used held remaining product limit { ... on LimitedTo { amount } } source { appliesTo }
  scope { __typename ... on User { id } ... on Group { id } } } }"""
ASK = """
mutation { requestCredits(input: {amount: "5", reason: "More."}) {
  ... on RequestCreditsSuccess { request { id } } ... on InvalidInput { code message } } }"""
DENY = "mutation($id: ID!) { denyCreditRequest(input: {id: $id}) { __typename } }"
CANCEL = "mutation($id: ID!) { cancelCreditRequest(input: {id: $id}) { __typename } }"
SET = """
mutation($user: ID!, $amount: Credits!) { setLimit(input: {
  target: {user: {id: $user}}, value: {amount: $amount}}) { __typename
  ... on InvalidInput { code message } } }"""
OF_AN_ANSWER = ("creditdesk.", "graphql.", "strawberry.")
CONNECTED = ("OWNER", "ADMIN", "BILLING", "ANALYST", "GROUP_MANAGER", "MEMBER", "READER", "OTHER_OWNER")


async def put_people(database: Database) -> None:
    for place in PLACES:
        await put_place(database, place, moved=True)


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    """Both workspaces' people, and a limit of 100 credits for each."""
    with world_of(module_database, put_people) as filled:
        for place in PLACES:
            filled.sql(
                "INSERT INTO credit_limit (workspace_id, id, scope, scope_id, kind, cadence, product, model, temporary,"
                " unlimited, amount, enforcement, starts_at, set_at, version) VALUES (%s, gen_random_uuid(),"
                " 'WORKSPACE', %s, 'EACH_USER', 'MONTH', '', '', false, false, 100000000, 'HARD', '2026-01-01Z',"
                " '2026-01-01Z', 1) RETURNING 1",
                *[workspace_id(place.name)] * 2,
            )
        yield filled


@asynccontextmanager
async def watching_as(world: World, callers: Sequence[str], query: str, **variables: Any) -> AsyncIterator[list[Talk]]:
    """Let callers watch something, each over a connection; all of them are known to the feed when the block begins."""
    before = watcher_count(world)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(talking(world, caller)) for caller in callers]
        for client in clients:
            client.subscribe("1", query, **variables)
        await until(lambda: watcher_count(world) == before + len(clients))
        yield clients


def kept() -> Counter[str]:
    """Return how many objects there are of each type of the product and of the libraries that execute its documents."""
    return Counter(of_whom for thing in gc.get_objects() if (of_whom := _type_of(thing)).startswith(OF_AN_ANSWER))


def garbage() -> list[str]:
    """Return the types of what was left for the collector, of the same packages: what refers to itself."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return [of_whom for thing in gc.garbage if (of_whom := _type_of(thing)).startswith(OF_AN_ANSWER)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def _type_of(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


async def ticks_until(client: Talk, product: str) -> list[dict[str, Any]]:
    """Return what the client is told of usage, up to the use of a product."""
    ticks: list[dict[str, Any]] = []
    while True:
        ticks.append((await client.data("1"))["usageRecorded"])
        if any(row["product"] == product for row in ticks[-1]["rows"]):
            return ticks


def test_usage_is_told_to_exactly_those_who_may_see_it(world: World) -> None:
    people = ("mo", "zoe", "mia", "lee", "gina", "nora", "hari", "maya")
    acme = {"mo", "zoe", "mia", "lee", "gina", "nora"}
    # In the group that she manages are mo and mia; and she sees her own.
    those = {"all": acme, "GROUP_MANAGER": {"mo", "mia", "gina"}, "MEMBER": {"mo"}}
    audience = manifest().audiences[manifest().subscriptions["usageRecorded"]]
    seen_by = {
        "OTHER_OWNER": {"hari", "maya"},
        **{
            "READER" if caller == "usage:read" else caller: those["all" if "others" in words else caller]
            for caller, words in audience.items()
        },
    }
    assert set(seen_by) == set(CONNECTED)

    async def talk() -> dict[str, list[dict[str, Any]]]:
        async with watching_as(world, CONNECTED, USAGE) as clients:
            for person in people:
                await use(world, person, 3)
            for person in ("mo", "hari"):
                await use(world, person, product="last")
            return {
                caller: await ticks_until(client, "last") for caller, client in zip(CONNECTED, clients, strict=True)
            }

    told = with_feed(world, talk)
    for caller, ticks in told.items():
        rows = [row for tick in ticks for row in tick["rows"] if row["product"] == "chat"]
        expected = {shown_id("User", user_id(person)) for person in seen_by[caller]}
        assert sorted(row["user"]["id"] for row in rows) == sorted(expected), caller
        assert {row["credits"] for row in rows} == {"3"}
        for tick in ticks:
            assert parse_credits(tick["credits"]) == sum(parse_credits(row["credits"]) for row in tick["rows"])
            assert tick["other"] is None


def test_those_who_see_nobody_are_refused(world: World) -> None:
    async def talk() -> dict[tuple[str, str], str]:
        codes = {}
        for caller in ("WRITER", "UNLINKED", "UNMAPPED"):
            async with talking(world, caller) as client:
                for query in (USAGE, REQUESTS, BUDGETS):
                    client.subscribe("1", query)
                    message = await client.hear()
                    assert message["type"] == "error", (caller, query, message)
                    codes[caller, query] = message["payload"][0]["extensions"]["code"]
        return codes

    codes = with_feed(world, talk)
    assert {codes["UNMAPPED", query] for query in (USAGE, REQUESTS, BUDGETS)} == {"FORBIDDEN"}
    for caller in ("WRITER", "UNLINKED"):
        assert [codes[caller, query] for query in (USAGE, REQUESTS, BUDGETS)] == ["FORBIDDEN"] * 2 + ["UNKNOWN_USER"]


def test_a_tick_shows_the_first_rows_and_adds_up_the_rest(world: World) -> None:
    async def talk() -> dict[str, Any]:
        async with watching_as(world, ["OWNER"], USAGE) as [owner]:
            now = datetime.now(UTC)
            events = [
                UsageEvent(
                    "gateway", str(uuid4()), now, UserBy(id=user_id("mo")), f"p{nth:03d}", "m", nth * MICRO, 1, 1, 1
                )
                for nth in range(1, 121)
            ]
            await record(world.database, "acme", events, now=now)
            [tick] = await ticks_until(owner, "p120")
            return tick

    tick = with_feed(world, talk)
    assert [row["product"] for row in tick["rows"]] == [f"p{nth:03d}" for nth in range(120, 20, -1)]
    assert tick["other"] == {"credits": str(sum(range(1, 21))), "rowCount": 20}
    assert (tick["credits"], tick["requests"]) == (str(sum(range(1, 121))), "120")


def test_requests_are_told_to_who_asks_and_to_who_may_see_them(world: World) -> None:
    async def talk() -> dict[str, list[tuple[str, str]]]:
        async with watching_as(world, CONNECTED, REQUESTS) as clients:
            asked = {}
            for caller in ("MEMBER", "ANALYST", "OTHER_OWNER"):
                answer = await world.answering(caller, ASK)
                asked[answer["data"]["requestCredits"]["request"]["id"]] = caller
            # The two that everybody who sees any of a workspace's sees come last.
            by_caller = {caller: id_ for id_, caller in asked.items()}
            await asyncio.sleep(3 * watching.PAUSE_SECONDS)  # so that both states of a request are told
            await world.answering("ADMIN", DENY, {"id": by_caller["MEMBER"]})
            await world.answering("OTHER_OWNER", CANCEL, {"id": by_caller["OTHER_OWNER"]})
            told: dict[str, list[tuple[str, str]]] = {}
            for caller, client in zip(CONNECTED, clients, strict=True):
                told[caller] = []
                while not told[caller] or told[caller][-1][1] == "PENDING":
                    request = (await client.data("1"))["creditRequestChanged"]
                    told[caller].append((asked[request["id"]], request["state"]))
            return told

    told = with_feed(world, talk)
    everyone = [("MEMBER", "PENDING"), ("ANALYST", "PENDING"), ("MEMBER", "DENIED")]
    for caller in ("OWNER", "ADMIN", "BILLING", "READER"):
        assert told[caller] == everyone, caller
    assert told["GROUP_MANAGER"] == told["MEMBER"] == [("MEMBER", "PENDING"), ("MEMBER", "DENIED")]
    assert told["OTHER_OWNER"] == [("OTHER_OWNER", "PENDING"), ("OTHER_OWNER", "CANCELLED")]


async def budget(client: Talk) -> dict[str, Any]:
    """Return the next budget that the client is told."""
    shown: dict[str, Any] = (await client.data("1"))["budgetChanged"]
    return shown


def test_a_budget_is_told_at_once_and_whenever_it_is_another_one(world: World) -> None:
    mo = shown_id("User", user_id("mo"))

    async def talk() -> None:
        async with watching_as(world, ["MEMBER"], BUDGETS) as [member]:
            first = await budget(member)
            used = parse_credits(first["used"])
            assert (first["limit"], first["scope"]) == ({"amount": "100"}, {"__typename": "User", "id": mo})
            await use(world, "mo", 2)
            assert parse_credits((await budget(member))["used"]) == used + 2 * MICRO
            answer = await world.answering("OWNER", SET, {"user": mo, "amount": "70"})
            assert answer["data"]["setLimit"]["__typename"] == "SetLimitSuccess", answer
            limited = await budget(member)
            assert (limited["limit"], limited["source"]) == ({"amount": "70"}, {"appliesTo": "USER"})
            # A correction that changes nothing in the end is no news, and neither is anybody else's use.
            await use(world, "zoe", 2)
            await use(world, "mo", 0)
            await use(world, "mo", 1)
            assert parse_credits((await budget(member))["used"]) == used + 3 * MICRO

    with_feed(world, talk)
    world.sql("DELETE FROM credit_limit WHERE scope = 'USER' RETURNING 1")


def test_what_is_held_and_given_back_is_told(world: World) -> None:
    async def talk() -> list[str]:
        desk = HoldDesk(world.database, lambda: datetime.now(UTC))
        async with watching_as(world, ["ANALYST"], BUDGETS) as [anna]:
            told = [(await budget(anna))["held"]]
            request = HoldRequest(
                "gateway", str(uuid4()), UserBy(id=user_id("anna")), "chat", "large", amount=3 * MICRO
            )
            hold = await desk.place(workspace_id("acme"), request)
            told.append((await budget(anna))["held"])
            await desk.release(workspace_id("acme"), hold.id)
            told.append((await budget(anna))["held"])
            return told

    assert with_feed(world, talk) == ["0", "3", "0"]


def test_a_budget_is_told_when_its_limit_ends_by_itself(world: World) -> None:
    """Nobody changes anything then: the subscription looks at the moment that it knows of."""
    bill = shown_id("User", user_id("bill"))
    query = """
    mutation($user: ID!, $until: DateTime!) { setLimit(input: {
      target: {user: {id: $user}}, value: {amount: "7"}, expiresAt: $until}) { __typename } }"""

    async def talk() -> list[Any]:
        async with watching_as(world, ["BILLING"], BUDGETS) as [client]:
            told = [(await budget(client))["limit"]]
            until_then = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
            await world.answering("OWNER", query, {"user": bill, "until": until_then})
            told += [(await budget(client))["limit"], (await budget(client))["limit"]]
            return told

    assert with_feed(world, talk) == [{"amount": "100"}, {"amount": "7"}, {"amount": "100"}]


@pytest.mark.parametrize("query", [USAGE, REQUESTS], ids=["usage", "requests"])
def test_who_cannot_be_told_of_everything_is_told_to_read_anew(world: World, query: str) -> None:
    async def talk() -> list[Any]:
        async with watching_as(world, ["OWNER", "MEMBER"], query) as clients:
            for watched in world.streams.live.feed._watched.values():  # noqa: SLF001 - what hours of absence come to
                for one in watched.everybody():
                    one.lost_track()
            return [await client.hear() for client in clients]

    for message in with_feed(world, talk):
        assert (message["type"], message["id"]) == ("error", "1")
        assert [error["extensions"]["code"] for error in message["payload"]] == ["CHANGES_MISSED"]


def test_a_burst_is_told_in_few_and_ends_with_the_latest(world: World) -> None:
    async def talk() -> list[int]:
        async with watching_as(world, ["MEMBER"], BUDGETS) as [member]:
            told: list[int] = [parse_credits((await budget(member))["used"])]
            last = told[0] + 50 * MICRO
            for _ in range(50):
                await use(world, "mo", 1)
            while told[-1] < last:
                told.append(parse_credits((await budget(member))["used"]))
            return told

    told = with_feed(world, talk)
    assert told == sorted(set(told))
    assert len(told) < 50


def test_a_change_costs_nothing_where_it_concerns_nobody(world: World) -> None:
    async def talk() -> list[str]:
        async with watching_as(world, ["MEMBER"] * 10, BUDGETS) as clients:
            for client in clients:
                await budget(client)
            with world.statements() as ran:
                await use(world, "zoe", count=100)
                await use(world, "nora", count=100)
                await until(lambda: ran.count("outbox_since") >= 1)
                await asyncio.sleep(2 * watching.PAUSE_SECONDS)
            return ran

    ran = with_feed(world, talk)
    # The outbox is read once for all of them, and nobody's budget is.
    assert "budget_balances" not in ran


def test_those_who_watch_the_same_share_one_read(world: World) -> None:
    of = {"user": shown_id("User", user_id("mo"))}

    async def talk() -> list[str]:
        callers = ["OWNER", "ADMIN", "BILLING", "ANALYST", "READER"] * 2
        async with watching_as(world, callers, BUDGETS, of=of) as clients:
            for client in clients:
                await budget(client)
            with world.statements() as ran:
                await use(world, "mo")
                for client in clients:
                    await budget(client)
            return ran

    ran = with_feed(world, talk)
    assert (ran.count("budget_holders"), ran.count("budget_balances")) == (1, 1)


def test_budgets_of_others_are_watched_by_those_who_may_see_them(world: World) -> None:
    """What is not theirs to see is answered as what is not there."""
    zoe, mo = ({"user": shown_id("User", user_id(name))} for name in ("zoe", "mo"))
    nobody = {"user": shown_id("User", uuid4())}
    research = {"group": shown_id("Group", group_id("research"))}
    acme = {"workspace": shown_id("Workspace", workspace_id("acme"))}
    himal = {"workspace": shown_id("Workspace", workspace_id("himal"))}
    for scope, scope_id in (("GROUP", group_id("research")), ("WORKSPACE", workspace_id("acme"))):
        world.sql(
            "INSERT INTO credit_limit (workspace_id, id, scope, scope_id, kind, cadence, product, model, temporary,"
            " unlimited, amount, enforcement, starts_at, set_at, version) VALUES (%s, gen_random_uuid(), %s, %s,"
            " 'SHARED', 'MONTH', '', '', false, false, 900000000, 'HARD', '2026-01-01Z', '2026-01-01Z', 1) RETURNING 1",
            workspace_id("acme"),
            scope,
            scope_id,
        )
        world.sql(
            "INSERT INTO balance_kind (workspace_id, id, scope, cadence, product, model, since)"
            " SELECT %s, max(id) + 1, %s, 'MONTH', '', '', '2026-01-01' FROM balance_kind WHERE workspace_id = %s"
            " RETURNING 1",
            workspace_id("acme"),
            scope,
            workspace_id("acme"),
        )

    async def first(caller: str, of: dict[str, str]) -> Any:
        async with talking(world, caller) as client:
            client.subscribe("1", BUDGETS, of=of)
            message = await client.hear()
            if message["type"] == "error":
                return message["payload"][0]["extensions"]["code"]
            shown = message["payload"]["data"]["budgetChanged"]
            return shown["scope"]["__typename"], shown["used"] is not None

    async def talk() -> None:
        assert await first("OWNER", zoe) == ("User", True)
        assert await first("GROUP_MANAGER", mo) == ("User", True)
        for caller in ("MEMBER", "GROUP_MANAGER", "OTHER_OWNER"):
            assert await first(caller, zoe) == await first(caller, nobody) == "UNKNOWN_USER"
        assert await first("GROUP_MANAGER", research) == ("Group", True)
        # A member is told what is left of the pools that bind them, and nobody's share.
        assert await first("MEMBER", research) == ("Group", False)
        assert await first("MEMBER", acme) == ("Workspace", False)
        assert await first("ANALYST", acme) == ("Workspace", True)
        assert await first("OTHER_OWNER", research) == "UNKNOWN_GROUP"
        assert await first("OWNER", himal) == await first("OTHER_OWNER", acme) == "FORBIDDEN"
        assert await first("OWNER", {"user": "odd"}) == "INVALID_ID"

    with_feed(world, talk)


def test_every_caller_of_the_world_is_either_connected_or_refused() -> None:
    assert set(CALLERS) == {*CONNECTED, "WRITER", "UNLINKED", "UNMAPPED"}


@pytest.mark.parametrize("query", [USAGE, BUDGETS])
def test_an_event_leaves_nothing_behind_and_nothing_for_the_collector(world: World, query: str) -> None:
    async def talk() -> tuple[Counter[str], list[str]]:
        async def be_told(times: int) -> None:
            for _ in range(times):
                await use(world, "mo", product="chat")
                await client.data("1")

        async with watching_as(world, ["MEMBER"], query) as [client]:
            if query == BUDGETS:
                await client.data("1")
            await be_told(2)
            gc.collect()
            gc.disable()
            try:
                before = kept()
                await be_told(4)
                left = garbage()
            finally:
                gc.enable()
            return kept() - before, left

    assert with_feed(world, talk) == (Counter(), [])
