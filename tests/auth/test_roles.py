"""The matrix of product.md, row by row."""

import pytest

from creditdesk.auth.roles import GRANTED_BY_ROLE, GRANTED_BY_SCOPE, Permission, Role, permissions_of

PEOPLE = [Role.OWNER, Role.ADMIN, Role.BILLING, Role.ANALYST, Role.GROUP_MANAGER, Role.MEMBER]

# permission: OWNER, ADMIN, BILLING, ANALYST, GROUP_MANAGER, MEMBER
MATRIX = {
    Permission.WORKSPACE_READ: "yes yes yes yes yes yes",
    Permission.USAGE_READ: "yes yes yes yes yes -",
    Permission.OWN_READ: "yes yes yes yes yes yes",
    Permission.USAGE_WRITE: "- - - - - -",
    Permission.CREDITS_REQUEST: "yes yes yes yes yes yes",
    Permission.REQUESTS_DECIDE: "yes yes - - yes -",
    Permission.LIMITS_WRITE: "yes yes - - yes -",
    Permission.PEOPLE_WRITE: "yes yes - - - -",
    Permission.COSTS_READ: "yes - yes - - -",
    Permission.RATES_WRITE: "yes - yes - - -",
    Permission.SETTINGS_WRITE: "yes - - - - -",
    Permission.AUDIT_READ: "yes yes - - - -",
}


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("role", PEOPLE)
def test_a_person_may_do_what_the_matrix_says(role: Role, permission: Permission) -> None:
    says_yes = MATRIX[permission].split()[PEOPLE.index(role)] == "yes"
    assert (permission in permissions_of({role}, ())) is says_yes


@pytest.mark.parametrize(
    ("scopes", "permissions"),
    [
        ({"usage:read"}, {Permission.WORKSPACE_READ, Permission.USAGE_READ}),
        ({"usage:write"}, {Permission.WORKSPACE_READ, Permission.USAGE_WRITE}),
        (
            {"usage:read", "usage:write", "openid"},
            {Permission.WORKSPACE_READ, Permission.USAGE_READ, Permission.USAGE_WRITE},
        ),
        ({"limits:write"}, {Permission.WORKSPACE_READ, Permission.LIMITS_WRITE}),
        ({"members:write"}, {Permission.WORKSPACE_READ, Permission.PEOPLE_WRITE}),
        ({"costs:read"}, {Permission.WORKSPACE_READ, Permission.COSTS_READ}),
        ({"audit:read"}, {Permission.WORKSPACE_READ, Permission.AUDIT_READ}),
        ({"openid", "usage:*", "USAGE:READ", "usage"}, set()),
        (set(), set()),
    ],
)
def test_a_service_may_do_what_its_scopes_say(scopes: set[str], permissions: set[Permission]) -> None:
    assert permissions_of({Role.SERVICE}, scopes) == permissions


def test_scopes_give_a_person_nothing() -> None:
    for role in PEOPLE:
        assert permissions_of({role}, GRANTED_BY_SCOPE) == permissions_of({role}, ())


def test_a_service_gets_nothing_from_a_persons_role() -> None:
    assert permissions_of({Role.SERVICE, Role.OWNER}, ()) == frozenset()


def test_without_a_role_nothing_is_permitted() -> None:
    assert permissions_of((), GRANTED_BY_SCOPE) == frozenset()


def test_roles_add_up() -> None:
    both = permissions_of({Role.MEMBER, Role.ANALYST}, ())
    assert both == permissions_of({Role.MEMBER}, ()) | permissions_of({Role.ANALYST}, ())


def test_every_role_and_every_permission_is_decided() -> None:
    assert set(GRANTED_BY_ROLE) == set(Role)
    assert set(MATRIX) == set(Permission)


def test_a_permission_describes_itself_in_a_sentence() -> None:
    for permission in Permission:
        assert permission.value.endswith(".")
