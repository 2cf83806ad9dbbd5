"""The rate card over the API: who sees and sets it, what it answers, and what events cost by it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from creditdesk.db.connections import Database
from support.databases import FreshDatabase
from support.world import CALLERS, PLACES, World, group_id, put_place, shown_id, user_id, workspace_id, world_of

DENIED = [caller for caller in CALLERS if caller not in {"OWNER", "BILLING", "OTHER_OWNER"}]
START = "2026-01-01T00:00:00Z"
SOON = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0).isoformat().replace("+00:00", "Z")
RATE = "id product model meter price effectiveFrom effectiveUntil"
TIER = "id product tier factor effectiveFrom effectiveUntil"
CARD = f"""
query($at: DateTime, $product: String, $model: String) {{ viewer {{ workspace {{
  rates(at: $at, product: $product, model: $model) {{ {RATE} }} tierMultipliers(at: $at) {{ {TIER} }} }} }} }}"""
SET = f"""
mutation($input: SetRatesInput!) {{ setRates(input: $input) {{
  __typename ... on SetRatesSuccess {{ rates {{ {RATE} }} multipliers {{ {TIER} }} }}
  ... on UserError {{ message code path }} }} }}"""
REMOVE = """
mutation($id: ID!) { removeRate(input: {id: $id}) {
  __typename ... on RemoveRateSuccess { removedId } ... on UserError { message code path } } }"""
RECORD = """
mutation($events: [UsageEventInput!]!) { recordUsage(input: {events: $events}) {
  ... on RecordUsageSuccess { accepted duplicates unpriced rejected { index code message } } } }"""


async def put_people(database: Database) -> None:
    """Put both workspaces' people in place, without usage and without rates."""
    for place in PLACES:
        await put_place(database, place)


@pytest.fixture
def world(fresh_database: FreshDatabase) -> Iterator[World]:
    with world_of(fresh_database, put_people) as filled:
        yield filled


@pytest.fixture(scope="module")
def still_world(module_database: FreshDatabase) -> Iterator[World]:
    """Return a world for what is refused: nothing is changed in it, but that its card is set."""
    with world_of(module_database, put_people) as filled:
        put(filled, rate(), rate(effectiveFrom=SOON), tiers=(tier(),))
        yield filled


def rate(**changes: object) -> dict[str, object]:
    named = {"product": "chat", "model": "large", "meter": "MESSAGE", "price": "2", "effectiveFrom": START}
    return named | changes


def tier(**changes: object) -> dict[str, object]:
    return {"tier": "fast", "factor": "2.5", "effectiveFrom": START} | changes


def put(world: World, *rates: dict[str, object], tiers: tuple[dict[str, object], ...] = ()) -> Any:
    return world.ask("OWNER", SET, input={"rates": rates, "multipliers": tiers})["setRates"]


def card(world: World, caller: str = "OWNER", **narrowed: str) -> Any:
    return world.ask(caller, CARD, **narrowed)["viewer"]["workspace"]


def event(id_: str, **changes: object) -> dict[str, object]:
    return {
        "source": "test", "id": id_, "at": "2026-06-01T12:00:00Z", "user": {"id": shown_id("User", user_id("mo"))},
        "product": "chat", "model": "large",
    } | changes  # fmt: skip


def record(world: World, *events: dict[str, object]) -> Any:
    return world.ask("WRITER", RECORD, events=events)["recordUsage"]


def stored(world: World) -> dict[str, tuple[int, list[UUID] | None]]:
    rows = world.sql("SELECT external_id, credits, rate_ids FROM usage_event")
    return {external_id: (micro, rates) for external_id, micro, rates in rows}


