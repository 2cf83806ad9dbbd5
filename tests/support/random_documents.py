"""Random valid documents over a schema, with their variables: fragments, aliases, `@skip` and `@include`, and all.

Every document of a seed is the same in each run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

Values = Mapping[str, Sequence[Any]]
"""JSON values to choose from: of a scalar, or of a `Type.field.argument` or `Input.field` where those differ."""


@dataclass(frozen=True, slots=True)
class RandomDocument:
    """A document, and what its variables are given."""

    text: str
    variables: dict[str, Any]


@dataclass
class Dice:
    """Writes one document."""

    schema: GraphQLSchema
    values: Values
    random: Random
    fields_left: int = 60
    variables: dict[str, Any] = field(default_factory=dict)
    definitions: list[str] = field(default_factory=list)
    fragments: dict[str, tuple[str, str]] = field(default_factory=dict)
    aliases: int = 0
    operation: str = "query"
    roots: Sequence[str] = ()
    """The root fields to choose from; all of them where nothing is given."""

    def document(self) -> RandomDocument:
        """Return an operation of one to three root fields."""
        root = getattr(self.schema, f"{self.operation}_type")
        selection = self.selection(root, depth=0)
        head = f"({', '.join(self.definitions)})" if self.definitions else ""
        fragments = [f"fragment {name} on {type_} {body}" for name, (type_, body) in self.fragments.items()]
        return RandomDocument("\n".join([f"{self.operation} Q{head} {selection}", *fragments]), self.variables)

    def selection(self, type_: GraphQLNamedType, depth: int) -> str:
        """Return `{...}` on a type that has fields."""
        parts = [self._part(type_, depth) for _ in range(self.random.randint(1, 3 if depth < 2 else 5))]
        return "{" + " ".join(parts) + "}"

    def _part(self, type_: GraphQLNamedType, depth: int) -> str:
        dice = self.random.random()
        if dice < 0.08:
            return f"{self._alias('t')}__typename{self._choice()}"
        if dice < 0.16 or isinstance(type_, GraphQLUnionType):
            inner = self._narrowed(type_)
            return f"...{f' on {inner.name}' if inner is not type_ else ''}{self._choice()} {{__typename}}"
        inner = self._narrowed(type_) if dice < 0.3 else type_
        if inner is not type_ or dice < 0.22:
            body = self.selection(inner, depth)
            if self.random.random() < 0.5:
                return f"... on {inner.name}{self._choice()} {body}"
            name = f"F{len(self.fragments)}"
            self.fragments[name] = (inner.name, body)
            spread = f"...{name}{self._choice()}"
            return f"{spread} {spread}" if self.random.random() < 0.2 else spread
        assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        return self._field(type_, depth)

    def _narrowed(self, type_: GraphQLNamedType) -> GraphQLNamedType:
        if is_abstract_type(type_):
            possible: list[GraphQLNamedType] = [*self.schema.get_possible_types(type_)]
            return self.random.choice(possible)
        if isinstance(type_, GraphQLObjectType) and type_.interfaces:
            interfaces: list[GraphQLNamedType] = [*type_.interfaces]
            return self.random.choice(interfaces)
        return type_

    def _field(self, type_: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        leaves = [name for name, one in type_.fields.items() if is_leaf_type(get_named_type(one.type))]
        others = [name for name in type_.fields if name not in leaves]
        deep = others and depth < 9 and self.fields_left > 0 and (not leaves or self.random.random() < 0.55)
        if not deep and not leaves:
            return "__typename"
        name = self.random.choice(self.roots if self.roots and depth == 0 else others if deep else leaves)
        self.fields_left -= 1
        definition = type_.fields[name]
        arguments = self._arguments(f"{type_.name}.{name}", definition)
        # One key must not stand for two different fields: what takes arguments has a key of its own.
        alias = self._alias("a") if arguments or self.random.random() < 0.15 else ""
        below = self.selection(get_named_type(definition.type), depth + 1) if deep else ""
        return f"{alias}{name}{arguments}{self._choice()}{below}"

    def _alias(self, letter: str) -> str:
        self.aliases += 1
        return f"{letter}{self.aliases}: "

    def _choice(self) -> str:
        if self.random.random() > 0.08:
            return ""
        value = self.random.choice(["true", "false", None])
        if value is None:
            name = f"b{len(self.variables)}"
            self.definitions.append(f"${name}: Boolean!")
            self.variables[name] = self.random.random() < 0.5
            value = f"${name}"
        return f" @{self.random.choice(['skip', 'include'])}(if: {value})"

    def _arguments(self, place: str, definition: GraphQLField) -> str:
        written = []
        for name, argument in definition.args.items():
            if is_required_argument(argument) or self.random.random() < 0.25:
                written.append(f"{name}: {self._argument(f'{place}.{name}', argument)}")
        return f"({', '.join(written)})" if written else ""

    def _argument(self, place: str, argument: GraphQLArgument) -> str:
        value = self._value(place, argument.type)
        if self.random.random() < 0.4:
            name = f"v{len(self.variables)}x{len(self.definitions)}"
            if self.random.random() < 0.2 and value is not None:
                self.definitions.append(f"${name}: {argument.type} = {self._literal(value, argument.type)}")
            else:
                self.definitions.append(f"${name}: {argument.type}")
                self.variables[name] = value
            return f"${name}"
        return self._literal(value, argument.type)

    def _value(self, place: str, type_: GraphQLInputType) -> Any:
        """Return a JSON value of an input type."""
        if place in self.values:
            return self._chosen(place)
        if not isinstance(type_, GraphQLNonNull):
            return None if self.random.random() < 0.1 else self._present(place, type_)
        return self._present(place, type_.of_type)

    def _present(self, place: str, type_: GraphQLInputType) -> Any:
        match type_:
            case GraphQLList():
                values = [self._value(f"{place}[]", type_.of_type) for _ in range(self.random.randint(0, 3))]
                return [value for value in values if value is not None]
            case GraphQLEnumType():
                return self.random.choice([*type_.values])
            case GraphQLInputObjectType():
                return self._input(type_)
            case _:
                return self._chosen(get_named_type(type_).name)

    def _input(self, type_: GraphQLInputObjectType) -> dict[str, Any]:
        if type_.extensions["strawberry-definition"].is_one_of:
            name = self.random.choice([*type_.fields])
            value = None
            while value is None:
                value = self._value(f"{type_.name}.{name}", type_.fields[name].type)
            return {name: value}
        found = {}
        for name, one in type_.fields.items():
            if is_required_input_field(one) or self.random.random() < 0.3:
                found[name] = self._value(f"{type_.name}.{name}", one.type)
        return found

    def _chosen(self, name: str) -> Any:
        return self.random.choice(self.values[name])

    def _literal(self, value: Any, type_: GraphQLInputType) -> str:
        """Write a JSON value as GraphQL."""
        if isinstance(type_, GraphQLNonNull):
            return self._literal(value, type_.of_type)
        if value is None:
            return "null"
        if isinstance(type_, GraphQLList):
            return f"[{', '.join(self._literal(one, type_.of_type) for one in value)}]"
        if isinstance(type_, GraphQLEnumType):
            return str(value)
        if isinstance(type_, GraphQLInputObjectType):
            parts = (f"{name}: {self._literal(one, type_.fields[name].type)}" for name, one in value.items())
            return f"{{{', '.join(parts)}}}"
        return json.dumps(value)


def random_document(schema: GraphQLSchema, values: Values, seed: int) -> RandomDocument:
    """Return the document of a seed. It is valid but for rules that look at several fields at once."""
    return Dice(schema, values, Random(seed)).document()  # noqa: S311 - dice, not a secret
