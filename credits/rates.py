"""The rate card as it is stored: reading it, adding to it, and taking off it what has not come into effect.

Nothing on it is ever changed: events keep the rates they were priced with, and late ones are priced by those of then.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from itertools import count
from secrets import randbits
from typing import TypeVar
from uuid import UUID

from creditdesk.credits.amounts import format_credits
from creditdesk.credits.audit import AuditAction, AuditRecord, audit
from creditdesk.credits.controls import changing_controls
from creditdesk.credits.errors import BatchSizeError, CreditError, ErrorCode, InvalidInputError
from creditdesk.credits.permitted import Actor
from creditdesk.credits.pricing import (
    Meter,
    NewMultiplier,
    NewRate,
    Rate,
    RateCard,
    TierMultiplier,
    UnknownModel,
    check_multiplier,
    check_rate,
)
from creditdesk.db.connections import Connection, Row

MAX_LINES = 1000


class InvalidRateError(InvalidInputError):
    """A rate, or a multiplier, is not one that a card can hold; `path` says which of those that were given."""

    def __init__(self, message: str, *path: str) -> None:
        self.path = path
        super().__init__(message)


class UnknownRateError(CreditError):
    """There is no such rate."""

    code = ErrorCode.UNKNOWN_RATE


class RateInUseError(CreditError):
    """A rate that has come into effect stays: put a later one in its place."""

    code = ErrorCode.RATE_IN_USE


_Line = TypeVar("_Line", Rate, TierMultiplier)
_Key = tuple[object, ...]


async def load_rate_card(conn: Connection, workspace_id: UUID, unknown_model: UnknownModel) -> RateCard:
    """Read a workspace's rates and multipliers of all times, with its policy, which the settings say."""
    rates = await conn.rows("rate_card_rates", workspace_id=workspace_id)
    multipliers = await conn.rows("rate_card_multipliers", workspace_id=workspace_id)
    return RateCard(
        tuple(_rate(row) for row in rates), tuple(TierMultiplier(*row) for row in multipliers), unknown_model
    )


async def current_rate_card(conn: Connection, workspace_id: UUID) -> RateCard:
    """Read a workspace's rate card, with the policy that its settings have now."""
    [(_, _, unknown_model, *_)] = await conn.rows("controls_settings", workspace_id=workspace_id)
    return await load_rate_card(conn, workspace_id, UnknownModel[unknown_model])


def listed_rates(
    card: RateCard, *, at: datetime | None, product: str | None = None, model: str | None = None
) -> list[Rate]:
    """Return the rates in force at a time, or those of all times, by product, model, meter and start."""
    rates = card.rates if at is None else card.in_force(at)[0]
    order = list(Meter)
    return sorted(
        (rate for rate in rates if product in {None, rate.product} and model in {None, rate.model}),
        key=lambda rate: (rate.product, rate.model, order.index(rate.meter), rate.effective_from, rate.id),
    )


def listed_multipliers(card: RateCard, *, at: datetime | None) -> list[TierMultiplier]:
    """Return the multipliers in force at a time, or those of all times, by product, tier and start."""
    multipliers = card.multipliers if at is None else card.in_force(at)[1]
    return sorted(multipliers, key=lambda one: (one.product, one.tier, one.effective_from, one.id))


async def put_rates(
    conn: Connection,
    *,
    workspace_id: UUID,
    actor: Actor,
    rates: Sequence[NewRate],
    multipliers: Sequence[NewMultiplier],
    now: datetime,
) -> tuple[list[Rate], list[TierMultiplier]]:
    """Put rates and multipliers on the card, all or none, and return them; those that are there already stay as is.

    Raise BatchSizeError unless there are 1 to 1000, and InvalidRateError for the first that no card can hold.
    """
    if not 1 <= len(rates) + len(multipliers) <= MAX_LINES:
        raise BatchSizeError
    _check(rates, multipliers)
    await changing_controls(conn, workspace_id)
    card = await current_rate_card(conn, workspace_id)
    known = {line.id for line in card.rates} | {line.id for line in card.multipliers}
    ids = _ids_after(known, now)
    deciding_rates, deciding_multipliers = _deciding(card.rates), _deciding(card.multipliers)
    put = [_same(deciding_rates, one) or Rate(next(ids), *astuple(one)) for one in rates]
    multiplied = [_same(deciding_multipliers, one) or TierMultiplier(next(ids), *astuple(one)) for one in multipliers]
    new_rates = [rate for rate in put if rate.id not in known]
    new_multipliers = [one for one in multiplied if one.id not in known]
    if new_rates:
        await conn.rows(
            "add_rates", workspace_id=workspace_id, set_by=actor.user_id, now=now, **_rate_columns(new_rates)
        )
    if new_multipliers:
        columns = _multiplier_columns(new_multipliers)
        await conn.rows("add_rate_multipliers", workspace_id=workspace_id, set_by=actor.user_id, now=now, **columns)
    records = [_record(AuditAction.RATE_ADDED, one, None, one) for one in new_rates]
    records += [_record(AuditAction.MULTIPLIER_ADDED, one, None, one) for one in new_multipliers]
    await audit(conn, workspace_id=workspace_id, actor=actor, records=records, now=now)
    return put, multiplied


