"""Holds: what is asked, what is answered, how long one lasts, and what makes two requests the same."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID, SafeUUID

from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.credits.event_rules import MAX_CREDITS, MAX_MICRO_MINUTES, MAX_TOKENS, UserBy, check_words
from creditdesk.credits.limits import LimitScope, Shape
from creditdesk.credits.pricing import Measured

DEFAULT_SECONDS = 300
MAX_SECONDS = 24 * 3600
_STEPS = ((15, 1), (60, 5), (600, 30), (3600, 300), (MAX_SECONDS, 3600))
"""Up to how many seconds, and to what multiple of seconds the end is rounded up: holds that end together are kept as
one sum in each balance, so there are at most some 25 sums for each step, however many holds there are."""


_QUANTITIES = tuple((one.name, one.default) for one in fields(Measured))


class HoldState(Enum):
    """What has become of a hold."""

    HELD = "The credits are set aside."
    SETTLED = "It ended with what was really used."
    RELEASED = "It ended without any use."
    EXPIRED = "It was neither settled nor released in time: the credits are not set aside any more."


class HoldRequest(NamedTuple):  # like Hold, made for each call: a tuple takes a third of a dataclass's time
    """Credits to be set aside before a use; `source` and `id` name it, and the usage event that it is settled with.

    Without `amount`, in micro-credits, it is priced from the rate card by what is `expected` to be used.
    """

    source: str
    id: str
    user: UserBy
    product: str
    model: str
    amount: int | None = None
    expected: Measured | None = None
    seconds: int = DEFAULT_SECONDS


@dataclass(frozen=True, slots=True)
class Settlement:
    """What was really used of a hold. Without `amount` it is priced from the rate card by what was `measured`."""

    hold_id: UUID
    amount: int | None = None
    measured: Measured | None = None


@dataclass(frozen=True, slots=True)
class BindingBudget:
    """The hard budget with the least left: `remaining` of `amount`, in micro-credits, until `resets_at`."""

    scope: LimitScope
    scope_id: UUID
    shape: Shape
    limit_id: UUID | None
    amount: int
    remaining: int
    resets_at: datetime


class Hold(NamedTuple):
    """Credits set aside. `passed_soft` are the soft limits that it went past; `rates` what it was priced with.

    `overage` is what was settled above the amount that was still set aside. Amounts are micro-credits.
    """

    id: UUID
    source: str
    external_id: str
    user_id: UUID
    group_id: UUID | None
    product: str
    model: str
    amount: int
    state: HoldState
    placed_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    settled_amount: int | None
    overage: int
    rates: tuple[UUID, ...] | None
    passed_soft: tuple[UUID, ...]

    def at(self, now: datetime) -> "Hold":
        """Return the hold as it is at a moment: one whose time has passed is expired, without anybody's doing."""
        return self._replace(state=HoldState.EXPIRED) if self.has_expired(now) else self

    def has_expired(self, now: datetime) -> bool:
        """Tell whether nothing is set aside any more because its time has passed."""
        return self.state is HoldState.HELD and self.expires_at <= now


class HoldError(CreditError):
    """A hold cannot be placed, settled or released; others that were asked for with it can."""

    def __init__(self, code: ErrorCode, message: str | None = None) -> None:
        self.code = code
        super().__init__(message)


class BudgetExceededError(HoldError):
    """A budget has not enough left; `budget` says which, and until when."""

    def __init__(self, budget: BindingBudget) -> None:
        super().__init__(ErrorCode.BUDGET_EXCEEDED)
        self.budget = budget


def hold_id(workspace_id: UUID | str, source: str, external_id: str) -> UUID:
    """Return the id that a hold has by its source and id: a UUID of version 8 (RFC 9562), from their SHA-256."""
    return _digest(f"{workspace_id}\x1f{source}\x1f{external_id}")


def named_use(user_id: UUID, product: str, model: str) -> str:
    """Return what requests of a user for the same use have in common, as `request_hash` takes it."""
    return f"{user_id}\x1f{product}\x1f{model}"


def request_hash(request: HoldRequest, named: str) -> UUID:
    """Return what two requests for the same hold have in common, however they name the user; see `named_use`."""
    return _digest(f"{named}\x1f{request.amount}\x1f{_named(request.expected)}\x1f{request.seconds}")


