"""Gathering: who asks at the same time shares a round, and nobody suffers from anybody else's call."""

import asyncio
from collections.abc import Sequence

import pytest

from creditdesk.credits.gathering import LONGEST_PAUSE_SECONDS, Gatherer


class Rounds:
    """Answers with ten times the number, one round for each permit; a negative number is an error of its own."""

    def __init__(self, *, permits: int = 1000) -> None:
        self.asked: list[list[int]] = []
        self.permits = asyncio.Semaphore(permits)

    async def __call__(self, numbers: list[int]) -> Sequence[int | Exception]:
        self.asked.append(numbers)
        await self.permits.acquire()
        if 0 in numbers:
            raise ConnectionError
        return [number * 10 if number > 0 else ValueError(str(number)) for number in numbers]


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_call_by_itself_starts_at_once() -> None:
    async def asking() -> None:
        rounds = Rounds()
        gatherer = Gatherer(rounds)
        assert gatherer.is_idle
        assert await gatherer.ask(1) == 10
        assert await gatherer.ask(2) == 20
        await settled()
        assert rounds.asked == [[1], [2]]
        assert gatherer.is_idle

    asyncio.run(asking())


def test_calls_that_come_during_a_round_make_up_the_next_in_the_order_they_came() -> None:
    async def asking() -> None:
        rounds = Rounds(permits=0)
        gatherer = Gatherer(rounds)
        calls = [asyncio.create_task(gatherer.ask(1))]
        await settled()
        calls += [asyncio.create_task(gatherer.ask(number)) for number in range(2, 6)]
        await settled()
        assert rounds.asked == [[1]]
        assert not gatherer.is_idle
        rounds.permits.release()
        await settled()
        assert rounds.asked == [[1], [2, 3, 4, 5]]
        rounds.permits.release()
        assert await asyncio.gather(*calls) == [10, 20, 30, 40, 50]

    asyncio.run(asking())


def test_a_round_is_never_larger_than_it_may_be() -> None:
    async def asking() -> None:
        rounds = Rounds()
        gatherer = Gatherer(rounds, largest=3)
        answers = await asyncio.gather(*(gatherer.ask(number) for number in range(1, 9)))
        assert answers == [10 * number for number in range(1, 9)]
        assert rounds.asked == [[1, 2, 3], [4, 5, 6], [7, 8]]

    asyncio.run(asking())


def test_each_call_has_its_own_error() -> None:
    async def asking() -> None:
        gatherer = Gatherer(Rounds())
        answers = await asyncio.gather(*(gatherer.ask(n) for n in (1, -2, 3, -4)), return_exceptions=True)
        assert (answers[0], answers[2]) == (10, 30)
        assert (str(answers[1]), str(answers[3])) == ("-2", "-4")

    asyncio.run(asking())


