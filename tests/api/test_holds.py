"""Holds over the API: what is placed, settled, released and tried, who may, who sees it, and what is refused."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from creditdesk.credits.hold_rules import hold_id
from creditdesk.db.connections import Database
from support.databases import FreshDatabase
from support.world import (
    CALLERS,
    PLACES,
    World,
    email_of,
    external_id_of,
    group_id,
    id_of,
    put_place,
    shown_id,
    user_id,
    workspace_id,
    workspace_slug,
    world_of,
)

HOLD = """id source externalId product model amount state placedAt expiresAt endedAt settledAmount overage
  user { id } passedSoftLimits { id }"""
BUDGET = "appliesTo product model cadence limit remaining resetsAt target { id }"
REFUSED = (
    f"... on BudgetExceeded {{ code path message budget {{ {BUDGET} }} }} ... on HoldRefused {{ code path message }}"
)
PLACE = f"""
mutation($input: PlaceHoldInput!) {{ placeHold(input: $input) {{ __typename ... on Hold {{ {HOLD} }} {REFUSED} }} }}"""
ENDED = f"{{ __typename ... on Hold {{ {HOLD} }} ... on HoldRefused {{ code path message }} }}"
SETTLE = f"mutation($input: SettleHoldInput!) {{ settleHold(input: $input) {ENDED} }}"
RELEASE = f"mutation($input: ReleaseHoldInput!) {{ releaseHold(input: $input) {ENDED} }}"
INVALID = "... on InvalidInput { code path message }"
PLACE_MANY = f"""
mutation($input: PlaceHoldsInput!) {{ placeHolds(input: $input) {{ __typename
  ... on PlaceHoldsSuccess {{ results {{ __typename ... on Hold {{ {HOLD} }} {REFUSED} }} }} {INVALID} }} }}"""
ENDED_MANY = f"{{ __typename ... on EndHoldsSuccess {{ results {ENDED} }} {INVALID} }}"
SETTLE_MANY = f"mutation($input: SettleHoldsInput!) {{ settleHolds(input: $input) {ENDED_MANY} }}"
RELEASE_MANY = f"mutation($input: ReleaseHoldsInput!) {{ releaseHolds(input: $input) {ENDED_MANY} }}"
AUTHORIZE = f"""
query($input: PlaceHoldInput!) {{ authorize(input: $input) {{ __typename
  ... on AuthorizationAnswer {{ allowed amount budget {{ {BUDGET} }} }}
  ... on HoldRefused {{ code path message }} }} }}"""
NODE = f"query($id: ID!) {{ node(id: $id) {{ __typename id ... on Hold {{ {HOLD} }} }} }}"
SET_LIMIT = """
mutation($input: SetLimitInput!) { setLimit(input: $input) { ... on SetLimitSuccess { limit { id } } } }"""
SET_RATES = """
mutation($input: SetRatesInput!) { setRates(input: $input) { ... on SetRatesSuccess { rates { id } } } }"""
TABLES = (
    "hold", "credit_limit", "rate", "usage_event", "usage_event_key", "rollup_user_detail_day", "rollup_user_day",
    "rollup_user_month", "rollup_group_day", "rollup_group_hour", "rollup_workspace_day",
)  # fmt: skip
WORKSPACE = {"workspace": True}
NOBODY_S = shown_id("Hold", id_of("nowhere"))


async def put_people(database: Database) -> None:
    """Put both workspaces' people in place, and leave everything else to the tests."""
    for place in PLACES:
        await put_place(database, place, moved=True)


@pytest.fixture(scope="module")
def shared_world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database, put_people) as filled:
        # A gateway that also sees everybody's spend.
        filled.tokens["GATEWAY"] = filled.site.token(
            sub="gateway", roles=["service"], scope="usage:read usage:write", workspace=workspace_slug("acme")
        )
        filled.tokens["LIMITER"] = filled.site.token(
            sub="limiter", roles=["service"], scope="limits:write", workspace=workspace_slug("acme")
        )
        filled.tokens["OTHER_WRITER"] = filled.site.token(
            sub="writer", roles=["service"], scope="usage:write", workspace=workspace_slug("himal")
        )
        yield filled


@pytest.fixture
def world(shared_world: World) -> World:
    """Return a world in which nothing is used, held or limited."""
    parts = [f"from_{table} AS (DELETE FROM {table})" for table in TABLES]  # noqa: S608 - of above
    parts += ["balances AS (UPDATE balance SET used = 0, held = '{}')"]
    parts += ["versions AS (UPDATE workspace_settings SET controls_version = controls_version + 1)"]
    shared_world.sql(f"WITH {', '.join(parts)} SELECT")
    return shared_world


def uid(name: str) -> str:
    return shown_id("User", user_id(name))


def wanted(id_: str = "1", **changes: Any) -> dict[str, Any]:
    """Return a hold of 2.5 credits for mo, changed where a test says so."""
    fields = {
        "source": "gateway", "id": id_, "user": {"id": uid("mo")}, "product": "chat", "model": "large", "amount": "2.5",
    }  # fmt: skip
    return {name: value for name, value in (fields | changes).items() if value is not None}


