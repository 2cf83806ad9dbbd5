"""The matrix of operations: every caller, every operation, every row, against docs/access.toml."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import get_named_type

from creditdesk.graphql.schema import schema
from support.databases import FreshDatabase
from support.documents import MaximalDocument, core_schema, leading_to_nodes
from support.everything import ARGUMENTS, furnish
from support.manifest import FOREIGN, Operation, field_named, manifest
from support.operations import CALLS, NOBODY
from support.rows import SEATS, Owner, Rows, held_cells, row_word, sit_down
from support.world import World, world_of

OWNERS: dict[str, tuple[str, ...]] = {
    "user": ("mo", "zoe"),
    "group": ("research", "design", "sales"),
    "workspace": ("acme",),
}
"""Whose rows the operations are tried on, beside the caller's own."""
STRANGERS = {"user": ("maya", NOBODY), "group": ("guides", NOBODY), "workspace": ("himal", NOBODY)}
"""Of another workspace, and of nobody: what must be answered alike."""
OPERATIONS = {", ".join(filter(None, (one.name, one.what))): one for one in manifest().operations}
WRITER = MaximalDocument(schema, ARGUMENTS, 0, leading_to_nodes(schema), turns=True)
NO_OWNER: Owner = ("workspace", "acme")


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database) as filled:
        furnish(filled)
        # Managers may set limits, and everybody has one that they can ask to have raised.
        filled.sql("UPDATE workspace_settings SET manager_ceiling = 10^15 RETURNING 1")
        filled.sql(
            "UPDATE credit_limit SET amount = 10^9"
            " WHERE NOT unlimited AND scope <> 'USER' AND product <> 'image' RETURNING 1"
        )
        filled.keep_people()
        sit_down(filled)
        yield filled


def document(name: str) -> str:
    """Return an operation that selects everything of its answer."""
    graph, call = core_schema(schema), CALLS[name]
    field = name.partition(", ")[0]
    for word, root in (("query", graph.query_type), ("mutation", graph.mutation_type)):
        if root and field in root.fields:
            variables = f"({call.declared})" if call.declared else ""
            below = WRITER.selection(get_named_type(root.fields[field].type))
            return f"{word}{variables} {{{field}{call.arguments} {below}}}"
    raise AssertionError(f"{field} is no operation")


def outcome(answer: dict[str, Any]) -> str | None:
    """Return the code that a call was refused with; None where it was carried out."""
    if "errors" in answer:
        [error] = answer["errors"]
        return str(error["extensions"]["code"])
    [result] = answer["data"].values()
    for one in [result, *result.get("results", ()), *result.get("rejected", ())] if isinstance(result, dict) else []:
        if "code" in one:
            return str(one["code"])
    return None


def calls_of(one: Operation, caller: str) -> Iterator[tuple[Owner, str | None, str | None]]:
    """Yield an owner for every call, what they are to the caller, and the code that is expected."""
    if not one.kinds:
        yield NO_OWNER, None, one.refusal(caller, None)
    for kind in one.kinds:
        own = SEATS[caller].user if kind == "user" else None
        for name in dict.fromkeys((*OWNERS[kind], *filter(None, [own]))):
            word = row_word(SEATS[caller], (kind, name))
            yield (kind, name), word, one.refusal(caller, word)
        for name in STRANGERS[kind] if kind in one.unknown else ():
            yield (kind, name), FOREIGN, one.refusal_of_strangers(caller, kind)


def variables_of(world: World, name: str, owner: Owner) -> dict[str, Any]:
    """Put in place what an operation is about, and return what it is called with."""
    call = CALLS[name]
    return {"input": call.case(world, owner)} if call.declared else {}


def without_ids(answer: dict[str, Any]) -> str:
    return re.sub(r'"[A-Za-z0-9_-]{20,}"', "an id", json.dumps(answer))


def test_every_operation_of_the_manifest_has_a_case() -> None:
    missing = sorted(OPERATIONS.keys() - CALLS.keys())
    assert not missing, f"say in tests/support/operations.py how these are called, on whose rows: {missing}"
    assert CALLS.keys() <= OPERATIONS.keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_whoever_may_not_is_refused_as_the_manifest_says_and_nothing_is_changed(world: World, name: str) -> None:
    one, query = OPERATIONS[name], document(name)
    refused = [(caller, owner, code) for caller in SEATS for owner, _, code in calls_of(one, caller) if code]
    variables = {owner: variables_of(world, name, owner) for _, owner, _ in refused}
    before = world.fingerprints()
    answers = world.ask_together([(caller, query, variables[owner]) for caller, owner, _ in refused])
    wrong = [
        f"{name} by {caller} on {' '.join(owner)}: {outcome(answer)}; by docs/access.toml it is {code}"
        for (caller, owner, code), answer in zip(refused, answers, strict=True)
        if outcome(answer) != code
    ]
    assert not wrong, "\n".join(wrong)
    assert world.fingerprints() == before
    # What another workspace has is refused in the same words as what there is not, and so is what one may not see.
    of_nobody = {
        (caller, owner[0]): without_ids(answer)
        for (caller, owner, _), answer in zip(refused, answers, strict=True)
        if owner[1] == NOBODY
    }
    for (caller, owner, code), answer in zip(refused, answers, strict=True):
        if code == one.unknown.get(owner[0]):
            assert without_ids(answer) == of_nobody[caller, owner[0]], (caller, owner)


@pytest.mark.parametrize("name", OPERATIONS)
def test_whoever_may_does_and_is_told_only_what_they_see(world: World, name: str) -> None:
    one, query = OPERATIONS[name], document(name)
    before = world.fingerprints()
    answered = []
    for caller in SEATS:
        for owner, _, code in calls_of(one, caller):
            if code is None:
                answer = world.answer(caller, query, **variables_of(world, name, owner))
                answered.append((caller, owner, answer))
                if one.needs == "PEOPLE_WRITE":
                    world.restore_people()
    rows = Rows.of(world)
    wrong = []
    for caller, owner, answer in answered:
        if outcome(answer) is not None:
            wrong.append(f"{name} by {caller} on {' '.join(owner)}: {outcome(answer)}; by docs/access.toml they may")
        wrong += [
            f"{name} tells {caller} {held} of {' '.join(whose)}; by docs/access.toml they do not see it"
            for held, whose in set(held_cells(rows, answer.get("data"), owner))
            if held in manifest().fields
            and row_word(SEATS[caller], whose) not in manifest().expected(caller, field_named(held))
        ]
    assert not wrong, "\n".join(wrong)
    mutations = core_schema(schema).mutation_type
    assert mutations
    assert (world.fingerprints() != before) is (one.name in mutations.fields)
