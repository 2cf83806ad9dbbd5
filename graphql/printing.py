"""The schema as text: sorted, so that a difference between two versions is a difference of the API."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import strawberry
from graphql import (
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    InterfaceTypeDefinitionNode,
    Node,
    ObjectTypeDefinitionNode,
    SchemaDefinitionNode,
    parse,
    print_ast,
)
from strawberry.printer import print_schema

from creditdesk.graphql.size_directives import with_sizes

AnyNode = TypeVar("AnyNode", bound=Node)


def _by_name(nodes: Iterable[AnyNode] | None) -> tuple[AnyNode, ...]:
    return tuple(sorted(nodes or (), key=lambda node: node.name.value))  # type: ignore[attr-defined]


def _sorted_field(field: FieldDefinitionNode) -> FieldDefinitionNode:
    return replace(field, arguments=_by_name(field.arguments))


def _sorted(node: Node) -> Node:
    match node:
        case ObjectTypeDefinitionNode() | InterfaceTypeDefinitionNode():
            return replace(node, fields=tuple(_sorted_field(field) for field in _by_name(node.fields)))
        case InputObjectTypeDefinitionNode():
            return replace(node, fields=_by_name(node.fields))
        case EnumTypeDefinitionNode():
            return replace(node, values=_by_name(node.values))
        case _:
            return node


def sorted_schema(schema: strawberry.Schema) -> str:
    """Return the schema in the language of GraphQL, with descriptions and directives, everything in order of name."""
    # Strawberry can sort a schema itself, but then cannot print the default of an argument that is an enumeration.
    printed = with_sizes(parse(print_schema(schema)).definitions, schema._schema)  # noqa: SLF001 - there is no public way
    definitions = [_sorted(node) for node in printed]
    head = [node for node in definitions if isinstance(node, SchemaDefinitionNode)]
    return "\n\n".join(print_ast(node) for node in [*head, *_by_name(n for n in definitions if n not in head)]) + "\n"
