"""Variables are read as graphql-core reads them, with the same errors, and what is in order only once."""

from collections import Counter
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    OperationDefinitionNode,
    VariableValues,
    get_variable_values,
    is_required_input_field,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st
from strawberry.exceptions import StrawberryInputCoercionError
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_argument

from creditdesk.graphql import variables
from creditdesk.graphql.schema import core_schema, schema
from creditdesk.graphql.variables import MOST_ERRORS, read_variables, variables_of

SCHEMA = core_schema()
INPUTS = sorted(name for name, type_ in SCHEMA.type_map.items() if isinstance(type_, GraphQLInputObjectType))
EVENT = {"source": "a", "id": "1", "at": "2026-06-01T12:00:00Z", "user": {"email": "a"}, "product": "c", "model": "l"}
NAMED: dict[str, Any] = {
    name: SCHEMA.type_map[name].extensions[GraphQLCoreConverter.DEFINITION_BACKREF] for name in INPUTS
}
LEAVES = ("2026-06-01T12:00:00Z", "2026-06-01", "a", "1.5", "7", 3, False, None)
NOISE: tuple[Any, ...] = (None, 1, -1, "", "x", True, 1.5, [], [None], [[1]], {}, {"zz": 1}, "2026-06-01", 10**30)


def operation_of(declared: str) -> OperationDefinitionNode:
    [operation] = parse(f"query({declared}) {{ __typename }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    return operation


def any_value(type_: GraphQLInputType) -> st.SearchStrategy[Any]:
    """Return values for a type, with something else in any place of them now and then."""
    return st.integers(0, 11).flatmap(lambda dice: st.sampled_from(NOISE) if dice == 0 else _fitting(type_))


def _fitting(type_: GraphQLInputType) -> st.SearchStrategy[Any]:
    match type_:
        case GraphQLNonNull():
            return _fitting(type_.of_type)
        case GraphQLList():
            return st.lists(any_value(type_.of_type), max_size=3)
        case GraphQLEnumType():
            return st.sampled_from([*type_.values, "NOTHING"])
        case GraphQLInputObjectType():
            most = 1 if type_.is_one_of else None
            chosen = st.lists(st.sampled_from(sorted(type_.fields)), unique=True, min_size=1, max_size=most)
            needed = [name for name, field in type_.fields.items() if isinstance(field.type, GraphQLNonNull)]
            names = chosen if most else chosen.map(lambda some: sorted({*some, *needed}))
            return names.flatmap(
                lambda some: st.fixed_dictionaries({name: any_value(type_.fields[name].type) for name in some})
            )
        case GraphQLScalarType():
            return st.sampled_from(["2026-06-01T12:00:00Z", "a", "1.5", 3, False, {"a": "b"}])
    raise AssertionError(type_)


@st.composite
def any_question(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Return the declarations of some variables, and values for most of them."""
    declared, values = [], {}
    for number in range(draw(st.integers(1, 3))):
        named = draw(st.sampled_from([*INPUTS, "Int", "ID", "Credits"]))
        written = draw(st.sampled_from(["{}", "{}!", "[{}]", "[{}!]!"])).format(named)
        default = " = 7" if written == "Int" else ""
        declared.append(f"$v{number}: {written}{default}")
        if draw(st.integers(0, 5)):
            [variable] = variables_of(SCHEMA, operation_of(declared[-1]))
            values[f"v{number}"] = draw(any_value(variable.signature.type))
    return ", ".join(declared), values


def both(declared: str, values: dict[str, Any]) -> tuple[Any, Any]:
    """Return what we make of variables, and what graphql-core does."""
    operation = operation_of(declared)
    theirs = get_variable_values(
        SCHEMA, operation.variable_definitions or (), values, max_errors=MOST_ERRORS, hide_suggestions=True
    )
    return read_variables(variables_of(SCHEMA, operation), values), theirs


def told(errors: list[Any]) -> list[tuple[str, str]]:
    """Return the errors, but for those that only Strawberry finds: of several fields of which one is to be given."""
    return [(error.message, str(error.original_error)) for error in errors if not is_strawberrys(error)]


def is_strawberrys(error: GraphQLError) -> bool:
    return isinstance(error.original_error or error, StrawberryInputCoercionError)


@given(any_question())
def test_variables_are_read_as_the_library_reads_them(question: tuple[str, dict[str, Any]]) -> None:
    ours, theirs = both(*question)
    if isinstance(theirs, VariableValues):
        assert isinstance(ours, VariableValues)
        assert ours.coerced == theirs.coerced
        assert list(ours.coerced) == list(theirs.coerced)
        assert ours.sources.keys() == theirs.sources.keys()
        assert [one.value for one in ours.sources.values()] == [one.value for one in theirs.sources.values()]
    elif len(ours) > MOST_ERRORS:
        # Those of Strawberry are some of them, so there is room for fewer of the library's.
        assert told(ours[:-1]) == told(theirs)[: len(told(ours[:-1]))]
    elif any(map(is_strawberrys, theirs)):
        # That ends the library's reading. We go on, and say where it was.
        assert told(ours)[: len(told(theirs))] == told(theirs)
        assert any(map(is_strawberrys, ours))
    else:
        assert told(ours) == told(theirs)


def test_it_is_said_where_one_field_of_several_was_to_be_given() -> None:
    both_ways = {"user": {"id": "a", "email": "b"}}
    ours, _ = both("$input: RecordUsageInput!", {"input": {"events": [EVENT, EVENT | both_ways]}})
    [error] = ours
    assert error.message == (
        "Variable '$input' has invalid value at .events[1].user: OneOf Input Object 'UserBy' must specify exactly one"
        " key."
    )


@pytest.mark.parametrize("wrong", [1, MOST_ERRORS, MOST_ERRORS + 1, 400])
def test_so_many_errors_are_told_and_no_more(wrong: int) -> None:
    ours, theirs = both(
        "$input: RecordUsageInput!", {"input": {"events": [EVENT] * 10 + [EVENT | {"id": 1.5}] * wrong}}
    )
    assert len(ours) == min(wrong, MOST_ERRORS + 1)
    assert told(ours) == told(theirs)


@pytest.mark.parametrize("last", [EVENT | {"credits": "x"}, EVENT | {"nothing": 1}, {}, None, EVENT | {"user": {}}])
def test_what_is_in_order_is_read_once_whatever_is_wrong_with_the_rest(
    last: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Counter[str]()
    scalar = SCHEMA.type_map["String"]
    assert isinstance(scalar, GraphQLScalarType)
    reading = scalar.coerce_input_value

    def counted(value: Any) -> Any:
        read[value] += 1
        return reading(value)

    batch = [EVENT | {"source": f"s{number}"} for number in range(30)]
    monkeypatch.setattr(scalar, "coerce_input_value", counted)
    variables._reader_of_named.cache_clear()  # noqa: SLF001 - it has the scalar's own function
    ours = read_variables(
        variables_of(SCHEMA, operation_of("$input: RecordUsageInput!")), {"input": {"events": [*batch, last]}}
    )
    variables._reader_of_named.cache_clear()  # noqa: SLF001
    assert isinstance(ours, list)
    assert {read[f"s{number}"] for number in range(30)} == {1}


def any_valid(type_: Any) -> st.SearchStrategy[Any]:
    """Return values that fit a type."""
    match type_:
        case GraphQLNonNull():
            return any_valid(type_.of_type).filter(lambda value: value is not None)
        case GraphQLList():
            return st.none() | st.lists(any_valid(type_.of_type), max_size=3)
        case GraphQLInputObjectType():
            if NAMED[type_.name].is_one_of:
                fields = [st.fixed_dictionaries({name: _given(field)}) for name, field in type_.fields.items()]
                return st.one_of(fields)
            needed = {
                name: any_valid(field.type) for name, field in type_.fields.items() if is_required_input_field(field)
            }
            others = {
                name: any_valid(field.type)
                for name, field in type_.fields.items()
                if not is_required_input_field(field)
            }
            return st.fixed_dictionaries(needed, optional=others)
        case GraphQLEnumType():
            return st.sampled_from(sorted(type_.values))
        case GraphQLScalarType():
            return st.sampled_from([one for one in LEAVES if _fits(type_, one)])
    raise AssertionError(type_)


def _given(field: GraphQLInputField) -> st.SearchStrategy[Any]:
    return any_valid(field.type).filter(lambda value: value is not None)


def _fits(type_: GraphQLScalarType, value: object) -> bool:
    try:
        type_.coerce_input_value(value)
    except Exception:  # noqa: BLE001 - whatever it says, it is no value of that type
        return False
    return True


@given(st.sampled_from(INPUTS).flatmap(lambda name: st.tuples(st.just(name), any_valid(SCHEMA.type_map[name]))))
def test_inputs_are_made_as_strawberry_makes_them(named: tuple[str, Any]) -> None:
    name, value = named
    read = read_variables(variables_of(SCHEMA, operation_of(f"$v: {name}!")), {"v": value})
    assert isinstance(read, VariableValues), read
    of, ours = NAMED[name].origin, {one: definition.from_input for one, definition in NAMED.items()}

    def made() -> object:
        return convert_argument(read.coerced["v"], of, schema.schema_converter.scalar_registry, schema.config)

    found = made()
    for definition in NAMED.values():
        definition.from_input = None
    try:
        assert found == made()
    finally:
        for one, definition in NAMED.items():
            definition.from_input = ours[one]
    assert type(found) is of
    assert all(ours.values())
