"""Per-request loaders: what resolvers ask for at one level of a document is read in one statement.

A key carries the question along with what it is asked of; keys with the same question go to the database together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from strawberry import dataloader

from creditdesk.credits import (
    budget_forecasts,
    budgets,
    limit_lists,
    people,
    rates,
    request_lists,
    series,
    usage,
    workspace_settings,
)
from creditdesk.credits.budget_rules import Budget
from creditdesk.credits.forecasts import Forecast
from creditdesk.credits.limits import Limit, LimitScope
from creditdesk.credits.people import Order, Page, UserFilter, Window
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.pricing import RateCard
from creditdesk.credits.request_lists import RequestFilter
from creditdesk.credits.request_rules import CreditRequest
from creditdesk.credits.series import Interval, Series, SeriesRows, shown_series
from creditdesk.credits.usage import Breakdown, BreakdownRows, Cell, UsageQuery
from creditdesk.db.connections import Connection
from creditdesk.graphql.protection.deadline import read_within

Question = TypeVar("Question", bound=Hashable)
Subject = TypeVar("Subject", bound=Hashable)
Answer = TypeVar("Answer")

UsersQuestion = tuple[bool, UserFilter, Order, Window]
RequestsQuestion = tuple[LimitScope, RequestFilter, Window]


class DataLoader(dataloader.DataLoader[Subject, Answer]):
    """A loader whose answers outlive whoever asked first.

    Where a field fails, graphql-core cancels its siblings. What these wait for, others may be waiting for too. It ends
    with the operation.
    """

    def __init__(self, load_fn: Callable[[list[Subject]], Awaitable[Sequence[Answer]]]) -> None:
        async def load(keys: list[Subject]) -> Sequence[Answer]:
            read_within(asyncio.current_task())
            return await load_fn(keys)

        super().__init__(load_fn=load)

    def load(self, key: Subject) -> Awaitable[Answer]:
        """Return the answer for a key, read together with the others of this moment."""
        answer = super().load(key)
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(_noticed)
        return asyncio.shield(answer)


def _noticed(answer: "asyncio.Future[object]") -> None:
    """Take note of an error that nobody waits for any more: a statement that was cancelled."""
    if not answer.cancelled():
        answer.exception()


class _Grouped(Generic[Question, Subject, Answer]):
    """A loader of (question, subject): one call for each question, with all its subjects, all calls at once."""

    def __init__(self, answer: Callable[[Question, list[Subject]], Awaitable[Sequence[Answer]]]) -> None:
        self._answer = answer
        self._loader: DataLoader[tuple[Question, Subject], Answer] = DataLoader(load_fn=self._load)

    async def load(self, question: Question, subject: Subject) -> Answer:
        return await self._loader.load((question, subject))

    async def _load(self, keys: list[tuple[Question, Subject]]) -> list[Answer]:
        subjects: dict[Question, list[Subject]] = {}
        for question, subject in keys:
            subjects.setdefault(question, []).append(subject)
        answers = await asyncio.gather(*(self._answer(question, asked) for question, asked in subjects.items()))
        found = {
            (question, subject): answer
            for (question, asked), answered in zip(subjects.items(), answers, strict=True)
            for subject, answer in zip(asked, answered, strict=True)
        }
        return [found[key] for key in keys]


class Together(Generic[Question, Subject, Answer]):
    """Answers a question of many subjects at a time; whoever asks the same at this moment is read for with them."""

    def __init__(self, answer: Callable[[Question, list[Subject]], Awaitable[Sequence[Answer]]]) -> None:
        self._answer = answer
        self._rounds: dict[Question, tuple[dict[Subject, None], asyncio.Task[dict[Subject, Answer]]]] = {}

    async def ask(self, question: Question, subjects: Sequence[Subject]) -> list[Answer]:
        """Return each subject's answer."""
        if question not in self._rounds:
            self._rounds[question] = ({}, asyncio.create_task(self._read(question)))
            read_within(self._rounds[question][1])
        asked, reading = self._rounds[question]
        asked.update(dict.fromkeys(subjects))
        found = await asyncio.shield(reading)
        return [found[subject] for subject in subjects]

    async def _read(self, question: Question) -> dict[Subject, Answer]:
        await asyncio.sleep(0)  # those who ask at this moment come along
        subjects = list(self._rounds.pop(question)[0])
        return dict(zip(subjects, await self._answer(question, subjects), strict=True))


