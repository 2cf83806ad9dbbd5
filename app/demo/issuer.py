"""The demo's identity provider: a small OpenID Connect issuer for this machine only."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from creditdesk.app.demo.discovery import discovery_document
from creditdesk.app.demo.grants import CodeRequest, Consent, Grants, base64url
from creditdesk.app.demo.login_page import Choice, login_page
from creditdesk.app.demo.oauth_requests import (
    NO_STORE,
    ClientCredentials,
    OAuthError,
    client_credentials,
    fields_given_once,
    granted_scopes,
    read_form,
)
from creditdesk.app.demo.sign_outs import SignOuts
from creditdesk.app.demo.signing_keys import SigningKeys

TOKEN_LIFETIME = timedelta(hours=1)
THIS_MACHINE = frozenset({"127.0.0.1", "localhost"})
OIDC_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
CHALLENGE_LENGTH = 43  # of SHA-256 in base64url


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """Someone to sign in as; the claims (roles, workspace) go into the access token."""

    subject: str
    name: str
    email: str
    claims: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DemoClient:
    """A program that asks for tokens; without a secret it is a public one, such as a page in a browser."""

    client_id: str
    secret: str | None = None
    redirect_uris: tuple[str, ...] = ()
    sign_out_uris: tuple[str, ...] = ()
    grants: frozenset[str] = frozenset({"authorization_code", "refresh_token"})
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a redirect address that carries a fragment, and a program without a secret of its own."""
        if any("#" in uri for uri in self.redirect_uris):
            raise ValueError(f"A redirect address of {self.client_id!r} has a fragment.")
        if "client_credentials" in self.grants and not self.secret:
            raise ValueError(f"{self.client_id!r} needs a secret for client_credentials.")


