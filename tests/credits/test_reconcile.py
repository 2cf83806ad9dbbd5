from datetime import UTC, datetime, timedelta

import pytest

from creditdesk.credits.reconcile import Difference, Reconciliation, reconcile
from support.ledgers import Desk, Ledger, new_ledger

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


EVENTS_SAY = "credits 7, requests 3, input_tokens 400, cached_input_tokens 80, output_tokens 120"


@pytest.mark.parametrize("column", ["credits", "requests", "input_tokens", "cached_input_tokens", "output_tokens"])
@pytest.mark.parametrize("rollup", ["user_detail_day", "user_day", "user_month", "group_day", "group_hour"])
def test_a_figure_that_was_changed_is_named_in_every_rollup(recorded: Ledger, rollup: str, column: str) -> None:
    [found] = damaged(recorded, f"UPDATE rollup_{rollup} SET {column} = {column} + 1 WHERE true")  # noqa: S608 - names of ours
    assert (found.table, found.in_events) == (f"rollup_{rollup}", EVENTS_SAY)
    assert found.in_table != EVENTS_SAY
    assert "2026-06-01" in found.key


@pytest.mark.parametrize("rollup", ["user_detail_day", "user_day", "user_month", "group_day", "group_hour"])
def test_a_row_that_is_gone_is_named_in_every_rollup(recorded: Ledger, rollup: str) -> None:
    [found] = damaged(recorded, f"DELETE FROM rollup_{rollup} WHERE true")  # noqa: S608 - names of ours
    assert (found.table, found.in_events, found.in_table) == (f"rollup_{rollup}", EVENTS_SAY, "nothing")


@pytest.mark.parametrize("rollup", ["user_detail_day", "user_day", "user_month", "group_day", "group_hour"])
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
    assert len(found) == 6


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
    found = desk.run(reconcile(ledger.reader, workspace_id=ledger.workspace_id, most=5))
    assert len(found.differences) == 5
