"""What decides whether a spend is allowed: settings, rules and people of a workspace, and the controls they make.

A control is one limit that applies to a spend, with the balance it counts in. Whoever changes any of this does so
inside `changing_controls`; whoever spends shares the same lock, so a change bites at once, and nothing is half changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID

from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.limits import (
    UNLIMITED,
    EffectiveLimit,
    Enforcement,
    Limit,
    Limited,
    LimitKind,
    LimitScope,
    LimitValue,
    MultiGroup,
    Shape,
    effective_limit,
    one_in_force,
)
from creditdesk.credits.periods import BillingAnchor, Cadence, Period, period_of
from creditdesk.credits.pricing import UnknownModel
from creditdesk.db.connections import Connection, Database, Row
from creditdesk.db.lookups import Lookup, lookup
from creditdesk.db.scopes import DatabaseRole, RowScope


@dataclass(frozen=True, slots=True)
class BalanceKind:
    """What balances are kept of: the use of some usage, in periods of a length, by each user, group or all together."""

    id: int
    scope: LimitScope
    shape: Shape


@dataclass(frozen=True, slots=True)
class Controls:
    """What decides about spending in one workspace, as of a version; people come on top.

    `near_percent` is the part of a limit from which on a budget is near its end.
    """

    version: int
    zone: str
    multi_group: MultiGroup
    unknown_model: UnknownModel
    near_percent: int
    anchors: tuple[BillingAnchor, ...]
    kinds: tuple[BalanceKind, ...]
    limits: Mapping[UUID, tuple[Limit, ...]]
    """The rules of groups and of the workspace, by the id of what they are set on."""


@dataclass(frozen=True, slots=True)
class Spender:
    """A user whom credits are spent for: who is charged, whose limits count, and the limits of their own."""

    id: UUID
    email: str | None
    external_id: str | None
    active: bool
    home_group_id: UUID | None
    group_ids: tuple[UUID, ...]
    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """A limit applied: what it allows, and the balance that it counts in. The balance is there without a limit, too."""

    kind: BalanceKind
    scope_id: UUID
    period: Period
    limit: EffectiveLimit

    @property
    def amount(self) -> int | None:
        """Return the limit in micro-credits, or None where there is none."""
        return self.limit.value.amount if isinstance(self.limit.value, Limited) else None

    @property
    def is_hard(self) -> bool:
        """Tell whether a spend that does not fit is stopped."""
        return self.limit.source is not None and self.limit.source.enforcement is Enforcement.HARD

    @property
    def key(self) -> str:
        """Return the balance's key. Sorted, keys are in the order of locks: users, then groups, then the workspace."""
        return f"{_LOCKED[self.kind.scope]}{self.kind.id:010d}{self.scope_id.hex}{self.period.first_day}"


_LOCKED = {scope: place for place, scope in enumerate((LimitScope.USER, LimitScope.GROUP, LimitScope.WORKSPACE))}


def limit_of(row: Row) -> Limit:
    """Return the rule that a row of `limit_columns` holds."""
    (
        id_, scope, scope_id, kind, cadence, product, model, unlimited, amount, enforcement, starts_at, expires_at,
        temporary, set_by, set_at, reason, version,
    ) = row  # fmt: skip
    value: LimitValue = UNLIMITED if unlimited else Limited(amount)
    return Limit(
        id=id_,
        scope=LimitScope[scope],
        scope_id=scope_id,
        kind=LimitKind[kind],
        shape=Shape(Cadence[cadence], product, model),
        value=value,
        enforcement=Enforcement[enforcement],
        starts_at=starts_at,
        expires_at=expires_at,
        temporary=temporary,
        set_by=set_by,
        set_at=set_at,
        reason=reason,
        version=version,
    )


async def controls_version(database: Database, workspace_id: UUID) -> int | None:
    """Return the version in force of what decides about spending, and of who may come in; None without a workspace."""
    conn = database.reader(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id))
    [version] = await conn.look_up([version_in_force(workspace_id)])
    return version


def version_in_force(workspace_id: UUID) -> Lookup[int | None]:
    """State what finds the same: to be read along with what is only true as of a version."""
    return lookup(lambda rows: int(rows[0][0][0]) if rows[0] else None, "controls_version", workspace_id=workspace_id)


async def load_controls(conn: Connection, workspace_id: UUID) -> Controls:
    """Read what decides about spending in a workspace. The version is read first, so it is never too new."""
    controls = await load_ruleless_controls(conn, workspace_id)
    limits = [limit_of(row) for row in await conn.rows("limits_of_groups", workspace_id=workspace_id)]
    return replace(controls, limits=by_scope(limits))


async def load_ruleless_controls(conn: Connection, workspace_id: UUID) -> Controls:
    """Read the settings that decide about spending, and what balances are kept: nobody's rules, nobody's use."""
    return ruleless_controls(*await conn.several("controls_settings", "balance_kinds", workspace_id=workspace_id))


def ruleless_controls(settings: Sequence[Row], kinds: Sequence[Row]) -> Controls:
    """Return the same from what `controls_settings` and `balance_kinds` read."""
    [(version, multi_group, unknown_model, near_percent, since, days, zone)] = settings
    return Controls(
        version=version,
        zone=zone,
        multi_group=MultiGroup[multi_group],
        unknown_model=UnknownModel[unknown_model],
        near_percent=near_percent,
        anchors=anchors_of(since, days),
        kinds=tuple(
            BalanceKind(id_, LimitScope[scope], Shape(Cadence[cadence], product, model))
            for id_, scope, cadence, product, model in kinds
        ),
        limits={},
    )


