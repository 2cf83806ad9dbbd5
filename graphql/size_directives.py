"""What fields cost, printed in the schema in the words of the cost directives specification."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from graphql import (
    ConstDirectiveNode,
    DefinitionNode,
    FieldDefinitionNode,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    ObjectTypeDefinitionNode,
    get_named_type,
    is_leaf_type,
    parse,
)

from creditdesk.graphql.protection.sizes import ASSUMED_ITEMS, Size, sizes_of

_DEFINITIONS = '''
"""
How many items a list has, for the cost of an operation: what the first of `slicingArguments` says that is given, where
an object counts the items of its lists; else `assumedSize`. `sizedFields` are the lists beneath the field.
"""
directive @listSize(
  assumedSize: Int
  requireOneSlicingArgument: Boolean = true
  sizedFields: [String!]
  slicingArguments: [String!]
) on FIELD_DEFINITION

"""
What a field costs by itself: 1 for each object and nothing for a plain value, where nothing else is said.
"""
directive @cost(weight: String!) on FIELD_DEFINITION
'''

Sizes = Mapping[tuple[str, str], Size]


def with_sizes(definitions: Iterable[DefinitionNode], schema: GraphQLSchema) -> list[DefinitionNode]:
    """Return the schema's definitions, with what each field costs."""
    sizes = sizes_of(schema)
    written = [
        _sized(definition, schema, sizes) if isinstance(definition, ObjectTypeDefinitionNode) else definition
        for definition in definitions
    ]
    return [*written, *parse(_DEFINITIONS).definitions]


def _sized(definition: ObjectTypeDefinitionNode, schema: GraphQLSchema, sizes: Sizes) -> ObjectTypeDefinitionNode:
    type_ = schema.type_map[definition.name.value]
    assert isinstance(type_, GraphQLObjectType)  # noqa: S101 - its definition is that of an object

    def sized(field: FieldDefinitionNode) -> FieldDefinitionNode:
        size = sizes[type_.name, field.name.value]
        named = get_named_type(type_.fields[field.name.value].type)
        members = named.types if isinstance(named, GraphQLUnionType) else (named,)
        below = {
            name for member in members for name in getattr(member, "fields", ()) if _by_parent(sizes, member.name, name)
        }
        text = _list_size(size, sorted(below)) + _cost(size, is_plain=is_leaf_type(named))
        return replace(field, directives=(*(field.directives or ()), *_directives(text)))

    return replace(definition, fields=tuple(sized(field) for field in definition.fields or ()))


def _by_parent(sizes: Sizes, type_name: str, name: str) -> bool:
    return sizes[type_name, name].by_parent


def _list_size(size: Size, below: Sequence[str]) -> str:
    slicing = [size.batch] if size.batch else list(size.slicing.arguments) if size.slicing else []
    if size.slicing is not None:
        assumed: int | None = size.slicing.default
    else:
        assumed = None if slicing or not size.is_list or size.by_parent else size.assumed or ASSUMED_ITEMS
    arguments = [f"assumedSize: {assumed}"] if assumed is not None else []
    if slicing:
        arguments += ["requireOneSlicingArgument: false"] if assumed is not None else []
        arguments += [f"sizedFields: {json.dumps(below)}"] if below and not size.is_list else []
        arguments += [f"slicingArguments: {json.dumps(slicing)}"]
    return f" @listSize({', '.join(arguments)})" if arguments else ""


def _cost(size: Size, *, is_plain: bool) -> str:
    return "" if size.weight == (0 if is_plain else 1) else f' @cost(weight: "{size.weight}")'


def _directives(text: str) -> tuple[ConstDirectiveNode, ...]:
    [definition] = parse(f"type T {{ f: Int {text} }}").definitions
    assert isinstance(definition, ObjectTypeDefinitionNode)  # noqa: S101 - it is written here
    assert definition.fields  # noqa: S101 - as above
    return definition.fields[0].directives or ()
