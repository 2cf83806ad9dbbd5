"""Setting, changing and removing limits: each in one transaction, alone in the workspace, so that it bites at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from creditdesk.credits.controls import Controls, changing_controls, limit_of, load_controls
from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.limit_rules import (
    InvalidLimitError,
    NewLimit,
    check_limit,
    check_version,
    end_limits,
    erase_limit,
    has_ended,
    limits_set_on,
    write_limit,
    write_limits,
)
from creditdesk.credits.limit_targets import (
    LimitsInForce,
    Target,
    UnknownUserError,
    ceilings_of,
    check_rises,
    check_values,
    limits_in_force,
    target_of,
    users_of,
)
from creditdesk.credits.limits import Enforcement, Limit, LimitKind, LimitScope, LimitValue, Shape
from creditdesk.credits.periods import Cadence, next_boundary
from creditdesk.credits.permitted import Authority
from creditdesk.credits.requests import approve_covered
from creditdesk.db.connections import Connection

MAX_BATCH = 1000


class UnknownLimitError(CreditError):
    """There is no such limit, or none that the caller may set."""

    code = ErrorCode.UNKNOWN_LIMIT


@dataclass(frozen=True, slots=True)
class Terms:
    """What a limit says, whomever it is for."""

    value: LimitValue
    shape: Shape
    enforcement: Enforcement = Enforcement.HARD
    expires_at: datetime | None = None
    reason: str | None = None

    def rule(self, scope: LimitScope, scope_id: UUID, kind: LimitKind = LimitKind.EACH_USER) -> NewLimit:
        """Return the rule that says this."""
        return NewLimit(scope, scope_id, kind, self.shape, self.value, self.enforcement, self.expires_at, self.reason)


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit to set. With `instead_of` it takes the place of the one with that cadence, when the period ends.

    `expected_version` is that of the limit that it changes, or takes the place of; 0: there is none; None: whatever.
    """

    target: Target
    kind: LimitKind
    terms: Terms
    expected_version: int | None = None
    instead_of: Cadence | None = None


async def set_limit(conn: Connection, authority: Authority, change: LimitChange, *, now: datetime) -> Limit:
    """Set a limit; raise one of limit_rules' or limit_targets' errors, UnknownLimitError or ForbiddenError."""
    workspace_id = authority.workspace_id
    await changing_controls(conn, workspace_id)
    scope, scope_id = await target_of(conn, authority, change.target, change.kind)
    rule = change.terms.rule(scope, scope_id, change.kind)
    check_limit(rule, now=now)
    await check_values(conn, authority, [rule])
    guard = await _Guard.before(conn, authority, [(scope, scope_id)])
    controls, expected = await load_controls(conn, workspace_id), change.expected_version
    if change.instead_of is not None:
        rule = await _in_place_of(conn, controls, authority, rule, change, now=now)
        expected = None
    limit = await write_limit(
        conn,
        controls,
        workspace_id=workspace_id,
        actor=authority.actor,
        rule=rule,
        now=now,
        expected_version=expected,
    )
    await guard.check(conn, [replace(rule.shape, cadence=change.instead_of or rule.shape.cadence), rule.shape], now=now)
    await _approve_covered(conn, controls, authority, [limit], now=now)
    return limit


async def set_limits(
    conn: Connection, authority: Authority, users: Sequence[UserBy], terms: Terms, *, now: datetime
) -> list[Limit]:
    """Set the same limit for each of up to 1000 users, or for none of them; return it for each that was named."""
    workspace_id = authority.workspace_id
    await changing_controls(conn, workspace_id)
    spenders = await users_of(conn, authority, users)
    ids = list(dict.fromkeys(spender.id for spender in spenders))
    rules = [terms.rule(LimitScope.USER, user_id) for user_id in ids]
    for rule in rules[:1]:
        check_limit(rule, now=now)
    await check_values(conn, authority, rules)
    guard = await _Guard.before(conn, authority, [(LimitScope.USER, user_id) for user_id in ids])
    controls = await load_controls(conn, workspace_id)
    limits = await write_limits(conn, controls, workspace_id=workspace_id, actor=authority.actor, rules=rules, now=now)
    await guard.check(conn, [terms.shape], now=now)
    await _approve_covered(conn, controls, authority, limits, now=now)
    written = {limit.scope_id: limit for limit in limits}
    return [written[spender.id] for spender in spenders]


