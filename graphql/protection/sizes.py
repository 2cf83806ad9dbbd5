"""How many items each field of the schema may give: what a document costs before it is executed.

The rule: a field with `first` gives so many; where it leads to a page, a breakdown or the results of a batch, the lists
directly in that do. A list that nobody sizes counts as `ASSUMED_ITEMS`, or as `ASSUMED` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    get_named_type,
    is_leaf_type,
)

ASSUMED_ITEMS = 10
ASSUMED: Mapping[str, int] = {
    "UsageSeries.points": 50,
    "Workspace.rates": 100,
    "RecordUsageSuccess.rejected": 10,
    "__Schema.types": 200,
    "__Type.fields": 5,
    "__Type.inputFields": 2,
    "__Type.enumValues": 3,
    "__Type.interfaces": 1,
    "__Type.possibleTypes": 1,
    "__Field.args": 2,
    "__Directive.args": 2,
}
"""Lists whose length nothing in the document says, as `Type.field`."""
DEFAULT_PAGE = 50
LARGEST_PAGE = 100
LARGEST_BREAKDOWN = 1000
MUTATION_WEIGHT = 10
"""What a mutation costs beside the items of its batch."""
COUNTS: frozenset[str] = frozenset({"totalCount"})
"""Plain fields that are read by a statement of their own."""


@dataclass(frozen=True, slots=True)
class Slicing:
    """A field that is given how many items to return, by the first of these arguments that is set."""

    arguments: tuple[str, ...]
    default: int
    largest: int
    """More than this is refused when the field is resolved, so it costs no more."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many items a field gives, and whether they are its own or those of the lists in what it leads to."""

    weight: int = 1
    assumed: int | None = None
    slicing: Slicing | None = None
    batch: str | None = None
    """The argument whose items are counted: a list, or an object with lists."""
    is_list: bool = False
    by_parent: bool = False
    """The list is as long as the field that leads to it says."""


def sizes_of(schema: GraphQLSchema) -> dict[tuple[str, str], Size]:
    """Return the size of every field of the schema, by the names of its type and its own."""
    mutation = schema.mutation_type.name if schema.mutation_type else None
    fields = {
        (type_name, name): field
        for type_name, type_ in schema.type_map.items()
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        for name, field in type_.fields.items()
    }
    pages = {name for (type_name, _), field in fields.items() for name in _sized_by(field, batch=type_name == mutation)}
    return {
        (type_name, name): _of_mutation(field)
        if type_name == mutation
        else _of_field(f"{type_name}.{name}", field, is_page=type_name in pages)
        for (type_name, name), field in fields.items()
    }


def _sized_by(field: GraphQLField, *, batch: bool) -> list[str]:
    """Return the names of the types whose lists are as long as this field says."""
    if _is_list(field.type) or (_slicing(field) is None and not (batch and _batch(field))):
        return []
    named = get_named_type(field.type)
    return [member.name for member in named.types] if isinstance(named, GraphQLUnionType) else [named.name]


def _of_mutation(field: GraphQLField) -> Size:
    return Size(weight=MUTATION_WEIGHT, batch=_batch(field))


def _of_field(coordinate: str, field: GraphQLField, *, is_page: bool) -> Size:
    is_list, is_leaf, slicing = _is_list(field.type), is_leaf_type(get_named_type(field.type)), _slicing(field)
    if is_leaf:
        return Size(weight=int(coordinate.partition(".")[2] in COUNTS))
    if not is_list or slicing is not None:
        return Size(slicing=slicing, is_list=is_list)
    if "ids" in field.args:
        return Size(batch="ids", is_list=True)
    if is_page and coordinate not in ASSUMED:
        return Size(is_list=True, by_parent=True)
    return Size(is_list=True, assumed=ASSUMED.get(coordinate, ASSUMED_ITEMS))


def _slicing(field: GraphQLField) -> Slicing | None:
    arguments = tuple(name for name in ("first", "last") if name in field.args)
    if not arguments:
        return None
    default = field.args["first"].default_value if "first" in field.args else Undefined
    if isinstance(default, int):
        return Slicing(arguments, default, LARGEST_BREAKDOWN)
    return Slicing(arguments, DEFAULT_PAGE, LARGEST_PAGE)


def _batch(field: GraphQLField) -> str | None:
    """Return the argument of a mutation whose lists are its batch, if it has any."""
    for name, argument in field.args.items():
        named = get_named_type(argument.type)
        if isinstance(named, GraphQLInputObjectType) and any(_is_list(one.type) for one in named.fields.values()):
            return name
    return None


def _is_list(type_: GraphQLOutputType | GraphQLInputType) -> bool:
    return isinstance(type_.of_type if isinstance(type_, GraphQLNonNull) else type_, GraphQLList)
