"""Plans answer as the stock executor does, whatever is asked."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from graphql import DocumentNode, parse, validate
from strawberry.types.execution import PreExecutionError

from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.graphql.batched_reads import BATCHES
from creditdesk.graphql.context import Context
from creditdesk.graphql.execution.executor import Outcome, PlannedExecutor
from creditdesk.graphql.guards import permitting
from creditdesk.graphql.schema import schema
from support.documents import core_schema
from support.random_documents import RandomDocument, random_document
from support.world import (
    FIRST_DAY,
    LAST_DAY,
    PLACES,
    World,
    email_of,
    external_id_of,
    group_id,
    group_slug,
    shown_id,
    user_id,
    workspace_id,
    workspace_slug,
)

CALLERS = ("OWNER", "GROUP_MANAGER", "MEMBER", "READER", "UNLINKED", "OTHER_OWNER")
CORE = core_schema(schema)
_IDS = [
    *(shown_id("User", user_id(person.name)) for place in PLACES for person in place.people),
    *(shown_id("Group", group_id(group)) for place in PLACES for group in place.groups),
    *(shown_id("Workspace", workspace_id(place.name)) for place in PLACES),
    "no-id",
]
_RANGES = [
    {"days": {"first": FIRST_DAY, "last": LAST_DAY}},
    {"days": {"first": "2026-04-01", "last": "2026-05-31"}},
    {"instants": {"start": "2026-03-12T05:17:00Z", "end": "2026-06-20T09:01:00Z"}},
    {"preset": "LAST_30_DAYS"},
    {"days": {"first": LAST_DAY, "last": FIRST_DAY}},
]
_SIZES = [1, 2, 3, 5, 20, 100, 100, 0]
VALUES: dict[str, list[Any]] = {
    "ID": _IDS,
    "String": ["chat", "large", "small", "agent", "", "ö"],
    "Int": _SIZES,
    "Boolean": [True, False],
    "Decimal": ["1", "2.5"],
    "Credits": ["1", "0.5", "1000"],
    "BigInt": ["1", "1000"],
    "Date": [FIRST_DAY, LAST_DAY],
    "DateTime": ["2026-05-01T00:00:00Z", "2026-06-20T00:00:00+02:00"],
    "WorkspaceBy.slug": [workspace_slug(place.name) for place in PLACES],
    "UserBy.email": [email_of("mo"), email_of("maya"), "nobody@example.com"],
    "UserBy.externalId": [external_id_of("mia"), external_id_of("hari")],
    "GroupBy.slug": [group_slug("research"), group_slug("guides"), "nothing"],
    "CreditUsage.breakdown.by": [["PRODUCT"], ["PRODUCT", "MODEL"], ["USER"], ["GROUP", "USER"], ["MODEL"], []],
} | {
    f"{type_}.{field}.range": _RANGES for type_ in ("Workspace", "Group", "User") for field in ("usage",)
}  # fmt: skip


def planned() -> PlannedExecutor:
    return PlannedExecutor(schema, BATCHES, compile_at=1)


async def both(
    world: World, executor: PlannedExecutor, caller: str, asked: RandomDocument, document: DocumentNode
) -> tuple[Any, Any]:
    """Return the data of a plan, or None, and the stock executor's result, of one moment."""
    found = await world.callers.caller_with(world.headers(caller)["authorization"])
    now = datetime.now(UTC)

    desk = HoldDesk(world.database, lambda: now)

    def context() -> Context:
        return Context(database=world.database, desk=desk, principal=found.principal, now=now)

    stock = await schema.execute(asked.text, variable_values=asked.variables, context_value=context())
    permissions = found.principal.permissions
    data = await executor.written(
        asked.text,
        document,
        operation_name=None,
        variables=asked.variables,
        context=context(),
        permissions=permissions,
        permits=permitting(found.principal),
    )
    return data, stock


def compare(world: World, seeds: range) -> Counter[Outcome]:
    executor = planned()
    whole = 0
    for seed in seeds:
        asked = random_document(CORE, VALUES, seed)
        document = parse(asked.text)
        if validate(CORE, document):
            continue
        dropped = executor.outcomes[Outcome.DROPPED]
        data, stock = world.run(both(world, executor, CALLERS[seed % len(CALLERS)], asked, document))
        if isinstance(stock, PreExecutionError):
            continue  # found wanting before any executor was asked
        if data is not None:
            assert not stock.errors, (asked, stock.errors)
            # As text, since the order of keys is a part of the answer.
            assert json.dumps(data) == json.dumps(stock.data), asked
        elif executor.outcomes[Outcome.DROPPED] > dropped:
            assert stock.errors, asked
        whole += 1
    return executor.outcomes


def test_plans_answer_random_documents_as_the_stock_executor_does(world: World) -> None:
    outcomes = compare(world, range(600))
    assert outcomes[Outcome.FOLLOWED] > 200, outcomes
