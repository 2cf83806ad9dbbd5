"""Per-request loaders: what resolvers ask for at one level of a document is read in one statement.

A key carries the question along with what it is asked of; keys with the same question go to the database together.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from creditdesk.credits import (
    budget_forecasts,
    budgets,
    limit_lists,
    people,
    people_lists,
    rates,
    request_lists,
    series,
    usage,
    workspace_settings,
)
from creditdesk.credits.budget_rules import Budget
from creditdesk.credits.forecasts import Forecast
from creditdesk.credits.limits import Limit, LimitScope
from creditdesk.credits.own_accounts import OwnAccount
from creditdesk.credits.people import Order, Page, UserFilter, Window
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.pricing import RateCard
from creditdesk.credits.request_lists import RequestFilter
from creditdesk.credits.request_rules import CreditRequest
from creditdesk.credits.series import Interval, SeriesRows
from creditdesk.credits.usage import Breakdown, BreakdownRows, Cell, UsageQuery
from creditdesk.db.connections import Connection
from creditdesk.graphql.loading import DataLoader, Grouped

Loading = TypeVar("Loading")

_OfLimits = tuple[Connection, PermittedScopes]
UsersQuestion = tuple[bool, UserFilter, Order, Window, bool]
RequestsQuestion = tuple[LimitScope, RequestFilter, Window]


class _Reads:
    """What loaders read with. It knows none of them, so that they go as soon as nobody holds them.

    What refers to itself waits for the collector, and a subscription has loaders anew for each of its events.
    """

    def __init__(
        self, conn: Connection, permitted: PermittedScopes, limits: _OfLimits, now: datetime, own: OwnAccount | None
    ) -> None:
        self._own = own
        self._conn = conn
        self._permitted = permitted
        self._of_limits = limits
        self._now = now

    def _own_account(self, ids: list[UUID]) -> OwnAccount | None:
        """Return what is known of the caller, where nobody else is asked for."""
        return self._own if ids == [self._permitted.user_id] else None

    async def users(self, ids: list[UUID]) -> list[people.User | None]:
        if (own := self._own_account(ids)) is not None:
            known = own.known_user(self._permitted.user_id)
            return [known] if known is not None else await self._conn.look_up([own.user()])
        found = await people.users_by_id(self._conn, self._permitted, ids)
        return [found.get(id_) for id_ in ids]

    async def requests(self, ids: list[UUID]) -> list[CreditRequest | None]:
        found = await request_lists.requests_by_id(self._conn, self._permitted, ids)
        return [found.get(id_) for id_ in ids]

    async def request_pages(self, question: RequestsQuestion, of: list[UUID]) -> list[Page[CreditRequest]]:
        scope, requests, window = question
        return await request_lists.requests_pages(
            self._conn, self._permitted, scope, of, requests, window=window, now=self._now
        )

    async def request_counts(self, question: tuple[LimitScope, RequestFilter], of: list[UUID]) -> list[int]:
        scope, requests = question
        return await request_lists.requests_counts(self._conn, self._permitted, scope, of, requests, now=self._now)

    async def groups(self, ids: list[UUID]) -> list[people.Group | None]:
        found = await people.groups_by_id(self._conn, self._permitted, ids)
        return [found.get(id_) for id_ in ids]

    async def budgets_of_users(self, ids: list[UUID]) -> list[list[Budget]]:
        if (own := self._own_account(ids)) is not None:
            return await self._conn.look_up([own.budgets(now=self._now)])
        found = await budgets.budgets_of_users(self._conn, self._permitted, ids, now=self._now)
        return [found.get(id_, []) for id_ in ids]

    async def budget_of_groups(self, ids: list[UUID]) -> list[Budget | None]:
        found = await budgets.budget_of_groups(self._conn, self._permitted, ids, now=self._now)
        return [found.get(id_) for id_ in ids]

    async def budget_of_workspace(self, ids: list[UUID]) -> list[Budget | None]:
        # There is only one workspace; that it is loaded here has it read once.
        return [await budgets.budget_of_workspace(self._conn, self._permitted, now=self._now)] * len(ids)

    async def forecasts(self, found: list[Budget]) -> list[Forecast | None]:
        return await budget_forecasts.forecasts_of(self._conn, self._permitted, found)

    async def limits(self, ids: list[UUID]) -> list[Limit | None]:
        found = await limit_lists.limits_by_id(*self._of_limits, ids)
        return [found.get(id_) for id_ in ids]

    async def ceilings(self, groups: list[UUID]) -> list[int | None]:
        found = await workspace_settings.group_ceilings(*self._of_limits, groups)
        return [found.get(group_id) for group_id in groups]

    async def member_limits(self, groups: list[UUID]) -> list[Limit | None]:
        found = await limit_lists.member_limits(*self._of_limits, groups, now=self._now)
        return [found.get(group_id) for group_id in groups]

    async def groups_of_users(self, ids: list[UUID]) -> list[list[people.Group]]:
        found = await people.groups_of_users(self._conn, self._permitted, ids)
        return [found[id_] for id_ in ids]

    async def user_pages(self, question: UsersQuestion, groups: list[UUID | None]) -> list[Page[people.User]]:
        _, users, order, window, counted = question
        return await people_lists.users_pages(
            self._conn, self._permitted, groups, users, order=order, window=window, counted=counted
        )

    async def user_counts(self, question: tuple[bool, UserFilter], groups: list[UUID | None]) -> list[int]:
        return await people_lists.users_counts(self._conn, self._permitted, groups, question[1])

    async def rate_cards(self, workspaces: list[UUID]) -> list[RateCard]:
        return [await rates.current_rate_card(self._conn, workspace_id) for workspace_id in workspaces]

    async def breakdown(
        self, question: tuple[UsageQuery, tuple[bool, ...]], cells: list[Cell]
    ) -> Sequence[BreakdownRows]:
        [found] = await self._conn.look_up([usage.usage_rows_of(self._permitted, cells, question[0])])
        return found

    async def series_of(
        self, question: tuple[UsageQuery, Interval, tuple[bool, ...]], cells: list[Cell]
    ) -> Sequence[list[SeriesRows]]:
        query, interval, _ = question
        [found] = await self._conn.look_up([series.series_rows_of(self._permitted, cells, query, interval)])
        return found


class _Made(Generic[Loading]):
    """A loader that is made when it is first asked for: few are, of all that there are."""

    def __init__(self, make: Callable[[_Reads], Loading]) -> None:
        self._make = make
        self._name = ""

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, loaders: "Loaders", _: type) -> Loading:
        # From now on it is found there, and this is not asked any more.
        made = loaders.__dict__[self._name] = self._make(loaders.reads)
        return made


class Loaders:
    """The loaders of one request, for one caller."""

    budgets = _Made(lambda reads: DataLoader(reads.budgets_of_users))
    group_budgets = _Made(lambda reads: DataLoader(reads.budget_of_groups))
    workspace_budgets = _Made(lambda reads: DataLoader(reads.budget_of_workspace))
    forecasts = _Made(lambda reads: DataLoader(reads.forecasts))
    limits = _Made(lambda reads: DataLoader(reads.limits))
    ceilings = _Made(lambda reads: DataLoader(reads.ceilings))
    member_limits = _Made(lambda reads: DataLoader(reads.member_limits))
    requests = _Made(lambda reads: DataLoader(reads.requests))
    request_pages = _Made(lambda reads: Grouped(reads.request_pages))
    request_counts = _Made(lambda reads: Grouped(reads.request_counts))
    users = _Made(lambda reads: DataLoader(reads.users))
    groups = _Made(lambda reads: DataLoader(reads.groups))
    groups_of_user = _Made(lambda reads: DataLoader(reads.groups_of_users))
    user_pages = _Made(lambda reads: Grouped(reads.user_pages))
    user_counts = _Made(lambda reads: Grouped(reads.user_counts))
    rate_cards = _Made(lambda reads: DataLoader(reads.rate_cards))
    # The shape of a cell belongs to the question: cells of one shape are read from one rollup.
    _breakdowns = _Made(lambda reads: Grouped(reads.breakdown))
    _series = _Made(lambda reads: Grouped(reads.series_of))

    def __init__(
        self,
        conn: Connection,
        permitted: PermittedScopes,
        limits: _OfLimits,
        now: datetime,
        own: OwnAccount | None = None,
    ) -> None:
        self.reads = _Reads(conn, permitted, limits, now, own)

    async def breakdown(self, query: UsageQuery, cell: Cell) -> Breakdown:
        """Return one cell's breakdown."""
        found = await self._breakdowns.load((query, cell_shape(cell)), cell)
        self.keep_users_of([found])
        return usage.breakdown_of(found)

    def keep_users_of(self, found: Sequence[BreakdownRows]) -> None:
        """Keep the users who came along with rows: mostly they are asked for next."""
        if users := {user.id: user for one in found for user in one.users}:
            self.users.prime_many(users)

    async def series_rows(self, query: UsageQuery, interval: Interval, cell: Cell) -> list[SeriesRows]:
        """Return one cell's series, as rows."""
        return await self._series.load((query, interval, cell_shape(cell)), cell)


def cell_shape(cell: Cell) -> tuple[bool, ...]:
    """Tell which parts of a cell are set: cells that are alike in it can be read together."""
    parts = (cell.user_id, cell.group_id, cell.product, cell.model, cell.members_of)
    return tuple(part is not None for part in parts)
