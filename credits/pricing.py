"""What a use costs by the rate card: which rates and multiplier apply at the use's own time, and their exact sum.

The rates of the product and model decide; where none is in force, those of the product for any of its models; where
there are none either, the workspace's policy. One level decides for all meters: they are never mixed across levels.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeVar
from uuid import UUID

from creditdesk.credits.amounts import MICRO, format_credits
from creditdesk.credits.errors import ErrorCode, EventError, InvalidInputError
from creditdesk.credits.event_rules import MAX_CREDITS

MAX_MILLIONTHS = 1000 * MICRO
"""A tier multiplies by a thousand at most."""
_LONGEST_WORD = 100
_ONE = MICRO * MICRO
"""One micro-credit in the sum: quantities come in millionths, and so does the multiplier."""


class Meter(Enum):
    """What a rate counts."""

    MESSAGE = "Messages: the price is for each."
    TASK = "Tasks: the price is for each."
    MINUTE = "Minutes, to the millionth: the price is for a whole one."
    INPUT_TOKENS = "Input tokens that were not cached: the price is for a million."
    CACHED_INPUT_TOKENS = "Input tokens that were cached: the price is for a million."
    OUTPUT_TOKENS = "Output tokens: the price is for a million."


class UnknownModel(Enum):
    """What a workspace does about a use of a product or model that no rate in force names."""

    DENY = "Such a use is refused."
    DEFAULT_RATE = "Such a use is priced by the default rates, and refused where there are none."
    ALLOW_UNPRICED = "Such a use costs nothing, and is marked as unpriced."


@dataclass(frozen=True, slots=True)
class NewRate:
    """The price of one meter, in micro-credits a unit or a million tokens, from one instant until before another.

    Without a product it is a default rate; with a product and no model it is for any model of the product.
    One that ends is promotional; one that does not is standing, and holds until a later one starts.
    """

    product: str
    model: str
    meter: Meter
    price: int
    effective_from: datetime
    effective_until: datetime | None


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate on the card. Of two that start alike the one with the larger id applies: it was put there later."""

    id: UUID
    product: str
    model: str
    meter: Meter
    price: int
    effective_from: datetime
    effective_until: datetime | None


@dataclass(frozen=True, slots=True)
class NewMultiplier:
    """What a tier of a product, or of any product, multiplies prices by, in millionths; dated like a rate."""

    product: str
    tier: str
    millionths: int
    effective_from: datetime
    effective_until: datetime | None


@dataclass(frozen=True, slots=True)
class TierMultiplier:
    """A multiplier on the card."""

    id: UUID
    product: str
    tier: str
    millionths: int
    effective_from: datetime
    effective_until: datetime | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What was used, or is estimated to be; no tier is the standard one, which multiplies by 1."""

    messages: int = 1
    tasks: int = 0
    micro_minutes: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    tier: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-credits, and what they follow from: the rates that counted something, by meter, then the multiplier.

    Without any, the use is unpriced, which is not the same as a rate of 0.
    """

    credits: int
    rates: tuple[UUID, ...]


_Counted = Callable[[Measured], int]
_COUNTED: Mapping[Meter, _Counted] = {
    Meter.MESSAGE: lambda measured: measured.messages * MICRO,
    Meter.TASK: lambda measured: measured.tasks * MICRO,
    Meter.MINUTE: lambda measured: measured.micro_minutes,
    Meter.INPUT_TOKENS: lambda measured: measured.input_tokens,
    Meter.CACHED_INPUT_TOKENS: lambda measured: measured.cached_input_tokens,
    Meter.OUTPUT_TOKENS: lambda measured: measured.output_tokens,
}
"""How much of what a rate's price is for was used, in millionths of it."""

_Dated = TypeVar("_Dated", Rate, TierMultiplier)
_Level = tuple[tuple[_Counted, tuple[Rate, ...]], ...]
"""The rates of one product and model: for each meter that has any, how it counts, and its rates, best first."""


