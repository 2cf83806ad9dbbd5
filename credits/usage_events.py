"""Recording usage: batches of events, each exactly once, with every rollup in the same transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from creditdesk.credits.errors import BatchSizeError, ErrorCode, EventError
from creditdesk.credits.event_rules import UsageEvent, check_event
from creditdesk.db.connections import Connection
from creditdesk.db.errors import DatabaseUnavailable

MAX_BATCH = 1000


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

    position: int
    event: UsageEvent
    user_id: UUID
    group_id: UUID | None


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


class _Original(NamedTuple):
    """What a correction points to."""

    user_id: UUID
    group_id: UUID | None
    product: str
    model: str
    is_correction: bool


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
        charged = await self._charge(list(self._fit(events)))
        uses = [one for one in charged if one.event.corrects is None]
        corrections = await self._charge_as_original([one for one in charged if one.event.corrects is not None], uses)
        if uses or corrections:
            # In one statement, whose parts lock in one order: two of them would let two writers wait for each other.
            await self._write([*uses, *corrections])

    def _fit(self, events: Sequence[UsageEvent]) -> Iterator[tuple[int, UsageEvent]]:
        for index, event in enumerate(events):
            try:
                check_event(event, now=self._now)
            except EventError as error:
                self._reject(index, error.code, error.message)
            else:
                yield index, event

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

    async def _originals(self, corrections: Sequence[_Charged]) -> dict[tuple[str, str | None], _Original]:
        """Find the recorded events that these corrections point to."""
        rows = await self._conn.rows(
            "events_by_key",
            workspace_id=self._workspace_id,
            sources=[one.event.source for one in corrections],
            ids=[one.event.corrects for one in corrections],
        )
        return {(source, id_): _Original(*original) for source, id_, *original in rows}

    async def _charge_as_original(self, corrections: Sequence[_Charged], uses: Sequence[_Charged]) -> list[_Charged]:
        """Charge each correction to the group that paid for the use it corrects, which may be in the same batch."""
        if not corrections:
            return []
        originals = await self._originals(corrections)
        for use in uses:
            known = _Original(use.user_id, use.group_id, use.event.product, use.event.model, is_correction=False)
            originals.setdefault((use.event.source, use.event.id), known)
        charged = []
        for one in corrections:
            original = originals.get((one.event.source, one.event.corrects))
            if original is None or original.is_correction:
                self._reject(one.position, ErrorCode.UNKNOWN_EVENT)
            elif original[:1] + original[2:4] != (one.user_id, one.event.product, one.event.model):
                message = "A correction has the user, product and model of what it corrects."
                self._reject(one.position, ErrorCode.INVALID_EVENT, message)
            else:
                charged.append(one._replace(group_id=original.group_id))
        return charged

    async def _write(self, charged: Sequence[_Charged]) -> None:
        firsts: dict[tuple[str, str], _Charged] = {}
        for one in charged:
            firsts.setdefault((one.event.source, one.event.id), one)
        written = list(firsts.values())
        rows = await self._conn.rows(
            "record_usage_events",
            workspace_id=self._workspace_id,
            recorded_at=self._now,
            groups=[one.group_id for one in written],
            requests=[1 if one.event.corrects is None else 0 for one in written],
            **_columns(written),
        )
        self._accepted += len(rows)
        if len(rows) < len(charged):
            new = [written[nth - 1] for (nth,) in rows]
            positions = {one.position for one in new}
            await self._compare([one for one in charged if one.position not in positions])
            await self._check_originals([one for one in new if one.event.corrects is not None])

    async def _check_originals(self, corrections: Sequence[_Charged]) -> None:
        """Raise DatabaseUnavailable where another writer was first with a use of this batch, and charged it elsewhere.

        The transaction is then undone; sent again, the corrections find what that writer recorded.
        """
        originals = await self._originals(corrections) if corrections else {}
        for one in corrections:
            original = originals[one.event.source, one.event.corrects]
            if original != (one.user_id, one.group_id, one.event.product, one.event.model, False):
                raise DatabaseUnavailable(DatabaseUnavailable.__doc__)

    async def _compare(self, known: Sequence[_Charged]) -> None:
        """Tell the duplicates from the conflicts among events whose source and id are recorded already."""
        rows = await self._conn.rows("recorded_alike", workspace_id=self._workspace_id, **_columns(known))
        alike = {nth for (nth,) in rows}
        self._duplicates += len(alike)
        for nth, one in enumerate(known, start=1):
            if nth not in alike:
                self._reject(one.position, ErrorCode.IDEMPOTENCY_CONFLICT)


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
