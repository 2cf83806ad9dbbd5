"""A dry run of limits: who would have been stopped, when and by how much, had they been in force over past days.

Today's rules apply, with the simulated ones in place of those of the same kind and shape, and today's people: who is
in which group. Shared limits of groups count what was charged to them then. Each limit is looked at by itself: what
one of them would have stopped still counts in the others. Only hard ones stop anybody.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID, uuid4

from creditdesk.credits.controls import (
    BalanceKind,
    Controls,
    Spender,
    each_user_limit,
    load_controls,
    load_spenders,
    shared_control,
)
from creditdesk.credits.errors import InvalidRangeError
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.limit_rules import NewLimit, balance_scope, check_limit
from creditdesk.credits.limits import EffectiveLimit, Enforcement, Limit, Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Period, period_of_day
from creditdesk.credits.ranges import Range, day_of, midnight
from creditdesk.db.connections import Connection, Row

MAX_DAYS, MAX_ROWS = 400, 1000
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Stop:
    """A limit that would have stopped somebody in a period, at the first use that would not have fitted.

    `used` is what was used in the period until the range's end, `over` how much of it was past the limit, and
    `requests` how many uses there were from the one on that would have been stopped first. Credits are micro-credits.
    """

    scope: LimitScope
    scope_id: UUID
    shape: Shape
    amount: int
    simulated: bool
    period: Period
    at: datetime
    used: int
    over: int
    requests: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """The stops, those most over first, and how many there are with those left out."""

    stops: tuple[Stop, ...]
    count: int
    over: int


@dataclass(frozen=True, slots=True)
class _Crossing:
    """The day on which a balance of some kind went over its limit; `base` was used in the period before that day."""

    kind: BalanceKind
    scope_id: UUID
    period: Period
    limit: Limit
    used: int
    over: int
    day: date
    base: int
    later_requests: int

    @property
    def amount(self) -> int:
        return self.limit.value.amount if isinstance(self.limit.value, Limited) else 0


async def simulate_limits(
    conn: Connection, workspace_id: UUID, rules: Sequence[NewLimit], *, over: Range, first: int, now: datetime
) -> Simulation:
    """Return what rules would have stopped in past days; raise InvalidLimitError or InvalidRangeError.

    The days are those of the zone that are whole in the range. The number of statements grows with that of the kinds
    of limits only, and events are read of the days only on which somebody went over.
    """
    for rule in rules:
        check_limit(rule, now=now)
    if (over.last_day - over.first_day).days >= MAX_DAYS or over.last_day > day_of(now, over.zone):
        raise InvalidRangeError(f"A simulation is of up to {MAX_DAYS} days that have begun.")
    controls = await load_controls(conn, workspace_id)
    ids = await conn.rows("ids_of_users", workspace_id=workspace_id)
    spenders = await load_spenders(conn, workspace_id, [UserBy(id=user_id) for (user_id,) in ids])
    changed = _with(controls, spenders, rules, now)
    crossings: list[_Crossing] = []
    count = total = 0
    for kind in _kinds(*changed):
        found, of_kind, over_of_kind = await _crossings(
            conn, workspace_id, kind, changed, over=over, first=first, now=now
        )
        crossings += found
        count, total = count + of_kind, total + over_of_kind
    worst = sorted(crossings, key=lambda one: (-one.over, one.kind.id, one.scope_id, one.period.start))[:first]
    known = {limit.id for limits in controls.limits.values() for limit in limits}
    known |= {limit.id for spender in spenders for limit in spender.limits}
    return Simulation(await _stops(conn, workspace_id, worst, known, over.zone), count, total)


def _with(
    controls: Controls, spenders: Sequence[Spender], rules: Sequence[NewLimit], now: datetime
) -> tuple[Controls, list[Spender]]:
    """Return what would decide if the rules were set: each takes the place of the lasting and the temporary one."""
    of_scope = {spender.id: spender.limits for spender in spenders} | dict(controls.limits)
    for rule in rules:
        others = (
            limit for limit in of_scope.get(rule.scope_id, ()) if (limit.kind, limit.shape) != (rule.kind, rule.shape)
        )
        of_scope[rule.scope_id] = (*others, _as_set(rule, now))
    own = {spender.id for spender in spenders}
    shared = {scope_id: limits for scope_id, limits in of_scope.items() if scope_id not in own}
    return replace(controls, limits=shared), [replace(one, limits=of_scope[one.id]) for one in spenders]


def _as_set(rule: NewLimit, now: datetime) -> Limit:
    return Limit(
        uuid4(), rule.scope, rule.scope_id, rule.kind, rule.shape, rule.value, rule.enforcement,
        starts_at=now, expires_at=None, temporary=False, set_by=None, set_at=now, reason=None, version=1,
    )  # fmt: skip


def _kinds(controls: Controls, spenders: Sequence[Spender]) -> Iterator[BalanceKind]:
    """Yield what limits there are: whose balances they count in, and what usage."""
    limits = [limit for limits in controls.limits.values() for limit in limits]
    limits += [limit for spender in spenders for limit in spender.limits]
    found = dict.fromkeys((balance_scope(limit), limit.shape) for limit in limits)
    for id_, (scope, shape) in enumerate(found):
        yield BalanceKind(id_, scope, shape)


def _stopping(
    kind: BalanceKind, controls: Controls, spenders: Sequence[Spender], workspace_id: UUID, now: datetime
) -> Iterator[tuple[UUID, Limit]]:
    """Yield the limits of a kind that would stop somebody, each with what it stops."""
    known: dict[tuple[object, ...], EffectiveLimit] = {}
    # Shared limits need no period here: they are resolved for now.
    period = period_of_day(kind.shape.cadence, day_of(now, controls.zone), zone=controls.zone, anchors=controls.anchors)
    if kind.scope is LimitScope.USER:
        for spender in spenders:
            own = tuple(limit for limit in spender.limits if limit.shape == kind.shape)
            case = (spender.group_ids, own)
            if case not in known:
                known[case] = each_user_limit(controls, spender, workspace_id, kind.shape, now)
            yield from _if_hard(spender.id, known[case])
    else:
        for scope_id, limits in controls.limits.items():
            if any(limit.scope is kind.scope and limit.kind is LimitKind.SHARED for limit in limits):
                yield from _if_hard(scope_id, shared_control(controls, kind, scope_id, period, now).limit)


def _if_hard(scope_id: UUID, limit: EffectiveLimit) -> Iterator[tuple[UUID, Limit]]:
    source = limit.source
    if source is not None and isinstance(source.value, Limited) and source.enforcement is Enforcement.HARD:
        yield scope_id, source


def _periods(kind: BalanceKind, controls: Controls, over: Range) -> list[Period]:
    """Return the periods that a range has a part in."""
    found, day = [], over.first_day
    while day <= over.last_day:
        period = period_of_day(kind.shape.cadence, day, zone=controls.zone, anchors=controls.anchors)
        found.append(period)
        day = period.last_day + _DAY
    return found


async def _crossings(
    conn: Connection,
    workspace_id: UUID,
    kind: BalanceKind,
    changed: tuple[Controls, Sequence[Spender]],
    *,
    over: Range,
    first: int,
    now: datetime,
) -> tuple[list[_Crossing], int, int]:
    """Return the worst crossings of one kind, how many there are, and by how much in all."""
    limits = dict(_stopping(kind, *changed, workspace_id, now))
    periods = _periods(kind, changed[0], over)
    amounts = [limit.value.amount if isinstance(limit.value, Limited) else 0 for limit in limits.values()]
    rows = await conn.rows(
        "simulated_crossings",
        workspace_id=workspace_id,
        scope=kind.scope.name,
        product=kind.shape.product,
        model=kind.shape.model,
        scope_ids=list(limits),
        amounts=amounts,
        firsts=[period.first_day for period in periods],
        lasts=[min(period.last_day, over.last_day) for period in periods],
        since=over.first_day,
        size=first,
    )
    found = [_crossing(kind, limits, periods, row) for row in rows]
    return found, *(rows[0][-2:] if rows else (0, 0))


def _crossing(kind: BalanceKind, limits: Mapping[UUID, Limit], periods: Sequence[Period], row: Row) -> _Crossing:
    scope_id, nth, used, over, day, base, later, *_ = row
    return _Crossing(kind, scope_id, periods[nth - 1], limits[scope_id], used, over, day, base, later)


async def _stops(
    conn: Connection, workspace_id: UUID, crossings: Sequence[_Crossing], known: set[UUID], zone: str
) -> tuple[Stop, ...]:
    """Find the first use that would not have fitted on each day of a crossing."""
    rows = await conn.rows(
        "simulated_stops",
        workspace_id=workspace_id,
        scopes=[one.kind.scope.name for one in crossings],
        scope_ids=[one.scope_id for one in crossings],
        products=[one.kind.shape.product for one in crossings],
        models=[one.kind.shape.model for one in crossings],
        starts=[midnight(one.day, zone) for one in crossings],
        ends=[midnight(one.day + _DAY, zone) for one in crossings],
        bases=[one.base for one in crossings],
        amounts=[one.amount for one in crossings],
    )
    return tuple(
        Stop(
            one.kind.scope,
            one.scope_id,
            one.kind.shape,
            one.amount,
            one.limit.id not in known,
            one.period,
            at,
            one.used,
            one.over,
            requests + one.later_requests,
        )
        for nth, at, requests in rows
        for one in [crossings[nth - 1]]
    )
