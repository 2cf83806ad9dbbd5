"""What a principal may do and see: the only maker of `PermittedScopes` and of `Authority`."""

from dataclasses import replace

from creditdesk.auth.known_callers import KnownCaller
from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.auth.roles import GRANTED_BY_ROLE, Permission, Role
from creditdesk.credits.permitted import Actor, Authority, PermittedScopes


def allows(principal: Principal | KnownCaller, permission: Permission) -> bool:
    """Return whether the principal holds the permission; absence means denied."""
    return permission in principal.permissions


def permitted_scopes(principal: Principal) -> PermittedScopes:
    """Return the rows that the principal may read: everyone's, their own, those of the groups they manage, or none."""
    is_person = principal.kind is PrincipalKind.PERSON
    manages = is_person and Role.GROUP_MANAGER in principal.roles and allows(principal, Permission.USAGE_READ)
    return PermittedScopes(
        workspace_id=principal.workspace.id,
        everyone=_sees_everyone(principal),
        user_id=principal.user_id if is_person and allows(principal, Permission.OWN_READ) else None,
        managed_groups=principal.managed_groups if manages else frozenset(),
    )


def permitted_limits(principal: Principal) -> PermittedScopes:
    """Return the limits that the principal may read: all for whoever sees everyone or sets them, else as of usage."""
    permitted = permitted_scopes(principal)
    return replace(permitted, everyone=permitted.everyone or _holds_everywhere(principal, Permission.LIMITS_WRITE))


def authority(principal: Principal, permission: Permission) -> Authority:
    """Return where the principal may exercise a permission: everywhere, in the groups they manage, or nowhere."""
    manages = Role.GROUP_MANAGER in principal.roles and permission in GRANTED_BY_ROLE[Role.GROUP_MANAGER]
    return Authority(
        workspace_id=principal.workspace.id,
        actor=Actor(principal.kind.name, principal.subject, principal.user_id),
        everywhere=_holds_everywhere(principal, permission),
        managed_groups=principal.managed_groups if manages else frozenset(),
    )


def _sees_everyone(principal: Principal) -> bool:
    return _holds_everywhere(principal, Permission.USAGE_READ)


def _holds_everywhere(principal: Principal, permission: Permission) -> bool:
    if not allows(principal, permission):
        return False
    if principal.kind is PrincipalKind.SERVICE:
        return True
    # What a group manager holds is for their groups only: it must come from another role.
    return any(permission in GRANTED_BY_ROLE[role] for role in principal.roles if role is not Role.GROUP_MANAGER)
