"""Sign-in for browsers: to the identity provider and back, who is signed in, and out again."""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from creditdesk.app.middleware import error_response
from creditdesk.auth.callers import Callers, cookies
from creditdesk.auth.errors import CrossSite, IssuerUnavailable, SignInFailed, Unauthenticated
from creditdesk.auth.identity_provider import IdentityProvider
from creditdesk.auth.origins import CSRF_HEADER, CSRF_VALUE
from creditdesk.auth.sealing import Sealer
from creditdesk.auth.session_cookies import Cookie
from creditdesk.auth.sessions import Entered, Header, Sessions
from creditdesk.credits.errors import CreditError, ErrorCode, InvalidInputError
from creditdesk.db.errors import DatabaseUnavailable
from creditdesk.graphql.ids import encode_id

LOGIN, CALLBACK, LOGOUT, SESSION = "/auth/login", "/auth/callback", "/auth/logout", "/auth/session"
PATIENCE = timedelta(minutes=10)
"""How long a person may take at the identity provider."""
LONGEST_PATH = 1000
_PURPOSE = "a sign-in under way"
# Printable ASCII, and no backslash: browsers take it for a slash, and leave out tabs and line breaks.
_PATH = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")
_STATUS = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.CROSS_SITE: 403,
    ErrorCode.ISSUER_UNAVAILABLE: 503,
    ErrorCode.DATABASE_UNAVAILABLE: 503,
}
_HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer"}

_log = logging.getLogger(__name__)


class SignIn:
    """The endpoints below /auth. What is under way is kept by the browser, in a sealed cookie: nobody is known yet."""

    def __init__(
        self,
        *,
        provider: IdentityProvider,
        sessions: Sessions,
        callers: Callers,
        sealer: Sealer,
        public_url: str,
        now: Callable[[], datetime],
    ) -> None:
        self._provider = provider
        self._sessions = sessions
        self._callers = callers
        self._sealer = sealer
        self._url = public_url
        self._now = now
        self._cookie = Cookie.named("creditdesk-sign-in", secure=public_url.startswith("https://"))

    def routes(self) -> list[Route]:
        """Return the routes; each answers in JSON, or leads on."""
        return [
            Route(LOGIN, _answering(self._login), methods=["GET"]),
            Route(CALLBACK, _answering(self._callback), methods=["GET"]),
            Route(LOGOUT, _answering(self._logout), methods=["POST"]),
            Route(SESSION, _answering(self._session), methods=["GET"]),
        ]

    async def _login(self, request: Request) -> Response:
        """Lead the browser to the identity provider, and have it keep what the way back needs."""
        return_to = safe_path(request.query_params.getlist("return_to"))
        request.scope["session"] = {}
        address = await self._provider.begin(request, redirect_uri=f"{self._url}{CALLBACK}")
        for kept in request.session.values():
            kept["data"].pop("url", None)  # as long as all the rest, and needed no more
        content = {
            "session": request.session,
            "return_to": return_to,
            "until": (self._now() + PATIENCE).timestamp(),
        }
        sealed = self._sealer.seal(content, purpose=_PURPOSE)
        return _leading_to(address, self._cookie.set(sealed, seconds=int(PATIENCE.total_seconds())))

    async def _callback(self, request: Request) -> Response:
        """Take the browser back: only the one that was sent, once, within the time."""
        sealed = self._cookie.read(cookies(request.scope))
        content = self._sealer.open(sealed, purpose=_PURPOSE) if sealed is not None else None
        if content is None or content["until"] <= self._now().timestamp():
            raise SignInFailed("this browser has begun no sign-in, or too long ago")
        request.scope["session"] = content["session"]
        tokens = await self._provider.finish(request)
        shown = self._sessions.shown(cookies(request.scope))
        begun = await self._sessions.start(tokens, presented=self._provider.presented(tokens), replaces=shown)
        return _leading_to(f"{self._url}{content['return_to']}", begun, self._cookie.delete())

    async def _logout(self, request: Request) -> Response:
        """End the session here, and say where to go to end it at the identity provider too."""
        self._callers.check_page(request.scope)
        shown = self._sessions.shown(cookies(request.scope))
        tokens = await self._sessions.end(shown) if shown is not None else None
        address = None
        if tokens is not None:
            if tokens.refresh_token is not None:
                await self._provider.revoke(tokens.refresh_token)
            address = await self._provider.goodbye(id_token=tokens.id_token, return_to=f"{self._url}/")
        return _json({"location": address or f"{self._url}/"}, self._sessions.forgets())

    async def _session(self, request: Request) -> Response:
        """Say who is signed in, and what a page has to know to go on; nothing that is secret."""
        self._callers.check_origin(request.scope)
        shown = self._sessions.shown(cookies(request.scope))
        entered = None
        if shown is not None:
            try:
                entered = await self._sessions.enter(shown, renews=True)
            except Unauthenticated as error:
                _log.info("a session was not entered: %s", error.reason)
        return _json(_described(entered), *(entered.headers if entered else ()))


def safe_path(given: Iterable[str]) -> str:
    """Return where to return to: a path of our own, `/` if none is given; raise InvalidInputError for anything else."""
    match list(given):
        case []:
            return "/"
        case [path] if len(path) <= LONGEST_PATH and _PATH.fullmatch(path):
            return path
        case _:
            raise InvalidInputError("`return_to` takes one path of this site, such as /budgets?month=6.")


def _described(entered: Entered | None) -> dict[str, object]:
    described: dict[str, object] = {
        "signedIn": entered is not None,
        "csrf": {"header": CSRF_HEADER, "value": CSRF_VALUE},
        "login": LOGIN,
        "logout": LOGOUT,
    }
    if entered is None:
        return described
    principal = entered.principal
    return described | {
        "subject": principal.subject,
        "user": encode_id("User", principal.user_id) if principal.user_id is not None else None,
        "roles": sorted(role.name for role in principal.roles),
        "workspace": {"slug": principal.workspace.slug, "name": principal.workspace.name},
        "expiresAt": entered.ends_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _answering(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await handle(request)
        except (SignInFailed, Unauthenticated) as error:
            _log.info("a sign-in was refused: %s", error.reason)
            return _refused(error)
        except (CrossSite, IssuerUnavailable, InvalidInputError) as error:
            return _refused(error)
        except DatabaseUnavailable:
            return error_response(503, ErrorCode.DATABASE_UNAVAILABLE, headers=dict(_HEADERS))

    return answer


def _refused(error: CreditError) -> Response:
    return error_response(_STATUS.get(error.code, 400), error.code, error.message, dict(_HEADERS))


def _leading_to(address: str, *set_cookies: Header) -> Response:
    response = RedirectResponse(address, 303, headers=_HEADERS)
    response.raw_headers.extend(set_cookies)
    return response


def _json(content: dict[str, object], *set_cookies: Header) -> Response:
    response = JSONResponse(content, headers=_HEADERS)
    response.raw_headers.extend(set_cookies)
    return response
