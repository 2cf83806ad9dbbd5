"""The matrix of subscriptions: every caller, every subscription, every row, against docs/access.toml."""

from collections.abc import Iterator

import pytest

from support.databases import FreshDatabase
from support.everything import furnish
from support.manifest import FOREIGN, manifest
from support.rows import SEATS, Owner, row_word, sit_down
from support.talking import Talk, talking, with_feed
from support.world import World, group_id, id_of, shown_id, user_id, workspace_id, world_of

OPENED: dict[str, str] = {
    "budgetChanged": "subscription($of: BudgetOf) { budgetChanged(of: $of) { status } }",
    "creditRequestChanged": "subscription { creditRequestChanged { id } }",
    "usageRecorded": "subscription { usageRecorded { credits } }",
}
OWNERS: tuple[Owner, ...] = (
    *(("user", name) for name in ("mo", "gina", "zoe", "maya", "nobody")),
    *(("group", name) for name in ("research", "design", "sales", "guides", "nothing")),
    *(("workspace", name) for name in ("acme", "himal", "nowhere")),
)
MISSING = {"user": "UNKNOWN_USER", "group": "UNKNOWN_GROUP", "workspace": "FORBIDDEN"}
"""What is said of what is not there, and of what the caller may not see."""


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database) as filled:
        furnish(filled)
        sit_down(filled)
        yield filled


def of(owner: Owner) -> dict[str, str]:
    kind, name = owner
    if name in {"nobody", "nothing", "nowhere"}:
        return {kind: shown_id(kind.title(), id_of("nowhere"))}
    return {kind: shown_id(kind.title(), {"user": user_id, "group": group_id, "workspace": workspace_id}[kind](name))}


def word_of(caller: str, owner: Owner) -> str:
    return FOREIGN if owner[1] in {"nobody", "nothing", "nowhere"} else row_word(SEATS[caller], owner)


async def first_of(client: Talk, id_: str) -> str | None:
    """Return the code that an operation is refused with; None where the first that it is told is an answer."""
    while True:
        message = await client.hear()
        if message.get("id") == id_:
            return message["payload"][0]["extensions"]["code"] if message["type"] == "error" else None


@pytest.mark.parametrize("caller", SEATS)
def test_a_budget_is_told_of_exactly_the_rows_that_the_manifest_says(world: World, caller: str) -> None:
    told = manifest().audiences[manifest().subscriptions["budgetChanged"]].get(caller, ())

    async def talk() -> dict[Owner, str | None]:
        found: dict[Owner, str | None] = {}
        async with talking(world, caller) as client:
            for number, owner in enumerate(OWNERS):
                client.subscribe(str(number), OPENED["budgetChanged"], of=of(owner))
                found[owner] = await first_of(client, str(number))
                client.say({"id": str(number), "type": "complete"})
        return found

    expected: dict[Owner, str | None] = {
        owner: None if word_of(caller, owner) in told else MISSING[owner[0]] for owner in OWNERS
    }
    if caller == "no role":
        expected = dict.fromkeys(OWNERS, "FORBIDDEN")
    assert with_feed(world, talk) == expected


@pytest.mark.parametrize("name", ["creditRequestChanged", "usageRecorded"])
def test_whoever_may_see_no_row_is_refused(world: World, name: str) -> None:
    """Those who may are told in test_subscriptions.py."""
    audience = manifest().audiences[manifest().subscriptions[name]]
    nobody = [caller for caller in SEATS if not audience.get(caller)]

    async def talk() -> dict[str, str | None]:
        found = {}
        for caller in nobody:
            async with talking(world, caller) as client:
                client.subscribe("1", OPENED[name])
                found[caller] = await first_of(client, "1")
        return found

    assert {"no role", "no user", "usage:write"} <= set(nobody)
    assert with_feed(world, talk) == dict.fromkeys(nobody, "FORBIDDEN")


def test_every_subscription_is_tried() -> None:
    assert set(OPENED) == set(manifest().subscriptions), "say in tests/api/test_subscription_matrix.py how it is opened"
