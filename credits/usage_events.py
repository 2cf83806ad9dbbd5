"""Recording usage: batches of events, each exactly once, with every rollup in the same transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import orjson

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.errors import BatchSizeError, ErrorCode, EventError
from creditdesk.db.connections import Connection

MAX_BATCH = 1000
MAX_CREDITS = 1_000_000_000 * MICRO
"""A billion credits: far past any one use, and nine thousand of them still fit into a 64-bit sum."""
MAX_TOKENS = 1_000_000_000_000
MAX_TAGS = 20
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LONGEST = {"source": 100, "id": 200, "product": 100, "model": 100}
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

    `input_tokens` counts uncached input only; `cached_input_tokens` are not part of it. Credits are micro-credits.
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


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the event at this index of the batch was not recorded."""

    index: int
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: every event is accepted, a duplicate, or rejected."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]


class _Charged(NamedTuple):
    """An event, where it stands in the batch, and who is charged. A tuple, since a batch makes a thousand of them."""

    index: int
    event: UsageEvent
    user_id: UUID
    group_id: UUID | None


def _checked_words(name: str, value: str) -> None:
    longest = _LONGEST[name]
    if not value or len(value) > longest or not value.isprintable():
        raise EventError(ErrorCode.INVALID_EVENT, f"`{name}` takes 1 to {longest} printable characters.")


def _checked_figures(event: UsageEvent) -> None:
    if event.credits is None:
        raise EventError(ErrorCode.INVALID_AMOUNT, "`credits` is missing, and no rate card prices the event.")
    lowest = 0 if event.corrects is None else -MAX_CREDITS
    if not lowest <= event.credits <= MAX_CREDITS:
        raise EventError(
            ErrorCode.INVALID_AMOUNT, "`credits` are 0 to 1000000000; only a correction may take some away."
        )
    lowest = 0 if event.corrects is None else -MAX_TOKENS
    for tokens in (event.input_tokens, event.cached_input_tokens, event.output_tokens):
        if not lowest <= tokens <= MAX_TOKENS:
            raise EventError(ErrorCode.INVALID_AMOUNT, "Tokens are 0 to 10^12; only a correction may take some away.")


def _checked_tags(tags: Mapping[str, str]) -> None:
    fits = len(tags) <= MAX_TAGS and all(
        0 < len(key) <= _LONGEST_TAG_KEY and len(value) <= _LONGEST_TAG_VALUE and (key + value).isprintable()
        for key, value in tags.items()
    )
    if not fits:
        raise EventError(
            ErrorCode.INVALID_EVENT,
            f"An event takes {MAX_TAGS} tags, with printable keys of 1 to {_LONGEST_TAG_KEY} characters and values"
            f" of up to {_LONGEST_TAG_VALUE}.",
        )


def check_event(event: UsageEvent, *, now: datetime) -> None:
    """Raise EventError, with the code and the reason, unless the event could be recorded."""
    for name, value in (("source", event.source), ("id", event.id), ("product", event.product), ("model", event.model)):
        _checked_words(name, value)
    if event.corrects is not None:
        _checked_words("id", event.corrects)
    if not _EARLIEST <= event.at < now + timedelta(days=1):
        raise EventError(ErrorCode.INVALID_TIME)
    _checked_figures(event)
    if event.tags:
        _checked_tags(event.tags)


async def record_usage(
    conn: Connection, *, workspace_id: UUID, events: Sequence[UsageEvent], now: datetime
) -> Recorded:
    """Record each event exactly once; raise BatchSizeError unless there are 1 to 1000.

    The events that cannot be recorded are named with their reasons, and do not keep the others out.
    """
    if not 1 <= len(events) <= MAX_BATCH:
        raise BatchSizeError
    batch = _Batch(conn, workspace_id, now)
    await batch.record(events)
    return batch.recorded()


