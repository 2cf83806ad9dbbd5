"""Documents that select everything the schema offers, made from the schema itself.

A field with arguments is asked in one of several ways, by the dice of its place and the round.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)
from strawberry import Schema

Arguments = Mapping[str, Sequence[str]]
"""For each `Type.field`, the ways to write its arguments: `(first: 3)`; an empty text for none at all."""


def core_schema(schema: Schema) -> GraphQLSchema:
    """Return graphql-core's schema of a Strawberry one."""
    return schema._schema  # noqa: SLF001 - Strawberry has no public way to it


def composite_types(schema: Schema) -> dict[str, GraphQLObjectType | GraphQLInterfaceType]:
    """Return every type with fields, but for those of introspection."""
    return {
        name: type_
        for name, type_ in core_schema(schema).type_map.items()
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
    }


def every_field(schema: Schema) -> Iterator[tuple[str, str, GraphQLField]]:
    for type_name, type_ in composite_types(schema).items():
        for field_name, definition in type_.fields.items():
            yield type_name, field_name, definition


@dataclass
class MaximalDocument:
    """Writes selections of everything, no type more than once on the way down to it, or as often as `most` says.

    Beneath a field that is `shallow` only its own plain fields are selected: another one leads to the same objects.
    With `turns` there are no dice: in round 3 each field is asked in its third way, or begins again.
    """

    schema: Schema
    arguments: Arguments
    round: int
    shallow: frozenset[str] = frozenset()
    most: Mapping[str, int] = field(default_factory=dict)
    turns: bool = False

    def root(self, name: str) -> str:
        """Return a root field of the query with everything beneath it."""
        query = core_schema(self.schema).query_type
        assert query
        return f"{{{self._field(query, name, query.fields[name], ('Query',))}}}"

    def node(self, type_name: str) -> str:
        """Return `node(id: $id)` with everything that a type of node has."""
        below = self.selection(composite_types(self.schema)[type_name], ("Query",))
        return f"{{node(id: $id) {{__typename ... on {type_name} {below}}}}}"

    def selection(self, type_: GraphQLNamedType, above: tuple[str, ...] = ()) -> str:
        """Return `{...}` with everything of this type, or nothing where there is nothing more to select."""
        if isinstance(type_, GraphQLInterfaceType):
            return "{__typename id}" if "id" in type_.fields else "{__typename}"
        if isinstance(type_, GraphQLUnionType):
            members = (f" ... on {member.name} {self.selection(member, above)}" for member in type_.types)
            return "{__typename" + "".join(members) + "}"
        if not isinstance(type_, GraphQLObjectType):
            return ""
        if above.count(type_.name) >= self.most.get(type_.name, 1):
            return "{__typename}"
        fields = (self._field(type_, name, one, (*above, type_.name)) for name, one in type_.fields.items())
        return "{__typename" + "".join(f" {text}" for text in fields) + "}"

    def _field(self, type_: GraphQLObjectType, name: str, definition: GraphQLField, above: tuple[str, ...]) -> str:
        known = self.arguments.get(f"{type_.name}.{name}")
        if known is None:
            needed = [argument for argument in definition.args.values() if is_required_argument(argument)]
            assert not needed, f"{type_.name}.{name} needs arguments: say which, and try every one it takes"
            known = [""]
        dice = Random("/".join([str(self.round), *above, name]))  # noqa: S311 - dice, not a secret
        written = known[self.round % len(known)] if self.turns else dice.choice(known)
        type_below = get_named_type(definition.type)
        if f"{type_.name}.{name}" in self.shallow:
            return f"{name}{written}{_plain(type_below)}"
        return f"{name}{written}{self.selection(type_below, above)}"


def node_types(schema: Schema) -> frozenset[str]:
    """Return the types whose objects have an id to fetch them by."""
    node = core_schema(schema).type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    return frozenset(one.name for one in core_schema(schema).get_implementations(node).objects)


def leading_to_nodes(schema: Schema) -> frozenset[str]:
    """Return the fields whose objects can be fetched by an id: those are as good as any other way to them."""
    nodes = node_types(schema)

    def leads(type_: GraphQLNamedType) -> bool:
        members = type_.types if isinstance(type_, GraphQLUnionType) else (type_,)
        return nodes.issuperset(member.name for member in members)

    return frozenset(
        f"{type_name}.{name}"
        for type_name, name, definition in every_field(schema)
        if leads(get_named_type(definition.type))
    )


def _plain(type_: GraphQLNamedType) -> str:
    """Return `{...}` with the plain fields of a type, or of each type of a union."""
    if isinstance(type_, GraphQLUnionType):
        return "{__typename" + "".join(f" ... on {member.name} {_plain(member)}" for member in type_.types) + "}"
    if isinstance(type_, GraphQLInterfaceType):
        return "{__typename id}"
    assert isinstance(type_, GraphQLObjectType)
    plain = [one for one, below in type_.fields.items() if is_leaf_type(get_named_type(below.type))]
    return f"{{__typename {' '.join(plain)}}}"
