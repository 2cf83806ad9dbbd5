"""Holds under concurrency: several desks on one database, each with its own connections, as several processes have."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

import psycopg
import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.hold_rules import BudgetExceededError, Hold, HoldRequest, HoldState, Settlement
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.periods import Cadence
from creditdesk.credits.usage_events import record_usage
from creditdesk.db.connections import Database
from creditdesk.db.errors import StatementTimeout
from support.holding import Holding
from support.ledgers import Desk, Ledger

PAST_THE_LINE = """
SELECT l.scope, l.kind, l.cadence, l.amount, b.used, b.held
FROM credit_limit AS l
JOIN balance_kind AS k
  ON k.workspace_id = l.workspace_id AND k.cadence = l.cadence AND k.product = l.product AND k.model = l.model
  AND k.scope = CASE l.kind WHEN 'SHARED' THEN l.scope ELSE 'USER' END
JOIN balance AS b ON b.workspace_id = l.workspace_id AND b.kind_id = k.id AND b.scope_id = l.scope_id
WHERE l.workspace_id = %s AND l.enforcement = 'HARD' AND NOT l.unlimited AND b.used + held_now(b.held, %s) > l.amount
"""
GROUPS = ("red", "blue")
T = TypeVar("T")


@pytest.fixture
def holding(ledger: Ledger) -> Holding:
    """A ledger with ten users in two groups, the first of whom are `ada` and `bob`."""
    for number, name in enumerate(("ada", "bob", *(f"user-{number}" for number in range(8)))):
        ledger.put_user(name, home=GROUPS[number % 2], groups=[GROUPS[number % 2]])
    return Holding(ledger)


@asynccontextmanager
async def processes(holding: Holding, number: int, **options: Any) -> AsyncIterator[list[HoldDesk]]:
    """Open desks that share nothing but the database and the clock."""
    options = {"max_connections": 4} | options
    databases = [Database(holding.ledger.desk.fresh.server_dsn, **options) for _ in range(number)]
    for database in databases:
        await database.open()
    try:
        yield [holding.another_desk(database) for database in databases]
    finally:
        for database in databases:
            await database.close()


@contextmanager
def superuser(desk: Desk) -> Iterator[psycopg.Connection]:
    with psycopg.connect(desk.fresh.superuser_dsn, autocommit=True) as connection:
        yield connection


async def placed(desk: HoldDesk, holding: Holding, request: HoldRequest) -> Hold | BudgetExceededError:
    """Return the hold or the refusal; any other error fails the test."""
    try:
        return await desk.place(holding.ledger.workspace_id, request)
    except BudgetExceededError as refusal:
        return refusal


async def until_blocked(connection: psycopg.Connection, sessions: int) -> None:
    """Return when so many sessions wait for locks."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while connection.execute(query).fetchone() != (sessions,):  # noqa: ASYNC110 - nothing but asking again tells
        await asyncio.sleep(0.01)


def dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - that a test can be run again alike


def shuffled(random: Random, calls: Sequence[Coroutine[Any, Any, T]]) -> list[Coroutine[Any, Any, T]]:
    return random.sample(calls, len(calls))