def anchors_of(since: Sequence[date], days: Sequence[int]) -> tuple[BillingAnchor, ...]:
    """Return the billing anchors that a workspace's settings hold."""
    return tuple(BillingAnchor(first, day) for first, day in zip(since, days, strict=True))


def by_scope(limits: Sequence[Limit]) -> dict[UUID, tuple[Limit, ...]]:
    """Return rules by the id of the user, group or workspace that they are set on."""
    found: dict[UUID, tuple[Limit, ...]] = {}
    for limit in limits:
        found[limit.scope_id] = (*found.get(limit.scope_id, ()), limit)
    return found


async def load_spenders(conn: Connection, workspace_id: UUID, users: Sequence[UserBy]) -> list[Spender]:
    """Read the users that are named, each once, with the limits of their own; those who are not there are left out."""
    rows = await conn.rows(
        "spenders",
        workspace_id=workspace_id,
        ids=[user.id for user in users if user.id is not None],
        emails=[user.email.lower() for user in users if user.email is not None],
        external_ids=[user.external_id for user in users if user.external_id is not None],
    )
    own = await conn.rows("limits_of_users", workspace_id=workspace_id, users=[row[0] for row in rows])
    limits = by_scope([limit_of(row) for row in own])
    return [
        Spender(id_, email, external_id, active, home, tuple(groups), limits.get(id_, ()))
        for id_, email, external_id, active, home, groups in rows
    ]


def periods_now(controls: Controls, now: datetime) -> dict[Cadence, Period]:
    """Return the current periods of the balances that are kept."""
    return {
        cadence: period_of(cadence, now, zone=controls.zone, anchors=controls.anchors)
        for cadence in {kind.shape.cadence for kind in controls.kinds}
    }


def controls_of(
    controls: Controls,
    spender: Spender,
    workspace_id: UUID,
    *,
    now: datetime,
    usage: tuple[str, str] | None = None,
    periods: Mapping[Cadence, Period] | None = None,
) -> Iterator[Control]:
    """Return every control of a user now; with `usage`, a product and a model, only those that a use of it counts in.

    A shared limit of a group counts what is charged to the group, so only the home group's applies. Whoever asks for
    many users hands in the `periods_now`.
    """
    periods = periods_now(controls, now) if periods is None else periods
    for kind in controls.kinds:
        if usage is not None and not kind.shape.covers(*usage):
            continue
        period = periods[kind.shape.cadence]
        match kind.scope:
            case LimitScope.USER:
                yield Control(
                    kind, spender.id, period, each_user_limit(controls, spender, workspace_id, kind.shape, now)
                )
            case LimitScope.GROUP if spender.home_group_id is not None:
                yield shared_control(controls, kind, spender.home_group_id, period, now)
            case LimitScope.WORKSPACE:
                yield shared_control(controls, kind, workspace_id, period, now)


def shared_control(controls: Controls, kind: BalanceKind, scope_id: UUID, period: Period, now: datetime) -> Control:
    """Return the control that a group, or the workspace, shares."""
    rules = [
        limit
        for limit in controls.limits.get(scope_id, ())
        if limit.kind is LimitKind.SHARED and limit.shape == kind.shape
    ]
    source = one_in_force(rules, now)
    value = source.value if source else UNLIMITED
    beaten = tuple(rule for rule in rules if rule is not source and rule.in_force(now))
    moments = [moment for rule in rules for moment in (rule.starts_at, rule.expires_at) if moment and moment > now]
    return Control(kind, scope_id, period, EffectiveLimit(value, source, beaten, min(moments, default=None)))


def each_user_limit(
    controls: Controls, spender: Spender, workspace_id: UUID, shape: Shape, now: datetime
) -> EffectiveLimit:
    """Return a user's limit for some usage: their own, else their groups', else the workspace's."""

    def of(limits: Sequence[Limit]) -> list[Limit]:
        return [limit for limit in limits if limit.kind is LimitKind.EACH_USER and limit.shape == shape]

    groups = [limit for group_id in spender.group_ids for limit in controls.limits.get(group_id, ())]
    return effective_limit(
        own=of(spender.limits),
        groups=of(groups),
        default=of(controls.limits.get(workspace_id, ())),
        multi_group=controls.multi_group,
        now=now,
    )


async def share_controls(conn: Connection, workspace_id: UUID) -> None:
    """Keep what decides about spending as it is until the transaction ends."""
    await conn.rows("share_controls", workspace_id=workspace_id)


async def changing_controls(conn: Connection, workspace_id: UUID) -> None:
    """Have what decides about spending to oneself until the transaction ends. Take it first, before any row."""
    await conn.rows("change_controls", workspace_id=workspace_id)


async def ensure_balance_kind(
    conn: Connection, controls: Controls, workspace_id: UUID, *, scope: LimitScope, shape: Shape, now: datetime
) -> None:
    """Keep the balances that a limit of this shape counts in, from the current period on. Under `changing_controls`."""
    if any(kind.scope is scope and kind.shape == shape for kind in controls.kinds):
        return
    period = period_of(shape.cadence, now, zone=controls.zone, anchors=controls.anchors)
    await conn.rows(
        "open_balance_kind",
        workspace_id=workspace_id,
        scope=scope.name,
        cadence=shape.cadence.name,
        product=shape.product,
        model=shape.model,
        since=period.first_day,
        now=now,
    )
