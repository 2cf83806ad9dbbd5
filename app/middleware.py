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


class Requests:
    """Names requests, and notes what became of them in the log and in the metrics."""

    def __init__(self, *, count: Callable[[str, str, float], None]) -> None:
        self._count = count  # of a path, its status, and how many seconds it took
        self._log = RequestLog()
        # Unlike a random one for each request, this asks the system for randomness once.
        self._name = f"{secrets.token_hex(8)}-"
        self._numbers = itertools.count(1)

    def id_of(self, headers: Mapping[bytes, bytes]) -> str:
        """Return the id that the client gave a request, if it is one, or a new one."""
        given = headers.get(_REQUEST_ID)
        if given is not None and _SANE_ID.fullmatch(stated := given.decode("latin-1")):
            return stated
        return f"{self._name}{next(self._numbers):x}"

    def note(self, *, method: str, route: str | None, path: str, status: int | None, seconds: float) -> None:
        """Note the request that `request_id` is of. Its path is told as it was asked for only where it has no route."""
        self._count(route or "unmatched", str(status or "none"), seconds)
        self._log.note(method=method, route=route, path=path[:LONGEST_PATH], status=status, seconds=seconds)


class RequestMiddleware:
    """Pure ASGI, so that it neither copies bodies nor hides the client's hanging up."""

    def __init__(self, app: ASGIApp, *, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, whatever happens to it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        current = self._requests.id_of(dict(scope["headers"]))
        scope.setdefault("state", {})["request_id"] = current  # for the floors below, which may not import this one
        token = request_id.set(current)
        begun = time.perf_counter()
        status: int | None = None

        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header(current)]
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
            route: Route | None = scope.get("route")
            self._requests.note(
                method=scope["method"],
                route=None if route is None else route.path,
                path=scope["path"],
                status=status,
                seconds=time.perf_counter() - begun,
            )
            request_id.reset(token)


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


def id_header(id_: str) -> tuple[bytes, bytes]:
    """Return the header that tells a client its request's id."""
    return _REQUEST_ID, id_.encode()
