"""The graph of usage: users, groups, and what they used, each leading to the others to any depth."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from creditdesk.credits import people
from creditdesk.credits.ranges import Range as ResolvedRange
from creditdesk.credits.series import Series, shown_series
from creditdesk.credits.usage import Breakdown, BreakdownRow, Cell, Figures, Filter, Key, UsageQuery
from creditdesk.graphql.budgets import GroupBudget, UserBudgets
from creditdesk.graphql.connections import After, Before, Connection, First, Last, connection_of, wants_total, window_of
from creditdesk.graphql.context import Info
from creditdesk.graphql.enums import Attribution, Dimension, Interval, Ordering, UserKind
from creditdesk.graphql.figures import (
    FIGURES,
    UsageFigures,
    UsageFilter,
    UsagePoint,
    UsageRest,
    known_group,
    shown_figures,
)
from creditdesk.graphql.ids import encode_id
from creditdesk.graphql.limits import GroupLimits
from creditdesk.graphql.nodes import Node, found_by
from creditdesk.graphql.people import UserFilter, UserOrder
from creditdesk.graphql.ranges import Range, RangeInput
from creditdesk.graphql.requests import GroupRequests, UserRequests
from creditdesk.graphql.selections import selects_any
from creditdesk.graphql.settings import CeilingOfGroup
from creditdesk.graphql.usage_questions import (
    checked_dimensions,
    checked_rows,
    wants_credits_only,
    wants_points_of_credits,
)

InRange = Annotated[RangeInput, strawberry.argument(description="The range to report on.")]
Narrowed = Annotated[UsageFilter | None, strawberry.argument(description="What to narrow the usage to.")]
UsersNarrowed = Annotated[UserFilter | None, strawberry.argument(description="What users to narrow the list to.")]
UsersOrdered = Annotated[UserOrder | None, strawberry.argument(description="The order; by name if not given.")]
Rows = Annotated[
    int, strawberry.argument(description="How many rows or series to give, 1 to 1000; the others are added up.")
]


@strawberry.type(description="The values of the dimension that a series is of.")
class UsageKey:
    """Exactly one is set; none where the series is of all the others, or of usage charged to no group."""

    key: strawberry.Private[Key | None]

    @strawberry.field(description="Whether the series is of all the values beyond the first ones.")
    def other(self) -> bool:
        """Tell the rest from a value."""
        return self.key is None

    @strawberry.field(description="The user; null if the series is not by user.")
    async def user(self, info: Info) -> "User | None":
        """Load the user."""
        return await user_of(info, self.key.user_id if self.key else None)

    @strawberry.field(description="The charged group; null if the series is not by group, or nobody was charged.")
    async def group(self, info: Info) -> "Group | None":
        """Load the group."""
        return await group_of(info, self.key.group_id if self.key else None)

    @strawberry.field(description="The product; null if the series is not by product.")
    def product(self) -> str | None:
        """Show the product."""
        return self.key.product if self.key else None

    @strawberry.field(description="The model; null if the series is not by model.")
    def model(self) -> str | None:
        """Show the model."""
        return self.key.model if self.key else None


@strawberry.type(description="Usage over time.")
class UsageSeries:
    """Points in order of time."""

    key: UsageKey | None = strawberry.field(description="What the series is of; null for all usage.")
    points: list[UsagePoint] = strawberry.field(description="One point for every interval of the range, none left out.")

    @classmethod
    def of(cls, series: Series, *, keyed: bool) -> "UsageSeries":
        """Show a series."""
        points = [UsagePoint(start=start, **shown_figures(figures)) for start, figures in series.points]
        return cls(key=UsageKey(key=series.key) if keyed else None, points=points)


@strawberry.type(description="A row of a breakdown.")
class UsageRow(UsageFigures):
    """What one value, or one combination of values, used."""

    product: str | None = strawberry.field(description="The product; null if the breakdown is not by product.")
    model: str | None = strawberry.field(description="The model; null if the breakdown is not by model.")
    share: float = strawberry.field(
        description="The row's part of the breakdown's credits: 0.25 is a quarter. Corrections of uses outside the"
        " range can take it below 0 or above 1."
    )
    key: strawberry.Private[Key]
    whole: strawberry.Private["CreditUsage"]

    @strawberry.field(description="The user; null if the breakdown is not by user.")
    async def user(self, info: Info) -> "User | None":
        """Load the user."""
        return await user_of(info, self.key.user_id)

    @strawberry.field(description="The charged group; null if the breakdown is not by group, or nobody was charged.")
    async def group(self, info: Info) -> "Group | None":
        """Load the group."""
        return await group_of(info, self.key.group_id)

    @strawberry.field(description="The row's usage, to go deeper.")
    def usage(self) -> "CreditUsage":
        """Narrow the whole to this row."""
        key = self.key
        narrowed = {name: value for name in Key.__slots__ if (value := getattr(key, name)) is not None}
        figures = {name: getattr(self, name) for name in Figures.__slots__}
        return replace(self.whole, cell=replace(self.whole.cell, **narrowed), **figures)


@strawberry.type(description="Usage by one or more dimensions. The rows and `other` add up to the whole, exactly.")
class UsageBreakdown:
    """The first rows, and the rest."""

    rows: list[UsageRow] = strawberry.field(description="The first rows.")
    other: UsageRest = strawberry.field(description="All the other rows as one; zeros where there are none.")
    row_count: int = strawberry.field(description="How many rows there are, those in `other` included.")

    @classmethod
    def of(cls, breakdown: Breakdown, whole: "CreditUsage") -> "UsageBreakdown":
        """Show a breakdown."""
        total = sum(row.figures.credits for row in breakdown.rows) + breakdown.other.credits
        return cls(
            rows=[_row(row, whole, total) for row in breakdown.rows],
            other=UsageRest(row_count=breakdown.other_count, **shown_figures(breakdown.other)),
            row_count=len(breakdown.rows) + breakdown.other_count,
        )


def _row(row: BreakdownRow, whole: "CreditUsage", total: int) -> UsageRow:
    return UsageRow(
        product=row.key.product,
        model=row.key.model,
        share=row.figures.credits / total if total else 0.0,
        key=row.key,
        whole=whole,
        **shown_figures(row.figures),
    )


@strawberry.type(description="What was used in a range, by a workspace, a group or a user.")
class CreditUsage(UsageFigures):
    """Figures of a cell; zeros in an object whose figures nobody selected."""

    range: Range = strawberry.field(description="The range that is reported on.")
    data_through: datetime = strawberry.field(
        description="How fresh the report is: everything that was recorded before this moment is in it. Recording and"
        " reporting share a transaction, so this is the moment of the report itself."
    )
    cell: strawberry.Private[Cell]
    span: strawberry.Private[ResolvedRange]
    filter: strawberry.Private[Filter]

    @strawberry.field(description="Usage over time; by a dimension, the series with the most credits come first.")
    async def series(
        self,
        info: Info,
        interval: Annotated[Interval, strawberry.argument(description="The length of a point.")],
        by: Annotated[
            Dimension | None, strawberry.argument(description="Give a series for each of its values.")
        ] = None,
        first: Rows = 10,
    ) -> list[UsageSeries]:
        """Load the series."""
        dimensions = (by,) if by else ()
        query = UsageQuery(
            self.span, self.filter, dimensions, checked_rows(first), credits_only=wants_points_of_credits(info)
        )
        found = await info.context.loaders.series_rows(query, interval, self.cell)
        return [UsageSeries.of(shown_series(series), keyed=by is not None) for series in found]

    @strawberry.field(description="Usage by one or more dimensions.")
    async def breakdown(
        self,
        info: Info,
        by: Annotated[
            list[Dimension], strawberry.argument(description="The dimensions; a row for each combination of values.")
        ],
        first: Rows = 10,
        order_by: Annotated[
            Ordering, strawberry.argument(description="Which rows come first.")
        ] = Ordering.CREDITS_DESC,
    ) -> UsageBreakdown:
        """Load the breakdown."""
        query = UsageQuery(
            self.span, self.filter, checked_dimensions(by), checked_rows(first), order_by, wants_credits_only(info)
        )
        return UsageBreakdown.of(await info.context.loaders.breakdown(query, self.cell), self)


async def usage_of(info: Info, cell: Cell, range_: RangeInput, filter_: UsageFilter | None) -> CreditUsage:
    """Return the usage of a cell; its totals are read only where they are selected."""
    span = range_.resolved(info.context)
    wanted = filter_.wanted() if filter_ else Filter()
    figures = Figures()
    if selects_any(info._raw_info, FIGURES):  # noqa: SLF001 - Strawberry has no public way to the field's nodes
        total = await info.context.loaders.breakdown(UsageQuery(span, wanted), cell)
        figures = total.rows[0].figures if total.rows else figures
    return CreditUsage(
        range=Range.of(span),
        data_through=info.context.now,
        cell=cell,
        span=span,
        filter=wanted,
        **shown_figures(figures),
    )


@strawberry.type(description="People in a workspace.")
class Group(GroupLimits, CeilingOfGroup, GroupBudget, GroupRequests, Node):
    """A group that the caller may see."""

    slug: str = strawberry.field(description="The group's short name.")
    name: str = strawberry.field(description="The group's name.")
    version: int = strawberry.field(description="How often the group was changed, from 1: for `expectedVersion`.")
    group_id: strawberry.Private[UUID]

    @classmethod
    def of(cls, group: people.Group) -> "Group":
        """Show a group."""
        return cls(
            id=encode_id("Group", group.id),
            slug=group.slug,
            name=group.name,
            version=group.version,
            group_id=group.id,
        )

    @strawberry.field(description="Who is in the group now, as far as the caller may see them.")
    async def members(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        order_by: UsersOrdered = None,
    ) -> "Connection[User]":
        """Load a page of members."""
        order = order_by.resolved(info.context) if order_by else people.Order()
        return await users_page(info, self.group_id, people.UserFilter(), order, (first, after, last, before))

    @strawberry.field(description="What the group used; null if the caller may not see it.")
    async def usage(
        self,
        info: Info,
        range: InRange,
        filter: Narrowed = None,
        attribution: Annotated[
            Attribution, strawberry.argument(description="Which usage counts as the group's.")
        ] = Attribution.CHARGED,
    ) -> CreditUsage | None:
        """Load what was charged to the group, or what its members used."""
        if not info.context.permitted.may_read_group(self.group_id):
            return None
        charged = attribution is Attribution.CHARGED
        cell = Cell(group_id=self.group_id) if charged else Cell(members_of=self.group_id)
        return await usage_of(info, cell, range, filter)


@strawberry.type(description="A person or a service account in a workspace.")
class User(UserBudgets, UserRequests, Node):
    """A user whom the caller may see."""

    display_name: str = strawberry.field(description="The user's name.")
    email: str | None = strawberry.field(description="The user's e-mail address, in lower case.")
    kind: UserKind = strawberry.field(description="A person or a service account.")
    active: bool = strawberry.field(description="Whether the user may sign in. What they used stays either way.")
    version: int = strawberry.field(description="How often the user was changed, from 1: for `expectedVersion`.")
    user_id: strawberry.Private[UUID]
    home_group_id: strawberry.Private[UUID | None]

    @classmethod
    def of(cls, user: people.User) -> "User":
        """Show a user."""
        return cls(
            id=encode_id("User", user.id),
            display_name=user.display_name,
            email=user.email,
            kind=user.kind,
            active=user.active,
            version=user.version,
            user_id=user.id,
            home_group_id=user.home_group_id,
        )

    @strawberry.field(description="The group that is charged for what the user uses now.")
    async def home_group(self, info: Info) -> Group | None:
        """Load the group."""
        return await group_of(info, self.home_group_id)

    @strawberry.field(description="The groups that the user is in now, by name, as far as the caller may see them.")
    async def groups(self, info: Info) -> list[Group]:
        """Load the groups."""
        return [Group.of(group) for group in await info.context.loaders.groups_of_user.load(self.user_id)]

    @strawberry.field(description="What the user used.")
    async def usage(self, info: Info, range: InRange, filter: Narrowed = None) -> CreditUsage | None:
        """Load what the user used."""
        return await usage_of(info, Cell(user_id=self.user_id), range, filter)


@found_by("User")
async def user_of(info: Info, id_: UUID | None) -> User | None:
    """Return a user whom the caller may see."""
    own = info.context.own
    user = own.known_user(id_) if own is not None else None
    if user is None and id_ is not None:
        user = await info.context.loaders.users.load(id_)
    return User.of(user) if user else None


@found_by("Group")
async def group_of(info: Info, id_: UUID | None) -> Group | None:
    """Return a group that the caller may see."""
    known = known_group(id_)
    group = await info.context.loaders.groups.load(known) if known else None
    return Group.of(group) if group else None


async def users_page(
    info: Info,
    group_id: UUID | None,
    users: people.UserFilter,
    order: people.Order,
    page: tuple[int | None, str | None, int | None, str | None],
) -> Connection[User]:
    """Return a page of the users of a group, or of the workspace, with their number where it is selected."""
    loaders, in_group, window = info.context.loaders, group_id is not None, window_of(order, *page)
    found = await loaders.user_pages.load((in_group, users, order, window, wants_total(info)), group_id)

    async def count() -> int:
        if found.total is not None:
            return found.total
        return await loaders.user_counts.load((in_group, users), group_id)

    return connection_of(found, order, window, show=User.of, count=count)
