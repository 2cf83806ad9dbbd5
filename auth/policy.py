"""What a principal may do and see: the only maker of `PermittedScopes`."""

from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.auth.roles import GRANTED_BY_ROLE, Permission, Role
from creditdesk.credits.permitted import PermittedScopes


def allows(principal: Principal, permission: Permission) -> bool:
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


def _sees_everyone(principal: Principal) -> bool:
    if not allows(principal, Permission.USAGE_READ):
        return False
    if principal.kind is PrincipalKind.SERVICE:
        return True
    # A group manager holds USAGE_READ too, but only for their groups: it must come from another role.
    return any(
        Permission.USAGE_READ in GRANTED_BY_ROLE[role] for role in principal.roles if role is not Role.GROUP_MANAGER
    )
