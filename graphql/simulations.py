"""A dry run of limits over the API."""

from datetime import datetime
from typing import Annotated

import strawberry

from creditdesk.auth.policy import authority
from creditdesk.credits import limit_targets, simulations
from creditdesk.credits.amounts import Credits
from creditdesk.credits.errors import ForbiddenError, InvalidInputError, InvalidPageError
from creditdesk.credits.limit_rules import NewLimit
from creditdesk.credits.permitted import Authority
from creditdesk.credits.ranges import range_of_days
from creditdesk.db.connections import Connection
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Cadence, LimitKind, LimitScope, Permission
from creditdesk.graphql.guards import requires
from creditdesk.graphql.limit_inputs import LimitTargetInput, LimitTermsInput
from creditdesk.graphql.limits import TARGETS
from creditdesk.graphql.nodes import Node, node_of
from creditdesk.graphql.ranges import DayRange, Range
from creditdesk.graphql.scalars import BigInt

_MAX_LIMITS = 100


@strawberry.input(description="A limit to try out. What it would expire at, and why, does not matter.")
class SimulatedLimitInput(LimitTermsInput):
    """A limit as setLimit takes it."""

    target: LimitTargetInput = strawberry.field(description="Whom it is for.")
    kind: LimitKind = strawberry.field(
        default=LimitKind.EACH_USER, description="Whether each user has this much, or all share it."
    )

    async def rule(self, conn: Connection, allowed: Authority) -> NewLimit:
        """Return the rule; raise what the input is refused for."""
        scope, scope_id = await limit_targets.target_of(conn, allowed, self.target.named(), self.kind)
        return self.terms().rule(scope, scope_id, self.kind)


@strawberry.input(description="Limits to try out, and the past days to try them on.")
class SimulateLimitsInput:
    """What simulateLimits takes."""

    limits: list[SimulatedLimitInput] = strawberry.field(
        description="Up to 100 limits that take the place of those of the same target, kind, product, model and"
        " cadence. None of them tries out the limits that there are."
    )
    range: DayRange = strawberry.field(description="The days: up to 400 of them, none to come.")
    first: int = strawberry.field(default=100, description="How many stops to give, 1 to 1000; all are counted.")


@strawberry.type(description="A limit that would have stopped somebody in a period.")
class SimulatedStop:
    """The first use in a period that would not have fitted, and what came after it."""

    applies_to: LimitScope = strawberry.field(
        description="Whether it is a user, a group or the workspace that would have been stopped."
    )
    limit: Credits = strawberry.field(description="The limit.")
    simulated: bool = strawberry.field(description="Whether it is one of those that are tried out.")
    cadence: Cadence = strawberry.field(description="How long its periods are.")
    product: str | None = strawberry.field(description="The product whose use counts; null if all usage does.")
    model: str | None = strawberry.field(description="The product's model whose use counts; null if any does.")
    period: Range = strawberry.field(description="The period.")
    stopped_at: datetime = strawberry.field(description="When the first use that would not have fitted was made.")
    used: Credits = strawberry.field(description="What was used in the period, until the last day of the simulation.")
    over_by: Credits = strawberry.field(description="How much of it was past the limit.")
    stopped_requests: BigInt = strawberry.field(
        description="How many uses there were in the period from that one on, until the last day of the simulation."
    )
    stop: strawberry.Private[simulations.Stop]

    @classmethod
    def of(cls, stop: simulations.Stop) -> "SimulatedStop":
        """Show a stop."""
        return cls(
            applies_to=stop.scope,
            limit=Credits(stop.amount),
            simulated=stop.simulated,
            cadence=stop.shape.cadence,
            product=stop.shape.product or None,
            model=stop.shape.model or None,
            period=Range(start=stop.period.start, end=stop.period.end),
            stopped_at=stop.at,
            used=Credits(stop.used),
            over_by=Credits(stop.over),
            stopped_requests=BigInt(stop.requests),
            stop=stop,
        )

    @strawberry.field(description="The user, the group or the workspace that would have been stopped.")
    async def target(self, info: Info) -> Node | None:
        """Load who it is."""
        return await node_of(info, TARGETS[self.stop.scope], self.stop.scope_id)


@strawberry.type(description="What limits would have stopped. Each is looked at by itself, and only hard ones stop.")
class LimitSimulation:
    """The outcome of simulateLimits."""

    stops: list[SimulatedStop] = strawberry.field(description="Who would have been stopped, those most over first.")
    stop_count: int = strawberry.field(description="How many stops there are, those that are not given included.")
    over_by: Credits = strawberry.field(
        description="How much was past the limits in all; what was past several of them counts for each."
    )


async def _simulate_limits(info: Info, input: SimulateLimitsInput) -> LimitSimulation:
    context, allowed = info.context, authority(info.context.principal, Permission.LIMITS_WRITE)
    if not allowed.everywhere or not context.permitted.everyone:
        raise ForbiddenError("A simulation is for those who set limits everywhere and see everyone's spend.")
    if len(input.limits) > _MAX_LIMITS:
        raise InvalidInputError(f"At most {_MAX_LIMITS} limits at once.")
    if not 1 <= input.first <= simulations.MAX_ROWS:
        raise InvalidPageError(f"`first` takes 1 to {simulations.MAX_ROWS} here.")
    days = range_of_days(input.range.first, input.range.last, zone=context.zone)
    async with context.database.transaction(allowed.row_scope) as conn:
        rules = [await limit.rule(conn, allowed) for limit in input.limits]
        found = await simulations.simulate_limits(
            conn, allowed.workspace_id, rules, over=days, first=input.first, now=context.now
        )
    stops = [SimulatedStop.of(stop) for stop in found.stops]
    return LimitSimulation(stops=stops, stop_count=found.count, over_by=Credits(found.over))


@strawberry.type(description="The ways in for trying out limits.")
class SimulationQueries:
    """A part of Query."""

    @strawberry.field(
        description="Who would have been stopped, when and by how much, had the workspace's limits, with these in their"
        " place, been in force in past days. Nothing is changed. For those who set limits everywhere.",
        extensions=[requires(Permission.LIMITS_WRITE)],
    )
    async def simulate_limits(
        self,
        info: Info,
        input: Annotated[SimulateLimitsInput, strawberry.argument(description="The limits, and the days.")],
    ) -> LimitSimulation:
        """Try out limits."""
        return await _simulate_limits(info, input)
