from datetime import UTC, datetime, timedelta

import pytest

from creditdesk.credits.periods import Cadence
from creditdesk.credits.reconcile import ROLLUPS, Difference, Reconciliation, reconcile
from support.holding import Holding
from support.ledgers import NOW, Desk, Ledger, new_ledger

QUARTER = timedelta(minutes=15)


@pytest.fixture
def recorded(ledger: Ledger) -> Ledger:
    """Three uses of one day and a correction."""
    events = [ledger.event(str(number)) for number in range(3)]
    correction = ledger.event("c", corrects="1", credits=-500_000)
    assert ledger.record(*events, correction).accepted == 4
    return ledger


def damaged(ledger: Ledger, change: str) -> tuple[Difference, ...]:
    """Return what is found after one row was changed by hand."""
    ledger.desk.sql(change.replace("WHERE", "WHERE workspace_id = %s AND"), ledger.workspace_id)
    return ledger.reconciled().differences


def test_rollups_and_keys_are_the_sum_of_the_events(recorded: Ledger) -> None:
    reconciliation = recorded.reconciled()
    assert (reconciliation.events, reconciliation.credits, reconciliation.differences) == (4, 7_000_000, ())


def test_an_empty_workspace_adds_up(ledger: Ledger) -> None:
    assert ledger.reconciled() == Reconciliation(0, 0, ())


def test_other_workspaces_do_not_count(desk: Desk, recorded: Ledger) -> None:
    other = new_ledger(desk)
    other.record(other.event())
    assert other.reconciled().events == 1
    desk.sql("UPDATE rollup_user_day SET credits = 0 WHERE workspace_id = %s", other.workspace_id)
    assert recorded.reconciled().differences == ()


# Balances and holds.


@pytest.fixture
def holding(ledger: Ledger) -> Holding:
    """Of 10 credits 3 are used and 4 held, by two settled holds and one that is held; one has expired."""
    holding = Holding(ledger)
    holding.limit("red", 10, shared=True)
    holding.place("expired", 1, seconds=1)
    for id_, used in (("a", 1), ("b", 2)):
        holding.settle(holding.place(id_, 2), used)
    holding.clock.move(seconds=30)
    holding.place("c", 4)
    return holding


def damage(holding: Holding, change: str, *parameters: object) -> list[tuple[str, str, str, str]]:
    """Return what is found after a change by hand, without the rollups."""
    holding.ledger.desk.sql(
        change.replace("WHERE", "WHERE workspace_id = %s AND"), holding.ledger.workspace_id, *parameters
    )
    return [
        (one.table, one.key, one.in_events, one.in_table)
        for one in holding.differences()
        if not one.table.startswith("rollup")
    ]


def keys(holding: Holding) -> tuple[str, str]:
    ledger = holding.ledger
    return (
        f"GROUP MONTH '' '' {ledger.groups['red']} 2026-06-01",
        f"USER MONTH '' '' {ledger.users['ada']} 2026-06-01",
    )


def test_balances_are_the_sum_of_the_events_and_of_what_is_held(holding: Holding) -> None:
    assert set(holding.balances().values()) == {("3", "4")}
    assert holding.differences() == ()
    holding.clock.move(days=2)
    assert set(holding.balances().values()) == {("3", "0")}
    assert holding.differences() == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE balance SET used = used - 1 WHERE true", "used 2.999999, held 4"),
        ("UPDATE balance SET held = '{}' WHERE true", "used 3, held 0"),
        ("UPDATE balance SET used = 0, held = '{}' WHERE true", "used 0, held 0"),
        ("DELETE FROM balance WHERE true", "nothing"),
    ],
)
def test_a_balance_that_was_changed_is_named(holding: Holding, change: str, says: str) -> None:
    assert damage(holding, change) == [("balance", key, "used 3, held 4", says) for key in keys(holding)]


