"""The rate card: what usage costs, for those who set it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from creditdesk.auth.policy import allows, authority
from creditdesk.credits import pricing, rates
from creditdesk.credits.amounts import Credits
from creditdesk.credits.errors import BatchSizeError, InvalidIdError
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Meter, Permission
from creditdesk.graphql.errors import InvalidInput, UserError
from creditdesk.graphql.ids import decode_id, encode_id
from creditdesk.graphql.scalars import Millionths

_PRODUCT = "The product, up to 100 characters; "
_MODEL = "The model, up to 100 characters; "
_PRICE = "The price of one, or of a million tokens: 0 to 1000000000."
_FROM = "From when on it is in effect, by the time of the use."
_UNTIL = (
    "From when on it is in effect no more. One that ends is promotional, and applies before those that do not; one"
    " that does not end applies until a later one starts. Of two that start alike, the one that was set later applies."
)


@strawberry.type(
    description="What one meter of a product and model costs. A use is priced by the rates of its model; if none of"
    " them is in effect, by those of the product without a model. The two are never mixed: what is used beside what"
    " those that apply count costs nothing."
)
class Rate:
    """A line of the rate card."""

    id: strawberry.ID = strawberry.field(description="The rate's id.")
    product: str | None = strawberry.field(description=f"{_PRODUCT}null for a default rate of unknown models.")
    model: str | None = strawberry.field(description=f"{_MODEL}null for any model of the product.")
    meter: Meter = strawberry.field(description="What it counts.")
    price: Credits = strawberry.field(description=_PRICE)
    effective_from: datetime = strawberry.field(description=_FROM)
    effective_until: datetime | None = strawberry.field(description=f"{_UNTIL} Null if it does not end.")

    @classmethod
    def of(cls, rate: pricing.Rate) -> "Rate":
        """Show a rate."""
        return cls(
            id=encode_id("Rate", rate.id),
            product=rate.product or None,
            model=rate.model or None,
            meter=rate.meter,
            price=Credits(rate.price),
            effective_from=rate.effective_from,
            effective_until=rate.effective_until,
        )


@strawberry.type(
    description="What a service tier multiplies the price of a use by. A product's own applies before that of any"
    " product. The standard tier has no name, and multiplies by 1."
)
class TierMultiplier:
    """A line of the rate card."""

    id: strawberry.ID = strawberry.field(description="The multiplier's id.")
    product: str | None = strawberry.field(description=f"{_PRODUCT}null for any product.")
    tier: str = strawberry.field(description="The service tier, as events name it.")
    factor: Millionths = strawberry.field(description="What the price is multiplied by.")
    effective_from: datetime = strawberry.field(description=_FROM)
    effective_until: datetime | None = strawberry.field(description=f"{_UNTIL} Null if it does not end.")

    @classmethod
    def of(cls, multiplier: pricing.TierMultiplier) -> "TierMultiplier":
        """Show a multiplier."""
        return cls(
            id=encode_id("TierMultiplier", multiplier.id),
            product=multiplier.product or None,
            tier=multiplier.tier,
            factor=Millionths(multiplier.millionths),
            effective_from=multiplier.effective_from,
            effective_until=multiplier.effective_until,
        )


At = Annotated[
    datetime | None,
    strawberry.argument(
        description="Narrows the list to what is in effect then; not given, it has those of all times."
    ),
]


@strawberry.type(description="The rate card of a workspace.")
class WorkspaceRates:
    """A part of Workspace."""

    @strawberry.field(
        description="What usage costs, by product, model and meter; null if the caller may not see the rate card."
    )
    async def rates(
        self,
        info: Info,
        at: At = None,
        product: Annotated[
            str | None,
            strawberry.argument(description="The product to narrow the list to; an empty text: default rates."),
        ] = None,
        model: Annotated[
            str | None, strawberry.argument(description="The model to narrow the list to; an empty text: any model's.")
        ] = None,
    ) -> list[Rate] | None:
        """Load the rates."""
        card = await _card(info)
        return [Rate.of(one) for one in rates.listed_rates(card, at=at, product=product, model=model)] if card else None

    @strawberry.field(
        description="What service tiers multiply prices by, by product and tier; null if the caller may not see the"
        " rate card."
    )
    async def tier_multipliers(self, info: Info, at: At = None) -> list[TierMultiplier] | None:
        """Load the multipliers."""
        card = await _card(info)
        return [TierMultiplier.of(one) for one in rates.listed_multipliers(card, at=at)] if card else None


async def _card(info: Info) -> pricing.RateCard | None:
    principal = info.context.principal
    if not allows(principal, Permission.RATES_WRITE):
        return None
    return await info.context.loaders.rate_cards.load(principal.workspace.id)


@strawberry.input(description="What one meter of a product and model costs from some time on.")
class RateInput:
    """A rate to put on the card."""

    product: str | None = strawberry.field(
        default=None, description=f"{_PRODUCT}not given for a default rate of unknown models."
    )
    model: str | None = strawberry.field(default=None, description=f"{_MODEL}not given for any model of the product.")
    meter: Meter = strawberry.field(description="What it counts.")
    price: Credits = strawberry.field(description=_PRICE)
    effective_from: datetime = strawberry.field(
        description=f"{_FROM} It may be in the past, for events that come late."
    )
    effective_until: datetime | None = strawberry.field(
        default=None, description=f"{_UNTIL} Not given if it does not end."
    )

    def new(self) -> pricing.NewRate:
        """Return the rate."""
        named = (self.product or "", self.model or "", self.meter)
        return pricing.NewRate(*named, self.price, self.effective_from, self.effective_until)


@strawberry.input(description="What a service tier multiplies prices by from some time on.")
class TierMultiplierInput:
    """A multiplier to put on the card."""

    product: str | None = strawberry.field(default=None, description=f"{_PRODUCT}not given for any product.")
    tier: str = strawberry.field(description="The service tier, as events name it, 1 to 100 characters.")
    factor: Millionths = strawberry.field(description="What the price is multiplied by: 0.000001 to 1000.")
    effective_from: datetime = strawberry.field(
        description=f"{_FROM} It may be in the past, for events that come late."
    )
    effective_until: datetime | None = strawberry.field(
        default=None, description=f"{_UNTIL} Not given if it does not end."
    )

    def new(self) -> pricing.NewMultiplier:
        """Return the multiplier."""
        named = (self.product or "", self.tier)
        return pricing.NewMultiplier(*named, self.factor, self.effective_from, self.effective_until)


@strawberry.input(description="Rates and multipliers, 1 to 1000 together.")
class SetRatesInput:
    """What setRates takes."""

    rates: list[RateInput] = strawberry.field(default_factory=list, description="What meters cost.")
    multipliers: list[TierMultiplierInput] = strawberry.field(
        default_factory=list, description="What service tiers multiply that by."
    )


@strawberry.type(description="All of it is on the rate card.")
class SetRatesSuccess:
    """What was put on the card."""

    rates: list[Rate] = strawberry.field(description="The rates, in the order of the input.")
    multipliers: list[TierMultiplier] = strawberry.field(description="The multipliers, in the order of the input.")


SetRatesResult = Annotated[
    SetRatesSuccess | InvalidInput, strawberry.union("SetRatesResult", description="The outcome of setRates.")
]


async def set_rates(info: Info, wanted: SetRatesInput) -> SetRatesSuccess | InvalidInput:
    """Put rates and multipliers on the card in one transaction."""
    actor = authority(info.context.principal, Permission.RATES_WRITE)
    try:
        async with info.context.database.transaction(actor.row_scope) as conn:
            put, multiplied = await rates.put_rates(
                conn,
                workspace_id=actor.workspace_id,
                actor=actor.actor,
                rates=[one.new() for one in wanted.rates],
                multipliers=[one.new() for one in wanted.multipliers],
                now=info.context.now,
            )
    except BatchSizeError as error:
        return InvalidInput.of(error, "input")
    except rates.InvalidRateError as error:
        return InvalidInput.of(error, "input", *error.path)
    return SetRatesSuccess(
        rates=[Rate.of(one) for one in put], multipliers=[TierMultiplier.of(one) for one in multiplied]
    )


@strawberry.input(description="A rate, or a multiplier, to take off the rate card.")
class RemoveRateInput:
    """What removeRate takes."""

    id: strawberry.ID = strawberry.field(description="The id of a rate or of a multiplier.")


@strawberry.type(description="It is on the rate card no more.")
class RemoveRateSuccess:
    """What was taken off the card."""

    removed_id: strawberry.ID = strawberry.field(description="The id that it had.")


@strawberry.type(description="There is no such rate or multiplier on the rate card.")
class UnknownRate(UserError):  # noqa: N818 - a type of the schema, not an exception
    """An id that the card does not have."""


@strawberry.type(
    description="It has come into effect, or an event that is dated ahead was priced with it, so it stays."
)
class RateInUse(UserError):  # noqa: N818 - a type of the schema, not an exception
    """A rate that a later one may only take the place of."""


RemoveRateResult = Annotated[
    RemoveRateSuccess | UnknownRate | RateInUse | InvalidInput,
    strawberry.union("RemoveRateResult", description="The outcome of removeRate."),
]

_REMOVALS: Mapping[str, Callable[..., Awaitable[object]]] = {
    "Rate": rates.remove_rate,
    "TierMultiplier": rates.remove_multiplier,
}


def _removal_of(text: str) -> tuple[Callable[..., Awaitable[object]], UUID]:
    """Return how what has this id is taken off, and its id; raise InvalidIdError."""
    type_name, id_ = decode_id(text)
    if type_name not in _REMOVALS:
        raise InvalidIdError
    return _REMOVALS[type_name], id_


async def remove_rate(
    info: Info, wanted: RemoveRateInput
) -> RemoveRateSuccess | UnknownRate | RateInUse | InvalidInput:
    """Take a rate or a multiplier off the card in one transaction."""
    actor, path, now = authority(info.context.principal, Permission.RATES_WRITE), ["input", "id"], info.context.now
    try:
        remove, id_ = _removal_of(wanted.id)
        async with info.context.database.transaction(actor.row_scope) as conn:
            await remove(conn, workspace_id=actor.workspace_id, actor=actor.actor, id_=id_, now=now)
    except InvalidIdError as error:
        return InvalidInput.of(error, *path)
    except rates.UnknownRateError as error:
        return UnknownRate(message=error.message, code=error.code, path=path)
    except rates.RateInUseError as error:
        return RateInUse(message=error.message, code=error.code, path=path)
    return RemoveRateSuccess(removed_id=wanted.id)
