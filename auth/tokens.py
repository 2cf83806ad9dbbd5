"""Access tokens verified: signature, issuer, audience, time; and remembered until they expire."""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from joserfc import jws
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwt import JWTClaimsRegistry

from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.keys import IssuerKeys, KeyLifetimes, SignatureKey, is_safe_url

MOST_TOKEN_BYTES = 16 * 1024
MOST_HEADER_BYTES = 8 * 1024  # a certificate chain (`x5c`) is allowed there, and ignored
MOST_REMEMBERED = 10_000

# What a public key verifies. No HMAC: its key would be the public one. Never "none".
ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"}
)
ACCESS_TOKEN_TYPES = frozenset({"jwt", "at+jwt"})  # RFC 9068, and those who do not follow it
ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash", "s_hash")  # OpenID Connect Core 1.0, sections 2 and 3.3.2.11
# What a reader of bytes from outside may raise; nesting without end ends in a RecursionError.
_UNREADABLE = (JoseError, ValueError, TypeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are accepted, for which audiences, signed how."""

    url: str
    audiences: frozenset[str]
    algorithms: frozenset[str] = frozenset({"RS256", "ES256"})
    leeway: int = 60
    key_lifetimes: KeyLifetimes = field(default_factory=KeyLifetimes)

    def __post_init__(self) -> None:
        """Refuse what would accept too much."""
        if not is_safe_url(self.url):
            raise ValueError(f"The issuer must be an https address, or http on this machine: {self.url!r}.")
        if not self.audiences or not all(self.audiences):
            raise ValueError("The issuer needs at least one audience, and none may be empty.")
        if not self.algorithms or not self.algorithms <= ASYMMETRIC:
            raise ValueError(f"The algorithms must be among {', '.join(sorted(ASYMMETRIC))}.")
        if self.leeway < 0:
            raise ValueError("The leeway is a number of seconds, 0 or more.")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class VerifiedToken:
    """A token that its issuer signed for us and that has not expired; the same object while it is remembered."""

    issuer: str
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Remembered:
    token: VerifiedToken
    kid: str | None
    algorithm: str
    thumbprint: str
    until: float


class TokenVerifier:
    """Checks access tokens of one issuer.

    A verified token is remembered by its SHA-256 until it expires, since verifying costs as much as a small read. Each
    use still asks whether the key that signed it is published, so withdrawing a key ends its tokens at the next fetch.
    """

    def __init__(self, issuer: Issuer, http: httpx.AsyncClient, now: Callable[[], float] = time.time) -> None:
        self._issuer = issuer
        self._now = now
        self._keys = IssuerKeys(issuer.url, http, algorithms=issuer.algorithms, lifetimes=issuer.key_lifetimes, now=now)
        self._signatures = jws.JWSRegistry(algorithms=sorted(issuer.algorithms), strict_check_header=False)
        self._signatures.max_header_length = MOST_HEADER_BYTES
        self._claims = JWTClaimsRegistry(
            now=lambda: int(now()),
            leeway=issuer.leeway,
            iss={"essential": True, "value": issuer.url},
            aud={"essential": True, "values": sorted(issuer.audiences)},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()

    async def check(self) -> None:
        """Raise `IssuerUnavailable` unless tokens could be verified now."""
        await self._keys.check()

    async def verify(self, token: str) -> VerifiedToken:
        """Return the token if it is genuine, ours and in time, or raise `Unauthenticated` or `IssuerUnavailable`."""
        if len(token) > MOST_TOKEN_BYTES or not token.isascii():
            raise Unauthenticated("the token is too large or not ASCII")
        encoded = token.encode("ascii")
        digest = hashlib.sha256(encoded).digest()
        remembered = self._remembered.pop(digest, None)
        if remembered is None or not await self._still_holds(remembered):
            remembered = await self._verified(encoded)
        self._remembered[digest] = remembered
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return remembered.token

    async def _still_holds(self, remembered: _Remembered) -> bool:
        if self._now() >= remembered.until:
            return False
        key = await self._keys.find(remembered.kid, remembered.algorithm)
        return key.thumbprint == remembered.thumbprint

    async def _verified(self, encoded: bytes) -> _Remembered:
        try:
            signed = jws.extract_compact(encoded, registry=self._signatures)
        except _UNREADABLE:
            raise Unauthenticated("the token is not a signed JWT") from None
        kid, algorithm = self._checked_header(signed.headers())
        key = await self._keys.find(kid, algorithm)
        claims = self._signed_claims(signed, key)
        self._check_claims(claims)
        until = claims["exp"] + self._issuer.leeway
        return _Remembered(VerifiedToken(self._issuer.url, claims), kid, algorithm, key.thumbprint, until)

    def _checked_header(self, header: object) -> tuple[str | None, str]:
        if not isinstance(header, dict):
            raise Unauthenticated("the token's header is not an object")
        algorithm, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self._issuer.algorithms:
            raise Unauthenticated("the token's algorithm is not allowed")
        if "crit" in header:
            raise Unauthenticated("the token has critical extensions, and we know none")
        if kid is not None and not isinstance(kid, str):
            raise Unauthenticated("the token's key id is not a string")
        if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in ACCESS_TOKEN_TYPES:
            raise Unauthenticated("the token's type is not that of an access token")
        return kid, algorithm

    def _signed_claims(self, signed: jws.CompactSignature, key: SignatureKey) -> dict[str, Any]:
        try:
            if not jws.validate_compact(signed, key.key, registry=self._signatures):
                raise Unauthenticated("the token's signature is wrong")
            claims = json.loads(signed.payload)
        except _UNREADABLE:
            raise Unauthenticated("the token's signature or payload is unreadable") from None
        if not isinstance(claims, dict):
            raise Unauthenticated("the token's payload is not an object")
        return claims

    def _check_claims(self, claims: dict[str, Any]) -> None:
        try:
            self._claims.validate(claims)
        except ExpiredTokenError:
            raise Unauthenticated("the token has expired", "The access token has expired. Get a new one.") from None
        except ClaimError as error:
            raise Unauthenticated(f"the token's claim is missing or wrong: {error.claim}") from None
        if any(claim in claims for claim in ID_TOKEN_CLAIMS):
            raise Unauthenticated("an id token is not an access token")
        # Keycloak writes "ID" and "Refresh" here, Cognito "id".
        if claims.get("typ") in ("ID", "Refresh") or claims.get("token_use", "access") != "access":
            raise Unauthenticated("the claims say that this is not an access token")
