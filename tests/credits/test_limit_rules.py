"""Limits as rules: set, changed and removed, audited, and biting at once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

import pytest

from creditdesk.credits import limit_changes, limit_rules, requests
from creditdesk.credits.amounts import MICRO
from creditdesk.credits.controls import changing_controls, each_user_limit, load_controls, load_spenders
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.limit_changes import LimitChange, Terms
from creditdesk.credits.limit_rules import InvalidLimitError, NewLimit, VersionConflictError, check_limit
from creditdesk.credits.limit_targets import GroupNamed
from creditdesk.credits.limits import UNLIMITED, Limit, Limited, LimitKind, LimitScope, LimitValue, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor, Authority
from creditdesk.credits.request_rules import Ask
from creditdesk.db.connections import Connection
from support.holding import Holding
from support.ledgers import NOW, Ledger

T = TypeVar("T")
MONTH, WEEK = Shape(Cadence.MONTH), Shape(Cadence.WEEK)
LATER = NOW + timedelta(days=2)
ADMIN = Actor("PERSON", "admin", None)


def rule(scope_id: UUID, credits_: int = 5, **changes: Any) -> NewLimit:
    """Return a user's monthly limit, changed where a test says so."""
    fields: dict[str, Any] = {
        "scope": LimitScope.USER,
        "scope_id": scope_id,
        "kind": LimitKind.EACH_USER,
        "shape": MONTH,
        "value": Limited(credits_ * MICRO),
    }
    return NewLimit(**fields | changes)


