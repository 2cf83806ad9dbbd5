"""Tokens verified: issuer, signature, audience, time, kind; and remembered until they expire."""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from joserfc import jws
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from creditdesk.auth.errors import GroupsOverage, Unauthenticated
from creditdesk.auth.expressions import Expression
from creditdesk.auth.group_lookups import GroupDirectory, are_groups_elsewhere
from creditdesk.auth.issuers import Credential, Issuer
from creditdesk.auth.keys import IssuerKeys, SignatureKey

MOST_TOKEN_BYTES = 16 * 1024
MOST_HEADER_BYTES = 8 * 1024  # a certificate chain (`x5c`) is allowed there, and ignored
MOST_REMEMBERED = 10_000

TYPES = {
    Credential.ACCESS_TOKEN: frozenset({"jwt", "at+jwt"}),  # RFC 9068, and those who do not follow it
    Credential.ID_TOKEN: frozenset({"jwt"}),
}
# What a reader of bytes from outside may raise; nesting without end ends in a RecursionError.
_UNREADABLE = (JoseError, ValueError, TypeError, RecursionError)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class VerifiedToken:
    """A token that its issuer signed for us and that has not expired; the same object while it is remembered."""

    issuer: str
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Remembered:
    token: VerifiedToken
    keys: IssuerKeys
    kid: str | None
    algorithm: str
    thumbprint: str
    until: float