def test_a_balance_with_nothing_behind_it_is_named_unless_it_is_zero(holding: Holding) -> None:
    copy = (
        "INSERT INTO balance SELECT workspace_id, kind_id, scope_id, (first_day - interval '1 month')::date, shared,"
        " {}, '{{}}' FROM balance WHERE true"
    )
    assert damage(holding, copy.format(0)) == []
    found = damage(holding, "UPDATE balance SET used = 5 WHERE used = 0")
    assert [(table, says, has) for table, _, says, has in found] == [
        ("balance", "nothing", "used 0.000005, held 0")
    ] * 2
    assert all("2026-05-01" in key for _, key, _, _ in found)


def test_a_hold_whose_state_was_changed_is_named(holding: Holding) -> None:
    red, ada = keys(holding)
    assert damage(holding, "UPDATE hold SET state = 'RELEASED' WHERE external_id = 'c'") == [
        ("balance", red, "used 3, held 0", "used 3, held 4"),
        ("balance", ada, "used 3, held 0", "used 3, held 4"),
    ]
    assert damage(holding, "UPDATE hold SET state = 'SETTLED', settled_amount = 4 WHERE external_id = 'c'")[2:] == [
        ("hold", "'gateway' 'c'", "nothing", "credits 0.000004")
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "UPDATE hold SET settled_amount = settled_amount + 1 WHERE external_id = 'b'",
            ("credits 2", "credits 2.000001"),
        ),
        ("UPDATE hold SET product = 'agent' WHERE external_id = 'b'", ("nothing", "credits 2")),
        ("UPDATE hold SET group_id = NULL WHERE external_id = 'b'", ("nothing", "credits 2")),
    ],
)
def test_a_settled_hold_that_is_not_what_was_recorded_is_named(
    holding: Holding, change: str, says: tuple[str, str]
) -> None:
    assert damage(holding, change) == [("hold", "'gateway' 'b'", *says)]


def test_a_settled_hold_without_its_event_or_with_two_is_named(holding: Holding) -> None:
    columns = (
        "workspace_id, user_id, at, group_id, recorded_at, credits, requests, input_tokens, cached_input_tokens,"
        " output_tokens, source, external_id, product, model"
    )
    copy = f"INSERT INTO usage_event ({columns}) SELECT {columns} FROM usage_event WHERE external_id = 'b'"  # noqa: S608
    assert ("hold", "'gateway' 'b'", "credits 2, credits 2", "credits 2") in damage(holding, copy)
    found = damage(holding, "DELETE FROM usage_event WHERE external_id = 'b'")
    assert ("hold", "'gateway' 'b'", "nothing", "credits 2") in found
    assert ("balance", keys(holding)[0], "used 1, held 4", "used 3, held 4") in found


def test_days_before_a_kind_was_opened_are_not_missed(ledger: Ledger) -> None:
    holding = Holding(ledger)
    ledger.record(ledger.event(at=datetime(2026, 6, 1, tzinfo=UTC)))
    holding.limit("ada", 5, cadence=Cadence.DAY)
    assert holding.balances() == {("ada", "MONTH"): ("2.5", "0")}
    assert holding.differences() == ()


EVENTS_SAY = "credits 7, requests 3, input_tokens 400, cached_input_tokens 80, output_tokens 120"


@pytest.mark.parametrize("column", ["credits", "requests", "input_tokens", "cached_input_tokens", "output_tokens"])
@pytest.mark.parametrize("rollup", ROLLUPS)
def test_a_figure_that_was_changed_is_named_in_every_rollup(recorded: Ledger, rollup: str, column: str) -> None:
    [found] = damaged(recorded, f"UPDATE rollup_{rollup} SET {column} = {column} + 1 WHERE true")  # noqa: S608 - names of ours
    assert (found.table, found.in_events) == (f"rollup_{rollup}", EVENTS_SAY)
    assert found.in_table != EVENTS_SAY
    assert "2026-06-01" in found.key