def in_transaction(ledger: Ledger, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def working() -> T:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            return await work(conn)

    return cast("T", ledger.desk.run(working()))


def write(ledger: Ledger, *rules: NewLimit, now: datetime = NOW, expected: int | None = None) -> list[Limit]:
    async def writing(conn: Connection) -> list[Limit]:
        await changing_controls(conn, ledger.workspace_id)
        controls = await load_controls(conn, ledger.workspace_id)
        return await limit_rules.write_limits(
            conn,
            controls,
            workspace_id=ledger.workspace_id,
            actor=ADMIN,
            rules=rules,
            now=now,
            expected_version=expected,
        )

    return in_transaction(ledger, writing)


def everywhere(ledger: Ledger) -> Authority:
    return Authority(ledger.workspace_id, ADMIN, everywhere=True, managed_groups=frozenset())


def change(ledger: Ledger, change_: LimitChange, *, now: datetime = NOW) -> Limit:
    return in_transaction(ledger, lambda conn: limit_changes.set_limit(conn, everywhere(ledger), change_, now=now))


def of_user(ledger: Ledger, name: str, credits_: int, **more: Any) -> LimitChange:
    shape = more.pop("shape", MONTH)
    return LimitChange(
        UserBy(id=ledger.users[name]), LimitKind.EACH_USER, Terms(Limited(credits_ * MICRO), shape), **more
    )


def allowed(ledger: Ledger, name: str, at: datetime, shape: Shape = MONTH) -> LimitValue:
    """Return how much a user may use, by what is stored."""

    async def resolving() -> LimitValue:
        controls = await load_controls(ledger.reader, ledger.workspace_id)
        [spender] = await load_spenders(ledger.reader, ledger.workspace_id, [UserBy(id=ledger.users[name])])
        return each_user_limit(controls, spender, ledger.workspace_id, shape, at).value

    return cast("LimitValue", ledger.desk.run(resolving()))


def trail(ledger: Ledger) -> list[tuple[Any, ...]]:
    return ledger.desk.sql(
        "SELECT action, before ->> 'value', after ->> 'value', before ->> 'expiresAt', after ->> 'expiresAt'"
        " FROM audit_entry WHERE workspace_id = %s ORDER BY id",
        ledger.workspace_id,
    )


def test_a_rule_is_stored_as_it_was_set(ledger: Ledger) -> None:
    [limit] = write(ledger, rule(ledger.users["ada"], reason="A trial. 👩‍💻"))
    rows = ledger.desk.sql(
        "SELECT id, scope, scope_id, unlimited, amount, temporary, starts_at, reason, version FROM credit_limit"
        " WHERE workspace_id = %s",
        ledger.workspace_id,
    )
    assert rows == [(limit.id, "USER", ledger.users["ada"], False, 5_000_000, False, NOW, "A trial. 👩‍💻", 1)]


def test_every_change_is_in_the_audit_trail_with_before_and_after(ledger: Ledger) -> None:
    ada = ledger.users["ada"]
    write(ledger, rule(ada, 5))
    write(ledger, rule(ada, value=UNLIMITED))
    write(ledger, rule(ada, 9, expires_at=LATER))
    [lasting] = write(ledger, rule(ada, 6))
    in_transaction(
        ledger,
        lambda conn: limit_changes.remove_limit(
            conn, everywhere(ledger), lasting.id, expected_version=lasting.version, now=NOW
        ),
    )
    until = "2026-06-22T10:00:00Z"
    assert trail(ledger) == [
        ("LIMIT_SET", None, "5", None, None),
        ("LIMIT_SET", "5", "UNLIMITED", None, None),
        ("LIMIT_SET", None, "9", None, until),
        ("LIMIT_SET", "UNLIMITED", "6", None, None),
        ("LIMIT_REMOVED", "9", None, until, None),
        ("LIMIT_REMOVED", "6", None, None, None),
    ]
    about = ledger.desk.sql(
        "SELECT DISTINCT actor_kind, actor_subject, object_type, user_id, group_id FROM audit_entry"
        " WHERE workspace_id = %s",
        ledger.workspace_id,
    )
    assert about == [("PERSON", "admin", "CreditLimit", ada, None)]


def test_a_temporary_limit_goes_before_the_lasting_one_until_it_expires(ledger: Ledger) -> None:
    write(ledger, rule(ledger.workspace_id, 3, scope=LimitScope.WORKSPACE))
    write(ledger, rule(ledger.users["bob"], 9, expires_at=LATER))
    write(ledger, rule(ledger.users["ada"], 5))
    write(ledger, rule(ledger.users["ada"], 9, expires_at=LATER))
    for name, then in (("ada", 5), ("bob", 3)):
        assert allowed(ledger, name, LATER - timedelta(microseconds=1)) == Limited(9 * MICRO)
        assert allowed(ledger, name, LATER) == Limited(then * MICRO)


def test_a_lasting_limit_takes_away_the_temporary_one_so_that_it_bites_at_once(ledger: Ledger) -> None:
    write(ledger, rule(ledger.users["ada"], 9, expires_at=LATER), rule(ledger.users["bob"], 9, expires_at=LATER))
    write(ledger, rule(ledger.users["ada"], 5))
    assert allowed(ledger, "ada", NOW) == Limited(5 * MICRO)
    assert allowed(ledger, "bob", NOW) == Limited(9 * MICRO)


def test_a_limit_that_has_expired_is_as_good_as_none_for_whoever_expects_none(ledger: Ledger) -> None:
    ada = ledger.users["ada"]
    write(ledger, rule(ada, 9, expires_at=LATER))
    with pytest.raises(VersionConflictError):
        write(ledger, rule(ada, 8, expires_at=LATER), expected=0)
    after = LATER + timedelta(days=1)
    [again] = write(ledger, rule(ada, 8, expires_at=after), now=LATER, expected=0)
    assert (again.version, again.starts_at) == (2, LATER)


def test_of_two_who_expect_the_same_version_one_is_told(ledger: Ledger) -> None:
    [limit] = write(ledger, rule(ledger.users["ada"], 1))

    async def setting(credits_: int) -> Limit:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            changed = of_user(ledger, "ada", credits_, expected_version=1)
            return await limit_changes.set_limit(conn, everywhere(ledger), changed, now=NOW)

    async def racing() -> list[Limit | BaseException]:
        return await asyncio.gather(*(setting(credits_) for credits_ in range(2, 10)), return_exceptions=True)

    outcomes = ledger.desk.run(racing())
    [won] = [one for one in outcomes if isinstance(one, Limit)]
    lost = [one for one in outcomes if isinstance(one, VersionConflictError)]
    assert (len(lost), {one.current for one in lost}) == (7, {won})
    assert (won.id, won.version) == (limit.id, 2)
    assert ledger.desk.sql("SELECT amount, version FROM credit_limit WHERE id = %s", limit.id) == [
        (cast("Limited", won.value).amount, 2)
    ]
    assert len(trail(ledger)) == 2


def test_a_change_in_mid_period_leaves_usage_as_it_is_and_decides_the_very_next_spend(ledger: Ledger) -> None:
    ledger.record(ledger.event(credits=4 * MICRO, at=NOW))
    holding = Holding(ledger)
    used = "SELECT used FROM balance WHERE workspace_id = %s AND scope_id = %s"
    write(ledger, rule(ledger.users["ada"], 10))
    holding.place("first", 5)
    for credits_, fits in ((9, False), (11, True), (0, False), (20, True)):
        write(ledger, rule(ledger.users["ada"], credits_))
        assert ledger.desk.sql(used, ledger.workspace_id, ledger.users["ada"]) == [(4 * MICRO,)]
        if fits:
            holding.place(f"at {credits_}", 1)
        else:
            holding.refused(f"at {credits_}", 1)
    assert holding.differences() == ()


def test_a_limit_of_a_new_shape_counts_what_was_used_since_its_period_began(ledger: Ledger) -> None:
    # The 20th of June 2026 is a Saturday: the week began on the 15th.
    ledger.record(
        ledger.event("before", credits=MICRO, at=NOW - timedelta(days=6)),
        ledger.event("since", credits=2 * MICRO, at=NOW - timedelta(days=5)),
        ledger.event("other", credits=4 * MICRO, at=NOW, product="agent"),
    )
    write(ledger, rule(ledger.groups["red"], shape=Shape(Cadence.WEEK, "chat"), scope=LimitScope.GROUP))
    write(ledger, rule(ledger.workspace_id, shape=WEEK, scope=LimitScope.WORKSPACE, kind=LimitKind.SHARED))
    balances = ledger.desk.sql(
        "SELECT k.scope, k.product, b.scope_id, b.used FROM balance_kind AS k"
        " JOIN balance AS b ON b.workspace_id = k.workspace_id AND b.kind_id = k.id"
        " WHERE k.workspace_id = %s AND k.cadence = 'WEEK' ORDER BY k.id",
        ledger.workspace_id,
    )
    assert balances == [
        ("USER", "chat", ledger.users["ada"], 2 * MICRO),
        ("WORKSPACE", "", ledger.workspace_id, 6 * MICRO),
    ]
    assert ledger.reconciled().differences == ()


def test_another_cadence_takes_over_where_the_old_one_s_period_ends(ledger: Ledger) -> None:
    boundary = datetime.fromisoformat("2026-07-01T00:00:00Z")
    change(ledger, of_user(ledger, "ada", 50))
    write(ledger, rule(ledger.users["ada"], 70, expires_at=boundary + timedelta(days=40)))
    change(ledger, of_user(ledger, "ada", 9, shape=WEEK, instead_of=Cadence.MONTH))
    just_before = boundary - timedelta(microseconds=1)
    assert (allowed(ledger, "ada", just_before), allowed(ledger, "ada", just_before, WEEK)) == (
        Limited(70 * MICRO),
        UNLIMITED,
    )
    assert (allowed(ledger, "ada", boundary), allowed(ledger, "ada", boundary, WEEK)) == (UNLIMITED, Limited(9 * MICRO))
    # To change the amount meanwhile is no reason to start earlier.
    change(ledger, of_user(ledger, "ada", 8, shape=WEEK))
    assert allowed(ledger, "ada", just_before, WEEK) == UNLIMITED
    assert allowed(ledger, "ada", boundary, WEEK) == Limited(8 * MICRO)


def test_a_raise_that_covers_a_pending_request_approves_it(ledger: Ledger) -> None:
    change(ledger, of_user(ledger, "ada", 5))
    asker = Authority(
        ledger.workspace_id, Actor("PERSON", "ada", ledger.users["ada"]), everywhere=False, managed_groups=frozenset()
    )
    ask = Ask(3 * MICRO, "More.", MONTH)
    asked = in_transaction(ledger, lambda conn: requests.request_credits(conn, asker, ask, now=NOW))
    state = "SELECT state FROM credit_request WHERE id = %s"
    change(ledger, of_user(ledger, "ada", 7))
    assert ledger.desk.sql(state, asked.id) == [("PENDING",)]
    change(ledger, of_user(ledger, "ada", 8))
    assert ledger.desk.sql(state, asked.id) == [("APPROVED",)]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": LimitKind.SHARED},
        {"shape": Shape(Cadence.MONTH, "", "large")},
        {"shape": Shape(Cadence.MONTH, "a\nb")},
        {"shape": Shape(Cadence.MONTH, "chat", "m" * 101)},
        {"value": Limited(-1)},
        {"value": Limited(1_000_000_000 * MICRO + 1)},
        {"expires_at": NOW},
        {"reason": "r" * 1001},
        {"reason": "\x1b"},
        {"reason": "\ud800"},
    ],
)
def test_what_cannot_be_a_limit_is_refused_and_nothing_is_changed(ledger: Ledger, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidLimitError):
        write(ledger, rule(ledger.users["bob"]), rule(ledger.users["ada"], **changes))
    assert (ledger.rows("credit_limit"), ledger.rows("audit_entry")) == (0, 0)


def test_the_largest_and_the_smallest_limit_are_limits(ledger: Ledger) -> None:
    ada = ledger.users["ada"]
    for limit in (rule(ada, 0), rule(ada, 1_000_000_000), rule(ada, reason="r" * 1000), rule(ada, value=UNLIMITED)):
        check_limit(limit, now=NOW)


def test_a_group_s_limit_is_found_by_the_group_s_slug(ledger: Ledger) -> None:
    terms = Terms(Limited(2 * MICRO), MONTH)
    limit = change(ledger, LimitChange(GroupNamed(slug="red"), LimitKind.EACH_USER, terms))
    assert (limit.scope, limit.scope_id) == (LimitScope.GROUP, ledger.groups["red"])
    assert allowed(ledger, "ada", NOW) == Limited(2 * MICRO)
