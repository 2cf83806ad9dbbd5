"""A workspace's settings and its managers' ceilings: changed by one at a time, audited, and deciding at once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any, TypeVar, cast
from uuid import UUID

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.controls import load_controls
from creditdesk.credits.directory import FirstSignIn, GroupClaims
from creditdesk.credits.errors import ForbiddenError, InvalidInputError
from creditdesk.credits.limit_targets import GroupNamed, UnknownGroupError
from creditdesk.credits.limits import MultiGroup
from creditdesk.credits.periods import BillingAnchor, Cadence, period_of
from creditdesk.credits.permitted import Actor, Authority
from creditdesk.credits.pricing import UnknownModel
from creditdesk.credits.workspace_settings import (
    SettingsChanges,
    SettingsConflictError,
    WorkspaceSettings,
    change_settings,
    load_settings,
    set_manager_ceiling,
)
from creditdesk.db.connections import Connection
from support.ledgers import NOW, Ledger, new_ledger

T = TypeVar("T")
OWNER = Actor("PERSON", "owner", None)


def in_transaction(ledger: Ledger, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def working() -> T:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            return await work(conn)

    return cast("T", ledger.desk.run(working()))


def authority(ledger: Ledger, *, everywhere: bool = True) -> Authority:
    return Authority(ledger.workspace_id, OWNER, everywhere, frozenset(ledger.groups.values()))


def change(
    ledger: Ledger, changes: SettingsChanges, *, expected: int | None = None, now: datetime = NOW
) -> WorkspaceSettings:
    async def changing(conn: Connection) -> WorkspaceSettings:
        version = expected if expected is not None else (await load_settings(conn, ledger.workspace_id)).version
        return await change_settings(conn, authority(ledger), changes, expected_version=version, now=now)

    return in_transaction(ledger, changing)


def controls_version(ledger: Ledger) -> int:
    [(version,)] = ledger.desk.sql(
        "SELECT controls_version FROM workspace_settings WHERE workspace_id = %s", ledger.workspace_id
    )
    return int(version)


def test_a_new_workspace_has_settings(ledger: Ledger) -> None:
    assert ledger.desk.run(load_settings(ledger.reader, ledger.workspace_id)) == WorkspaceSettings(
        MultiGroup.HIGHEST,
        UnknownModel.DENY,
        80,
        None,
        None,
        0,
        30,
        (BillingAnchor(date(1970, 1, 1), 1),),
        FirstSignIn.REFUSE,
        GroupClaims.OFF,
        1,
        "UTC",
    )


def test_settings_are_changed_and_everybody_who_spends_is_told(ledger: Ledger) -> None:
    before = controls_version(ledger)
    changed = change(ledger, {"multi_group": MultiGroup.LOWEST, "manager_ceiling": 5 * MICRO, "cooldown_hours": 12})
    assert (changed.version, controls_version(ledger)) == (2, before + 1)
    assert ledger.desk.run(load_settings(ledger.reader, ledger.workspace_id)) == changed
    assert ledger.desk.run(load_controls(ledger.reader, ledger.workspace_id)).multi_group is MultiGroup.LOWEST
    assert change(ledger, {"manager_ceiling": None}).manager_ceiling is None


def test_a_change_of_settings_is_in_the_audit_trail_with_before_and_after(ledger: Ledger) -> None:
    change(ledger, {"near_percent": 90, "auto_approval_per_period": 2 * MICRO, "billing_anchor_day": 15})
    [(action, object_type, object_id, before, after)] = ledger.desk.sql(
        "SELECT action, object_type, object_id, before, after FROM audit_entry WHERE workspace_id = %s",
        ledger.workspace_id,
    )
    assert (action, object_type, object_id) == ("SETTINGS_CHANGED", "Workspace", ledger.workspace_id)
    assert {name for name in after if before[name] != after[name]} == {
        "nearPercent", "autoApprovalPerPeriod", "nextBillingAnchorDay", "nextBillingAnchorFrom"
    }  # fmt: skip
    assert (before["nearPercent"], after["nearPercent"]) == ("80", "90")
    assert (before["autoApprovalPerPeriod"], after["autoApprovalPerPeriod"]) == (None, "2")
    assert (after["nextBillingAnchorDay"], after["nextBillingAnchorFrom"]) == ("15", "2026-07-01")


def test_what_changes_nothing_leaves_the_version_and_no_trace(ledger: Ledger) -> None:
    assert change(ledger, {"near_percent": 80}).version == 1
    assert ledger.rows("audit_entry") == 0


def test_of_many_who_expect_the_same_version_one_changes_the_settings(ledger: Ledger) -> None:
    async def changing(percent: int) -> WorkspaceSettings:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            return await change_settings(
                conn, authority(ledger), {"near_percent": percent}, expected_version=1, now=NOW
            )

    async def racing() -> list[Any]:
        return await asyncio.gather(*(changing(percent) for percent in range(50, 58)), return_exceptions=True)

    outcomes = ledger.desk.run(racing())
    [won] = [one for one in outcomes if isinstance(one, WorkspaceSettings)]
    lost = [one for one in outcomes if isinstance(one, SettingsConflictError)]
    assert [one.current for one in lost] == [won] * 7
    assert ledger.desk.run(load_settings(ledger.reader, ledger.workspace_id)) == won
    assert ledger.rows("audit_entry") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"near_percent": 0},
        {"near_percent": 101},
        {"cooldown_hours": -1},
        {"cooldown_hours": 8761},
        {"request_open_days": 0},
        {"request_open_days": 366},
        {"manager_ceiling": -1},
        {"auto_approval_per_period": 1_000_000_000 * MICRO + 1},
        {"billing_anchor_day": 0},
        {"billing_anchor_day": 32},
    ],
)
def test_what_settings_cannot_be_is_refused_and_nothing_is_changed(ledger: Ledger, changes: dict[str, Any]) -> None:
    before = controls_version(ledger)
    with pytest.raises(InvalidInputError):
        change(ledger, cast("SettingsChanges", {"multi_group": MultiGroup.LOWEST} | changes))
    assert (controls_version(ledger), ledger.rows("audit_entry")) == (before, 0)


def test_the_billing_day_moves_when_the_running_cycle_ends(ledger: Ledger) -> None:
    def cycle(now: datetime) -> tuple[date, date]:
        controls = ledger.desk.run(load_controls(ledger.reader, ledger.workspace_id))
        period = period_of(Cadence.BILLING_CYCLE, now, zone=controls.zone, anchors=controls.anchors)
        return period.first_day, period.last_day

    changed = change(ledger, {"billing_anchor_day": 31})
    assert (changed.anchor(NOW).day, changed.next_anchor(NOW)) == (1, BillingAnchor(date(2026, 7, 1), 31))
    assert cycle(NOW) == (date(2026, 6, 1), date(2026, 6, 30))
    assert cycle(datetime(2026, 7, 2, tzinfo=UTC)) == (date(2026, 7, 1), date(2026, 7, 30))
    assert cycle(datetime(2026, 8, 2, tzinfo=UTC)) == (date(2026, 7, 31), date(2026, 8, 30))
    # Before it takes effect it may be taken back.
    assert change(ledger, {"billing_anchor_day": 1}).next_anchor(NOW) is None


def test_the_billing_day_is_that_of_the_workspace_s_zone(ledger: Ledger) -> None:
    east = new_ledger(ledger.desk, "Asia/Kathmandu")
    # It is the 1st of July there already.
    now = datetime(2026, 6, 30, 18, 30, tzinfo=UTC)
    assert change(east, {"billing_anchor_day": 10}, now=now).next_anchor(now) == BillingAnchor(date(2026, 8, 1), 10)
    assert change(ledger, {"billing_anchor_day": 10}, now=now).next_anchor(now) == BillingAnchor(date(2026, 7, 1), 10)


def ceilings(ledger: Ledger) -> list[tuple[Any, ...]]:
    return ledger.desk.sql(
        "SELECT slug, manager_ceiling FROM user_group WHERE workspace_id = %s ORDER BY slug", ledger.workspace_id
    )


def test_a_ceiling_is_set_for_the_managers_of_one_group_and_audited(ledger: Ledger) -> None:
    def setting(amount: int | None) -> Callable[[Connection], Awaitable[UUID]]:
        group = GroupNamed(slug="red")
        return lambda conn: set_manager_ceiling(conn, authority(ledger), group, amount, now=NOW)

    for amount in (5 * MICRO, None):
        in_transaction(ledger, setting(amount))
        assert ceilings(ledger) == [("blue", None), ("red", amount)]
    trail = ledger.desk.sql(
        "SELECT action, object_type, object_id, group_id, before, after FROM audit_entry WHERE workspace_id = %s"
        " ORDER BY id",
        ledger.workspace_id,
    )
    red = ledger.groups["red"]
    nothing, five = {"managerCeiling": None}, {"managerCeiling": "5"}
    assert trail == [
        ("CEILING_SET", "Group", red, red, nothing, five),
        ("CEILING_SET", "Group", red, red, five, nothing),
    ]


def test_a_manager_does_not_raise_their_own_ceiling(ledger: Ledger) -> None:
    manager = authority(ledger, everywhere=False)
    with pytest.raises(ForbiddenError):
        in_transaction(ledger, lambda conn: set_manager_ceiling(conn, manager, GroupNamed(slug="red"), 1, now=NOW))
    with pytest.raises(UnknownGroupError):
        in_transaction(
            ledger, lambda conn: set_manager_ceiling(conn, authority(ledger), GroupNamed(slug="no"), 1, now=NOW)
        )
    assert ceilings(ledger) == [("blue", None), ("red", None)]
    assert ledger.rows("audit_entry") == 0
