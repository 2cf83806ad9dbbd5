"""Events without credits: priced by the rate card, at their own time, once."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.errors import ErrorCode
from creditdesk.credits.event_rules import MAX_CREDITS, MAX_TOKENS
from creditdesk.credits.permitted import Actor
from creditdesk.credits.pricing import Meter, NewMultiplier, NewRate, UnknownModel
from creditdesk.credits.rates import put_rates
from creditdesk.credits.usage_events import Recorded
from support.ledgers import NOW, Desk, Ledger, new_ledger

START = datetime(2026, 6, 1, tzinfo=UTC)
AT = datetime(2026, 6, 10, 12, tzinfo=UTC)
NOTHING: dict[str, Any] = {"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0, "credits": None, "at": AT}
"""A use of which nothing is said: that is one message."""


def rate(meter: Meter, micro: int, **changes: Any) -> NewRate:
    return replace(NewRate("chat", "large", meter, micro, START, None), **changes)


def put(ledger: Ledger, *lines: NewRate | NewMultiplier) -> list[UUID]:
    """Put lines on the card, and return their ids."""

    async def putting() -> list[UUID]:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            rates, multipliers = await put_rates(
                conn,
                workspace_id=ledger.workspace_id,
                actor=Actor("PERSON", "olga", None),
                rates=[line for line in lines if isinstance(line, NewRate)],
                multipliers=[line for line in lines if isinstance(line, NewMultiplier)],
                now=NOW,
            )
            return [*(one.id for one in rates), *(one.id for one in multipliers)]

    ids: list[UUID] = ledger.desk.run(putting())
    return ids


def choose(ledger: Ledger, policy: UnknownModel) -> None:
    ledger.desk.sql(
        "UPDATE workspace_settings SET unknown_model = %s WHERE workspace_id = %s", policy.name, ledger.workspace_id
    )


def recorded(ledger: Ledger) -> dict[str, tuple[int, list[UUID] | None]]:
    """Return what every recorded event cost, and what it was priced with."""
    rows = ledger.desk.sql(
        "SELECT external_id, credits, rate_ids FROM usage_event WHERE workspace_id = %s", ledger.workspace_id
    )
    return {external_id: (micro, rates) for external_id, micro, rates in rows}


def codes(answer: Recorded) -> dict[int, ErrorCode]:
    return {rejection.index: rejection.code for rejection in answer.rejected}


@contextmanager
def statements(desk: Desk) -> Iterator[list[str]]:
    """Collect the names of the statements that run."""
    ran: list[str] = []
    desk.database.observers.append(ran.append)
    try:
        yield ran
    finally:
        desk.database.observers.remove(ran.append)


# What it costs


def test_every_meter_prices_an_event_and_the_event_says_by_which_rates(ledger: Ledger) -> None:
    ids = put(
        ledger,
        rate(Meter.MESSAGE, 2 * MICRO),
        rate(Meter.TASK, 30 * MICRO),
        rate(Meter.MINUTE, 4 * MICRO),
        rate(Meter.INPUT_TOKENS, 5 * MICRO),
        rate(Meter.CACHED_INPUT_TOKENS, MICRO // 2),
        rate(Meter.OUTPUT_TOKENS, 15 * MICRO),
        NewMultiplier("", "fast", 2_500_000, START, None),
    )
    message, task, minute, fresh, cached, output, fast = ids
    uses: dict[str, tuple[dict[str, Any], int, list[UUID]]] = {
        "one message": ({}, 2_000_000, [message]),
        "messages": ({"messages": 3}, 6_000_000, [message]),
        "tasks": ({"messages": 0, "tasks": 2}, 60_000_000, [task]),
        "minutes": ({"messages": 0, "minutes": 1_500_001}, 6_000_004, [minute]),
        "input": ({"messages": 0, "input_tokens": 1_000_001}, 5_000_005, [fresh]),
        "cached": ({"messages": 0, "cached_input_tokens": 3}, 2, [cached]),
        "output": ({"messages": 0, "output_tokens": 1234}, 18_510, [output]),
        "all": (
            {"tasks": 1, "minutes": 500_000, "input_tokens": 1000, "cached_input_tokens": 2000, "output_tokens": 3000},
            34_051_000,
            [message, task, minute, fresh, cached, output],
        ),
        "tier": ({"tier": "fast"}, 5_000_000, [message, fast]),
    }
    events = [ledger.event(name, **NOTHING | measured) for name, (measured, _, _) in uses.items()]
    assert ledger.record(*events) == Recorded(len(uses), 0, (), 0)
    assert recorded(ledger) == {name: (micro, rates) for name, (_, micro, rates) in uses.items()}
    total = sum(micro for _, micro, _ in uses.values())
    assert ledger.charged() == {"red": (total, len(uses))}
    assert ledger.reconciled().differences == ()
    assert ledger.desk.sql("SELECT used FROM balance WHERE workspace_id = %s", ledger.workspace_id) == [(total,)]


def test_what_the_source_named_is_kept_and_nothing_else(ledger: Ledger) -> None:
    put(ledger, rate(Meter.MESSAGE, 1), NewMultiplier("", "fast", MICRO, START, None))
    named = {"messages": 2, "tasks": 0, "minutes": 1_500_000, "tier": "fast"}
    ledger.record(
        ledger.event("named", **NOTHING | named),
        ledger.event("given", **NOTHING | named | {"credits": 7}),
        ledger.event("plain", **NOTHING),
    )
    rows = ledger.desk.sql(
        "SELECT external_id, measured, rate_ids IS NULL FROM usage_event WHERE workspace_id = %s ORDER BY 1",
        ledger.workspace_id,
    )
    kept = {"messages": "2", "tasks": "0", "minutes": "1.5", "tier": "fast"}
    assert rows == [("given", kept, True), ("named", kept, False), ("plain", None, False)]


def test_credits_that_the_source_gives_are_taken_whatever_the_card_says(ledger: Ledger) -> None:
    put(ledger, rate(Meter.MESSAGE, 9))
    given = ledger.event(credits=0, messages=5, tier="no such tier")
    assert ledger.record(given, ledger.event("2", product="unknown")) == Recorded(2, 0, ())
    assert recorded(ledger) == {"1": (0, None), "2": (2_500_000, None)}


def test_an_event_is_priced_by_its_own_time_also_when_it_comes_late_or_the_rate_does(ledger: Ledger) -> None:
    [old] = put(ledger, rate(Meter.MESSAGE, 7))
    [promotion] = put(ledger, rate(Meter.MESSAGE, 1, effective_from=AT, effective_until=AT + timedelta(hours=1)))
    [new] = put(ledger, rate(Meter.MESSAGE, 9, effective_from=AT + timedelta(minutes=30)))
    instant = timedelta(microseconds=1)
    moments = [START, AT - instant, AT, AT + timedelta(hours=1) - instant, AT + timedelta(hours=1), NOW]
    ledger.record(*(ledger.event(str(number), **NOTHING | {"at": at}) for number, at in enumerate(moments)))
    ended = {"4": (9, [new]), "5": (9, [new])}
    expected = {"0": (7, [old]), "1": (7, [old]), "2": (1, [promotion]), "3": (1, [promotion])} | ended
    assert recorded(ledger) == expected
    early = ledger.event("early", **NOTHING | {"at": START - instant})
    assert codes(ledger.record(early)) == {0: ErrorCode.UNPRICED}
    # A rate may be put for a time that is over: what comes after it is priced with it.
    [former] = put(ledger, rate(Meter.MESSAGE, 5, effective_from=START - timedelta(days=30)))
    assert ledger.record(early).accepted == 1
    assert recorded(ledger) == expected | {"early": (5, [former])}


def test_an_event_keeps_the_rates_it_was_priced_with_when_the_card_changes(ledger: Ledger) -> None:
    [first] = put(ledger, rate(Meter.MESSAGE, 7))
    ledger.record(ledger.event("1", **NOTHING))
    [second] = put(ledger, rate(Meter.MESSAGE, 9))
    ledger.record(ledger.event("2", **NOTHING))
    assert recorded(ledger) == {"1": (7, [first]), "2": (9, [second])}
    assert ledger.charged() == {"red": (16, 2)}


# A card without the model


def test_an_unknown_model_is_denied_and_keeps_the_others_out_of_nothing(ledger: Ledger) -> None:
    put(ledger, rate(Meter.MESSAGE, 7), rate(Meter.MESSAGE, 3, product="", model=""))
    batch = [ledger.event("1", **NOTHING), ledger.event("2", **NOTHING | {"model": "small"}), ledger.event("3")]
    answer = ledger.record(*batch)
    assert (answer.accepted, answer.duplicates, answer.unpriced) == (2, 0, 0)
    assert codes(answer) == {1: ErrorCode.UNPRICED}
    assert set(recorded(ledger)) == {"1", "3"}


def test_an_unknown_model_is_priced_by_the_default_rates_where_the_workspace_says_so(ledger: Ledger) -> None:
    own, default = put(ledger, rate(Meter.MESSAGE, 7), rate(Meter.MESSAGE, 3, product="", model=""))
    choose(ledger, UnknownModel.DEFAULT_RATE)
    answer = ledger.record(ledger.event("1", **NOTHING), ledger.event("2", **NOTHING | {"product": "new"}))
    assert answer == Recorded(2, 0, (), 0)
    assert recorded(ledger) == {"1": (7, [own]), "2": (3, [default])}
    before = ledger.event("3", **NOTHING | {"product": "new", "at": START - timedelta(days=1)})
    assert codes(ledger.record(before)) == {0: ErrorCode.UNPRICED}


def test_what_is_allowed_without_a_price_costs_nothing_and_is_counted(ledger: Ledger) -> None:
    [own] = put(ledger, rate(Meter.MESSAGE, 7))
    choose(ledger, UnknownModel.ALLOW_UNPRICED)
    new = [ledger.event(str(number), **NOTHING | {"product": "new", "tier": "x"}) for number in range(3)]
    answer = ledger.record(*new, ledger.event("known", **NOTHING), ledger.event("given", credits=0))
    assert answer == Recorded(5, 0, (), 3)
    assert recorded(ledger) == {
        "0": (0, []), "1": (0, []), "2": (0, []), "known": (7, [own]), "given": (0, None),
    }  # fmt: skip
    assert ledger.record(*new) == Recorded(0, 3, (), 0)


def test_what_has_no_price_is_named_with_its_reason_and_keeps_nothing_else_out(ledger: Ledger) -> None:
    put(
        ledger,
        rate(Meter.TASK, 7),
        rate(Meter.MESSAGE, MAX_CREDITS, model="dear"),
        NewMultiplier("other", "fast", MICRO, START, None),
    )
    rejected: list[tuple[ErrorCode, dict[str, Any]]] = [
        (ErrorCode.UNPRICED, {"product": "unknown"}),
        (ErrorCode.UNPRICED, {"product": "unknown", "tier": "fast"}),
        (ErrorCode.INVALID_AMOUNT, {}),
        (ErrorCode.INVALID_AMOUNT, {"tasks": 0, "messages": 5}),
        (ErrorCode.INVALID_AMOUNT, {"tasks": MAX_TOKENS, "messages": MAX_TOKENS, "model": "dear"}),
        (ErrorCode.INVALID_EVENT, {"tasks": 1, "tier": "fast"}),
    ]
    events = [ledger.event(f"bad-{number}", **NOTHING | change) for number, (_, change) in enumerate(rejected)]
    good = [ledger.event(f"good-{number}", **NOTHING | {"tasks": 1}) for number in range(len(events))]
    answer = ledger.record(*(event for pair in zip(events, good, strict=True) for event in pair))
    assert (answer.accepted, answer.duplicates, answer.unpriced) == (len(good), 0, 0)
    assert codes(answer) == {2 * number: code for number, (code, _) in enumerate(rejected)}
    assert ledger.charged() == {"red": (7 * len(good), len(good))}
    assert ledger.reconciled().differences == ()


# Exactly once, whatever it costs by now


def test_an_event_sent_again_after_a_change_of_price_is_a_duplicate(ledger: Ledger) -> None:
    [first] = put(ledger, rate(Meter.MESSAGE, 7))
    event = ledger.event(**NOTHING)
    assert ledger.record(event) == Recorded(1, 0, ())
    put(ledger, rate(Meter.MESSAGE, 9))
    assert ledger.record(event, event) == Recorded(0, 2, ())
    assert recorded(ledger) == {"1": (7, [first])}
    assert ledger.charged() == {"red": (7, 1)}


def test_an_event_sent_again_is_a_duplicate_also_where_it_would_not_be_priced_any_more(ledger: Ledger) -> None:
    choose(ledger, UnknownModel.ALLOW_UNPRICED)
    event, other = ledger.event(**NOTHING), ledger.event("2", **NOTHING)
    assert ledger.record(event) == Recorded(1, 0, (), 1)
    choose(ledger, UnknownModel.DENY)
    answer = ledger.record(other, event, replace(event, messages=2), event)
    assert (answer.accepted, answer.duplicates) == (0, 2)
    assert codes(answer) == {0: ErrorCode.UNPRICED, 2: ErrorCode.UNPRICED}
    # A correction still finds it.
    fix = replace(event, id="fix", corrects=event.id, credits=5)
    assert ledger.record(event, fix) == Recorded(1, 1, ())
    assert recorded(ledger) == {"1": (0, []), "fix": (5, None)}
    put(ledger, rate(Meter.MESSAGE, 9))
    assert ledger.record(event) == Recorded(0, 1, ())
    assert recorded(ledger)["1"] == (0, [])


@pytest.mark.parametrize(
    "change",
    [
        {"messages": 1},
        {"tasks": 1},
        {"minutes": 1},
        {"tier": "fast"},
        {"output_tokens": 1},
        {"credits": 7},
        {"credits": 0},
        {"model": "other"},
    ],
)
def test_another_use_under_the_same_id_is_a_conflict_whatever_it_costs(ledger: Ledger, change: dict[str, Any]) -> None:
    put(ledger, rate(Meter.MESSAGE, 7, model=""), NewMultiplier("", "fast", MICRO, START, None))
    event = ledger.event(**NOTHING)
    ledger.record(event)
    assert codes(ledger.record(replace(event, **change))) == {0: ErrorCode.IDEMPOTENCY_CONFLICT}
    assert codes(ledger.record(event, replace(event, **change))) == {1: ErrorCode.IDEMPOTENCY_CONFLICT}
    assert (ledger.rows(), ledger.charged()) == (1, {"red": (7, 1)})


def test_an_event_whose_source_gave_the_credits_is_another_than_one_that_is_priced(ledger: Ledger) -> None:
    put(ledger, rate(Meter.MESSAGE, 7))
    event = ledger.event(**NOTHING | {"credits": 7})
    ledger.record(event)
    assert codes(ledger.record(replace(event, credits=None))) == {0: ErrorCode.IDEMPOTENCY_CONFLICT}
    assert ledger.record(event) == Recorded(0, 1, ())


@pytest.mark.parametrize(
    ("one", "other"), [({"messages": 2}, {"messages": 3}), ({"tier": "fast"}, {"tier": "slow"}), ({"minutes": 5}, {})]
)
def test_what_was_measured_tells_events_apart_also_where_the_source_gave_the_credits(
    ledger: Ledger, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert ledger.record(ledger.event(**one)) == Recorded(1, 0, ())
    assert ledger.record(ledger.event(**one)) == Recorded(0, 1, ())
    assert codes(ledger.record(ledger.event(**other))) == {0: ErrorCode.IDEMPOTENCY_CONFLICT}


def test_writers_of_the_same_events_at_the_same_time_price_each_once(ledger: Ledger) -> None:
    put(ledger, rate(Meter.MESSAGE, 7))
    events = [ledger.event(str(number), **NOTHING) for number in range(50)]

    async def together() -> list[Recorded]:
        return list(await asyncio.gather(*(ledger.recording(events) for _ in range(8))))

    answers: list[Recorded] = ledger.desk.run(together())
    assert (sum(one.accepted for one in answers), sum(one.duplicates for one in answers)) == (50, 350)
    assert ledger.charged() == {"red": (350, 50)}
    assert ledger.reconciled().differences == ()


# Corrections


def test_a_correction_says_its_credits(ledger: Ledger) -> None:
    [own] = put(ledger, rate(Meter.MESSAGE, 7))
    use = ledger.event("use", **NOTHING)
    fix = replace(use, id="fix", corrects="use", messages=-1, minutes=-1, tasks=-1)
    assert codes(ledger.record(use, fix)) == {1: ErrorCode.INVALID_AMOUNT}
    assert ledger.record(replace(fix, credits=-7)) == Recorded(1, 0, ())
    assert recorded(ledger) == {"use": (7, [own]), "fix": (-7, None)}
    assert ledger.charged() == {"red": (0, 1)}


def test_a_correction_of_a_use_that_its_batch_cannot_price_finds_nothing_to_correct(ledger: Ledger) -> None:
    use = ledger.event("use", **NOTHING)
    fix = replace(use, id="fix", corrects="use", credits=-7)
    assert codes(ledger.record(use, fix)) == {0: ErrorCode.UNPRICED, 1: ErrorCode.UNKNOWN_EVENT}
    assert ledger.rows() == 0


# What it takes


def test_a_batch_whose_events_all_have_credits_reads_no_rate_card(ledger: Ledger) -> None:
    put(ledger, rate(Meter.MESSAGE, 7))
    with statements(ledger.desk) as ran:
        ledger.record(*(ledger.event(str(number)) for number in range(100)))
    assert ran == ["share_controls", "users_charged", "record_usage_events"]


def test_a_batch_reads_the_rate_card_once_and_under_the_lock(ledger: Ledger) -> None:
    put(ledger, rate(Meter.MESSAGE, 7))
    with statements(ledger.desk) as ran:
        ledger.record(*(ledger.event(str(number), **NOTHING) for number in range(100)))
    assert ran == [
        "share_controls", "users_charged", "controls_settings", "rate_card_rates", "rate_card_multipliers",
        "record_usage_events",
    ]  # fmt: skip


def test_each_workspace_prices_by_a_card_of_its_own(desk: Desk, ledger: Ledger) -> None:
    other = new_ledger(desk)
    put(ledger, rate(Meter.MESSAGE, 7))
    put(other, rate(Meter.MESSAGE, 9))
    for one, micro in ((ledger, 7), (other, 9)):
        assert one.record(one.event(**NOTHING)).accepted == 1
        assert one.charged() == {"red": (micro, 1)}
