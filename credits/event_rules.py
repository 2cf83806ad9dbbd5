"""What an event must be to be recorded: its parts, how long and how large they may be, and from when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.errors import ErrorCode, EventError

MAX_CREDITS = 1_000_000_000 * MICRO
"""A billion credits: far past any one use, and nine thousand of them still fit into a 64-bit sum."""
MAX_TOKENS = 1_000_000_000_000
"""Also the most messages or tasks of one use."""
MAX_MICRO_MINUTES = 1_000_000_000 * MICRO
MAX_TAGS = 20
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LONGEST = {"source": 100, "id": 200, "product": 100, "model": 100, "tier": 100}
_LONGEST_TAG_KEY, _LONGEST_TAG_VALUE = 60, 200


@dataclass(frozen=True, slots=True)
class UserBy:
    """A user named in one of three ways; exactly one is set."""

    id: UUID | None = None
    email: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One use, or the correction of one: then `corrects` is that one's id, and the figures are signed.

    `input_tokens` counts uncached input only; `cached_input_tokens` are not part of it. Credits are micro-credits, and
    minutes are millionths of one. Without `credits` the rate card prices it, of no tier as the standard one.
    """

    source: str
    id: str
    at: datetime
    user: UserBy
    product: str
    model: str
    credits: int | None
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    corrects: str | None = None
    tags: Mapping[str, str] | None = None
    messages: int | None = None
    tasks: int | None = None
    minutes: int | None = None
    tier: str = ""

    @property
    def is_plain(self) -> bool:
        """Tell whether nothing is said of it beside tokens and credits, as of most events."""
        return self.messages is None and self.tasks is None and self.minutes is None and not self.tier


def check_words(name: str, value: str) -> None:
    """Raise EventError unless a source, an id, a product, a model or a tier may be named so."""
    longest = _LONGEST[name]
    if not value or len(value) > longest or not value.isprintable():
        raise EventError(ErrorCode.INVALID_EVENT, f"`{name}` takes 1 to {longest} printable characters.")


def _checked_figures(event: UsageEvent) -> None:
    lowest = 0 if event.corrects is None else -1
    if event.credits is None:
        if event.corrects is not None:
            message = "A correction says its `credits`: the rate card prices uses only."
            raise EventError(ErrorCode.INVALID_AMOUNT, message)
    elif not lowest * MAX_CREDITS <= event.credits <= MAX_CREDITS:
        message = "`credits` are 0 to 1000000000; only a correction may take some away."
        raise EventError(ErrorCode.INVALID_AMOUNT, message)
    for tokens in (event.input_tokens, event.cached_input_tokens, event.output_tokens):
        if not lowest * MAX_TOKENS <= tokens <= MAX_TOKENS:
            raise EventError(ErrorCode.INVALID_AMOUNT, "Tokens are 0 to 10^12; only a correction may take some away.")


def _checked_measures(event: UsageEvent) -> None:
    lowest = 0 if event.corrects is None else -1
    for name, number in (("messages", event.messages), ("tasks", event.tasks)):
        if number is not None and not lowest * MAX_TOKENS <= number <= MAX_TOKENS:
            message = f"`{name}` are 0 to 10^12; only a correction may take some away."
            raise EventError(ErrorCode.INVALID_AMOUNT, message)
    if event.minutes is not None and not lowest * MAX_MICRO_MINUTES <= event.minutes <= MAX_MICRO_MINUTES:
        message = "`minutes` are 0 to 10^9; only a correction may take some away."
        raise EventError(ErrorCode.INVALID_AMOUNT, message)
    if event.tier:
        check_words("tier", event.tier)


def _checked_tags(tags: Mapping[str, str]) -> None:
    fits = len(tags) <= MAX_TAGS and all(
        0 < len(key) <= _LONGEST_TAG_KEY and len(value) <= _LONGEST_TAG_VALUE and (key + value).isprintable()
        for key, value in tags.items()
    )
    if not fits:
        keys, values = f"keys of 1 to {_LONGEST_TAG_KEY} characters", f"values of up to {_LONGEST_TAG_VALUE}"
        raise EventError(
            ErrorCode.INVALID_EVENT, f"An event takes {MAX_TAGS} tags, printable, with {keys} and {values}."
        )


def check_event(event: UsageEvent, *, now: datetime) -> None:
    """Raise EventError, with the code and the reason, unless the event could be recorded."""
    for name, value in (("source", event.source), ("id", event.id), ("product", event.product), ("model", event.model)):
        check_words(name, value)
    if event.corrects is not None:
        check_words("id", event.corrects)
    if not _EARLIEST <= event.at < now + timedelta(days=1):
        raise EventError(ErrorCode.INVALID_TIME)
    _checked_figures(event)
    if not event.is_plain:
        _checked_measures(event)
    if event.tags:
        _checked_tags(event.tags)
