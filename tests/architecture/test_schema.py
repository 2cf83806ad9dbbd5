"""The schema: described in full, guarded at every way in, and the same as the committed file."""

import re
from collections.abc import Iterator

import pytest
from graphql import (
    DirectiveDefinitionNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    ObjectTypeDefinitionNode,
    is_introspection_type,
    is_specified_directive,
    is_specified_scalar_type,
    parse,
    print_ast,
)

from creditdesk.auth.roles import Permission
from creditdesk.graphql.schema import schema, schema_text
from support.repository import ROOT

GRAPH = schema._schema  # noqa: SLF001 - Strawberry has no public way to graphql-core's schema
ROOTS = {root.name for root in (GRAPH.query_type, GRAPH.mutation_type, GRAPH.subscription_type) if root is not None}
DEFINITIONS = parse(schema_text()).definitions


def descriptions() -> Iterator[tuple[str, str | None]]:
    """Yield everything that can have a description, with it."""
    for name, kind in GRAPH.type_map.items():
        if not is_introspection_type(kind) and not is_specified_scalar_type(kind):
            yield name, kind.description
            yield from descriptions_in(kind)
    # Arguments of directives are left out: Strawberry drops what is said of them.
    yield from (
        (f"@{directive.name}", directive.description)
        for directive in GRAPH.directives
        if not is_specified_directive(directive)
    )


def descriptions_in(kind: GraphQLNamedType) -> Iterator[tuple[str, str | None]]:
    match kind:
        case GraphQLObjectType() | GraphQLInterfaceType():
            for name, field in kind.fields.items():
                yield f"{kind.name}.{name}", field.description
                for argument_name, argument in field.args.items():
                    yield f"{kind.name}.{name}({argument_name}:)", argument.description
        case GraphQLInputObjectType():
            yield from ((f"{kind.name}.{name}", field.description) for name, field in kind.fields.items())
        case GraphQLEnumType():
            yield from ((f"{kind.name}.{name}", value.description) for name, value in kind.values.items())


def test_everything_in_the_schema_has_a_description() -> None:
    described = dict(descriptions())
    assert {"User.usage(range:)", "Permission.USAGE_READ", "UsageEventInput.at", "Credits", "Node"} <= set(described)
    assert [name for name, description in described.items() if not description] == []


def test_a_description_is_a_sentence() -> None:
    sentence = re.compile(r"[A-Z0-9`].*[.`]", re.DOTALL)
    assert [name for name, text in descriptions() if text and not sentence.fullmatch(text)] == []


def test_a_directive_that_is_printed_is_described() -> None:
    ours = [one for one in DEFINITIONS if isinstance(one, DirectiveDefinitionNode) and one.name.value != "oneOf"]
    assert [one.name.value for one in ours] == ["cost", "listSize", "requires"]
    assert all(one.description for one in ours)


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_every_way_in_requires_a_permission(root: str) -> None:
    [definition] = [one for one in DEFINITIONS if isinstance(one, ObjectTypeDefinitionNode) and one.name.value == root]
    for field in definition.fields or ():
        named = [
            print_ast(argument.value)
            for directive in field.directives or ()
            if directive.name.value == "requires"
            for argument in directive.arguments or ()
        ]
        assert len(named) == 1, f"{root}.{field.name.value} requires {named or 'nothing'}"
        assert named[0] in Permission.__members__


def test_the_committed_schema_is_the_schema() -> None:
    assert (ROOT / "schema.graphql").read_text(encoding="utf-8") == schema_text(), "run `make schema`"
