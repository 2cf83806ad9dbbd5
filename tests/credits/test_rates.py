"""The rate card as it is kept: put, listed, taken back, and never changed."""

import asyncio
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.errors import BatchSizeError, ErrorCode
from creditdesk.credits.permitted import Actor
from creditdesk.credits.pricing import (
    Measured,
    Meter,
    NewMultiplier,
    NewRate,
    Rate,
    RateCard,
    TierMultiplier,
    UnknownModel,
    price,
)
from creditdesk.credits.rates import (
    InvalidRateError,
    RateInUseError,
    UnknownRateError,
    current_rate_card,
    listed_multipliers,
    listed_rates,
    load_rate_card,
    put_rates,
    remove_multiplier,
    remove_rate,
)
from creditdesk.credits.usage_events import record_usage
from support.ledgers import NOW, Desk, Ledger, new_ledger

START = datetime(2026, 6, 1, tzinfo=UTC)
SOON = NOW + timedelta(hours=2)
ACTOR = Actor("PERSON", "olga", None)
MESSAGES = NewRate("chat", "large", Meter.MESSAGE, 2 * MICRO, START, None)
FAST = NewMultiplier("", "fast", 2 * MICRO, START, None)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"


def put(ledger: Ledger, *lines: NewRate | NewMultiplier, now: datetime = NOW) -> list[Any]:
    """Put lines on the card in a transaction of their own, and return them as they stand on it."""

    async def putting() -> list[Any]:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            rates, multipliers = await put_rates(
                conn,
                workspace_id=ledger.workspace_id,
                actor=ACTOR,
                rates=[line for line in lines if isinstance(line, NewRate)],
                multipliers=[line for line in lines if isinstance(line, NewMultiplier)],
                now=now,
            )
            return [*rates, *multipliers]

    found: list[Any] = ledger.desk.run(putting())
    return found


def take(ledger: Ledger, line: UUID, *, multiplier: bool = False, now: datetime = NOW) -> Any:
    async def taking() -> Any:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            given: dict[str, Any] = {"workspace_id": ledger.workspace_id, "actor": ACTOR, "now": now}
            if multiplier:
                return await remove_multiplier(conn, id_=line, **given)
            return await remove_rate(conn, id_=line, **given)

    return ledger.desk.run(taking())


def card_of(ledger: Ledger) -> RateCard:
    card: RateCard = ledger.desk.run(current_rate_card(ledger.reader, ledger.workspace_id))
    return card


def terms(line: Rate | TierMultiplier) -> Any:
    """Return what a line of the card says, without its id."""
    return (NewRate if isinstance(line, Rate) else NewMultiplier)(*astuple(line)[1:])


def audited(ledger: Ledger) -> list[tuple[Any, ...]]:
    return ledger.desk.sql(
        "SELECT action, object_type, object_id, before, after, at, actor_subject FROM audit_entry"
        " WHERE workspace_id = %s ORDER BY id",
        ledger.workspace_id,
    )


def version(ledger: Ledger) -> int:
    query = "SELECT controls_version FROM workspace_settings WHERE workspace_id = %s"
    return int(ledger.desk.sql(query, ledger.workspace_id)[0][0])


def cost(card: RateCard, at: datetime = NOW, **measured: Any) -> int:
    return price(card, product="chat", model="large", at=at, measured=Measured(**measured)).credits


def test_a_card_is_read_as_it_was_put(ledger: Ledger) -> None:
    rates = [
        replace(MESSAGES, meter=meter, price=number, effective_until=SOON)
        for number, meter in enumerate(Meter, start=0)
    ]
    rates += [
        replace(MESSAGES, model=""),
        replace(MESSAGES, product="", model="", effective_from=datetime(1, 1, 1, tzinfo=UTC)),
        replace(MESSAGES, product="é" * 100, price=10**15, effective_from=datetime(9999, 12, 31, tzinfo=UTC)),
    ]
    multipliers = [FAST, replace(FAST, product="chat", millionths=1, effective_until=SOON)]
    lines = put(ledger, *rates, *multipliers)
    assert [terms(line) for line in lines] == [*rates, *multipliers]
    card = card_of(ledger)
    assert set(card.rates) == set(lines[: len(rates)])
    assert set(card.multipliers) == set(lines[len(rates) :])
    assert card.unknown_model is UnknownModel.DENY
    loaded = ledger.desk.run(load_rate_card(ledger.reader, ledger.workspace_id, UnknownModel.DEFAULT_RATE))
    assert loaded == RateCard(card.rates, card.multipliers, UnknownModel.DEFAULT_RATE)
    assert len({line.id for line in lines}) == len(lines)


