"""Requests for more credits: what may be asked, how long a request waits, and what approving one gives.

A request is for more of one each-user limit, on top of the amount that applied when it was made.
"""

import unicodedata
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import Enum
from uuid import UUID

from creditdesk.credits.errors import CreditError, ErrorCode, InvalidInputError
from creditdesk.credits.event_rules import MAX_CREDITS
from creditdesk.credits.limits import UNLIMITED, EffectiveLimit, Enforcement, Limited, LimitScope, LimitValue, Shape
from creditdesk.credits.periods import Period
from creditdesk.credits.ranges import day_of, midnight

_LONGEST_WORD, _LONGEST_TEXT = 100, 1000
_LAST_DAY = date(2099, 12, 31)


class RequestState(Enum):
    """What has become of a request. PENDING ends once, in one of the other ways, and for good."""

    PENDING = "It waits for a decision."
    APPROVED = "It was approved, perhaps with another amount or duration."
    DENIED = "It was denied."
    CANCELLED = "Whoever made it took it back."
    EXPIRED = "Nobody decided it in time."


class DurationKind(Enum):
    """How long more may be used."""

    THIS_PERIOD = "Until the limit's period ends."
    UNTIL = "Until a day, which is included."
    PERMANENT = "From now on."


@dataclass(frozen=True, slots=True)
class Duration:
    """How long more may be used; `last_day`, a day of the workspace's zone, is there for UNTIL only."""

    kind: DurationKind = DurationKind.THIS_PERIOD
    last_day: date | None = None

    def ends_at(self, period: Period, *, zone: str, now: datetime) -> datetime | None:
        """Return when it ends, None for never; raise InvalidInputError for a day that has passed, or is too far."""
        if self.kind is DurationKind.PERMANENT:
            return None
        if self.last_day is None:
            return period.end
        if not day_of(now, zone) <= self.last_day <= _LAST_DAY:
            raise InvalidInputError(f"The last day is today at the earliest, and {_LAST_DAY} at the latest.")
        return midnight(self.last_day + timedelta(days=1), zone)


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """Somebody asks for `amount` more per period than `limit_then`, for as long as `duration` and `until` say.

    `state` is what is stored, `at` tells what it is; what was granted ends at `granted_until`. `limit_id` is the rule
    that gives it: the override that the approval wrote, or the raise that covered the request. Amounts are
    micro-credits.
    """

    id: UUID
    user_id: UUID
    shape: Shape
    amount: int
    reason: str
    duration: DurationKind
    until: datetime | None
    state: RequestState
    limit_then: int
    used_then: int
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    decided_by: UUID | None = None
    automatic: bool = False
    decision_note: str | None = None
    granted_amount: int | None = None
    granted_until: datetime | None = None
    limit_id: UUID | None = None

    def at(self, now: datetime) -> "CreditRequest":
        """Return the request as it is at a moment: a pending one whose time has passed is expired by itself."""
        lapsed = self.state is RequestState.PENDING and self.expires_at <= now
        return replace(self, state=RequestState.EXPIRED) if lapsed else self

    def last_day(self, zone: str) -> date | None:
        """Return the last day that is asked for, where it is until a day."""
        return day_of(self.until - timedelta(microseconds=1), zone) if self.until else None


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody asks for: `amount` micro-credits more per period of the limit of this shape, and why."""

    amount: int
    reason: str
    shape: Shape
    duration: Duration = Duration()


@dataclass(frozen=True, slots=True)
class Approval:
    """A decision to grant a request, with another amount or duration than was asked where these are given."""

    request_id: UUID
    amount: int | None = None
    duration: Duration | None = None
    note: str | None = None


class NoUserError(CreditError):
    """Only a person who is linked to a user of the workspace asks for credits."""

    code = ErrorCode.UNKNOWN_USER

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class AboveCeilingError(CreditError):
    """That is above the ceiling up to which a manager of this group may set limits; None where none is set."""

    code = ErrorCode.ABOVE_CEILING

    def __init__(self, ceiling: int | None) -> None:
        self.ceiling = ceiling
        super().__init__()


class UnknownRequestError(CreditError):
    """There is no such request, or none that the caller may see."""

    code = ErrorCode.UNKNOWN_REQUEST


class OwnRequestError(CreditError):
    """Nobody decides a request of their own."""

    code = ErrorCode.OWN_REQUEST


class NothingToRaiseError(CreditError):
    """No limit of one's own stands in the way: there is nothing to ask for."""

    code = ErrorCode.NOTHING_TO_RAISE


