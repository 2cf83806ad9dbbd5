"""What a verified token says of its bearer: claims mapped by JMESPath, roles by an exact table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice

from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.expressions import Expression
from creditdesk.auth.roles import Role

MOST_ENTRIES = 10_000
MOST_CHARACTERS = 255  # of a subject: OpenID Connect Core 1.0, section 2

DEFAULT_ROLE_MAP: Mapping[str, Role] = {role.value: role for role in Role}


@dataclass(frozen=True, slots=True)
class ClaimMapping:
    """Where a token says what: one JMESPath expression for each thing."""

    subject: str = "sub"
    workspace: str = "workspace"
    roles: str = "roles"
    scopes: str = "scope || scp"
    groups: str = "groups"
    managed_groups: str = "managed_groups"
    service: str = "idtyp == 'app' || gty == 'client-credentials'"  # Entra's and Auth0's marks of a program
    email: str = "email"
    email_verified: str = "email_verified"
    name: str = "name"


@dataclass(frozen=True, slots=True)
class Claims:
    """What the token says, in creditdesk's words; a service has the role SERVICE and no other."""

    subject: str
    workspace_slug: str
    roles: frozenset[Role]
    scopes: frozenset[str]
    managed_group_slugs: frozenset[str]
    group_slugs: frozenset[str] | None = None
    """The groups that the bearer is in; None where the token says nothing of groups."""
    email: str | None = None
    is_email_verified: bool = False
    display_name: str | None = None


class ClaimReader:
    """The mapping compiled once, at boot, with whom it may speak for.

    `workspaces` are those that the issuer may name, None for any. With a map of groups only its entries count, each
    under the slug that it leads to; without one, an entry is a slug.
    """

    def __init__(
        self,
        mapping: ClaimMapping,
        role_map: Mapping[str, Role],
        *,
        workspaces: frozenset[str] | None = None,
        group_map: Mapping[str, str] | None = None,
        managed_group_map: Mapping[str, str] | None = None,
    ) -> None:
        self._expressions = {
            field.name: _compiled(field.name, getattr(mapping, field.name)) for field in fields(mapping)
        }
        self._role_map = dict(role_map)
        self._workspaces = workspaces
        self._group_map = group_map
        self._managed_group_map = managed_group_map

    def read(self, token_claims: Mapping[str, object]) -> Claims:
        """Return what the claims say, or raise `Unauthenticated` if they name no subject or no workspace of theirs.

        Whatever else is missing or of another form gives nothing: no role, no scope, no group.
        """
        found = {name: expression.search(token_claims) for name, expression in self._expressions.items()}
        subject = _name(found["subject"])
        if subject is None:
            raise Unauthenticated("the claims name no usable subject")
        roles = frozenset(self._role_map[entry] for entry in _texts(found["roles"]) if entry in self._role_map)
        if Role.SERVICE in roles or found["service"] is True:
            roles = frozenset({Role.SERVICE})  # also when it holds a person's role: never both
        scopes = found["scopes"]
        return Claims(
            subject=subject,
            workspace_slug=self._workspace(found["workspace"]),
            roles=roles,
            scopes=frozenset(scopes.split() if isinstance(scopes, str) else _texts(scopes)),
            managed_group_slugs=_slugs(found["managed_groups"], self._managed_group_map),
            group_slugs=None if found["groups"] is None else _slugs(found["groups"], self._group_map),
            email=_name(found["email"]),
            is_email_verified=found["email_verified"] is True,
            display_name=_name(found["name"]),
        )

    def _workspace(self, found: object) -> str:
        slug = _name(found)
        if slug is None:
            raise Unauthenticated("the claims name no usable workspace")
        if self._workspaces is not None and slug not in self._workspaces:
            raise Unauthenticated("the issuer may not speak for that workspace")
        return slug


def _texts(value: object) -> Iterator[str]:
    entries = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return (entry for entry in islice(entries, MOST_ENTRIES) if isinstance(entry, str))


def _slugs(value: object, group_map: Mapping[str, str] | None) -> frozenset[str]:
    if group_map is None:
        return frozenset(filter(_name, _texts(value)))
    return frozenset(group_map[entry] for entry in _texts(value) if entry in group_map)


def _name(value: object) -> str | None:
    # Unprintable covers NUL and lone surrogates: JSON can hold them, PostgreSQL's text cannot.
    if isinstance(value, str) and 0 < len(value) <= MOST_CHARACTERS and value.isprintable():
        return value
    return None


def _compiled(setting: str, expression: str) -> Expression:
    try:
        return Expression(expression)
    except ValueError as error:
        raise ValueError(f"The claim mapping {setting!r} {error}.") from error
