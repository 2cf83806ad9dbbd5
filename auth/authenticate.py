"""From an Authorization header to a principal."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from creditdesk.auth.access_log import AccessLog
from creditdesk.auth.arrivals import arrive, named_workspace
from creditdesk.auth.claims import ClaimReader, Claims
from creditdesk.auth.errors import NoToken, Unauthenticated
from creditdesk.auth.issuers import Issuer
from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.auth.roles import Role, permissions_of
from creditdesk.auth.tokens import TokenVerifier, VerifiedToken
from creditdesk.credits import directory
from creditdesk.credits.controls import controls_version
from creditdesk.credits.gathering import Gatherer
from creditdesk.credits.permitted import Actor
from creditdesk.db.connections import Database

_BEARER = "Bearer "

_STEPS = 2
"""Whoever comes first is made a user, and then put into groups."""

_Asked = tuple[str, str, str, frozenset[str]]
"""A workspace's slug, an issuer and its subject, and the groups that are managed."""


@dataclass(frozen=True, slots=True)
class Found:
    """A principal, as of a version of the workspace's controls: every change of its people makes a new one."""

    principal: Principal
    as_of: int
    signed_in: directory.SignIn
    expires_at: datetime | None = None
    """When their token expires; who has a session may be signed in for longer."""
    kept: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)
    """What others find out about them once and use for each request, under keys of their own, as of this version."""


class Authenticator:
    """Turns bearer tokens into principals."""

    def __init__(self, *, verifier: TokenVerifier, database: Database, access_log: AccessLog | None = None) -> None:
        self._verifier = verifier
        self._access_log = access_log
        self._readers = {url: reader_of(issuer) for url, issuer in verifier.issuers.items()}
        self._database = database
        # Mapping costs 40 us, which a remembered token need not pay again; it is forgotten along with the token.
        self._read: WeakKeyDictionary[VerifiedToken, Claims] = WeakKeyDictionary()
        self._entered: WeakKeyDictionary[VerifiedToken, Found] = WeakKeyDictionary()
        # Many requests of one gateway arrive together with one token: they are looked up once, each after it arrived.
        self._sign_ins: Gatherer[_Asked, directory.SignIn | None] = Gatherer(self._signed_in)

    async def principal_of(self, authorization: str | None, *, since: datetime | None = None) -> Principal:
        """Return who sent this header, or raise `Unauthenticated`, or `IssuerUnavailable`.

        `since` is when the session began that the token is of: a new token makes it no younger.
        """
        token = await self.verified(authorization)
        return (await self.enter(token, since=since)).principal

    async def caller_of(self, authorization: str | None) -> Found:
        """Return who sent this header, as `principal_of` does; who is known is looked up anew only after a change.

        Whatever changes who somebody is makes a new version of the workspace's controls, and the version in force is
        asked for each time: by all who come at the same moment in one step.
        """
        token = self.recalled(authorization) or await self.verified(authorization)
        known = self._entered.get(token)
        if known is None or known.as_of != await controls_version(self._database, known.principal.workspace.id):
            known = self._entered[token] = replace(await self.enter(token), expires_at=moment_of(token.claims, "exp"))
        return known

    def presumed(self, authorization: str | None) -> Found | None:
        """Return who sent this header, as they were found before; None where that has to be found out.

        Whether that is still so is to be asked: as `caller_of` does, or along with what is read for them.
        """
        token = self.recalled(authorization)
        return None if token is None else self._entered.get(token)

    def recalled(self, authorization: str | None) -> VerifiedToken | None:
        """Return the token of this header if it was verified before; None where that has to be found out."""
        if authorization is not None and authorization.startswith(_BEARER):
            # What is not just the scheme and a token was never remembered, and is looked at by whoever verifies it.
            return self._verifier.recall(authorization[len(_BEARER) :])
        return self._verifier.recall(bearer_token(authorization))

    async def verified(self, authorization: str | None) -> VerifiedToken:
        """Return the token of this header, or raise `Unauthenticated`, or `IssuerUnavailable`."""
        presented = bearer_token(authorization)
        try:
            return await self._verifier.verify(presented)
        except Unauthenticated as error:
            self._note_false_token(presented, error.reason)
            raise

    async def enter(self, token: VerifiedToken, *, since: datetime | None = None) -> "Found":
        """Return who comes with a verified token, once for each request or for each token; raise `Unauthenticated`.

        Who is new is linked or made a user, groups that the token names are followed, and a sign-in is noted.
        """
        claims, began_at = self.claims_of(token), since or moment_of(token.claims, "iat")
        found = await self.look_up(claims, token.issuer, issued_at=began_at)
        for _ in range(_STEPS):
            if not await self._changed(claims, found):
                break
            found = await self.look_up(claims, token.issuer, issued_at=began_at)
        if self._access_log is not None:
            signed_in_at = since or moment_of(token.claims, "auth_time") or began_at
            noted_at = found.signed_in.noted_at
            await self._access_log.signed_in(found.principal, began_at=signed_in_at, noted_at=noted_at)
        return found

    async def look_up(self, claims: Claims, issuer: str, *, issued_at: datetime | None) -> "Found":
        """Return who the claims of a verified token are in the directory now, or raise `Unauthenticated`."""
        manages = Role.GROUP_MANAGER in claims.roles
        managed = frozenset(claims.managed_group_slugs) if manages else frozenset()
        signed_in = await self._sign_ins.ask((claims.workspace_slug, issuer, claims.subject, managed))
        if signed_in is None:
            raise Unauthenticated("there is no such workspace")
        try:
            principal = principal_from(claims, issuer, signed_in, issued_at=issued_at)
        except Unauthenticated as error:
            self._note_refusal(claims, signed_in, error.reason)
            raise
        return Found(principal, signed_in.as_of, signed_in)

    async def _changed(self, claims: Claims, found: "Found") -> bool:
        try:
            return await arrive(self._database, claims, found.principal, found.signed_in)
        except Unauthenticated as error:
            self._note_refusal(claims, found.signed_in, error.reason)
            raise

    def _note_false_token(self, presented: str, reason: str) -> None:
        """Have a token that is none counted for the workspace that it names, if that is one that is known here."""
        if self._access_log is None:
            return
        slug = named_workspace(presented, self._readers)
        workspace_id = self._access_log.remembered(slug) if slug is not None else None
        if workspace_id is not None:
            self._access_log.refused(workspace_id, reason)

    def _note_refusal(self, claims: Claims, signed_in: directory.SignIn, reason: str) -> None:
        if self._access_log is not None:
            actor = Actor(kind_of(claims).name, claims.subject, signed_in.user_id)
            self._access_log.refused(signed_in.workspace.id, reason, actor)

    async def _signed_in(self, asked: list[_Asked]) -> list[directory.SignIn | Exception | None]:
        distinct = list(dict.fromkeys(asked))
        found = await asyncio.gather(
            *(
                directory.sign_in(
                    self._database, workspace_slug=slug, issuer=issuer, subject=subject, managed_group_slugs=managed
                )
                for slug, issuer, subject, managed in distinct
            ),
            return_exceptions=True,
        )
        answers = dict(zip(distinct, found, strict=True))
        return [_raised(answers[one]) for one in asked]

    def claims_of(self, token: VerifiedToken) -> Claims:
        """Return what a token's claims say here."""
        claims = self._read.get(token)
        if claims is None:
            claims = self._read[token] = self._readers[token.issuer].read(token.claims)
        return claims


