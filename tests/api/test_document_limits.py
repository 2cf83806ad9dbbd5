"""What a document may have: counted in time that grows with it, also where what it selects grows by powers."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSyntaxError,
    InlineFragmentNode,
    Lexer,
    Node,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    SelectionSetNode,
    Source,
    TokenKind,
    get_introspection_query,
    parse,
    specified_rules,
    validate,
)
from hypothesis import given, settings

from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.graphql.errors import shown_error
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.protection.limits import DocumentLimits, QueryTooComplexError
from creditdesk.graphql.protection.rules import rules_of, validated
from creditdesk.graphql.protection.shape import CAP, Figures, look, shape_of
from creditdesk.graphql.protection.text import check_text, check_variables, has_more_tokens
from creditdesk.graphql.schema import schema
from support.documents import core_schema
from support.hostile import any_document, any_text, doubling, every_node

NESTED = """
query($range: RangeInput!, $groups: Int, $members: Int) { viewer { workspace { groups(first: $groups) { nodes { id name
  usage(range: $range) { credits requests inputTokens cachedInputTokens outputTokens }
  members(first: $members) { nodes { id displayName usage(range: $range) {
    credits breakdown(by: [PRODUCT, MODEL]) { rows { product model credits } other { rowCount credits } }
  } } }
} } } } }"""

LIMITS = DocumentLimits()
FEW = settings(max_examples=60, deadline=None)


def refused(check: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(QueryTooComplexError) as caught:
        check(*arguments)
    assert caught.value.code is ErrorCode.QUERY_TOO_COMPLEX
    return caught.value.message


# The text.


def lexed(text: str) -> int:
    """Return how many tokens the parser's own lexer finds, comments among them."""
    lexer, tokens = Lexer(Source(text)), 0
    token = lexer.token
    while token.kind is not TokenKind.EOF:
        token = lexer.read_next_token(token.end)
        tokens += token.kind is not TokenKind.EOF
    return tokens


@FEW
@given(any_text())
def test_tokens_are_counted_as_the_parser_reads_them_and_never_fewer(text: str) -> None:
    try:
        tokens = lexed(text)
    except GraphQLSyntaxError:
        return
    assert has_more_tokens(text, tokens - 1) or tokens == 0
    assert not has_more_tokens(text, tokens)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" \t\ufeff,\r\n", 0),
        ("{ a }", 3),
        ("{a(b:-1.5e+3)}", 8),
        ('{a(b:"\\"c d\\\\")}', 8),
        ('"""a "b" \\""" {}"""', 1),
        ('"""""" ""', 2),
        ("...on ... on", 4),
        ("# one\n#two\r\n{", 3),
        ("$a:[B!]!=1@c&|", 14),
    ],
)
def test_a_token_is_what_graphql_says_it_is(text: str, tokens: int) -> None:
    assert lexed(text) == tokens
    assert not has_more_tokens(text, tokens)
    assert tokens == 0 or has_more_tokens(text, tokens - 1)


@pytest.mark.parametrize("token", ["a ", "{", '"', '""" ', "#\n", "...", "1 ", "\u00e9", "."])
def test_a_text_of_too_many_tokens_is_refused_whatever_they_are(token: str) -> None:
    # Two quotes are one token, and six are one: there are always enough of them.
    text = token * 7000
    assert refused(check_text, text, replace(LIMITS, characters=len(text), tokens=999)).startswith(
        "The document has too many"
    )


def test_a_text_that_is_too_long_is_refused() -> None:
    check_text("{" + " " * (LIMITS.characters - 1), LIMITS)
    assert refused(check_text, " " * (LIMITS.characters + 1), LIMITS) == (
        f"The document has too many characters: {LIMITS.characters} at most."
    )
    for end in ("\n", "\r"):
        assert refused(check_text, end * (LIMITS.lines + 1), LIMITS) == (
            f"The document has too many lines: {LIMITS.lines} at most."
        )


# Variables.


def test_a_long_list_or_object_anywhere_in_the_variables_is_refused() -> None:
    fits, too_long = ["x"] * LIMITS.list_items, ["x"] * (LIMITS.list_items + 1)
    check_variables(None, LIMITS)
    check_variables({"a": fits, "b": {"c": [fits, fits]}}, LIMITS)
    for value in (too_long, {"b": [too_long]}, [[[too_long]]], {f"a{number}": 1 for number in range(2001)}):
        message = refused(check_variables, {"a": value}, LIMITS)
        assert message == "The variables have too long a list: 2000 items at most."


def test_variables_are_looked_at_however_deeply_they_are_nested() -> None:
    nested: object = ["x"] * 2001
    for _ in range(50_000):
        nested = [nested]
    refused(check_variables, {"a": nested}, LIMITS)