def test_a_card_is_answered_as_it_was_set(world: World) -> None:
    answer = put(
        world,
        rate(price="0.000001", meter="OUTPUT_TOKENS", effectiveFrom="2026-06-01T02:00:00+02:00", effectiveUntil=SOON),
        rate(model=None, price="1000000000"),
        {"meter": "TASK", "price": "0", "effectiveFrom": START},
        tiers=(tier(), tier(product="chat", factor="0.000001", effectiveUntil=SOON)),
    )
    assert answer.pop("__typename") == "SetRatesSuccess"
    shown = {one: [{**line, "id": None} for line in answer[one]] for one in answer}
    promotion = {
        "id": None, "product": "chat", "model": "large", "meter": "OUTPUT_TOKENS", "price": "0.000001",
        "effectiveFrom": "2026-06-01T00:00:00Z", "effectiveUntil": SOON,
    }  # fmt: skip
    lasting = {"id": None, "effectiveFrom": START, "effectiveUntil": None}
    fast = {"product": None, "tier": "fast", "factor": "2.5"} | lasting
    assert shown == {
        "rates": [
            promotion,
            {"product": "chat", "model": None, "meter": "MESSAGE", "price": "1000000000"} | lasting,
            {"product": None, "model": None, "meter": "TASK", "price": "0"} | lasting,
        ],
        "multipliers": [fast, fast | {"product": "chat", "factor": "0.000001", "effectiveUntil": SOON}],
    }
    for caller in ("OWNER", "BILLING"):
        assert card(world, caller) == {"rates": answer["rates"][::-1], "tierMultipliers": answer["multipliers"]}
    assert card(world, at=START, product="chat") == {
        "rates": [answer["rates"][1]],
        "tierMultipliers": answer["multipliers"],
    }
    assert card(world, product="", model="")["rates"] == [answer["rates"][2]]
    assert card(world, product="nothing")["rates"] == []
    # The whole card is read once, however often it is asked for.
    with world.statements() as ran:
        world.ask("OWNER", "{ viewer { workspace { a: rates { id } b: rates { id } tierMultipliers { id } } } }")
    assert ran == ["controls_settings", "rate_card_rates", "rate_card_multipliers"]


def test_an_event_without_credits_is_priced_by_the_card_of_its_time(world: World) -> None:
    answer = put(
        world,
        rate(),
        rate(meter="TASK", price="30"),
        rate(meter="MINUTE", price="4"),
        rate(meter="INPUT_TOKENS", price="5"),
        rate(meter="CACHED_INPUT_TOKENS", price="0.5"),
        rate(meter="OUTPUT_TOKENS", price="15"),
        rate(price="1", effectiveFrom="2026-05-01T00:00:00Z", effectiveUntil="2026-05-02T00:00:00Z"),
        tiers=(tier(),),
    )
    ids = [UUID(row[0]) for row in world.sql("SELECT id::text FROM rate ORDER BY id")]
    [fast] = [UUID(row[0]) for row in world.sql("SELECT id::text FROM rate_multiplier")]
    assert [one["id"] for one in answer["rates"]] == [shown_id("Rate", id_) for id_ in ids]
    message, task, minute, fresh, cached, output, promotion = ids
    events = [
        event("message"),
        event("none", messages="0", tasks="1"),
        event("minutes", messages="0", minutes="1.500001"),
        event("tokens", messages="0", inputTokens="1000", cachedInputTokens="2000", outputTokens="3000"),
        event("tier", tier="fast"),
        event("promotion", at="2026-05-01T23:59:59.999999Z", messages="3"),
        event("given", credits="12.5", tasks="4"),
    ]
    assert record(world, *events) == {"accepted": 7, "duplicates": 0, "unpriced": 0, "rejected": []}
    assert stored(world) == {
        "message": (2_000_000, [message]),
        "none": (30_000_000, [task]),
        "minutes": (6_000_004, [minute]),
        "tokens": (51_000, [fresh, cached, output]),
        "tier": (5_000_000, [message, fast]),
        "promotion": (3_000_000, [promotion]),
        "given": (12_500_000, None),
    }
    # Sent again after a change of prices, they are the same events, and cost what they cost.
    put(world, rate(price="9"), tiers=(tier(factor="9"),))
    assert record(world, *events) == {"accepted": 0, "duplicates": 7, "unpriced": 0, "rejected": []}
    assert stored(world)["message"] == (2_000_000, [message])
    usage = '{ viewer { user { usage(range: {days: {first: "2026-05-01", last: "2026-06-30"}}) { credits } } } }'
    assert world.ask("MEMBER", usage)["viewer"]["user"]["usage"] == {"credits": "58.551004"}


@pytest.mark.parametrize(
    ("policy", "outcome", "expected"),
    [
        ("DENY", {"accepted": 1, "unpriced": 0}, {"known"}),
        ("DEFAULT_RATE", {"accepted": 2, "unpriced": 0}, {"known", "unknown"}),
        ("ALLOW_UNPRICED", {"accepted": 2, "unpriced": 1}, {"known", "unknown"}),
    ],
)
def test_what_no_rate_names_is_up_to_the_workspace_and_is_never_silently_free(
    world: World, policy: str, outcome: dict[str, int], expected: set[str]
) -> None:
    put(world, rate(), rate(product=None, model=None, price="3"))
    world.sql("UPDATE workspace_settings SET unknown_model = %s RETURNING 1", policy)
    answer = record(world, event("unknown", model="new"), event("known"))
    assert {name: answer[name] for name in outcome} == outcome
    unpriced = {"index": 0, "code": "UNPRICED"}
    assert [{name: one[name] for name in unpriced} for one in answer["rejected"]] == ([unpriced] * (policy == "DENY"))
    assert set(stored(world)) == expected
    assert (
        stored(world).get("unknown", (None,))[0]
        == {"DENY": None, "DEFAULT_RATE": 3_000_000, "ALLOW_UNPRICED": 0}[policy]
    )


