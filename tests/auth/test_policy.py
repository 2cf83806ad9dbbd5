from datetime import UTC, datetime
from uuid import UUID

import pytest

from creditdesk.auth.authenticate import principal_from
from creditdesk.auth.claims import Claims
from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.policy import allows, permitted_scopes
from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.auth.roles import Permission, Role
from creditdesk.credits.directory import SignIn, Workspace
from creditdesk.credits.permitted import PermittedScopes

ACME = Workspace(UUID(int=1), "acme", "Acme", "UTC", datetime(2026, 1, 1, tzinfo=UTC))
USER, GROUP = UUID(int=2), UUID(int=3)


def principal(*roles: Role, scopes: tuple[str, ...] = (), active: bool = True) -> Principal:
    claims = Claims("ana", "acme", frozenset(roles), frozenset(scopes), frozenset({"ml"}))
    return principal_from(
        claims, "https://login.example", SignIn(ACME, USER, active, None, frozenset({GROUP}), as_of=1), issued_at=None
    )


def sees(
    *, everyone: bool = False, user_id: UUID | None = None, managed: frozenset[UUID] = frozenset()
) -> PermittedScopes:
    return PermittedScopes(workspace_id=ACME.id, everyone=everyone, user_id=user_id, managed_groups=managed)


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.BILLING, Role.ANALYST])
def test_who_reads_everyones_spend_sees_everyone(role: Role) -> None:
    assert permitted_scopes(principal(role)) == sees(everyone=True, user_id=USER)


def test_a_member_sees_themselves_only() -> None:
    assert permitted_scopes(principal(Role.MEMBER)) == sees(user_id=USER)


def test_a_group_manager_sees_themselves_and_the_groups_they_manage() -> None:
    assert permitted_scopes(principal(Role.GROUP_MANAGER)) == sees(user_id=USER, managed=frozenset({GROUP}))


def test_a_group_manager_who_is_also_an_analyst_sees_everyone() -> None:
    permitted = permitted_scopes(principal(Role.GROUP_MANAGER, Role.ANALYST))
    assert permitted == sees(everyone=True, user_id=USER, managed=frozenset({GROUP}))


def test_a_group_manager_who_is_also_a_member_sees_no_more() -> None:
    assert permitted_scopes(principal(Role.GROUP_MANAGER, Role.MEMBER)) == sees(
        user_id=USER, managed=frozenset({GROUP})
    )


def test_managed_groups_without_the_role_count_for_nothing() -> None:
    member = principal(Role.MEMBER)
    claiming = Principal(
        member.kind,
        member.issuer,
        member.subject,
        member.roles,
        member.permissions,
        member.workspace,
        member.user_id,
        frozenset({GROUP}),
    )
    assert permitted_scopes(claiming) == sees(user_id=USER)


def test_a_service_that_may_read_sees_everyone_and_is_nobody_itself() -> None:
    assert permitted_scopes(principal(Role.SERVICE, scopes=("usage:read",))) == sees(everyone=True)


@pytest.mark.parametrize("scopes", [("usage:write",), (), ("openid",)])
def test_a_service_that_may_not_read_sees_nothing(scopes: tuple[str, ...]) -> None:
    assert permitted_scopes(principal(Role.SERVICE, scopes=scopes)) == sees()


def test_without_a_mapped_role_nothing_is_seen_and_nothing_allowed() -> None:
    nobody = principal(scopes=("usage:read", "usage:write"))
    assert permitted_scopes(nobody) == sees()
    assert not any(allows(nobody, permission) for permission in Permission)


def test_a_permission_is_held_or_it_is_not() -> None:
    assert allows(principal(Role.MEMBER), Permission.OWN_READ)
    assert not allows(principal(Role.MEMBER), Permission.USAGE_READ)
    assert not allows(principal(Role.OWNER, scopes=("usage:write",)), Permission.USAGE_WRITE)
    assert allows(principal(Role.SERVICE, scopes=("usage:write",)), Permission.USAGE_WRITE)


def test_a_principal_is_a_person_or_a_service() -> None:
    assert principal(Role.MEMBER).kind is PrincipalKind.PERSON
    assert principal(Role.SERVICE).kind is PrincipalKind.SERVICE
    assert principal(Role.SERVICE).managed_groups == frozenset()


def test_a_deactivated_user_is_told_what_any_bad_token_is_told() -> None:
    with pytest.raises(Unauthenticated) as caught:
        principal(Role.OWNER, active=False)
    assert caught.value.message == Unauthenticated("any").message