# The shape.


def naive(document: DocumentNode) -> list[Figures]:
    """Return the same figures, by walking through fragments wherever they are spread."""
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}

    def figures_of(
        found: Figures, selections: SelectionSetNode | None, depth: int, circles: int, path: tuple[str, ...]
    ) -> None:
        for node in selections.selections if selections else ():
            directives_of(found, node)
            match node:
                case FieldNode():
                    inside = circles + (node.name.value in {"fields", "inputFields", "interfaces", "possibleTypes"})
                    found.depth = max(found.depth, depth + 1)
                    found.introspection_depth = max(found.introspection_depth, inside)
                    found.root_fields += depth == 0
                    found.fields += 1
                    found.aliases += node.alias is not None
                    figures_of(found, node.selection_set, depth + 1, inside, path)
                case InlineFragmentNode():
                    figures_of(found, node.selection_set, depth, circles, path)
                case FragmentSpreadNode() if node.name.value in fragments and node.name.value not in path:
                    fragment = fragments[node.name.value]
                    directives_of(found, fragment)
                    figures_of(found, fragment.selection_set, depth, circles, (*path, node.name.value))

    def directives_of(found: Figures, node: Node) -> None:
        directives = getattr(node, "directives", None) or ()
        found.directives += len(directives)
        found.directives_at_one_place = max(found.directives_at_one_place, len(directives))

    operations = []
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            found = Figures()
            directives_of(found, definition)
            figures_of(found, definition.selection_set, 0, 0, ())
            operations.append(found)
    return operations


@FEW
@given(any_document(circles=False))
def test_figures_are_those_of_the_document_with_its_fragments_written_out(text: str) -> None:
    document = parse(text)
    shape = shape_of(document)
    assert [replace(one, list_items=0) for one in shape.operations] == naive(document)


@FEW
@given(any_document())
def test_each_node_is_looked_at_once(text: str) -> None:
    document = parse(text)
    assert shape_of(document).visited <= every_node(document)


@pytest.mark.parametrize("levels", [10, 40, 90])
def test_a_fragment_is_looked_at_once_however_often_it_is_spread(levels: int) -> None:
    document = parse(doubling(levels))
    shape = shape_of(document)
    assert shape.visited <= every_node(document) == 5 * levels + 11
    assert shape.operations[0].fields == min(CAP, 1 + 2 ** (levels + 1))


def test_fragments_that_go_in_circles_or_are_missing_are_left_to_validation() -> None:
    document = parse("{ ...a } fragment a on Query { viewer { subject } ...b ...missing } fragment b on Query { ...a }")
    assert shape_of(document).operations[0].fields == 2
    assert look(document, LIMITS) == []


