"""What clients send to the demo issuer, read strictly: malformed input is an OAuth error, never a crash."""

import base64
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse

MOST_FORM_BYTES = 64 * 1024
MOST_FIELDS = 50
FORM = "application/x-www-form-urlencoded"
NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


class OAuthError(Exception):
    """A refusal with a code of RFC 6749, section 5.2."""

    def __init__(self, code: str, description: str, *, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status

    def response(self) -> JSONResponse:
        """Return the refusal as JSON."""
        headers = NO_STORE | ({"www-authenticate": 'Basic realm="demo issuer"'} if self.status == 401 else {})  # noqa: PLR2004
        return JSONResponse({"error": self.code, "error_description": self.description}, self.status, headers)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Who a client says it is; a public client has no secret."""

    client_id: str
    secret: str | None


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form, each given once."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise OAuthError("invalid_request", f"The body must be {FORM}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            raise OAuthError("invalid_request", "The body is too large.", status=413)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise OAuthError("invalid_request", "The body is not a form in UTF-8.") from None
    return fields_given_once(pairs)


def fields_given_once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters by name; RFC 6749, section 3.1, allows none to repeat, and takes an empty one as absent."""
    given = [(name, value) for name, value in pairs if value]
    by_name = dict(given)
    if len(by_name) != len(given):
        raise OAuthError("invalid_request", "A parameter is given more than once.")
    return by_name


def granted_scopes(allowed: Collection[str], asked: str) -> tuple[str, ...]:
    """Return the scopes asked for, each once; one that is not allowed refuses them all."""
    scopes = tuple(dict.fromkeys(asked.split()))
    if not set(scopes) <= set(allowed):
        raise OAuthError("invalid_scope", "A scope is not one of this client's.")
    return scopes


def client_credentials(authorization: str | None, form: dict[str, str]) -> ClientCredentials:
    """Return the client's credentials from the header (client_secret_basic) or the form (client_secret_post, none)."""
    if authorization is None:
        if "client_id" not in form:
            raise OAuthError("invalid_client", "The client does not say who it is.", status=401)
        return ClientCredentials(form["client_id"], form.get("client_secret"))
    if "client_secret" in form:
        raise OAuthError("invalid_request", "The client authenticates in two ways at once.")
    basic = _basic(authorization)
    if form.get("client_id", basic.client_id) != basic.client_id:
        raise OAuthError("invalid_request", "The header and the form name different clients.")
    return basic


def _basic(authorization: str) -> ClientCredentials:
    scheme, _, encoded = authorization.partition(" ")
    try:
        decoded = base64.b64decode(encoded.strip().encode("ascii"), validate=True).decode()
        client_id, colon, secret = decoded.partition(":")
        # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
        credentials = ClientCredentials(unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict"))
    except ValueError:
        scheme = colon = ""
    if scheme.lower() != "basic" or not colon:
        raise OAuthError("invalid_client", "The Authorization header is not a Basic one.", status=401)
    return credentials