def test_each_workspace_has_a_card_of_its_own(desk: Desk, ledger: Ledger) -> None:
    [mine] = put(ledger, MESSAGES)
    other = new_ledger(desk)
    assert card_of(other) == RateCard((), (), UnknownModel.DENY)
    with pytest.raises(UnknownRateError):
        take(other, mine.id)
    assert card_of(ledger).rates == (mine,)


def test_putting_a_rate_is_audited_and_told_to_everybody_who_spends(ledger: Ledger) -> None:
    before = version(ledger)
    promotion = replace(MESSAGES, price=500_000, effective_until=SOON)
    default = replace(MESSAGES, product="", model="")
    lines = put(ledger, promotion, default, FAST)
    state = {
        "product": "chat", "model": "large", "meter": "MESSAGE", "price": "0.5",
        "effectiveFrom": "2026-06-01T00:00:00Z", "effectiveUntil": "2026-06-20T12:00:00Z",
    }  # fmt: skip
    unnamed = state | {"product": None, "model": None, "price": "2", "effectiveUntil": None}
    tier = {
        "product": None, "tier": "fast", "factor": "2", "effectiveFrom": "2026-06-01T00:00:00Z", "effectiveUntil": None,
    }  # fmt: skip
    assert audited(ledger) == [
        ("RATE_ADDED", "Rate", lines[0].id, None, state, NOW, "olga"),
        ("RATE_ADDED", "Rate", lines[1].id, None, unnamed, NOW, "olga"),
        ("MULTIPLIER_ADDED", "TierMultiplier", lines[2].id, None, tier, NOW, "olga"),
    ]
    assert version(ledger) == before + 1


def test_the_same_card_sent_again_changes_nothing(ledger: Ledger) -> None:
    lines = put(ledger, MESSAGES, FAST)
    assert put(ledger, MESSAGES, FAST) == lines
    assert put(ledger, replace(FAST, tier="slow"), MESSAGES)[0] == lines[0]
    assert (ledger.rows("rate"), ledger.rows("rate_multiplier")) == (1, 2)
    assert [action for action, *_ in audited(ledger)] == ["RATE_ADDED", "MULTIPLIER_ADDED", "MULTIPLIER_ADDED"]


@pytest.mark.parametrize("behind", [timedelta(), timedelta(hours=3)])
def test_of_rates_that_start_alike_the_one_put_later_applies_whatever_the_clock_says(
    ledger: Ledger, behind: timedelta
) -> None:
    prices = [7, 5, 7, 6, 9, 1]
    for number, micro in enumerate(prices):
        put(ledger, replace(MESSAGES, price=micro), now=NOW - number * behind)
        assert cost(card_of(ledger)) == micro
    put(ledger, replace(MESSAGES, price=3, effective_until=SOON))
    put(ledger, replace(MESSAGES, price=4, effective_until=SOON + timedelta(days=1)))
    assert cost(card_of(ledger)) == 4
    put(ledger, replace(MESSAGES, price=3, effective_until=SOON))
    assert cost(card_of(ledger)) == 3
    assert cost(card_of(ledger), SOON) == 4
    for number, micro in enumerate((3, 2, 4)):
        put(ledger, replace(FAST, millionths=micro * MICRO), now=NOW - number * behind)
        assert cost(card_of(ledger), SOON + timedelta(days=1), tier="fast") == micro


