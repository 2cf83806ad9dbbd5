"""Plans answer as the stock executor does, whatever is asked."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.graphql.answering import Answer, Answering
from creditdesk.graphql.batched_reads import BATCHES
from creditdesk.graphql.context import Context, View
from creditdesk.graphql.execution.executor import MOST_FUNCTIONS, Outcome, PlannedExecutor
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
    """Return the answers of both executors at one moment, of which the stock one remembers nothing of the caller."""
    found = await world.callers.caller_with(world.headers(caller)["authorization"])
    now = datetime.now(UTC)
    desk = HoldDesk(world.database, lambda: now)
    request = GraphQLRequest(asked.text, asked.variables)

    def context(view: View | None = None) -> Context:
        return Context(database=world.database, desk=desk, principal=found.principal, now=now, view=view)

    documents, view = Documents(CORE), View.kept_of(world.database, found)
    planned = await Answering(documents, plans=plans).answer(request, context(view))
    return planned, await Answering(documents).answer(request, context())


def comparable(answer: Answer) -> tuple[bytes, bool]:
    """Return the data as text, since the order of keys is a part of it, and whether errors came with it.

    Which of several errors beneath one null is told is up to chance, and they are the stock executor's either way.
    """
    return orjson.dumps(answer.shown.get("data")), "errors" in answer.shown


def compare(world: World, seeds: range) -> Counter[Outcome]:
    outcomes: Counter[Outcome] = Counter()
    plans = PlannedExecutor(schema, BATCHES, compile_at=1, note=lambda outcome: outcomes.update([outcome]))
    for seed in seeds:
        asked = random_document(CORE, VALUES, seed)
        dropped = outcomes[Outcome.DROPPED]
        planned, stock = world.run(both(world, plans, CALLERS[seed % len(CALLERS)], asked))
        assert comparable(planned) == comparable(stock), asked
        # Nothing but what has to be told as an error makes a plan give up.
        assert outcomes[Outcome.DROPPED] == dropped or "errors" in stock.shown, asked
    return outcomes


def test_plans_answer_random_documents_as_the_stock_executor_does(world: World) -> None:
    outcomes = compare(world, range(600))
    assert outcomes[Outcome.FOLLOWED] > 200, outcomes
    owner = world.run(world.callers.caller_with(world.headers("OWNER")["authorization"]))
    assert View.kept_of(world.database, owner).kept, "pages were remembered"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_plans_answer_twenty_thousand_random_documents_as_the_stock_executor_does(world: World) -> None:
    outcomes = compare(world, range(1000, 21_000))
    assert outcomes[Outcome.FOLLOWED] > 8000, outcomes


class Watched:
    """A world's executor, with what it said of each operation."""

    def __init__(
        self, world: World, *, compile_at: int = 1, most_functions: int = MOST_FUNCTIONS, stock: bool = False
    ) -> None:
        self.world = world
        self.outcomes: list[Outcome] = []
        plans = PlannedExecutor(
            schema, BATCHES, compile_at=compile_at, most_functions=most_functions, note=self.outcomes.append
        )
        self._answering = Answering(Documents(CORE), plans=None if stock else plans)

    def ask(self, caller: str, query: str, **variables: Any) -> dict[str, Any]:
        async def asked() -> Answer:
            found = await self.world.callers.caller_with(self.world.headers(caller)["authorization"])
            now = datetime.now(UTC)
            desk = HoldDesk(self.world.database, lambda: now)
            context = Context(database=self.world.database, desk=desk, principal=found.principal, now=now)
            return await self._answering.answer(GraphQLRequest(query, variables), context)

        answer = self.world.run(asked())
        assert isinstance(answer, Answer)
        shown = {name: value for name, value in answer.shown.items() if name != "extensions"}  # what it cost
        return orjson.loads(orjson.dumps(shown))  # type: ignore[no-any-return]


NESTED = """query($range: RangeInput!, $deep: Boolean = true) { viewer { workspace { groups(first: 3) { nodes {
  id budget { used } members(first: 5) { nodes {
    id budget { used remaining limit { ... on LimitedTo { amount } } }
    usage(range: $range) @include(if: $deep) { credits breakdown(by: [PRODUCT, MODEL]) {
      rowCount rows { product model credits requests } other { rowCount credits } } } } } } } } } }"""


def test_a_document_is_compiled_when_it_comes_for_the_second_time(world: World) -> None:
    watched = Watched(world, compile_at=2)
    answers = [watched.ask("OWNER", "{ viewer { subject roles } }") for _ in range(3)]
    assert watched.outcomes == [Outcome.UNPLANNED, Outcome.FOLLOWED, Outcome.FOLLOWED]
    assert answers == [{"data": {"viewer": {"subject": "olga", "roles": ["OWNER"]}}}] * 3


