"""Straight ways: requests that are answered without anything of ASGI, and where nothing waits without a task.

ASGI gives each request a scope, a task and messages to wait for, which costs more than a hold does that is placed
together with others. What is asked most goes straight from the parser to the desk, or to the graph's endpoint, and its
answer from there to the connection. A straight way knows only what is plain; any other request goes the whole way,
which says what is off (docs/decisions/0026-straight-ways.md).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

from creditdesk.app.logs import request_id
from creditdesk.app.middleware import Requests, error_response, id_header
from creditdesk.credits.errors import ErrorCode

STATE = "straight_ways"
"""Where an application's lifespan puts its `StraightWays`, for the connections that are made after that."""

Headers = Sequence[tuple[bytes, bytes]]
Told = tuple[int, Headers, bytes]
"""An answer: its status, all its headers but those that every answer has, and its body."""

_VARY = b"vary"
_log = logging.getLogger(__name__)


class Connection(Protocol):
    """What an answer is written to."""

    def send_whole(self, call: "StraightCall", status: int, headers: Headers, content: bytes) -> None:
        """Send an answer, unless nobody is there any more."""
        ...

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work in a task, which the end of the server waits for."""
        ...


class StraightCall:
    """A request that is being answered; in uvicorn's eyes one of its cycles."""

    __slots__ = (
        "_begun", "_connection", "_left", "_ways", "disconnected", "id", "keep_alive", "response_complete", "route",
    )  # fmt: skip

    def __init__(self, connection: Connection, ways: "StraightWays", route: str, id_: str) -> None:
        self._connection = connection
        self._ways = ways
        self.route = route
        self._begun = perf_counter()
        self.id = id_
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False
        self._left: asyncio.Future[None] | None = None

    @property
    def message_event(self) -> "StraightCall":
        """What uvicorn sets when the client has hung up: all else that it sends is for other requests."""
        return self

    def set(self) -> None:
        """Tell whoever waits for it that the client has hung up."""
        if self.disconnected and self._left is not None and not self._left.done():
            self._left.set_result(None)

    async def gone(self) -> None:
        """Wait until the client has hung up."""
        if not self.disconnected:
            self._left = asyncio.get_running_loop().create_future()
            await self._left

    def run(self, work: Coroutine[Any, Any, Told | None]) -> None:
        """Do the work in a task, and answer what comes of it; None where nobody waits for that any more."""
        self._connection.run(self._answered(work))

    async def _answered(self, work: Coroutine[Any, Any, Told | None]) -> None:
        request_id.set(self.id)  # in the task's own context
        try:
            told = await work
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told that it was one
            self.fail(error)
        except BaseException:
            self._drop()
            raise
        else:
            if told is None:
                self._drop()
            else:
                self.answer(*told)

    def _drop(self) -> None:
        """Note that there was no answer."""
        self.response_complete = True
        self._ways.answered(self, None, perf_counter() - self._begun)

    def answer(self, status: int, headers: Headers, content: bytes) -> None:
        """Send the answer, of which these are all headers but those that every answer has, and note it."""
        self._send(status, self._ways.varied(headers), content)

    def _send(self, status: int, headers: Headers, content: bytes) -> None:
        self.response_complete = True
        self._connection.send_whole(self, status, (*headers, id_header(self.id)), content)
        self._ways.answered(self, status, perf_counter() - self._begun)

    def fail(self, error: Exception) -> None:
        """Answer that something went wrong that nobody expected."""
        token = request_id.set(self.id)
        _log.error("a request failed unexpectedly", exc_info=error)
        response = error_response(500, ErrorCode.INTERNAL)
        request_id.reset(token)
        self._send(500, response.raw_headers, bytes(response.body))


Way = Callable[[Mapping[bytes, bytes], bytes, StraightCall], bool]
"""Begins to answer a POST by its headers, which are all different, and its body; or returns False, having done nothing
that the whole way would not do again."""


class StraightWays:
    """The straight ways of an application, by the path that each is for.

    `varies` is what each answer may be another by, besides what it says itself.
    """

    def __init__(self, ways: Mapping[str, Way], requests: Requests, *, varies: bytes | None = None) -> None:
        self._ways = {path.encode(): (path, way) for path, way in ways.items()}
        self.requests = requests
        self._varies = varies
        self._notes: list[tuple[StraightCall, int | None, float]] = []

    def varied(self, headers: Headers) -> Headers:
        """Return an answer's headers with what it may be another by."""
        if self._varies is None:
            return headers
        said = next((value for name, value in headers if name == _VARY), None)
        if said is None:
            return (*headers, (_VARY, self._varies))
        return [(name, b"%s, %s" % (value, self._varies) if name == _VARY else value) for name, value in headers]

    def answered(self, call: StraightCall, status: int | None, seconds: float) -> None:
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