class Loaders:
    """The loaders of one request, for one caller."""

    def __init__(
        self, conn: Connection, permitted: PermittedScopes, limits: tuple[Connection, PermittedScopes], now: datetime
    ) -> None:
        self._conn = conn
        self._permitted = permitted
        self._of_limits = limits
        self._now = now
        self.budgets_together: Together[None, UUID, list[Budget]] = Together(lambda _, ids: self._budgets_of_users(ids))
        self.breakdowns_together: Together[tuple[UsageQuery, tuple[bool, ...]], Cell, BreakdownRows] = Together(
            lambda question, cells: usage.usage_rows_of(conn, permitted, cells, question[0])
        )
        self.budgets: DataLoader[UUID, list[Budget]] = DataLoader(load_fn=self._budgets_of_users)
        self.group_budgets: DataLoader[UUID, Budget | None] = DataLoader(load_fn=self._budget_of_groups)
        self.workspace_budgets: DataLoader[UUID, Budget | None] = DataLoader(load_fn=self._budget_of_workspace)
        self.forecasts: DataLoader[Budget, Forecast | None] = DataLoader(load_fn=self._forecasts)
        self.limits: DataLoader[UUID, Limit | None] = DataLoader(load_fn=self._limits)
        self.ceilings: DataLoader[UUID, int | None] = DataLoader(load_fn=self._ceilings)
        self.member_limits: DataLoader[UUID, Limit | None] = DataLoader(load_fn=self._member_limits)
        self.requests: DataLoader[UUID, CreditRequest | None] = DataLoader(load_fn=self._requests)
        self.request_pages: _Grouped[RequestsQuestion, UUID, Page[CreditRequest]] = _Grouped(self._request_pages)
        self.request_counts: _Grouped[tuple[LimitScope, RequestFilter], UUID, int] = _Grouped(self._request_counts)
        self.users: DataLoader[UUID, people.User | None] = DataLoader(load_fn=self._users)
        self.groups: DataLoader[UUID, people.Group | None] = DataLoader(load_fn=self._groups)
        self.groups_of_user: DataLoader[UUID, list[people.Group]] = DataLoader(load_fn=self._groups_of_users)
        self.user_pages: _Grouped[UsersQuestion, UUID | None, Page[people.User]] = _Grouped(self._user_pages)
        self.user_counts: _Grouped[tuple[bool, UserFilter], UUID | None, int] = _Grouped(self._user_counts)
        self.rate_cards: DataLoader[UUID, RateCard] = DataLoader(load_fn=self._rate_cards)
        # The shape of a cell belongs to the question: cells of one shape are read from one rollup.
        self._breakdowns: _Grouped[tuple[UsageQuery, tuple[bool, ...]], Cell, Breakdown] = _Grouped(self._breakdown)
        self._series: _Grouped[tuple[UsageQuery, Interval, tuple[bool, ...]], Cell, list[SeriesRows]] = _Grouped(
            self._series_of
        )

    async def breakdown(self, query: UsageQuery, cell: Cell) -> Breakdown:
        """Return one cell's breakdown."""
        return await self._breakdowns.load((query, cell_shape(cell)), cell)

    async def series(self, query: UsageQuery, interval: Interval, cell: Cell) -> tuple[Series, ...]:
        """Return one cell's series."""
        return tuple(map(shown_series, await self.series_rows(query, interval, cell)))

    async def series_rows(self, query: UsageQuery, interval: Interval, cell: Cell) -> list[SeriesRows]:
        """Return the same as rows."""
        return await self._series.load((query, interval, cell_shape(cell)), cell)

    async def _users(self, ids: list[UUID]) -> list[people.User | None]:
        found = await people.users_by_id(self._conn, self._permitted, ids)
        return [found.get(id_) for id_ in ids]

    async def _requests(self, ids: list[UUID]) -> list[CreditRequest | None]:
        found = await request_lists.requests_by_id(self._conn, self._permitted, ids)
        return [found.get(id_) for id_ in ids]

    async def _request_pages(self, question: RequestsQuestion, of: list[UUID]) -> list[Page[CreditRequest]]:
        scope, requests, window = question
        return await request_lists.requests_pages(
            self._conn, self._permitted, scope, of, requests, window=window, now=self._now
        )

    async def _request_counts(self, question: tuple[LimitScope, RequestFilter], of: list[UUID]) -> list[int]:
        scope, requests = question
        return await request_lists.requests_counts(self._conn, self._permitted, scope, of, requests, now=self._now)

    async def _groups(self, ids: list[UUID]) -> list[people.Group | None]:
        found = await people.groups_by_id(self._conn, self._permitted, ids)
        return [found.get(id_) for id_ in ids]

    async def _budgets_of_users(self, ids: list[UUID]) -> list[list[Budget]]:
        found = await budgets.budgets_of_users(self._conn, self._permitted, ids, now=self._now)
        return [found.get(id_, []) for id_ in ids]

    async def _budget_of_groups(self, ids: list[UUID]) -> list[Budget | None]:
        found = await budgets.budget_of_groups(self._conn, self._permitted, ids, now=self._now)
        return [found.get(id_) for id_ in ids]

    async def _budget_of_workspace(self, ids: list[UUID]) -> list[Budget | None]:
        # There is only one workspace; that it is loaded here has it read once.
        return [await budgets.budget_of_workspace(self._conn, self._permitted, now=self._now)] * len(ids)

    async def _forecasts(self, found: list[Budget]) -> list[Forecast | None]:
        return await budget_forecasts.forecasts_of(self._conn, self._permitted, found)

    async def _limits(self, ids: list[UUID]) -> list[Limit | None]:
        found = await limit_lists.limits_by_id(*self._of_limits, ids)
        return [found.get(id_) for id_ in ids]

    async def _ceilings(self, groups: list[UUID]) -> list[int | None]:
        found = await workspace_settings.group_ceilings(*self._of_limits, groups)
        return [found.get(group_id) for group_id in groups]

    async def _member_limits(self, groups: list[UUID]) -> list[Limit | None]:
        found = await limit_lists.member_limits(*self._of_limits, groups, now=self._now)
        return [found.get(group_id) for group_id in groups]

    async def _groups_of_users(self, ids: list[UUID]) -> list[list[people.Group]]:
        found = await people.groups_of_users(self._conn, self._permitted, ids)
        return [found[id_] for id_ in ids]

    async def _user_pages(self, question: UsersQuestion, groups: list[UUID | None]) -> list[Page[people.User]]:
        _, users, order, window = question
        return await people.users_pages(self._conn, self._permitted, groups, users, order=order, window=window)

    async def _user_counts(self, question: tuple[bool, UserFilter], groups: list[UUID | None]) -> list[int]:
        return await people.users_counts(self._conn, self._permitted, groups, question[1])

    async def _rate_cards(self, workspaces: list[UUID]) -> list[RateCard]:
        return [await rates.current_rate_card(self._conn, workspace_id) for workspace_id in workspaces]

    async def _breakdown(self, question: tuple[UsageQuery, tuple[bool, ...]], cells: list[Cell]) -> list[Breakdown]:
        return await usage.usage_of(self._conn, self._permitted, cells, question[0])

    async def _series_of(
        self, question: tuple[UsageQuery, Interval, tuple[bool, ...]], cells: list[Cell]
    ) -> list[list[SeriesRows]]:
        query, interval, _ = question
        return await series.series_rows_of(self._conn, self._permitted, cells, query, interval)


def cell_shape(cell: Cell) -> tuple[bool, ...]:
    """Tell which parts of a cell are set: cells that are alike in it can be read together."""
    parts = (cell.user_id, cell.group_id, cell.product, cell.model, cell.members_of)
    return tuple(part is not None for part in parts)
