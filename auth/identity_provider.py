"""What browsers' sign-ins ask of the identity provider: Authlib's client, and what it leaves to us."""

import logging
import re
import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.deprecate import AuthlibDeprecationWarning
from joserfc.errors import JoseError
from starlette.requests import Request

from creditdesk.auth.browsers import Registration
from creditdesk.auth.errors import IssuerUnavailable, RefreshRefused, SignInFailed, Unauthenticated
from creditdesk.auth.keys import is_safe_url

with warnings.catch_warnings():
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)  # of httpx, which is the client that we have
    from authlib.integrations.base_client import OAuthError
    from authlib.integrations.httpx_client import AsyncOAuth2Client
    from authlib.integrations.starlette_client import OAuth

SECONDS = 10.0
NAME = "creditdesk"
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")  # RFC 6749 allows more; what goes into a log is what is known to be harmless
# What an answer may make of Authlib: it does not fit, is not JSON, is another provider's, says no.
_MISFITS = (AuthlibBaseError, JoseError, ValueError, TypeError, LookupError, RuntimeError)
_UNREACHABLE = (httpx.HTTPError, httpx.InvalidURL, OSError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the identity provider gave; nothing of it may get into a log."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    id_token: str | None = field(default=None, repr=False)
    issuer_session: str | None = field(default=None, repr=False)


class IdentityProvider:
    """One issuer, as the client that browsers sign in with sees it."""

    def __init__(self, registration: Registration, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._registration = registration
        # Made once: it costs 30 ms, and Authlib has a new HTTP client for every call.
        verify: ssl.SSLContext | bool = httpx.create_ssl_context() if transport is None else True
        self._http = {"timeout": SECONDS, "verify": verify, "transport": transport, "follow_redirects": False}
        self._client: Any = OAuth().register(
            NAME,
            client_id=registration.client_id,
            client_secret=registration.client_secret,
            server_metadata_url=f"{registration.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={**self._http, "scope": registration.scopes, "code_challenge_method": "S256"},
        )

    async def begin(self, request: Request, *, redirect_uri: str) -> str:
        """Return where the browser goes to sign in; what the end of it needs is put into `request.session`."""
        await self._metadata()
        response = await self._client.authorize_redirect(request, redirect_uri, **self._registration.parameters)
        return str(response.headers["location"])

    async def finish(self, request: Request) -> Tokens:
        """Return what the code that came back is worth: state, PKCE, nonce and id token are checked.

        Raises `SignInFailed`, or `IssuerUnavailable`.
        """
        metadata = await self._metadata()
        issuer = request.query_params.get("iss")  # RFC 9207: the answer is not another provider's
        is_said = bool(metadata.get("authorization_response_iss_parameter_supported"))
        if issuer != self._registration.issuer if is_said else issuer not in (None, self._registration.issuer):
            raise SignInFailed("the answer is another issuer's, or does not say whose it is")
        options = {
            "iss": {"essential": True, "value": self._registration.issuer},
            "aud": {"essential": True, "value": self._registration.client_id},
        }
        try:
            token = await self._client.authorize_access_token(
                request, claims_options=options, leeway=self._registration.leeway
            )
        except OAuthError as error:
            raise SignInFailed(f"the identity provider or Authlib said {_shown(error.error)}") from None
        except _UNREACHABLE as error:
            raise _unavailable(error) from None
        except _MISFITS as error:
            raise SignInFailed(f"the answer does not fit: {type(error).__name__}") from None
        claims = token.get("userinfo")
        if not claims:
            raise SignInFailed("there is no id token in the answer")
        tokens = _tokens_in(token)
        sid = claims.get("sid")
        return Tokens(tokens.access_token, tokens.refresh_token, tokens.id_token, sid if isinstance(sid, str) else None)

    async def refresh(self, refresh_token: str) -> Tokens:
        """Return new tokens; raise `RefreshRefused` where these never will be, `IssuerUnavailable` where not now."""
        await self._metadata()
        try:
            token = await self._client.fetch_access_token(grant_type="refresh_token", refresh_token=refresh_token)
            return _tokens_in(token)
        except OAuthError as error:
            if error.error == "invalid_grant":
                raise RefreshRefused("the identity provider takes the refresh token no longer") from None
            # Not the session's fault: the client's secret has changed, or the provider is busy.
            _log.error("tokens could not be refreshed: the identity provider said %s", _shown(error.error))
            raise IssuerUnavailable from None
        except SignInFailed as error:
            raise _unavailable(error) from None
        except (*_UNREACHABLE, *_MISFITS) as error:
            raise _unavailable(error) from None

    def presented(self, tokens: Tokens) -> str:
        """Return the token that says who is calling: the access token, or with some providers the id token."""
        shown = tokens.id_token if self._registration.presents_id_token else tokens.access_token
        if shown is None:
            raise Unauthenticated("the identity provider gave no id token, by which its people are known")
        return shown

    async def revoke(self, refresh_token: str) -> None:
        """Have the refresh token end, where the provider offers that (RFC 7009) and can be reached."""
        try:
            address = (await self._metadata()).get("revocation_endpoint")
            if not isinstance(address, str) or not is_safe_url(address):
                return
            known_as = (self._registration.client_id, self._registration.client_secret)
            async with AsyncOAuth2Client(*known_as, **self._http) as client:
                await client.revoke_token(address, token=refresh_token, token_type_hint="refresh_token")  # noqa: S106
        except (IssuerUnavailable, *_UNREACHABLE, *_MISFITS) as error:
            _log.warning("a refresh token could not be revoked: %s", type(error).__name__)

    async def goodbye(self, *, id_token: str | None, return_to: str) -> str | None:
        """Return where the browser goes to be signed out at the provider too; None where it offers no such thing."""
        try:
            address = (await self._metadata()).get("end_session_endpoint")
        except IssuerUnavailable:
            return None  # one's own session has ended, whether or not the provider is there
        if not isinstance(address, str) or not is_safe_url(address):
            return None
        found = await self._client.create_logout_url(
            post_logout_redirect_uri=return_to, id_token_hint=id_token, client_id=self._registration.client_id
        )
        return str(found["url"])

    async def _metadata(self) -> Mapping[str, Any]:
        """Return what the provider says of itself; once it has been loaded it stays."""
        try:
            metadata: dict[str, Any] = await self._client.load_server_metadata()
        except (*_UNREACHABLE, *_MISFITS) as error:
            raise _unavailable(error) from None
        endpoints = [metadata.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        is_whole = all(isinstance(one, str) and is_safe_url(one) for one in endpoints)
        if metadata.get("issuer") != self._registration.issuer or not is_whole:
            metadata.clear()
            _log.warning("the discovery document of %s is another's, or is not whole", self._registration.issuer)
            raise IssuerUnavailable
        # Neither `none` nor a signature with the client's own secret, whatever the provider offers.
        metadata["id_token_signing_alg_values_supported"] = sorted(self._registration.algorithms)
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if (
            self._registration.client_secret
            and "client_secret_basic" not in methods
            and "client_secret_post" in methods
        ):
            self._client.client_kwargs["token_endpoint_auth_method"] = "client_secret_post"  # noqa: S105
        return metadata


def _tokens_in(answer: Mapping[str, Any]) -> Tokens:
    found = {name: answer.get(name) for name in ("access_token", "refresh_token", "id_token")}
    texts = {name: value for name, value in found.items() if isinstance(value, str) and value}
    if "access_token" not in texts:
        raise SignInFailed("there is no access token in the answer")
    return Tokens(**texts)


def _shown(code: object) -> str:
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else "something else"


def _unavailable(error: Exception) -> IssuerUnavailable:
    # The type only: the text of some errors quotes the address, with what stands in it.
    _log.warning("the identity provider did not answer a sign-in: %s", type(error).__name__)
    return IssuerUnavailable()