def test_a_card_is_listed_of_all_times_or_of_one_in_order(ledger: Ledger) -> None:
    new = [
        replace(MESSAGES, product="work"),
        replace(MESSAGES, meter=Meter.OUTPUT_TOKENS, price=9),
        replace(MESSAGES, price=3, effective_from=SOON),
        MESSAGES,
        replace(MESSAGES, model=""),
        replace(MESSAGES, product="", model=""),
        replace(MESSAGES, price=1, effective_from=NOW, effective_until=NOW + timedelta(hours=1)),
    ]
    put(ledger, *new, FAST, replace(FAST, effective_from=SOON), replace(FAST, product="chat", tier="a"))
    card = card_of(ledger)

    def shown(at: datetime | None, product: str | None = None, model: str | None = None) -> list[int]:
        """Return where each rate listed stands among the new ones."""
        rates = listed_rates(card, at=at, product=product, model=model)
        return [new.index(terms(rate)) for rate in rates]

    assert shown(None) == [5, 4, 3, 6, 2, 1, 0]
    assert shown(None, "chat") == [4, 3, 6, 2, 1]
    assert shown(None, "chat", "large") == [3, 6, 2, 1]
    assert shown(None, "chat", "") == [4]
    assert shown(None, "", "") == [5]
    assert shown(None, "cha") == []
    assert shown(NOW) == [5, 4, 6, 1, 0]
    assert shown(NOW + timedelta(hours=1)) == [5, 4, 3, 1, 0]
    assert shown(SOON, "chat", "large") == [2, 1]
    assert shown(START - timedelta(microseconds=1)) == []
    tiers = [(one.product, one.tier, one.effective_from) for one in listed_multipliers(card, at=None)]
    assert tiers == [("", "fast", START), ("", "fast", SOON), ("chat", "a", START)]
    assert [one.effective_from for one in listed_multipliers(card, at=SOON)] == [SOON, START]
    assert listed_multipliers(card, at=START - timedelta(days=1)) == []


# Taking back


def test_a_rate_that_has_not_come_into_effect_may_be_taken_back(ledger: Ledger) -> None:
    planned, other = put(ledger, replace(MESSAGES, effective_from=SOON), MESSAGES)
    before = version(ledger)
    assert take(ledger, planned.id, now=SOON - timedelta(microseconds=1)) == planned
    assert card_of(ledger).rates == (other,)
    action, kind, id_, was, after, *_ = audited(ledger)[-1]
    assert (action, kind, id_, after) == ("RATE_REMOVED", "Rate", planned.id, None)
    assert was["effectiveFrom"] == "2026-06-20T12:00:00Z"
    assert version(ledger) == before + 1


def test_a_multiplier_that_has_not_come_into_effect_may_be_taken_back(ledger: Ledger) -> None:
    planned, other = put(ledger, replace(FAST, effective_from=SOON), FAST)
    assert take(ledger, planned.id, multiplier=True) == planned
    assert card_of(ledger).multipliers == (other,)
    action, kind, id_, was, after, *_ = audited(ledger)[-1]
    assert (action, kind, id_, after) == ("MULTIPLIER_REMOVED", "TierMultiplier", planned.id, None)
    assert (was["tier"], was["factor"]) == ("fast", "2")


def test_what_has_come_into_effect_stays(ledger: Ledger) -> None:
    lines = put(ledger, replace(MESSAGES, effective_from=NOW), replace(FAST, effective_from=NOW))
    trail, before = audited(ledger), version(ledger)
    for line in lines:
        with pytest.raises(RateInUseError) as refused:
            take(ledger, line.id, multiplier=isinstance(line, TierMultiplier))
        assert refused.value.code is ErrorCode.RATE_IN_USE
    assert (ledger.rows("rate"), ledger.rows("rate_multiplier"), audited(ledger), version(ledger)) == (
        1,
        1,
        trail,
        before,
    )


def test_what_an_event_dated_ahead_was_priced_with_stays_too(ledger: Ledger) -> None:
    put(ledger, MESSAGES, FAST)
    planned = put(ledger, replace(MESSAGES, price=7, effective_from=SOON), replace(FAST, effective_from=SOON))
    unused = put(ledger, replace(MESSAGES, meter=Meter.TASK, effective_from=SOON))
    ahead = ledger.event(at=SOON, credits=None, tier="fast")
    assert ledger.record(ahead).accepted == 1
    for line in planned:
        with pytest.raises(RateInUseError):
            take(ledger, line.id, multiplier=isinstance(line, TierMultiplier))
    assert take(ledger, unused[0].id) == unused[0]