async def remove_limit(
    conn: Connection, authority: Authority, limit_id: UUID, *, expected_version: int, now: datetime
) -> Limit:
    """Remove a limit, and return what it was: what it went before applies at once."""
    workspace_id = authority.workspace_id
    await changing_controls(conn, workspace_id)
    rows = await conn.rows("limit_to_remove", workspace_id=workspace_id, id=limit_id)
    if not rows:
        raise UnknownLimitError
    limit = limit_of(rows[0])
    await _check_may_remove(conn, authority, limit)
    check_version(limit, expected_version, now)
    guard = await _Guard.before(conn, authority, [(limit.scope, limit.scope_id)])
    await erase_limit(conn, workspace_id=workspace_id, actor=authority.actor, limit=limit, now=now)
    await guard.check(conn, [limit.shape], now=now)
    controls = await load_controls(conn, workspace_id)
    await _approve_covered(conn, controls, authority, [limit], now=now)
    return limit


async def _check_may_remove(conn: Connection, authority: Authority, limit: Limit) -> None:
    if authority.everywhere:
        return
    if limit.kind is LimitKind.EACH_USER and limit.scope is LimitScope.GROUP:
        if limit.scope_id in authority.managed_groups:
            return
    elif limit.scope is LimitScope.USER:
        try:
            await users_of(conn, authority, [UserBy(id=limit.scope_id)])
        except UnknownUserError as error:
            raise UnknownLimitError from error
        return
    raise UnknownLimitError


async def _in_place_of(
    conn: Connection, controls: Controls, authority: Authority, rule: NewLimit, change: LimitChange, *, now: datetime
) -> NewLimit:
    """Let the limit with the other cadence end with its period, and return the rule that starts there."""
    if change.instead_of is None or change.instead_of is rule.shape.cadence or rule.expires_at is not None:
        raise InvalidLimitError("`insteadOf` names the cadence of a limit that is to have another one, and lasts.")
    old = replace(rule.shape, cadence=change.instead_of)
    there = [
        limit
        for limit in await limits_set_on(conn, authority.workspace_id, [rule])
        if limit.kind is rule.kind and not has_ended(limit, now)
    ]
    lasting = next((limit for limit in there if limit.shape == old and not limit.temporary), None)
    if lasting is None:
        raise UnknownLimitError("There is no lasting limit with that cadence to change.")
    if change.expected_version is not None:
        check_version(lasting, change.expected_version, now)
    if any(limit.shape == rule.shape and not limit.temporary for limit in there):
        raise InvalidLimitError("There is a limit with the new cadence already: change that one, and remove the other.")
    boundary = next_boundary(change.instead_of, now, zone=controls.zone, anchors=controls.anchors)
    ending = [limit for limit in there if limit.shape == old]
    await end_limits(
        conn, workspace_id=authority.workspace_id, actor=authority.actor, limits=ending, at=boundary, now=now
    )
    return replace(rule, starts_at=boundary)


@dataclass(frozen=True, slots=True)
class _Guard:
    """Keeps a manager's change from raising anybody above the ceiling: it looks before and after."""

    authority: Authority
    scopes: Sequence[tuple[LimitScope, UUID]]
    were: LimitsInForce | None

    @classmethod
    async def before(
        cls, conn: Connection, authority: Authority, scopes: Sequence[tuple[LimitScope, UUID]]
    ) -> "_Guard":
        were = None if authority.everywhere else await limits_in_force(conn, authority, scopes)
        return cls(authority, scopes, were)

    async def check(self, conn: Connection, shapes: Sequence[Shape], *, now: datetime) -> None:
        if self.were is None:
            return
        check_rises(
            self.were,
            await limits_in_force(conn, self.authority, self.scopes),
            ceilings=await ceilings_of(conn, self.authority, self.scopes),
            shapes=shapes,
            workspace_id=self.authority.workspace_id,
            now=now,
        )


async def _approve_covered(
    conn: Connection, controls: Controls, authority: Authority, limits: Sequence[Limit], *, now: datetime
) -> None:
    """Approve the pending requests that a change of each user's limits has covered."""
    if limits[0].kind is LimitKind.EACH_USER:
        users = [limit.scope_id for limit in limits] if limits[0].scope is LimitScope.USER else None
        await approve_covered(
            conn,
            controls,
            workspace_id=authority.workspace_id,
            users=users,
            actor=authority.actor,
            now=now,
        )
