"""The share of each caller: what operations cost is taken from it, and comes back at an even rate."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from typing import Any

import httpx
import pytest

from creditdesk.db.connections import Database
from creditdesk.graphql.answering import Answering
from creditdesk.graphql.charging import REFUSED_COST, Charging
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.protection.bucket import MOST_BUCKETS, Buckets
from creditdesk.graphql.protection.limits import STANDARD
from creditdesk.graphql.schema import core_schema
from support.databases import FreshDatabase
from support.world import PLACES, World, put_place, workspace_slug, world_of

CAPACITY, PER_SECOND, MOST_COST = 10_000, 100, 4000
VIEWER = "{ viewer { subject } }"
LIMIT = "{ rateLimit { limit remaining resetAt perSecond cost } }"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def put_people(database: Database) -> None:
    for place in PLACES:
        await put_place(database, place)


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase, clock: Clock) -> Iterator[World]:
    charging = Charging(core_schema(), most_cost=MOST_COST, capacity=CAPACITY, per_second=PER_SECOND, clock=clock)
    with world_of(module_database, put_people, Answering(Documents(core_schema()), charging=charging)) as filled:
        yield filled


@pytest.fixture(autouse=True)
def later(clock: Clock) -> None:
    """Let every bucket run empty before each test."""
    clock.now += CAPACITY / PER_SECOND


def sent(world: World, query: str, caller: str = "OWNER", **variables: Any) -> httpx.Response:
    response: httpx.Response = world.run(world.posting(caller, query, variables))
    return response


def users(first: int) -> str:
    """Return a query that costs two more than this."""
    return f"{{ viewer {{ workspace {{ users(first: {first}) {{ nodes {{ groups {{ id }} }} }} }} }} }}"


def costing(world: World, cost: int, caller: str = "OWNER") -> httpx.Response:
    """Send a query that costs exactly so much, and little to answer."""
    ids = ["V29ya3NwYWNlOg"] * cost
    return sent(world, "query($ids: [ID!]!) { nodes(ids: $ids) { id } }", caller, ids=ids)


def test_every_answer_says_what_it_cost_and_what_is_left(world: World) -> None:
    first, second = sent(world, VIEWER).json(), sent(world, users(10)).json()
    cost = first["extensions"]["cost"]
    assert cost == {"requested": 1, "maximum": MOST_COST, "remaining": CAPACITY - 1, "limit": CAPACITY}
    # Two objects above, the connection, ten users with ten groups each.
    assert second["extensions"]["cost"]["requested"] == 2 + 1 + 10 * 11
    assert second["extensions"]["cost"]["remaining"] == CAPACITY - 1 - 113


def test_what_is_left_can_be_asked_for(world: World) -> None:
    costing(world, 500)
    shown = world.ask("OWNER", LIMIT)["rateLimit"]
    reset = datetime.fromisoformat(shown.pop("resetAt"))
    assert shown == {"limit": CAPACITY, "remaining": CAPACITY - 501, "perSecond": PER_SECOND, "cost": 1}
    now = datetime.now(reset.tzinfo)
    assert 0 < (reset - now).total_seconds() <= 6


def test_the_limits_of_documents_can_be_asked_for(world: World) -> None:
    names = "tokens characters depth rootFields fields aliases directives directivesAtOnePlace fragments listItems"
    shown = world.ask("MEMBER", f"{{ rateLimit {{ maxima {{ cost introspectionDepth {names} }} }} }}")["rateLimit"][
        "maxima"
    ]
    assert shown.pop("cost") == MOST_COST
    assert sorted(shown.values()) == sorted(
        getattr(STANDARD, field.name)
        for field in fields(STANDARD)
        if field.name not in {"comparisons", "errors", "is_introspection_allowed"}
    )
    assert (shown["tokens"], shown["depth"], shown["aliases"]) == (1000, 25, 50)


def test_what_does_not_fit_is_refused_until_enough_has_leaked_out(world: World, clock: Clock) -> None:
    for _ in range(4):
        assert costing(world, 2000).status_code == 200
    assert costing(world, 1990).status_code == 200
    with world.statements() as ran:
        refused = costing(world, 1000)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "10"
    [error] = refused.json()["errors"]
    assert error["extensions"] == {
        "code": "RATE_LIMITED",
        "rateLimit": {"limit": CAPACITY, "remaining": 10, "cost": 1000, "retryAfterSeconds": 10},
    }
    assert "data" not in refused.json()
    assert ran == []
    assert sent(world, VIEWER).status_code == 200
    clock.now += 9.8
    assert costing(world, 1000).status_code == 429
    clock.now += 0.2
    assert costing(world, 1000).status_code == 200


def test_each_caller_has_a_share_of_their_own(world: World) -> None:
    world.tokens["SAME_NAME"] = world.site.token(sub="olga", roles=["owner"], workspace=workspace_slug("himal"))
    for _ in range(5):
        costing(world, 2000)
    assert costing(world, 1000).status_code == 429
    for other in ("MEMBER", "READER", "OTHER_OWNER", "SAME_NAME"):
        assert costing(world, 1000, other).status_code == 200


def test_an_operation_that_costs_too_much_is_refused_before_anything_is_read(world: World) -> None:
    query = "{ viewer { workspace { users(first: 100) { nodes { requests(first: 50) { nodes { id } } } } } } }"
    with world.statements() as ran:
        response = sent(world, query)
    [error] = response.json()["errors"]
    assert error["extensions"] == {
        "code": "QUERY_TOO_COMPLEX",
        "cost": {"requested": 2 + 1 + 100 * 52, "maximum": MOST_COST},
    }
    assert response.status_code == 400
    assert ran == []


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        ("{", {}),
        ("{ nothing }", {}),
        ("{" + "a " * 1000 + "}", {}),
        ("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {}),
        ("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["x"] * 2001}),
        ("query a { viewer { subject } } query b { viewer { subject } }", {}),
    ],
    ids=["syntax", "validation", "tokens", "variables", "long-list", "which-operation"],
)  # fmt: skip
def test_what_is_refused_is_charged_for_too(world: World, document: str, variables: dict[str, Any]) -> None:
    assert "errors" in sent(world, document, **variables).json()
    assert sent(world, VIEWER).json()["extensions"]["cost"]["remaining"] == CAPACITY - REFUSED_COST - 1


def test_of_a_caller_whose_share_is_spent_nothing_is_even_looked_at(world: World, clock: Clock) -> None:
    for _ in range(CAPACITY // REFUSED_COST):
        sent(world, "{ nothing }")
    refused = sent(world, "{ nothing }")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert [error["extensions"]["code"] for error in refused.json()["errors"]] == ["RATE_LIMITED"]
    clock.now += 1
    assert [error["extensions"]["code"] for error in sent(world, "{ nothing }").json()["errors"]] == [
        "GRAPHQL_VALIDATION_FAILED"
    ]


def test_a_bucket_leaks_evenly_and_is_never_more_than_empty() -> None:
    buckets: Buckets[str] = Buckets(capacity=100, per_second=10)
    assert buckets.charge("a", 100, at=0).remaining == 0
    refused = buckets.charge("a", 31, at=1)
    assert (refused.is_granted, refused.remaining, refused.retry_after_seconds) == (False, 10, 3)
    granted = buckets.charge("a", 31, at=4)
    assert (granted.is_granted, granted.remaining, granted.reset_after_seconds) == (True, 9, 10)
    assert buckets.charge("a", 0, at=1000).remaining == 100
    # A clock that goes back takes nothing away and gives nothing.
    assert buckets.charge("a", 10, at=500).remaining == 90


def test_buckets_take_a_bounded_room_and_those_used_longest_ago_are_forgotten() -> None:
    buckets: Buckets[int] = Buckets(capacity=10, per_second=1)
    for number in range(MOST_BUCKETS):
        buckets.charge(number, 10, at=0)
    buckets.charge(0, 0, at=0)
    buckets.charge(-1, 10, at=0)
    assert len(buckets) == MOST_BUCKETS
    assert not buckets.charge(0, 1, at=0).is_granted
    assert buckets.charge(1, 10, at=0).is_granted