class DemoIssuer:
    """The issuer: its persons, its clients, its keys, and what it has granted."""

    def __init__(
        self,
        url: str,
        audience: str,
        *,
        persons: Iterable[DemoPerson],
        clients: Iterable[DemoClient],
        keys: SigningKeys | None = None,
        token_lifetime: timedelta = TOKEN_LIFETIME,
        now: Callable[[], float] = time.time,
    ) -> None:
        if urlsplit(url).hostname not in THIS_MACHINE:
            raise ValueError("The demo issuer has no passwords and runs on this machine only: 127.0.0.1 or localhost.")
        self.url = url
        self.audience = audience
        self._persons = {person.subject: person for person in persons}
        self._clients = {client.client_id: client for client in clients}
        self._keys = keys or SigningKeys()
        self._token_lifetime = token_lifetime
        self._now = now
        self._grants = Grants(now)
        self._sign_outs = SignOuts(self._grants, self._keys, self._clients, self._known_client)

    def app(self) -> Starlette:
        """Return the ASGI app; it answers to its own host name only, and to pages of its clients."""
        origins = {
            f"{parts.scheme}://{parts.netloc}"
            for client in self._clients.values()
            for parts in map(urlsplit, client.redirect_uris)
        }
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/jwks", self._jwks),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                *self._sign_outs.routes(),
            ],
            middleware=[
                # A page elsewhere that points its own name at 127.0.0.1 gets nothing.
                Middleware(
                    TrustedHostMiddleware, allowed_hosts=[urlsplit(self.url).hostname or ""], www_redirect=False
                ),
                Middleware(
                    CORSMiddleware,
                    allow_origins=sorted(origins),
                    allow_methods=["GET", "POST"],
                    allow_headers=["authorization", "content-type"],
                ),
            ],
        )

    def rotate_keys(self) -> None:
        """Sign with new keys; tokens of the previous ones still verify, those of older ones no longer."""
        self._keys.rotate()

    def issue_access_token(
        self,
        subject: str,
        *,
        client_id: str = "demo",
        scopes: Iterable[str] = (),
        algorithm: str = "RS256",
        lifetime: timedelta | None = None,
    ) -> str:
        """Return an access token for a person by subject, or for a client by its id."""
        person, client = self._persons.get(subject), self._clients.get(subject)
        if person is None and client is None:
            raise ValueError(f"There is no demo person or client {subject!r}.")
        holder = person.claims if person else {"gty": "client-credentials", **(client.claims if client else {})}
        now = int(self._now())
        claims = {
            **holder,
            "iss": self.url,
            "sub": subject,
            "aud": self.audience,
            "client_id": client_id if person else subject,
            "scope": " ".join(scopes),
            "iat": now,
            "exp": now + int((lifetime or self._token_lifetime).total_seconds()),
            "jti": secrets.token_urlsafe(12),
        }
        return self.sign(claims, typ="at+jwt", algorithm=algorithm)

    def sign(self, claims: Mapping[str, object], *, typ: str, algorithm: str = "RS256") -> str:
        """Return these claims as a JWT, signed with the current key."""
        key = self._keys.signing_key(algorithm)
        return jwt.encode({"alg": algorithm, "typ": typ, "kid": key.kid}, dict(claims), key, algorithms=[algorithm])

    async def _discovery(self, _: Request) -> Response:
        scopes = OIDC_SCOPES.union(*(client.scopes for client in self._clients.values()))
        return JSONResponse(discovery_document(self.url, scopes))

    async def _jwks(self, _: Request) -> Response:
        return JSONResponse(self._keys.published(), headers={"cache-control": "public, max-age=60"})

    async def _authorize(self, request: Request) -> Response:
        pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        try:
            asked = fields_given_once(pairs)
        except OAuthError as error:
            return PlainTextResponse(error.description, 400)
        client = self._clients.get(asked.get("client_id", ""))
        redirect_uri = asked.get("redirect_uri", "")
        if client is None or redirect_uri not in client.redirect_uris:
            # Nowhere to send an error to: the address may be anyone's.
            return PlainTextResponse("There is no such client, or this redirect_uri is not one of its own.", 400)
        try:
            answer = self._authorized(client, asked)
        except OAuthError as error:
            answer = {"error": error.code, "error_description": error.description}
        if answer is None:
            return login_page(client.client_id, self._choices(asked))
        answer |= {"iss": self.url} | ({"state": asked["state"]} if "state" in asked else {})
        joint = "&" if urlsplit(redirect_uri).query else "?"
        return RedirectResponse(f"{redirect_uri}{joint}{urlencode(answer)}", 303, headers=NO_STORE)

    def _authorized(self, client: DemoClient, asked: dict[str, str]) -> dict[str, str] | None:
        if asked.get("response_type") != "code":
            raise OAuthError("unsupported_response_type", "Only response_type=code is supported.")
        if "authorization_code" not in client.grants:
            raise OAuthError("unauthorized_client", "This client may not use authorization codes.")
        challenge = asked.get("code_challenge", "")
        if asked.get("code_challenge_method") != "S256" or len(challenge) != CHALLENGE_LENGTH:
            raise OAuthError("invalid_request", "PKCE with code_challenge_method=S256 is required.")
        scopes = granted_scopes(client.scopes | OIDC_SCOPES, asked.get("scope", "openid"))
        subject = asked.get("login_hint")
        if subject not in self._persons:
            if asked.get("prompt") == "none":
                raise OAuthError("login_required", "Nobody is signed in: give a login_hint.")
            return None
        consent = Consent(subject, client.client_id, scopes, asked.get("nonce"))
        return {"code": self._grants.give_code(CodeRequest(consent, asked["redirect_uri"], challenge))}

    def _choices(self, asked: dict[str, str]) -> list[Choice]:
        return [
            Choice(
                person.name, person.email, f"{self.url}/authorize?{urlencode(asked | {'login_hint': person.subject})}"
            )
            for person in self._persons.values()
        ]

    async def _token(self, request: Request) -> Response:
        try:
            form = await read_form(request)
            client = self._known_client(client_credentials(request.headers.get("authorization"), form))
            return JSONResponse(self._tokens(client, form), headers=NO_STORE)
        except OAuthError as error:
            return error.response()

    def _known_client(self, presented: ClientCredentials) -> DemoClient:
        client = self._clients.get(presented.client_id)
        expected = (client.secret if client else None) or ""
        is_same = hmac.compare_digest(expected.encode(), (presented.secret or "").encode())
        if client is None or not is_same:
            raise OAuthError("invalid_client", "There is no such client, or its secret is another.", status=401)
        return client

    def _tokens(self, client: DemoClient, form: dict[str, str]) -> dict[str, object]:
        grant = form.get("grant_type")
        if grant not in ("authorization_code", "refresh_token", "client_credentials"):
            raise OAuthError("unsupported_grant_type", "The grant_type is missing or not supported.")
        if grant not in client.grants:
            raise OAuthError("unauthorized_client", f"This client may not use {grant}.")
        if grant == "client_credentials":
            scopes = granted_scopes(client.scopes | OIDC_SCOPES, form.get("scope") or " ".join(sorted(client.scopes)))
            return self._answer(Consent(client.client_id, client.client_id, scopes))
        if grant == "authorization_code":
            return self._from_code(client, form)
        return self._from_refresh_token(client, form)

    def _from_code(self, client: DemoClient, form: dict[str, str]) -> dict[str, object]:
        redeemed = self._grants.redeem_code(
            form.get("code", ""),
            client_id=client.client_id,
            redirect_uri=form.get("redirect_uri", ""),
            verifier=form.get("code_verifier", ""),
        )
        if redeemed is None:
            raise OAuthError("invalid_grant", "The code is unknown, used, expired or not for this request.")
        consent, family = redeemed
        may_refresh = "refresh_token" in client.grants and "offline_access" in consent.scopes
        return self._answer(consent, family=family if may_refresh else None)

    def _from_refresh_token(self, client: DemoClient, form: dict[str, str]) -> dict[str, object]:
        redeemed = self._grants.redeem_refresh_token(form.get("refresh_token", ""), client_id=client.client_id)
        if redeemed is None:
            raise OAuthError("invalid_grant", "The refresh token is unknown, used, expired or another client's.")
        consent, family = redeemed
        scopes = tuple(form["scope"].split()) if "scope" in form else consent.scopes
        if not set(scopes) <= set(consent.scopes):
            raise OAuthError("invalid_scope", "A refresh cannot widen the scope.")
        return self._answer(consent, family=family, scopes=scopes)

    def _answer(
        self, consent: Consent, *, family: str | None = None, scopes: tuple[str, ...] | None = None
    ) -> dict[str, object]:
        scopes = consent.scopes if scopes is None else scopes
        access_token = self.issue_access_token(consent.subject, client_id=consent.client_id, scopes=scopes)
        answer: dict[str, object] = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": int(self._token_lifetime.total_seconds()),
            "scope": " ".join(scopes),
        }
        if "openid" in scopes and consent.subject in self._persons:
            answer["id_token"] = self._id_token(consent, access_token)
        if family is not None:
            answer["refresh_token"] = self._grants.give_refresh_token(consent, family)
        return answer

    def _id_token(self, consent: Consent, access_token: str) -> str:
        person, now = self._persons[consent.subject], int(self._now())
        claims: dict[str, object] = {
            "iss": self.url,
            "sub": person.subject,
            "aud": consent.client_id,
            "iat": now,
            "exp": now + int(self._token_lifetime.total_seconds()),
            "name": person.name,
            "email": person.email,
            "at_hash": base64url(hashlib.sha256(access_token.encode()).digest()[:16]),
        }
        if consent.nonce is not None:
            claims["nonce"] = consent.nonce
        return self.sign(claims, typ="JWT")
