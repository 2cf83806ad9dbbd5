"""Straight ways: requests that are answered without a task of their own, and without anything of ASGI.

ASGI gives each request a scope, a task and messages to wait for, which costs more than a hold does that is placed
together with others. What gateways ask most goes straight from the parser to the desk, and its answer from there to
the connection. A straight way knows only what is plain; any other request goes the whole way, which says what is off
(docs/decisions/0026-straight-ways.md).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Protocol

from creditdesk.app.logs import request_id
from creditdesk.app.middleware import Requests, error_response, id_header
from creditdesk.credits.errors import ErrorCode

STATE = "straight_ways"
"""Where an application's lifespan puts its `StraightWays`, for the connections that are made after that."""

Headers = Sequence[tuple[bytes, bytes]]

_log = logging.getLogger(__name__)


class Connection(Protocol):
    """What an answer is written to."""

    def send_whole(self, call: "StraightCall", status: int, headers: Headers, content: bytes) -> None:
        """Send an answer, unless nobody is there any more."""
        ...


class _Nobody:
    def set(self) -> None:
        """Wake nobody: no task waits for what else the client sends."""


class StraightCall:
    """A request that is being answered; in uvicorn's eyes one of its cycles."""

    __slots__ = ("_begun", "_connection", "_ways", "disconnected", "id", "keep_alive", "response_complete", "route")

    message_event = _Nobody()

    def __init__(self, connection: Connection, ways: "StraightWays", route: str, id_: str) -> None:
        self._connection = connection
        self._ways = ways
        self.route = route
        self._begun = perf_counter()
        self.id = id_
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False

    def answer(self, status: int, headers: Headers, content: bytes) -> None:
        """Send the answer, of which these are all headers but those that every answer has, and note it."""
        self.response_complete = True
        self._connection.send_whole(self, status, (*headers, *self._ways.headers, id_header(self.id)), content)
        self._ways.answered(self, status, perf_counter() - self._begun)

    def fail(self, error: Exception) -> None:
        """Answer that something went wrong that nobody expected."""
        token = request_id.set(self.id)
        _log.error("a request failed unexpectedly", exc_info=error)
        response = error_response(500, ErrorCode.INTERNAL)
        request_id.reset(token)
        self.answer(500, response.raw_headers, bytes(response.body))


Way = Callable[[Mapping[bytes, bytes], bytes, StraightCall], bool]
"""Begins to answer a POST by its headers, which are all different, and its body; or returns False, having done nothing
that the whole way would not do again."""


class StraightWays:
    """The straight ways of an application, by the path that each is for; `headers` are those of each answer."""

    def __init__(self, ways: Mapping[str, Way], requests: Requests, *, headers: Headers = ()) -> None:
        self._ways = {path.encode(): (path, way) for path, way in ways.items()}
        self.requests = requests
        self.headers = headers
        self._notes: list[tuple[StraightCall, int, float]] = []

    def answered(self, call: StraightCall, status: int, seconds: float) -> None:
        """Note a call, once the answers of this turn of the loop are on their way."""
        if not self._notes:
            asyncio.get_running_loop().call_soon(self._note)
        self._notes.append((call, status, seconds))

    def _note(self) -> None:
        notes, self._notes = self._notes, []
        for call, status, seconds in notes:
            token = request_id.set(call.id)
            self.requests.note(method="POST", route=call.route, path=call.route, status=status, seconds=seconds)
            request_id.reset(token)

    def __contains__(self, url: bytes) -> bool:
        """Tell whether there is a way for what stands in a request's first line."""
        return url in self._ways

    def begin(self, url: bytes, headers: Headers, content: bytes, connection: Connection) -> StraightCall | None:
        """Begin to answer a request; return None where it has to go the whole way."""
        path, way = self._ways[url]
        given = dict(headers)
        if len(given) < len(headers) or b"origin" in given:  # what a page of another origin may read is no plain matter
            return None
        call = StraightCall(connection, self, path, self.requests.id_of(given))
        return call if way(given, content, call) else None
