"""What sign-in for browsers is configured with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Registration:
    """What the identity provider knows us as. `parameters` are added to each authorization request."""

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    scopes: str = "openid profile email offline_access"
    parameters: Mapping[str, str] = field(default_factory=dict)
    algorithms: frozenset[str] = frozenset({"RS256", "ES256"})
    leeway: int = 60
    presents_id_token: bool = False
    """Its access tokens say nothing to us, as Google's do: then the id token says who is calling."""


@dataclass(frozen=True, slots=True)
class SessionLifetimes:
    """How long a session lasts unless it is used, at most, and how long a secret of it is in use."""

    idle: timedelta = timedelta(hours=1)
    longest: timedelta = timedelta(hours=12)
    secret: timedelta = timedelta(minutes=15)