def place(world: World, id_: str = "1", *, caller: str = "GATEWAY", **changes: Any) -> dict[str, Any]:
    return dict(world.ask(caller, PLACE, input=wanted(id_, **changes))["placeHold"])


def settle(world: World, id_: str, *, caller: str = "GATEWAY", **changes: Any) -> dict[str, Any]:
    return dict(world.ask(caller, SETTLE, input={"id": id_} | changes)["settleHold"])


def release(world: World, id_: str, *, caller: str = "GATEWAY") -> dict[str, Any]:
    return dict(world.ask(caller, RELEASE, input={"id": id_})["releaseHold"])


def authorize(world: World, caller: str = "GATEWAY", **changes: Any) -> dict[str, Any]:
    return dict(world.ask(caller, AUTHORIZE, input=wanted("asked", **changes))["authorize"])


def limit(world: World, target: Mapping[str, Any], amount: str, **more: Any) -> str:
    """Set a limit and return its id."""
    asked = {"target": target, "value": {"amount": amount}} | more
    return str(world.ask("OWNER", SET_LIMIT, input=asked)["setLimit"]["limit"]["id"])


def on(user: str) -> dict[str, Any]:
    return {"user": {"id": uid(user)}}


def on_group(group: str) -> dict[str, Any]:
    return {"group": {"id": shown_id("Group", group_id(group))}}


def rate(world: World, price: str = "2") -> None:
    """Put a price on each message of chat."""
    line = {"product": "chat", "meter": "MESSAGE", "price": price, "effectiveFrom": "2026-01-01T00:00:00Z"}
    world.ask("OWNER", SET_RATES, input={"rates": [line], "multipliers": []})


def code(outcome: Mapping[str, Any]) -> str:
    """Return an outcome's code, or its type where it has none."""
    return str(outcome.get("code", outcome["__typename"]))


def rows(world: World) -> list[tuple[Any, ...]]:
    """Return everything that holds could change; a balance of nothing is none."""
    parts = [f"SELECT '{table}', t::text FROM {table} AS t" for table in TABLES]  # noqa: S608 - of above
    parts += ["SELECT 'balance', t::text FROM balance AS t WHERE t.used <> 0 OR t.held <> '{}'"]
    return world.sql(" UNION ALL ".join(parts) + " ORDER BY 1, 2")


