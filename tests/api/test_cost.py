"""What operations cost: as many objects as they may give, told before execution in time linear in the document."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest
from graphql import (
    ASTValidationRule,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    OperationDefinitionNode,
    SelectionSetNode,
    get_introspection_query,
    get_named_type,
    is_leaf_type,
    parse,
    specified_rules,
    validate,
)
from graphql.execution.values import get_argument_values, get_variable_values
from hypothesis import given, settings
from hypothesis import strategies as st

from creditdesk.graphql.charging import CAPACITY, MOST_COST
from creditdesk.graphql.protection.cost import CAP, CostPlan, cost_plan
from creditdesk.graphql.protection.sizes import sizes_of
from creditdesk.graphql.schema import core_schema, schema, schema_text
from support.documents import every_field
from support.hostile import any_priced_document, doubling

SCHEMA = core_schema()
SIZES = sizes_of(SCHEMA)
USED = [rule for rule in specified_rules if rule not in {NoUnusedFragmentsRule, NoUnusedVariablesRule}]
FEW = settings(max_examples=80, deadline=None)


def plan_of(text: str, rules: Collection[type[ASTValidationRule]] = specified_rules) -> CostPlan:
    document = parse(text)
    assert validate(SCHEMA, document, rules) == []
    [operation] = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    return cost_plan(SCHEMA, SIZES, document, operation)


def cost_of(text: str, **variables: object) -> int:
    return plan_of(text).cost(variables)


TODAY = "usage(range: {preset: TODAY}) { "


def in_workspace(text: str) -> str:
    return f"{{ viewer {{ workspace {{ {text} }} }} }}"


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("{ __typename }", 1),
        ("{ viewer { subject kind } }", 1),
        (in_workspace("name slug"), 2),
        # The connection, and its items.
        (in_workspace("users(first: 3) { nodes { id } }"), 2 + 1 + 3),
        (in_workspace("users(last: 3) { nodes { id } }"), 2 + 1 + 3),
        (in_workspace("users { nodes { id } }"), 2 + 1 + 50),
        (in_workspace("users(first: null) { nodes { id } }"), 2 + 1 + 50),
        (in_workspace("users(first: 3) { edges { cursor node { id } } }"), 2 + 1 + 3 * 2),
        (in_workspace("users(first: 3) { totalCount pageInfo { hasNextPage } }"), 2 + 1 + 1 + 1),
        # More than a page has is refused when it is resolved, so it costs a page.
        (in_workspace("users(first: 2000000000) { nodes { id } }"), 2 + 1 + 100),
        (in_workspace("users(first: -5) { nodes { id } }"), 2 + 1 + 1),
        # Lists multiply.
        (in_workspace("groups(first: 4) { nodes { members(first: 5) { nodes { id groups { id } } } } }"),
         2 + 1 + 4 * (1 + 1 + 5 * (1 + 10))),
        (in_workspace(TODAY + "breakdown(by: [MODEL], first: 7) { rows { user { id } } other { credits } } }"),
         2 + 1 + 1 + 7 * 2 + 1),
        (in_workspace(TODAY + "breakdown(by: [MODEL]) { rows { model } } }"), 2 + 1 + 1 + 10),
        (in_workspace(TODAY + "series(interval: DAY, first: 3) { points { credits } } }"),
         2 + 1 + 3 * (1 + 50)),
        ('{ nodes(ids: ["a", "b", "c"]) { id } }', 3),
        # Everything that could be asked for counts: each type, what is skipped, what is there twice.
        ('{ node(id: "a") { ... on User { budget { status } } ... on Group { budget { status } } } }', 1 + 2),
        ("{ viewer @skip(if: true) { workspace { id } } viewer { workspace { id } } }", 4),
        ("query { ...a ...a } fragment a on Query { viewer { workspace { id } } }", 4),
        ('mutation { releaseHold(input: {id: "a"}) { __typename } }', 10),
    ],
)  # fmt: skip
def test_an_operation_costs_as_many_objects_as_it_may_give(text: str, cost: int) -> None:
    assert cost_of(text) == cost


def test_variables_count_with_their_real_values() -> None:
    query = """query($groups: Int, $members: Int = 7, $ids: [ID!]!) { nodes(ids: $ids) { id } viewer { workspace {
      groups(first: $groups) { nodes { members(first: $members) { nodes { id } } } } } } }"""
    ids = ["a"] * 9
    assert cost_of(query, groups=3, members=5, ids=ids) == 9 + 2 + 1 + 3 * (1 + 1 + 5)
    assert cost_of(query, groups=None, members=7, ids=ids) == 9 + 2 + 1 + 50 * (1 + 1 + 7)
    assert cost_of(query, members=100, ids=[]) == 1 + 2 + 1 + 50 * (1 + 1 + 100)


@pytest.mark.parametrize("items", [1, 1000])
def test_a_batch_costs_its_items(items: int) -> None:
    record = "mutation($input: RecordUsageInput!) { recordUsage(input: $input) { __typename } }"
    assert cost_of(record, input={"events": [{}] * items}) == items + 10
    within = "mutation($events: [UsageEventInput!]!) { recordUsage(input: {events: $events}) { __typename } }"
    assert cost_of(within, events=[{}] * items) == items + 10
    place = """mutation($input: PlaceHoldsInput!) {
      placeHolds(input: $input) { ... on PlaceHoldsSuccess { results { __typename } } } }"""
    assert cost_of(place, input={"holds": [{}] * items}) == items + 10 + items


def test_a_fragment_s_lists_are_as_long_as_the_field_says_that_it_is_spread_in() -> None:
    text = """query($first: Int) {
      viewer { workspace { a: users(first: 2) { ...page } b: users(first: $first) { ...page } } } }
      fragment page on UserConnection { totalCount nodes { id groups { id } } }"""
    assert cost_of(text, first=5) == 2 + (1 + 1 + 2 * 11) + (1 + 1 + 5 * 11)


@pytest.mark.parametrize("levels", [5, 90])
def test_costs_that_grow_by_powers_are_told_in_linear_time(levels: int) -> None:
    text = (
        doubling(levels)
        .replace("subject", "workspace { users(first: $n) { nodes { id } } }")
        .replace("{ viewer", "query($n: Int) { viewer", 1)
    )
    plan = plan_of(text)
    assert plan.cost({"n": 3}) == min(CAP, 1 + 2 ** (levels + 1) * 5)
    assert plan.terms <= 2 * levels + 8


def test_what_depends_on_no_variable_is_added_up_once_for_all_requests() -> None:
    assert (
        plan_of(
            in_workspace("groups { nodes { members { nodes { id usage(range: {preset: TODAY}) { credits } } } } }")
        ).terms
        == 0
    )
    assert plan_of(get_introspection_query()).terms == 0


def expanded(text: str, variables: Mapping[str, Any]) -> int:  # noqa: C901 - the whole rule at once
    """Return the cost by walking through everything that is selected, however often: the rule, written plainly."""
    document = parse(text)
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}

    def cost(selections: SelectionSetNode | None, type_: Any, around: int) -> int:
        total = 0
        for node in selections.selections if selections else ():
            if isinstance(node, FragmentSpreadNode):
                fragment = fragments[node.name.value]
                total += cost(fragment.selection_set, SCHEMA.type_map[fragment.type_condition.name.value], around)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                total += cost(node.selection_set, SCHEMA.type_map[condition.name.value] if condition else type_, around)
            elif isinstance(node, FieldNode) and node.name.value == "totalCount":
                total += 1
            elif isinstance(node, FieldNode) and node.selection_set:
                definition = type_.fields[node.name.value]
                below = get_named_type(definition.type)
                given = arguments(definition, node)
                many = "[" in str(definition.type)
                size = next((given[name] for name in ("first", "last") if given.get(name) is not None), 50)
                is_sized = "first" in definition.args
                if not many:
                    total += 1 + cost(node.selection_set, below, min(size, 100) if is_sized else 1)
                elif is_sized:
                    total += size * (1 + cost(node.selection_set, below, 1))
                elif "ids" in definition.args:
                    total += max(1, len(given["ids"])) * (1 + cost(node.selection_set, below, 1))
                elif node.name.value in {"nodes", "edges", "rows"}:
                    total += around * (1 + cost(node.selection_set, below, 1))
                else:
                    total += (50 if node.name.value == "points" else 10) * (1 + cost(node.selection_set, below, 1))
        return total

    def arguments(definition: Any, node: FieldNode) -> dict[str, Any]:
        values = get_variable_values(SCHEMA, operation.variable_definitions or (), dict(variables))
        assert not isinstance(values, list)
        return get_argument_values(definition, node, values)

    [operation] = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    return max(1, cost(operation.selection_set, SCHEMA.query_type, 1))


@FEW
@given(any_priced_document(), st.integers(1, 100), st.lists(st.just("a"), max_size=5))
def test_the_cost_is_that_of_the_document_with_its_fragments_written_out(text: str, first: int, ids: list[str]) -> None:
    variables = {"n": first, "ids": ids}
    assert validate(SCHEMA, parse(text), USED) == []
    assert plan_of(text, USED).cost(variables) == expanded(text, variables)


def test_what_tools_and_integrations_ask_can_be_afforded() -> None:
    nested = """query { viewer { workspace { groups(first: 100) { nodes { budget { status limit { __typename } }
      members(first: 50) { nodes { id budget { status limit { __typename } period { start } }
        usage(range: {preset: LAST_30_DAYS}) { credits breakdown(by: [PRODUCT, MODEL], first: 48) {
          rows { product model credits } other { credits } } } } } } } } } }"""
    for text in (get_introspection_query(), nested):
        assert cost_of(text) <= MOST_COST <= CAPACITY / 2


def test_the_schema_says_what_each_field_costs() -> None:
    printed = schema_text()
    for said in (
        'assumedSize: 50, requireOneSlicingArgument: false, sizedFields: ["edges", "nodes"], slicingArguments: [',
        'assumedSize: 10, requireOneSlicingArgument: false, sizedFields: ["rows"], slicingArguments: ["first"]',
        '[Node]! @requires(permission: WORKSPACE_READ) @listSize(slicingArguments: ["ids"])',
        '@listSize(sizedFields: ["results"], slicingArguments: ["input"]) @cost(weight: "10")',
        'totalCount: Int! @cost(weight: "1")',
        "points: [UsagePoint!]! @listSize(assumedSize: 50)",
    ):
        assert said in printed


def test_every_list_of_objects_has_a_size() -> None:
    lists = [
        (type_name, name)
        for type_name, name, field in every_field(schema)
        if "[" in str(field.type)
        and not is_leaf_type(get_named_type(field.type))
        and type_name not in {"Node", "UserError"}
    ]
    assert len(lists) > 20
    for of in lists:
        size = SIZES[of]
        assert size.is_list, of
        assert size.by_parent or size.assumed or size.slicing or size.batch, of