def test_what_is_not_there_is_unknown_and_so_is_a_line_of_the_other_kind(ledger: Ledger) -> None:
    rate, multiplier = put(ledger, replace(MESSAGES, effective_from=SOON), replace(FAST, effective_from=SOON))
    trail = audited(ledger)
    for id_, is_multiplier in ((uuid4(), False), (uuid4(), True), (rate.id, True), (multiplier.id, False)):
        with pytest.raises(UnknownRateError) as refused:
            take(ledger, id_, multiplier=is_multiplier)
        assert refused.value.code is ErrorCode.UNKNOWN_RATE
    assert (ledger.rows("rate"), ledger.rows("rate_multiplier"), audited(ledger)) == (1, 1, trail)


# All or nothing


@pytest.mark.parametrize(
    ("lines", "path", "reason"),
    [
        ([replace(MESSAGES, price=-1)], ("rates", "0"), "A rate's price is 0 to 1000000000 credits."),
        ([MESSAGES, replace(MESSAGES, product="")], ("rates", "1"), "A rate for a model names its product too."),
        (
            [MESSAGES, FAST, replace(FAST, effective_until=START)],
            ("multipliers", "1"),
            "`effectiveUntil` is after `effectiveFrom`, or missing.",
        ),
        ([replace(FAST, millionths=0)], ("multipliers", "0"), "A multiplier is 0.000001 to 1000."),
        ([replace(MESSAGES, model="a\x00")], ("rates", "0"), "`model` takes up to 100 printable characters."),
        (
            [MESSAGES, replace(MESSAGES, price=3)],
            ("rates", "1"),
            "Another one here is for the same, from the same time on.",
        ),
        ([FAST, FAST], ("multipliers", "1"), "Another one here is for the same, from the same time on."),
    ],
)
def test_one_line_that_no_card_can_hold_keeps_all_out(
    ledger: Ledger, lines: list[Any], path: tuple[str, ...], reason: str
) -> None:
    before = version(ledger)
    with pytest.raises(InvalidRateError) as refused:
        put(ledger, *lines)
    assert (refused.value.path, refused.value.message) == (path, reason)
    assert refused.value.code is ErrorCode.INVALID_INPUT
    assert (ledger.rows("rate"), ledger.rows("rate_multiplier"), ledger.rows("audit_entry")) == (0, 0, 0)
    assert version(ledger) == before


def test_a_card_takes_one_to_a_thousand_lines_at_once(ledger: Ledger) -> None:
    many: list[Any] = [replace(MESSAGES, model=f"m{number}") for number in range(1000)]
    for lines in ([], [*many, FAST]):
        with pytest.raises(BatchSizeError):
            put(ledger, *lines)
    assert ledger.rows("rate") == 0
    put(ledger, *many)
    put(ledger, *many[1:], FAST)
    assert (ledger.rows("rate"), ledger.rows("rate_multiplier"), ledger.rows("audit_entry")) == (1000, 1, 1001)


# Changes bite at once, and are not seen half


def test_a_change_of_the_card_waits_for_what_is_being_priced(desk: Desk, ledger: Ledger) -> None:
    put(ledger, MESSAGES)
    use = ledger.event(credits=None, tier="")

    async def changing() -> None:
        async with desk.database.transaction(ledger.scope) as conn:
            await put_rates(
                conn,
                workspace_id=ledger.workspace_id,
                actor=ACTOR,
                rates=[replace(MESSAGES, price=5)],
                multipliers=[],
                now=NOW,
            )

    async def race() -> None:
        async with desk.database.transaction(ledger.scope) as conn:
            await record_usage(conn, workspace_id=ledger.workspace_id, events=[use], now=NOW)
            second = asyncio.create_task(changing())
            while not second.done() and await asyncio.to_thread(desk.sql, WAITING) == [(0,)]:  # noqa: ASYNC110 - PostgreSQL's
                await asyncio.sleep(0.01)
            assert not second.done()
            await record_usage(conn, workspace_id=ledger.workspace_id, events=[replace(use, id="2")], now=NOW)
        await second

    desk.run(race())
    ledger.record(replace(use, id="3"))
    recorded = desk.sql(
        "SELECT external_id, credits FROM usage_event WHERE workspace_id = %s ORDER BY 1", ledger.workspace_id
    )
    assert recorded == [("1", 2 * MICRO), ("2", 2 * MICRO), ("3", 5)]
