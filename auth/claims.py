"""What a verified token says of its bearer: claims mapped by JMESPath, roles by an exact table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice

import jmespath
from jmespath.functions import Functions
from jmespath.parser import ParsedResult

from creditdesk.auth.errors import Unauthenticated
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
    managed_groups: str = "managed_groups"
    service: str = "idtyp == 'app' || gty == 'client-credentials'"  # Entra's and Auth0's marks of a program


@dataclass(frozen=True, slots=True)
class Claims:
    """What the token says, in creditdesk's words; a service has the role SERVICE and no other."""

    subject: str
    workspace_slug: str
    roles: frozenset[Role]
    scopes: frozenset[str]
    managed_group_slugs: frozenset[str]


class ClaimReader:
    """The mapping compiled once, at boot."""

    def __init__(self, mapping: ClaimMapping, role_map: Mapping[str, Role]) -> None:
        self._expressions = {
            field.name: _compiled(field.name, getattr(mapping, field.name)) for field in fields(mapping)
        }
        self._role_map = dict(role_map)

    def read(self, token_claims: Mapping[str, object]) -> Claims:
        """Return what the claims say, or raise `Unauthenticated` if they name no subject or no workspace.

        Whatever else is missing or of another form gives nothing: no role, no scope, no group.
        """
        found = {name: _searched(expression, token_claims) for name, expression in self._expressions.items()}
        subject, workspace = _name(found["subject"]), _name(found["workspace"])
        if subject is None:
            raise Unauthenticated("the claims name no usable subject")
        if workspace is None:
            raise Unauthenticated("the claims name no usable workspace")
        roles = frozenset(self._role_map[entry] for entry in _texts(found["roles"]) if entry in self._role_map)
        if Role.SERVICE in roles or found["service"] is True:
            roles = frozenset({Role.SERVICE})  # also when it holds a person's role: never both
        scopes = found["scopes"]
        return Claims(
            subject=subject,
            workspace_slug=workspace,
            roles=roles,
            scopes=frozenset(scopes.split() if isinstance(scopes, str) else _texts(scopes)),
            managed_group_slugs=frozenset(filter(_name, _texts(found["managed_groups"]))),
        )


def _texts(value: object) -> Iterator[str]:
    entries = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return (entry for entry in islice(entries, MOST_ENTRIES) if isinstance(entry, str))


def _name(value: object) -> str | None:
    # Unprintable covers NUL and lone surrogates: JSON can hold them, PostgreSQL's text cannot.
    if isinstance(value, str) and 0 < len(value) <= MOST_CHARACTERS and value.isprintable():
        return value
    return None


def _searched(expression: ParsedResult, token_claims: Mapping[str, object]) -> object:
    try:
        found: object = expression.search(token_claims)
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError):
        # A function met a type that it does not take, such as `keys()` of a string: as if the claim were missing.
        return None
    return found


def _compiled(setting: str, expression: str) -> ParsedResult:
    try:
        compiled = jmespath.compile(expression)
    except (ValueError, TypeError) as error:
        raise ValueError(f"The claim mapping {setting!r} is not a JMESPath expression: {expression!r}.") from error
    # JMESPath would say so only when a token first reaches the call.
    for name, arguments in _calls(compiled.parsed):
        if not _is_known(name, arguments):
            raise ValueError(
                f"The claim mapping {setting!r} calls {name}() wrongly or it does not exist: {expression!r}."
            )
    return compiled


def _calls(node: object) -> Iterator[tuple[str, int]]:
    if not isinstance(node, dict):
        return
    if node["type"] == "function_expression":
        yield node["value"], len(node["children"])
    for child in node.get("children", ()):
        yield from _calls(child)


def _is_known(name: str, arguments: int) -> bool:
    function = Functions.FUNCTION_TABLE.get(name)
    if function is None:
        return False
    signature = function["signature"]
    if signature and signature[-1].get("variadic"):
        return arguments >= len(signature)
    return arguments == len(signature)