def settlement_hash(settlement: Settlement) -> UUID:
    """Return what two settlements of the same hold have in common."""
    return _digest(f"{settlement.amount}\x1f{_named(settlement.measured)}")


def _named(measured: Measured | None) -> str | None:
    # Only what is not as it is by default: a meter that a later version adds makes no old request another one.
    if measured is None:
        return None
    quantities = ((name, getattr(measured, name), default) for name, default in _QUANTITIES)
    return ",".join([f"{name}={quantity}" for name, quantity, default in quantities if quantity != default])


_KEPT, _SET = ~(0xF << 76) & ~(0x3 << 62), 0x8 << 76 | 0x2 << 62
"""Version and variant bits in their places; the rest of an id is its digest's."""

_make, _write, _number = object.__new__, object.__setattr__, int.from_bytes


def _digest(text: str) -> UUID:
    # UUID's own __init__ looks at all the ways to make one, which takes longer than hashing.
    made = _make(UUID)
    _write(made, "int", _number(sha256(text.encode()).digest()[:16], "big") & _KEPT | _SET)
    _write(made, "is_safe", SafeUUID.unknown)
    return made


def check_request(request: HoldRequest) -> None:
    """Raise EventError or HoldError unless such a hold could be placed."""
    for name, value in (
        ("source", request.source), ("id", request.id), ("product", request.product), ("model", request.model),
    ):  # fmt: skip
        check_words(name, value)
    if not 1 <= request.seconds <= MAX_SECONDS:
        raise HoldError(ErrorCode.INVALID_INPUT, f"A hold lasts 1 to {MAX_SECONDS} seconds.")
    if request.amount is None and request.expected is None:
        raise HoldError(ErrorCode.INVALID_AMOUNT, "A hold takes an amount, or what is expected to be used.")
    if request.amount is not None and not 0 < request.amount <= MAX_CREDITS:
        raise HoldError(ErrorCode.INVALID_AMOUNT, "A hold's amount is above 0, and at most 1000000000.")
    if request.expected is not None:
        _check_measured(request.expected)
    for named in (request.user.email or "", request.user.external_id or ""):
        # What PostgreSQL has no text for names nobody, and must not fail those that are asked for with it.
        if "\0" in named or named.encode(errors="ignore").decode() != named:
            raise HoldError(ErrorCode.UNKNOWN_USER)


def check_settlement(settlement: Settlement) -> None:
    """Raise HoldError unless a hold could be settled so."""
    if settlement.amount is None and settlement.measured is None:
        raise HoldError(ErrorCode.INVALID_AMOUNT, "Settling takes an amount, or what was used.")
    if settlement.amount is not None and not 0 <= settlement.amount <= MAX_CREDITS:
        raise HoldError(ErrorCode.INVALID_AMOUNT, "What was used is 0 to 1000000000 credits.")
    if settlement.measured is not None:
        _check_measured(settlement.measured)


def _check_measured(measured: Measured) -> None:
    counts = (
        measured.messages, measured.tasks, measured.input_tokens, measured.cached_input_tokens, measured.output_tokens,
    )  # fmt: skip
    if not all(0 <= count <= MAX_TOKENS for count in counts) or not 0 <= measured.micro_minutes <= MAX_MICRO_MINUTES:
        raise HoldError(ErrorCode.INVALID_AMOUNT, "Messages, tasks and tokens are 0 to 10^12, and minutes 0 to 10^9.")
    if measured.tier:
        check_words("tier", measured.tier)


@lru_cache(maxsize=256)
def ends_at(now: datetime, seconds: int) -> int:
    """Return when a hold placed now ends, in seconds since 1970: after at least so many, rounded up to a step."""
    step = next(step for longest, step in _STEPS if seconds <= longest)
    earliest = -int(-(now.timestamp() + seconds) // 1)
    return -(-earliest // step) * step


@lru_cache(maxsize=256)
def moment(seconds: int) -> datetime:
    """Return the moment so many seconds after 1970 began."""
    return datetime.fromtimestamp(seconds, UTC)
