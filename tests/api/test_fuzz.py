"""Random documents as every caller: nothing unexpected, nothing foreign, and only what the manifest says.

support/random_documents.py writes valid documents over the schema itself, and is given the ids, names and cursors of
everybody, so that its documents meet real rows: a general fuzzer's ids are random text, which is nobody's. A failure
names its seed, and the same seed writes the same document.
"""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from creditdesk.graphql.schema import core_schema
from support.canaries import canaries_in, seen_by
from support.databases import FreshDatabase
from support.everything import furnish
from support.labelled import labelled, unlabelled
from support.manifest import FOREIGN, field_named, manifest
from support.random_documents import Dice
from support.random_values import cursors_of, random_values
from support.rows import FOREIGN_OWNER, SEATS, Rows, held_cells, row_word, sit_down
from support.world import CALLERS, World, place_of, world_of

CORE = core_schema()
NAMES = {"usage:read": "READER", "usage:write": "WRITER", "no user": "UNLINKED", "no role": "UNMAPPED"}
"""What callers of the manifest are called where it is said whose canaries they meet."""
QUERIES, CHANGES, MANY = 40, 30, 4000
pytestmark = [
    # The stock executor leaves coroutines that it has made, and not yet awaited, where a field beside them fails.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*<coroutine object:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database) as filled:
        furnish(filled)
        filled.keep_people()
        sit_down(filled, {**SEATS, "foreign owner": FOREIGN_OWNER})
        yield filled


@pytest.fixture(scope="module")
def rows(world: World) -> Rows:
    return Rows.of(world)


@pytest.fixture(scope="module")
def values(world: World, rows: Rows) -> dict[str, list[Any]]:
    return random_values(CORE, [*rows.owners], cursors_of(world, ["OWNER", "foreign owner"]))


def roots_of(caller: str, operation: str) -> list[str]:
    """Return root fields to choose from: mostly what the caller may use, since one that they may not ends it all."""
    root = CORE.query_type if operation == "query" else CORE.mutation_type
    assert root
    may = [one.name for one in manifest().operations if caller in one.callers and one.name in root.fields]
    return [*root.fields, *may * 8, *(["viewer", "viewer", "workspace"] * 12 if operation == "query" else [])]


def asked(caller: str, seed: int, values: dict[str, list[Any]], operation: str) -> tuple[str, dict[str, Any]]:
    random = Random(seed)  # noqa: S311 - dice, not a secret
    roots = roots_of(caller, operation)
    found = Dice(CORE, values, random, fields_left=30, operation=operation, roots=roots).document()
    return labelled(CORE, found.text), found.variables


def answer_to(world: World, caller: str, query: str, variables: dict[str, Any]) -> Any:
    """Return an answer in which nothing is unexpected."""
    response = world.run(world.posting(caller, query, variables))
    assert response.status_code in {200, 400}, response.text
    answer = response.json()
    codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
    assert not codes & {"INTERNAL", "TIMEOUT", "DATABASE_UNAVAILABLE"}, answer["errors"]
    return unlabelled(answer.get("data"))


def check_query(world: World, rows: Rows, values: dict[str, list[Any]], caller: str, seed: int) -> None:
    query, variables = asked(caller, seed, values, "query")
    data = answer_to(world, caller, query, variables)
    for name, owner in held_cells(rows, data, ("workspace", "acme")):
        if name in manifest().fields:
            word = row_word(SEATS[caller], owner)
            assert word in manifest().expected(caller, field_named(name)), f"{caller} sees {name} of {' '.join(owner)}"
    if NAMES.get(caller, caller) in CALLERS:
        echoed = canaries_in(json.dumps([query, variables]))
        assert canaries_in(json.dumps(data)) <= seen_by(NAMES.get(caller, caller)) | echoed


def check_mutation(world: World, values: dict[str, list[Any]], caller: str, seed: int) -> None:
    query, variables = asked(caller, seed, values, "mutation")
    data = answer_to(world, caller, query, variables)
    found = Rows.of(world)
    assert {row_word(SEATS[caller], owner) for _, owner in held_cells(found, data, ("workspace", "acme"))} <= _NEARBY
    echoed = canaries_in(json.dumps([query, variables]))
    assert not [owner for owner in canaries_in(json.dumps(data)) - echoed if place_of(owner) != "acme"]
    world.restore_people()


_NEARBY = {word for field in manifest().fields.values() for word in field.words} - {FOREIGN}


def seeds(caller: str, number: int, *, start: int = 0) -> range:
    """Return seeds that no other caller has."""
    first = start + [*SEATS].index(caller) * 1_000_000
    return range(first, first + number)


@pytest.mark.parametrize("caller", SEATS)
def test_random_queries_meet_no_error_of_ours_and_nothing_that_the_caller_may_not_see(
    world: World, rows: Rows, values: dict[str, list[Any]], caller: str
) -> None:
    for seed in seeds(caller, QUERIES):
        check_query(world, rows, values, caller, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("caller", SEATS)
def test_thousands_of_random_queries_meet_nothing_either(
    world: World, rows: Rows, values: dict[str, list[Any]], caller: str
) -> None:
    for seed in seeds(caller, MANY, start=10_000):
        check_query(world, rows, values, caller, seed)


# Changes come last: they leave behind what queries would meet.


@pytest.mark.parametrize("caller", SEATS)
def test_random_changes_meet_no_error_of_ours_and_nothing_of_another_workspace(
    world: World, values: dict[str, list[Any]], caller: str
) -> None:
    foreign = world.fingerprints("himal")
    for seed in seeds(caller, CHANGES):
        check_mutation(world, values, caller, seed)
    assert world.fingerprints("himal") == foreign


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("caller", SEATS)
def test_thousands_of_random_changes_meet_nothing_either(
    world: World, values: dict[str, list[Any]], caller: str
) -> None:
    foreign = world.fingerprints("himal")
    for seed in seeds(caller, MANY, start=20_000):
        check_mutation(world, values, caller, seed)
    assert world.fingerprints("himal") == foreign
