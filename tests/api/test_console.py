"""The documents of a console: they fit the schema, and what each costs the database is known exactly."""

import re
from typing import Any

import pytest
from graphql import FragmentDefinitionNode, OperationDefinitionNode, parse

from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema
from creditdesk.graphql.stored_documents import console_documents
from support.world import World, group_id, shown_id, user_id

DOCUMENTS = console_documents()
SUFFIXES = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}
LONGEST_LINE = 70
ANY_STATE = {"states": ["PENDING", "APPROVED", "DENIED", "CANCELLED", "EXPIRED"]}
GROUP = {"id": shown_id("Group", group_id("research"))}

# Of queries: who asks, with which variables, and how many statements that takes.
QUERIES: dict[tuple[str, str], tuple[dict[str, Any], int]] = {
    ("Viewer", "OWNER"): ({}, 1),
    ("Dashboard", "OWNER"): ({}, 11),
    ("Breakdown", "OWNER"): ({}, 4),
    ("Breakdown", "MEMBER"): ({}, 4),
    ("OwnBalance", "OWNER"): ({}, 12),
    ("OwnBalance", "MEMBER"): ({}, 12),
    ("People", "OWNER"): ({}, 9),
    ("People", "GROUP_MANAGER"): ({}, 9),
    ("Group", "OWNER"): (GROUP, 16),
    ("Group", "GROUP_MANAGER"): (GROUP, 16),
    ("RequestQueue", "OWNER"): (ANY_STATE, 9),
    ("RequestQueue", "GROUP_MANAGER"): (ANY_STATE, 9),
    ("Limits", "OWNER"): ({}, 4),
    ("Audit", "OWNER"): ({}, 5),
}
CHANGES = {"SetLimit": 11, "AskForCredits": 14, "ApproveRequest": 18, "DenyRequest": 4, "RemoveLimit": 8}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_of_the_console_is_one_operation_named_after_its_file(name: str) -> None:
    text = DOCUMENTS[name]
    definitions = parse(text).definitions
    [operation] = [one for one in definitions if isinstance(one, OperationDefinitionNode)]
    assert operation.name
    assert operation.name.value == name + SUFFIXES[operation.operation.value]
    fragments = [one.name.value for one in definitions if isinstance(one, FragmentDefinitionNode)]
    assert [fragment for fragment in fragments if not re.fullmatch(rf"{name}_\w+", fragment)] == []
    assert text.startswith("# ")
    assert [line for line in text.splitlines() if len(line) > LONGEST_LINE] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_fits_the_schema_and_the_limits_on_documents(name: str) -> None:
    assert list(Documents(core_schema()).prepare(DOCUMENTS[name]).errors) == []


def test_every_document_has_a_budget() -> None:
    told = {"BudgetChanged", "RequestChanged"}
    assert set(DOCUMENTS) == {name for name, _ in QUERIES} | set(CHANGES) | told


@pytest.mark.parametrize(("name", "caller"), QUERIES)
def test_a_query_of_the_console_takes_exactly_so_many_statements(world: World, name: str, caller: str) -> None:
    variables, budget = QUERIES[name, caller]
    world.ask(caller, DOCUMENTS[name], **variables)
    with world.statements() as ran:
        world.ask(caller, DOCUMENTS[name], **variables)
    assert len(ran) == budget, ran


def test_a_page_of_people_takes_as_many_statements_whatever_its_size(world: World) -> None:
    counts = []
    for first in (1, 3, 100):
        with world.statements() as ran:
            world.ask("OWNER", DOCUMENTS["People"], first=first)
        counts.append(len(ran))
    assert counts == [QUERIES["People", "OWNER"][1]] * 3


def test_a_change_of_the_console_takes_exactly_so_many_statements(world: World) -> None:
    taken: dict[str, list[str]] = {}

    def changed(name: str, caller: str, **given: Any) -> dict[str, Any]:
        with world.statements() as ran:
            answer = world.ask(caller, DOCUMENTS[name], input=given)
        taken[name] = ran
        [result] = answer.values()
        assert result["__typename"].endswith("Success"), result
        return dict(result)

    user = {"user": {"id": shown_id("User", user_id("mo"))}}
    limit = changed("SetLimit", "ADMIN", target=user, value={"amount": "500"}, cadence="DAY")["limit"]
    asked = changed("AskForCredits", "MEMBER", amount="5", reason="A launch.", cadence="DAY")["request"]
    changed("DenyRequest", "ADMIN", id=asked["id"], note="Not now.")
    asked = changed("AskForCredits", "MEMBER", amount="6", reason="A launch.", cadence="DAY")["request"]
    changed("ApproveRequest", "ADMIN", id=asked["id"])
    changed("RemoveLimit", "ADMIN", id=limit["id"], expectedVersion=limit["version"])
    assert {name: len(ran) for name, ran in taken.items()} == CHANGES, taken
