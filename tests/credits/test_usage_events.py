import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from creditdesk.credits.directory import NewUser, UserKind, put_users
from creditdesk.credits.errors import BatchSizeError, ErrorCode, EventError
from creditdesk.credits.event_rules import MAX_CREDITS, MAX_MICRO_MINUTES, MAX_TOKENS, UsageEvent, UserBy, check_event
from creditdesk.credits.reconcile import Reconciliation
from creditdesk.credits.usage_events import Recorded, record_usage
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseUnavailable
from support.ledgers import NOW, Desk, Ledger, new_ledger

TABLES = (
    "usage_event", "usage_event_key", "rollup_user_detail_day", "rollup_user_day", "rollup_user_month",
    "rollup_group_day", "rollup_group_hour", "rollup_workspace_day",
)  # fmt: skip


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def codes(recorded: Recorded) -> dict[int, ErrorCode]:
    return {rejection.index: rejection.code for rejection in recorded.rejected}


def counted(ledger: Ledger) -> dict[str, int]:
    return {table: ledger.rows(table) for table in TABLES}


def test_an_event_is_recorded_with_everything_that_was_reported(ledger: Ledger) -> None:
    event = ledger.event(tags={"team": "core", "Ünïcode": ""}, at=datetime(2026, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC))
    assert ledger.record(event) == Recorded(1, 0, ())
    [row] = ledger.desk.sql(
        "SELECT user_id, group_id, at, recorded_at, source, external_id, product, model, credits, requests,"
        " input_tokens, cached_input_tokens, output_tokens, corrects, tags FROM usage_event WHERE workspace_id = %s",
        ledger.workspace_id,
    )
    assert row == (
        ledger.users["ada"], ledger.groups["red"], event.at, NOW, "gateway", "1", "chat", "large", 2_500_000, 1,
        100, 20, 30, None, {"team": "core", "Ünïcode": ""},
    )  # fmt: skip
    assert ledger.reconciled().differences == ()


@pytest.mark.parametrize("by", [{"email": "ADA@Example.Com"}, {"external_id": "x-ada"}])
def test_a_user_is_found_by_each_of_their_names(ledger: Ledger, by: dict[str, Any]) -> None:
    assert ledger.record(ledger.event(user=UserBy(**by))).accepted == 1
    assert ledger.charged() == {"red": (2_500_000, 1)}


# Exactly once.


def test_the_same_event_again_is_a_duplicate_and_changes_nothing(ledger: Ledger) -> None:
    ledger.record(ledger.event())
    before = counted(ledger)
    assert ledger.record(ledger.event()) == Recorded(0, 1, ())
    # The user may be named in another way: it is the same user.
    assert ledger.record(ledger.event(user=UserBy(email="ada@example.com"))) == Recorded(0, 1, ())
    assert counted(ledger) == before
    assert ledger.charged() == {"red": (2_500_000, 1)}


@pytest.mark.parametrize(
    "change",
    [
        {"at": datetime(2026, 6, 1, 12, 0, 0, 1, tzinfo=UTC)},
        {"at": datetime(2026, 5, 1, 12, tzinfo=UTC)},
        {"at": datetime(2012, 5, 1, 12, tzinfo=UTC)},
        {"product": "agent"},
        {"model": "small"},
        {"credits": 2_500_001},
        {"input_tokens": 101},
        {"cached_input_tokens": 21},
        {"output_tokens": 31},
        {"tags": {"team": "core"}},
        {"user": UserBy(email="bob@example.com")},
    ],
)
def test_another_event_under_the_same_id_is_a_conflict_and_changes_nothing(
    ledger: Ledger, change: dict[str, Any]
) -> None:
    ledger.record(ledger.event())
    before = counted(ledger)
    recorded = ledger.record(ledger.event(**change))
    assert (recorded.accepted, recorded.duplicates, codes(recorded)) == (0, 0, {0: ErrorCode.IDEMPOTENCY_CONFLICT})
    assert counted(ledger) == before
    assert ledger.reconciled().differences == ()


