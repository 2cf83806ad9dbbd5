"""The export of costs over plain HTTP and JSON: `GET /v1/costs`, for finance's jobs, page by page."""

import base64
import binascii
from collections.abc import Callable
from datetime import date
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from creditdesk.app.middleware import error_response
from creditdesk.auth.authenticate import Authenticator, www_authenticate
from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.policy import allows, authority
from creditdesk.auth.principal import Principal
from creditdesk.auth.roles import Permission
from creditdesk.credits.amounts import format_credits
from creditdesk.credits.costs import CostPosition, CostRow, cost_page
from creditdesk.credits.errors import CreditError, ErrorCode, ForbiddenError, InvalidCursorError, InvalidInputError
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseUnavailable, StatementTimeout
from creditdesk.graphql.ids import encode_id

PATH = "/v1/costs"
DEFAULT_ROWS = 1000
_LONGEST_CURSOR = 2000
_STATUS = {ErrorCode.UNAUTHENTICATED: 401, ErrorCode.FORBIDDEN: 403, ErrorCode.ISSUER_UNAVAILABLE: 503}
_INVALID = 422


class CostsEndpoint:
    """Answers `GET /v1/costs?first=DAY&last=DAY`; `size` and `after` page."""

    def __init__(
        self,
        *,
        database: Database,
        authenticator: Authenticator,
        denied: Callable[[Principal, str], None] | None = None,
    ) -> None:
        """`denied` is told of callers who are refused what their role does not include."""
        self._database = database
        self._authenticator = authenticator
        self._denied = denied

    async def answer(self, request: Request) -> Response:
        """Answer one request; every answer is JSON."""
        try:
            return await self._answered(request)
        except CreditError as error:
            challenge = {"www-authenticate": www_authenticate(error)} if isinstance(error, Unauthenticated) else None
            return error_response(_STATUS.get(error.code, _INVALID), error.code, error.message, challenge)
        except StatementTimeout:
            return error_response(503, ErrorCode.TIMEOUT)
        except DatabaseUnavailable:
            return error_response(503, ErrorCode.DATABASE_UNAVAILABLE)

    async def _answered(self, request: Request) -> Response:
        # Several headers are one list (RFC 9110, section 5.3), and a list of tokens is not one token.
        authorization = ", ".join(request.headers.getlist("authorization")) or None
        principal = await self._authenticator.principal_of(authorization)
        if not allows(principal, Permission.COSTS_READ):
            if self._denied is not None:
                self._denied(principal, PATH)
            raise ForbiddenError
        asked = request.query_params
        after = asked.get("after")
        allowed = authority(principal, Permission.COSTS_READ)
        rows, more = await cost_page(
            self._database.reader(allowed.row_scope),
            principal.workspace.id,
            (_day(asked.get("first"), "first"), _day(asked.get("last"), "last")),
            after=_position(after) if after is not None else None,
            size=_size(asked.get("size")),
        )
        content = {"rows": [_shown(row) for row in rows], "next": _cursor(rows[-1].position) if more else None}
        return JSONResponse(content, headers={"cache-control": "private, no-store"})


def _shown(row: CostRow) -> dict[str, str | None]:
    """Return a row as it is shown: like in the graph, large integers are strings."""
    position, group_id = row.position, row.group_id
    return {
        "day": position.day.isoformat(),
        "userId": encode_id("User", position.user_id),
        "email": row.email,
        "externalId": row.external_id,
        "groupId": encode_id("Group", group_id) if group_id else None,
        "group": row.group_slug,
        "product": position.product,
        "model": position.model,
        "credits": format_credits(row.credits),
        "requests": str(row.requests),
        "inputTokens": str(row.input_tokens),
        "cachedInputTokens": str(row.cached_input_tokens),
        "outputTokens": str(row.output_tokens),
    }


def _day(text: str | None, name: str) -> date:
    try:
        if text is not None and len(text) == len("2026-06-18"):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidInputError(f"`{name}` is a day of the workspace's zone, such as 2026-06-18.")


def _size(text: str | None) -> int:
    if text is None:
        return DEFAULT_ROWS
    if not text.isascii() or not text.isdigit() or len(text) > len("10000"):
        raise InvalidInputError("`size` is a whole number.")
    return int(text)


def _cursor(position: CostPosition) -> str:
    content = [
        str(position.user_id),
        position.day.isoformat(),
        str(position.group_id),
        position.product,
        position.model,
    ]
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def _position(cursor: str) -> CostPosition:
    """Return where a cursor points; raise InvalidCursorError for what is none."""
    if len(cursor) > _LONGEST_CURSOR:
        raise InvalidCursorError
    try:
        user, day, group, product, model = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        position = CostPosition(UUID(user), date.fromisoformat(day), UUID(group), product, model)
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise InvalidCursorError from error
    if not isinstance(product, str) or not isinstance(model, str) or "\x00" in product + model:
        raise InvalidCursorError
    return position
