"""Ways to read together what resolvers ask for at one moment: by key, or by question and subject."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Generic, TypeVar

from strawberry import dataloader

from creditdesk.graphql.protection.deadline import read_within

Question = TypeVar("Question", bound=Hashable)
Subject = TypeVar("Subject", bound=Hashable)
Answer = TypeVar("Answer")


class DataLoader(dataloader.DataLoader[Subject, Answer]):
    """A loader whose answers outlive whoever asked first.

    Where a field fails, graphql-core cancels its siblings. What these wait for, others may be waiting for too. It ends
    with the operation.
    """

    def __init__(self, load_fn: Callable[[list[Subject]], Awaitable[Sequence[Answer | Exception]]]) -> None:
        super().__init__(load_fn=partial(_load_within, load_fn))

    def load(self, key: Subject) -> Awaitable[Answer]:
        """Return the answer for a key, read together with the others of this moment."""
        answer = super().load(key)
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(_noticed)
        return asyncio.shield(answer)

    def load_many(self, keys: Iterable[Subject]) -> Awaitable[list[Answer]]:
        """Return the answers for keys, in their order. They are shielded as one: that was most of the time of many."""
        return asyncio.shield(asyncio.gather(*map(super().load, keys)))


async def _load_within(
    load_fn: Callable[[list[Subject]], Awaitable[Sequence[Answer | Exception]]], keys: list[Subject]
) -> Sequence[Answer | Exception]:
    read_within(asyncio.current_task())
    return await load_fn(keys)


def _noticed(answer: "asyncio.Future[object]") -> None:
    """Take note of an error that nobody waits for any more: a statement that was cancelled."""
    if not answer.cancelled():
        answer.exception()


class Grouped(Generic[Question, Subject, Answer]):
    """A loader of (question, subject): one call for each question, with all its subjects, all calls at once."""

    def __init__(self, answer: Callable[[Question, list[Subject]], Awaitable[Sequence[Answer]]]) -> None:
        self._loader: DataLoader[tuple[Question, Subject], Answer] = DataLoader(partial(_by_question, answer))

    async def load(self, question: Question, subject: Subject) -> Answer:
        """Return the answer to a question of one subject, read with the same question of others."""
        return await self._loader.load((question, subject))


async def _by_question(
    answer: Callable[[Question, list[Subject]], Awaitable[Sequence[Answer]]], keys: list[tuple[Question, Subject]]
) -> list[Answer | Exception]:
    subjects: dict[Question, list[Subject]] = {}
    for question, subject in keys:
        subjects.setdefault(question, []).append(subject)
    # What is wrong with one question is told of it alone: whether others came along at this moment is up to chance.
    asking = [_answers_or_errors(answer(question, asked), len(asked)) for question, asked in subjects.items()]
    answers = await asyncio.gather(*asking)
    found = {
        (question, subject): answer
        for (question, asked), answered in zip(subjects.items(), answers, strict=True)
        for subject, answer in zip(asked, answered, strict=True)
    }
    return [found[key] for key in keys]


async def _answers_or_errors(answers: Awaitable[Sequence[Answer]], count: int) -> Sequence[Answer | Exception]:
    try:
        return await answers
    except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
        return [error] * count