async def remove_rate(conn: Connection, *, workspace_id: UUID, actor: Actor, id_: UUID, now: datetime) -> Rate:
    """Take a rate that has not come into effect off the card; raise UnknownRateError or RateInUseError."""
    await changing_controls(conn, workspace_id)
    rate = _found((await current_rate_card(conn, workspace_id)).rates, id_)
    if not await conn.rows("remove_rate", workspace_id=workspace_id, id=id_, now=now):
        raise RateInUseError
    record = _record(AuditAction.RATE_REMOVED, rate, rate, None)
    await audit(conn, workspace_id=workspace_id, actor=actor, records=[record], now=now)
    return rate


async def remove_multiplier(
    conn: Connection, *, workspace_id: UUID, actor: Actor, id_: UUID, now: datetime
) -> TierMultiplier:
    """Take a multiplier that has not come into effect off the card; raise UnknownRateError or RateInUseError."""
    await changing_controls(conn, workspace_id)
    multiplier = _found((await current_rate_card(conn, workspace_id)).multipliers, id_)
    if not await conn.rows("remove_rate_multiplier", workspace_id=workspace_id, id=id_, now=now):
        raise RateInUseError
    record = _record(AuditAction.MULTIPLIER_REMOVED, multiplier, multiplier, None)
    await audit(conn, workspace_id=workspace_id, actor=actor, records=[record], now=now)
    return multiplier


def _rate(row: Row) -> Rate:
    id_, product, model, meter, price, effective_from, effective_until = row
    return Rate(id_, product, model, Meter[meter], price, effective_from, effective_until)


def _key(line: NewRate | Rate | NewMultiplier | TierMultiplier) -> _Key:
    """Return what two lines have in common of which only one ever applies: the one that was put later."""
    named: _Key = (
        (line.product, line.model, line.meter) if isinstance(line, NewRate | Rate) else (line.product, line.tier)
    )
    return (*named, line.effective_until is None, line.effective_from)


def _check(rates: Sequence[NewRate], multipliers: Sequence[NewMultiplier]) -> None:
    seen: set[_Key] = set()
    lines: list[tuple[str, int, NewRate | NewMultiplier]] = [("rates", index, one) for index, one in enumerate(rates)]
    lines += [("multipliers", index, one) for index, one in enumerate(multipliers)]
    for name, index, line in lines:
        try:
            check_rate(line) if isinstance(line, NewRate) else check_multiplier(line)
        except InvalidInputError as error:
            raise InvalidRateError(error.message, name, str(index)) from error
        if (key := _key(line)) in seen:
            raise InvalidRateError("Another one here is for the same, from the same time on.", name, str(index))
        seen.add(key)


def _ids_after(known: Iterable[UUID], now: datetime) -> Iterator[UUID]:
    """Yield ids of version 7 (RFC 9562), each larger than those before it, also where this server's clock is behind.

    Of lines that start alike the larger id wins: it must be the one that was put later.
    """
    millis = int(now.timestamp() * 1000)
    first = millis << 80 | 7 << 76 | randbits(12) << 64 | 2 << 62 | randbits(62)
    return (UUID(int=number) for number in count(max([first, *(id_.int + 1 for id_ in known)])))


def _deciding(lines: Iterable[_Line]) -> dict[_Key, _Line]:
    return {_key(line): line for line in sorted(lines, key=lambda line: line.id)}


def _same(known: Mapping[_Key, _Line], new: NewRate | NewMultiplier) -> _Line | None:
    """Return the line that says the same already, and applies: to send a card again changes nothing."""
    found = known.get(_key(new))
    return found if found is not None and astuple(found)[1:] == astuple(new) else None


def _found(lines: Iterable[_Line], id_: UUID) -> _Line:
    for line in lines:
        if line.id == id_:
            return line
    raise UnknownRateError


def _rate_columns(rates: Sequence[Rate]) -> dict[str, list[object]]:
    return {
        "ids": [rate.id for rate in rates],
        "products": [rate.product for rate in rates],
        "models": [rate.model for rate in rates],
        "meters": [rate.meter.name for rate in rates],
        "prices": [rate.price for rate in rates],
        "starts": [rate.effective_from for rate in rates],
        "ends": [rate.effective_until for rate in rates],
    }


def _multiplier_columns(multipliers: Sequence[TierMultiplier]) -> dict[str, list[object]]:
    return {
        "ids": [one.id for one in multipliers],
        "products": [one.product for one in multipliers],
        "tiers": [one.tier for one in multipliers],
        "millionths": [one.millionths for one in multipliers],
        "starts": [one.effective_from for one in multipliers],
        "ends": [one.effective_until for one in multipliers],
    }


def _record(action: AuditAction, line: _Line, before: _Line | None, after: _Line | None) -> AuditRecord:
    states = (_state(before) if before else None, _state(after) if after else None)
    return AuditRecord(action, type(line).__name__, line.id, *states)


def _state(line: Rate | TierMultiplier) -> dict[str, str | None]:
    """Return a line as the audit trail shows it, by the API's names of its fields."""
    dates = {"effectiveFrom": _moment(line.effective_from), "effectiveUntil": _moment(line.effective_until)}
    if isinstance(line, Rate):
        named = {"product": line.product or None, "model": line.model or None, "meter": line.meter.name}
        return {**named, "price": format_credits(line.price), **dates}
    return {"product": line.product or None, "tier": line.tier, "factor": format_credits(line.millionths), **dates}


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
