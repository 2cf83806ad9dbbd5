"""Plans answer as the stock executor does, whatever is asked."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.graphql.answering import Answer, Answering
from creditdesk.graphql.batched_reads import BATCHES
from creditdesk.graphql.context import Context
from creditdesk.graphql.execution.executor import Outcome, PlannedExecutor
from creditdesk.graphql.incoming import GraphQLRequest
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema, schema
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
CORE = core_schema()
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
VALUES: dict[str, Sequence[Any]] = {
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
    "Workspace.usage.range": _RANGES,
    "Group.usage.range": _RANGES,
    "User.usage.range": _RANGES,
}


async def both(world: World, plans: PlannedExecutor, caller: str, asked: RandomDocument) -> tuple[Answer, Answer]:
    """Return the answers of both executors at one moment."""
    found = await world.callers.caller_with(world.headers(caller)["authorization"])
    now = datetime.now(UTC)
    desk = HoldDesk(world.database, lambda: now)
    request = GraphQLRequest(asked.text, asked.variables)

    def context() -> Context:
        return Context(database=world.database, desk=desk, principal=found.principal, now=now)

    documents = Documents(CORE)
    planned = await Answering(documents, plans=plans).answer(request, context())
    return planned, await Answering(documents).answer(request, context())


def comparable(answer: Answer) -> tuple[str, bool]:
    """Return the data as text, since the order of keys is a part of it, and whether errors came with it.

    Which of several errors beneath one null is told is up to chance, and they are the stock executor's either way.
    """
    return json.dumps(answer.shown.get("data")), "errors" in answer.shown


def compare(world: World, seeds: range) -> Counter[Outcome]:
    plans = PlannedExecutor(schema, BATCHES, compile_at=1)
    for seed in seeds:
        asked = random_document(CORE, VALUES, seed)
        dropped = plans.outcomes[Outcome.DROPPED]
        planned, stock = world.run(both(world, plans, CALLERS[seed % len(CALLERS)], asked))
        assert comparable(planned) == comparable(stock), asked
        # Nothing but what has to be told as an error makes a plan give up.
        assert plans.outcomes[Outcome.DROPPED] == dropped or "errors" in stock.shown, asked
    return plans.outcomes


def test_plans_answer_random_documents_as_the_stock_executor_does(world: World) -> None:
    outcomes = compare(world, range(600))
    assert outcomes[Outcome.FOLLOWED] > 200, outcomes
