"""Pages of other origins (CORS): those on the list may read answers, also of a cookie; all others none."""

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from creditdesk.app.middleware import REQUEST_ID
from creditdesk.auth.origins import CSRF_HEADER, Origins
from creditdesk.graphql.endpoint import PREFLIGHT_HEADERS

PREFLIGHT_SECONDS = 600
METHODS = ("GET", "POST")
HEADERS = {"authorization", "content-type", "last-event-id", CSRF_HEADER, REQUEST_ID, *PREFLIGHT_HEADERS}


class CrossOrigin:
    """Starlette's CORS for listed origins; a request of any other origin passes without a word on CORS in its answer.

    Starlette's own would tell every origin that credentials are allowed.
    """

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        self._app = app
        self._allowed = {origin.encode("latin-1") for origin in origins.allowed}
        self._listed = CORSMiddleware(
            app,
            allow_origins=sorted(origins.allowed),
            allow_credentials=True,
            allow_methods=METHODS,
            allow_headers=HEADERS,
            expose_headers=(REQUEST_ID, "retry-after"),
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        if scope["type"] != "http" or not self._allowed:
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"origin"]
        if len(given) == 1 and given[0] in self._allowed:
            await self._listed(scope, receive, send)
            return

        async def send_varying(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, send_varying)
