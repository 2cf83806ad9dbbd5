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
    CREDITS_REQUEST = "Ask for credits, and take one's own request back."
    REQUESTS_DECIDE = "Decide requests; as a group manager, those of the groups one manages, up to a ceiling."
    LIMITS_WRITE = "Set limits; as a group manager, each-user limits in the groups one manages, up to a ceiling."
    PEOPLE_WRITE = "Change people, groups and who is in them, and end sessions."
    COSTS_READ = "Export what everybody used, by day, user, group, product and model."
    RATES_WRITE = "See and set the rate card."
    SETTINGS_WRITE = "See and change the workspace's settings."
    AUDIT_READ = "See the audit trail."


_PERSON = frozenset({Permission.WORKSPACE_READ, Permission.OWN_READ, Permission.CREDITS_REQUEST})
_DECIDER = frozenset({Permission.USAGE_READ, Permission.REQUESTS_DECIDE, Permission.LIMITS_WRITE})

GRANTED_BY_ROLE: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.OWNER: _PERSON
        | _DECIDER
        | {
            Permission.PEOPLE_WRITE,
            Permission.COSTS_READ,
            Permission.RATES_WRITE,
            Permission.SETTINGS_WRITE,
            Permission.AUDIT_READ,
        },
        Role.ADMIN: _PERSON | _DECIDER | {Permission.PEOPLE_WRITE, Permission.AUDIT_READ},
        Role.BILLING: _PERSON | {Permission.USAGE_READ, Permission.COSTS_READ, Permission.RATES_WRITE},
        Role.ANALYST: _PERSON | {Permission.USAGE_READ},
        Role.GROUP_MANAGER: _PERSON | _DECIDER,  # policy narrows it to the groups they manage
        Role.MEMBER: _PERSON,
        Role.SERVICE: frozenset(),  # by scope
    }
)

GRANTED_BY_SCOPE: Mapping[str, Permission] = MappingProxyType(
    {
        "usage:read": Permission.USAGE_READ,
        "usage:write": Permission.USAGE_WRITE,
        "limits:write": Permission.LIMITS_WRITE,
        "members:write": Permission.PEOPLE_WRITE,
        "costs:read": Permission.COSTS_READ,
        "audit:read": Permission.AUDIT_READ,
    }
)


def permissions_of(roles: Collection[Role], scopes: Collection[str]) -> frozenset[Permission]:
    """Return what these roles permit; scopes count for a service only, and a service has nothing else."""
    if Role.SERVICE not in roles:
        return frozenset(permission for role in roles for permission in GRANTED_BY_ROLE[role])
    granted = frozenset(GRANTED_BY_SCOPE[scope] for scope in scopes if scope in GRANTED_BY_SCOPE)
    return granted | {Permission.WORKSPACE_READ} if granted else granted