def test_a_plan_of_one_caller_is_not_followed_for_another_whom_a_guard_stops(world: World) -> None:
    watched = Watched(world)
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    assert watched.ask("OWNER", query, ids=[]) == {"data": {"nodes": []}}
    refused = watched.ask("UNMAPPED", query, ids=[])
    assert refused["data"] is None
    assert [error["extensions"]["code"] for error in refused["errors"]] == ["FORBIDDEN"]
    assert watched.outcomes == [Outcome.FOLLOWED, Outcome.UNPLANNED]


def test_each_choice_of_fields_has_a_plan_of_its_own(world: World) -> None:
    watched = Watched(world)
    range_ = {"days": {"first": FIRST_DAY, "last": LAST_DAY}}
    deep = watched.ask("OWNER", NESTED, range=range_)
    flat = watched.ask("OWNER", NESTED, range=range_, deep=False)
    member = {"id", "budget"}
    assert set(deep["data"]["viewer"]["workspace"]["groups"]["nodes"][0]["members"]["nodes"][0]) == member | {"usage"}
    assert set(flat["data"]["viewer"]["workspace"]["groups"]["nodes"][0]["members"]["nodes"][0]) == member
    assert watched.outcomes == [Outcome.FOLLOWED] * 2


def test_errors_are_told_by_the_stock_executor(world: World) -> None:
    watched = Watched(world)
    query = "query($after: String) { viewer { subject workspace { users(after: $after) { totalCount } } } }"
    assert "errors" not in watched.ask("OWNER", query)
    answer = watched.ask("OWNER", query, after="made up")
    assert answer["data"] is None
    [error] = answer["errors"]
    assert (error["path"], error["extensions"]) == (["viewer", "workspace", "users"], {"code": "INVALID_CURSOR"})
    assert watched.outcomes == [Outcome.FOLLOWED, Outcome.DROPPED]


SPREAD = """query { viewer { workspace {
  a: groups(first: 2) { ...page } b: groups(first: 3) { ...page nodes { id } } } } }
fragment page on GroupConnection { edges { node { ...rich } } nodes { ...rich } }
fragment rich on Group { slug
  budget { scope { __typename ... on Group { name members(first: 1) { nodes { ...one } } } } }
  members(first: 2) { nodes { ...one } } }
fragment one on User { displayName budget { used } homeGroup { name } }"""


def test_what_a_fragment_reads_is_told_apart_wherever_it_is_spread(world: World) -> None:
    planned, stock = Watched(world), Watched(world, stock=True)
    assert planned.ask("OWNER", SPREAD) == stock.ask("OWNER", SPREAD)
    assert planned.outcomes == [Outcome.FOLLOWED]


def test_a_document_that_comes_to_too_many_functions_is_not_planned(world: World) -> None:
    few, enough = Watched(world, most_functions=5), Watched(world)
    assert few.ask("OWNER", SPREAD) == enough.ask("OWNER", SPREAD)
    assert (few.outcomes, enough.outcomes) == ([Outcome.UNPLANNED], [Outcome.FOLLOWED])


BY_USER = """query($range: RangeInput!) { viewer { workspace { users(first: 9) { nodes { displayName
  usage(range: $range) { credits breakdown(by: [USER, PRODUCT]) { rows { product credits user { displayName } } } }
} } } } }"""


def test_what_users_used_is_broken_down_by_user_as_well(world: World) -> None:
    planned, stock = Watched(world), Watched(world, stock=True)
    range_ = {"days": {"first": FIRST_DAY, "last": LAST_DAY}}
    answer = planned.ask("OWNER", BY_USER, range=range_)
    assert answer == stock.ask("OWNER", BY_USER, range=range_)
    assert planned.outcomes == [Outcome.FOLLOWED]
    users = answer["data"]["viewer"]["workspace"]["users"]["nodes"]
    named = [
        (one["displayName"], row["user"]["displayName"]) for one in users for row in one["usage"]["breakdown"]["rows"]
    ]
    assert named
    assert all(user == of_row for user, of_row in named)


WRITTEN = (
    ("series(interval: DAY, by: PRODUCT) { key { product other } points { start credits } }",
     "usage_series_of_credits"),
    ("series(interval: DAY, by: PRODUCT, first: 1) { points { credits } key { other product } }",
     "usage_series_of_credits"),
    ("series(interval: WEEK, by: MODEL) { __typename points { __typename at: start credits } }",
     "usage_series_of_credits"),
    ("series(interval: MONTH) { key { product } points { start } }", "usage_series_of_credits"),
    ("series(interval: DAY) { points { start credits again: credits } }", "usage_series_of_credits"),
    ("series(interval: DAY) { points { start } others: points { credits } }", "usage_series_of_credits"),
    ("series(interval: DAY, by: PRODUCT) { points { start credits requests } }", "usage_series_of_workspace"),
    ("breakdown(by: [USER], first: 3) { rows { __typename credits user { __typename name: displayName id email } } }",
     "usage_most_written"),
    ("breakdown(by: [USER]) { rows { credits user { id } product } }", "usage_most_written"),
    ("breakdown(by: [USER]) { rows { credits user { id kind } } }", "usage_most"),
    ("breakdown(by: [USER]) { rows { credits } more: rows { user { id } } }", "usage_most"),
    ("breakdown(by: [USER]) { rows { requests user { id } } }", "usage_breakdown"),
    ("breakdown(by: [PRODUCT]) { rows { credits user { id } } }", "usage_breakdown_of_workspace"),
)  # fmt: skip


