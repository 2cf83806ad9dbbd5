"""What a client sends and what it takes: the media types of GraphQL over HTTP, and how a client weighs them."""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"

_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


@lru_cache(maxsize=256)
def negotiated(accept: str | None) -> str | None:
    """Return the type to answer with: the one that the client prefers, JSON if it does not say; None if it takes none.

    RFC 9110, section 12.5.1: of several ranges that fit a type the most specific one gives its weight.
    """
    if accept is None or not accept.strip():
        return JSON
    ranges = dict(_ranges(accept))
    weights = {type_: _weight(type_, ranges) for type_ in (GRAPHQL_RESPONSE, JSON)}
    # Of equals, the newer type only where it is named: who takes anything knows nothing of it.
    preferred = (GRAPHQL_RESPONSE, JSON) if GRAPHQL_RESPONSE in ranges else (JSON, GRAPHQL_RESPONSE)
    best = max(preferred, key=weights.__getitem__)
    return best if weights[best] > 0 else None


@lru_cache(maxsize=256)
def prefers_events(accept: str | None) -> bool:
    """Tell whether the client names server-sent events, and prefers them to one answer."""
    ranges = dict(_ranges(accept or ""))
    events = ranges.get(EVENT_STREAM, Decimal())
    return events > max(ranges.get(type_, Decimal()) for type_ in (GRAPHQL_RESPONSE, JSON))


def is_json(content_types: list[str]) -> bool:
    """Tell whether a body says that it is JSON, in UTF-8 if it says in what."""
    return len(content_types) == 1 and _is_json(content_types[0])


@lru_cache(maxsize=256)
def _is_json(content_type: str) -> bool:
    type_, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [value.strip().strip('"') for name, _, value in _split(parameters) if name.strip() == "charset"]
    return type_ == JSON and all(charset in {"utf-8", "utf8"} for charset in charsets)


def _split(parameters: list[str]) -> Iterator[tuple[str, str, str]]:
    return (parameter.partition("=") for parameter in parameters)


def _ranges(accept: str) -> Iterator[tuple[str, Decimal]]:
    for part in accept.split(","):
        range_, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [value.strip() for name, _, value in _split(parameters) if name.strip() == "q"]
        if not weights:
            yield range_, Decimal(1)
        elif _WEIGHT.fullmatch(weights[0]):
            yield range_, Decimal(weights[0])


def _weight(type_: str, ranges: dict[str, Decimal]) -> Decimal:
    return next((ranges[range_] for range_ in (type_, "application/*", "*/*") if range_ in ranges), Decimal())
