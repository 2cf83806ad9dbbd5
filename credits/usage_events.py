"""Recording usage: batches of events, each exactly once, with every rollup in the same transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from creditdesk.credits.controls import share_controls
from creditdesk.credits.errors import BatchSizeError, ErrorCode, EventError
from creditdesk.credits.event_prices import event_price, stored_measures, stored_rates
from creditdesk.credits.event_rules import UsageEvent, check_event
from creditdesk.credits.pricing import Price
from creditdesk.credits.rates import current_rate_card
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
    """What became of a batch: every event is accepted, a duplicate, or rejected.

    `unpriced` says how many of the accepted have no rate: they are recorded with 0 credits, and are not free.
    """

    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]
    unpriced: int = 0


class _Charged(NamedTuple):
    """An event, where it stands in the batch, and who is charged. A tuple, since a batch makes a thousand of them.

    `price` is None where the source gave the credits.
    """

    position: int
    event: UsageEvent
    user_id: UUID
    group_id: UUID | None
    price: Price | None = None


async def record_usage(
    conn: Connection, *, workspace_id: UUID, events: Sequence[UsageEvent], now: datetime
) -> Recorded:
    """Record each event exactly once, and count it in every balance; raise BatchSizeError unless there are 1 to 1000.

    The events that cannot be recorded are named with their reasons, and do not keep the others out.
    """
    if not 1 <= len(events) <= MAX_BATCH:
        raise BatchSizeError
    await share_controls(conn, workspace_id)
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
        self._unpriced = 0
        self._rejected: list[Rejection] = []

    def recorded(self) -> Recorded:
        rejected = tuple(sorted(self._rejected, key=lambda one: one.index))
        return Recorded(self._accepted, self._duplicates, rejected, self._unpriced)

    def _reject(self, index: int, code: ErrorCode, message: str | None = None) -> None:
        self._rejected.append(Rejection(index, code, message or code.value))

    async def record(self, events: Sequence[UsageEvent]) -> None:
        charged = await self._charge(list(self._fit(events)))
        uses = await self._price([one for one in charged if one.event.corrects is None])
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

    async def _price(self, uses: Sequence[_Charged]) -> Sequence[_Charged]:
        """Price the uses whose source gave no credits, by the rates of their own time; leave out those that have none.

        One that is recorded already is a duplicate also where today's rate card would not price it.
        """
        if all(one.event.credits is not None for one in uses):
            return uses
        card = await current_rate_card(self._conn, self._workspace_id)
        priced: list[_Charged] = []
        refused: list[tuple[_Charged, EventError]] = []
        for one in uses:
            try:
                priced.append(
                    one if one.event.credits is not None else one._replace(price=event_price(card, one.event))
                )
            except EventError as error:
                refused.append((one, error))
        if refused:
            alike = await self._alike([one for one, _ in refused])
            self._duplicates += len(alike)
            for nth, (one, refusal) in enumerate(refused, start=1):
                if nth not in alike:
                    self._reject(one.position, refusal.code, refusal.message)
        return priced

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
            rates=[stored_rates(one.price) for one in written],
            held_until=[None] * len(written),
            held_amounts=[None] * len(written),
            now_seconds=int(self._now.timestamp()),
            **_columns(written),
        )
        new = [written[nth - 1] for (nth,) in rows]
        self._accepted += len(new)
        self._unpriced += sum(one.price is not None and not one.price.rates for one in new)
        if len(new) < len(charged):
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
        alike = await self._alike(known)
        self._duplicates += len(alike)
        for nth, one in enumerate(known, start=1):
            if nth not in alike:
                self._reject(one.position, ErrorCode.IDEMPOTENCY_CONFLICT)

    async def _alike(self, charged: Sequence[_Charged]) -> set[int]:
        """Return which of these, counted from 1, are recorded already and say the same."""
        rows = await self._conn.rows("recorded_alike", workspace_id=self._workspace_id, **_columns(charged))
        return {nth for (nth,) in rows}


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
        "credits": [one.event.credits if one.price is None else one.price.credits for one in charged],
        "input_tokens": [event.input_tokens for event in events],
        "cached_input_tokens": [event.cached_input_tokens for event in events],
        "output_tokens": [event.output_tokens for event in events],
        "corrects": [event.corrects for event in events],
        "tags": [orjson.dumps(dict(event.tags)).decode() if event.tags else None for event in events],
        "measured": [stored_measures(event) for event in events],
        "priced_here": [event.credits is None for event in events],
    }