def taken(world: World, user: str = "mo") -> tuple[str, str]:
    """Return what is used and held by a user of all usage this month."""
    query = "query($id: ID!) { node(id: $id) { ... on User { budget { used held } } } }"
    budget = world.ask("OWNER", query, id=uid(user))["node"]["budget"]
    return budget["used"], budget["held"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def expire(world: World, hold: Mapping[str, Any]) -> None:
    """Let a hold's time have passed."""
    query = "UPDATE hold SET placed_at = placed_at - interval '1h', expires_at = now() - interval '1s'"
    world.sql(f"{query} WHERE external_id = %s RETURNING 1", hold["externalId"])


def next_period(cadence: str) -> str:
    """Return when the next period of Berlin begins."""
    midnight = datetime.now(ZoneInfo("Europe/Berlin")).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    first = {
        "DAY": midnight + timedelta(days=1),
        "WEEK": midnight + timedelta(days=7 - midnight.weekday()),
        "MONTH": (midnight.replace(day=1) + timedelta(days=32)).replace(day=1),
    }[cadence]
    start = first.replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    return start.isoformat().replace("+00:00", "Z")


# What is answered.


def test_a_hold_is_answered_as_it_was_placed(world: World) -> None:
    before = datetime.now(UTC)
    hold = place(world, "whole")
    placed, expires = at(hold["placedAt"]), at(hold["expiresAt"])
    assert before <= placed <= datetime.now(UTC)
    # Rounded up, so that many holds end together.
    assert placed + timedelta(seconds=300) <= expires <= placed + timedelta(seconds=331)
    assert hold == {
        "__typename": "Hold",
        "id": shown_id("Hold", hold_id(workspace_id("acme"), "gateway", "whole")),
        "source": "gateway",
        "externalId": "whole",
        "product": "chat",
        "model": "large",
        "amount": "2.5",
        "state": "HELD",
        "placedAt": hold["placedAt"],
        "expiresAt": hold["expiresAt"],
        "endedAt": None,
        "settledAmount": None,
        "overage": "0",
        "user": {"id": uid("mo")},
        "passedSoftLimits": [],
    }
    assert taken(world) == ("0", "2.5")


def test_the_same_hold_again_is_the_same_hold_however_the_user_is_named(world: World) -> None:
    hold = place(world)
    for name in ({"id": uid("mo")}, {"email": email_of("mo").upper()}, {"externalId": external_id_of("mo")}):
        assert place(world, user=name) == hold
    assert taken(world) == ("0", "2.5")


@pytest.mark.parametrize(
    "other",
    [{"amount": "2.500001"}, {"user": {"id": uid("mia")}}, {"product": "agent"}, {"model": "x"}, {"seconds": 9}],
)
def test_another_hold_under_the_same_id_is_a_conflict_and_changes_nothing(world: World, other: dict[str, Any]) -> None:
    place(world)
    before = rows(world)
    assert place(world, **other) == {
        "__typename": "HoldRefused",
        "code": "IDEMPOTENCY_CONFLICT",
        "path": None,
        "message": "That source has already recorded another event, or placed another hold, under this id.",
    }
    assert rows(world) == before
    assert code(place(world, source="another gateway", **other)) == "Hold"


def test_a_refusal_names_the_user_s_budget_that_binds_and_what_is_left_of_it(world: World) -> None:
    limit(world, on("mo"), "10")
    assert code(place(world, "1", amount="7")) == "Hold"
    before = taken(world)
    refusal = place(world, "2", amount="3.000001")
    assert refusal == {
        "__typename": "BudgetExceeded",
        "code": "BUDGET_EXCEEDED",
        "path": None,
        "message": "A budget has not enough left.",
        "budget": {
            "appliesTo": "USER",
            "product": None,
            "model": None,
            "cadence": "MONTH",
            "limit": "10",
            "remaining": "3",
            "resetsAt": next_period("MONTH"),
            "target": {"id": uid("mo")},
        },
    }
    assert taken(world) == before == ("0", "7")
    assert code(place(world, "3", amount="3")) == "Hold"


def test_a_refusal_names_the_group_s_and_the_workspace_s_budget_of_a_product_and_a_model(world: World) -> None:
    limit(world, on_group("research"), "5", kind="SHARED", cadence="WEEK", product="chat")
    limit(world, WORKSPACE, "4", kind="SHARED", cadence="DAY", product="chat", model="tiny")
    of_group = {"appliesTo": "GROUP", "product": "chat", "model": None, "cadence": "WEEK", "limit": "5"}
    of_workspace = {"appliesTo": "WORKSPACE", "product": "chat", "model": "tiny", "cadence": "DAY", "limit": "4"}
    group, workspace = (
        {"id": shown_id(kind, id_)}
        for kind, id_ in (("Group", group_id("research")), ("Workspace", workspace_id("acme")))
    )
    assert place(world, "1", amount="5.1")["budget"] == of_group | {
        "remaining": "5", "resetsAt": next_period("WEEK"), "target": group,
    }  # fmt: skip
    assert code(place(world, "2", amount="3", model="tiny", user={"id": uid("zoe")})) == "Hold"
    # Both are in the way, and the one with less left binds.
    assert place(world, "3", amount="9", model="tiny")["budget"] == of_workspace | {
        "remaining": "1", "resetsAt": next_period("DAY"), "target": workspace,
    }  # fmt: skip
    assert code(place(world, "4", amount="9", product="agent")) == "Hold"


def test_a_gateway_that_may_not_see_people_is_told_the_budget_but_not_whose_it_is(world: World) -> None:
    limit(world, on("mo"), "1")
    budget = place(world, caller="WRITER")["budget"]
    assert (budget["appliesTo"], budget["remaining"], budget["target"]) == ("USER", "1", None)
    hold = place(world, "2", caller="WRITER", amount="1")
    assert (hold["state"], hold["user"]) == ("HELD", None)


def test_the_same_refused_hold_again_is_refused_again_and_another_one_is_not(world: World) -> None:
    limit(world, on("mo"), "1")
    refusal = place(world)
    limit(world, on("mo"), "10")
    assert place(world) == refusal
    assert code(place(world, amount="1")) == "IDEMPOTENCY_CONFLICT"
    assert code(place(world, "2")) == "Hold"


def test_a_limit_that_is_lowered_or_raised_bites_at_once_and_leaves_what_is_held(world: World) -> None:
    limit(world, on("mo"), "10")
    assert code(place(world, "1", amount="8")) == "Hold"
    limit(world, on("mo"), "5")
    assert place(world, "2", amount="0.000001")["budget"]["remaining"] == "0"
    assert taken(world) == ("0", "8")
    limit(world, on("mo"), "11")
    assert code(place(world, "3", amount="3")) == "Hold"
    limit(world, on("mo"), "0")
    assert code(place(world, "4", amount="0.000001")) == "BUDGET_EXCEEDED"


def test_a_soft_limit_stops_nobody_and_is_named_to_those_who_may_see_it(world: World) -> None:
    soft = limit(world, WORKSPACE, "1", enforcement="SOFT")
    assert place(world, "1", amount="1")["passedSoftLimits"] == []
    hold = place(world, "2")
    assert (hold["state"], hold["passedSoftLimits"]) == ("HELD", [{"id": soft}])
    assert place(world, "2") == hold
    assert place(world, "2", caller="WRITER")["passedSoftLimits"] == []


def test_settling_records_what_was_used_as_one_event_and_gives_back_the_rest(world: World) -> None:
    hold = place(world)
    before = datetime.now(UTC)
    measured = {"inputTokens": "10", "cachedInputTokens": "4", "outputTokens": "7"}
    settled = settle(world, hold["id"], amount="1.25", measured=measured)
    assert before <= at(settled["endedAt"]) <= datetime.now(UTC)
    done = {"state": "SETTLED", "settledAmount": "1.25", "endedAt": settled["endedAt"]}
    assert settled == hold | done
    assert settle(world, hold["id"], amount="1.25", measured=measured) == settled
    assert place(world) == settled
    assert taken(world) == ("1.25", "0")
    whose = ("gateway", "1", user_id("mo"), group_id("research"), at(hold["placedAt"]))
    used = ("chat", "large", 1_250_000, 1, 10, 4, 7)
    assert world.sql(
        "SELECT source, external_id, user_id, group_id, at, product, model, credits, requests, input_tokens,"
        " cached_input_tokens, output_tokens FROM usage_event"
    ) == [(*whose, *used)]


def test_settling_above_the_hold_is_recorded_in_full_and_flagged(world: World) -> None:
    limit(world, on("mo"), "2.5")
    settled = settle(world, place(world)["id"], amount="4")
    assert (settled["settledAmount"], settled["overage"]) == ("4", "1.5")
    assert taken(world) == ("4", "0")


def test_settling_after_the_hold_has_expired_is_recorded_and_all_of_it_is_overage(world: World) -> None:
    hold = place(world)
    expire(world, hold)
    assert world.ask("GATEWAY", NODE, id=hold["id"])["node"]["state"] == "EXPIRED"
    assert place(world)["state"] == "EXPIRED"
    settled = settle(world, hold["id"], amount="2")
    assert (settled["state"], settled["settledAmount"], settled["overage"]) == ("SETTLED", "2", "2")


def test_settling_with_nothing_used_is_an_event_of_nothing(world: World) -> None:
    settled = settle(world, place(world)["id"], amount="0")
    assert (settled["state"], settled["settledAmount"], settled["overage"]) == ("SETTLED", "0", "0")
    assert world.sql("SELECT credits, requests FROM usage_event") == [(0, 1)]


def test_releasing_gives_all_back_and_records_nothing(world: World) -> None:
    hold = place(world)
    released = release(world, hold["id"])
    assert released == hold | {"state": "RELEASED", "endedAt": released["endedAt"]}
    assert release(world, hold["id"]) == released
    assert place(world) == released
    assert taken(world) == ("0", "0")
    assert world.sql("SELECT FROM usage_event") == []


def test_a_hold_ends_exactly_once(world: World) -> None:
    settled, released, expired = (place(world, name) for name in ("settled", "released", "expired"))
    settle(world, settled["id"], amount="1")
    release(world, released["id"])
    expire(world, expired)
    before = rows(world)
    refusals = [
        settle(world, settled["id"], amount="1.000001"),
        settle(world, settled["id"], amount="1", measured={"outputTokens": "1"}),
        release(world, settled["id"]),
        settle(world, released["id"], amount="1"),
        release(world, expired["id"]),
    ]
    message = "The hold has ended already: it was settled otherwise, released, refused, or it expired."
    assert refusals == [{"__typename": "HoldRefused", "code": "HOLD_ENDED", "path": None, "message": message}] * 5
    assert rows(world) == before


def test_settling_and_releasing_at_once_leaves_one_winner(world: World) -> None:
    for number in range(5):
        hold = place(world, str(number))
        asked = [("GATEWAY", RELEASE, {"input": {"id": hold["id"]}})] * 2
        asked += [("GATEWAY", SETTLE, {"input": {"id": hold["id"], "amount": "1"}})] * 2
        codes = [code(next(iter(answer["data"].values()))) for answer in world.ask_together(asked)]
        assert sorted((codes[:2], codes[2:])) == [["HOLD_ENDED"] * 2, ["Hold"] * 2]


def test_an_event_under_the_hold_s_id_keeps_it_from_being_settled_and_it_stays_held(world: World) -> None:
    hold, other = place(world), place(world, "2")
    record = """
    mutation($events: [UsageEventInput!]!) { recordUsage(input: {events: $events}) {
      ... on RecordUsageSuccess { accepted } } }"""
    event = wanted(amount=None) | {"credits": "1", "at": "2026-06-01T12:00:00Z"}
    assert world.ask("WRITER", record, events=[event]) == {"recordUsage": {"accepted": 1}}
    before = rows(world)
    assert code(settle(world, hold["id"], amount="1")) == "IDEMPOTENCY_CONFLICT"
    assert rows(world) == before
    both = {"holds": [{"id": one["id"], "amount": "1"} for one in (hold, other)]}
    results = world.ask("GATEWAY", SETTLE_MANY, input=both)["settleHolds"]["results"]
    assert [code(one) for one in results] == ["IDEMPOTENCY_CONFLICT", "Hold"]
    assert release(world, hold["id"])["state"] == "RELEASED"


def test_what_is_expected_and_what_was_measured_is_priced_by_the_rate_card(world: World) -> None:
    rate(world, "2")
    assert place(world, "1", amount=None, expected={"messages": "3"})["amount"] == "6"
    assert place(world, "2", amount=None, expected={})["amount"] == "2"
    # An amount goes before what is expected, which then prices nothing.
    hold = place(world, "3", amount="5", expected={"messages": "3"})
    assert hold["amount"] == "5"
    assert place(world, "3", amount="5") == hold
    assert settle(world, hold["id"], measured={"messages": "2"})["settledAmount"] == "4"
    assert code(place(world, "4", amount=None, expected={}, product="video")) == "UNPRICED"
    assert code(settle(world, place(world, "5", product="video")["id"], measured={})) == "UNPRICED"


# Trying.


def test_trying_says_what_would_come_of_it_and_changes_nothing(world: World) -> None:
    before = rows(world)
    allowed = {"__typename": "AuthorizationAnswer", "allowed": True, "amount": "2.5"}
    assert authorize(world) == allowed | {"budget": None}
    assert rows(world) == before
    limit(world, on("mo"), "10")
    limit(world, on_group("research"), "3", kind="SHARED", product="chat")
    before = rows(world)
    budget = {
        "appliesTo": "GROUP", "product": "chat", "model": None, "cadence": "MONTH", "limit": "3", "remaining": "3",
        "resetsAt": next_period("MONTH"), "target": {"id": shown_id("Group", group_id("research"))},
    }  # fmt: skip
    assert authorize(world) == allowed | {"budget": budget}
    too_much = allowed | {"allowed": False, "amount": "3.5", "budget": budget}
    assert authorize(world, amount="3.5") == too_much
    assert rows(world) == before
    place(world, "1")
    assert authorize(world)["budget"] == budget | {"remaining": "0.5"}
    assert (authorize(world)["allowed"], authorize(world, amount="0.5")["allowed"]) == (False, True)


def test_trying_prices_what_is_expected_and_refuses_what_cannot_be_placed(world: World) -> None:
    rate(world, "2")
    assert authorize(world, amount=None, expected={"messages": "4"})["amount"] == "8"
    for changes, expected in (
        ({"user": {"id": shown_id("User", id_of("nobody"))}}, "UNKNOWN_USER"),
        ({"user": {"id": uid("ina")}}, "INACTIVE_USER"),
        ({"user": {"id": uid("maya")}}, "UNKNOWN_USER"),
        ({"amount": None, "expected": {}, "product": "video"}, "UNPRICED"),
        ({"amount": "0"}, "INVALID_AMOUNT"),
        ({"user": {"id": "no id"}}, "INVALID_ID"),
    ):
        outcome = authorize(world, **changes)
        assert (outcome["__typename"], outcome["code"], outcome["path"]) == ("HoldRefused", expected, None)


# Bad input.

REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"amount": "0"}, "INVALID_AMOUNT"),
    "less than nothing": ({"amount": "-0.000001"}, "INVALID_AMOUNT"),
    "more than a billion": ({"amount": "1000000000.000001"}, "INVALID_AMOUNT"),
    "forty digits": ({"amount": "9" * 40}, "INVALID_AMOUNT"),
    "neither an amount nor what is expected": ({"amount": None}, "INVALID_AMOUNT"),
    "fewer messages than none": ({"amount": None, "expected": {"messages": "-1"}}, "INVALID_AMOUNT"),
    "more tasks than 10^12": ({"amount": None, "expected": {"tasks": "1000000000001"}}, "INVALID_AMOUNT"),
    "more tokens than 10^12": ({"amount": None, "expected": {"inputTokens": "9" * 40}}, "INVALID_AMOUNT"),
    "minutes below 0": ({"amount": None, "expected": {"minutes": "-0.000001"}}, "INVALID_AMOUNT"),
    "more minutes than 10^9": ({"amount": None, "expected": {"minutes": "1000000000.1"}}, "INVALID_AMOUNT"),
    "a long tier": ({"amount": None, "expected": {"tier": "x" * 101}}, "INVALID_EVENT"),
    "no source": ({"source": ""}, "INVALID_EVENT"),
    "a long source": ({"source": "x" * 101}, "INVALID_EVENT"),
    "no id": ({"id_": ""}, "INVALID_EVENT"),
    "a long id": ({"id_": "x" * 201}, "INVALID_EVENT"),
    "no product": ({"product": ""}, "INVALID_EVENT"),
    "a long product": ({"product": "x" * 101}, "INVALID_EVENT"),
    "a long model": ({"model": "x" * 101}, "INVALID_EVENT"),
    "two lines": ({"model": "a\nb"}, "INVALID_EVENT"),
    "no second": ({"seconds": 0}, "INVALID_INPUT"),
    "less than a second": ({"seconds": -1}, "INVALID_INPUT"),
    "more than a day": ({"seconds": 86_401}, "INVALID_INPUT"),
    "no user's id": ({"user": {"id": "mo"}}, "INVALID_ID"),
    "a group's id": ({"user": {"id": shown_id("Group", group_id("research"))}}, "INVALID_ID"),
    "nobody's id": ({"user": {"id": shown_id("User", id_of("nobody"))}}, "UNKNOWN_USER"),
    "nobody's address": ({"user": {"email": "nobody@example.com"}}, "UNKNOWN_USER"),
    "no address": ({"user": {"email": ""}}, "UNKNOWN_USER"),
    "no external id": ({"user": {"externalId": ""}}, "UNKNOWN_USER"),
    "somebody elsewhere": ({"user": {"email": email_of("maya")}}, "UNKNOWN_USER"),
    "somebody inactive": ({"user": {"id": uid("ina")}}, "INACTIVE_USER"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_a_hold_that_cannot_be_placed_is_refused_with_a_code_and_nothing_is_changed(world: World, why: str) -> None:
    changes, expected = REFUSALS[why]
    before = rows(world)
    outcome = place(world, **changes)
    assert (outcome["__typename"], outcome["code"], outcome["path"]) == ("HoldRefused", expected, None)
    assert outcome["message"].endswith(".")
    assert rows(world) == before


def test_the_longest_words_the_largest_amount_and_the_shortest_and_longest_time_are_taken(world: World) -> None:
    hold = place(world, "ö" * 200, source="s" * 100, product="p" * 100, model="m" * 100, amount="1000000000", seconds=1)
    assert (hold["state"], hold["amount"]) == ("HELD", "1000000000")
    assert timedelta(seconds=1) <= at(hold["expiresAt"]) - at(hold["placedAt"]) <= timedelta(seconds=2)
    hold = place(world, "2", amount="0.000001", seconds=86_400)
    assert (hold["state"], hold["amount"]) == ("HELD", "0.000001")
    assert timedelta(days=1) <= at(hold["expiresAt"]) - at(hold["placedAt"]) <= timedelta(hours=25)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 2.5}, {"amount": "0.0000001"}, {"amount": "1e3"}, {"amount": "NaN"}, {"seconds": 2.5},
        {"seconds": 2**31}, {"seconds": "300"}, {"user": {}}, {"user": None}, {"source": None}, {"source": 1},
        {"user": {"id": uid("mo"), "email": email_of("mo")}}, {"user": {"id": None}}, {"tier": "fast"},
        {"expected": {"messages": 1.5}}, {"expected": {"messages": "1.5"}}, {"expected": {"minutes": 1.5}},
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_the_types_is_invalid_input_and_nothing_is_changed(
    world: World, changes: dict[str, Any]
) -> None:
    before = rows(world)
    assert world.errors("GATEWAY", PLACE, input=wanted(**changes)) == ["INVALID_INPUT"]
    assert world.errors("GATEWAY", PLACE_MANY, input={"holds": [wanted(**changes)]}) == ["INVALID_INPUT"]
    assert rows(world) == before


