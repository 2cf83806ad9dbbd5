"""What clients of the last release rely on is still there: docs/schema-changes.md says what may change."""

import re
from pathlib import Path

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLInputField,
    GraphQLNamedType,
    GraphQLSchema,
    build_schema,
    is_enum_type,
    is_input_object_type,
    is_interface_type,
    is_object_type,
)
from graphql.utilities import BreakingChange, BreakingChangeType, find_breaking_changes

from creditdesk.graphql.schema import schema_text
from support.repository import ROOT

REMOVALS = {
    BreakingChangeType.ARG_REMOVED,
    BreakingChangeType.FIELD_REMOVED,
    BreakingChangeType.VALUE_REMOVED_FROM_ENUM,
}
REQUIRES = re.compile(r"^  (\w+)(?:\(.*?^  \))?: \S+ @requires\(permission: (\w+)\)", re.MULTILINE | re.DOTALL)
MARKED = GraphQLArgument | GraphQLEnumValue | GraphQLField | GraphQLInputField


def version_of(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.stem.split("."))


RELEASES = sorted((ROOT / "docs" / "releases").glob("*.graphql"), key=version_of)


def members(schema: GraphQLSchema) -> dict[str, MARKED]:
    """Return fields, arguments and values under the names that changes are described with."""
    found: dict[str, MARKED] = {}
    for type_ in schema.type_map.values():
        for name, one in _of_type(type_).items():
            found[f"{type_.name}.{name}"] = one
            if isinstance(one, GraphQLField):
                found |= {f"{type_.name}.{name}({argument}:)": two for argument, two in one.args.items()}
    return found


def _of_type(type_: GraphQLNamedType) -> dict[str, GraphQLField | GraphQLInputField | GraphQLEnumValue]:
    if is_object_type(type_) or is_interface_type(type_) or is_input_object_type(type_):
        return dict(type_.fields)
    return dict(type_.values) if is_enum_type(type_) else {}


def unannounced(released: str, now: str) -> list[BreakingChange]:
    """Return what breaks clients of a release without having been deprecated in it."""
    old, new = build_schema(released), build_schema(now)
    marked = {name for name, one in members(old).items() if one.deprecation_reason is not None}
    gone = marked - set(members(new))

    def is_announced(change: BreakingChange) -> bool:
        return change.type in REMOVALS and any(
            re.search(rf"(?<![\w.]){re.escape(name)}", change.description) for name in gone
        )

    return [change for change in find_breaking_changes(old, new) if not is_announced(change)]


def test_nothing_breaks_the_clients_of_the_last_release() -> None:
    released = RELEASES[-1].read_text(encoding="utf-8")
    assert [change.description for change in unannounced(released, schema_text())] == []


def test_no_way_in_asks_for_another_permission_than_in_the_last_release() -> None:
    released = dict(REQUIRES.findall(RELEASES[-1].read_text(encoding="utf-8")))
    now = dict(REQUIRES.findall(schema_text()))
    assert len(released) > 20
    assert {name: now.get(name) for name in released} == released


OLD = """
type Query { viewer: Viewer! old: Int @deprecated(reason: "Ask `viewer`.") }
type Viewer { subject: String! kind(short: Boolean = false): Kind! }
enum Kind { PERSON SERVICE ROBOT @deprecated(reason: "It is a SERVICE.") }
input Ask { amount: Int! note: String }
"""


@pytest.mark.parametrize(
    ("written", "instead", "found"),
    [
        ("subject: String!", "", ["Field Viewer.subject was removed."]),
        ("subject: String!", "subject: String", ["Field Viewer.subject changed type from String! to String."]),
        ("PERSON ", "", ["Enum value Kind.PERSON was removed."]),
        ("(short: Boolean = false)", "", ["Argument Viewer.kind(short:) was removed."]),
        ("note: String", "note: String!", ["Field Ask.note changed type from String to String!."]),
        ("note: String", "note: String why: String!", ["A required field Ask.why was added."]),
        ('old: Int @deprecated(reason: "Ask `viewer`.")', "", []),
        ('ROBOT @deprecated(reason: "It is a SERVICE.")', "", []),
        ("note: String", "note: String why: String", []),
        ("subject: String!", "subject: String! email: String", []),
    ],
)
def test_what_breaks_clients_is_found_unless_it_was_announced(written: str, instead: str, found: list[str]) -> None:
    assert OLD.count(written) == 1
    assert [change.description for change in unannounced(OLD, OLD.replace(written, instead))] == found
