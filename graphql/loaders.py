"""Per-request loaders: what resolvers ask for at one level of a document is read in one statement.

A key carries the question along with what it is asked of; keys with the same question go to the database together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

from strawberry.dataloader import DataLoader

from creditdesk.credits import people, series, usage
from creditdesk.credits.people import Order, Page, UserFilter, Window
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.series import Interval, Series
from creditdesk.credits.usage import Breakdown, Cell, UsageQuery
from creditdesk.db.connections import Connection

Question = TypeVar("Question", bound=Hashable)
Subject = TypeVar("Subject", bound=Hashable)
Answer = TypeVar("Answer")

UsersQuestion = tuple[bool, UserFilter, Order, Window]


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


class Loaders:
    """The loaders of one request, for one caller."""

    def __init__(self, conn: Connection, permitted: PermittedScopes) -> None:
        self._conn = conn
        self._permitted = permitted
        self.users: DataLoader[UUID, people.User | None] = DataLoader(load_fn=self._users)
        self.groups: DataLoader[UUID, people.Group | None] = DataLoader(load_fn=self._groups)
        self.groups_of_user: DataLoader[UUID, list[people.Group]] = DataLoader(load_fn=self._groups_of_users)
        self.user_pages: _Grouped[UsersQuestion, UUID | None, Page[people.User]] = _Grouped(self._user_pages)
        self.user_counts: _Grouped[tuple[bool, UserFilter], UUID | None, int] = _Grouped(self._user_counts)
        # The shape of a cell belongs to the question: cells of one shape are read from one rollup.
        self._breakdowns: _Grouped[tuple[UsageQuery, tuple[bool, ...]], Cell, Breakdown] = _Grouped(self._breakdown)
        self._series: _Grouped[tuple[UsageQuery, Interval, tuple[bool, ...]], Cell, tuple[Series, ...]] = _Grouped(
            self._series_of
        )

    async def breakdown(self, query: UsageQuery, cell: Cell) -> Breakdown:
        """Return one cell's breakdown."""
        return await self._breakdowns.load((query, _shape(cell)), cell)

    async def series(self, query: UsageQuery, interval: Interval, cell: Cell) -> tuple[Series, ...]:
        """Return one cell's series."""
        return await self._series.load((query, interval, _shape(cell)), cell)

    async def _users(self, ids: list[UUID]) -> list[people.User | None]:
        found = await people.users_by_id(self._conn, self._permitted, ids)
        return [found.get(id_) for id_ in ids]

    async def _groups(self, ids: list[UUID]) -> list[people.Group | None]:
        found = await people.groups_by_id(self._conn, self._permitted, ids)
        return [found.get(id_) for id_ in ids]

    async def _groups_of_users(self, ids: list[UUID]) -> list[list[people.Group]]:
        found = await people.groups_of_users(self._conn, self._permitted, ids)
        return [found[id_] for id_ in ids]

    async def _user_pages(self, question: UsersQuestion, groups: list[UUID | None]) -> list[Page[people.User]]:
        _, users, order, window = question
        return await people.users_pages(self._conn, self._permitted, groups, users, order=order, window=window)

    async def _user_counts(self, question: tuple[bool, UserFilter], groups: list[UUID | None]) -> list[int]:
        return await people.users_counts(self._conn, self._permitted, groups, question[1])

    async def _breakdown(self, question: tuple[UsageQuery, tuple[bool, ...]], cells: list[Cell]) -> list[Breakdown]:
        return await usage.usage_of(self._conn, self._permitted, cells, question[0])

    async def _series_of(
        self, question: tuple[UsageQuery, Interval, tuple[bool, ...]], cells: list[Cell]
    ) -> list[tuple[Series, ...]]:
        query, interval, _ = question
        return await series.series_of(self._conn, self._permitted, cells, query, interval)


def _shape(cell: Cell) -> tuple[bool, ...]:
    parts = (cell.user_id, cell.group_id, cell.product, cell.model, cell.members_of)
    return tuple(part is not None for part in parts)
