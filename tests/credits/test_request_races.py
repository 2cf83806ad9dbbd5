"""Several people deciding, asking and taking back at the very same time, each on a connection of their own."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.directory import NewUser, UserKind, put_users
from creditdesk.credits.request_rules import (
    CreditRequest,
    RequestEndedError,
    RequestPendingError,
    RequestState,
    UnknownRequestError,
)
from support.asking import Asking
from support.ledgers import NOW, Ledger

ROUNDS = 15


@pytest.fixture
def asking(ledger: Ledger) -> Asking:
    """A workspace with a default of 100 credits for each user, and three who decide."""
    for name in ("olga", "otto", "omar"):
        ledger.put_user(name)
    found = Asking(ledger)
    found.limit(None, 100)
    return found


def together(asking: Asking, *acts: Coroutine[Any, Any, Any]) -> list[Any]:
    """Return what each came to, a refusal included; any other error is raised."""

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*acts, return_exceptions=True)

    found = asking.ledger.desk.run(all_of_them())
    allowed = (CreditRequest, RequestEndedError, RequestPendingError, UnknownRequestError)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, allowed):
            raise one
    return list(found)


def one_winner(found: list[Any]) -> CreditRequest:
    """Return what the one who came first did, after checking that all the others were told of it."""
    [won] = [one for one in found if isinstance(one, CreditRequest)]
    others = [one for one in found if one is not won]
    assert {type(one) for one in others} <= {RequestEndedError}
    assert all(one.request == won for one in others)
    return won


def actions(asking: Asking) -> Counter[str]:
    return Counter(action for action, _, _ in asking.trail())


def test_of_many_approvers_at_once_one_wins_and_the_others_are_told(asking: Asking) -> None:
    winners = set()
    for number in range(ROUNDS):
        request = asking.ask()
        found = together(
            asking,
            *(
                asking.approving(asking.person(name, everywhere=True), request, amount=amount, note=name)
                for amount, name in enumerate(("olga", "otto", "omar") * 2, start=1)
            ),
        )
        won = one_winner(found)
        assert won.granted_amount is not None
        assert asking.stored(request.id) == won
        assert asking.amount_now() == request.limit_then / MICRO + won.granted_amount / MICRO
        assert asking.ledger.rows("credit_limit") == 2
        assert actions(asking) == {
            "LIMIT_SET": number + 2, "REQUEST_MADE": number + 1, "REQUEST_APPROVED": number + 1,
        }  # fmt: skip
        winners.add(won.decision_note)
    assert winners <= {"olga", "otto", "omar"}


@pytest.mark.parametrize("order", [1, -1])
def test_a_request_that_is_approved_denied_and_cancelled_at_once_ends_in_one_way(asking: Asking, order: int) -> None:
    ways: Counter[RequestState] = Counter()
    for _ in range(ROUNDS):
        request, before = asking.ask(), asking.amount_now() or 0
        acts = [
            asking.approving(asking.person("olga", everywhere=True), request),
            asking.cancelling(asking.person("ada"), request),
            asking.denying(asking.person("otto", everywhere=True), request),
        ]
        won = one_winner(together(asking, *acts[::order]))
        ways[won.state] += 1
        assert asking.stored(request.id) == won
        # An override is there where it was approved, and only there.
        assert asking.amount_now() == before + (50 if won.state is RequestState.APPROVED else 0)
    ended = actions(asking)
    assert {state: ended[f"REQUEST_{state.name}"] for state in ways} == ways
    assert ended["LIMIT_SET"] == 1 + ways[RequestState.APPROVED]


def test_of_several_requests_for_one_limit_at_once_one_is_made_and_the_others_are_told_of_it(asking: Asking) -> None:
    for _ in range(ROUNDS):
        found = together(asking, *(asking.asking(amount=amount) for amount in range(1, 7)))
        [made] = [one for one in found if isinstance(one, CreditRequest)]
        refusals = [one for one in found if one is not made]
        assert [type(one) for one in refusals] == [RequestPendingError] * 5
        assert all(one.request == made for one in refusals)
        asking.cancel(asking.person("ada"), made)
    assert asking.ledger.rows("credit_request") == ROUNDS


def test_however_many_ask_at_once_no_more_is_granted_automatically_than_the_workspace_says(asking: Asking) -> None:
    asking.set(auto_approval_per_period=10 * MICRO)
    found = together(asking, *(asking.asking(name, 4) for name in ("ada", "bob") * 5))
    made = [one for one in found if isinstance(one, CreditRequest)]
    for name in ("ada", "bob"):
        own = [one for one in made if one.user_id == asking.ledger.users[name]]
        assert Counter(one.state for one in own) == {RequestState.APPROVED: 2, RequestState.PENDING: 1}
        assert asking.amount_now(name) == 108
    assert [type(one) for one in found if one not in made] == [RequestPendingError] * 4


def test_an_approval_and_a_direct_raise_at_once_end_the_request_once_and_lower_nothing(asking: Asking) -> None:
    for number in range(ROUNDS):
        request = asking.ask(amount=10)
        target = int(request.limit_then / MICRO) + 20
        found = together(
            asking,
            asking.approving(asking.person("olga", everywhere=True), request),
            asking.limiting("ada", target, covering=True),
        )
        assert asking.stored(request.id).state is RequestState.APPROVED
        assert actions(asking)["REQUEST_APPROVED"] == number + 1
        # Whoever came second decided about what the first one left: the raise is the last word, or it covered it all.
        assert asking.amount_now() == target
        assert isinstance(found[0], CreditRequest | RequestEndedError)


async def leaving(ledger: Ledger, name: str) -> None:
    """Take a user out of every group."""
    user = NewUser(ledger.users[name], name.title(), f"{name}@example.com", f"x-{name}", UserKind.PERSON, None, ())
    async with ledger.desk.database.transaction(ledger.scope) as conn:
        await put_users(conn, workspace_id=ledger.workspace_id, users=[user], now=NOW)


def test_a_manager_who_loses_the_group_at_once_with_the_approval_decides_before_or_not_at_all(asking: Asking) -> None:
    asking.set(manager_ceiling=10**12)
    ledger = asking.ledger
    for _ in range(ROUNDS):
        ledger.put_user("ada", home="red", groups=["red"])
        request, before = asking.ask(amount=1), asking.amount_now() or 0
        manager = asking.person("otto", manages=["red"])
        [decided, _] = together(asking, asking.approving(manager, request), leaving(ledger, "ada"))
        if isinstance(decided, UnknownRequestError):
            assert asking.stored(request.id) == request
            asking.cancel(asking.person("ada"), request)
        assert asking.amount_now() == before + isinstance(decided, CreditRequest)
