"""A workspace's choices about spending, and the ceilings of its group managers: read, changed and audited."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TypedDict
from uuid import UUID

from creditdesk.credits.amounts import format_credits
from creditdesk.credits.audit import AuditAction, AuditRecord, audit
from creditdesk.credits.controls import anchors_of, changing_controls
from creditdesk.credits.directory import FirstSignIn, GroupClaims
from creditdesk.credits.errors import CreditError, ErrorCode, ForbiddenError, InvalidInputError
from creditdesk.credits.event_rules import MAX_CREDITS
from creditdesk.credits.limit_targets import GroupNamed, group_of
from creditdesk.credits.limits import MultiGroup
from creditdesk.credits.periods import BillingAnchor, Cadence, anchors_with, period_of
from creditdesk.credits.permitted import Authority, PermittedScopes
from creditdesk.credits.pricing import UnknownModel
from creditdesk.db.connections import Connection

MAX_COOLDOWN_HOURS, MAX_OPEN_DAYS = 8760, 365


@dataclass(frozen=True, slots=True)
class WorkspaceSettings:
    """What a workspace has chosen; amounts are micro-credits. `next_anchor` is the one that has not begun yet."""

    multi_group: MultiGroup
    unknown_model: UnknownModel
    near_percent: int
    manager_ceiling: int | None
    auto_approval_per_period: int | None
    cooldown_hours: int
    request_open_days: int
    anchors: tuple[BillingAnchor, ...]
    first_sign_in: FirstSignIn
    group_claims: GroupClaims
    version: int
    zone: str

    def today(self, now: datetime) -> date:
        """Return the day of the workspace's zone that it is."""
        return period_of(Cadence.DAY, now, zone=self.zone, anchors=self.anchors).first_day

    def anchor(self, now: datetime) -> BillingAnchor:
        """Return the anchor of the billing cycle that is running."""
        today = self.today(now)
        return [self.anchors[0], *(anchor for anchor in self.anchors[1:] if anchor.since <= today)][-1]

    def next_anchor(self, now: datetime) -> BillingAnchor | None:
        """Return the anchor that a change to come brings."""
        return next((anchor for anchor in self.anchors[1:] if anchor.since > self.today(now)), None)


class SettingsChanges(TypedDict, total=False):
    """What is to be changed of the settings; what is not there stays."""

    multi_group: MultiGroup
    unknown_model: UnknownModel
    near_percent: int
    manager_ceiling: int | None
    auto_approval_per_period: int | None
    cooldown_hours: int
    request_open_days: int
    billing_anchor_day: int
    first_sign_in: FirstSignIn
    group_claims: GroupClaims


class SettingsConflictError(CreditError):
    """Somebody else changed this meanwhile: read it again, and decide again."""

    code = ErrorCode.VERSION_CONFLICT

    def __init__(self, current: WorkspaceSettings) -> None:
        self.current = current
        super().__init__()


async def load_settings(conn: Connection, workspace_id: UUID) -> WorkspaceSettings:
    """Read a workspace's settings."""
    [row] = await conn.rows("settings", workspace_id=workspace_id)
    (
        multi_group, unknown_model, near, ceiling, automatic, cooldown, open_days, since, days, first_sign_in,
        group_claims, version, zone,
    ) = row  # fmt: skip
    return WorkspaceSettings(
        MultiGroup[multi_group],
        UnknownModel[unknown_model],
        near,
        ceiling,
        automatic,
        cooldown,
        open_days,
        anchors_of(since, days),
        FirstSignIn[first_sign_in],
        GroupClaims[group_claims],
        version,
        zone,
    )


async def change_settings(
    conn: Connection, authority: Authority, changes: SettingsChanges, *, expected_version: int, now: datetime
) -> WorkspaceSettings:
    """Change a workspace's settings; raise SettingsConflictError or InvalidInputError.

    They decide from now on, but for the billing day, which moves when the running cycle ends.
    """
    workspace_id = authority.workspace_id
    await changing_controls(conn, workspace_id)
    before = await load_settings(conn, workspace_id)
    if before.version != expected_version:
        raise SettingsConflictError(before)
    after = changed(before, changes, now=now)
    if after == before:
        return before
    after = replace(after, version=before.version + 1)
    await conn.rows(
        "change_settings",
        workspace_id=workspace_id,
        multi_group=after.multi_group.name,
        unknown_model=after.unknown_model.name,
        near_percent=after.near_percent,
        manager_ceiling=after.manager_ceiling,
        auto_approval_per_period=after.auto_approval_per_period,
        cooldown_hours=after.cooldown_hours,
        request_open_days=after.request_open_days,
        anchor_since=[anchor.since for anchor in after.anchors],
        anchor_days=[anchor.day for anchor in after.anchors],
        first_sign_in=after.first_sign_in.name,
        group_claims=after.group_claims.name,
        version=after.version,
    )
    record = AuditRecord(
        AuditAction.SETTINGS_CHANGED, "Workspace", workspace_id, _state(before, now), _state(after, now)
    )
    await audit(conn, workspace_id=workspace_id, actor=authority.actor, records=[record], now=now)
    return after