def test_text_with_a_nul_is_refused_before_it_gets_anywhere(world: World) -> None:
    before = rows(world)
    for name in ("source", "id", "product", "model"):
        response = world.run(world.posting("GATEWAY", PLACE, {"input": wanted() | {name: "a\0b"}}))
        assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, "MALFORMED_REQUEST")
    assert rows(world) == before


ENDINGS: dict[str, tuple[dict[str, Any], str]] = {
    "less than nothing": ({"amount": "-0.000001"}, "INVALID_AMOUNT"),
    "more than a billion": ({"amount": "1000000000.000001"}, "INVALID_AMOUNT"),
    "neither an amount nor what was measured": ({}, "INVALID_AMOUNT"),
    "tokens below 0": ({"amount": "1", "measured": {"outputTokens": "-1"}}, "INVALID_AMOUNT"),
    "a long tier": ({"amount": "1", "measured": {"tier": "x" * 101}}, "INVALID_EVENT"),
}


@pytest.mark.parametrize("why", ENDINGS)
def test_a_settlement_that_cannot_be_is_refused_with_a_code_and_nothing_is_changed(world: World, why: str) -> None:
    changes, expected = ENDINGS[why]
    hold = place(world)
    before = rows(world)
    assert code(settle(world, hold["id"], **changes)) == expected
    assert rows(world) == before


