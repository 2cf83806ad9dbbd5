from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from math import floor
from typing import TypeVar
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.errors import ErrorCode, EventError, InvalidInputError
from creditdesk.credits.event_rules import MAX_CREDITS
from creditdesk.credits.pricing import (
    MAX_MILLIONTHS,
    Measured,
    Meter,
    NewMultiplier,
    NewRate,
    Price,
    Rate,
    RateCard,
    TierMultiplier,
    UnknownModel,
    check_multiplier,
    check_rate,
    price,
)

NOTHING = Measured(messages=0)
INSTANT = timedelta(microseconds=1)
Line = TypeVar("Line", Rate, TierMultiplier)


def day(number: int) -> datetime:
    return datetime(2026, 6, number, tzinfo=UTC)


FIRST, MIDDLE = day(1), day(15)
ONE_MESSAGE = Measured()


def rate(
    number: int,
    meter: Meter,
    micro: int,
    *,
    product: str = "chat",
    model: str = "large",
    start: datetime = FIRST,
    end: datetime | None = None,
) -> Rate:
    return Rate(UUID(int=number), product, model, meter, micro, start, end)


def multiplier(
    number: int,
    tier: str,
    millionths: int,
    *,
    product: str = "",
    start: datetime = FIRST,
    end: datetime | None = None,
) -> TierMultiplier:
    return TierMultiplier(UUID(int=number), product, tier, millionths, start, end)


def card_of(*lines: Rate | TierMultiplier, unknown_model: UnknownModel = UnknownModel.DENY) -> RateCard:
    rates = tuple(line for line in lines if isinstance(line, Rate))
    return RateCard(rates, tuple(line for line in lines if isinstance(line, TierMultiplier)), unknown_model)


def priced(
    card: RateCard,
    measured: Measured = ONE_MESSAGE,
    *,
    product: str = "chat",
    model: str = "large",
    at: datetime = MIDDLE,
) -> tuple[int, list[int]]:
    """Return the micro-credits and the numbers of the rates they follow from."""
    found = price(card, product=product, model=model, at=at, measured=measured)
    return found.credits, [identity.int for identity in found.rates]


def refusal(
    card: RateCard,
    measured: Measured = ONE_MESSAGE,
    *,
    product: str = "chat",
    model: str = "large",
    at: datetime = MIDDLE,
) -> ErrorCode:
    with pytest.raises(EventError) as refused:
        price(card, product=product, model=model, at=at, measured=measured)
    return refused.value.code


