"""What comes in, whichever way: a GraphQL request, read and checked, or a refusal with its HTTP status."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from creditdesk.credits.errors import CreditError
from creditdesk.graphql.enums import ErrorCode

MOST_REMEMBERED = 256
LONGEST_REMEMBERED = 4_096
"""Bytes of a body; what is made of it takes several times as much."""

_ESCAPED_NUL = re.compile(r"\\u(0000|\{0+\})")


class RefusedError(CreditError):
    """A request that is not executed: the status and headers of the answer, and what the error says more."""

    def __init__(
        self,
        status: int,
        code: ErrorCode,
        message: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})
        super().__init__(message or code.value)


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """A document, by its text or by its id, and what is to be done with it. It is shared: nobody changes it."""

    query: str | None
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    extensions: Mapping[str, Any] = field(default_factory=dict)
    document_id: str | None = None


def malformed(message: str, status: int = 400) -> RefusedError:
    """Return the refusal of what is not a GraphQL request."""
    return RefusedError(status, ErrorCode.MALFORMED_REQUEST, message)


def request_of_json(body: bytes) -> GraphQLRequest:
    """Return the request that a body of JSON holds, or raise RefusedError: the same for all who send the same."""
    return _remembered_request(body) if len(body) <= LONGEST_REMEMBERED else _read_request(body)


def _read_request(body: bytes) -> GraphQLRequest:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise malformed("The body is not JSON.") from error
    return request_of(data, written=body)


_remembered_request = lru_cache(MOST_REMEMBERED)(_read_request)


def request_of_parameters(parameters: Sequence[tuple[str, str]]) -> GraphQLRequest:
    """Return the request that the parameters of a URL hold, or raise RefusedError."""
    given: dict[str, object] = {}
    for name, text in parameters:
        if name in given:
            raise malformed("A parameter is given twice.")
        given[name] = _json_of(name, text) if name in {"variables", "extensions"} else text
    return request_of(given)


def request_of(data: object, *, written: bytes | None = None) -> GraphQLRequest:
    """Return the request that a JSON value stands for, or raise RefusedError; `written` is its text, if known."""
    if isinstance(data, list):
        raise malformed("Batches are not executed: send one request at a time.")
    if not isinstance(data, dict):
        raise malformed("The request must be a JSON object.")
    query, document_id = _text(data, "query"), _text(data, "documentId")
    operation_name = _text(data, "operationName")
    variables, extensions = _object(data, "variables"), _object(data, "extensions")
    if query is not None and document_id is not None:
        raise malformed("A request has a `query` or a `documentId`, not both.")
    if query == "":
        raise malformed("`query` must be a string with a document in it.")
    texts = (query, document_id, operation_name, variables, extensions)
    # JSON has one way to write a NUL: where that does not occur, large variables need not be gone through.
    may_hold_nul = written is None or b"u0000" in written
    if (may_hold_nul and _has_nul(texts)) or (query is not None and _ESCAPED_NUL.search(query)):
        raise malformed("Text must not hold NUL characters.")
    return GraphQLRequest(query, variables, operation_name or None, extensions or {}, document_id)


def _json_of(name: str, text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise malformed(f"`{name}` is not JSON.") from error


def _text(data: Mapping[str, object], name: str) -> str | None:
    value = data.get(name)
    if not isinstance(value, str | None):
        raise malformed(f"`{name}` must be a string.")
    return value


def _object(data: Mapping[str, object], name: str) -> dict[str, Any] | None:
    value = data.get(name)
    if not isinstance(value, dict | None):
        raise malformed(f"`{name}` must be an object.")
    return value


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