def test_many_processes_grant_exactly_what_one_hot_balance_has_room_for(holding: Holding) -> None:
    limit = holding.limit(None, 150, shared=True)
    users = [UserBy(id=id_) for id_ in holding.ledger.users.values()]

    async def racing() -> list[Hold | BudgetExceededError]:
        async with processes(holding, 4) as desks:
            # Each knows the rules and the balances already, so that nothing but the balance's lock lies between them.
            warm = [await placed(desk, holding, holding.request(f"w{nth}")) for nth, desk in enumerate(desks)]
            requests = [holding.request(str(number), user=users[number % len(users)]) for number in range(400)]
            calls = [placed(desks[number % 4], holding, request) for number, request in enumerate(requests)]
            return warm + await asyncio.gather(*shuffled(dice(1), calls))

    answers: list[Hold | BudgetExceededError] = holding.ledger.desk.run(racing())
    assert sum(isinstance(answer, Hold) for answer in answers) == 150
    for answer in answers:
        if isinstance(answer, BudgetExceededError):
            binding = answer.budget
            assert (binding.limit_id, binding.amount, binding.remaining) == (limit.id, 150 * MICRO, 0)
    assert holding.balances()["workspace", "MONTH"] == ("0", "150")
    assert holding.differences() == ()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pools_and_users_are_each_kept_to_their_line_and_every_refusal_is_right(holding: Holding, seed: int) -> None:
    random = dice(seed)
    # Kinds are opened in an order that is not the order of locks.
    holding.limit(None, 150, shared=True, cadence=Cadence.WEEK)
    holding.limit("red", 60, shared=True)
    holding.limit("blue", 100, shared=True, product="chat")
    holding.limit(None, 20)
    holding.limit("ada", 7, cadence=Cadence.DAY)
    names = list(holding.ledger.users)

    async def racing() -> list[tuple[str, HoldRequest, Hold | BudgetExceededError]]:
        async with processes(holding, 3) as desks:
            asked = []
            for number in range(300):
                name = random.choice(names)
                user = UserBy(id=holding.ledger.users[name])
                request = holding.request(str(number), random.randint(1, 5), user=user)
                asked.append((name, request, random.choice(desks)))
            answers = await asyncio.gather(*(placed(desk, holding, request) for _, request, desk in asked))
            return [(name, request, answer) for (name, request, _), answer in zip(asked, answers, strict=True)]

    answers = holding.ledger.desk.run(racing())
    for name, request, answer in answers:
        if isinstance(answer, BudgetExceededError):
            assert answer.budget.remaining < (request.amount or 0), answer.budget
            assert answer.budget.scope is not LimitScope.USER or answer.budget.scope_id == holding.ledger.users[name]
    taken = {key: int(held) for key, (_, held) in holding.balances().items()}
    granted = sum(answer.amount for _, _, answer in answers if isinstance(answer, Hold))
    assert granted == taken["workspace", "WEEK"] * MICRO <= 150 * MICRO
    assert taken["red", "MONTH"] <= 60
    assert taken["blue", "MONTH chat"] <= 100
    assert taken["ada", "DAY"] <= 7
    assert max(taken[name, "MONTH"] for name in names) <= 20
    # What is left of the workspace's is too little for somebody, or all of it is taken.
    assert {answer.budget.scope for _, _, answer in answers if isinstance(answer, BudgetExceededError)}
    assert holding.differences() == ()


def test_a_limit_binds_a_server_whose_clock_is_behind_the_one_that_set_it(holding: Holding) -> None:
    holding.limit(None, 10, shared=True)
    holding.clock.move(seconds=5)
    holding.limit(None, 4, shared=True)
    holding.clock.move(seconds=-5)
    assert holding.refused("too-much", 5).remaining == 4 * MICRO
    holding.place("fits", 4)


def test_the_same_hold_placed_in_every_process_at_once_is_one_hold(holding: Holding) -> None:
    holding.limit("ada", 60)

    async def racing() -> list[Hold | BudgetExceededError]:
        async with processes(holding, 4) as desks:
            requests = [holding.request(str(number), 2) for number in range(40)]
            calls = [placed(desk, holding, request) for desk in desks for request in requests]
            return await asyncio.gather(*shuffled(dice(2), calls))

    answers = holding.ledger.desk.run(racing())
    holds = [answer for answer in answers if isinstance(answer, Hold)]
    assert (len(holds), len(set(holds))) == (120, 30)
    assert holding.ledger.rows("hold") == 40
    assert holding.balances() == {("ada", "MONTH"): ("0", "60")}


def test_one_hold_ended_in_every_process_at_once_ends_once(holding: Holding) -> None:
    workspace_id = holding.ledger.workspace_id
    holds = [holding.place(str(number), 3) for number in range(30)]

    async def ended(call: Coroutine[Any, Any, Hold]) -> HoldState | ErrorCode:
        try:
            return (await call).state
        except CreditError as error:
            return error.code

    async def racing() -> list[list[HoldState | ErrorCode]]:
        async with processes(holding, 4) as desks:
            calls = []
            for hold in holds:
                for nth, desk in enumerate(desks):
                    settlement = Settlement(hold.id, (1 + nth % 2) * MICRO)
                    calls.append(ended(desk.settle(workspace_id, settlement)))
                    calls.append(ended(desk.release(workspace_id, hold.id)))
            answers = await asyncio.gather(*calls)
            return [answers[first : first + 8] for first in range(0, len(answers), 8)]

    for answers in holding.ledger.desk.run(racing()):
        kinds = {state for state in answers if isinstance(state, HoldState)}
        assert len(kinds) == 1, answers
        # Four came to release, two of each amount to settle: who was not first is told so, or has the same answer.
        assert answers.count(ErrorCode.HOLD_ENDED) == (4 if kinds == {HoldState.RELEASED} else 6)
    states = holding.ledger.desk.sql(
        "SELECT state, coalesce(sum(settled_amount), 0)::bigint FROM hold WHERE workspace_id = %s GROUP BY 1",
        workspace_id,
    )
    spent = sum(amount for _, amount in states)
    assert holding.ledger.charged() == ({"red": (spent, holding.ledger.rows())} if spent else {})
    assert {held for _, held in holding.balances().values()} == {"0"}
    assert holding.differences() == ()


