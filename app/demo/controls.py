"""The demo's spend controls: rates, limits at every level, somebody near the line and somebody over it, and requests.

They are cut to what its people really used, through the product's own operations. What is there already stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from creditdesk.app.demo.mix import MODELS
from creditdesk.app.demo.people import DEMO_PERSONS, MANAGED_GROUPS, RUNAWAY, DemoWorkspace
from creditdesk.credits.amounts import MICRO
from creditdesk.credits.controls import changing_controls, load_controls
from creditdesk.credits.directory import UserKind, workspace_by_slug
from creditdesk.credits.limit_rules import NewLimit, write_limits
from creditdesk.credits.limits import UNLIMITED, Enforcement, Limited, LimitKind, LimitScope, LimitValue, Shape
from creditdesk.credits.periods import Cadence, Period, period_of
from creditdesk.credits.permitted import Actor, Authority
from creditdesk.credits.pricing import Meter, NewMultiplier, NewRate
from creditdesk.credits.rates import put_rates
from creditdesk.credits.request_rules import Approval, Ask, Duration, DurationKind
from creditdesk.credits.requests import approve_request, deny_request, request_credits
from creditdesk.credits.workspace_settings import SettingsChanges, change_settings, load_settings
from creditdesk.db.connections import Database

_MONTH, _WEEK = Shape(Cadence.MONTH), Shape(Cadence.WEEK)
_DAYS = 30
_REQUESTS = (
    ("MEMBER", 60, "The migration to the new gateway needs agents for two more weeks.", None),
    ("ANALYST", 40, "Month-end reports: the large model reads contracts better.", None),
    ("BILLING", 25, "Trying the agent on the invoices of last year.", "DENIED"),
    ("GROUP_MANAGER", 80, "A workshop for the new colleagues on Thursday.", "APPROVED"),
)
"""Who asked for how many credits more, why, and what was decided."""


@dataclass(frozen=True, slots=True)
class _Used:
    """What a user used, in micro-credits: this month, and in the last thirty days."""

    user_id: UUID
    kind: UserKind
    this_month: int
    lately: int


async def put_controls(database: Database, workspace: DemoWorkspace, *, now: datetime) -> None:
    """Put what is missing of the controls in place."""
    owner = _authority(workspace, workspace.users[0].new.id)
    [(has_rates, has_limits, has_overrides, has_requests)] = await database.reader(owner.row_scope).rows(
        "demo_controls", workspace_id=workspace.id, now=now
    )
    if not has_rates:
        await _put_rates(database, owner, workspace, now)
    if not has_limits:
        await _put_settings(database, owner, now)
    if not has_limits or not has_overrides:
        await _put_limits(database, owner, workspace, now)
    if not has_requests:
        await _put_requests(database, owner, workspace, now)


def _authority(workspace: DemoWorkspace, user_id: UUID) -> Authority:
    user = next(user.new for user in workspace.users if user.new.id == user_id)
    actor = Actor("PERSON", f"{workspace.slug}|{user.external_id}", user_id)
    return Authority(workspace.id, actor, everywhere=True, managed_groups=frozenset())


async def _put_rates(database: Database, owner: Authority, workspace: DemoWorkspace, now: datetime) -> None:
    made = await workspace_by_slug(database, workspace.slug)
    since = made.created_at if made else now
    rates = [
        NewRate(one.product, one.model, meter, price * MICRO, since, None)
        for one in MODELS
        for meter, price in (
            (Meter.INPUT_TOKENS, one.input_price),
            (Meter.CACHED_INPUT_TOKENS, one.cached_price),
            (Meter.OUTPUT_TOKENS, one.output_price),
        )
    ]
    offer = MODELS[2]
    rates.append(
        NewRate(
            offer.product,
            offer.model,
            Meter.OUTPUT_TOKENS,
            offer.output_price * MICRO * 4 // 5,
            now - timedelta(days=7),
            now + timedelta(days=21),
        )
    )
    multipliers = [
        NewMultiplier("", "priority", 3 * MICRO // 2, since, None),
        NewMultiplier("", "batch", MICRO // 2, since, None),
    ]
    async with database.transaction(owner.row_scope) as conn:
        await put_rates(
            conn, workspace_id=workspace.id, actor=owner.actor, rates=rates, multipliers=multipliers, now=now
        )


async def _put_settings(database: Database, owner: Authority, now: datetime) -> None:
    changes: SettingsChanges = {
        "auto_approval_per_period": 5 * MICRO,
        "cooldown_hours": 24,
        "manager_ceiling": 2_000 * MICRO,
    }
    async with database.transaction(owner.row_scope) as conn:
        settings = await load_settings(conn, owner.workspace_id)
        await change_settings(conn, owner, changes, expected_version=settings.version, now=now)


async def _put_limits(database: Database, owner: Authority, workspace: DemoWorkspace, now: datetime) -> None:
    async with database.transaction(owner.row_scope) as conn:
        await changing_controls(conn, workspace.id)
        controls = await load_controls(conn, workspace.id)
        period = period_of(Cadence.MONTH, now, zone=controls.zone, anchors=controls.anchors)
        rows = await conn.rows(
            "demo_used",
            workspace_id=workspace.id,
            first_day=period.first_day,
            since=period.first_day - timedelta(days=_DAYS),
        )
        used = [_Used(user_id, UserKind[kind], *sums) for user_id, kind, *sums in rows]
        rules = [*_shared(workspace, used), *_each_user(workspace, used), *_overrides(workspace, used, period)]
        await write_limits(conn, controls, workspace_id=workspace.id, actor=owner.actor, rules=rules, now=now)


def _rule(scope: LimitScope, id_: UUID, value: LimitValue, reason: str, shape: Shape = _MONTH) -> NewLimit:
    return NewLimit(scope, id_, LimitKind.EACH_USER, shape, value, reason=reason)


def _rounded(amount: int) -> Limited:
    """Return a limit as people set them: tens of credits."""
    return Limited(max(10, -(-amount // (10 * MICRO)) * 10) * MICRO)


def _usual(used: Sequence[_Used]) -> int:
    """Return what nine of ten users stayed below lately, all of them most first."""
    return used[len(used) // 10].lately


def _shared(workspace: DemoWorkspace, used: Sequence[_Used]) -> Iterator[NewLimit]:
    everybody = sum(one.lately for one in used)
    yield NewLimit(
        LimitScope.WORKSPACE, workspace.id, LimitKind.SHARED, _MONTH, _rounded(2 * everybody), reason="The contract."
    )
    leading = _group(workspace, workspace.leading_group)
    yield NewLimit(
        LimitScope.GROUP,
        leading,
        LimitKind.SHARED,
        _MONTH,
        _rounded(everybody),
        enforcement=Enforcement.SOFT,
        reason="The department's plan: to be looked at, not to be stopped at.",
    )


def _each_user(workspace: DemoWorkspace, used: Sequence[_Used]) -> Iterator[NewLimit]:
    usual = _usual(used)
    yield _rule(LimitScope.WORKSPACE, workspace.id, _rounded(2 * usual), "What everybody may use.")
    yield _rule(LimitScope.WORKSPACE, workspace.id, _rounded(usual), "No month in a week.", _WEEK)
    agents = Shape(Cadence.MONTH, "agents")
    yield _rule(LimitScope.WORKSPACE, workspace.id, _rounded(usual), "Agents can run away.", agents)
    leading = _group(workspace, workspace.leading_group)
    yield _rule(LimitScope.GROUP, leading, _rounded(4 * usual), "They build with it.")
    for slug in MANAGED_GROUPS[1:]:
        if slug in {group.slug for group in workspace.groups}:
            yield _rule(LimitScope.GROUP, _group(workspace, slug), UNLIMITED, "Experiments are not rationed.")


def _overrides(workspace: DemoWorkspace, used: Sequence[_Used], period: Period) -> Iterator[NewLimit]:
    """Return overrides of this month: somebody who is near the line, and somebody who is over it."""
    month = {one.user_id: one.this_month for one in used}
    persons = {name: workspace.users[place].new.id for name, place in DEMO_PERSONS.items()}
    runaway = next((one.new.id for one in workspace.users if one.new.display_name == RUNAWAY), None)
    cut = [(persons["MEMBER"], 100, 92, "The pilot project."), (persons["ANALYST"], 100, 125, "Cut after the audit.")]
    if runaway is not None:
        cut.append((runaway, 100, 100, "It ran in a loop."))
    for user_id, parts, of, reason in cut:
        # At least one credit: on the first day of a month nobody has used anything yet.
        amount = max(month.get(user_id, 0) * parts // of // (MICRO // 100) * (MICRO // 100), MICRO)
        yield NewLimit(
            LimitScope.USER, user_id, LimitKind.EACH_USER, _MONTH, Limited(amount), expires_at=period.end, reason=reason
        )


def _group(workspace: DemoWorkspace, slug: str) -> UUID:
    return next(group.id for group in workspace.groups if group.slug == slug)


async def _put_requests(database: Database, owner: Authority, workspace: DemoWorkspace, now: datetime) -> None:
    for name, amount, reason, decision in _REQUESTS:
        asker = _authority(workspace, workspace.users[DEMO_PERSONS[name]].new.id)
        permanent = Duration(DurationKind.PERMANENT)
        duration = permanent if decision == "APPROVED" else Duration()
        async with database.transaction(owner.row_scope) as conn:
            ask = Ask(amount * MICRO, reason, _MONTH, duration)
            request = await request_credits(conn, asker, ask, now=now)
            if decision == "APPROVED":
                await approve_request(conn, owner, Approval(request.id, note="Have fun."), now=now)
            elif decision == "DENIED":
                await deny_request(conn, owner, request.id, note="Let us talk about it on Monday.", now=now)