def changed(settings: WorkspaceSettings, changes: SettingsChanges, *, now: datetime) -> WorkspaceSettings:
    """Return the settings with changes; raise InvalidInputError for what they cannot be."""
    anchors = settings.anchors
    if "billing_anchor_day" in changes:
        anchors = anchors_with(anchors, changes["billing_anchor_day"], today=settings.today(now))
    after = WorkspaceSettings(
        multi_group=changes.get("multi_group", settings.multi_group),
        unknown_model=changes.get("unknown_model", settings.unknown_model),
        near_percent=changes.get("near_percent", settings.near_percent),
        manager_ceiling=changes.get("manager_ceiling", settings.manager_ceiling),
        auto_approval_per_period=changes.get("auto_approval_per_period", settings.auto_approval_per_period),
        cooldown_hours=changes.get("cooldown_hours", settings.cooldown_hours),
        request_open_days=changes.get("request_open_days", settings.request_open_days),
        anchors=anchors,
        first_sign_in=changes.get("first_sign_in", settings.first_sign_in),
        group_claims=changes.get("group_claims", settings.group_claims),
        version=settings.version,
        zone=settings.zone,
    )
    _check_between("nearPercent", after.near_percent, 1, 100)
    _check_between("cooldownHours", after.cooldown_hours, 0, MAX_COOLDOWN_HOURS)
    _check_between("requestOpenDays", after.request_open_days, 1, MAX_OPEN_DAYS)
    _check_amount("managerCeiling", after.manager_ceiling)
    _check_amount("autoApprovalPerPeriod", after.auto_approval_per_period)
    return after


async def set_manager_ceiling(
    conn: Connection, authority: Authority, group: GroupNamed, ceiling: int | None, *, now: datetime
) -> UUID:
    """Set up to what a group's managers may set limits, or with None leave it to the workspace; return the group.

    Raise ForbiddenError for whoever does not set limits everywhere, UnknownGroupError or InvalidInputError.
    """
    workspace_id = authority.workspace_id
    if not authority.everywhere:
        raise ForbiddenError("A manager does not set the ceiling of their own limits.")
    _check_amount("ceiling", ceiling)
    await changing_controls(conn, workspace_id)
    group_id = await group_of(conn, authority, group)
    [(before,)] = await conn.rows("own_ceiling", workspace_id=workspace_id, group_id=group_id)
    await conn.rows("set_ceiling", workspace_id=workspace_id, group_id=group_id, ceiling=ceiling)
    record = AuditRecord(
        AuditAction.CEILING_SET,
        "Group",
        group_id,
        {"managerCeiling": _amount(before)},
        {"managerCeiling": _amount(ceiling)},
        group_id=group_id,
    )
    await audit(conn, workspace_id=workspace_id, actor=authority.actor, records=[record], now=now)
    return group_id


async def group_ceilings(
    conn: Connection, permitted: PermittedScopes, groups: Collection[UUID]
) -> dict[UUID, int | None]:
    """Return the ceilings of those groups that the caller may read: their own, or the workspace's."""
    rows = await conn.rows(
        "group_ceilings",
        workspace_id=permitted.workspace_id,
        groups=[group_id for group_id in groups if permitted.may_read_group(group_id)],
    )
    return dict(rows)


def _check_between(name: str, number: int, lowest: int, highest: int) -> None:
    if not lowest <= number <= highest:
        raise InvalidInputError(f"`{name}` is {lowest} to {highest}.")


def _check_amount(name: str, amount: int | None) -> None:
    if amount is not None and not 0 <= amount <= MAX_CREDITS:
        raise InvalidInputError(f"`{name}` is 0 to {format_credits(MAX_CREDITS)} credits, or null.")


def _amount(amount: int | None) -> str | None:
    return None if amount is None else format_credits(amount)


def _state(settings: WorkspaceSettings, now: datetime) -> dict[str, str | None]:
    """Return the settings as the audit trail shows them, by the API's names of their fields."""
    coming = settings.next_anchor(now)
    return {
        "multiGroup": settings.multi_group.name,
        "unknownModel": settings.unknown_model.name,
        "nearPercent": str(settings.near_percent),
        "managerCeiling": _amount(settings.manager_ceiling),
        "autoApprovalPerPeriod": _amount(settings.auto_approval_per_period),
        "cooldownHours": str(settings.cooldown_hours),
        "requestOpenDays": str(settings.request_open_days),
        "billingAnchorDay": str(settings.anchor(now).day),
        "nextBillingAnchorDay": str(coming.day) if coming else None,
        "nextBillingAnchorFrom": coming.since.isoformat() if coming else None,
        "firstSignIn": settings.first_sign_in.name,
        "groupClaims": settings.group_claims.name,
    }
