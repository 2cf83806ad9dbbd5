"""The documents of a console: they fit the schema, and what each takes and costs is known exactly."""

import re
from typing import Any, NamedTuple

import pytest
from graphql import FragmentDefinitionNode, OperationDefinitionNode, parse

from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema
from creditdesk.graphql.stored_documents import console_documents
from support.talking import talking, until, watcher_count, with_feed
from support.using import use
from support.world import EXECUTOR, World, group_id, shown_id, user_id

DOCUMENTS = console_documents()
SUFFIXES = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}
LONGEST_LINE = 70
ANY_STATE = {"states": ["PENDING", "APPROVED", "DENIED", "CANCELLED", "EXPIRED"]}
GROUP = {"id": shown_id("Group", group_id("research"))}


class Budget(NamedTuple):
    """What a document takes: how many statements, and what its caller is charged."""

    statements: int
    cost: int


# Of queries: who asks, with which variables, what it takes and costs when nothing is kept of the caller, and how many
# statements it takes when they ask again.
QUERIES: dict[tuple[str, str], tuple[dict[str, Any], Budget, int]] = {
    ("Viewer", "OWNER"): ({}, Budget(5, 3), 0),
    ("Dashboard", "OWNER"): ({}, Budget(11, 553), 11),
    ("Breakdown", "OWNER"): ({}, Budget(4, 72), 2),
    ("Breakdown", "MEMBER"): ({}, Budget(4, 72), 2),
    ("OwnBalance", "OWNER"): ({}, Budget(12, 561), 7),
    ("OwnBalance", "MEMBER"): ({}, Budget(12, 561), 7),
    ("People", "OWNER"): ({}, Budget(8, 155), 3),
    ("People", "GROUP_MANAGER"): ({}, Budget(8, 155), 3),
    ("Group", "OWNER"): (GROUP, Budget(15, 108), 7),
    ("Group", "GROUP_MANAGER"): (GROUP, Budget(15, 108), 7),
    ("RequestQueue", "OWNER"): (ANY_STATE, Budget(8, 180), 5),
    ("RequestQueue", "GROUP_MANAGER"): (ANY_STATE, Budget(8, 180), 5),
    ("Limits", "OWNER"): ({}, Budget(4, 255), 4),
    ("Audit", "OWNER"): ({}, Budget(5, 1305), 5),
}
# What the stock executor takes, where that is not the same.
WITHOUT_PLANS = {
    ("Breakdown", "OWNER"): (4, 4),
    ("Breakdown", "MEMBER"): (4, 4),
    ("People", "OWNER"): (9, 9),
    ("People", "GROUP_MANAGER"): (9, 9),
    ("Group", "OWNER"): (16, 16),
    ("Group", "GROUP_MANAGER"): (16, 16),
    ("RequestQueue", "OWNER"): (9, 9),
    ("RequestQueue", "GROUP_MANAGER"): (9, 9),
}
CHANGES = {
    "SetLimit": Budget(11, 13),
    "AskForCredits": Budget(14, 12),
    "ApproveRequest": Budget(18, 14),
    "DenyRequest": Budget(4, 12),
    "RemoveLimit": Budget(8, 11),
}
# Of subscriptions: who watches, and what it takes to tell them of a change, the process's own look at it included.
WATCHED = {"BudgetChanged": ("MEMBER", Budget(8, 4)), "RequestChanged": ("ADMIN", Budget(4, 2))}


def asked(world: World, caller: str, name: str, variables: dict[str, Any]) -> tuple[dict[str, Any], Budget]:
    """Return what a document of the console is answered, and what that took."""
    with world.statements() as ran:
        answer = world.run(world.posting(caller, DOCUMENTS[name], variables)).json()
    assert "errors" not in answer, answer
    return answer["data"], Budget(len(ran), answer["extensions"]["cost"]["requested"])


def statements_of(name: str, caller: str) -> tuple[int, int]:
    """Return how many statements a query takes by the executor that the tests run with, at first and again."""
    _, budget, again = QUERIES[name, caller]
    planned = (budget.statements, again)
    return WITHOUT_PLANS.get((name, caller), planned) if EXECUTOR == "stock" else planned


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
    assert set(DOCUMENTS) == {name for name, _ in QUERIES} | set(CHANGES) | set(WATCHED)


@pytest.mark.parametrize(("name", "caller"), QUERIES)
def test_a_query_of_the_console_takes_and_costs_exactly_so_much(world: World, name: str, caller: str) -> None:
    variables, budget, _ = QUERIES[name, caller]
    first, again = statements_of(name, caller)
    asked(world, caller, name, variables)
    asked(world, caller, name, variables)
    world.forget()
    assert asked(world, caller, name, variables)[1] == budget._replace(statements=first)
    assert asked(world, caller, name, variables)[1] == budget._replace(statements=again)


def test_a_page_of_people_takes_as_many_statements_whatever_its_size(world: World) -> None:
    for first in (1, 3, 100):
        world.forget()
        counts = tuple(asked(world, "OWNER", "People", {"first": first})[1].statements for _ in range(2))
        assert counts == statements_of("People", "OWNER")


def test_a_change_of_the_console_takes_and_costs_exactly_so_much(world: World) -> None:
    taken: dict[str, Budget] = {}

    def changed(name: str, caller: str, **given: Any) -> dict[str, Any]:
        answer, taken[name] = asked(world, caller, name, {"input": given})
        [result] = answer.values()
        assert result["__typename"].endswith("Success"), result
        return dict(result)

    user = {"user": {"id": shown_id("User", user_id("mo"))}}
    limit = changed("SetLimit", "ADMIN", target=user, value={"amount": "500"}, cadence="DAY")["limit"]
    request = changed("AskForCredits", "MEMBER", amount="5", reason="A launch.", cadence="DAY")["request"]
    changed("DenyRequest", "ADMIN", id=request["id"], note="Not now.")
    request = changed("AskForCredits", "MEMBER", amount="6", reason="A launch.", cadence="DAY")["request"]
    changed("ApproveRequest", "ADMIN", id=request["id"])
    changed("RemoveLimit", "ADMIN", id=limit["id"], expectedVersion=limit["version"])
    assert taken == CHANGES


@pytest.mark.parametrize("name", WATCHED)
def test_telling_the_console_of_a_change_takes_and_costs_exactly_so_much(world: World, name: str) -> None:
    caller, budget = WATCHED[name]
    at_once = 0
    if name == "BudgetChanged":
        budgets = world.ask(caller, "{ viewer { user { budgets { scope { __typename } } } } }")["viewer"]["user"][
            "budgets"
        ]
        at_once = sum(budget["scope"]["__typename"] == "User" for budget in budgets)

    async def talk() -> tuple[list[str], int]:
        async with talking(world, caller) as client:
            client.subscribe("1", DOCUMENTS[name])
            for _ in range(at_once):
                await client.data("1")
            await until(lambda: watcher_count(world) == 1)
            await change()
            # It is told a moment later: by then the change itself has run its statements.
            with world.statements() as ran:
                message = await client.hear()
            return ran, message["payload"]["extensions"]["cost"]["requested"]

    async def change() -> None:
        if name == "BudgetChanged":
            await use(world, "mo")
        else:
            asking = {"input": {"amount": "7", "reason": "A launch."}}
            await world.answering("MEMBER", DOCUMENTS["AskForCredits"], asking)

    ran, cost = with_feed(world, talk)
    assert Budget(len(ran), cost) == budget, ran