def test_a_hold_that_is_not_there_is_neither_settled_nor_released(world: World) -> None:
    hold = place(world)
    limit(world, on("mo"), "1")
    place(world, "refused")
    refused = shown_id("Hold", hold_id(workspace_id("acme"), "gateway", "refused"))
    before = rows(world)
    for id_ in (NOBODY_S, refused):
        outcome = {"__typename": "HoldRefused", "code": "UNKNOWN_HOLD", "path": None}
        outcome["message"] = "There is no such hold."
        assert settle(world, id_, amount="1") == release(world, id_) == outcome
    # In another workspace it is as if it were not there.
    assert code(settle(world, hold["id"], caller="OTHER_WRITER", amount="1")) == "UNKNOWN_HOLD"
    assert code(release(world, hold["id"], caller="OTHER_WRITER")) == "UNKNOWN_HOLD"
    for id_ in ("", "x", hold["id"][:-1], uid("mo"), str(UUID(int=1))):
        assert code(settle(world, id_, amount="1")) == code(release(world, id_)) == "INVALID_ID"
    assert rows(world) == before


# Who may, and who sees.

INPUTS: dict[str, tuple[str, Any]] = {
    "placeHold": (PLACE, wanted("denied")),
    "settleHold": (SETTLE, {"id": NOBODY_S, "amount": "1"}),
    "releaseHold": (RELEASE, {"id": NOBODY_S}),
    "placeHolds": (PLACE_MANY, {"holds": [wanted("denied")]}),
    "settleHolds": (SETTLE_MANY, {"holds": [{"id": NOBODY_S, "amount": "1"}]}),
    "releaseHolds": (RELEASE_MANY, {"holds": [{"id": NOBODY_S}]}),
    "authorize": (AUTHORIZE, wanted("denied")),
}


