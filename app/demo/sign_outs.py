"""Signing out at the demo issuer: RP-initiated logout, and taking a refresh token back (RFC 7009)."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast
from urllib.parse import urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, KeySetSerialization
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from creditdesk.app.demo.grants import Grants
from creditdesk.app.demo.oauth_requests import (
    NO_STORE,
    ClientCredentials,
    OAuthError,
    client_credentials,
    fields_given_once,
    read_form,
)
from creditdesk.app.demo.signing_keys import SigningKeys

END_SESSION, REVOKE = "/end-session", "/revoke"


class SigningOut(Protocol):
    """A client, as far as it matters here."""

    @property
    def sign_out_uris(self) -> tuple[str, ...]:
        """Where its pages may be returned to."""
        ...


class SignOuts:
    """Ends what was granted. Nobody stays signed in at this issuer, so there is nothing else to end."""

    def __init__(
        self,
        grants: Grants,
        keys: SigningKeys,
        clients: Mapping[str, SigningOut],
        known_client: Callable[[ClientCredentials], object],
    ) -> None:
        self._grants = grants
        self._keys = keys
        self._clients = clients
        self._known_client = known_client

    def routes(self) -> list[Route]:
        """Return the two endpoints."""
        return [
            Route(END_SESSION, self._end_session, methods=["GET"]),
            Route(REVOKE, self._revoke, methods=["POST"]),
        ]

    async def _end_session(self, request: Request) -> Response:
        """End what the id token's subject has granted its client, and return to a page that the client has named."""
        try:
            asked = fields_given_once(request.query_params.multi_items())
            hint = self._hinted(asked["id_token_hint"])
        except (OAuthError, LookupError, ValueError):
            return PlainTextResponse("An id_token_hint of this issuer is needed.", 400)
        client_id, subject = str(hint.get("aud")), str(hint.get("sub"))
        self._grants.end_all(subject=subject, client_id=client_id)
        address = asked.get("post_logout_redirect_uri")
        if address is None or asked.get("client_id", client_id) != client_id:
            return PlainTextResponse("You are signed out.", headers=NO_STORE)
        if client_id not in self._clients or address not in self._clients[client_id].sign_out_uris:
            return PlainTextResponse("You are signed out. The address to return to is not the client's own.", 400)
        if "state" in asked:
            address += ("&" if urlsplit(address).query else "?") + urlencode({"state": asked["state"]})
        return RedirectResponse(address, 303, headers=NO_STORE)

    def _hinted(self, id_token: str) -> Mapping[str, Any]:
        """Return the claims of an id token of ours, whether or not it has expired; raise ValueError for any other."""
        keys = KeySet.import_key_set(cast("KeySetSerialization", self._keys.published()))
        try:
            return jwt.decode(id_token, keys, algorithms=["RS256"]).claims
        except JoseError as error:
            raise ValueError("not an id token of this issuer") from error

    async def _revoke(self, request: Request) -> Response:
        try:
            form = await read_form(request)
            client_id = client_credentials(request.headers.get("authorization"), form)
            self._known_client(client_id)
        except OAuthError as error:
            return error.response()
        self._grants.end_family(form.get("token", ""), client_id=client_id.client_id)
        return Response(headers=NO_STORE)  # also for a token that is none: RFC 7009, section 2.2