# Taking back


def test_what_has_not_come_into_effect_is_taken_back_and_nothing_else_is(world: World) -> None:
    answer = put(world, rate(), rate(price="3", effectiveFrom=SOON), tiers=(tier(), tier(effectiveFrom=SOON)))
    for kind in ("rates", "multipliers"):
        used, planned = (one["id"] for one in answer[kind])
        assert world.ask("BILLING", REMOVE, id=planned) == {
            "removeRate": {"__typename": "RemoveRateSuccess", "removedId": planned}
        }
        assert world.ask("OWNER", REMOVE, id=planned) == {
            "removeRate": {
                "__typename": "UnknownRate", "message": "There is no such rate.", "code": "UNKNOWN_RATE",
                "path": ["input", "id"],
            }
        }  # fmt: skip
        assert world.ask("OWNER", REMOVE, id=used) == {
            "removeRate": {
                "__typename": "RateInUse",
                "message": "A rate that has come into effect stays: put a later one in its place.",
                "code": "RATE_IN_USE",
                "path": ["input", "id"],
            }
        }
    left = card(world)
    assert [len(left[kind]) for kind in ("rates", "tierMultipliers")] == [1, 1]
    trail = world.sql("SELECT action, actor_kind, actor_subject, actor_user_id FROM audit_entry ORDER BY id")
    by_owner, by_billing = ("PERSON", "olga", user_id("olga")), ("PERSON", "bill", user_id("bill"))
    assert trail == [
        ("RATE_ADDED", *by_owner),
        ("RATE_ADDED", *by_owner),
        ("MULTIPLIER_ADDED", *by_owner),
        ("MULTIPLIER_ADDED", *by_owner),
        ("RATE_REMOVED", *by_billing),
        ("MULTIPLIER_REMOVED", *by_billing),
    ]


def test_a_rate_of_another_workspace_is_answered_as_one_that_there_is_not(world: World) -> None:
    [foreign] = world.ask("OTHER_OWNER", SET, input={"rates": [rate(effectiveFrom=SOON)]})["setRates"]["rates"]
    before = world.row_counts()
    nothing = world.ask("OWNER", REMOVE, id=shown_id("Rate", uuid4()))
    assert world.ask("OWNER", REMOVE, id=foreign["id"]) == nothing
    assert nothing["removeRate"]["code"] == "UNKNOWN_RATE"
    assert card(world) == {"rates": [], "tierMultipliers": []}
    assert card(world, "OTHER_OWNER")["rates"] == [foreign]
    assert world.row_counts() == before
    assert world.ask("OTHER_OWNER", REMOVE, id=foreign["id"])["removeRate"]["__typename"] == "RemoveRateSuccess"


@pytest.mark.parametrize("id_", ["", "x", shown_id("Group", group_id("research")), shown_id("Meter", UUID(int=7))])
def test_an_id_that_is_none_of_a_rate_is_refused(still_world: World, id_: str) -> None:
    answer = still_world.ask("OWNER", REMOVE, id=id_)["removeRate"]
    assert (answer["__typename"], answer["code"], answer["path"]) == ("InvalidInput", "INVALID_ID", ["input", "id"])


# Who may


@pytest.mark.parametrize("caller", [caller for caller in DENIED if caller != "UNMAPPED"])
def test_nobody_but_owners_and_billing_sees_the_rate_card(still_world: World, caller: str) -> None:
    with still_world.statements() as ran:
        assert card(still_world, caller) == {"rates": None, "tierMultipliers": None}
    assert ran == []


@pytest.mark.parametrize("caller", DENIED)
def test_nobody_but_owners_and_billing_changes_the_rate_card_and_nothing_is_changed(
    still_world: World, caller: str
) -> None:
    planned = card(still_world)["rates"][1]
    before, version = (
        still_world.row_counts(),
        still_world.sql("SELECT controls_version FROM workspace_settings ORDER BY 1"),
    )
    for query, variables in ((SET, {"input": {"rates": [rate()]}}), (REMOVE, {"id": planned["id"]})):
        answer = still_world.answer(caller, query, **variables)
        assert answer["data"] is None
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert still_world.row_counts() == before
    assert still_world.sql("SELECT controls_version FROM workspace_settings ORDER BY 1") == version