@pytest.mark.parametrize("caller", [*(caller for caller in CALLERS if caller != "WRITER"), "LIMITER"])
def test_nobody_but_a_service_that_may_write_asks_for_holds_and_nothing_is_changed(world: World, caller: str) -> None:
    held = place(world)["id"]
    before = rows(world)
    for field, (document, given) in INPUTS.items():
        real = {"id": held} | {name: value for name, value in given.items() if name != "id"} if "id" in given else given
        for one in (given, real if field in {"settleHold", "releaseHold"} else given):
            answer = world.answer(caller, document, input=one)
            assert answer["data"] is None
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert rows(world) == before


@pytest.mark.parametrize("caller", ["WRITER", "GATEWAY"])
def test_a_service_that_may_write_is_answered_everywhere(world: World, caller: str) -> None:
    outcomes = {
        field: world.ask(caller, document, input=given)[field]["__typename"]
        for field, (document, given) in INPUTS.items()
    }
    assert outcomes == {
        "placeHold": "Hold",
        "settleHold": "HoldRefused",
        "releaseHold": "HoldRefused",
        "placeHolds": "PlaceHoldsSuccess",
        "settleHolds": "EndHoldsSuccess",
        "releaseHolds": "EndHoldsSuccess",
        "authorize": "AuthorizationAnswer",
    }


