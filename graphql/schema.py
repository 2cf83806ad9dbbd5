"""The schema: every way in, each guarded by one permission."""

import asyncio
from typing import Annotated

import strawberry
from graphql import GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from creditdesk.credits.errors import InvalidInputError
from creditdesk.graphql import rates, usage_events
from creditdesk.graphql.context import Info
from creditdesk.graphql.directory_sync import DirectoryMutations
from creditdesk.graphql.enums import Permission
from creditdesk.graphql.group_mutations import GroupMutations
from creditdesk.graphql.guards import requires
from creditdesk.graphql.hold_mutations import HoldMutations, HoldQueries
from creditdesk.graphql.ids import decode_id, decode_id_of
from creditdesk.graphql.inputs import make_inputs_at_once
from creditdesk.graphql.limit_rules import LimitMutations
from creditdesk.graphql.nodes import Node, node_of
from creditdesk.graphql.printing import sorted_schema
from creditdesk.graphql.rate_limit import RateLimitQueries
from creditdesk.graphql.request_mutations import RequestMutations
from creditdesk.graphql.scalars import SCALARS
from creditdesk.graphql.settings import SettingsMutations
from creditdesk.graphql.simulations import SimulationQueries
from creditdesk.graphql.subscriptions import Subscription
from creditdesk.graphql.user_mutations import UserMutations
from creditdesk.graphql.workspace import Viewer, Workspace, WorkspaceBy

MAX_NODES = 100


@strawberry.type(description="Everything that can be read.")
class Query(HoldQueries, RateLimitQueries, SimulationQueries):
    """The ways in for reading."""

    @strawberry.field(description="The caller.", extensions=[requires(Permission.WORKSPACE_READ)])
    def viewer(self, info: Info) -> Viewer:
        """Show the caller."""
        return Viewer.of(info)

    @strawberry.field(
        description="An object by its id; null if there is none, or none that the caller may see.",
        extensions=[requires(Permission.WORKSPACE_READ)],
    )
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The object's id.")]
    ) -> Node | None:
        """Load an object."""
        return await node_of(info, *decode_id(id))

    @strawberry.field(
        description="Objects by their ids, at most 100, in the order of the ids; null for each that there is none of.",
        extensions=[requires(Permission.WORKSPACE_READ)],
    )
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], strawberry.argument(description="The objects' ids.")]
    ) -> list[Node | None]:
        """Load objects."""
        if len(ids) > MAX_NODES:
            raise InvalidInputError(f"At most {MAX_NODES} ids at once.")
        asked = [decode_id(id_) for id_ in ids]  # first: one that is none would leave those before it begun
        # Together, so that they are loaded together.
        return await asyncio.gather(*(node_of(info, *one) for one in asked))

    @strawberry.field(
        description="The caller's workspace; null for any other.", extensions=[requires(Permission.WORKSPACE_READ)]
    )
    def workspace(
        self, info: Info, by: Annotated[WorkspaceBy, strawberry.argument(description="Which workspace.")]
    ) -> Workspace | None:
        """Show the workspace."""
        own = info.context.principal.workspace
        if isinstance(by.id, str):
            return Workspace.of(own) if decode_id_of("Workspace", by.id) == own.id else None
        return Workspace.of(own) if by.slug == own.slug else None


@strawberry.type(description="Everything that can be changed.")
class Mutation(
    DirectoryMutations,
    GroupMutations,
    HoldMutations,
    LimitMutations,
    RequestMutations,
    SettingsMutations,
    UserMutations,
):
    """The ways in for changing."""

    @strawberry.mutation(
        description="Record up to 1000 events, each exactly once. Events that cannot be recorded do not keep the"
        " others out. Sending a batch again is safe.",
        extensions=[requires(Permission.USAGE_WRITE)],
    )
    async def record_usage(
        self,
        info: Info,
        input: Annotated[usage_events.RecordUsageInput, strawberry.argument(description="The events.")],
    ) -> usage_events.RecordUsageResult:
        """Record a batch."""
        return await usage_events.record_usage(info, input)

    @strawberry.mutation(
        description="Put up to 1000 rates and multipliers on the rate card, all of them or none. They may start in the"
        " past: events that are recorded already keep the rates they were priced with. To send them again is safe.",
        extensions=[requires(Permission.RATES_WRITE)],
    )
    async def set_rates(
        self,
        info: Info,
        input: Annotated[rates.SetRatesInput, strawberry.argument(description="The rates and multipliers.")],
    ) -> rates.SetRatesResult:
        """Put lines on the card."""
        return await rates.set_rates(info, input)

    @strawberry.mutation(
        description="Take a rate, or a multiplier, that has not come into effect off the rate card.",
        extensions=[requires(Permission.RATES_WRITE)],
    )
    async def remove_rate(
        self, info: Info, input: Annotated[rates.RemoveRateInput, strawberry.argument(description="Which one.")]
    ) -> rates.RemoveRateResult:
        """Take a line off the card."""
        return await rates.remove_rate(info, input)


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=True),
)
"""Field suggestions are off: a caller learns the schema by introspection or from `schema.graphql`, not by guessing."""


def core_schema() -> GraphQLSchema:
    """Return the schema as graphql-core knows it."""
    return schema._schema  # noqa: SLF001 - Strawberry has no public way to it


make_inputs_at_once(core_schema(), schema.config.name_converter)


def schema_text() -> str:
    """Return the schema in the language of GraphQL, sorted, with descriptions and permissions."""
    return sorted_schema(schema)
