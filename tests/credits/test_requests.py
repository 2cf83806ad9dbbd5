"""Asking for more credits: who may ask, how long a request waits, who decides, and what comes of it."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from creditdesk.credits import requests
from creditdesk.credits.amounts import MICRO
from creditdesk.credits.controls import changing_controls
from creditdesk.credits.errors import CreditError, ErrorCode, InvalidInputError
from creditdesk.credits.limit_rules import InvalidLimitError
from creditdesk.credits.limits import Enforcement, Limited, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor, Authority
from creditdesk.credits.request_rules import (
    AboveCeilingError,
    Approval,
    Ask,
    CoolingDownError,
    CreditRequest,
    Duration,
    DurationKind,
    NothingToRaiseError,
    NoUserError,
    OwnRequestError,
    RequestEndedError,
    RequestPendingError,
    RequestState,
    UnknownRequestError,
)
from support.asking import MONTH, OWNER, Asking
from support.ledgers import NOW, Desk, Ledger, new_ledger

TICK = timedelta(microseconds=1)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
THIS_PERIOD, PERMANENT = Duration(), Duration(DurationKind.PERMANENT)
CHAT = Shape(Cadence.MONTH, "chat")


def until(day: date) -> Duration:
    return Duration(DurationKind.UNTIL, day)


@pytest.fixture
def asking(ledger: Ledger) -> Asking:
    """A workspace with a default of 100 credits for each user."""
    found = Asking(ledger)
    found.limit(None, 100, now=NOW - timedelta(days=30))
    return found


# Asking.


def test_a_request_says_what_is_asked_and_how_things_are(asking: Asking) -> None:
    asking.ledger.record(asking.ledger.event())
    request = asking.ask(amount=50, reason="  A launch,\r\nsoon. ")
    assert request == CreditRequest(
        id=request.id,
        user_id=asking.ledger.users["ada"],
        shape=MONTH,
        amount=50 * MICRO,
        reason="A launch,\nsoon.",
        duration=DurationKind.THIS_PERIOD,
        until=None,
        state=RequestState.PENDING,
        limit_then=100 * MICRO,
        used_then=2_500_000,
        created_at=NOW,
        expires_at=JULY,
    )
    assert asking.stored(request.id) == request
    assert asking.trail()[-1] == ("REQUEST_MADE", "ada", "PENDING")
    assert asking.amount_now() == 100


@pytest.mark.parametrize(("on", "applies"), [("ada", 70), ("red", 80), (None, 100)])
def test_a_request_is_on_top_of_the_limit_that_applies(asking: Asking, on: str | None, applies: int) -> None:
    asking.limit(on, applies)
    assert asking.ask().limit_then == applies * MICRO


def test_each_limit_is_raised_by_itself(asking: Asking) -> None:
    asking.limit("red", 10, shape=CHAT)
    asking.limit("red", 3, shape=Shape(Cadence.WEEK))
    chat, week = asking.ask(shape=CHAT), asking.ask(shape=Shape(Cadence.WEEK))
    assert (chat.limit_then, week.limit_then, asking.ask().limit_then) == (10 * MICRO, 3 * MICRO, 100 * MICRO)
    assert week.expires_at == datetime(2026, 6, 22, tzinfo=UTC)
    asking.approve(asking.owner, chat)
    assert (asking.amount_now(shape=CHAT), asking.amount_now()) == (60, 100)


@pytest.mark.parametrize("shape", [Shape(Cadence.WEEK), CHAT, Shape(Cadence.MONTH, "chat", "large")])
def test_where_no_limit_is_set_there_is_nothing_to_raise(asking: Asking, shape: Shape) -> None:
    with asking.unchanged(), pytest.raises(NothingToRaiseError):
        asking.ask(shape=shape)


def test_where_the_limit_is_unlimited_there_is_nothing_to_raise(asking: Asking) -> None:
    asking.limit("red", None)
    with asking.unchanged(), pytest.raises(NothingToRaiseError):
        asking.ask()


def test_only_a_user_of_the_workspace_asks(asking: Asking) -> None:
    request = asking.ask()

    async def asked() -> None:
        async with asking.ledger.desk.database.transaction(asking.ledger.scope) as conn:
            await requests.request_credits(conn, asking.owner, Ask(MICRO, "Why not?", MONTH), now=NOW)

    with asking.unchanged():
        with pytest.raises(NoUserError) as refused:
            asking.ledger.desk.run(asked())
        assert refused.value.code is ErrorCode.UNKNOWN_USER
        with pytest.raises(NoUserError):
            asking.cancel(asking.owner, request)


BAD_ASKS: dict[str, dict[str, Any]] = {
    "nothing": {"micro": 0},
    "less than nothing": {"micro": -1},
    "too much": {"micro": 1_000_000_000 * MICRO + 1},
    "no reason": {"reason": ""},
    "blanks for a reason": {"reason": " \n\t "},
    "a long reason": {"reason": "x" * 1001},
    "a NUL": {"reason": "a\x00b"},
    "a tab": {"reason": "a\tb"},
    "an escape": {"reason": "a\x1bb"},
    "half a pair": {"reason": "a\ud800b"},
    "a model of no product": {"shape": Shape(Cadence.MONTH, "", "large")},
    "a NUL for a product": {"shape": Shape(Cadence.MONTH, "\x00")},
    "a long model": {"shape": Shape(Cadence.MONTH, "chat", "x" * 101)},
    "yesterday": {"duration": until(date(2026, 6, 19))},
    "the first day of all": {"duration": until(date.min)},
    "the last day of all": {"duration": until(date.max)},
    "the next century": {"duration": until(date(2100, 1, 1))},
}


@pytest.mark.parametrize("what", BAD_ASKS)
def test_what_cannot_be_asked_is_refused(asking: Asking, what: str) -> None:
    with asking.unchanged(), pytest.raises(InvalidInputError):
        asking.ask(**BAD_ASKS[what])


@pytest.mark.parametrize(
    "change",
    [
        {"micro": 1},
        {"micro": 1_000_000_000 * MICRO},
        {"reason": "x" * 1000},
        {"reason": " " * 500 + "x" * 1000 + "\n" * 500},
        {"reason": "Für 日本語\n\nund \N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}"},
        {"duration": until(date(2026, 6, 20))},
        {"duration": until(date(2099, 12, 31))},
    ],
)
def test_what_is_just_within_bounds_is_asked(asking: Asking, change: dict[str, Any]) -> None:
    assert asking.stored(asking.ask(**change).id).state is RequestState.PENDING


# How long a request waits.


@pytest.mark.parametrize(
    ("duration", "open_days", "expires_at"),
    [
        (THIS_PERIOD, 30, JULY),
        (THIS_PERIOD, 3, NOW + timedelta(days=3)),
        (until(date(2026, 6, 20)), 30, datetime(2026, 6, 21, tzinfo=UTC)),
        (until(date(2026, 7, 5)), 30, datetime(2026, 7, 6, tzinfo=UTC)),
        (until(date(2026, 12, 31)), 30, NOW + timedelta(days=30)),
        (PERMANENT, 30, NOW + timedelta(days=30)),
        (PERMANENT, 1, NOW + timedelta(days=1)),
    ],
)
def test_a_request_expires_with_what_it_asks_for_and_never_later_than_the_workspace_waits(
    asking: Asking, duration: Duration, open_days: int, expires_at: datetime
) -> None:
    asking.set(request_open_days=open_days)
    assert asking.ask(duration=duration).expires_at == expires_at


def test_days_and_periods_of_a_request_are_those_of_the_workspace_s_zone(desk: Desk) -> None:
    asking = Asking(new_ledger(desk, "Asia/Kathmandu"))
    asking.limit(None, 100)
    asking.limit(None, 10, shape=CHAT)
    assert asking.ask().expires_at == datetime(2026, 6, 30, 18, 15, tzinfo=UTC)
    request = asking.ask(shape=CHAT, duration=until(date(2026, 6, 22)))
    assert request.until == request.expires_at == datetime(2026, 6, 22, 18, 15, tzinfo=UTC)
    # It is the 21st there already.
    with pytest.raises(InvalidInputError):
        asking.ask("bob", duration=until(date(2026, 6, 20)), now=datetime(2026, 6, 20, 18, 15, tzinfo=UTC))


def test_a_request_expires_at_exactly_its_moment(asking: Asking) -> None:
    request = asking.ask()
    assert request.at(JULY - TICK).state is RequestState.PENDING
    assert request.at(JULY).state is RequestState.EXPIRED
    with asking.unchanged():
        for late in (JULY, JULY + timedelta(days=400)):
            with pytest.raises(RequestEndedError) as ended:
                asking.approve(asking.owner, request, now=late)
            assert ended.value.request == request.at(JULY)
    approved = asking.approve(asking.owner, request, now=JULY - TICK)
    assert (approved.state, approved.granted_until) == (RequestState.APPROVED, JULY)


# One at a time.


def test_a_request_beside_a_pending_one_for_the_same_limit_is_refused_and_told_of_it(asking: Asking) -> None:
    asking.limit("ada", 10, shape=CHAT)
    first = asking.ask()
    with asking.unchanged(), pytest.raises(RequestPendingError) as refused:
        asking.ask(amount=1, duration=PERMANENT)
    assert refused.value.request == first
    assert asking.ask(shape=CHAT).state is RequestState.PENDING
    assert asking.ask("bob").state is RequestState.PENDING


def test_an_expired_request_makes_room_for_another_and_nobody_is_said_to_have_ended_it(asking: Asking) -> None:
    first = asking.ask()
    with asking.unchanged(), pytest.raises(RequestPendingError):
        asking.ask(now=JULY - TICK)
    second = asking.ask(now=JULY)
    assert asking.stored(first.id) == first.at(JULY)
    assert asking.stored(second.id).state is RequestState.PENDING
    assert [action for action, _, _ in asking.trail()] == ["LIMIT_SET", "REQUEST_MADE", "REQUEST_MADE"]


@pytest.mark.parametrize("end", ["approve", "deny", "cancel"])
def test_an_ended_request_makes_room_for_another(asking: Asking, end: str) -> None:
    EVENTS[end](asking, asking.ask())
    assert asking.ask().state is RequestState.PENDING


def test_after_a_denial_the_same_limit_cools_down_to_the_very_moment(asking: Asking) -> None:
    asking.set(cooldown_hours=48)
    asking.limit("ada", 10, shape=CHAT)
    asking.deny(asking.owner, asking.ask(), now=NOW + timedelta(hours=1))
    over = NOW + timedelta(hours=49)
    with asking.unchanged(), pytest.raises(CoolingDownError) as refused:
        asking.ask(now=over - TICK)
    assert refused.value.until == over
    assert asking.ask(shape=CHAT, now=over - TICK).state is RequestState.PENDING
    assert asking.ask("bob", now=over - TICK).state is RequestState.PENDING
    assert asking.ask(now=over).state is RequestState.PENDING


@pytest.mark.parametrize("end", ["approve", "cancel"])
def test_nothing_cools_down_that_was_not_denied(asking: Asking, end: str) -> None:
    asking.set(cooldown_hours=48)
    EVENTS[end](asking, asking.ask())
    assert asking.ask().state is RequestState.PENDING


def test_without_a_cool_down_one_may_ask_again_at_once(asking: Asking) -> None:
    asking.deny(asking.owner, asking.ask())
    assert asking.ask().state is RequestState.PENDING


# Every event in every state.


EVENTS: dict[str, Callable[[Asking, CreditRequest], CreditRequest]] = {
    "approve": lambda asking, request: asking.approve(asking.owner, request),
    "deny": lambda asking, request: asking.deny(asking.owner, request),
    "cancel": lambda asking, request: asking.cancel(asking.person("ada"), request),
}
LEADS_TO = {"approve": RequestState.APPROVED, "deny": RequestState.DENIED, "cancel": RequestState.CANCELLED}


@pytest.mark.parametrize("event", EVENTS)
def test_a_pending_request_ends_in_each_way(asking: Asking, event: str) -> None:
    request = asking.ask()
    ended = EVENTS[event](asking, request)
    assert ended.state is LEADS_TO[event]
    assert asking.stored(request.id) == ended
    assert ended.decided_at == NOW
    assert ended.at(JULY + timedelta(days=9)) == ended


@pytest.mark.parametrize("event", [*EVENTS, "approve otherwise"])
@pytest.mark.parametrize("state", [*EVENTS, "expire", "expire and ask again"])
def test_a_request_that_has_ended_stays_as_it_is_whatever_comes_and_whoever_comes_is_told(
    asking: Asking, state: str, event: str
) -> None:
    request = asking.ask(duration=until(date(2026, 6, 21)), now=NOW - timedelta(days=2))
    if state in EVENTS:
        ended = EVENTS[state](asking, request)
        now = NOW
    else:
        ended = request.at(request.expires_at)
        now = request.expires_at
        if "again" in state:
            asking.ask(now=now)
    acts: dict[str, Callable[[], CreditRequest]] = {
        "approve": lambda: asking.approve(asking.owner, request, now=now),
        "approve otherwise": lambda: asking.approve(asking.owner, request, amount=3, duration=PERMANENT, now=now),
        "deny": lambda: asking.deny(asking.owner, request, now=now),
        "cancel": lambda: asking.cancel(asking.person("ada"), request, now=now),
    }
    with asking.unchanged():
        for _ in range(2):
            with pytest.raises(RequestEndedError) as refused:
                acts[event]()
            assert refused.value.request == ended


# Approving.


def test_an_approval_writes_the_override_and_ends_the_request_in_one_and_both_are_audited(asking: Asking) -> None:
    asking.ledger.put_user("olga")
    request = asking.ask()
    approved = asking.approve(asking.person("olga", everywhere=True), request, note=" For the launch. ")
    assert (approved.state, approved.granted_amount, approved.granted_until) == (
        RequestState.APPROVED,
        50 * MICRO,
        JULY,
    )
    assert (approved.decided_by, approved.decision_note) == (asking.ledger.users["olga"], "For the launch.")
    assert not approved.automatic
    applying = asking.limit_now()
    assert applying.value == Limited(150 * MICRO)
    assert applying.source
    assert (applying.source.id, applying.source.expires_at) == (approved.limit_id, JULY)
    assert asking.ledger.desk.sql(
        "SELECT id, request_id, reason FROM credit_limit WHERE request_id IS NOT NULL AND workspace_id = %s",
        asking.ledger.workspace_id,
    ) == [(approved.limit_id, request.id, "For the launch.")]
    assert asking.trail()[-2:] == [("LIMIT_SET", "olga", "150"), ("REQUEST_APPROVED", "olga", "APPROVED")]
    [(before, after)] = asking.ledger.desk.sql(
        "SELECT before, after FROM audit_entry WHERE action = 'REQUEST_APPROVED' AND object_id = %s", request.id
    )
    assert (before["state"], before["grantedAmount"]) == ("PENDING", None)
    assert {name: after[name] for name in after if after[name] != before[name]} == {
        "state": "APPROVED", "grantedAmount": "50", "grantedUntil": "2026-07-01T00:00:00Z",
        "decisionNote": "For the launch.",
    }  # fmt: skip


def test_an_override_for_this_period_gives_way_to_the_lasting_limit_when_the_period_ends(asking: Asking) -> None:
    asking.limit("ada", 120)
    asking.approve(asking.owner, asking.ask())
    assert [asking.amount_now(now=now) for now in (NOW, JULY - TICK, JULY)] == [170, 170, 120]


def test_an_override_until_a_day_holds_through_that_day(asking: Asking) -> None:
    asking.approve(asking.owner, asking.ask(duration=until(date(2026, 7, 10))))
    end = datetime(2026, 7, 11, tzinfo=UTC)
    assert [asking.amount_now(now=now) for now in (NOW, end - TICK, end)] == [150, 150, 100]


def test_a_permanent_override_lasts_and_takes_the_place_of_a_temporary_one(asking: Asking) -> None:
    asking.approve(asking.owner, asking.ask())
    asking.approve(asking.owner, asking.ask(amount=7, duration=PERMANENT))
    assert [asking.amount_now(now=now) for now in (NOW, JULY, JULY + timedelta(days=4000))] == [157] * 3
    assert asking.ledger.rows("credit_limit") == 2


@pytest.mark.parametrize(
    ("asked", "decided", "ends_at"),
    [
        (THIS_PERIOD, PERMANENT, None),
        (PERMANENT, THIS_PERIOD, JULY),
        (PERMANENT, until(date(2026, 8, 1)), datetime(2026, 8, 2, tzinfo=UTC)),
        (until(date(2026, 8, 1)), THIS_PERIOD, JULY),
        (until(date(2026, 8, 1)), None, datetime(2026, 8, 2, tzinfo=UTC)),
        (PERMANENT, None, None),
    ],
)
def test_an_approver_may_change_amount_and_duration(
    asking: Asking, asked: Duration, decided: Duration | None, ends_at: datetime | None
) -> None:
    request = asking.ask(duration=asked)
    approved = asking.approve(asking.owner, request, amount=20, duration=decided)
    assert (approved.amount, approved.duration, approved.until) == (request.amount, request.duration, request.until)
    assert (approved.granted_amount, approved.granted_until) == (20 * MICRO, ends_at)
    assert asking.amount_now() == 120
    assert asking.amount_now(now=ends_at or JULY) == (120 if ends_at is None else 100)


def test_this_period_is_the_one_in_which_it_is_approved(asking: Asking) -> None:
    request = asking.ask(duration=PERMANENT)
    approved = asking.approve(asking.owner, request, duration=THIS_PERIOD, now=JULY)
    assert approved.granted_until == datetime(2026, 8, 1, tzinfo=UTC)


@pytest.mark.parametrize(("limit_now", "granted", "becomes"), [(120, 10, 120), (120, 50, 150), (30, 50, 150)])
def test_an_override_never_lowers_the_limit_that_applies(
    asking: Asking, limit_now: int, granted: int, becomes: int
) -> None:
    request = asking.ask()
    asking.limit("red", limit_now)
    asking.approve(asking.owner, request, amount=granted)
    assert asking.amount_now() == becomes


@pytest.mark.parametrize(("lasting", "becomes"), [(500, 500), (103, 110), (None, None)])
def test_a_permanent_override_never_lowers_a_lasting_limit_that_a_temporary_one_hides(
    asking: Asking, lasting: int | None, becomes: int | None
) -> None:
    asking.limit("ada", lasting)
    asking.limit("ada", 103, expires_at=JULY)
    asking.approve(asking.owner, asking.ask(amount=7, duration=PERMANENT))
    assert asking.amount_now() == becomes
    assert asking.amount_now(now=JULY) == becomes


def test_where_there_is_no_limit_any_more_an_approval_writes_none(asking: Asking) -> None:
    request = asking.ask()
    asking.limit("red", None)
    limits = asking.rows()["credit_limit"]
    approved = asking.approve(asking.owner, request)
    assert (approved.state, approved.limit_id) == (RequestState.APPROVED, None)
    assert asking.rows()["credit_limit"] == limits
    assert asking.amount_now() is None


def test_an_override_stops_as_hard_as_the_limit_it_raises(asking: Asking) -> None:
    asking.limit("red", 100, enforcement=Enforcement.SOFT)
    asking.approve(asking.owner, asking.ask())
    source = asking.limit_now().source
    assert source
    assert (source.value, source.enforcement) == (Limited(150 * MICRO), Enforcement.SOFT)


def test_to_a_manager_a_soft_limit_is_as_good_as_none(asking: Asking) -> None:
    asking.set(manager_ceiling=10**12)
    asking.limit("red", 100, enforcement=Enforcement.SOFT)
    request = asking.ask()
    with asking.unchanged(), pytest.raises(AboveCeilingError):
        asking.approve(asking.person("bob", manages=["red"]), request)


def test_a_manager_cuts_no_override_short_that_keeps_the_user_below_what_they_would_have_then(asking: Asking) -> None:
    asking.set(manager_ceiling=140 * MICRO)
    asking.limit("ada", 500)
    asking.limit("ada", 80, expires_at=JULY + timedelta(days=30))
    request, manager = asking.ask(), asking.person("bob", manages=["red"])
    with asking.unchanged(), pytest.raises(AboveCeilingError):
        asking.approve(manager, request)
    assert asking.approve(manager, request, duration=until(date(2026, 7, 30))).granted_until == JULY + timedelta(
        days=30
    )
    assert [asking.amount_now(now=now) for now in (NOW, JULY, JULY + timedelta(days=30))] == [130, 130, 500]


BAD_DECISIONS: dict[str, dict[str, Any]] = {
    "nothing": {"amount": 0},
    "less than nothing": {"amount": -5},
    "too much": {"amount": 1_000_000_001},
    "more than any limit is": {"amount": 1_000_000_000},
    "yesterday": {"duration": until(date(2026, 6, 19))},
    "a long note": {"note": "x" * 1001},
    "a NUL": {"note": "\x00"},
}


@pytest.mark.parametrize("what", BAD_DECISIONS)
def test_what_cannot_be_granted_is_refused_and_the_request_goes_on_waiting(asking: Asking, what: str) -> None:
    request = asking.ask()
    with asking.unchanged(), pytest.raises((InvalidInputError, InvalidLimitError)):
        asking.approve(asking.owner, request, **BAD_DECISIONS[what])
    assert asking.stored(request.id) == request


def test_a_denial_says_why_and_changes_no_limit(asking: Asking) -> None:
    request = asking.ask()
    limits = asking.rows()["credit_limit"]
    denied = asking.deny(asking.owner, request, note="Not this month.")
    assert (denied.state, denied.decision_note, denied.granted_amount) == (RequestState.DENIED, "Not this month.", None)
    assert asking.rows()["credit_limit"] == limits
    assert asking.trail()[-1] == ("REQUEST_DENIED", "olga", "DENIED")


def test_only_the_asker_takes_a_request_back(asking: Asking) -> None:
    request = asking.ask()
    with asking.unchanged():
        for other in (asking.person("bob", everywhere=True), asking.person("bob", manages=["red"])):
            with pytest.raises(UnknownRequestError):
                asking.cancel(other, request)
    assert asking.cancel(asking.person("ada"), request).decided_by == asking.ledger.users["ada"]
    assert asking.trail()[-1] == ("REQUEST_CANCELLED", "ada", "CANCELLED")


# Who may decide.


def refused(act: Callable[[], object]) -> CreditError:
    with pytest.raises(CreditError) as refusal:
        act()
    return refusal.value


@pytest.mark.parametrize("reach", [{"everywhere": True}, {"manages": ["red"]}, {"manages": ["blue"]}])
def test_nobody_decides_their_own_request_whatever_their_role(asking: Asking, reach: dict[str, Any]) -> None:
    asking.set(manager_ceiling=10**12)
    request, ada = asking.ask(), asking.person("ada", **reach)
    with asking.unchanged():
        assert isinstance(refused(lambda: asking.approve(ada, request)), OwnRequestError)
        assert isinstance(refused(lambda: asking.deny(ada, request)), OwnRequestError)


def test_outside_their_groups_a_request_is_to_a_manager_as_if_it_were_not_there(asking: Asking) -> None:
    asking.set(manager_ceiling=10**12)
    in_red, in_none = asking.ask("ada"), asking.ask("bob")
    asking.ledger.put_user("max", groups=["red"])
    of_blue, of_nothing = asking.person("max", manages=["blue"]), asking.person("max")
    with asking.unchanged():
        for decider in (of_blue, of_nothing):
            for request in (in_red, in_none):
                for act in (asking.approve, asking.deny):
                    assert isinstance(refused(lambda: act(decider, request)), UnknownRequestError)  # noqa: B023
        # Nor may they tell whether it has ended.
        asked = [refused(lambda: asking.deny(of_blue, in_red, now=JULY)), refused(lambda: _unknown(asking, of_blue))]
        assert [(one.code, one.message) for one in asked] == [(ErrorCode.UNKNOWN_REQUEST, asked[0].message)] * 2


def _unknown(asking: Asking, by: Authority) -> None:
    async def approved() -> None:
        async with asking.ledger.desk.database.transaction(asking.ledger.scope) as conn:
            await requests.approve_request(conn, by, Approval(uuid4()), now=NOW)

    asking.ledger.desk.run(approved())


def test_a_manager_decides_for_whoever_is_in_the_group_now(asking: Asking) -> None:
    asking.set(manager_ceiling=10**12)
    request = asking.ask()
    manager = asking.person("bob", manages=["red"])
    asking.ledger.put_user("ada", home="red", groups=["blue"])
    with asking.unchanged():
        assert isinstance(refused(lambda: asking.approve(manager, request)), UnknownRequestError)
    asking.ledger.put_user("ada", home="blue", groups=["blue", "red"])
    assert asking.approve(manager, request).decided_by == asking.ledger.users["bob"]


def test_another_workspace_s_request_is_not_there(desk: Desk, asking: Asking) -> None:
    other = Asking(new_ledger(desk))
    request = asking.ask()
    with asking.unchanged():
        assert isinstance(refused(lambda: other.approve(other.owner, request)), UnknownRequestError)


def set_ceiling(asking: Asking, group: str, ceiling: int | None) -> None:
    amount = None if ceiling is None else ceiling * MICRO
    asking.ledger.desk.sql(
        "UPDATE user_group SET manager_ceiling = %s WHERE id = %s", amount, asking.ledger.groups[group]
    )


CEILINGS: dict[str, tuple[int | None, int | None, int | None, int | None]] = {
    # The workspace's, red's, blue's -> the highest one that counts for a member of both.
    "none at all": (None, None, None, None),
    "the workspace's": (140, None, None, 140),
    "a group's own, lower": (500, 140, 140, 140),
    "a group's own, higher": (120, 140, None, 140),
    "a group without one of its own has the workspace's": (140, 120, None, 140),
    "the highest of the groups'": (None, 130, 140, 140),
    "zero": (None, 0, 0, 0),
}


@pytest.mark.parametrize("which", CEILINGS)
def test_a_manager_approves_up_to_the_ceiling_and_no_further(asking: Asking, which: str) -> None:
    workspace, red, blue, ceiling = CEILINGS[which]
    asking.ledger.put_user("ada", home="red", groups=["red", "blue"])
    asking.set(manager_ceiling=None if workspace is None else workspace * MICRO)
    set_ceiling(asking, "red", red)
    set_ceiling(asking, "blue", blue)
    request, manager = asking.ask(amount=41), asking.person("bob", manages=["red", "blue"])
    with asking.unchanged():
        beyond = refused(lambda: asking.approve(manager, request))
        assert isinstance(beyond, AboveCeilingError)
        assert beyond.ceiling == (None if ceiling is None else ceiling * MICRO)
    if ceiling == 140:
        assert asking.approve(manager, request, amount=40).granted_amount == 40 * MICRO
    # An administrator has no ceiling, and to deny a manager needs none.
    elif ceiling is None:
        assert asking.approve(asking.owner, request).granted_amount == 41 * MICRO
    else:
        assert asking.deny(manager, request).state is RequestState.DENIED


def test_only_the_groups_that_the_manager_manages_and_the_asker_is_in_have_a_say_in_the_ceiling(asking: Asking) -> None:
    asking.set(manager_ceiling=100 * MICRO)
    asking.ledger.put_groups("green")
    set_ceiling(asking, "red", 120)
    set_ceiling(asking, "blue", 500)
    set_ceiling(asking, "green", 900)
    asking.ledger.put_user("ada", home="red", groups=["red", "blue"])
    request = asking.ask()
    with asking.unchanged(), pytest.raises(AboveCeilingError) as beyond:
        asking.approve(asking.person("bob", manages=["red", "green"]), request)
    assert beyond.value.ceiling == 120 * MICRO


@pytest.mark.parametrize("limit_now", [500, None])
def test_a_manager_writes_no_limit_above_the_ceiling_also_where_it_is_so_high_already(
    asking: Asking, limit_now: int | None
) -> None:
    asking.set(manager_ceiling=400 * MICRO)
    request = asking.ask()
    asking.limit("red", limit_now)
    with asking.unchanged(), pytest.raises(AboveCeilingError):
        asking.approve(asking.person("bob", manages=["red"]), request)


def test_a_replayed_approval_is_told_that_the_request_has_ended_and_raises_nothing_twice(asking: Asking) -> None:
    request = asking.ask()
    approved = asking.approve(asking.owner, request)
    with asking.unchanged(), pytest.raises(RequestEndedError) as again:
        asking.approve(asking.owner, request)
    assert again.value.request == approved
    assert asking.amount_now() == 150


# Small amounts, granted at once.


def test_a_small_amount_is_granted_at_once_by_nobody(asking: Asking) -> None:
    asking.set(auto_approval_per_period=10 * MICRO)
    request = asking.ask(amount=10)
    assert (request.state, request.automatic, request.decided_by) == (RequestState.APPROVED, True, None)
    assert (request.granted_amount, request.granted_until) == (10 * MICRO, JULY)
    assert asking.stored(request.id) == request
    assert [asking.amount_now(now=now) for now in (NOW, JULY)] == [110, 100]
    assert asking.trail()[-3:] == [
        ("REQUEST_MADE", "ada", "PENDING"), ("LIMIT_SET", "ada", "110"), ("REQUEST_APPROVED", "ada", "APPROVED"),
    ]  # fmt: skip
    [(automatic,)] = asking.ledger.desk.sql(
        "SELECT after ->> 'automatic' FROM audit_entry WHERE action = 'REQUEST_APPROVED' AND object_id = %s", request.id
    )
    assert automatic == "true"


def test_what_is_granted_automatically_in_a_period_adds_up_to_no_more_than_the_workspace_says(asking: Asking) -> None:
    asking.set(auto_approval_per_period=10 * MICRO)
    asking.limit("ada", 10, shape=CHAT)
    assert [asking.ask(amount=amount).automatic for amount in (4, 5)] == [True, True]
    beyond = asking.ask(amount=2)
    assert (beyond.state, beyond.automatic, beyond.limit_then) == (RequestState.PENDING, False, 109 * MICRO)
    # Another limit, and another user, have sums of their own; what people grant does not count.
    assert asking.ask(amount=10, shape=CHAT).automatic
    assert asking.ask("bob", amount=10).automatic
    asking.approve(asking.owner, beyond)
    assert asking.ask(amount=1).automatic
    assert asking.amount_now() == 112
    # Another period has a sum of its own, too.
    assert asking.amount_now(now=JULY) == 100
    assert asking.ask(amount=10, now=JULY).automatic
    assert not asking.ask(amount=1, now=JULY).automatic


@pytest.mark.parametrize(
    ("per_period", "change"),
    [
        (None, {}),
        (0, {}),
        (10, {"micro": 10 * MICRO + 1}),
        (10, {"duration": PERMANENT}),
        (10, {"duration": until(date(2026, 6, 30))}),
    ],
)
def test_what_is_not_small_or_not_for_this_period_waits_for_somebody(
    asking: Asking, per_period: int | None, change: dict[str, Any]
) -> None:
    asking.set(auto_approval_per_period=None if per_period is None else per_period * MICRO)
    assert asking.ask(**({"micro": 1 * MICRO} | change)).state is RequestState.PENDING


@pytest.mark.parametrize("ends_at", [NOW + timedelta(days=1), JULY + timedelta(days=20)])
def test_a_limit_that_ends_at_another_moment_is_neither_stretched_nor_cut_short_automatically(
    asking: Asking, ends_at: datetime
) -> None:
    asking.set(auto_approval_per_period=10 * MICRO)
    asking.limit("ada", 500, expires_at=ends_at)
    assert asking.ask(amount=1).state is RequestState.PENDING
    assert [asking.amount_now(now=now) for now in (ends_at - TICK, ends_at)] == [500, 100]


def test_what_would_pass_the_highest_limit_there_is_waits_for_somebody(asking: Asking) -> None:
    asking.set(auto_approval_per_period=10 * MICRO)
    asking.limit("ada", 1_000_000_000)
    assert asking.ask(amount=1).state is RequestState.PENDING


# A direct raise.


def raise_limit(asking: Asking, on: str | None, amount: int | None, **options: Any) -> None:
    asking.ledger.desk.run(asking.limiting(on, amount, covering=True, **options))


@pytest.mark.parametrize(("on", "amount"), [("ada", 150), ("red", 151), (None, 150), (None, None)])
def test_a_direct_raise_that_covers_a_pending_request_approves_it(
    asking: Asking, on: str | None, amount: int | None
) -> None:
    request = asking.ask()
    raise_limit(asking, on, amount)
    approved = asking.stored(request.id)
    source = asking.limit_now().source
    assert source
    assert (approved.state, approved.automatic) == (RequestState.APPROVED, False)
    assert (approved.granted_amount, approved.granted_until, approved.limit_id) == (50 * MICRO, None, source.id)
    assert asking.amount_now() == amount
    assert [action for action, _, _ in asking.trail()[-2:]] == ["LIMIT_SET", "REQUEST_APPROVED"]


@pytest.mark.parametrize(("on", "amount"), [("ada", 149), ("blue", 500), ("bob", 500), ("ada", 0)])
def test_a_direct_raise_that_does_not_cover_a_request_leaves_it_pending(asking: Asking, on: str, amount: int) -> None:
    request = asking.ask()
    raise_limit(asking, on, amount)
    assert asking.stored(request.id) == request


def test_a_raise_that_an_own_override_hides_covers_nothing(asking: Asking) -> None:
    asking.limit("ada", 100)
    request = asking.ask()
    raise_limit(asking, None, 1000)
    assert asking.stored(request.id) == request


def test_a_raise_for_all_approves_whom_it_covers_and_nobody_else(asking: Asking) -> None:
    asking.limit("bob", 60)
    asking.limit(None, 10, shape=CHAT)
    covered, hidden, narrower = asking.ask("ada"), asking.ask("bob"), asking.ask("ada", shape=CHAT)
    raise_limit(asking, None, 200)
    states = [asking.stored(one.id).state for one in (covered, hidden, narrower)]
    assert states == [RequestState.APPROVED, RequestState.PENDING, RequestState.PENDING]


def test_nobody_approves_their_own_request_by_raising_the_limit_themselves(asking: Asking) -> None:
    mine, theirs = asking.ask("ada"), asking.ask("bob")
    raise_limit(asking, None, 500, actor=Actor("PERSON", "ada", asking.ledger.users["ada"]))
    assert asking.stored(mine.id) == mine
    assert asking.stored(theirs.id).decided_by == asking.ledger.users["ada"]


def test_a_raise_ends_no_request_that_has_expired(asking: Asking) -> None:
    request = asking.ask()
    raise_limit(asking, None, 500, now=JULY)
    assert asking.stored(request.id) == request


def test_what_a_temporary_raise_covers_is_granted_as_long_as_that(asking: Asking) -> None:
    request = asking.ask()
    raise_limit(asking, "red", 200, expires_at=NOW + timedelta(days=3))
    assert asking.stored(request.id).granted_until == NOW + timedelta(days=3)


# All or nothing.


@pytest.mark.parametrize("event", ["ask", "ask automatically", "approve", "deny", "cancel", "raise"])
def test_what_fails_on_its_way_leaves_nothing_half_done(asking: Asking, event: str) -> None:
    waiting = asking.ask("bob")
    if event == "ask automatically":
        asking.set(auto_approval_per_period=10**12)

    async def lost() -> None:
        async with asking.ledger.desk.database.transaction(asking.ledger.scope) as conn:
            if event.startswith("ask"):
                await requests.request_credits(conn, asking.person("ada"), Ask(MICRO, "Why not?", MONTH), now=NOW)
            elif event == "approve":
                await requests.approve_request(conn, asking.owner, Approval(waiting.id), now=NOW)
            elif event == "deny":
                await requests.deny_request(conn, asking.owner, waiting.id, note=None, now=NOW)
            elif event == "cancel":
                await requests.cancel_request(conn, asking.person("bob"), waiting.id, now=NOW)
            else:
                await changing_controls(conn, asking.ledger.workspace_id)
            raise ConnectionError

    with asking.unchanged(), pytest.raises(ConnectionError):
        asking.ledger.desk.run(lost())
    assert asking.stored(waiting.id) == waiting
    assert asking.approve(asking.owner, waiting).state is RequestState.APPROVED


def test_an_approval_whose_last_statement_fails_writes_no_override(asking: Asking) -> None:
    request = asking.ask()
    asking.ledger.desk.sql(
        "CREATE FUNCTION refuse_audit() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.action = 'REQUEST_APPROVED' THEN RAISE 'no'; END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER refuse_audit BEFORE INSERT ON audit_entry FOR EACH ROW EXECUTE FUNCTION refuse_audit()"
    )
    try:
        with asking.unchanged(), pytest.raises(Exception, match="RaiseException"):
            asking.approve(asking.owner, request)
    finally:
        asking.ledger.desk.sql("DROP TRIGGER refuse_audit ON audit_entry; DROP FUNCTION refuse_audit")
    assert asking.amount_now() == 100


def test_the_actor_of_a_decision_may_be_nobody_s_user(asking: Asking) -> None:
    approved = asking.approve(asking.owner, asking.ask())
    assert approved.decided_by is None
    assert asking.trail()[-1] == ("REQUEST_APPROVED", OWNER.subject, "APPROVED")