def reader_of(issuer: Issuer) -> ClaimReader:
    """Return what reads the claims of an issuer's tokens."""
    return ClaimReader(
        issuer.mapping,
        issuer.role_map,
        workspaces=issuer.workspaces,
        group_map=issuer.group_map,
        managed_group_map=issuer.managed_group_map,
    )


def _raised(answer: directory.SignIn | BaseException | None) -> directory.SignIn | Exception | None:
    if isinstance(answer, BaseException) and not isinstance(answer, Exception):
        raise answer
    return answer


def bearer_token(authorization: str | None) -> str:
    """Return the one token of a Bearer header (RFC 6750, section 2.1)."""
    parts = (authorization or "").split()
    if len(parts) < 2 or parts[0].lower() != "bearer":  # noqa: PLR2004 - the scheme and the token
        raise NoToken
    if len(parts) > 2:  # noqa: PLR2004 - the scheme and the token
        raise Unauthenticated("the header holds more than one token")
    return parts[1]


def moment_of(token_claims: Mapping[str, object], claim: str) -> datetime | None:
    """Return the moment that a claim says; None where it says none, or nothing that could be a moment."""
    moment = token_claims.get(claim)
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        return None
    try:
        return datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def principal_from(
    claims: Claims, issuer: str, signed_in: directory.SignIn, *, issued_at: datetime | None
) -> Principal:
    """Return the principal that the claims and the directory make together.

    A deactivated user is nobody, and so is whoever comes with what was issued, or a session that began, before the
    user's sessions were ended; what does not say when it was issued counts as older.
    """
    if not signed_in.active:
        raise Unauthenticated("the user is deactivated")
    ended_at = signed_in.sessions_ended_at
    if ended_at is not None and (issued_at is None or issued_at < ended_at):
        raise Unauthenticated("the user's sessions were ended", "The session was ended. Sign in again.")
    return Principal(
        kind=kind_of(claims),
        issuer=issuer,
        subject=claims.subject,
        roles=claims.roles,
        permissions=permissions_of(claims.roles, claims.scopes),
        workspace=signed_in.workspace,
        user_id=signed_in.user_id,
        managed_groups=signed_in.managed_groups if Role.GROUP_MANAGER in claims.roles else frozenset(),
    )


def kind_of(claims: Claims) -> PrincipalKind:
    """Return whether claims are of a person or of a program."""
    return PrincipalKind.SERVICE if Role.SERVICE in claims.roles else PrincipalKind.PERSON


def www_authenticate(error: Unauthenticated) -> str:
    """Return the challenge for a 401 (RFC 6750, section 3): without an error if no token was presented."""
    challenge = 'Bearer realm="creditdesk"'
    if isinstance(error, NoToken):
        return challenge
    return f'{challenge}, error="invalid_token", error_description="{error.message}"'