class TokenVerifier:
    """Checks the tokens of several issuers; `iss` says which one's rules a token is held to, from the first check on.

    A verified token is remembered by its SHA-256 until it expires, since verifying costs as much as a small read. Each
    use still asks whether the key that signed it is published, so withdrawing a key ends its tokens at the next fetch.
    """

    def __init__(
        self, issuers: Sequence[Issuer], http: httpx.AsyncClient, now: Callable[[], float] = time.time
    ) -> None:
        self.issuers = {issuer.url: issuer for issuer in issuers}
        if not self.issuers or len(self.issuers) < len(issuers):
            raise ValueError("There must be an issuer, and none of them twice.")
        self._rules = {issuer.url: _Rules(issuer, http, now) for issuer in issuers}
        self._now = now
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()

    @property
    def checks(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """For each issuer by its name, what raises `IssuerUnavailable` unless its tokens could be verified now."""
        return {self.issuers[url].name: rules.keys.check for url, rules in self._rules.items()}

    async def verify(self, token: str) -> VerifiedToken:
        """Return the token if it is genuine, ours and in time, or raise `Unauthenticated` or `IssuerUnavailable`."""
        digest = _digest_of(token)
        if digest is None:
            raise Unauthenticated("the token is too large or not ASCII")
        recalled = self._recalled(digest)
        if recalled is not None:
            return recalled
        remembered = self._remembered.pop(digest, None)
        if remembered is None or not await self._still_holds(remembered):
            remembered = await self._verified(token.encode("ascii"))
        self._remembered[digest] = remembered
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return remembered.token

    def recall(self, token: str) -> VerifiedToken | None:
        """Return a token that was verified before and still holds for sure; None where that has to be found out."""
        digest = _digest_of(token)
        return None if digest is None else self._recalled(digest)

    def _recalled(self, digest: bytes) -> VerifiedToken | None:
        remembered = self._remembered.get(digest)
        if remembered is None or not self._holds(remembered):
            return None
        self._remembered.move_to_end(digest)
        return remembered.token

    def _holds(self, remembered: _Remembered) -> bool:
        """Tell whether a token holds for sure, by keys that need not be fetched anew yet."""
        key = remembered.keys.known(remembered.kid, remembered.algorithm)
        return key is not None and key.thumbprint == remembered.thumbprint and self._now() < remembered.until

    async def _still_holds(self, remembered: _Remembered) -> bool:
        if self._now() >= remembered.until:
            return False
        key = await remembered.keys.find(remembered.kid, remembered.algorithm)
        return key.thumbprint == remembered.thumbprint

    async def _verified(self, encoded: bytes) -> _Remembered:
        try:
            signed = jws.extract_compact(encoded, registry=_SIZES)
            header, claims = _once(urlsafe_b64decode(signed.segments["header"])), _once(signed.payload)
        except _UNREADABLE:
            raise Unauthenticated("the token is not a signed JWT") from None
        if not isinstance(header, dict) or not isinstance(claims, dict):
            raise Unauthenticated("the token's header or payload is not an object")
        # Nothing of this is believed yet: it only says whose keys would have to have signed it.
        issuer = claims.get("iss")
        rules = self._rules.get(issuer) if isinstance(issuer, str) else None
        if rules is None:
            raise Unauthenticated("the token's claim is missing or wrong: iss")
        return await rules.verified(signed, header, claims)


class _Rules:
    """What the tokens of one issuer are held to."""

    def __init__(self, issuer: Issuer, http: httpx.AsyncClient, now: Callable[[], float]) -> None:
        self.keys = IssuerKeys(issuer.url, http, algorithms=issuer.algorithms, lifetimes=issuer.key_lifetimes, now=now)
        self._issuer = issuer
        self._signatures = jws.JWSRegistry(algorithms=sorted(issuer.algorithms), strict_check_header=False)
        self._claims = JWTClaimsRegistry(
            now=lambda: int(now()),
            leeway=issuer.leeway,
            iss={"essential": True, "value": issuer.url},
            # Also where another claim names the audience, a token for somebody else is not for us.
            aud={"essential": issuer.audience_claim == "aud", "values": sorted(issuer.audiences)},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._requirements = [(text, Expression(text)) for text in issuer.requirements]
        self._subject = Expression(issuer.mapping.subject)
        self._groups = None if issuer.group_lookup is None else GroupDirectory(issuer.group_lookup, http, now)

    async def verified(
        self, signed: jws.CompactSignature, header: dict[str, Any], claims: dict[str, Any]
    ) -> _Remembered:
        """Return what is worth remembering of a token that holds, or raise as `TokenVerifier.verify` does."""
        kid, algorithm = self._checked_header(header)
        key = await self.keys.find(kid, algorithm)
        self._check_signature(signed, key)
        self._check_claims(claims)
        if are_groups_elsewhere(claims):
            claims = await self._with_groups(claims)
        until = claims["exp"] + self._issuer.leeway
        return _Remembered(VerifiedToken(self._issuer.url, claims), self.keys, kid, algorithm, key.thumbprint, until)

    def _checked_header(self, header: dict[str, Any]) -> tuple[str | None, str]:
        algorithm, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self._issuer.algorithms:
            raise Unauthenticated("the token's algorithm is not allowed")
        if "crit" in header:
            raise Unauthenticated("the token has critical extensions, and we know none")
        if kid is not None and not isinstance(kid, str):
            raise Unauthenticated("the token's key id is not a string")
        credential = self._issuer.credential
        if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in TYPES[credential]:
            raise Unauthenticated(f"the token's type is not that of an {credential.value}")
        return kid, algorithm

    def _check_signature(self, signed: jws.CompactSignature, key: SignatureKey) -> None:
        try:
            is_genuine = jws.validate_compact(signed, key.key, registry=self._signatures)
        except _UNREADABLE:
            raise Unauthenticated("the token's signature is unreadable") from None
        if not is_genuine:
            raise Unauthenticated("the token's signature is wrong")

    def _check_claims(self, claims: dict[str, Any]) -> None:
        try:
            self._claims.validate(claims)
        except ExpiredTokenError:
            raise Unauthenticated("the token has expired", "The access token has expired. Get a new one.") from None
        except ClaimError as error:
            raise Unauthenticated(f"the token's claim is missing or wrong: {error.claim}") from None
        if self._issuer.audience_claim != "aud":
            named = claims.get(self._issuer.audience_claim)
            if not isinstance(named, str) or named not in self._issuer.audiences:
                raise Unauthenticated(f"the token's claim is missing or wrong: {self._issuer.audience_claim}")
        if "cnf" in claims:  # RFC 7800: to take it from anybody would undo what it is bound for
            raise Unauthenticated("the token is bound to a key, which a bearer does not prove to have")
        if self._issuer.credential is Credential.ID_TOKEN:
            self._check_is_id_token(claims)
        else:
            self._check_is_access_token(claims)
        for text, requirement in self._requirements:
            if requirement.search(claims) is not True:
                raise Unauthenticated(f"the token does not fulfil what its issuer's tokens must: {text}")

    def _check_is_id_token(self, claims: dict[str, Any]) -> None:
        audience, party = claims["aud"], claims.get("azp")
        # OpenID Connect Core 1.0, section 3.1.3.7: for us alone, and given to us.
        if isinstance(audience, list) and len(audience) != 1:
            raise Unauthenticated("the id token is for others, too")
        if party is not None and (not isinstance(party, str) or party not in self._issuer.audiences):
            raise Unauthenticated("the id token was given to somebody else")
        if claims.get("typ", "ID") != "ID" or claims.get("token_use", "id") != "id":
            raise Unauthenticated("the claims say that this is not an id token")

    def _check_is_access_token(self, claims: dict[str, Any]) -> None:
        if any(claim in claims for claim in self._issuer.id_token_claims):
            raise Unauthenticated("an id token is not an access token")
        # Keycloak writes "ID" and "Refresh" here, Cognito "id".
        if claims.get("typ") in ("ID", "Refresh") or claims.get("token_use", "access") != "access":
            raise Unauthenticated("the claims say that this is not an access token")

    async def _with_groups(self, claims: dict[str, Any]) -> dict[str, Any]:
        subject = self._subject.search(claims)
        if self._groups is None or not isinstance(subject, str):
            raise GroupsOverage
        return {**claims, "groups": await self._groups.groups_of(subject)}


def _digest_of(token: str) -> bytes | None:
    """Return what a token is remembered by; None for what cannot be one."""
    if len(token) > MOST_TOKEN_BYTES or not token.isascii():
        return None
    return hashlib.sha256(token.encode("ascii")).digest()


_SIZES = jws.JWSRegistry(algorithms=[], strict_check_header=False)
_SIZES.max_header_length = MOST_HEADER_BYTES


def _once(document: bytes | None) -> object:
    """Return the JSON document, or raise ValueError where a name comes twice: two readers could see two tokens."""
    return json.loads(document or b"", object_pairs_hook=_named_once)


def _named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found
