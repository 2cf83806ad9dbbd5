"""Inputs as the objects that resolvers take: how each type is made is found out once, not again for every value.

Strawberry asks each field of each value for its name and its type anew: making a thousand events took 125 ms.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any

from graphql import GraphQLInputObjectType, GraphQLNonNull, GraphQLSchema, is_leaf_type
from strawberry.schema.name_converter import NameConverter
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import InputContext
from strawberry.types.base import StrawberryObjectDefinition

Make = Callable[[type, Mapping[str, Any], InputContext], Any]


def make_inputs_at_once(schema: GraphQLSchema, shown: NameConverter) -> None:
    """Have all inputs of the schema made by functions that know them already."""
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLInputObjectType):
            definition = type_.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
            definition.from_input = _maker(type_, definition, shown)


def _maker(type_: GraphQLInputObjectType, definition: StrawberryObjectDefinition, shown: NameConverter) -> Make:
    fields = {shown.from_field(field): field for field in definition.fields}
    names = {name: field.python_name for name, field in fields.items()}
    types = {
        name: None if _is_ready(type_, name) else field.resolve_type(type_definition=definition)
        for name, field in fields.items()
    }
    # What is not given, and has no default either, is none.
    implied: dict[str, Any] = {
        field.python_name: None
        for field in definition.fields
        if field.default_value is MISSING and field.default_factory is MISSING
    }

    def make(of: type, value: Mapping[str, Any], context: InputContext) -> Any:
        given = implied.copy()
        for name, one in value.items():
            inner = types[name]
            given[names[name]] = one if inner is None or one is None else context.convert(one, inner, name)
        return of(**given)

    return make


def _is_ready(type_: GraphQLInputObjectType, name: str) -> bool:
    """Tell whether a field's value is what it is in the variables: a scalar's, or an enum's."""
    of = type_.fields[name].type
    return is_leaf_type(of.of_type if isinstance(of, GraphQLNonNull) else of)
