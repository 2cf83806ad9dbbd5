"""The demo's tokens, for its page at /graphiql: nobody but the demo puts this around a server."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from creditdesk.app.graphiql import PATH

_OF_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


class OfferedTokens:
    """Answers what tokens there are, and lets everything else through."""

    def __init__(self, app: ASGIApp, tokens: Mapping[str, str]) -> None:
        self._app = app
        self._tokens = dict(tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the tokens to the page, and to no other one."""
        if scope["type"] == "http" and scope["path"] == f"{PATH}/tokens.json" and _is_own(Request(scope)):
            response = JSONResponse(self._tokens, headers={"cache-control": "no-store"})
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_own(request: Request) -> bool:
    """Tell whether a browser on this machine asks, by a name of this machine, for a page from here.

    A page elsewhere may have its own name lead here (DNS rebinding), so that it may read what it is answered.
    """
    client = request.client.host if request.client else ""
    return (
        client in _OF_THIS_MACHINE
        and request.url.hostname in _OF_THIS_MACHINE
        and request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
    )