class _Batch:
    """One call of record_usage: what has become of its events so far."""

    def __init__(self, conn: Connection, workspace_id: UUID, now: datetime) -> None:
        self._conn = conn
        self._workspace_id = workspace_id
        self._now = now
        self._accepted = 0
        self._duplicates = 0
        self._rejected: list[Rejection] = []

    def recorded(self) -> Recorded:
        return Recorded(self._accepted, self._duplicates, tuple(sorted(self._rejected, key=lambda one: one.index)))

    def _reject(self, index: int, code: ErrorCode, message: str | None = None) -> None:
        self._rejected.append(Rejection(index, code, message or code.value))

    async def record(self, events: Sequence[UsageEvent]) -> None:
        fit = list(self._fit(events))
        charged = await self._charge([(i, event) for i, event in fit if event.corrects is None])
        if charged:
            await self._write(charged)
        corrections = [(i, event) for i, event in fit if event.corrects is not None]
        if corrections:
            # After the uses, so that a correction may come in the same batch as what it corrects.
            corrected = await self._charge_as_original(await self._charge(corrections))
            if corrected:
                await self._write(corrected)

    def _fit(self, events: Sequence[UsageEvent]) -> list[tuple[int, UsageEvent]]:
        first_of: dict[tuple[str, str], UsageEvent] = {}
        fit = []
        for index, event in enumerate(events):
            try:
                check_event(event, now=self._now)
            except EventError as error:
                self._reject(index, error.code, error.message)
                continue
            first = first_of.setdefault((event.source, event.id), event)
            if first is event:
                fit.append((index, event))
            elif first == event:
                self._duplicates += 1
            else:
                self._reject(index, ErrorCode.IDEMPOTENCY_CONFLICT)
        return fit

    async def _charge(self, events: Sequence[tuple[int, UsageEvent]]) -> list[_Charged]:
        """Name each event's user, and the group that is charged: the user's home group as it is now."""
        if not events:
            return []
        users = [event.user for _, event in events]
        rows = await self._conn.rows(
            "users_charged",
            workspace_id=self._workspace_id,
            ids=list({user.id for user in users if user.id is not None}),
            emails=list({user.email.lower() for user in users if user.email is not None}),
            external_ids=list({user.external_id for user in users if user.external_id is not None}),
        )
        found: dict[object, tuple[UUID, UUID | None]] = {}
        for user_id, email, external_id, group_id in rows:
            found[user_id] = found["email", email] = found["external id", external_id] = (user_id, group_id)
        charged = []
        for index, event in events:
            user = event.user
            key: object = user.id
            if user.email is not None:
                key = ("email", user.email.lower())
            elif user.external_id is not None:
                key = ("external id", user.external_id)
            match found.get(key):
                case user_id, group_id:
                    charged.append(_Charged(index, event, user_id, group_id))
                case None:
                    self._reject(index, ErrorCode.UNKNOWN_USER)
        return charged

    async def _charge_as_original(self, corrections: Sequence[_Charged]) -> list[_Charged]:
        """Charge each correction to the group that paid for the use it corrects."""
        if not corrections:
            return []
        rows = await self._conn.rows(
            "events_by_key",
            workspace_id=self._workspace_id,
            sources=[one.event.source for one in corrections],
            ids=[one.event.corrects for one in corrections],
        )
        originals = {(source, id_): rest for source, id_, *rest in rows}
        charged = []
        for one in corrections:
            match originals.get((one.event.source, one.event.corrects)):
                case [user_id, group_id, product, model, False] if (user_id, product, model) == (
                    one.user_id,
                    one.event.product,
                    one.event.model,
                ):
                    charged.append(_Charged(one.index, one.event, one.user_id, group_id))
                case [_, _, _, _, False]:
                    self._reject(
                        one.index,
                        ErrorCode.INVALID_EVENT,
                        "A correction has the user, product and model of what it corrects.",
                    )
                case _:
                    self._reject(one.index, ErrorCode.UNKNOWN_EVENT)
        return charged

    async def _write(self, charged: Sequence[_Charged]) -> None:
        rows = await self._conn.rows(
            "record_usage_events",
            workspace_id=self._workspace_id,
            recorded_at=self._now,
            groups=[one.group_id for one in charged],
            requests=[1 if one.event.corrects is None else 0 for one in charged],
            **_columns(charged),
        )
        self._accepted += len(rows)
        if len(rows) < len(charged):
            new = {nth for (nth,) in rows}
            await self._compare([one for nth, one in enumerate(charged, start=1) if nth not in new])

    async def _compare(self, known: Sequence[_Charged]) -> None:
        """Tell the duplicates from the conflicts among events whose source and id are recorded already."""
        rows = await self._conn.rows("recorded_alike", workspace_id=self._workspace_id, **_columns(known))
        alike = {nth for (nth,) in rows}
        self._duplicates += len(alike)
        for nth, one in enumerate(known, start=1):
            if nth not in alike:
                self._reject(one.index, ErrorCode.IDEMPOTENCY_CONFLICT)


def _columns(charged: Sequence[_Charged]) -> dict[str, list[object]]:
    """Turn events into the arrays that a statement takes, one for each column."""
    events = [one.event for one in charged]
    return {
        "sources": [event.source for event in events],
        "ids": [event.id for event in events],
        "times": [event.at for event in events],
        "users": [one.user_id for one in charged],
        "products": [event.product for event in events],
        "models": [event.model for event in events],
        "credits": [event.credits for event in events],
        "input_tokens": [event.input_tokens for event in events],
        "cached_input_tokens": [event.cached_input_tokens for event in events],
        "output_tokens": [event.output_tokens for event in events],
        "corrects": [event.corrects for event in events],
        "tags": [orjson.dumps(dict(event.tags)).decode() if event.tags else None for event in events],
    }
