"""Ending holds: settled with what was really used, which is recorded as usage, or released. Each ends exactly once."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from creditdesk.credits.controls import load_controls, share_controls
from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.credits.held_uses import HeldUse, record_held_uses
from creditdesk.credits.hold_rows import StoredHold
from creditdesk.credits.hold_rules import (
    Hold,
    HoldError,
    HoldState,
    Settlement,
    check_settlement,
    settlement_hash,
)
from creditdesk.credits.pricing import Measured, Price, RateCard, price
from creditdesk.credits.rates import load_rate_card
from creditdesk.db.connections import Connection


async def settle_holds(
    conn: Connection, workspace_id: UUID, settlements: Sequence[Settlement], *, clock: Callable[[], datetime]
) -> list[Hold | Exception]:
    """Settle each of these holds, or say why not; each hold is named once.

    What was used is charged to the group, and counts in the periods, that the hold was placed for. All of it is
    recorded, also what goes past the hold, and what comes after the hold has expired: that much is its overage.
    Raises HoldError, and then has to be rolled back, where another event is recorded under the id of one of them.
    """
    await share_controls(conn, workspace_id)
    stored = await _locked(conn, workspace_id, [one.hold_id for one in settlements])
    now = clock()  # after the wait for the lock, in which a hold may have expired
    controls = await load_controls(conn, workspace_id) if any(one.amount is None for one in settlements) else None
    card: RateCard | None = None
    if controls is not None:
        card = await load_rate_card(conn, workspace_id, controls.unknown_model)
    answers: list[Hold | Exception] = []
    settling: list[tuple[int, Settlement, Price, Hold]] = []
    for settlement in settlements:
        try:
            found = _to_end(stored, settlement.hold_id)
            check_settlement(settlement)
            if found.hold.state is HoldState.SETTLED and found.settlement_hash == settlement_hash(settlement):
                answers.append(found.hold)
                continue
            if found.hold.state is not HoldState.HELD:
                raise HoldError(ErrorCode.HOLD_ENDED)
            settling.append((len(answers), settlement, _priced(card, settlement, found.hold), found.hold))
            answers.append(found.hold)
        except CreditError as error:
            answers.append(error)
    if settling:
        for index, hold in await _settled(conn, workspace_id, settling, now):
            answers[index] = hold
    return answers


async def release_holds(
    conn: Connection, workspace_id: UUID, hold_ids: Sequence[UUID], *, clock: Callable[[], datetime]
) -> list[Hold | Exception]:
    """Release each of these holds, or say why not; each is named once. Releasing again changes nothing."""
    await share_controls(conn, workspace_id)
    stored = await _locked(conn, workspace_id, hold_ids)
    now = clock()  # after the wait for the lock, in which a hold may have expired
    answers: list[Hold | Exception] = []
    releasing: list[UUID] = []
    for id_ in hold_ids:
        try:
            hold = _to_end(stored, id_).hold
            if hold.state is HoldState.SETTLED or hold.has_expired(now):
                raise HoldError(ErrorCode.HOLD_ENDED)
            if hold.state is HoldState.HELD:
                releasing.append(id_)
                hold = hold._replace(state=HoldState.RELEASED, ended_at=now)
            answers.append(hold)
        except CreditError as error:
            answers.append(error)
    if releasing:
        seconds = int(now.timestamp())
        await conn.rows("release_holds", workspace_id=workspace_id, ids=releasing, now=now, now_seconds=seconds)
    return answers


async def hold_by_id(conn: Connection, workspace_id: UUID, id_: UUID) -> Hold | None:
    """Return a hold, or None where there is none; a refusal is none."""
    rows = await conn.rows("holds_by_id", workspace_id=workspace_id, ids=[id_])
    found = StoredHold(rows[0]) if rows else None
    return found.hold if found and found.refusal is None else None


async def _locked(conn: Connection, workspace_id: UUID, ids: Sequence[UUID]) -> dict[UUID, StoredHold]:
    rows = await conn.rows("holds_to_end", workspace_id=workspace_id, ids=list(ids))
    return {found.hold.id: found for found in map(StoredHold, rows)}


def _to_end(stored: dict[UUID, StoredHold], id_: UUID) -> StoredHold:
    found = stored.get(id_)
    if found is None or found.refusal is not None:
        raise HoldError(ErrorCode.UNKNOWN_HOLD)
    return found


def _priced(card: RateCard | None, settlement: Settlement, hold: Hold) -> Price:
    if settlement.amount is not None or card is None:
        return Price(settlement.amount or 0, ())
    measured = settlement.measured or Measured()
    return price(card, product=hold.product, model=hold.model, at=hold.placed_at, measured=measured)


async def _settled(
    conn: Connection, workspace_id: UUID, settling: Sequence[tuple[int, Settlement, Price, Hold]], now: datetime
) -> list[tuple[int, Hold]]:
    """Record what was used, and end the holds."""
    ended: list[tuple[int, Hold]] = []
    uses: list[HeldUse] = []
    for index, settlement, priced, hold in settling:
        still_held = 0 if hold.has_expired(now) else hold.amount
        done = hold._replace(
            state=HoldState.SETTLED,
            ended_at=now,
            settled_amount=priced.credits,
            overage=max(0, priced.credits - still_held),
        )
        ended.append((index, done))
        rates = None if settlement.amount is not None else priced.rates
        uses.append(
            HeldUse(
                source=hold.source,
                id=hold.external_id,
                at=hold.placed_at,
                user_id=hold.user_id,
                group_id=hold.group_id,
                product=hold.product,
                model=hold.model,
                credits=priced.credits,
                measured=settlement.measured or Measured(),
                rates=rates,
                held_until=int(hold.expires_at.timestamp()),
                held_amount=hold.amount,
            )
        )
    await conn.rows(
        "settle_holds",
        workspace_id=workspace_id,
        now=now,
        ids=[hold.id for _, hold in ended],
        amounts=[hold.settled_amount for _, hold in ended],
        overages=[hold.overage for _, hold in ended],
        hashes=[settlement_hash(settlement) for _, settlement, _, _ in settling],
    )
    if not await record_held_uses(conn, workspace_id=workspace_id, uses=uses, now=now):
        raise HoldError(ErrorCode.IDEMPOTENCY_CONFLICT)
    return ended
