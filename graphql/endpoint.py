"""The HTTP endpoint: a bearer token and a GraphQL request in, JSON out, whatever comes in."""

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from creditdesk.auth.authenticate import www_authenticate
from creditdesk.auth.callers import Callers
from creditdesk.auth.errors import CrossSite, IssuerUnavailable, Unauthenticated
from creditdesk.auth.principal import Principal
from creditdesk.credits.errors import CreditError
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseUnavailable
from creditdesk.graphql.answering import Answer, Answering, refusal
from creditdesk.graphql.context import Context
from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.incoming import RefusedError, malformed, request_of_json

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
    ) -> None:
        self._database = database
        self._desk = desk
        self._callers = callers
        self._answering = answering
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every answer is JSON."""
        request = Request(scope, receive)
        headers: list[tuple[bytes, bytes]] = []
        try:
            response = _response(await self._answered(request, headers))
        except ClientDisconnect:
            return
        except RefusedError as error:
            response = _response(refusal(error))
        except Unauthenticated as error:
            response = _refused(401, error, {"www-authenticate": www_authenticate(error)})
        except CrossSite as error:
            response = _refused(403, error)
        except IssuerUnavailable as error:
            response = _refused(503, error)
        except DatabaseUnavailable:
            response = _response(refusal(RefusedError(503, ErrorCode.DATABASE_UNAVAILABLE)))
        response.headers["cache-control"] = "private, no-store"
        response.raw_headers.extend(headers)
        await response(scope, receive, send)

    async def _answered(self, request: Request, headers: list[tuple[bytes, bytes]]) -> Answer:
        if request.method != "POST":
            message = "GraphQL requests are sent with POST."
            raise RefusedError(405, ErrorCode.MALFORMED_REQUEST, message, headers={"allow": "POST"})
        caller = await self._callers.caller_of(request.scope)
        headers += caller.headers  # of whatever is answered from here on, errors too
        content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if content_type != "application/json":
            raise malformed("The content type must be application/json.", 415)
        asked = request_of_json(await self._body(request))
        return await self._answering.answer(asked, self._context(caller.principal))

    def _context(self, principal: Principal) -> Context:
        return Context(database=self._database, desk=self._desk, principal=principal, now=datetime.now(UTC))

    async def _body(self, request: Request) -> bytes:
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


def _response(answer: Answer) -> Response:
    return Response(
        orjson.dumps(answer.shown),
        status_code=answer.status,
        media_type="application/json",
        headers=dict(answer.headers),
    )


def _refused(status: int, error: CreditError, headers: Mapping[str, str] | None = None) -> Response:
    return _response(refusal(RefusedError(status, error.code, error.message, headers=headers)))