SEEN_BY = {
    "mo": {"OWNER", "ADMIN", "BILLING", "ANALYST", "READER", "WRITER", "GATEWAY", "GROUP_MANAGER", "MEMBER"},
    "gina": {"OWNER", "ADMIN", "BILLING", "ANALYST", "READER", "WRITER", "GATEWAY", "GROUP_MANAGER"},
    "zoe": {"OWNER", "ADMIN", "BILLING", "ANALYST", "READER", "WRITER", "GATEWAY"},
}
"""GROUP_MANAGER is gina, who manages mo's group but not zoe's; MEMBER is mo."""


def test_a_hold_is_seen_by_its_user_by_those_who_see_their_spend_and_by_those_who_place_holds(world: World) -> None:
    held = {user: place(world, user, user={"id": uid(user)})["id"] for user in SEEN_BY}
    limit(world, WORKSPACE, "0")
    place(world, "refused")
    refused = shown_id("Hold", hold_id(workspace_id("acme"), "gateway", "refused"))
    for caller in [*(caller for caller in CALLERS if caller != "UNMAPPED"), "GATEWAY", "LIMITER", "OTHER_WRITER"]:
        for user, id_ in held.items():
            node = world.ask(caller, NODE, id=id_)["node"]
            assert (node is not None) is (caller in SEEN_BY[user]), (caller, user)
            if node is not None:
                # A gateway that sees nobody's spend is not told who it is either.
                shown = None if caller == "WRITER" else {"id": uid(user)}
                assert (node["id"], node["state"], node["amount"], node["user"]) == (id_, "HELD", "2.5", shown)
        # What may not be seen is answered as what is not there, and a refusal is no hold for anybody.
        assert world.ask(caller, NODE, id=NOBODY_S) == world.ask(caller, NODE, id=refused) == {"node": None}
    assert world.errors("UNMAPPED", NODE, id=held["mo"]) == ["FORBIDDEN"]


# Together.


