"""The HTTP endpoint: a bearer token and a GraphQL request in, JSON out, whatever comes in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import orjson
from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from creditdesk.auth.authenticate import www_authenticate
from creditdesk.auth.callers import Caller, Callers
from creditdesk.auth.errors import CrossSite, IssuerUnavailable, Unauthenticated
from creditdesk.credits.errors import CreditError
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.kept_usage import KeptUsage
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseUnavailable
from creditdesk.graphql.answering import READ, READ_OR_CHANGE, Answer, Answering, refusal
from creditdesk.graphql.context import Context, View
from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.event_stream import Asked, EventStreams
from creditdesk.graphql.incoming import GraphQLRequest, RefusedError, malformed, request_of_json, request_of_parameters
from creditdesk.graphql.media_types import GRAPHQL_RESPONSE, JSON, is_json, negotiated, prefers_events
from creditdesk.graphql.open_connection import DirectCall, Told
from creditdesk.graphql.protection.deadline import HungUpError
from creditdesk.graphql.streams import ANY, READ_AND_WATCH

METHODS = ("GET", "HEAD", "POST")
_ALLOW = ", ".join((*METHODS, "OPTIONS"))
PREFLIGHT_HEADERS = (
    "graphql-require-preflight",
    "apollo-require-preflight",
    "x-apollo-operation-name",
    "x-creditdesk-csrf",
)

_HEADERS = ((b"cache-control", b"private, no-store"), (b"vary", b"Accept"))

_DRAINED_BODIES = 8
"""A body that is too large is still read, up to this many times the limit, so that its sender gets to the answer."""


class GraphQLEndpoint:
    """An ASGI application: authenticates each request, then has it answered under the caller's permissions."""

    def __init__(
        self,
        *,
        database: Database,
        desk: HoldDesk,
        callers: Callers,
        answering: Answering,
        max_body_bytes: int,
        events: EventStreams | None = None,
        kept_usage: KeptUsage | None = None,
    ) -> None:
        self._database = database
        self._desk = desk
        self._callers = callers
        self._answering = answering
        self._max_body_bytes = max_body_bytes
        self._events = events
        self._kept_usage = kept_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every answer is JSON."""
        request = Request(scope, receive)
        if request.method == "OPTIONS":
            await Response(status_code=204, headers={"allow": _ALLOW})(scope, receive, send)
            return
        headers: list[tuple[bytes, bytes]] = []
        accept = _listed(request, "accept")
        media_type = negotiated(accept)
        try:
            if self._events is not None and prefers_events(accept):
                answer = await _or_refusal(self._streamed(self._events, request, headers, send))
            else:
                answer = await _or_refusal(self._answered(request, media_type, headers))
        except (ClientDisconnect, HungUpError):
            return
        if answer is None:
            return
        status, shown, body = _response(answer, media_type or JSON, headers)
        await send({"type": "http.response.start", "status": status, "headers": shown})
        await send({"type": "http.response.body", "body": body})

    def begin(self, headers: Mapping[bytes, bytes], content: bytes, call: DirectCall) -> bool:
        """Answer a POST in JSON of somebody who is known by a token: the straight way of `/graphql`."""
        accept, content_type = _text(headers, b"accept"), _text(headers, b"content-type")
        media_type = negotiated(accept)
        if (
            media_type is None
            or (self._events is not None and prefers_events(accept))
            or content_type is None
            or not is_json([content_type])
            or b"content-encoding" in headers
            or len(content) > self._max_body_bytes
        ):
            return False
        try:
            caller = self._callers.presumed_with(_text(headers, b"authorization"))
            request = request_of_json(content)
        except (Unauthenticated, RefusedError):
            return False
        if caller is None:
            return False
        call.run(self._told(request, caller, media_type, call))
        return True

    async def _told(self, request: GraphQLRequest, caller: Caller, media_type: str, call: DirectCall) -> Told | None:
        work = self._answering.answer(request, self._context(caller), READ_OR_CHANGE, gone=call.gone)
        try:
            answer = await _or_refusal(work)
        except HungUpError:
            return None
        return None if answer is None else _response(answer, media_type, caller.headers)

    async def _streamed(
        self, events: EventStreams, request: Request, headers: list[tuple[bytes, bytes]], send: Send
    ) -> Answer | None:
        asked = await self._asked(request, headers, READ_AND_WATCH, ANY)
        asked = replace(asked, caller=await self._callers.confirmed(asked.caller))
        return await events.respond(asked, request.scope, request.receive, send)

    async def _answered(self, request: Request, media_type: str | None, headers: list[tuple[bytes, bytes]]) -> Answer:
        if media_type is None and request.method in METHODS:
            raise malformed(f"The answer is of type {JSON} or {GRAPHQL_RESPONSE}: accept one of them.", 406)
        asked = await self._asked(request, headers, READ, READ_OR_CHANGE)
        context = self._context(asked.caller)
        return await self._answering.answer(asked.request, context, asked.allowed, gone=_gone(request))

    async def _asked(
        self,
        request: Request,
        headers: list[tuple[bytes, bytes]],
        by_get: frozenset[OperationType],
        by_post: frozenset[OperationType],
    ) -> Asked:
        if request.method not in METHODS:
            message = f"GraphQL requests are sent with {', '.join(METHODS)}."
            raise RefusedError(405, ErrorCode.MALFORMED_REQUEST, message, headers={"allow": _ALLOW})
        if request.method == "POST":
            caller = await self._caller(request, headers)
            try:
                return Asked(request_of_json(await self._json_body(request)), caller, by_post)
            except RefusedError:
                await self._callers.confirmed(caller)
                raise
        if not any(request.headers.get(name) for name in PREFLIGHT_HEADERS):
            # No browser sends them for another site unasked, so that no page elsewhere runs a query by a link.
            raise malformed(f"A GET needs one of the headers {', '.join(PREFLIGHT_HEADERS)}, with any value.")
        caller = await self._callers.confirmed(await self._caller(request, headers))
        return Asked(request_of_parameters(request.query_params.multi_items()), caller, by_get)

    async def _caller(self, request: Request, headers: list[tuple[bytes, bytes]]) -> Caller:
        """Return who sent this; somebody who is known is only presumed to be who they were."""
        caller = self._callers.presumed_of(request.scope) or await self._callers.caller_of(request.scope)
        headers += caller.headers  # of whatever is answered from here on, errors too
        return caller

    def _context(self, caller: Caller) -> Context:
        return Context(
            database=self._database,
            desk=self._desk,
            principal=caller.principal,
            now=datetime.now(UTC),
            view=View.kept_of(self._database, caller),
            presumed=caller if caller.is_presumed else None,
            callers=self._callers,
            kept_usage=self._kept_usage,
        )

    async def _json_body(self, request: Request) -> bytes:
        if not is_json(request.headers.getlist("content-type")):
            raise malformed(f"The content type must be {JSON}, in UTF-8.", 415)
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise malformed("The body must not be compressed.", 415)
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= self._max_body_bytes:
                chunks.append(chunk)
            elif size > _DRAINED_BODIES * self._max_body_bytes:
                break
        if size > self._max_body_bytes:
            raise RefusedError(413, ErrorCode.PAYLOAD_TOO_LARGE)
        return b"".join(chunks)


def _gone(request: Request) -> Callable[[], Awaitable[None]]:
    """Return what waits until the client has hung up, once its request is read."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone


def _listed(request: Request, name: str) -> str | None:
    """Return a header, which may be sent in several lines (RFC 9110, section 5.3)."""
    return ", ".join(request.headers.getlist(name)) or None


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    found = headers.get(name)
    return None if found is None else found.decode("latin-1")


async def _or_refusal(work: Awaitable[Answer | None]) -> Answer | None:
    """Return what comes of a request, or the answer that says what is off."""
    try:
        return await work
    except RefusedError as error:
        return refusal(error)
    except Unauthenticated as error:
        return _refused(401, error, {"www-authenticate": www_authenticate(error)})
    except CrossSite as error:
        return _refused(403, error)
    except IssuerUnavailable as error:
        return _refused(503, error)
    except DatabaseUnavailable:
        return refusal(RefusedError(503, ErrorCode.DATABASE_UNAVAILABLE))


def _response(answer: Answer, media_type: str, more: Sequence[tuple[bytes, bytes]]) -> Told:
    status = answer.status
    if status == 200 and not answer.executed and media_type == GRAPHQL_RESPONSE:  # noqa: PLR2004 - OK
        status = (
            400  # Only this type tells a GraphQL server's answer from that of some proxy, so only there it says so.
        )
    body = orjson.dumps(answer.shown)
    headers = [
        *_HEADERS,
        *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()),
        (b"content-length", b"%d" % len(body)),
        (b"content-type", media_type.encode("latin-1")),
        *more,
    ]
    return status, headers, body


def _refused(status: int, error: CreditError, headers: Mapping[str, str] | None = None) -> Answer:
    return refusal(RefusedError(status, error.code, error.message, headers=headers))
