"""Whose tokens are accepted, and what they may say: the configuration of an issuer, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from creditdesk.auth.claims import DEFAULT_ROLE_MAP, ClaimMapping
from creditdesk.auth.keys import KeyLifetimes, is_safe_url
from creditdesk.auth.roles import Role

# What a public key verifies. No HMAC: its key would be the public one. Never "none".
ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"}
)


ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash", "s_hash")
"""What tells an id token from an access token: OpenID Connect Core 1.0, sections 2 and 3.3.2.11."""


class Credential(Enum):
    """What callers of this issuer present."""

    ACCESS_TOKEN = "access token"  # noqa: S105 - a word
    ID_TOKEN = "id token"  # noqa: S105 - a word


@dataclass(frozen=True, slots=True)
class GroupLookup:
    """Where groups that did not fit into a token are asked for, on behalf of the program with these credentials.

    The address comes from here alone: one that a token names would be asked with our credentials.
    """

    endpoint: str
    token_endpoint: str
    scope: str
    client_id: str
    client_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse to send a secret in the clear."""
        for url in (self.endpoint, self.token_endpoint):
            if not is_safe_url(url):
                raise ValueError(f"Groups are asked for at an https address, or http on this machine: {url!r}.")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are accepted, for which audiences, signed how, and how its claims are read.

    `workspaces` are those that it may speak for, None for whichever its tokens name. Each of the `requirements` is a
    JMESPath expression that must be true. Without a `group_lookup`, a token whose groups did not fit is refused.
    """

    url: str
    audiences: frozenset[str]
    algorithms: frozenset[str] = frozenset({"RS256", "ES256"})
    leeway: int = 60
    key_lifetimes: KeyLifetimes = field(default_factory=KeyLifetimes)
    name: str = ""
    credential: Credential = Credential.ACCESS_TOKEN
    audience_claim: str = "aud"
    id_token_claims: tuple[str, ...] = ID_TOKEN_CLAIMS
    requirements: tuple[str, ...] = ()
    mapping: ClaimMapping = field(default_factory=ClaimMapping)
    role_map: Mapping[str, Role] = field(default_factory=lambda: dict(DEFAULT_ROLE_MAP))
    workspaces: frozenset[str] | None = None
    group_map: Mapping[str, str] | None = None
    managed_group_map: Mapping[str, str] | None = None
    group_lookup: GroupLookup | None = None

    def __post_init__(self) -> None:
        """Refuse what would accept too much."""
        if not is_issuer_url(self.url):
            raise ValueError(f"The issuer must be an https address, or http on this machine: {self.url!r}.")
        if not self.audiences or not all(self.audiences):
            raise ValueError("The issuer needs at least one audience, and none may be empty.")
        if not self.algorithms or not self.algorithms <= ASYMMETRIC:
            raise ValueError(f"The algorithms must be among {', '.join(sorted(ASYMMETRIC))}.")
        if self.leeway < 0:
            raise ValueError("The leeway is a number of seconds, 0 or more.")


def is_issuer_url(url: str) -> bool:
    """Return whether this can be an issuer: no query, no fragment (RFC 8414, section 2), no letter that looks alike."""
    parts = urlsplit(url)
    is_plain = url.isascii() and not (parts.query or parts.fragment or parts.username or "?" in url or "#" in url)
    return is_plain and is_safe_url(url)