def test_of_a_batch_each_has_an_answer_of_its_own_and_a_bad_one_keeps_no_other_out(world: World) -> None:
    limit(world, on("zoe"), "1")
    asked = [
        wanted("1"),
        wanted("2", amount="-1"),
        wanted("3", user={"id": "no id"}),
        wanted("4", user={"id": uid("zoe")}),
        wanted("1"),
        wanted("1", amount="3"),
        wanted("5", user={"email": "nobody@example.com"}),
        wanted("6"),
    ]
    answer = world.ask("GATEWAY", PLACE_MANY, input={"holds": asked})["placeHolds"]
    assert answer["__typename"] == "PlaceHoldsSuccess"
    first, negative, no_id, refused, again, other, nobody, last = answer["results"]
    assert first == again == place(world, "1")
    assert (code(negative), code(no_id), code(nobody)) == ("INVALID_AMOUNT", "INVALID_ID", "UNKNOWN_USER")
    assert (code(refused), refused["budget"]["target"]) == ("BUDGET_EXCEEDED", {"id": uid("zoe")})
    assert (code(other), last["state"]) == ("IDEMPOTENCY_CONFLICT", "HELD")
    assert taken(world) == ("0", "5")
    ends = [
        {"id": first["id"], "amount": "1"},
        {"id": NOBODY_S, "amount": "1"},
        {"id": "no id", "amount": "1"},
        {"id": last["id"], "amount": "-1"},
        {"id": first["id"], "amount": "1"},
        {"id": first["id"], "amount": "2"},
    ]
    results = world.ask("GATEWAY", SETTLE_MANY, input={"holds": ends})["settleHolds"]["results"]
    assert [code(one) for one in results] == [
        "Hold", "UNKNOWN_HOLD", "INVALID_ID", "INVALID_AMOUNT", "Hold", "HOLD_ENDED",
    ]  # fmt: skip
    assert results[0] == results[4]
    ids = [last["id"], NOBODY_S, first["id"], last["id"]]
    results = world.ask("GATEWAY", RELEASE_MANY, input={"holds": [{"id": id_} for id_ in ids]})
    results = results["releaseHolds"]["results"]
    assert [code(one) for one in results] == ["Hold", "UNKNOWN_HOLD", "HOLD_ENDED", "Hold"]
    assert taken(world) == ("1", "0")


@pytest.mark.parametrize("number", [0, 1001])
def test_a_batch_takes_1_to_1000_holds(world: World, number: int) -> None:
    before = rows(world)
    invalid = {"__typename": "InvalidInput", "code": "BATCH_SIZE", "path": ["input", "holds"]}
    invalid["message"] = "A batch takes 1 to 1000 items."
    holds: Mapping[str, Any] = {
        "placeHolds": [wanted(str(place)) for place in range(number)],
        "settleHolds": [{"id": NOBODY_S, "amount": "1"}] * number,
        "releaseHolds": [{"id": NOBODY_S}] * number,
    }
    for field, document in (("placeHolds", PLACE_MANY), ("settleHolds", SETTLE_MANY), ("releaseHolds", RELEASE_MANY)):
        assert world.ask("GATEWAY", document, input={"holds": holds[field]}) == {field: invalid}
    assert rows(world) == before


def test_a_thousand_holds_are_placed_settled_and_released_in_a_few_statements(world: World) -> None:
    asked = [wanted(str(number), amount="0.001") for number in range(1000)]
    with world.statements() as ran:
        placed = world.ask("WRITER", PLACE_MANY, input={"holds": asked})["placeHolds"]["results"]
    assert {code(one) for one in placed} == {"Hold"}
    assert [one["externalId"] for one in placed] == [str(number) for number in range(1000)]
    assert ran.count("place_holds") <= 5
    ids = [one["id"] for one in placed]
    with world.statements() as ran:
        ends = [{"id": id_, "amount": "0.0005"} for id_ in ids[:500]]
        settled = world.ask("WRITER", SETTLE_MANY, input={"holds": ends})["settleHolds"]["results"]
        released = world.ask("WRITER", RELEASE_MANY, input={"holds": [{"id": id_} for id_ in ids[500:]]})
    assert {one["state"] for one in settled} == {"SETTLED"}
    assert {one["state"] for one in released["releaseHolds"]["results"]} == {"RELEASED"}
    assert len(ran) <= 30
    assert taken(world) == ("0.25", "0")


def test_calls_that_arrive_together_share_transactions_and_each_has_its_own_answer(world: World) -> None:
    limit(world, on("zoe"), "10")
    asked = [wanted(str(number)) for number in range(30)]
    asked += [wanted(f"zoe-{number}", user={"id": uid("zoe")}, amount="1") for number in range(17)]
    asked += [wanted("0"), wanted("1", amount="9"), wanted("bad", amount="-1")]
    with world.statements() as ran:
        answers = world.ask_together([("GATEWAY", PLACE, {"input": one}) for one in asked])
    outcomes = [answer["data"]["placeHold"] for answer in answers]
    assert [code(one) for one in outcomes[:30]] == ["Hold"] * 30
    assert [one["externalId"] for one in outcomes[:30]] == [str(number) for number in range(30)]
    assert sorted(code(one) for one in outcomes[30:47]) == ["BUDGET_EXCEEDED"] * 7 + ["Hold"] * 10
    assert outcomes[47] == outcomes[0]
    assert [code(one) for one in outcomes[48:]] == ["IDEMPOTENCY_CONFLICT", "INVALID_AMOUNT"]
    assert ran.count("place_holds") <= 25
    ids = [one["id"] for one in outcomes[:30]]
    with world.statements() as ran:
        answers = world.ask_together([("GATEWAY", SETTLE, {"input": {"id": id_, "amount": "1"}}) for id_ in ids])
    assert [answer["data"]["settleHold"]["id"] for answer in answers] == ids
    assert ran.count("settle_holds") <= 15
    assert taken(world) == ("30", "0")
    assert taken(world, "zoe") == ("0", "10")
