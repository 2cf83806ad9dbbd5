"""Who is calling: the answer of authentication, and the question of every guard."""

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from creditdesk.auth.roles import Permission, Role
from creditdesk.credits.directory import Workspace


class PrincipalKind(Enum):
    """A person who signed in, or a program with credentials of its own; nobody only ever was refused."""

    PERSON = "person"
    SERVICE = "service"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller in one workspace; `(issuer, subject)` is the identity, everything else may change by the next token."""

    kind: PrincipalKind
    issuer: str
    subject: str
    roles: frozenset[Role]
    permissions: frozenset[Permission]
    workspace: Workspace
    user_id: UUID | None
    managed_groups: frozenset[UUID]
