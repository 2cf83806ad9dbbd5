"""The JSON of the gateways' endpoint: from bodies to what is asked of the desk, and from its answers to bodies."""

import re
from collections.abc import Mapping
from functools import lru_cache
from uuid import UUID

from creditdesk.credits.amounts import MICRO, format_credits, parse_credits
from creditdesk.credits.authorizing import Authorization
from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.credits.event_rules import MAX_TOKENS, UserBy
from creditdesk.credits.hold_rules import (
    DEFAULT_SECONDS,
    BindingBudget,
    BudgetExceededError,
    Hold,
    HoldError,
    HoldRequest,
    Settlement,
)
from creditdesk.credits.pricing import Measured

_USER_FIELDS = {"userId", "email", "externalId"}
_COUNTS = {
    "messages": "messages",
    "tasks": "tasks",
    "inputTokens": "input_tokens",
    "cachedInputTokens": "cached_input_tokens",
    "outputTokens": "output_tokens",
}
_MEASURED = {*_COUNTS, "minutes", "tier"}
_REQUEST_FIELDS = {"source", "id", "product", "model", "credits", "seconds", *_USER_FIELDS, *_MEASURED}
_SETTLEMENT_FIELDS = {"credits", *_MEASURED}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_LONGEST_TIER = 100


def hold_request_of(body: object) -> HoldRequest:
    """Return the hold that a JSON object asks for; raise HoldError naming the field that is off."""
    fields = _object(body, _REQUEST_FIELDS)
    amount = _amount(fields)
    expected = _measured(fields)
    return HoldRequest(
        source=_text(fields, "source"),
        id=_text(fields, "id"),
        user=_user(fields),
        product=_text(fields, "product"),
        model=_text(fields, "model"),
        amount=amount,
        # Both may be given: then the amount is what is held, and what is expected prices nothing.
        expected=expected if amount is None else None,
        seconds=_count(fields, "seconds") if "seconds" in fields else DEFAULT_SECONDS,
    )


def settlement_of(hold_id: UUID, body: object) -> Settlement:
    """Return how a JSON object settles a hold; raise HoldError naming the field that is off."""
    fields = _object(body, _SETTLEMENT_FIELDS)
    return Settlement(hold_id, _amount(fields), _measured(fields))


def uuid_of(text: str) -> UUID:
    """Return the hold's id that is part of a path; raise HoldError for what is none, which no hold can have."""
    if not _UUID.fullmatch(text):
        raise HoldError(ErrorCode.UNKNOWN_HOLD)
    return UUID(text)


def shown_hold(hold: Hold) -> dict[str, object]:
    """Return a hold as JSON; ids and moments are written by orjson."""
    return {
        "id": hold.id,
        "source": hold.source,
        "externalId": hold.external_id,
        "userId": hold.user_id,
        "product": hold.product,
        "model": hold.model,
        "credits": format_credits(hold.amount),
        "state": hold.state.name,
        "placedAt": hold.placed_at,
        "expiresAt": hold.expires_at,
        "settledCredits": None if hold.settled_amount is None else format_credits(hold.settled_amount),
        "overageCredits": format_credits(hold.overage),
        "passedSoftLimits": hold.passed_soft,
    }


def shown_authorization(found: Authorization) -> dict[str, object]:
    """Return the answer of a dry run as JSON."""
    budget = None if found.budget is None else _shown_budget(found.budget)
    return {"allowed": found.allowed, "credits": format_credits(found.amount), "budget": budget}


def shown_error(error: CreditError, request_id: str | None = None) -> dict[str, object]:
    """Return an error in the form that all errors have, with the budget that binds where one does.

    The request's id comes along where the error is the answer to the request, and not one of several in it.
    """
    extensions: dict[str, object] = {"code": error.code.name}
    if request_id is not None:
        extensions["requestId"] = request_id
    if isinstance(error, BudgetExceededError):
        extensions["budget"] = _shown_budget(error.budget)
    return {"errors": [{"message": error.message, "extensions": extensions}]}


def _shown_budget(budget: BindingBudget) -> dict[str, object]:
    return {
        "scope": budget.scope.name,
        "scopeId": budget.scope_id,
        "product": budget.shape.product or None,
        "model": budget.shape.model or None,
        "cadence": budget.shape.cadence.name,
        "limit": format_credits(budget.amount),
        "remaining": format_credits(budget.remaining),
        "resetsAt": budget.resets_at,
    }


def _object(body: object, known: set[str]) -> Mapping[str, object]:
    if not isinstance(body, dict):
        raise HoldError(ErrorCode.INVALID_INPUT, "A JSON object is needed.")
    if not known.issuperset(body):
        raise HoldError(ErrorCode.INVALID_INPUT, f"There is no field {min(body.keys() - known)[:100]!r} here.")
    return body


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise HoldError(ErrorCode.INVALID_INPUT, f"`{name}` must be a string.")
    return value


def _user(fields: Mapping[str, object]) -> UserBy:
    named = [name for name in ("userId", "email", "externalId") if fields.get(name) is not None]
    if len(named) != 1:
        raise HoldError(ErrorCode.INVALID_INPUT, "Exactly one of `userId`, `email` and `externalId` names the user.")
    value = _text(fields, named[0])
    if named[0] == "email":
        return UserBy(email=value)
    if named[0] == "externalId":
        return UserBy(external_id=value)
    return _user_by_id(value)


@lru_cache(maxsize=50_000)
def _user_by_id(text: str) -> UserBy:
    if not _UUID.fullmatch(text):
        raise HoldError(ErrorCode.UNKNOWN_USER)
    return UserBy(id=UUID(text))


def _amount(fields: Mapping[str, object]) -> int | None:
    if fields.get("credits") is None:
        return None
    try:
        return parse_credits(_text(fields, "credits"))
    except CreditError as error:
        raise HoldError(error.code, error.message) from error


def _count(fields: Mapping[str, object], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOKENS:
        raise HoldError(ErrorCode.INVALID_INPUT, f"`{name}` must be a whole number from 0 to {MAX_TOKENS}.")
    return value


def _measured(fields: Mapping[str, object]) -> Measured | None:
    """Return the quantities that are given; None where none is."""
    if fields.keys().isdisjoint(_MEASURED):
        return None
    counts = {ours: _count(fields, name) for name, ours in _COUNTS.items() if fields.get(name) is not None}
    minutes, tier = 0, ""
    if fields.get("minutes") is not None:
        try:
            minutes = parse_credits(_text(fields, "minutes"))
        except CreditError:
            minutes = -1
        if not 0 <= minutes <= MAX_TOKENS * MICRO:
            raise HoldError(ErrorCode.INVALID_INPUT, '`minutes` must be a decimal string such as "2.5".')
    if fields.get("tier") is not None:
        tier = _text(fields, "tier")
        if len(tier) > _LONGEST_TIER or not tier.isprintable():
            raise HoldError(ErrorCode.INVALID_INPUT, f"`tier` takes up to {_LONGEST_TIER} printable characters.")
    if all(fields.get(name) is None for name in _MEASURED):
        return None
    return Measured(micro_minutes=minutes, tier=tier, **counts)
