"""Callers who are known from before: for what their token permits, and where they were looked up last."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from creditdesk.auth.authenticate import Found
from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.known_callers import KnownCaller
from creditdesk.auth.policy import allows
from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.auth.roles import Permission, Role
from creditdesk.credits.directory import SignIn, Workspace

ACME = Workspace(UUID(int=1), "acme", "Acme", "UTC", datetime(2026, 1, 1, tzinfo=UTC))
GATEWAY = Principal(
    kind=PrincipalKind.SERVICE,
    issuer="https://login.example",
    subject="gateway",
    roles=frozenset({Role.SERVICE}),
    permissions=frozenset({Permission.USAGE_WRITE}),
    workspace=ACME,
    user_id=None,
    managed_groups=frozenset(),
)


def at(principal: Principal, as_of: int) -> Found:
    signed_in = SignIn(principal.workspace, None, True, None, frozenset(), as_of=as_of)  # noqa: FBT003 - who is active
    return Found(principal, as_of, signed_in)


def known(*found: Found) -> KnownCaller:
    """Return a caller who was found so first, and is found so each time they are looked up after that."""
    first, *later = found
    answers = iter(later)

    async def look_up() -> Found:
        return next(answers)

    return KnownCaller(first, look_up)


def test_a_known_caller_may_what_the_token_permits() -> None:
    caller = known(at(GATEWAY, 1))
    assert [allows(caller, one) for one in (Permission.USAGE_WRITE, Permission.USAGE_READ)] == [True, False]


def test_who_is_confirmed_is_known_as_of_then() -> None:
    caller = known(at(GATEWAY, 1), at(GATEWAY, 5))
    assert (caller.workspace_id, caller.as_of) == (ACME.id, 1)
    asyncio.run(caller.confirm())
    assert (caller.workspace_id, caller.as_of) == (ACME.id, 5)


def test_what_was_asked_in_one_workspace_is_not_asked_in_the_one_that_has_its_name_by_now() -> None:
    elsewhere = at(replace(GATEWAY, workspace=replace(ACME, id=UUID(int=2))), 1)
    caller = known(at(GATEWAY, 1), elsewhere, elsewhere)
    with pytest.raises(Unauthenticated):
        asyncio.run(caller.confirm())
    asyncio.run(caller.confirm())
    assert caller.workspace_id == UUID(int=2)