class Gateway:
    """A client that places holds and ends them, comes again, and dies now and then between placing and ending."""

    def __init__(self, holding: Holding, desks: Sequence[HoldDesk], random: Random, name: str) -> None:
        self.holding, self.desks, self.random, self.name = holding, desks, random, name
        self.workspace_id = holding.ledger.workspace_id
        self.counts = {"granted": 0, "refused": 0, "settled": 0, "released": 0, "left": 0}

    async def works(self, rounds: int, *, above: int = 0) -> None:
        """Settle up to `above` whole credits more than was held."""
        for number in range(rounds):
            user = UserBy(id=self.random.choice(list(self.holding.ledger.users.values())))
            dies = self.random.random() < 0.15
            request = self.holding.request(
                f"{self.name}-{number}",
                self.random.randint(1, 6),
                user=user,
                product=self.random.choice(["chat", "agent"]),
                seconds=10 if dies else 24 * 3600,
            )
            await self._call(request, dies=dies, above=above)

    async def _call(self, request: HoldRequest, *, dies: bool, above: int) -> None:
        hold = await placed(self._desk(), self.holding, request)
        if self.random.random() < 0.2:
            again = await placed(self._desk(), self.holding, request)
            # Time goes by: it may have expired between the two.
            if isinstance(hold, Hold) and isinstance(again, Hold):
                assert again._replace(state=hold.state) == hold
            assert type(again) is type(hold)
        if not isinstance(hold, Hold):
            self.counts["refused"] += 1
            return
        self.counts["granted"] += 1
        await asyncio.sleep(self.random.random() * 0.005)
        if dies:
            self.counts["left"] += 1
        elif self.random.random() < 0.25:
            assert (await self._desk().release(self.workspace_id, hold.id)).state is HoldState.RELEASED
            self.counts["released"] += 1
        else:
            amount = self.random.randint(0, hold.amount + above * MICRO)
            settlement = Settlement(hold.id, amount)
            settled = await self._desk().settle(self.workspace_id, settlement)
            assert (settled.settled_amount, settled.overage) == (amount, max(0, amount - hold.amount))
            assert await self._desk().settle(self.workspace_id, settlement) == settled
            self.counts["settled"] += 1

    def _desk(self) -> HoldDesk:
        return self.random.choice(self.desks)


async def recording(holding: Holding, random: Random, name: str, batches: int, largest: int) -> None:
    """Record batches of uses by everybody, in any order."""
    ledger = holding.ledger
    for batch in range(batches):
        events = [
            ledger.event(
                f"{name}-{batch}-{number}",
                at=holding.clock.now - timedelta(hours=random.randint(0, 30)),
                user=UserBy(id=random.choice(list(ledger.users.values()))),
                product=random.choice(["chat", "agent"]),
                credits=random.randint(0, largest),
            )
            for number in range(30)
        ]
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            now = holding.clock.now
            assert (await record_usage(conn, workspace_id=ledger.workspace_id, events=events, now=now)).accepted == 30


async def while_working(work: Sequence[Coroutine[Any, Any, None]], *aside: Coroutine[Any, Any, None]) -> None:
    """Work, with something going on aside until the work is done."""
    tasks = [asyncio.create_task(one) for one in aside]
    try:
        await asyncio.gather(*work)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end for end in ends if not isinstance(end, asyncio.CancelledError)] == []