class RequestPendingError(CreditError):
    """A request to raise this limit is waiting for a decision already."""

    code = ErrorCode.REQUEST_PENDING

    def __init__(self, request: CreditRequest) -> None:
        self.request = request
        super().__init__()


class RequestEndedError(CreditError):
    """The request has been decided or cancelled, or it has expired."""

    code = ErrorCode.REQUEST_ENDED

    def __init__(self, request: CreditRequest) -> None:
        self.request = request
        super().__init__()


class CoolingDownError(CreditError):
    """A request to raise this limit was denied a short while ago: ask again later."""

    code = ErrorCode.COOLING_DOWN

    def __init__(self, until: datetime) -> None:
        self.until = until
        super().__init__()


def checked_ask(ask: Ask) -> Ask:
    """Return what is asked with its reason trimmed; raise InvalidInputError unless it could be asked."""
    check_amount(ask.amount)
    shape = ask.shape
    if shape.model and not shape.product:
        raise InvalidInputError("A model is of a product: name that too.")
    for name, word in (("product", shape.product), ("model", shape.model)):
        if len(word) > _LONGEST_WORD or not word.isprintable():
            raise InvalidInputError(f"`{name}` takes up to {_LONGEST_WORD} printable characters.")
    reason = checked_text("reason", ask.reason)
    if reason is None:
        raise InvalidInputError("A request needs a reason.")
    return replace(ask, reason=reason)


def check_amount(amount: int) -> None:
    """Raise InvalidInputError unless this much may be asked for, or granted."""
    if not 0 < amount <= MAX_CREDITS:
        raise InvalidInputError("`amount` is more than 0, and at most 1000000000.")


def checked_text(name: str, text: str | None) -> str | None:
    """Return what somebody wrote, trimmed, or None for nothing; raise InvalidInputError for what is no text."""
    written = (text or "").replace("\r\n", "\n").strip()
    # What is no letter may still be text, such as the joints of an emoji: only controls and halves of a pair are none.
    is_text = all(letter == "\n" or unicodedata.category(letter) not in {"Cc", "Cs"} for letter in written)
    if len(written) > _LONGEST_TEXT or not is_text:
        raise InvalidInputError(f"`{name}` takes up to {_LONGEST_TEXT} characters of text.")
    return written or None


def waits_until(ends_at: datetime | None, *, open_days: int, now: datetime) -> datetime:
    """Return when a request expires: where what it asks for would end, and never later than the workspace waits."""
    longest = now + timedelta(days=open_days)
    return longest if ends_at is None else min(ends_at, longest)


def check_ceiling(raised: int | None, ceiling: int | None) -> None:
    """Raise AboveCeilingError for a limit above a manager's ceiling; without a ceiling any is, and unlimited always."""
    if ceiling is None or raised is None or raised > ceiling:
        raise AboveCeilingError(ceiling)


def raised_to(request: CreditRequest, granted: int, limit: EffectiveLimit) -> int | None:
    """Return the limit that granting this much makes, None for unlimited: it never lowers the one that applies now."""
    return max(limit.value.amount, request.limit_then + granted) if isinstance(limit.value, Limited) else None


def lasting_value(raised: int, limit: EffectiveLimit) -> LimitValue:
    """Return what a lasting override grants: no less than the user's own lasting limit, which a temporary one hides."""
    own = [one.value for one in limit.beaten if one.scope is LimitScope.USER and not one.temporary]
    if not all(isinstance(value, Limited) for value in own):
        return UNLIMITED
    return Limited(max([raised, *(value.amount for value in own if isinstance(value, Limited))]))


def stops(limit: EffectiveLimit) -> bool:
    """Tell whether anything is stopped at a limit; one that is soft is as good as none."""
    return limit.source is not None and limit.source.enforcement is Enforcement.HARD


def is_covered(request: CreditRequest, limit: EffectiveLimit) -> bool:
    """Tell whether the limit that applies now gives all that is asked for."""
    return not isinstance(limit.value, Limited) or limit.value.amount >= request.limit_then + request.amount


def fits_automatically(
    request: CreditRequest, limit: EffectiveLimit, *, per_period: int | None, granted: int, period: Period
) -> bool:
    """Tell whether a request is approved at once: of what may be so in a period, `granted` was in this one.

    A limit that ends at another moment than the period is left to people: writing over it would stretch it or cut it
    short.
    """
    return (
        per_period is not None
        and request.duration is DurationKind.THIS_PERIOD
        and granted + request.amount <= per_period
        and request.limit_then + request.amount <= MAX_CREDITS
        and limit.source is not None
        and limit.source.expires_at in {None, period.end}
    )