def test_an_error_of_the_round_reaches_everybody_in_it_and_the_next_round_works() -> None:
    async def asking() -> None:
        gatherer = Gatherer(Rounds(), largest=3)
        answers = await asyncio.gather(*(gatherer.ask(n) for n in (1, 0, 3, 4, 5)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ConnectionError] * 3 + [int] * 2
        with pytest.raises(ConnectionError):
            await gatherer.ask(0)
        assert await gatherer.ask(7) == 70

    asyncio.run(asking())


def test_who_stops_waiting_during_a_round_does_not_stop_it() -> None:
    async def asking() -> None:
        rounds = Rounds(permits=0)
        gatherer = Gatherer(rounds)
        calls = [asyncio.create_task(gatherer.ask(number)) for number in (1, 2, 3)]
        await settled()
        calls[1].cancel()
        await settled()
        rounds.permits.release()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert (answers[0], answers[2], type(answers[1])) == (10, 30, asyncio.CancelledError)
        assert rounds.asked == [[1, 2, 3]]
        rounds.permits.release()
        assert await gatherer.ask(4) == 40

    asyncio.run(asking())


def test_who_stops_waiting_before_a_round_is_not_asked_for() -> None:
    async def asking() -> None:
        rounds = Rounds(permits=0)
        gatherer = Gatherer(rounds)
        calls = [asyncio.create_task(gatherer.ask(1))]
        await settled()
        calls += [asyncio.create_task(gatherer.ask(number)) for number in (2, 3)]
        await settled()
        calls[1].cancel()
        for _ in range(2):
            rounds.permits.release()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert (answers[0], answers[2], type(answers[1])) == (10, 30, asyncio.CancelledError)
        assert rounds.asked == [[1], [3]]

    asyncio.run(asking())


def test_a_round_that_everybody_left_is_not_run_and_later_calls_are_answered() -> None:
    async def asking() -> None:
        rounds = Rounds(permits=0)
        gatherer = Gatherer(rounds)
        first = asyncio.create_task(gatherer.ask(1))
        await settled()
        others = [asyncio.create_task(gatherer.ask(number)) for number in (2, 3)]
        await settled()
        for call in others:
            call.cancel()
        for _ in range(2):
            rounds.permits.release()
        assert await first == 10
        await settled()
        assert gatherer.is_idle
        assert await gatherer.ask(4) == 40
        assert rounds.asked == [[1], [4]]

    asyncio.run(asking())


def test_a_timeout_of_one_caller_is_nobody_elses() -> None:
    async def asking() -> None:
        rounds = Rounds(permits=0)
        gatherer = Gatherer(rounds)
        patient = asyncio.create_task(gatherer.ask(1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gatherer.ask(2), 0.01)
        rounds.permits.release()
        assert await patient == 10

    asyncio.run(asking())


def test_a_round_waits_for_those_who_were_answered_in_the_one_before() -> None:
    async def asking() -> None:
        asked: list[list[int]] = []

        async def answer(numbers: list[int]) -> list[int | Exception]:
            asked.append(numbers)
            await asyncio.sleep(LONGEST_PAUSE_SECONDS)  # a round that is worth waiting for
            return [number * 10 for number in numbers]

        gatherer = Gatherer(answer)

        async def again_and_again(number: int) -> None:
            for _ in range(5):
                assert await gatherer.ask(number) == number * 10
                for _ in range(number):
                    await asyncio.sleep(0)  # one comes back later than the other

        await asyncio.gather(*(again_and_again(number) for number in range(1, 9)))
        assert sorted(number for numbers in asked for number in numbers) == sorted([*range(1, 9)] * 5)
        # Each for itself they would make some 20 rounds: one who is back early is not asked for alone.
        assert len(asked) <= 16

    asyncio.run(asking())


def test_a_round_does_not_wait_for_long_for_those_who_do_not_come_back() -> None:
    async def asking() -> None:
        rounds = Rounds()
        gatherer = Gatherer(rounds)
        await asyncio.gather(*(gatherer.ask(number) for number in range(1, 9)))
        assert await asyncio.wait_for(gatherer.ask(9), 5) == 90
        await asyncio.sleep(10 * LONGEST_PAUSE_SECONDS)
        assert gatherer.is_idle
        assert rounds.asked == [list(range(1, 9)), [9]]

    asyncio.run(asking())


def test_a_round_that_took_no_time_still_leaves_the_next_one_time_to_gather() -> None:
    async def asking() -> None:
        asked: list[list[int]] = []

        async def answer(numbers: list[int]) -> list[int | Exception]:
            asked.append(numbers)
            if len(asked) <= 2:
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)
            return [number * 10 for number in numbers]

        gatherer = Gatherer(answer)

        async def again_and_again(number: int) -> None:
            for _ in range(12):
                assert await gatherer.ask(number) == number * 10
                await asyncio.sleep(number / 4000)  # back within two milliseconds, one after the other

        await asyncio.gather(*(again_and_again(number) for number in range(1, 9)))
        assert sorted(number for numbers in asked for number in numbers) == sorted([*range(1, 9)] * 12)
        # A round for all of them each time, and a few more; if a short one left the next no time, it would be 20.
        assert len(asked) <= 16

    asyncio.run(asking())
