"""Guards: each root field names one permission, checks it before it resolves, and prints it in the schema."""

from collections.abc import Awaitable, Callable
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location
from strawberry.types.field import StrawberryField

from creditdesk.auth.policy import allows
from creditdesk.auth.principal import Principal
from creditdesk.credits.errors import ForbiddenError
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Permission


@strawberry.schema_directive(
    name="requires",
    locations=[Location.FIELD_DEFINITION],
    description="The permission that a caller needs for this field; without it the answer is an error FORBIDDEN.",
)
class Requires:
    """The permission, printed on a root field."""

    permission: Permission = strawberry.directive_field(name="permission")


class _Guard(FieldExtension):
    def __init__(self, permission: Permission) -> None:
        self._permission = permission

    def apply(self, field: StrawberryField) -> None:
        field.directives = [*field.directives, Requires(permission=self._permission)]

    def permits(self, principal: Principal) -> bool:
        """Tell whether the caller may pass: by their permissions alone."""
        return allows(principal, self._permission)

    def _check(self, info: Info) -> None:
        if not self.permits(info.context.principal):
            raise ForbiddenError

    def resolve(self, next_: Callable[..., Any], source: Any, info: Info, **kwargs: Any) -> Any:
        self._check(info)
        return next_(source, info, **kwargs)

    async def resolve_async(self, next_: Callable[..., Awaitable[Any]], source: Any, info: Info, **kwargs: Any) -> Any:
        self._check(info)
        return await next_(source, info, **kwargs)


def permitting(principal: Principal) -> Callable[[object], bool]:
    """Return what tells of a field's extension whether it lets this caller pass: not if it is none of ours."""

    def permits(extension: object) -> bool:
        return isinstance(extension, _Guard) and extension.permits(principal)

    return permits


def requires(permission: Permission) -> FieldExtension:
    """Guard a root field by a permission."""
    return _Guard(permission)
