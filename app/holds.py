"""The gateways' endpoint: holds over plain HTTP and JSON, for those who ask before each call."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from creditdesk.app.hold_bodies import (
    hold_request_of,
    settlement_of,
    shown_authorization,
    shown_error,
    shown_hold,
    uuid_of,
)
from creditdesk.app.logs import request_id
from creditdesk.app.straight import StraightCall
from creditdesk.auth.authenticate import Authenticator, www_authenticate
from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.known_callers import KnownCaller, KnownCallers
from creditdesk.auth.policy import allows
from creditdesk.auth.principal import Principal
from creditdesk.auth.roles import Permission
from creditdesk.credits.errors import BatchSizeError, CreditError, ErrorCode, ForbiddenError
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.hold_rules import Hold, HoldError
from creditdesk.db.errors import AmountOverflow, DatabaseUnavailable, StatementTimeout

MAX_BATCH = 1000
PATH = "/v1/holds"
_DRAINED_BODIES = 8
"""A body that is too large is still read, up to this many times the limit, so that its sender gets to the answer."""

_STATUS = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.GROUPS_OVERAGE: 401,
    ErrorCode.BUDGET_EXCEEDED: 402,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.UNKNOWN_HOLD: 404,
    ErrorCode.IDEMPOTENCY_CONFLICT: 409,
    ErrorCode.HOLD_ENDED: 409,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.MALFORMED_REQUEST: 400,
    ErrorCode.ISSUER_UNAVAILABLE: 503,
    ErrorCode.DATABASE_UNAVAILABLE: 503,
    ErrorCode.TIMEOUT: 503,
}
_INVALID = 422
_EXPECTED = (CreditError, DatabaseUnavailable, StatementTimeout, AmountOverflow)
_JSON = b"application/json"
_CONTENT_TYPE = (b"content-type", _JSON)
_NOT_STORED = (b"cache-control", b"private, no-store")
_ROUTES = {
    "place": PATH,
    "authorize": f"{PATH}/authorize",
    "settle": f"{PATH}/{{id}}/settle",
    "release": f"{PATH}/{{id}}/release",
}
"""What may be asked for, by the path that the log and the metrics name: one without anybody's id in it."""


class _RefusedError(CreditError):
    """A request that no hold is asked for with."""

    def __init__(self, code: ErrorCode, message: str | None = None, status: int | None = None) -> None:
        self.code = code
        self.status = status
        super().__init__(message)


