"""Every way creditdesk says no: a stable code for machines, one sentence for people."""

from enum import Enum


class ErrorCode(Enum):
    """Stable, machine-readable codes; the value is what the README and the schema say of it."""

    UNAUTHENTICATED = "There is no token, or it is not valid here. Sign in again."
    GROUPS_OVERAGE = "The caller is in more groups than a token holds. The administrator of the sign-in can help."
    ISSUER_UNAVAILABLE = "The identity provider cannot be reached, so no token can be checked. Try again."
    SIGN_IN_FAILED = "The sign-in did not come to its end, or another one was begun meanwhile. Start again."
    CROSS_SITE = (
        "Another site's page may have sent this: a cookie needs the header x-creditdesk-csrf, and a known origin."
    )
    FORBIDDEN = "The caller's role does not include what this field needs."
    MALFORMED_REQUEST = "The HTTP request is not a GraphQL request: its body, headers or parameters are off."
    PAYLOAD_TOO_LARGE = "The request's body is larger than this server accepts."
    GRAPHQL_PARSE_FAILED = "The document is not GraphQL."
    GRAPHQL_VALIDATION_FAILED = "The document does not fit the schema."
    QUERY_TOO_COMPLEX = "The document asks for too much at once. Split it, or ask for fewer items."
    RATE_LIMITED = "The caller has asked for more than its share for now. Wait as long as `Retry-After` says."
    UNKNOWN_DOCUMENT = "No document is known by this id."
    PERSISTED_QUERY_NOT_FOUND = "No document is kept under this hash: send the document along, and it will be."
    UNTRUSTED_DOCUMENT = "Only documents that this server knows are executed for the caller, by their text or their id."
    INVALID_INPUT = "A value is not of the form its type asks for."
    INVALID_ID = "An id is not one that this API gave out."
    INVALID_CURSOR = "A cursor is not one that this connection gave out, with the same order."
    INVALID_PAGE = "`first` and `last` take 1 to 100, and never come together."
    INVALID_RANGE = "A range is empty, reversed, too long, or outside the years 2000 to 2100."
    BATCH_SIZE = "A batch takes 1 to 1000 items."
    UNKNOWN_USER = "No user of this workspace goes by that id, e-mail address or external id."
    UNKNOWN_EVENT = "The event that a correction points to is not recorded, or is itself a correction."
    INVALID_AMOUNT = "An amount or a number of tokens is negative, too large, or missing."
    INVALID_TIME = "An event's time is before the year 2000 or more than a day ahead."
    INVALID_EVENT = "A part of an event is missing, empty, too long, or not text."
    IDEMPOTENCY_CONFLICT = "That source has already recorded another event, or placed another hold, under this id."
    UNPRICED = "The rate card has no rate for this product and model, and the workspace does not allow that."
    UNKNOWN_GROUP = "No group of this workspace goes by that id or slug."
    INACTIVE_USER = "The user is not active: nothing is held for them."
    BUDGET_EXCEEDED = "A budget has not enough left."
    UNKNOWN_HOLD = "There is no such hold."
    HOLD_ENDED = "The hold has ended already: it was settled otherwise, released, refused, or it expired."
    INVALID_LIMIT = "A limit's parts do not go together, or its amount is negative or too large."
    UNKNOWN_LIMIT = "There is no such limit, or none that the caller may set."
    VERSION_CONFLICT = "Somebody else changed this meanwhile: read it again, and decide again."
    ABOVE_CEILING = "That is above the ceiling up to which a manager of this group may set limits."
    UNKNOWN_REQUEST = "There is no such request, or none that the caller may see."
    OWN_REQUEST = "Nobody decides a request of their own."
    REQUEST_PENDING = "A request to raise this limit is waiting for a decision already."
    REQUEST_ENDED = "The request has been decided or cancelled, or it has expired."
    COOLING_DOWN = "A request to raise this limit was denied a short while ago: ask again later."
    NOTHING_TO_RAISE = "No limit of one's own stands in the way: there is nothing to ask for."
    UNKNOWN_RATE = "There is no such rate."
    DIRECTORY_SIZE = "A directory has at most 5000 users and 5000 groups at once."
    TAKEN = "Another user or group here goes by that e-mail address, external id, identity or slug already."
    UNKNOWN_IDENTITY = "Nobody in this workspace is linked to that subject of that identity provider."
    RATE_IN_USE = "A rate that has come into effect stays: put a later one in its place."
    CHANGES_MISSED = "More has changed than can be told one by one: read again what you show, and subscribe again."
    TOO_MANY_SUBSCRIPTIONS = "The caller has as many subscriptions open as one may have: end some of them."
    DATABASE_UNAVAILABLE = "The database cannot be reached or is restarting. Try again."
    TIMEOUT = "The request took longer than this server allows. Ask for less at once."
    INTERNAL = "Something unexpected happened; it is logged under the id that comes with the error."


class CreditError(Exception):
    """A refusal with a code; its sentence says what to do."""

    code = ErrorCode.INTERNAL

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.code.value)

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self)


class InvalidInputError(CreditError):
    """A value is not of the form its type asks for."""

    code = ErrorCode.INVALID_INPUT


class InvalidRangeError(CreditError):
    """A range is empty, reversed, too long, or outside the years 2000 to 2100."""

    code = ErrorCode.INVALID_RANGE


class InvalidPageError(CreditError):
    """`first` and `last` take 1 to 100, and never come together."""

    code = ErrorCode.INVALID_PAGE


class InvalidCursorError(CreditError):
    """A cursor is not one that this connection gave out, with the same order."""

    code = ErrorCode.INVALID_CURSOR


class InvalidIdError(CreditError):
    """An id is not one that this API gave out."""

    code = ErrorCode.INVALID_ID


class ForbiddenError(CreditError):
    """The caller's role does not include what this field needs."""

    code = ErrorCode.FORBIDDEN


class BatchSizeError(CreditError):
    """A batch takes 1 to 1000 items."""

    code = ErrorCode.BATCH_SIZE


class EventError(CreditError):
    """One event of a batch cannot be recorded; the others can."""

    def __init__(self, code: ErrorCode, message: str | None = None) -> None:
        self.code = code
        super().__init__(message)
