"""The HTTP endpoint: a bearer token and a GraphQL request in, JSON out, whatever comes in."""

import re
from datetime import UTC, datetime
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import PreExecutionError

from creditdesk.auth.authenticate import www_authenticate
from creditdesk.auth.callers import Callers
from creditdesk.auth.errors import CrossSite, IssuerUnavailable, Unauthenticated
from creditdesk.credits.errors import CreditError
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseUnavailable
from creditdesk.graphql.context import Context
from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.errors import shown_error
from creditdesk.graphql.schema import schema

_DRAINED_BODIES = 8
"""A body that is too large is still read, up to this many times the limit, so that its sender gets to the answer."""


_ESCAPED_NUL = re.compile(r"\\u(0000|\{0+\})")


class _RefusedError(CreditError):
    """A request that is not executed, with the status it is answered with."""

    def __init__(self, status: int, code: ErrorCode, message: str | None = None) -> None:
        self.status = status
        self.code = code
        super().__init__(message or code.value)


class GraphQLEndpoint:
    """An ASGI application: authenticates each request, then executes it under the caller's permissions."""

    def __init__(self, *, database: Database, desk: HoldDesk, callers: Callers, max_body_bytes: int) -> None:
        self._database = database
        self._desk = desk
        self._callers = callers
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every answer is JSON."""
        request = Request(scope, receive)
        headers: list[tuple[bytes, bytes]] = []
        try:
            response = _answer(await self._executed(request, headers))
        except ClientDisconnect:
            return
        except _RefusedError as error:
            response = _refusal(error.status, error)
        except Unauthenticated as error:
            response = _refusal(401, error)
            response.headers["www-authenticate"] = www_authenticate(error)
        except CrossSite as error:
            response = _refusal(403, error)
        except IssuerUnavailable as error:
            response = _refusal(503, error)
        except DatabaseUnavailable:
            response = _refusal(503, _RefusedError(503, ErrorCode.DATABASE_UNAVAILABLE))
        response.headers["cache-control"] = "private, no-store"
        response.raw_headers.extend(headers)
        await response(scope, receive, send)

    async def _executed(self, request: Request, headers: list[tuple[bytes, bytes]]) -> dict[str, object]:
        if request.method != "POST":
            raise _RefusedError(405, ErrorCode.MALFORMED_REQUEST, "GraphQL requests are sent with POST.")
        caller = await self._callers.caller_of(request.scope)
        headers += caller.headers  # of whatever is answered from here on, errors too
        content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if content_type != "application/json":
            raise _RefusedError(415, ErrorCode.MALFORMED_REQUEST, "The content type must be application/json.")
        query, variables, operation_name = _parsed(await self._body(request))
        try:
            result = await schema.execute(
                query,
                variable_values=variables,
                operation_name=operation_name,
                context_value=Context(
                    database=self._database, desk=self._desk, principal=caller.principal, now=datetime.now(UTC)
                ),
            )
        except (CannotGetOperationTypeError, InvalidOperationTypeError) as error:
            raise _RefusedError(
                400, ErrorCode.MALFORMED_REQUEST, "The document has no such operation, or none that is sent this way."
            ) from error
        executed = not isinstance(result, PreExecutionError)
        return _shown(result.data, result.errors, executed=executed)

    async def _body(self, request: Request) -> bytes:
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= self._max_body_bytes:
                chunks.append(chunk)
            elif size > _DRAINED_BODIES * self._max_body_bytes:
                break
        if size > self._max_body_bytes:
            raise _RefusedError(413, ErrorCode.PAYLOAD_TOO_LARGE)
        return b"".join(chunks)


def _parsed(body: bytes) -> tuple[str, dict[str, Any] | None, str | None]:
    """Return the query, the variables and the operation's name; raise _RefusedError for anything else."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _RefusedError(400, ErrorCode.MALFORMED_REQUEST, "The body is not JSON.") from error
    if not isinstance(data, dict):
        raise _RefusedError(400, ErrorCode.MALFORMED_REQUEST, "The body must be a JSON object.")
    query, variables, operation_name = data.get("query"), data.get("variables"), data.get("operationName")
    if not isinstance(query, str) or not query:
        raise _RefusedError(400, ErrorCode.MALFORMED_REQUEST, "`query` must be a string with a document in it.")
    if not isinstance(variables, dict | None):
        raise _RefusedError(400, ErrorCode.MALFORMED_REQUEST, "`variables` must be an object.")
    if not isinstance(operation_name, str | None):
        raise _RefusedError(400, ErrorCode.MALFORMED_REQUEST, "`operationName` must be a string.")
    if _has_nul((query, variables)) or _ESCAPED_NUL.search(query):
        raise _RefusedError(400, ErrorCode.MALFORMED_REQUEST, "Text must not hold NUL characters.")
    return query, variables, operation_name


def _has_nul(value: object) -> bool:
    """Tell whether any text in a JSON value holds a NUL, which no PostgreSQL text can."""
    # Without recursion: JSON may be nested more deeply than Python calls may.
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text if "\x00" in text:
                return True
            case dict() as members:
                waiting += [*members, *members.values()]
            case list() | tuple() as items:
                waiting += items
    return False


def _shown(data: dict[str, Any] | None, errors: list[GraphQLError] | None, *, executed: bool) -> dict[str, object]:
    shown: dict[str, object] = {"data": data} if executed else {}
    if errors:
        shown["errors"] = [shown_error(error, executed=executed) for error in errors]
    return shown


def _answer(content: dict[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")


def _refusal(status: int, error: CreditError) -> Response:
    response = _answer({"errors": [{"message": error.message, "extensions": {"code": error.code.name}}]}, status)
    if status == 405:  # noqa: PLR2004 - Method Not Allowed names the methods that are
        response.headers["allow"] = "POST"
    return response
