"""The manifest of access is whole: every field, every operation, every role and every scope is in it."""

from graphql import GraphQLObjectType, ObjectTypeDefinitionNode, parse, print_ast

from creditdesk.auth.roles import GRANTED_BY_SCOPE, Role
from creditdesk.graphql.schema import schema, schema_text
from support.access_page import PAGE, access_page
from support.documents import composite_types, core_schema, every_field
from support.manifest import manifest
from support.rows import SEATS

GRAPH = core_schema(schema)
ROOTS = {root.name for root in (GRAPH.query_type, GRAPH.mutation_type, GRAPH.subscription_type) if root}
EDIT = "is not in docs/access.toml: say there who sees it, and of whose rows, then run `make access`"


def required_permissions(roots: set[str]) -> dict[str, str]:
    """Return the permission that each field of these types requires, as the schema's text says."""
    return {
        field.name.value: print_ast(argument.value)
        for definition in parse(schema_text()).definitions
        if isinstance(definition, ObjectTypeDefinitionNode) and definition.name.value in roots
        for field in definition.fields or ()
        for directive in field.directives or ()
        if directive.name.value == "requires"
        for argument in directive.arguments or ()
    }


def test_the_manifest_has_every_field_of_every_type() -> None:
    types = {name for name, type_ in composite_types(schema).items() if isinstance(type_, GraphQLObjectType)}
    there = {f"{type_name}.{field}" for type_name, field, _ in every_field(schema) if type_name in types - ROOTS}
    listed = set(manifest().fields) | manifest().answer_fields
    assert not there - listed, "\n".join(f"{name} {EDIT}" for name in sorted(there - listed))
    assert not listed - there, f"docs/access.toml lists what the schema has not: {sorted(listed - there)}"
    assert not set(manifest().fields) & manifest().answer_fields


def test_the_manifest_has_every_operation_with_the_permission_that_it_requires() -> None:
    required = required_permissions(ROOTS - {"Subscription"})
    listed = {operation.name: operation.needs for operation in manifest().operations}
    missing = sorted(required.keys() - listed.keys())
    assert not missing, "\n".join(
        f"{name} is not in docs/access.toml: say there who may use it, and on whose rows; and in"
        " tests/support/operations.py how it is called" for name in missing
    )  # fmt: skip
    assert listed == required


def test_the_manifest_has_every_subscription_and_none_requires_more_than_to_be_somebody() -> None:
    required = required_permissions({"Subscription"})
    assert set(manifest().subscriptions) == set(required)
    assert set(required.values()) == {"WORKSPACE_READ"}


def test_the_manifest_has_every_role_and_every_scope() -> None:
    roles = {role.name for role in Role if role is not Role.SERVICE}
    assert set(manifest().callers) == roles | set(GRANTED_BY_SCOPE) | {"no user", "no role"}
    assert set(SEATS) == set(manifest().callers)


def test_the_document_of_access_is_what_the_manifest_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == access_page(), "run `make access`"