@pytest.mark.parametrize("seed", [1, 2])
def test_at_every_sampled_commit_no_hard_limit_is_passed(holding: Holding, seed: int) -> None:
    random = dice(seed)
    holding.limit(None, 90, shared=True, cadence=Cadence.WEEK)
    holding.limit("red", 60, shared=True)
    holding.limit("blue", 40, shared=True, product="chat")
    for name in holding.ledger.users:
        holding.limit(name, 15, cadence=random.choice([Cadence.DAY, Cadence.MONTH]))
    samples: list[int] = []

    async def sampling(connection: psycopg.Connection) -> None:
        while True:
            # Without letting go of the event loop: the clock does not move between reading it and looking.
            seconds = int(holding.clock.now.timestamp())
            past = connection.execute(PAST_THE_LINE, (holding.ledger.workspace_id, seconds)).fetchall()
            assert past == []
            samples.append(seconds)
            await asyncio.sleep(0.001)

    async def time_goes_by_and_limits_are_raised() -> None:
        for amount in range(100, 10_000, 10):
            await asyncio.sleep(0.05)
            holding.clock.move(seconds=random.choice([0.4, 7, 11]))
            await holding.limiting(random.choice([None, "red"]), amount, shared=True, cadence=Cadence.WEEK)

    async def racing(connection: psycopg.Connection) -> dict[str, int]:
        async with processes(holding, 3) as desks:
            gateways = [Gateway(holding, desks, dice(seed * 100 + number), f"g{number}") for number in range(24)]
            # Uses that cost nothing take the same locks, and no room.
            work = [gateway.works(20) for gateway in gateways]
            work += [recording(holding, dice(seed), f"r{number}", 12, 0) for number in range(2)]
            await while_working(work, sampling(connection), time_goes_by_and_limits_are_raised())
            return {name: sum(gateway.counts[name] for gateway in gateways) for name in gateways[0].counts}

    with superuser(holding.ledger.desk) as connection:
        counts = holding.ledger.desk.run(racing(connection))
    assert counts["granted"] + counts["refused"] == 24 * 20
    assert min(counts.values()) > 0, counts
    assert len(samples) > 50
    assert holding.differences() == ()


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_at_once_deadlocks_nowhere_and_adds_up(holding: Holding, seed: int) -> None:
    random = dice(seed)
    holding.limit(None, 300, shared=True, cadence=Cadence.DAY)
    holding.limit("red", 200, shared=True, product="chat")

    async def rules_change() -> None:
        shapes: list[dict[str, Any]] = [
            {},
            {"product": "chat"},
            {"product": "agent"},
            {"product": "chat", "model": "large"},
        ]
        while True:
            options = random.choice(shapes) | {"cadence": random.choice(list(Cadence)), "soft": random.random() < 0.2}
            on = random.choice([None, "red", "blue", *holding.ledger.users])
            shared = on not in holding.ledger.users and random.random() < 0.7
            amount = random.choice([None, random.randint(0, 400)])
            await holding.limiting(on, amount, shared=shared, **options)
            # The first in a period makes balances, the others find them.
            holding.clock.move(hours=random.choice([0, 0, 1, 9]))
            await asyncio.sleep(0.03)

    async def racing() -> None:
        async with processes(holding, 3) as desks:
            gateways = [Gateway(holding, desks, dice(seed * 100 + number), f"g{number}") for number in range(24)]
            work = [recording(holding, dice(seed + number), f"r{number}", 10, MICRO) for number in range(4)]
            work += [_tolerant(gateway) for gateway in gateways]
            await while_working(work, rules_change())

    holding.ledger.desk.run(racing())
    [(settled, events)] = holding.ledger.desk.sql(
        "SELECT count(*) FILTER (WHERE state = 'SETTLED'), (SELECT count(*) FROM usage_event AS e"
        " WHERE e.workspace_id = h.workspace_id) FROM hold AS h WHERE workspace_id = %s GROUP BY h.workspace_id",
        holding.ledger.workspace_id,
    )
    assert (settled > 0, events) == (True, settled + 4 * 10 * 30)
    assert holding.differences() == ()


async def _tolerant(gateway: Gateway) -> None:
    """Work as a gateway does where holds may expire under its hands."""
    random, desk_of = gateway.random, gateway.desks
    for number in range(15):
        user = UserBy(id=random.choice(list(gateway.holding.ledger.users.values())))
        amount = random.randint(1, 6)
        request = gateway.holding.request(
            f"{gateway.name}-{number}", amount, user=user, seconds=random.choice([10, 300, 4000])
        )
        hold = await placed(random.choice(desk_of), gateway.holding, request)
        if not isinstance(hold, Hold) or random.random() < 0.1:
            continue
        try:
            if random.random() < 0.3:
                await random.choice(desk_of).release(gateway.workspace_id, hold.id)
            else:
                settlement = Settlement(hold.id, random.randint(0, 2 * hold.amount))
                await random.choice(desk_of).settle(gateway.workspace_id, settlement)
        except CreditError as error:
            assert error.code is ErrorCode.HOLD_ENDED  # noqa: PT017 - it expired, which is no failure