@pytest.mark.parametrize(("selected", "statement"), WRITTEN)
@pytest.mark.parametrize("range_", [_RANGES[1], _RANGES[2]])
def test_what_is_written_of_the_workspace_is_what_the_stock_executor_writes(
    world: World, selected: str, statement: str, range_: dict[str, Any]
) -> None:
    planned, stock = Watched(world), Watched(world, stock=True)
    document = f"query($range: RangeInput!) {{ viewer {{ workspace {{ usage(range: $range) {{ {selected} }} }} }} }}"
    with world.statements() as ran:
        answer = planned.ask("OWNER", document, range=range_)
    assert orjson.dumps(answer) == orjson.dumps(stock.ask("OWNER", document, range=range_))
    assert planned.outcomes == [Outcome.FOLLOWED]
    if "days" in range_:
        assert ran[0] == statement
    else:
        assert "written" not in " ".join(ran), "parts of days are rows"


def test_rows_that_are_not_by_user_have_none_where_users_are_written(world: World) -> None:
    planned, stock = Watched(world), Watched(world, stock=True)
    document = """query($range: RangeInput!) { viewer { workspace { users(first: 9) { nodes {
      usage(range: $range) { breakdown(by: [PRODUCT]) { rows { product user { id } } } } } } } } }"""
    range_ = {"days": {"first": FIRST_DAY, "last": LAST_DAY}}
    assert planned.ask("OWNER", document, range=range_) == stock.ask("OWNER", document, range=range_)
    assert planned.outcomes == [Outcome.FOLLOWED]


MAIN = """{ viewer { workspace { users(first: 100) { nodes { displayName budget {
  limit { ... on LimitedTo { amount } } source { id } candidates { id value { ... on LimitedTo { amount } } }
  product model used held remaining overBy period { cadence start end } resetsAt enforcement status %s } } } } } }"""


@pytest.mark.parametrize("caller", ["OWNER", "GROUP_MANAGER", "MEMBER", "OTHER_OWNER"])
def test_main_budgets_read_alone_are_those_read_with_all_others(world: World, caller: str) -> None:
    watched, stock = Watched(world), Watched(world, stock=True)
    with world.statements() as ran:
        alone = watched.ask(caller, MAIN % "")
    assert "budget_balances" not in ran
    assert "errors" not in alone
    assert alone == stock.ask(caller, MAIN % "")
    with world.statements() as ran:
        whole = watched.ask(caller, MAIN % "binding")
    assert "budget_balances" in ran
    for person in whole["data"]["viewer"]["workspace"]["users"]["nodes"]:
        assert isinstance(person["budget"].pop("binding"), bool)
    assert whole == alone


def test_mutations_and_introspection_are_not_planned(world: World) -> None:
    watched = Watched(world)
    watched.ask("OWNER", "{ __schema { queryType { name } } }")
    watched.ask("OWNER", 'mutation { removeRate(input: {id: "x"}) { __typename } }')
    assert watched.outcomes == [Outcome.UNPLANNED] * 2


INSTEAD = {
    "rules_of_users": "budget_limits",
    "balances_of_users": "budget_balances",
    "member_names_page": "members_page",
}
"""What is read of users' main budgets alone, and of members' names, and what of all that they have and are."""


def test_a_plan_asks_the_database_no_more_often_than_the_stock_executor(world: World) -> None:
    range_ = {"days": {"first": FIRST_DAY, "last": LAST_DAY}}
    counts = []
    for watched in (Watched(world, stock=True), Watched(world)):
        with world.statements() as ran:
            watched.ask("OWNER", NESTED, range=range_)
        counts.append(Counter(INSTEAD.get(name, name) for name in ran))
    assert counts[1] == counts[0] - Counter(["budget_holders"])  # their groups come with the groups' rules


MEMBERS = """{ viewer { workspace { groups(first: 9) { nodes { name members(%s) { nodes {
  id displayName %s budget { used limit { ... on LimitedTo { amount } } } } } } } } } }"""


@pytest.mark.parametrize("caller", ["OWNER", "GROUP_MANAGER", "MEMBER"])
@pytest.mark.parametrize("page", ["first: 2", "last: 3", "first: 5, orderBy: {field: NAME, direction: DESC}"])
def test_members_of_whom_names_alone_are_asked_are_those_of_whom_more_is(world: World, caller: str, page: str) -> None:
    watched, stock = Watched(world), Watched(world, stock=True)
    for more, statement in (("", "member_names_page"), ("email", "members_page")):
        document = MEMBERS % (page, more)
        with world.statements() as ran:
            found = watched.ask(caller, document)
        assert statement in ran
        assert found == stock.ask(caller, document)
        assert "errors" not in found