TOO_MUCH: dict[str, tuple[str, str]] = {
    "depth": ("{" + "a{" * 25 + "b" + "}" * 25 + "}", "levels of fields: 25"),
    "root_fields": ("{" + " a" * 21 + "}", "fields at its root: 20"),
    "root_fields_by_fragments": (
        "{ ...f ...f } fragment f on Query { ... on Query {" + " a" * 11 + "}}",
        "fields at its root: 20",
    ),
    "fields": ("{ x { ...f ...f } } fragment f on Query { y {" + " a" * 500 + "} }", "fields: 1000"),
    "aliases": ("{ x {" + "".join(f" a{n}: b" for n in range(51)) + "} }", "aliases: 50"),
    "aliases_by_fragments": (
        "{ x { ...f y { ...f } } } fragment f on Query {" + "".join(f" a{n}: b" for n in range(26)) + "}",
        "aliases: 50",
    ),
    "directives": ("{ x {" + " a @b" * 51 + "} }", "directives: 50"),
    "directives_of_operations": ("query" + " @a" * 6 + " { x }", "directives at one place: 5"),
    "directives_at_one_place": ("{ x" + " @a" * 6 + " }", "directives at one place: 5"),
    "directives_of_spreads": ("{ ...f" + " @a" * 6 + " } fragment f on Query { x }", "directives at one place: 5"),
    "directives_of_inline_fragments": ("{ ... on Query" + " @a" * 6 + " { x } }", "directives at one place: 5"),
    "directives_of_variables": ("query($a: Int" + " @a" * 6 + ") { x }", "directives at one place: 5"),
    "fragments": ("{ x }" + "".join(f" fragment f{n} on Query {{ x }}" for n in range(101)), "fragments: 100"),
    "list_items": ("{ x(a: [" + "1 " * 2001 + "]) }", "items in one list or object: 2000"),
    "list_items_of_objects": ("{ x(a: {b: [{" + "c: 1 " * 2001 + "}]}) }", "items in one list or object: 2000"),
    "list_items_of_defaults": ("query($a: [Int] = [" + "1 " * 2001 + "]) { x }", "items in one list or object: 2000"),
    "list_items_of_directives": ("{ x @a(b: [" + "1 " * 2001 + "]) }", "items in one list or object: 2000"),
    "introspection_depth": (
        "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
        "levels of introspection: 2",
    ),
    "second_operation": ("query a { x } query b {" + " a" * 21 + "}", "fields at its root: 20"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_MUCH)
def test_a_document_that_has_too_much_of_something_is_refused_by_name(case: str) -> None:
    text, what = TOO_MUCH[case]
    (error,) = look(parse(text), LIMITS)
    assert error.message == f"The document has too many {what} at most."
    assert isinstance(error.original_error, CreditError)
    assert error.original_error.code is ErrorCode.QUERY_TOO_COMPLEX


def test_what_is_just_within_the_limits_passes() -> None:
    for text in (
        "{" + "a{" * 24 + "b" + "}" * 24 + "}",
        "{" + " a" * 20 + "}",
        "{ x {" + " a" * 999 + "} }",
        "{ x {" + "".join(f" a{n}: b" for n in range(50)) + "} }",
        "{ x {" + " a @b" * 50 + "} }",
        "{ x @a @a @a @a @a }",
    ):
        assert look(parse(text), LIMITS) == []


# Validation.

SCHEMA = core_schema(schema)
RULES = rules_of(LIMITS)


def test_validation_ends_after_so_many_errors() -> None:
    document = parse("{ viewer {" + "".join(f" u{number}" for number in range(100)) + "} }")
    errors = validated(SCHEMA, document, RULES, LIMITS.errors)
    assert len(errors) == LIMITS.errors + 1
    assert errors[-1].message == "Too many validation errors, error limit reached. Validation aborted."


def same_fields(number: int) -> str:
    return "{ viewer {" + " subject" * number + "} }"


def test_fields_of_one_name_are_compared_only_so_often() -> None:
    assert validated(SCHEMA, parse(same_fields(50)), RULES, LIMITS.errors) == []
    (error,) = validated(SCHEMA, parse(same_fields(80)), RULES, LIMITS.errors)
    assert isinstance(error.original_error, QueryTooComplexError)


@FEW
@given(any_document())
def test_where_validation_comes_to_an_end_it_finds_what_the_standard_s_rules_find(text: str) -> None:
    document = parse(text)
    ours = validated(SCHEMA, document, RULES, 1000)
    if any(isinstance(error.original_error, QueryTooComplexError) for error in ours):
        return
    rules = [rule for rule in rules_of(replace(LIMITS, comparisons=10**6)) if rule.__name__ != "OverlappingFields"]
    theirs = validate(SCHEMA, document, [*rules, OverlappingFieldsCanBeMergedRule], 1000, hide_suggestions=True)
    assert sorted(error.message for error in ours) == sorted(error.message for error in theirs)


def test_every_rule_of_the_standard_is_among_ours() -> None:
    names: Iterator[str] = (rule.__name__ for rule in specified_rules)
    kept = {"OverlappingFieldsCanBeMergedRule"}
    assert set(names) - {rule.__name__ for rule in RULES} == kept
    assert any(issubclass(rule, OverlappingFieldsCanBeMergedRule) for rule in RULES)


# All of it, as a request meets it.

DOCUMENTS = Documents(SCHEMA)


def codes(text: str) -> list[str]:
    shown = [shown_error(error, unless=ErrorCode.GRAPHQL_VALIDATION_FAILED) for error in DOCUMENTS.prepare(text).errors]
    return [error["extensions"]["code"] for error in shown]  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        " " * 40_000,
        "{" * 1001,
        doubling(90),
        same_fields(80),
        "{" + " viewer { subject }" * 21 + "}",
        "query { __typename @a @a @a @a @a @a }",
    ],
    ids=lambda text: str(text)[:20],
)
def test_what_is_refused_says_so_by_one_code(text: str) -> None:
    assert codes(text) == ["QUERY_TOO_COMPLEX"]


def test_an_error_of_the_document_keeps_its_own_code() -> None:
    assert codes("{ nothing }") == ["GRAPHQL_VALIDATION_FAILED"]
    assert codes("{") == ["GRAPHQL_PARSE_FAILED"]


@pytest.mark.parametrize(
    "text",
    [
        get_introspection_query(input_value_deprecation=True, directive_is_repeatable=True),
        NESTED,
    ],
    ids=["introspection", "nested"],
)
def test_what_tools_and_integrations_ask_passes(text: str) -> None:
    assert codes(text) == []