EVERY_METER = card_of(
    rate(1, Meter.MESSAGE, 2 * MICRO),
    rate(2, Meter.TASK, 30 * MICRO),
    rate(3, Meter.MINUTE, 4 * MICRO),
    rate(4, Meter.INPUT_TOKENS, 5 * MICRO),
    rate(5, Meter.CACHED_INPUT_TOKENS, MICRO // 2),
    rate(6, Meter.OUTPUT_TOKENS, 15 * MICRO),
)


@pytest.mark.parametrize(
    ("measured", "micro", "rates"),
    [
        (Measured(), 2_000_000, [1]),
        (Measured(messages=3), 6_000_000, [1]),
        (Measured(messages=0, tasks=2), 60_000_000, [2]),
        (Measured(messages=0, micro_minutes=1_500_000), 6_000_000, [3]),
        (Measured(messages=0, micro_minutes=1), 4, [3]),
        (Measured(messages=0, input_tokens=1_000_000), 5_000_000, [4]),
        (Measured(messages=0, input_tokens=1), 5, [4]),
        (Measured(messages=0, cached_input_tokens=1_000_000), 500_000, [5]),
        (Measured(messages=0, input_tokens=200_000, cached_input_tokens=800_000), 1_400_000, [4, 5]),
        (Measured(messages=0, output_tokens=1234), 18_510, [6]),
        (Measured(1, 1, 500_000, 1000, 2000, 3000), 34_000_000 + 5_000 + 1_000 + 45_000, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_every_meter_is_counted_at_its_own_price(measured: Measured, micro: int, rates: list[int]) -> None:
    assert priced(EVERY_METER, measured) == (micro, rates)


def test_the_rates_of_a_price_are_in_the_order_of_the_meters_whatever_the_card_s_order() -> None:
    turned = RateCard(EVERY_METER.rates[::-1], (multiplier(7, "fast", MICRO),), UnknownModel.DENY)
    measured = Measured(1, 1, 500_000, 1000, 2000, 3000, tier="fast")
    assert priced(turned, measured) == (34_051_000, [1, 2, 3, 4, 5, 6, 7])


# Windows


def test_a_window_has_its_start_in_it_and_its_end_not() -> None:
    card = card_of(rate(1, Meter.MESSAGE, 7, start=day(10), end=day(20)))
    assert refusal(card, at=day(10) - INSTANT) is ErrorCode.UNPRICED
    assert priced(card, at=day(10)) == (7, [1])
    assert priced(card, at=day(20) - INSTANT) == (7, [1])
    assert refusal(card, at=day(20)) is ErrorCode.UNPRICED


def test_a_standing_rate_holds_until_a_later_one_starts() -> None:
    card = card_of(rate(1, Meter.MESSAGE, 7, start=day(5)), rate(2, Meter.MESSAGE, 3, start=day(10)))
    assert refusal(card, at=day(5) - INSTANT) is ErrorCode.UNPRICED
    assert priced(card, at=day(5)) == (7, [1])
    assert priced(card, at=day(10) - INSTANT) == (7, [1])
    assert priced(card, at=day(10)) == (3, [2])
    assert priced(card, at=datetime(2099, 1, 1, tzinfo=UTC)) == (3, [2])


def test_a_promotional_rate_beats_a_standing_one_while_it_lasts_also_when_it_is_dearer() -> None:
    card = card_of(rate(1, Meter.MESSAGE, 7), rate(2, Meter.MESSAGE, 9, start=day(10), end=day(20)))
    assert priced(card, at=day(10) - INSTANT) == (7, [1])
    assert priced(card, at=day(10)) == (9, [2])
    assert priced(card, at=day(20) - INSTANT) == (9, [2])
    assert priced(card, at=day(20)) == (7, [1])


def test_a_standing_rate_that_starts_within_a_promotion_applies_from_the_promotion_s_end() -> None:
    card = card_of(
        rate(1, Meter.MESSAGE, 7),
        rate(2, Meter.MESSAGE, 1, start=day(10), end=day(20)),
        rate(3, Meter.MESSAGE, 8, start=day(15)),
    )
    assert priced(card, at=day(15)) == (1, [2])
    assert priced(card, at=day(20)) == (8, [3])


def test_of_two_promotions_the_later_wins_and_gives_way_to_the_earlier_when_it_ends() -> None:
    card = card_of(
        rate(2, Meter.MESSAGE, 5, start=day(5), end=day(25)), rate(1, Meter.MESSAGE, 6, start=day(10), end=day(12))
    )
    assert [priced(card, at=day(number))[0] for number in (9, 10, 12)] == [5, 6, 5]


def test_of_rates_that_start_alike_the_larger_id_wins_in_any_order() -> None:
    one, two = rate(1, Meter.MESSAGE, 5), rate(2, Meter.MESSAGE, 4)
    assert priced(card_of(one, two)) == priced(card_of(two, one)) == (4, [2])


def test_each_meter_has_its_own_promotion() -> None:
    card = card_of(
        rate(1, Meter.INPUT_TOKENS, 5 * MICRO),
        rate(2, Meter.OUTPUT_TOKENS, 15 * MICRO),
        rate(3, Meter.OUTPUT_TOKENS, 0, start=day(10), end=day(20)),
    )
    measured = Measured(input_tokens=1000, output_tokens=1000)
    assert priced(card, measured, at=day(15)) == (5000, [1, 3])
    assert priced(card, measured, at=day(20)) == (20_000, [1, 2])


def test_a_use_is_priced_by_its_own_time_in_whatever_zone_it_is_said() -> None:
    card = card_of(rate(1, Meter.MESSAGE, 7), rate(2, Meter.MESSAGE, 9, start=day(10)))
    in_kiritimati = timezone(timedelta(hours=14))
    assert priced(card, at=datetime(2026, 6, 10, 13, 59, tzinfo=in_kiritimati)) == (7, [1])
    assert priced(card, at=datetime(2026, 6, 10, 14, 0, tzinfo=in_kiritimati)) == (9, [2])


def test_a_rate_of_years_ago_still_prices_the_uses_of_then() -> None:
    first = datetime(2001, 1, 1, tzinfo=UTC)
    card = card_of(rate(1, Meter.MESSAGE, 7, start=first), rate(2, Meter.MESSAGE, 9, start=datetime.now(UTC)))
    assert priced(card, at=first) == (7, [1])


# Levels


def test_a_model_without_rates_is_priced_by_its_product_s() -> None:
    card = card_of(rate(1, Meter.MESSAGE, 7), rate(2, Meter.MESSAGE, 3, model=""))
    assert priced(card) == (7, [1])
    assert priced(card, model="small") == (3, [2])
    assert refusal(card, product="code") is ErrorCode.UNPRICED


def test_levels_are_never_mixed_so_a_model_s_own_rate_for_one_meter_is_all_it_is_priced_by() -> None:
    card = card_of(rate(1, Meter.INPUT_TOKENS, MICRO), rate(2, Meter.OUTPUT_TOKENS, MICRO, model=""))
    measured = Measured(input_tokens=10, output_tokens=10)
    assert priced(card, measured) == (10, [1])
    assert priced(card, measured, model="small") == (10, [2])


def test_a_model_whose_rates_are_all_over_or_to_come_is_priced_by_its_product_s() -> None:
    card = card_of(
        rate(1, Meter.MESSAGE, 7, end=day(10)),
        rate(2, Meter.TASK, 8, start=day(20)),
        rate(3, Meter.MESSAGE, 3, model=""),
    )
    assert [priced(card, Measured(tasks=1), at=day(number)) for number in (9, 10, 19, 20)] == [
        (7, [1]),
        (3, [3]),
        (3, [3]),
        (8, [2]),
    ]


@pytest.mark.parametrize("policy", UnknownModel)
def test_a_product_with_rates_is_priced_by_them_under_every_policy(policy: UnknownModel) -> None:
    card = card_of(rate(1, Meter.MESSAGE, 7), rate(2, Meter.MESSAGE, 99, product="", model=""), unknown_model=policy)
    assert priced(card) == (7, [1])


@pytest.mark.parametrize("unknown", [("chat", "small"), ("code", "large"), ("", "large"), ("", "")])
def test_what_no_rate_names_is_up_to_the_policy(unknown: tuple[str, str]) -> None:
    product, model = unknown
    lines = (rate(1, Meter.MESSAGE, 7), rate(2, Meter.MESSAGE, 99, product="", model=""))
    denied = card_of(*lines, unknown_model=UnknownModel.DENY)
    assert refusal(denied, product=product, model=model) is ErrorCode.UNPRICED
    by_default = card_of(*lines, unknown_model=UnknownModel.DEFAULT_RATE)
    assert priced(by_default, product=product, model=model) == (99, [2])
    allowed = card_of(*lines, unknown_model=UnknownModel.ALLOW_UNPRICED)
    assert price(allowed, product=product, model=model, at=day(15), measured=Measured()) == Price(0, ())


def test_names_are_matched_to_the_letter() -> None:
    card = card_of(rate(1, Meter.MESSAGE, 7))
    assert refusal(card, product="Chat") is ErrorCode.UNPRICED
    assert refusal(card, model="large ") is ErrorCode.UNPRICED


def test_without_a_default_rate_in_force_the_default_policy_refuses() -> None:
    card = card_of(
        rate(1, Meter.MESSAGE, 9, product="", model="", start=day(10), end=day(20)),
        unknown_model=UnknownModel.DEFAULT_RATE,
    )
    assert priced(card, at=day(10)) == (9, [1])
    assert refusal(card, at=day(20)) is ErrorCode.UNPRICED
    assert refusal(card_of(unknown_model=UnknownModel.DEFAULT_RATE)) is ErrorCode.UNPRICED


def test_an_unknown_model_is_unpriced_whatever_was_measured_where_that_is_allowed() -> None:
    card = card_of(unknown_model=UnknownModel.ALLOW_UNPRICED)
    assert priced(card, NOTHING) == (0, [])
    assert priced(card, Measured(output_tokens=10**12, tier="fast")) == (0, [])


# Never silently free


@pytest.mark.parametrize("policy", UnknownModel)
def test_a_use_with_nothing_of_what_its_rates_count_is_refused_and_never_silently_free(policy: UnknownModel) -> None:
    by_tokens = card_of(rate(1, Meter.INPUT_TOKENS, MICRO), rate(2, Meter.OUTPUT_TOKENS, MICRO), unknown_model=policy)
    assert refusal(by_tokens, Measured(messages=5, tasks=5, cached_input_tokens=5)) is ErrorCode.INVALID_AMOUNT
    assert refusal(by_tokens, NOTHING) is ErrorCode.INVALID_AMOUNT
    assert priced(by_tokens, Measured(output_tokens=5)) == (5, [2])


def test_a_use_with_nothing_of_what_the_default_rates_count_is_refused() -> None:
    card = card_of(rate(1, Meter.TASK, 9, product="", model=""), unknown_model=UnknownModel.DEFAULT_RATE)
    assert refusal(card) is ErrorCode.INVALID_AMOUNT
    assert priced(card, Measured(tasks=1)) == (9, [1])


def test_a_rate_of_0_is_free_and_says_by_which_rate() -> None:
    card = card_of(rate(1, Meter.MESSAGE, 0), multiplier(2, "fast", 2 * MICRO))
    assert priced(card) == (0, [1])
    assert priced(card, Measured(tier="fast")) == (0, [1, 2])
    assert refusal(card, NOTHING) is ErrorCode.INVALID_AMOUNT


@pytest.mark.parametrize("policy", UnknownModel)
@pytest.mark.parametrize(
    "measured",
    [
        Measured(messages=-1),
        Measured(tasks=-1),
        Measured(micro_minutes=-1),
        Measured(input_tokens=-1),
        Measured(cached_input_tokens=-1),
        Measured(output_tokens=-1),
    ],
)
def test_a_negative_quantity_is_never_priced(measured: Measured, policy: UnknownModel) -> None:
    assert refusal(replace(EVERY_METER, unknown_model=policy), measured) is ErrorCode.INVALID_AMOUNT
    assert refusal(card_of(unknown_model=policy), measured) is ErrorCode.INVALID_AMOUNT


# Tiers


def test_a_tier_multiplies_the_whole_price_and_the_standard_one_does_not() -> None:
    card = card_of(
        rate(1, Meter.MESSAGE, 10),
        rate(2, Meter.TASK, 100),
        multiplier(3, "fast", 2_500_000),
        multiplier(4, "batch", MICRO // 2),
    )
    assert priced(card, Measured(tasks=1)) == (110, [1, 2])
    assert priced(card, Measured(tasks=1, tier="fast")) == (275, [1, 2, 3])
    assert priced(card, Measured(tasks=1, tier="batch")) == (55, [1, 2, 4])


def test_a_product_s_own_multiplier_beats_the_one_for_any_product_also_when_that_is_promotional() -> None:
    card = card_of(
        rate(1, Meter.MESSAGE, 10),
        rate(2, Meter.MESSAGE, 10, product="code", model=""),
        multiplier(3, "fast", 2 * MICRO, start=day(10), end=day(20)),
        multiplier(4, "fast", 3 * MICRO, product="chat"),
    )
    assert priced(card, Measured(tier="fast")) == (30, [1, 4])
    assert priced(card, Measured(tier="fast"), product="code") == (20, [2, 3])


def test_multipliers_are_dated_like_rates() -> None:
    card = card_of(
        rate(1, Meter.MESSAGE, 10),
        multiplier(2, "fast", 2 * MICRO, start=day(5)),
        multiplier(3, "fast", 3 * MICRO, product="chat", start=day(10), end=day(20)),
        multiplier(4, "fast", 4 * MICRO, product="chat", start=day(12), end=day(14)),
        multiplier(5, "fast", 5 * MICRO, start=day(22)),
        multiplier(6, "fast", 6 * MICRO, start=day(22)),
    )
    fast = Measured(tier="fast")
    assert refusal(card, fast, at=day(5) - INSTANT) is ErrorCode.INVALID_EVENT
    numbers = (5, 10, 12, 14, 19, 20, 22)
    assert [priced(card, fast, at=day(number))[0] for number in numbers] == [20, 30, 40, 30, 30, 20, 60]


def test_a_tier_that_the_card_does_not_know_for_the_product_is_refused() -> None:
    card = card_of(rate(1, Meter.MESSAGE, 10), multiplier(2, "fast", 2 * MICRO, product="code"))
    assert refusal(card, Measured(tier="fast")) is ErrorCode.INVALID_EVENT
    assert refusal(card, Measured(tier="slow")) is ErrorCode.INVALID_EVENT


def test_the_default_rates_are_multiplied_by_the_tier_of_the_use_s_own_product() -> None:
    card = card_of(
        rate(1, Meter.MESSAGE, 10, product="", model=""),
        multiplier(2, "fast", 2 * MICRO),
        multiplier(3, "fast", 3 * MICRO, product="chat"),
        unknown_model=UnknownModel.DEFAULT_RATE,
    )
    assert priced(card, Measured(tier="fast")) == (30, [1, 3])
    assert priced(card, Measured(tier="fast"), product="code") == (20, [1, 2])


# Rounding and size


@pytest.mark.parametrize(
    ("tokens", "micro"), [(499_999, 0), (500_000, 1), (1_499_999, 1), (1_500_000, 2), (2_500_000, 3)]
)
def test_half_a_micro_credit_is_rounded_up(tokens: int, micro: int) -> None:
    assert priced(card_of(rate(1, Meter.INPUT_TOKENS, 1)), Measured(input_tokens=tokens)) == (micro, [1])


def test_the_sum_is_rounded_and_not_its_parts() -> None:
    card = card_of(*(rate(meter, kind, 1) for meter, kind in enumerate(Meter, 1) if kind is not Meter.MESSAGE))
    # Four parts of 0.4 are 1.6: rounded by themselves they would be nothing.
    less = Measured(micro_minutes=400_000, input_tokens=400_000, cached_input_tokens=400_000, output_tokens=400_000)
    assert priced(card, less) == (2, [3, 4, 5, 6])
    # Three parts of 0.5 are 1.5: rounded by themselves they would be 3.
    more = Measured(input_tokens=500_000, cached_input_tokens=500_000, output_tokens=500_000)
    assert priced(card, more) == (2, [4, 5, 6])


def test_it_is_rounded_once_after_the_multiplier() -> None:
    card = card_of(
        rate(1, Meter.INPUT_TOKENS, 1),
        multiplier(2, "ten", 10 * MICRO),
        multiplier(3, "tenth", MICRO // 10),
        multiplier(4, "least", 1),
    )
    assert priced(card, Measured(input_tokens=440_000, tier="ten")) == (4, [1, 2])
    assert priced(card, Measured(input_tokens=450_000, tier="ten")) == (5, [1, 2])
    assert priced(card, Measured(input_tokens=4_999_999, tier="tenth")) == (0, [1, 3])
    assert priced(card, Measured(input_tokens=5_000_000, tier="tenth")) == (1, [1, 3])
    assert priced(card, Measured(input_tokens=10**12 // 2 - 1, tier="least")) == (0, [1, 4])
    assert priced(card, Measured(input_tokens=10**12 // 2, tier="least")) == (1, [1, 4])


def test_a_price_is_exact_past_what_a_float_holds() -> None:
    card = card_of(rate(1, Meter.MESSAGE, 900_000_000_000_001), rate(2, Meter.TASK, 1))
    assert priced(card, Measured(tasks=1)) == (900_000_000_000_002, [1, 2])


def test_a_price_is_a_billion_credits_at_most_after_rounding() -> None:
    card = card_of(
        rate(1, Meter.MESSAGE, MAX_CREDITS),
        rate(2, Meter.INPUT_TOKENS, 1),
        multiplier(3, "fast", MAX_MILLIONTHS),
        multiplier(4, "half", MICRO // 2),
    )
    assert priced(card) == (MAX_CREDITS, [1])
    assert priced(card, Measured(input_tokens=499_999)) == (MAX_CREDITS, [1, 2])
    assert refusal(card, Measured(input_tokens=500_000)) is ErrorCode.INVALID_AMOUNT
    assert refusal(card, Measured(messages=2)) is ErrorCode.INVALID_AMOUNT
    assert priced(card, Measured(messages=2, tier="half")) == (MAX_CREDITS, [1, 4])
    assert refusal(card, Measured(tier="fast")) is ErrorCode.INVALID_AMOUNT
    assert refusal(card, Measured(messages=10**30)) is ErrorCode.INVALID_AMOUNT


# Against an oracle that tries every line of the card and reckons in fractions

NEVER = datetime.max.replace(tzinfo=UTC)
PER = {
    Meter.MESSAGE: ("messages", 1),
    Meter.TASK: ("tasks", 1),
    Meter.MINUTE: ("micro_minutes", 10**6),
    Meter.INPUT_TOKENS: ("input_tokens", 10**6),
    Meter.CACHED_INPUT_TOKENS: ("cached_input_tokens", 10**6),
    Meter.OUTPUT_TOKENS: ("output_tokens", 10**6),
}


def beats(one: Rate | TierMultiplier, other: Rate | TierMultiplier) -> bool:
    if (one.effective_until is None) != (other.effective_until is None):
        return other.effective_until is None
    if one.effective_from != other.effective_from:
        return one.effective_from > other.effective_from
    return one.id.int > other.id.int


def winner(lines: Iterable[Line], at: datetime) -> Line | None:
    effective = [one for one in lines if one.effective_from <= at < (one.effective_until or NEVER)]
    return next((one for one in effective if all(one is other or beats(one, other) for other in effective)), None)


def deciding_rates(card: RateCard, product: str, model: str, at: datetime) -> dict[Meter, Rate]:
    levels = [(product, model), (product, "")] if product else []
    if card.unknown_model is UnknownModel.DEFAULT_RATE:
        levels.append(("", ""))
    for level in levels:
        of_level = [line for line in card.rates if (line.product, line.model) == level]
        found = {meter: winner((line for line in of_level if line.meter is meter), at) for meter in Meter}
        if any(found.values()):
            return {meter: line for meter, line in found.items() if line is not None}
    return {}


def expected(card: RateCard, product: str, model: str, at: datetime, measured: Measured) -> Price | ErrorCode:
    rates = deciding_rates(card, product, model, at)
    if not rates:
        return Price(0, ()) if card.unknown_model is UnknownModel.ALLOW_UNPRICED else ErrorCode.UNPRICED
    quantities = {meter: Fraction(getattr(measured, PER[meter][0]), PER[meter][1]) for meter in rates}
    if not any(quantities.values()):
        return ErrorCode.INVALID_AMOUNT
    exact = sum((quantities[meter] * line.price for meter, line in rates.items()), Fraction(0))
    used = [line.id for meter, line in rates.items() if quantities[meter]]
    if measured.tier:
        of_tier = [line for line in card.multipliers if line.tier == measured.tier]
        chosen = winner((line for line in of_tier if line.product == product), at)
        chosen = chosen or winner((line for line in of_tier if not line.product), at)
        if chosen is None:
            return ErrorCode.INVALID_EVENT
        exact *= Fraction(chosen.millionths, 10**6)
        used.append(chosen.id)
    rounded = floor(exact + Fraction(1, 2))
    return Price(rounded, tuple(used)) if rounded <= 10**15 else ErrorCode.INVALID_AMOUNT


# Few names and instants, so that lines compete; small figures, so that halves come up and not every price is too large.
IDS = st.integers(1, 999).map(lambda number: UUID(int=number))
PRODUCTS, MODELS = st.sampled_from(["chat", "chat", "code", ""]), st.sampled_from(["large", "large", "small", ""])
LEVELS = st.sampled_from([("chat", "large"), ("chat", "large"), ("chat", ""), ("", ""), ("code", "small")])
TIERS = st.sampled_from(["fast", "slow"])
STARTS, MOMENTS, ENDS = st.integers(1, 4).map(day), st.integers(1, 9).map(day), st.none() | st.integers(5, 8).map(day)
PRICES = st.sampled_from([0, 1, 1, 3, MICRO, MAX_CREDITS]) | st.integers(0, 10 * MICRO)
MILLIONTHS = st.sampled_from([1, MICRO // 2, 3 * MICRO, MAX_MILLIONTHS]) | st.integers(1, 10 * MICRO)
RATES = st.builds(
    lambda identity, level, *rest: Rate(identity, *level, *rest),
    *(IDS, LEVELS, st.sampled_from(Meter), PRICES, STARTS, ENDS),
)
MULTIPLIERS = st.builds(TierMultiplier, IDS, st.sampled_from(["", "chat"]), TIERS, MILLIONTHS, STARTS, ENDS)
CARDS = st.builds(
    RateCard,
    st.lists(RATES, min_size=8, max_size=24, unique_by=lambda line: line.id).map(tuple),
    st.lists(MULTIPLIERS, max_size=8, unique_by=lambda line: line.id).map(tuple),
    st.sampled_from(UnknownModel),
)
COUNTS = st.sampled_from([0, 0, 1, 500_000]) | st.integers(0, 2 * MICRO)
MEASURED = st.builds(Measured, *[COUNTS] * 6, st.just("") | TIERS)


@settings(max_examples=300)
@given(CARDS, PRODUCTS, MODELS, MOMENTS, MEASURED)
def test_any_use_is_priced_as_when_every_line_is_tried_and_reckoned_in_fractions(
    card: RateCard, product: str, model: str, at: datetime, measured: Measured
) -> None:
    oracle = expected(card, product, model, at, measured)
    if isinstance(oracle, ErrorCode):
        assert refusal(card, measured, product=product, model=model, at=at) is oracle
    else:
        assert price(card, product=product, model=model, at=at, measured=measured) == oracle


# What a card may hold

RATE = NewRate("chat", "large", Meter.MESSAGE, 5, FIRST, None)
MULTIPLIER = NewMultiplier("", "fast", 2 * MICRO, FIRST, None)


@pytest.mark.parametrize(
    "fitting",
    [
        RATE,
        replace(RATE, price=0),
        replace(RATE, price=MAX_CREDITS),
        replace(RATE, model=""),
        replace(RATE, product="", model=""),
        replace(RATE, product="p" * 100, model="\u00fc" * 100),
        replace(RATE, effective_until=FIRST + INSTANT),
    ],
)
def test_a_rate_that_a_card_can_hold_passes(fitting: NewRate) -> None:
    check_rate(fitting)


@pytest.mark.parametrize(
    ("unfit", "reason"),
    [
        (replace(RATE, price=-1), "A rate's price is 0 to 1000000000 credits."),
        (replace(RATE, price=MAX_CREDITS + 1), "A rate's price is 0 to 1000000000 credits."),
        (replace(RATE, product=""), "A rate for a model names its product too."),
        (replace(RATE, product="p" * 101), "`product` takes up to 100 printable characters."),
        (replace(RATE, model="m" * 101), "`model` takes up to 100 printable characters."),
        (replace(RATE, product="a\nb"), "`product` takes up to 100 printable characters."),
        (replace(RATE, model="a\x00"), "`model` takes up to 100 printable characters."),
        (replace(RATE, model="\ud800"), "`model` takes up to 100 printable characters."),
        (replace(RATE, effective_until=FIRST), "`effectiveUntil` is after `effectiveFrom`, or missing."),
        (replace(RATE, effective_until=FIRST - INSTANT), "`effectiveUntil` is after `effectiveFrom`, or missing."),
    ],
)
def test_a_rate_that_no_card_can_hold_is_refused_with_the_reason(unfit: NewRate, reason: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_rate(unfit)
    assert (refused.value.code, refused.value.message) == (ErrorCode.INVALID_INPUT, reason)


@pytest.mark.parametrize(
    "fitting",
    [
        MULTIPLIER,
        replace(MULTIPLIER, product="chat"),
        replace(MULTIPLIER, millionths=1),
        replace(MULTIPLIER, millionths=1_000_000_000),
        replace(MULTIPLIER, tier="t" * 100),
        replace(MULTIPLIER, effective_until=FIRST + INSTANT),
    ],
)
def test_a_multiplier_that_a_card_can_hold_passes(fitting: NewMultiplier) -> None:
    check_multiplier(fitting)


@pytest.mark.parametrize(
    ("unfit", "reason"),
    [
        (replace(MULTIPLIER, millionths=0), "A multiplier is 0.000001 to 1000."),
        (replace(MULTIPLIER, millionths=1_000_000_001), "A multiplier is 0.000001 to 1000."),
        (
            replace(MULTIPLIER, tier=""),
            "A multiplier names its tier: the standard one, which has no name, multiplies by 1.",
        ),
        (replace(MULTIPLIER, tier="t" * 101), "`tier` takes up to 100 printable characters."),
        (replace(MULTIPLIER, tier="\t"), "`tier` takes up to 100 printable characters."),
        (replace(MULTIPLIER, product="p" * 101), "`product` takes up to 100 printable characters."),
        (replace(MULTIPLIER, effective_until=FIRST), "`effectiveUntil` is after `effectiveFrom`, or missing."),
    ],
)
def test_a_multiplier_that_no_card_can_hold_is_refused_with_the_reason(unfit: NewMultiplier, reason: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_multiplier(unfit)
    assert (refused.value.code, refused.value.message) == (ErrorCode.INVALID_INPUT, reason)


def test_two_cards_of_the_same_lines_are_the_same() -> None:
    assert replace(EVERY_METER) == EVERY_METER
    assert hash(replace(EVERY_METER)) == hash(EVERY_METER)
    assert replace(EVERY_METER, unknown_model=UnknownModel.DEFAULT_RATE) != EVERY_METER
