"""Variables, read once: what is in order is not looked at again to say what is wrong with something else.

The library reads all of a variable, and where anything is wrong goes through all of it a second time: a batch of a
thousand events with one bad word in it takes twice as long to refuse as to accept. Errors are the library's own, and
so are their places; only what is wrong is given to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, cast

from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLNamedInputType,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    VariableDefinitionNode,
    VariableValues,
    get_variable_values,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
    validate_input_value,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValueSource
from graphql.pyutils import print_path_list
from graphql.utilities.coerce_input_value import coerce_default_value

MOST_ERRORS = 50
"""How many errors are told: as many as the library tells."""

Place: TypeAlias = "tuple[Place, str | int] | None"
"""Where in a variable a value is: the place around it, and the name or the number there."""

Report: TypeAlias = Callable[[Any, GraphQLInputType, Place, GraphQLError | None], Any]
"""Finds what is wrong with a value, where that is not said, and returns Undefined."""
Read: TypeAlias = Callable[[Any, Place, Report], Any]
"""Returns a value as resolvers get it; something with Undefined in it where anything was reported."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that an operation declares."""

    name: str
    node: VariableDefinitionNode
    signature: GraphQLVariableSignature
    read: Read
    left_out: VariableValues | list[GraphQLError]
    """What it is where it is not given."""


class _TooManyErrors(Exception):  # noqa: N818 - it is one error too many
    pass


def variables_of(schema: GraphQLSchema, operation: OperationDefinitionNode) -> tuple[Variable, ...]:
    """Return the variables that an operation of a valid document declares."""
    found = []
    for node in operation.variable_definitions or ():
        signature = get_variable_signature(schema, node)
        if isinstance(signature, GraphQLError):
            raise signature
        left_out = get_variable_values(schema, [node], {}, hide_suggestions=True)
        found.append(Variable(signature.name, node, signature, _reader(signature.type), left_out))
    return tuple(found)


def read_variables(variables: tuple[Variable, ...], given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
    """Return the variables' values, or what is wrong with them."""
    sources: dict[str, VariableValueSource] = {}
    coerced: dict[str, Any] = {}
    errors: list[GraphQLError] = []
    try:
        for variable in variables:
            if variable.name in given:
                value = given[variable.name]
                sources[variable.name] = VariableValueSource(variable.signature, value)
                coerced[variable.name] = variable.read(value, None, _report(variable, errors))
            elif isinstance(variable.left_out, list):
                for error in variable.left_out:
                    _note(error, errors)
            else:
                sources |= variable.left_out.sources
                coerced |= variable.left_out.coerced
    except _TooManyErrors:
        errors.append(GraphQLError("Too many errors processing variables, error limit reached. Execution aborted."))
    return errors or VariableValues(sources, coerced)


def _note(error: GraphQLError, errors: list[GraphQLError]) -> None:
    if len(errors) >= MOST_ERRORS:
        raise _TooManyErrors
    errors.append(error)


def _report(variable: Variable, errors: list[GraphQLError]) -> Report:
    def report(value: Any, type_: GraphQLInputType, place: Place, wrong: GraphQLError | None = None) -> Any:
        def told(error: GraphQLError, path: list[str | int]) -> None:
            where = print_path_list([*_path(place), *path])
            message = f"Variable '${variable.name}' has invalid value{where}: {error.message}"
            _note(GraphQLError(message, variable.node, original_error=error), errors)

        before = len(errors)
        if wrong is None:
            validate_input_value(value, type_, told, hide_suggestions=True)
        if len(errors) == before:
            told(wrong or GraphQLError(f"Expected value of type '{type_}'."), [])
        return Undefined

    return report


def _path(place: Place) -> list[str | int]:
    path: list[str | int] = []
    while place is not None:
        place, key = place
        path.append(key)
    return path[::-1]


def _reader(type_: GraphQLInputType) -> Read:
    if is_non_null_type(type_):
        return _reader_of_required(type_, _reader(type_.of_type))
    if is_list_type(type_):
        return _reader_of_list(_reader(type_.of_type))
    # Types with a name are the schema's; lists of them and the like are made anew for each document.
    return _reader_of_named(cast("GraphQLNamedInputType", type_))


@cache
def _reader_of_named(type_: GraphQLNamedInputType) -> Read:
    return _reader_of_object(type_) if is_input_object_type(type_) else _reader_of_leaf(type_)


def _reader_of_required(type_: GraphQLInputType, inner: Read) -> Read:
    def read(value: Any, place: Place, report: Report) -> Any:
        if value is None:
            return report(value, type_, place, None)
        return inner(value, place, report)

    return read


def _reader_of_list(inner: Read) -> Read:
    def read(value: Any, place: Place, report: Report) -> Any:
        if isinstance(value, list):
            return [inner(item, (place, number), report) for number, item in enumerate(value)]
        return None if value is None else [inner(value, place, report)]

    return read


def _reader_of_leaf(type_: Any) -> Read:
    coerce = type_.coerce_input_value

    def read(value: Any, place: Place, report: Report) -> Any:
        if value is None:
            return None
        try:
            found = coerce(value)
        except Exception:  # noqa: BLE001 - the library meets it as well, and tells it
            found = Undefined
        return report(value, type_, place, None) if found is Undefined else found

    return read


def _reader_of_object(type_: GraphQLInputObjectType) -> Read:
    fields = type_.fields
    required = {name for name, field in fields.items() if is_required_input_field(field)}

    @cache
    def readers() -> list[tuple[str, str, Read, Any]]:
        # Not before they are needed: types may hold one another.
        return [
            (name, field.out_name or name, _reader(field.type), coerce_default_value(field))
            for name, field in fields.items()
        ]

    def read(value: Any, place: Place, report: Report) -> Any:
        if value is None:
            return None
        if not (isinstance(value, dict) and fields.keys() >= value.keys() >= required):
            return report(value, type_, place, None)
        found = {}
        for name, out_name, inner, default in readers():
            if name in value:
                found[out_name] = inner(value[name], (place, name), report)
            elif default is not Undefined:
                found[out_name] = default
        try:
            return type_.out_type(found)
        except GraphQLError as error:
            # Strawberry looks at inputs of which one field is to be given only here, and knows no places.
            return report(value, type_, place, error)

    return read
