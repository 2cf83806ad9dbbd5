"""Roles, what each permits, and what a service's scopes permit: the matrix of product.md on one screen."""

from collections.abc import Collection, Mapping
from enum import Enum
from types import MappingProxyType


class Role(Enum):
    """A role held in a workspace, as the identity provider's token says."""

    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    ANALYST = "analyst"
    GROUP_MANAGER = "group_manager"
    MEMBER = "member"
    SERVICE = "service"


class Permission(Enum):
    """What a caller may do; the value is the sentence that the schema says of it."""

    WORKSPACE_READ = "See that the workspace exists, and one's own place in it."
    OWN_READ = "See one's own spend, budget and requests."
    USAGE_READ = "See the spend of everyone in the workspace; as a group manager, of the groups one manages."
    USAGE_WRITE = "Record usage, and place, settle and release holds."


_PERSON = frozenset({Permission.WORKSPACE_READ, Permission.OWN_READ})

GRANTED_BY_ROLE: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.OWNER: _PERSON | {Permission.USAGE_READ},
        Role.ADMIN: _PERSON | {Permission.USAGE_READ},
        Role.BILLING: _PERSON | {Permission.USAGE_READ},
        Role.ANALYST: _PERSON | {Permission.USAGE_READ},
        Role.GROUP_MANAGER: _PERSON | {Permission.USAGE_READ},  # policy narrows it to the groups they manage
        Role.MEMBER: _PERSON,
        Role.SERVICE: frozenset(),  # by scope
    }
)

GRANTED_BY_SCOPE: Mapping[str, Permission] = MappingProxyType(
    {
        "usage:read": Permission.USAGE_READ,
        "usage:write": Permission.USAGE_WRITE,
    }
)


def permissions_of(roles: Collection[Role], scopes: Collection[str]) -> frozenset[Permission]:
    """Return what these roles permit; scopes count for a service only, and a service has nothing else."""
    if Role.SERVICE not in roles:
        return frozenset(permission for role in roles for permission in GRANTED_BY_ROLE[role])
    granted = frozenset(GRANTED_BY_SCOPE[scope] for scope in scopes if scope in GRANTED_BY_SCOPE)
    return granted | {Permission.WORKSPACE_READ} if granted else granted