class HoldsEndpoint:
    """An ASGI application for `POST /v1/holds`, and what is below it."""

    def __init__(
        self,
        *,
        desk: HoldDesk,
        authenticator: Authenticator,
        max_body_bytes: int,
        denied: Callable[[Principal, str], None] | None = None,
    ) -> None:
        """`denied` is told of callers who are refused what their role does not include."""
        self._denied = denied
        self._desk = desk
        self._callers = KnownCallers(authenticator)
        self._max_body_bytes = max_body_bytes
        self._routes = {action: Route(path, self) for action, path in _ROUTES.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every answer is JSON."""
        try:
            status, body = await self._answered(scope, receive)
            headers, content = _written(body)
        except _EXPECTED as error:
            status, headers, content = _refused(error, request_id.get())
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def begin(self, headers: Mapping[bytes, bytes], content: bytes, call: StraightCall) -> bool:
        """Place one hold for somebody who is known: the straight way of `POST /v1/holds`."""
        authorization = headers.get(b"authorization")
        if authorization is None or headers.get(b"content-type") != _JSON or len(content) > self._max_body_bytes:
            return False
        try:
            caller = self._callers.recall(authorization.decode("latin-1"))
            if caller is None or not allows(caller, Permission.USAGE_WRITE):
                return False
            asked = hold_request_of(orjson.loads(content))
        except (CreditError, orjson.JSONDecodeError):
            return False
        self._desk.put(caller.workspace_id, asked, _Answering(call), caller=caller)
        return True

    async def _answered(self, scope: Scope, receive: Receive) -> tuple[int, object]:
        action, id_ = _asked(scope["path"])
        scope["route"] = self._routes[action]
        if scope["method"] != "POST":
            raise _RefusedError(ErrorCode.MALFORMED_REQUEST, "Holds are asked for with POST.", 405)
        authorization, content_type = _headers(scope)
        caller = self._callers.recall(authorization) or await self._callers.caller_of(authorization)
        if not allows(caller, Permission.USAGE_WRITE):
            if self._denied is not None:
                self._denied(caller.principal, _ROUTES[action])
            raise ForbiddenError
        content = await self._body(receive)
        if action == "release":
            hold = await self._desk.release(caller.workspace_id, uuid_of(id_), caller=caller)
            return 200, {"hold": shown_hold(hold)}
        body = _json(content_type, content)
        match action:
            case "settle":
                settlement = settlement_of(uuid_of(id_), body)
                return 200, {
                    "hold": shown_hold(await self._desk.settle(caller.workspace_id, settlement, caller=caller))
                }
            case "authorize":
                asked = hold_request_of(body)
                await caller.confirm()
                return 200, shown_authorization(await self._desk.authorize(caller.workspace_id, asked))
            case _:
                return await self._placed(caller, body)

    async def _placed(self, caller: KnownCaller, body: object) -> tuple[int, object]:
        if not isinstance(body, list):
            asked = hold_request_of(body)
            return 201, {"hold": shown_hold(await self._desk.place(caller.workspace_id, asked, caller=caller))}
        if not 1 <= len(body) <= MAX_BATCH:
            raise BatchSizeError
        await caller.confirm()  # it is the whole request that is refused, and not each of its holds

        async def place(one: object) -> dict[str, object]:
            return {"hold": shown_hold(await self._desk.place(caller.workspace_id, hold_request_of(one)))}

        return 200, {"results": await asyncio.gather(*(_result(place, one) for one in body))}

    async def _body(self, receive: Receive) -> bytes:
        chunks, size, more = [], 0, True
        while more and size <= _DRAINED_BODIES * self._max_body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect  # what has come of a body is no request
            size += len(message.get("body", b""))
            if size <= self._max_body_bytes:
                chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        if size > self._max_body_bytes:
            raise _RefusedError(ErrorCode.PAYLOAD_TOO_LARGE)
        return b"".join(chunks)


class _Answering:
    """Answers a call with the hold that it asked for, or with why there is none."""

    __slots__ = ("_call",)

    def __init__(self, call: StraightCall) -> None:
        self._call = call

    def done(self) -> bool:
        """Tell that the hold is wanted: who asked may have hung up, and ask again."""
        return False

    def set_result(self, hold: Hold) -> None:
        """Answer with the hold."""
        self._call.answer(201, *_written({"hold": shown_hold(hold)}))

    def set_exception(self, error: Exception) -> None:
        """Answer with the error."""
        if isinstance(error, _EXPECTED):
            self._call.answer(*_refused(error, self._call.id))
        else:
            self._call.fail(error)


def _written(body: object) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """Return the headers and the bytes of an answer."""
    content = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    return (_CONTENT_TYPE, (b"content-length", b"%d" % len(content)), _NOT_STORED), content


def _refused(error: Exception, id_: str | None) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
    """Return the status, headers and bytes of an answer that is an error."""
    refused = error if isinstance(error, CreditError) else _translated(error)
    status = _status_of(refused)
    headers, content = _written(shown_error(refused, id_))
    if isinstance(error, Unauthenticated):
        headers = ((b"www-authenticate", www_authenticate(error).encode()), *headers)
    if status == 405:  # noqa: PLR2004 - Method Not Allowed names the methods that are
        headers = ((b"allow", b"POST"), *headers)
    return status, headers, content


def _asked(path: str) -> tuple[str, str]:
    """Return what a path asks for, and the hold's id where it names one."""
    if path == PATH:
        return "place", ""
    match path.removeprefix(PATH).split("/")[1:]:
        case ["authorize"]:
            return "authorize", ""
        case [id_, "settle" | "release" as action]:
            return action, id_
        case _:
            message = f"There is nothing at this path: holds are at {PATH}."
            raise _RefusedError(ErrorCode.MALFORMED_REQUEST, message, 404)


async def _result(place: Callable[[object], Awaitable[dict[str, object]]], one: object) -> dict[str, object]:
    try:
        return await place(one)
    except CreditError as error:
        return shown_error(error)


def _headers(scope: Scope) -> tuple[str | None, bytes]:
    """Return what authorizes a request, and its content type."""
    found = dict(scope["headers"])
    authorization, content_type = found.get(b"authorization"), found.get(b"content-type")
    if len(found) < len(scope["headers"]):
        # Several headers are one list (RFC 9110, section 5.3), and a list of tokens is not one token.
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        authorization = b", ".join(given) if given else None
    stated = _JSON if content_type is None else content_type
    return authorization.decode("latin-1") if authorization else None, stated


def _json(content_type: bytes, content: bytes) -> Any:
    if content_type != _JSON and content_type.split(b";")[0].strip().lower() != _JSON:
        raise _RefusedError(ErrorCode.MALFORMED_REQUEST, "The content type must be application/json.", 415)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        raise _RefusedError(ErrorCode.MALFORMED_REQUEST, "The body is not JSON.") from None


def _status_of(error: CreditError) -> int:
    if isinstance(error, _RefusedError) and error.status is not None:
        return error.status
    return _STATUS.get(error.code, _INVALID)


def _translated(error: Exception) -> CreditError:
    match error:
        case StatementTimeout():
            return HoldError(ErrorCode.TIMEOUT)
        case AmountOverflow():
            return HoldError(ErrorCode.INVALID_AMOUNT)
        case _:
            return HoldError(ErrorCode.DATABASE_UNAVAILABLE)