def test_another_source_may_use_the_same_id_and_so_may_another_workspace(desk: Desk, ledger: Ledger) -> None:
    other = new_ledger(desk)
    assert ledger.record(ledger.event(), ledger.event(source="another")) == Recorded(2, 0, ())
    assert other.record(other.event()) == Recorded(1, 0, ())
    assert (ledger.rows(), other.rows()) == (2, 1)


def test_the_same_id_twice_in_one_batch_is_one_event(ledger: Ledger) -> None:
    same, other = ledger.event(), ledger.event(credits=1)
    recorded = ledger.record(same, same, other, ledger.event(user=UserBy(external_id="x-ada")), ledger.event(tags={}))
    assert (recorded.accepted, recorded.duplicates, codes(recorded)) == (1, 3, {2: ErrorCode.IDEMPOTENCY_CONFLICT})
    assert ledger.charged() == {"red": (2_500_000, 1)}
    assert ledger.reconciled().differences == ()


def test_an_id_that_a_batch_repeats_is_compared_with_what_is_recorded(ledger: Ledger) -> None:
    ledger.record(ledger.event())
    other = ledger.event(credits=1)
    recorded = ledger.record(other, ledger.event(), other)
    expected = {0: ErrorCode.IDEMPOTENCY_CONFLICT, 2: ErrorCode.IDEMPOTENCY_CONFLICT}
    assert (recorded.accepted, recorded.duplicates, codes(recorded)) == (0, 1, expected)


def test_a_rejected_event_does_not_take_its_id(ledger: Ledger) -> None:
    stranger = ledger.event(user=UserBy(email="nobody@example.com"))
    recorded = ledger.record(stranger, stranger, ledger.event(), ledger.event(product=""))
    expected = {0: ErrorCode.UNKNOWN_USER, 1: ErrorCode.UNKNOWN_USER, 3: ErrorCode.INVALID_EVENT}
    assert (recorded.accepted, recorded.duplicates, codes(recorded)) == (1, 0, expected)


def test_a_batch_that_fails_is_undone_as_a_whole_and_may_be_sent_again(ledger: Ledger) -> None:
    events = [ledger.event(str(number)) for number in range(5)]

    async def lost() -> None:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            await record_usage(conn, workspace_id=ledger.workspace_id, events=events, now=NOW)
            raise ConnectionError

    for _ in range(10):
        with pytest.raises(ConnectionError):
            ledger.desk.run(lost())
        # Reads of the same connection go on.
        assert ledger.reconciled() == Reconciliation(0, 0, ())
    assert ledger.record(*events).accepted == 5
    assert ledger.record(*events).duplicates == 5


# Many writers at once.


async def written_by_many(dsn: str, ledger: Ledger, batches: list[list[UsageEvent]]) -> list[Recorded]:
    """Record every batch on a connection of its own, all at the same time."""
    database = Database(dsn, max_connections=len(batches))
    await database.open()
    try:
        theirs = replace(ledger, desk=replace(ledger.desk, database=database))
        return await asyncio.gather(*(theirs.recording(batch) for batch in batches))
    finally:
        await database.close()


def many_events(ledger: Ledger, random: Random, count: int) -> list[UsageEvent]:
    """Return uses of few people, products and days, which meet in few rows of the rollups."""
    return [
        ledger.event(
            str(number),
            user=UserBy(id=ledger.users[random.choice(["ada", "bob"])]),
            at=datetime(2026, 5, 31, 22, tzinfo=UTC) + timedelta(minutes=random.randrange(300)),
            product=random.choice(["chat", "agent", "api"]),
            model=random.choice(["small", "large"]),
            credits=random.randrange(10**6),
        )
        for number in range(count)
    ]


def corrections_of(events: list[UsageEvent]) -> list[UsageEvent]:
    return [
        replace(event, id=f"c{event.id}", corrects=event.id, credits=-(event.credits or 0), output_tokens=-1)
        for event in events
    ]