@dataclass(frozen=True, slots=True)
class RateCard:
    """A workspace's rates, multipliers and policy, indexed once: build one for many uses."""

    rates: tuple[Rate, ...]
    multipliers: tuple[TierMultiplier, ...]
    unknown_model: UnknownModel
    _levels: Mapping[tuple[str, str], _Level] = field(init=False, repr=False, compare=False)
    _tiers: Mapping[tuple[str, str], tuple[TierMultiplier, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        levels: defaultdict[tuple[str, str], defaultdict[Meter, list[Rate]]] = defaultdict(lambda: defaultdict(list))
        for rate in self.rates:
            levels[rate.product, rate.model][rate.meter].append(rate)
        tiers: defaultdict[tuple[str, str], list[TierMultiplier]] = defaultdict(list)
        for multiplier in self.multipliers:
            tiers[multiplier.product, multiplier.tier].append(multiplier)
        indexed = {
            key: tuple((_COUNTED[meter], _best_first(meters[meter])) for meter in Meter if meter in meters)
            for key, meters in levels.items()
        }
        # A frozen dataclass sets what it derives this way only.
        object.__setattr__(self, "_levels", indexed)
        object.__setattr__(self, "_tiers", {key: _best_first(multipliers) for key, multipliers in tiers.items()})

    def rates_in_force(self, product: str, model: str, at: datetime) -> list[tuple[_Counted, Rate]]:
        """Return the rate of each meter that a use at that time is priced with; none where no rate names its model."""
        # A use without a product must not find the default rates: whether those apply is for the policy to say.
        if not product:
            return []
        return self._level_in_force((product, model), at) or self._level_in_force((product, ""), at)

    def default_rates_in_force(self, at: datetime) -> list[tuple[_Counted, Rate]]:
        """Return the default rate of each meter that has one at that time."""
        return self._level_in_force(("", ""), at)

    def multiplier_in_force(self, product: str, tier: str, at: datetime) -> TierMultiplier | None:
        """Return the tier's multiplier for the product at that time, else that for any product, else None."""
        own = _in_force(self._tiers.get((product, tier), ()), at)
        return own or _in_force(self._tiers.get(("", tier), ()), at)

    def in_force(self, at: datetime) -> tuple[list[Rate], list[TierMultiplier]]:
        """Return the one rate of each product, model and meter at that time, and the one multiplier of each tier."""
        rates = [rate for key in self._levels for _, rate in self._level_in_force(key, at)]
        multipliers = (_in_force(of_tier, at) for of_tier in self._tiers.values())
        return rates, [one for one in multipliers if one is not None]

    def _level_in_force(self, key: tuple[str, str], at: datetime) -> list[tuple[_Counted, Rate]]:
        level = self._levels.get(key, ())
        return [(counted, rate) for counted, rates in level if (rate := _in_force(rates, at)) is not None]


def price(card: RateCard, *, product: str, model: str, at: datetime, measured: Measured) -> Price:
    """Return what a use at that time costs; raise EventError where the card or the policy does not let it be priced.

    The cost is the sum over meters of quantity times price, times the tier's multiplier: exact, then rounded half up
    to a whole micro-credit, once.
    """
    _check_measured(measured)
    rates = _rates_for(card, product, model, at)
    if not rates:
        return Price(0, ())
    total, used = 0, []
    for counted, rate in rates:
        if quantity := counted(measured):
            total += quantity * rate.price
            used.append(rate.id)
    if not used:
        message = "The use has nothing of what the rate counts, so it has no price. Report that, or the credits."
        raise EventError(ErrorCode.INVALID_AMOUNT, message)
    millionths = MICRO
    if measured.tier:
        multiplier = card.multiplier_in_force(product, measured.tier, at)
        if multiplier is None:
            raise EventError(ErrorCode.INVALID_EVENT, "The rate card has no multiplier for this tier and product.")
        millionths = multiplier.millionths
        used.append(multiplier.id)
    amount = (total * millionths + _ONE // 2) // _ONE
    if amount > MAX_CREDITS:
        raise EventError(ErrorCode.INVALID_AMOUNT, f"The price is above {format_credits(MAX_CREDITS)} credits.")
    return Price(amount, tuple(used))


def check_rate(rate: NewRate) -> None:
    """Raise InvalidInputError, with the reason, unless a rate card could hold the rate."""
    _check_word("product", rate.product)
    _check_word("model", rate.model)
    if rate.model and not rate.product:
        raise InvalidInputError("A rate for a model names its product too.")
    if not 0 <= rate.price <= MAX_CREDITS:
        raise InvalidInputError(f"A rate's price is 0 to {format_credits(MAX_CREDITS)} credits.")
    _check_dates(rate)


def check_multiplier(multiplier: NewMultiplier) -> None:
    """Raise InvalidInputError, with the reason, unless a rate card could hold the multiplier."""
    _check_word("product", multiplier.product)
    _check_word("tier", multiplier.tier)
    if not multiplier.tier:
        raise InvalidInputError("A multiplier names its tier: the standard one, which has no name, multiplies by 1.")
    if not 1 <= multiplier.millionths <= MAX_MILLIONTHS:
        raise InvalidInputError(f"A multiplier is 0.000001 to {MAX_MILLIONTHS // MICRO}.")
    _check_dates(multiplier)


def _rates_for(card: RateCard, product: str, model: str, at: datetime) -> list[tuple[_Counted, Rate]]:
    """Return the rates to price a use with, by the policy where none names its model; none: it may stay unpriced."""
    rates = card.rates_in_force(product, model, at)
    if rates:
        return rates
    if card.unknown_model is UnknownModel.DEFAULT_RATE:
        rates = card.default_rates_in_force(at)
    if not rates and card.unknown_model is not UnknownModel.ALLOW_UNPRICED:
        raise EventError(ErrorCode.UNPRICED)
    return rates


def _best_first(dated: Iterable[_Dated]) -> tuple[_Dated, ...]:
    """Sort by what wins where several are in force: promotional before standing, then the later, then the larger id."""
    return tuple(
        sorted(dated, key=lambda one: (one.effective_until is not None, one.effective_from, one.id), reverse=True)
    )


def _in_force(best_first: tuple[_Dated, ...], at: datetime) -> _Dated | None:
    """Return the first that is in force: its start is in its window, its end is not."""
    for one in best_first:
        if one.effective_from <= at and (one.effective_until is None or at < one.effective_until):
            return one
    return None


def _check_measured(measured: Measured) -> None:
    # Of a sum of quantities, a negative one could take away what the others cost.
    if (
        measured.messages < 0
        or measured.tasks < 0
        or measured.micro_minutes < 0
        or measured.input_tokens < 0
        or measured.cached_input_tokens < 0
        or measured.output_tokens < 0
    ):
        message = "What the rate card prices is never negative: a correction says its own credits."
        raise EventError(ErrorCode.INVALID_AMOUNT, message)


def _check_word(name: str, value: str) -> None:
    if len(value) > _LONGEST_WORD or not value.isprintable():
        raise InvalidInputError(f"`{name}` takes up to {_LONGEST_WORD} printable characters.")


def _check_dates(dated: NewRate | NewMultiplier) -> None:
    if dated.effective_until is not None and dated.effective_until <= dated.effective_from:
        raise InvalidInputError("`effectiveUntil` is after `effectiveFrom`, or missing.")
