"""Fields that resolvers answer: what is called, and with which arguments."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import strawberry
from graphql import FieldNode, GraphQLError, GraphQLField, GraphQLObjectType, VariableNode, Visitor, visit
from graphql.execution.values import VariableValues, get_argument_values
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from creditdesk.graphql.execution.plans import Call, DeclinedError

STRAWBERRY = "strawberry-definition"


def arguments_of(
    schema: strawberry.Schema,
    field: GraphQLField,
    node: FieldNode,
    definition: StrawberryField,
    variables: VariableValues | None,
) -> Mapping[str, Any]:
    """Return a field's arguments; raise DeclinedError where they do not fit, which the stock executor tells."""
    if not field.args:
        return {}
    try:
        values = get_argument_values(field, node, variables)
    except GraphQLError as error:
        raise DeclinedError from error
    registry = schema.schema_converter.scalar_registry
    return convert_arguments(values, definition.arguments, scalar_registry=registry, config=schema.config)


def call_of(
    schema: strawberry.Schema,
    parent: GraphQLObjectType,
    field: GraphQLField,
    nodes: Sequence[FieldNode],
    *,
    number: int,
) -> Call:
    """Return how a field's resolver is called; raise DeclinedError where plans do not know how."""
    definition: StrawberryField = field.extensions[STRAWBERRY]
    resolver = definition.base_resolver
    if resolver is None or resolver.parent_parameter or resolver.root_parameter:
        raise DeclinedError
    constant = None
    if not _reads_variables(nodes[0]):
        constant = arguments_of(schema, field, nodes[0], definition, None)
    return Call(
        number=number,
        parent=parent,
        field=field,
        nodes=tuple(nodes),
        resolver=cast("Callable[..., Any]", resolver.wrapped_func),
        takes_source=resolver.self_parameter is not None,
        info_name=resolver.info_parameter.name if resolver.info_parameter else None,
        definition=definition,
        constant=constant,
    )


def _reads_variables(node: FieldNode) -> bool:
    found = False

    class Variables(Visitor):
        def enter_variable(self, _: VariableNode, *__: object) -> None:
            nonlocal found
            found = True

    for argument in node.arguments or ():
        visit(argument, Variables())
    return found