# Bad input: all or nothing


FACTOR = "A multiplier is 0.000001 to 1000."
WINDOW = "`effectiveUntil` is after `effectiveFrom`, or missing."
TWICE = "Another one here is for the same, from the same time on."
BATCH = "A batch takes 1 to 1000 items."
MANY = [rate(model=f"m{number}") for number in range(1001)]


@pytest.mark.parametrize(
    ("lines", "path", "message"),
    [
        ({"rates": [rate(price="-0.000001")]}, ["rates", "0"], "A rate's price is 0 to 1000000000 credits."),
        ({"rates": [rate(), rate(price="1000000000.1")]}, ["rates", "1"], "A rate's price is 0 to 1000000000 credits."),
        ({"rates": [rate(product=None)]}, ["rates", "0"], "A rate for a model names its product too."),
        ({"rates": [rate(product="")]}, ["rates", "0"], "A rate for a model names its product too."),
        ({"rates": [rate(product="x" * 101)]}, ["rates", "0"], "`product` takes up to 100 printable characters."),
        ({"rates": [rate(model="a\nb")]}, ["rates", "0"], "`model` takes up to 100 printable characters."),
        (
            {"rates": [rate(effectiveFrom=SOON, effectiveUntil=START)]},
            ["rates", "0"],
            WINDOW,
        ),
        ({"rates": [rate(), rate(price="5")]}, ["rates", "1"], TWICE),
        ({"rates": [rate()], "multipliers": [tier(factor="0")]}, ["multipliers", "0"], FACTOR),
        ({"multipliers": [tier(), tier(factor="1000.1", tier="b")]}, ["multipliers", "1"], FACTOR),
        (
            {"multipliers": [tier(tier="")]},
            ["multipliers", "0"],
            "A multiplier names its tier: the standard one, which has no name, multiplies by 1.",
        ),
        ({"multipliers": [tier(effectiveUntil=START)]}, ["multipliers", "0"], WINDOW),
        ({"rates": MANY}, [], BATCH),
        ({"rates": MANY[:1000], "multipliers": [tier()]}, [], BATCH),
        ({}, [], BATCH),
    ],
)  # fmt: skip
def test_a_card_that_cannot_be_is_refused_as_a_whole_and_nothing_is_changed(
    still_world: World, lines: dict[str, Any], path: list[str], message: str
) -> None:
    before = still_world.row_counts()
    code = "INVALID_INPUT" if path else "BATCH_SIZE"
    assert still_world.ask("OWNER", SET, input=lines) == {
        "setRates": {"__typename": "InvalidInput", "message": message, "code": code, "path": ["input", *path]}
    }
    assert still_world.row_counts() == before


@pytest.mark.parametrize(
    "line",
    [
        rate(price=5),
        rate(price="1.0000001"),
        rate(price="NaN"),
        rate(meter="TOKENS"),
        rate(meter=None),
        rate(effectiveFrom=None),
        rate(effectiveFrom="2026-01-01"),
        rate(effectiveFrom="0001-01-01T00:00:00+10:00"),
        rate(unknown=1),
        tier(factor=2),
        tier(factor="2.0000001"),
        tier(factor="1e3"),
        tier(tier=None),
    ],
    ids=str,
)
def test_a_line_that_does_not_fit_its_type_is_refused_with_all_others(
    still_world: World, line: dict[str, object]
) -> None:
    before = still_world.row_counts()
    lines = {"multipliers": [tier(), line]} if "tier" in line else {"rates": [rate(), line]}
    assert set(still_world.errors("OWNER", SET, input=lines)) == {"INVALID_INPUT"}
    assert still_world.row_counts() == before


def test_rates_may_start_at_any_time_there_is(world: World) -> None:
    first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"
    put(world, rate(effectiveFrom=first, effectiveUntil=last), rate(meter="TASK", effectiveFrom=last))
    assert [(one["effectiveFrom"], one["effectiveUntil"]) for one in card(world)["rates"]] == [
        (first, last),
        (last, None),
    ]
    assert len(card(world, at=last)["rates"]) == 1


def test_each_workspace_has_a_card_of_its_own(world: World) -> None:
    put(world, rate())
    assert card(world, "OTHER_OWNER") == {"rates": [], "tierMultipliers": []}
    assert world.sql("SELECT DISTINCT workspace_id FROM rate") == [(workspace_id("acme"),)]