@pytest.mark.parametrize("rollup", ROLLUPS)
def test_a_row_that_is_gone_is_named_in_every_rollup(recorded: Ledger, rollup: str) -> None:
    [found] = damaged(recorded, f"DELETE FROM rollup_{rollup} WHERE true")  # noqa: S608 - names of ours
    assert (found.table, found.in_events, found.in_table) == (f"rollup_{rollup}", EVENTS_SAY, "nothing")


@pytest.mark.parametrize("rollup", [one for one in ROLLUPS if one != "workspace_day"])
def test_a_row_that_was_charged_to_another_group_is_named_on_both_sides(recorded: Ledger, rollup: str) -> None:
    group_id = recorded.groups["blue"]
    found = damaged(recorded, f"UPDATE rollup_{rollup} SET group_id = '{group_id}' WHERE true")  # noqa: S608 - names of ours
    said = {(one.table, one.in_events, one.in_table, str(group_id) in one.key) for one in found}
    table = f"rollup_{rollup}"
    assert said == {(table, EVENTS_SAY, "nothing", False), (table, "nothing", EVENTS_SAY, True)}


def test_an_event_without_a_key_is_named(recorded: Ledger) -> None:
    [found] = damaged(recorded, "DELETE FROM usage_event_key WHERE external_id = '2'")
    assert (found.table, found.in_events, found.in_table) == ("usage_event_key", "1 events", "0 keys")
    assert found.key.startswith("'gateway' '2' ")


def test_a_key_without_an_event_is_named_and_so_is_every_sum_it_leaves(recorded: Ledger) -> None:
    found = damaged(recorded, "DELETE FROM usage_event WHERE external_id = '2'")
    assert [(one.table, one.in_events, one.in_table) for one in found if one.table == "usage_event_key"] == [
        ("usage_event_key", "0 events", "1 keys")
    ]
    assert len(found) == 8


def test_an_event_that_is_there_twice_is_named(recorded: Ledger) -> None:
    columns = (
        "workspace_id, user_id, at, group_id, recorded_at, credits, requests, input_tokens, cached_input_tokens,"
        " output_tokens, source, external_id, product, model, corrects, tags"
    )
    found = damaged(
        recorded,
        f"INSERT INTO usage_event ({columns}) SELECT {columns} FROM usage_event WHERE external_id = '2'",  # noqa: S608 - names of ours
    )
    assert ("usage_event_key", "2 events", "1 keys") in {(one.table, one.in_events, one.in_table) for one in found}


def test_names_that_only_differ_in_where_their_spaces_are_do_not_look_like_damage(ledger: Ledger) -> None:
    ledger.record(
        ledger.event("1", product="a b", model="c", credits=1),
        ledger.event("2", product="a", model="b c", credits=2),
        ledger.event("x y", source="s", credits=3),
        ledger.event("y", source="s x", credits=4),
    )
    assert ledger.reconciled().differences == ()


def test_days_on_which_clocks_change_add_up(desk: Desk) -> None:
    for zone in ("Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"):
        ledger = new_ledger(desk, zone)
        start = datetime(2026, 4, 4, tzinfo=UTC)
        ledger.record(*(ledger.event(str(step), at=start + step * QUARTER) for step in range(192)))
        assert ledger.reconciled().differences == ()


def test_damage_is_named_up_to_a_number_for_each_table(desk: Desk, ledger: Ledger) -> None:
    start = datetime(2026, 4, 4, tzinfo=UTC)
    ledger.record(*(ledger.event(str(hour), at=start + 4 * hour * QUARTER) for hour in range(24)))
    desk.sql("UPDATE rollup_group_hour SET credits = 0 WHERE workspace_id = %s", ledger.workspace_id)
    found = desk.run(reconcile(ledger.reader, workspace_id=ledger.workspace_id, now=NOW, most=5))
    assert len(found.differences) == 5
