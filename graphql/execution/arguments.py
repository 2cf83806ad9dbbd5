"""The arguments of a field, as its resolver takes them."""

from collections.abc import Mapping
from typing import Any

import strawberry
from graphql import FieldNode, GraphQLError, GraphQLField
from graphql.execution.values import VariableValues, get_argument_values
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from creditdesk.graphql.execution.plans import DeclinedError


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