@contextmanager
def balances_taken(holding: Holding) -> Iterator[psycopg.Connection]:
    """Keep every balance locked, as a writer that does not come to an end does."""
    with superuser(holding.ledger.desk) as connection, connection.transaction():
        connection.execute("SELECT FROM balance WHERE workspace_id = %s FOR UPDATE", (holding.ledger.workspace_id,))
        yield connection


def test_who_stops_waiting_disturbs_nobody_and_may_ask_again(holding: Holding) -> None:
    holding.place("first", 1)
    workspace_id = holding.ledger.workspace_id

    async def racing() -> list[Hold]:
        async with processes(holding, 1) as [desk]:
            with balances_taken(holding), superuser(holding.ledger.desk) as watching:
                requests = [holding.request(str(number)) for number in range(6)]
                calls = [asyncio.create_task(desk.place(workspace_id, requests[0]))]
                await until_blocked(watching, 1)
                calls += [asyncio.create_task(desk.place(workspace_id, request)) for request in requests[1:]]
                await asyncio.sleep(0)
                # The first is being placed, the others wait for the next round.
                for call in (calls[0], calls[1], calls[4]):
                    call.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(answer) for answer in answers] == [
                asyncio.CancelledError, asyncio.CancelledError, Hold, Hold, asyncio.CancelledError, Hold,
            ]  # fmt: skip
            # Whoever was in the round that had begun has their hold; the others had not asked yet.
            assert holding.ledger.rows("hold") == 1 + 4
            return await asyncio.gather(*(desk.place(workspace_id, request) for request in requests))

    holds = holding.ledger.desk.run(racing())
    assert len({hold.id for hold in holds}) == 6
    assert holding.balances() == {("ada", "MONTH"): ("0", "7")}
    assert holding.differences() == ()


def test_an_error_of_the_database_reaches_everybody_of_the_round_and_the_next_round_works(holding: Holding) -> None:
    holding.limit("ada", 4)
    held = [holding.place(f"held-{number}", 1) for number in range(3)]
    workspace_id = holding.ledger.workspace_id

    async def racing() -> None:
        async with processes(holding, 1, statement_timeout_seconds=1) as [desk]:

            async def asking() -> list[Hold | BaseException]:
                calls = [desk.place(workspace_id, holding.request(str(number))) for number in range(5)]
                calls += [desk.settle(workspace_id, Settlement(hold.id, MICRO)) for hold in held]
                return await asyncio.gather(*calls, return_exceptions=True)

            with balances_taken(holding):
                answers = await asking()
            assert [type(answer) for answer in answers] == [StatementTimeout] * 8
            assert holding.ledger.rows("hold") == 3
            answers = await asking()
            assert [type(answer) for answer in answers] == [Hold] + [BudgetExceededError] * 4 + [Hold] * 3

    holding.ledger.desk.run(racing())
    assert holding.balances() == {("ada", "MONTH"): ("3", "1")}
    assert holding.differences() == ()


def test_a_connection_that_is_lost_in_mid_round_loses_no_hold_and_places_none_twice(holding: Holding) -> None:
    holding.place("first", 1)
    workspace_id = holding.ledger.workspace_id
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    async def racing() -> None:
        async with processes(holding, 1) as [desk]:
            requests = [holding.request(str(number)) for number in range(5)]
            with balances_taken(holding), superuser(holding.ledger.desk) as watching:
                calls = [asyncio.create_task(desk.place(workspace_id, requests[0]))]
                await until_blocked(watching, 1)
                calls += [asyncio.create_task(desk.place(workspace_id, request)) for request in requests[1:]]
                watching.execute(kill)
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(answer) for answer in answers] == [Hold] * 5  # sent again over another connection
            again = await asyncio.gather(*(desk.place(workspace_id, request) for request in requests))
            assert all(one == other for one, other in zip(answers, again, strict=True) if isinstance(one, Hold))

    holding.ledger.desk.run(racing())
    assert holding.balances() == {("ada", "MONTH"): ("0", "6")}
    assert holding.differences() == ()