def test_identical_batches_at_the_same_time_leave_one_copy(desk: Desk, ledger: Ledger) -> None:
    events = many_events(ledger, Random(1), 200)  # noqa: S311 - dice, not a secret
    outcomes = desk.run(written_by_many(desk.fresh.server_dsn, ledger, [events] * 4))
    assert sorted((one.accepted, one.duplicates, one.rejected) for one in outcomes) == [(0, 200, ())] * 3 + [
        (200, 0, ())
    ]
    assert (ledger.rows(), ledger.rows("usage_event_key")) == (200, 200)
    assert ledger.reconciled().differences == ()


@pytest.mark.parametrize("seed", range(3))
def test_eight_writers_of_overlapping_shuffled_batches_all_succeed(desk: Desk, ledger: Ledger, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - dice, not a secret
    events = many_events(ledger, random, 400)
    batches = [random.sample(events, 250) for _ in range(8)]
    outcomes = desk.run(written_by_many(desk.fresh.server_dsn, ledger, batches))
    written = {event.id for batch in batches for event in batch}
    assert [one.rejected for one in outcomes] == [()] * 8
    assert sum(one.accepted for one in outcomes) == len(written) == ledger.rows()
    assert sum(one.duplicates for one in outcomes) == 8 * 250 - len(written)
    assert ledger.reconciled().differences == ()


@pytest.mark.parametrize("seed", range(3))
def test_writers_of_uses_and_corrections_together_never_wait_for_each_other_in_a_circle(
    desk: Desk, ledger: Ledger, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - dice, not a secret
    events = many_events(ledger, random, 240)
    known, new = events[:120], events[120:]
    ledger.record(*known)
    batches = []
    for _ in range(8):
        fresh = random.sample(new, 60)
        batches.append(random.sample(fresh + corrections_of(fresh[:20] + random.sample(known, 40)), 120))
    outcomes = desk.run(written_by_many(desk.fresh.server_dsn, ledger, batches))
    written = {event.id for batch in batches for event in batch}
    assert [one.rejected for one in outcomes] == [()] * 8
    assert sum(one.accepted for one in outcomes) == len(written) == ledger.rows() - 120
    assert ledger.reconciled().differences == ()


def test_conflicting_events_at_the_same_time_leave_the_one_that_came_first(desk: Desk, ledger: Ledger) -> None:
    batches = [[ledger.event(credits=number)] for number in range(6)]
    outcomes = desk.run(written_by_many(desk.fresh.server_dsn, ledger, batches))
    assert sorted(one.accepted for one in outcomes) == [0] * 5 + [1]
    conflicts = [codes(one) for one in outcomes if not one.accepted]
    assert conflicts == [{0: ErrorCode.IDEMPOTENCY_CONFLICT}] * 5
    winner = next(number for number, one in enumerate(outcomes) if one.accepted)
    assert ledger.charged() == {"red": (winner, 1)}


def test_a_correction_of_a_use_whose_id_another_writer_takes_first_is_not_recorded(desk: Desk, ledger: Ledger) -> None:
    batch = [ledger.event(), ledger.event("c1", corrects="1", credits=-500_000)]
    other = ledger.event(user=UserBy(id=ledger.users["bob"]))

    async def race() -> None:
        async with desk.database.transaction(ledger.scope) as conn:
            await record_usage(conn, workspace_id=ledger.workspace_id, events=[other], now=NOW)
            second = asyncio.create_task(ledger.recording(batch))
            while not second.done() and await asyncio.to_thread(desk.sql, WAITING) == [(0,)]:  # noqa: ASYNC110 - PostgreSQL's
                await asyncio.sleep(0.01)
        with pytest.raises(DatabaseUnavailable):
            await second

    desk.run(race())
    assert ledger.charged() == {None: (2_500_000, 1)}
    assert [one.code for one in ledger.record(*batch).rejected] == [
        ErrorCode.IDEMPOTENCY_CONFLICT,
        ErrorCode.INVALID_EVENT,
    ]
    assert ledger.charged() == {None: (2_500_000, 1)}
    assert ledger.reconciled().differences == ()


def slot_of(conn: Any) -> int:
    return int(conn.connection.info.backend_pid) % 4


def test_writers_of_other_groups_do_not_wait_for_each_other_at_the_workspace_s_day(desk: Desk, ledger: Ledger) -> None:
    ledger.put_user("eve", home="blue", groups=["blue"])
    event = ledger.event("2", user=UserBy(id=ledger.users["eve"]))

    async def race() -> None:
        database = Database(desk.fresh.server_dsn, max_connections=8)
        await database.open()
        try:
            async with contextlib.AsyncExitStack() as stack:
                conns = [await stack.enter_async_context(database.transaction(ledger.scope)) for _ in range(5)]
                first, *others = conns
                second = next(conn for conn in others if slot_of(conn) != slot_of(first))
                await record_usage(first, workspace_id=ledger.workspace_id, events=[ledger.event()], now=NOW)
                await asyncio.wait_for(
                    record_usage(second, workspace_id=ledger.workspace_id, events=[event], now=NOW), timeout=30
                )
        finally:
            await database.close()

    desk.run(race())
    slots = "SELECT count(DISTINCT slot), sum(requests) FROM rollup_workspace_day WHERE workspace_id = %s"
    assert desk.sql(slots, ledger.workspace_id) == [(2, 2)]
    assert ledger.reconciled().differences == ()


def test_a_move_waits_for_what_is_being_recorded(desk: Desk, ledger: Ledger) -> None:
    move = NewUser(ledger.users["ada"], "Ada", None, None, UserKind.PERSON, ledger.groups["blue"], ())

    async def moving() -> None:
        async with desk.database.transaction(ledger.scope) as conn:
            await put_users(conn, workspace_id=ledger.workspace_id, users=[move], now=NOW)

    async def race() -> None:
        async with desk.database.transaction(ledger.scope) as conn:
            await record_usage(conn, workspace_id=ledger.workspace_id, events=[ledger.event()], now=NOW)
            second = asyncio.create_task(moving())
            while not second.done() and await asyncio.to_thread(desk.sql, WAITING) == [(0,)]:  # noqa: ASYNC110 - PostgreSQL's
                await asyncio.sleep(0.01)
            assert not second.done()
        await second

    desk.run(race())
    ledger.record(ledger.event("2"))
    assert ledger.charged() == {"red": (2_500_000, 1), "blue": (2_500_000, 1)}


# Corrections.


def test_a_correction_adds_to_the_figures_and_is_no_request(ledger: Ledger) -> None:
    ledger.record(ledger.event())
    correction = ledger.event(
        "c1", corrects="1", credits=-1_000_000, input_tokens=-50, cached_input_tokens=5, output_tokens=0
    )
    assert ledger.record(correction) == Recorded(1, 0, ())
    assert ledger.charged() == {"red": (1_500_000, 1)}
    tokens = "SELECT sum(input_tokens), sum(cached_input_tokens), sum(output_tokens) FROM usage_event"
    assert ledger.desk.sql(f"{tokens} WHERE workspace_id = %s", ledger.workspace_id) == [(50, 25, 30)]
    assert ledger.record(correction) == Recorded(0, 1, ())
    assert ledger.reconciled().differences == ()


def test_a_correction_is_charged_to_whoever_paid_for_the_use_wherever_the_user_is_now(ledger: Ledger) -> None:
    ledger.record(ledger.event())
    ledger.put_user("ada", home="blue", groups=["blue"])
    assert ledger.record(ledger.event("c1", corrects="1", credits=-500_000)).accepted == 1
    assert ledger.record(ledger.event("2")).accepted == 1
    assert ledger.charged() == {"red": (2_000_000, 1), "blue": (2_500_000, 1)}
    ledger.put_user("ada")
    assert ledger.record(ledger.event("c2", corrects="2", credits=-500_000), ledger.event("3")).accepted == 2
    assert ledger.charged() == {"red": (2_000_000, 1), "blue": (2_000_000, 1), None: (2_500_000, 1)}
    assert ledger.reconciled().differences == ()


def test_a_correction_may_come_in_the_batch_of_its_use_and_before_it(ledger: Ledger) -> None:
    correction = ledger.event("c1", corrects="1", credits=-2_500_000)
    assert ledger.record(correction, ledger.event()) == Recorded(2, 0, ())
    assert ledger.charged() == {"red": (0, 1)}
    assert ledger.record(correction, ledger.event()) == Recorded(0, 2, ())


def test_a_correction_in_the_batch_of_a_duplicate_is_charged_as_the_use_was(ledger: Ledger) -> None:
    ledger.record(ledger.event())
    ledger.put_user("ada", home="blue", groups=["blue"])
    recorded = ledger.record(ledger.event(), ledger.event("c1", corrects="1", credits=-500_000))
    assert recorded == Recorded(1, 1, ())
    assert ledger.charged() == {"red": (2_000_000, 1)}


def test_a_correction_needs_a_recorded_use(ledger: Ledger) -> None:
    ledger.record(ledger.event(), ledger.event("c1", corrects="1", credits=-1))
    before = counted(ledger)
    recorded = ledger.record(
        ledger.event("c2", corrects="no such"),
        ledger.event("c3", corrects="c1", credits=1),
        ledger.event("c4", corrects="1", source="another"),
        ledger.event("c5", corrects="c5"),
        ledger.event("c6", corrects="bad"),
        ledger.event("bad", user=UserBy(email="nobody@example.com")),
    )
    unknown = dict.fromkeys(range(5), ErrorCode.UNKNOWN_EVENT)
    assert codes(recorded) == unknown | {5: ErrorCode.UNKNOWN_USER}
    assert counted(ledger) == before


@pytest.mark.parametrize("change", [{"product": "agent"}, {"model": "small"}, {"user": UserBy(external_id="x-bob")}])
@pytest.mark.parametrize("together", [False, True])
def test_a_correction_has_the_user_product_and_model_of_its_use(
    ledger: Ledger, change: dict[str, Any], *, together: bool
) -> None:
    correction = ledger.event("c1", corrects="1", credits=-1, **change)
    recorded = ledger.record(ledger.event(), correction) if together else ledger.record(ledger.event())
    recorded = recorded if together else ledger.record(correction)
    assert set(codes(recorded).values()) == {ErrorCode.INVALID_EVENT}
    assert ledger.charged() == {"red": (2_500_000, 1)}


# Charging.


def test_usage_is_charged_to_the_home_group_of_the_time_it_was_recorded(ledger: Ledger) -> None:
    ledger.record(ledger.event())
    ledger.put_user("ada", home="blue", groups=["red", "blue"])
    ledger.record(ledger.event("2", at=datetime(2026, 1, 1, tzinfo=UTC)))
    ledger.put_user("ada", home=None)
    ledger.record(ledger.event("3"))
    assert ledger.charged() == {"red": (2_500_000, 1), "blue": (2_500_000, 1), None: (2_500_000, 1)}
    ledger.put_user("ada", home="red", groups=["red"])
    assert ledger.charged() == {"red": (2_500_000, 1), "blue": (2_500_000, 1), None: (2_500_000, 1)}


# Limits and rejections.


def test_a_batch_takes_one_to_a_thousand_events(ledger: Ledger) -> None:
    events = [ledger.event(str(number)) for number in range(1001)]
    for batch in ([], events):
        with pytest.raises(BatchSizeError) as refused:
            ledger.record(*batch)
        assert refused.value.code is ErrorCode.BATCH_SIZE
    assert ledger.rows() == 0
    assert ledger.record(*events[:1000]) == Recorded(1000, 0, ())
    assert ledger.record(events[1000]) == Recorded(1, 0, ())


TOO_LATE = NOW + timedelta(days=1)
REJECTED: list[tuple[ErrorCode, dict[str, Any]]] = [
    *((ErrorCode.INVALID_EVENT, {name: ""}) for name in ("source", "id", "product", "model", "corrects")),
    *((ErrorCode.INVALID_EVENT, {name: "x" * 201}) for name in ("source", "id", "product", "model", "corrects")),
    *((ErrorCode.INVALID_EVENT, {name: "x" * 101}) for name in ("source", "product", "model")),
    *((ErrorCode.INVALID_EVENT, {"product": f"a{char}b"}) for char in ("\n", "\x00", "\x7f", "\u200b", "\ud800")),
    (ErrorCode.INVALID_EVENT, {"tags": {str(number): "" for number in range(21)}}),
    (ErrorCode.INVALID_EVENT, {"tags": {"": "empty"}}),
    (ErrorCode.INVALID_EVENT, {"tags": {"x" * 61: ""}}),
    (ErrorCode.INVALID_EVENT, {"tags": {"x": "y" * 201}}),
    (ErrorCode.INVALID_EVENT, {"tags": {"x": "\x00"}}),
    (ErrorCode.INVALID_EVENT, {"tags": {"\ud800": ""}}),
    (ErrorCode.INVALID_TIME, {"at": datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)}),
    (ErrorCode.INVALID_TIME, {"at": datetime(1, 1, 1, tzinfo=UTC)}),
    (ErrorCode.INVALID_TIME, {"at": datetime(9999, 12, 31, tzinfo=UTC)}),
    (ErrorCode.INVALID_TIME, {"at": TOO_LATE}),
    (ErrorCode.UNPRICED, {"credits": None}),
    (ErrorCode.INVALID_AMOUNT, {"credits": None, "corrects": "0"}),
    *((ErrorCode.INVALID_AMOUNT, {name: -1}) for name in ("messages", "tasks", "minutes")),
    *((ErrorCode.INVALID_AMOUNT, {name: MAX_TOKENS + 1}) for name in ("messages", "tasks")),
    (ErrorCode.INVALID_AMOUNT, {"minutes": MAX_MICRO_MINUTES + 1}),
    (ErrorCode.INVALID_AMOUNT, {"minutes": -MAX_MICRO_MINUTES - 1, "corrects": "0"}),
    (ErrorCode.INVALID_EVENT, {"tier": "x" * 101}),
    (ErrorCode.INVALID_EVENT, {"tier": "\x00"}),
    (ErrorCode.INVALID_AMOUNT, {"credits": -1}),
    (ErrorCode.INVALID_AMOUNT, {"credits": MAX_CREDITS + 1}),
    (ErrorCode.INVALID_AMOUNT, {"credits": 10**36}),
    (ErrorCode.INVALID_AMOUNT, {"credits": -MAX_CREDITS - 1, "corrects": "0"}),
    *((ErrorCode.INVALID_AMOUNT, {f"{kind}_tokens": -1}) for kind in ("input", "cached_input", "output")),
    *((ErrorCode.INVALID_AMOUNT, {f"{kind}_tokens": MAX_TOKENS + 1}) for kind in ("input", "cached_input", "output")),
    (ErrorCode.INVALID_AMOUNT, {"output_tokens": -MAX_TOKENS - 1, "corrects": "0"}),
    (ErrorCode.UNKNOWN_USER, {"user": UserBy(email="nobody@example.com")}),
    (ErrorCode.UNKNOWN_USER, {"user": UserBy(email="")}),
    (ErrorCode.UNKNOWN_USER, {"user": UserBy(external_id="ada")}),
    (ErrorCode.UNKNOWN_USER, {"user": UserBy()}),
    (ErrorCode.UNKNOWN_EVENT, {"corrects": "no such", "credits": -1}),
]


def test_what_cannot_be_recorded_is_named_with_its_reason_and_keeps_nothing_else_out(ledger: Ledger) -> None:
    events = [ledger.event(f"bad-{number}") for number in range(len(REJECTED))]
    events = [replace(event, **change) for event, (_, change) in zip(events, REJECTED, strict=True)]
    good = [ledger.event(f"good-{number}") for number in range(len(events))]
    batch = [event for pair in zip(events, good, strict=True) for event in pair]
    recorded = ledger.record(*batch)
    assert (recorded.accepted, recorded.duplicates) == (len(good), 0)
    assert codes(recorded) == {2 * number: code for number, (code, _) in enumerate(REJECTED)}
    assert ledger.charged() == {"red": (2_500_000 * len(good), len(good))}


def test_a_user_of_another_workspace_is_unknown_however_they_are_named(desk: Desk, ledger: Ledger) -> None:
    other = new_ledger(desk)
    eve = other.put_user("eve", home="red")
    names = [UserBy(id=eve), UserBy(email="eve@example.com"), UserBy(external_id="x-eve")]
    recorded = ledger.record(*(ledger.event(str(number), user=name) for number, name in enumerate(names)))
    assert codes(recorded) == dict.fromkeys(range(3), ErrorCode.UNKNOWN_USER)
    assert (ledger.rows(), other.rows()) == (0, 0)


def test_the_largest_and_the_smallest_of_everything_fit(ledger: Ledger) -> None:
    tags = {f"{number:060}": "v" * 200 for number in range(20)}
    largest = ledger.event(
        "i" * 200,
        source="s" * 100,
        product="p" * 100,
        model="é" * 100,
        at=TOO_LATE - timedelta(microseconds=1),
        credits=MAX_CREDITS,
        input_tokens=MAX_TOKENS,
        cached_input_tokens=MAX_TOKENS,
        output_tokens=MAX_TOKENS,
        tags=tags,
        messages=MAX_TOKENS,
        tasks=MAX_TOKENS,
        minutes=MAX_MICRO_MINUTES,
        tier="é" * 100,
    )
    taken_back = replace(
        largest, id="c", corrects=largest.id, credits=-MAX_CREDITS, input_tokens=-MAX_TOKENS, tags=None
    )
    smallest = ledger.event("0", at=datetime(2000, 1, 1, tzinfo=UTC), credits=0, input_tokens=0, product="p q")
    assert ledger.record(largest, smallest, taken_back) == Recorded(3, 0, ())
    assert ledger.record(largest, smallest, taken_back) == Recorded(0, 3, ())
    assert ledger.charged() == {"red": (0, 2)}
    assert ledger.reconciled().differences == ()


WORDS = st.text(max_size=205)
EVENTS = st.builds(
    UsageEvent,
    source=WORDS,
    id=WORDS,
    at=st.datetimes(timezones=st.just(UTC)),
    user=st.builds(UserBy),
    product=WORDS,
    model=WORDS,
    credits=st.none() | st.integers(-(10**36), 10**36),
    input_tokens=st.integers(-(10**36), 10**36),
    cached_input_tokens=st.integers(0, 10),
    output_tokens=st.integers(0, 10),
    corrects=st.none() | WORDS,
    tags=st.none() | st.dictionaries(WORDS, WORDS, max_size=22),
    messages=st.none() | st.integers(-(10**36), 10**36),
    minutes=st.none() | st.integers(-(10**36), 10**36),
    tier=WORDS,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS)
def test_any_event_passes_or_is_refused_with_a_code(event: UsageEvent) -> None:
    try:
        check_event(event, now=NOW)
    except EventError as refused:
        assert refused.code in {ErrorCode.INVALID_EVENT, ErrorCode.INVALID_TIME, ErrorCode.INVALID_AMOUNT}  # noqa: PT017
        return
    assert 2000 <= event.at.year <= 2026
