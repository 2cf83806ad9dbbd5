"""Around every request: its id, its line in the log, its place in the metrics, and the last resort."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from creditdesk.app.logs import RequestLog, request_id
from creditdesk.credits.errors import ErrorCode

LONGEST_PATH = 200
REQUEST_ID = "x-request-id"
_REQUEST_ID = REQUEST_ID.encode()
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

_log = logging.getLogger(__name__)


class RequestMiddleware:
    """Pure ASGI, so that it neither copies bodies nor hides the client's hanging up."""

    def __init__(self, app: ASGIApp, *, count: Callable[[str, str, float], None]) -> None:
        self._app = app
        self._count = count  # of a path, its status, and how many seconds it took
        self._requests = RequestLog()
        # Unlike a random one for each request, this asks the system for randomness once.
        self._name = f"{secrets.token_hex(8)}-"
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, whatever happens to it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        current = _incoming_id(scope) or f"{self._name}{next(self._numbers):x}"
        scope.setdefault("state", {})["request_id"] = current  # for the floors below, which may not import this one
        token = request_id.set(current)
        begun = time.perf_counter()
        status: int | None = None

        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_REQUEST_ID, current.encode())]
            return send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            _log.info("the client hung up")
        except Exception:
            _log.exception("a request failed unexpectedly")
            if status is not None:
                raise  # half an answer is out: the server cuts the connection, so that nobody takes it for a whole one
            await error_response(500, ErrorCode.INTERNAL)(scope, receive, send_with_id)
        finally:
            self._note(scope, status, time.perf_counter() - begun)
            request_id.reset(token)

    def _note(self, scope: Scope, status: int | None, seconds: float) -> None:
        route: Route | None = scope.get("route")
        path = None if route is None else route.path
        self._count(path or "unmatched", str(status or "none"), seconds)
        self._requests.note(
            method=scope["method"], route=path, path=scope["path"][:LONGEST_PATH], status=status, seconds=seconds
        )


class Shortcuts:
    """Leads requests of some paths to their applications past the router, and those of what is below a tree."""

    def __init__(self, app: ASGIApp, *, paths: Mapping[str, ASGIApp], trees: Sequence[str] = ()) -> None:
        """`trees` are those of the paths that have others below them."""
        self._app = app
        self._ways = {path: (Route(path, leads_to), leads_to) for path, leads_to in paths.items()}
        self._trees = {f"{path}/": self._ways[path] for path in trees}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer the request, or let it pass."""
        way = self._way(scope["path"]) if scope["type"] == "http" else None
        if way is None:
            return self._app(scope, receive, send)
        scope["route"], leads_to = way  # the route is its name in the metrics
        return leads_to(scope, receive, send)

    def _way(self, path: str) -> tuple[Route, ASGIApp] | None:
        found = self._ways.get(path)
        if found is None:
            found = next((way for tree, way in self._trees.items() if path.startswith(tree)), None)
        return found


def error_response(
    status: int, code: ErrorCode, message: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return an error outside of GraphQL in GraphQL's form, with the request's id."""
    extensions = {"code": code.name, "requestId": request_id.get()}
    errors = [{"message": message or code.value, "extensions": extensions}]
    return JSONResponse({"errors": errors}, status, headers)


def _incoming_id(scope: Scope) -> str | None:
    value = dict(scope["headers"]).get(_REQUEST_ID)
    if value is None:
        return None
    given: str = value.decode("latin-1")
    return given if _SANE_ID.fullmatch(given) else None
