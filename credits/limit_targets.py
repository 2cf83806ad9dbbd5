"""Whom a limit is for, and who may set it: some everywhere, group managers in their groups and up to a ceiling."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from uuid import UUID

from creditdesk.credits.controls import Controls, Spender, each_user_limit, load_controls, load_spenders
from creditdesk.credits.errors import CreditError, ErrorCode, ForbiddenError
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.limit_rules import NewLimit
from creditdesk.credits.limits import EffectiveLimit, Enforcement, Limit, Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.permitted import Authority
from creditdesk.credits.request_rules import AboveCeilingError, check_ceiling
from creditdesk.db.connections import Connection


@dataclass(frozen=True, slots=True)
class GroupNamed:
    """A group named in one of two ways; exactly one is set."""

    id: UUID | None = None
    slug: str | None = None


@dataclass(frozen=True, slots=True)
class WholeWorkspace:
    """Everybody in the workspace."""


Target = UserBy | GroupNamed | WholeWorkspace


class UnknownUserError(CreditError):
    """No user of this workspace goes by that name; `index` says which, where several were named."""

    code = ErrorCode.UNKNOWN_USER

    def __init__(self, index: int = 0) -> None:
        self.index = index
        super().__init__()


class UnknownGroupError(CreditError):
    """No group of this workspace goes by that id or slug."""

    code = ErrorCode.UNKNOWN_GROUP


@dataclass(frozen=True, slots=True)
class LimitsInForce:
    """What decides about some users at a moment of a transaction: to compare it before and after a change."""

    controls: Controls
    spenders: tuple[Spender, ...]


async def target_of(conn: Connection, authority: Authority, target: Target, kind: LimitKind) -> tuple[LimitScope, UUID]:
    """Return what a limit of this kind is set on.

    Raise UnknownUserError or UnknownGroupError, also for what is outside a manager's groups, and ForbiddenError for
    what only those may set who set limits everywhere.
    """
    if not authority.everywhere and (kind is LimitKind.SHARED or isinstance(target, WholeWorkspace)):
        raise ForbiddenError("A group's manager sets limits for each of its users, and no others.")
    match target:
        case UserBy():
            [spender] = await users_of(conn, authority, [target])
            return LimitScope.USER, spender.id
        case GroupNamed():
            return LimitScope.GROUP, await group_of(conn, authority, target)
        case WholeWorkspace():
            return LimitScope.WORKSPACE, authority.workspace_id


async def users_of(conn: Connection, authority: Authority, users: Sequence[UserBy]) -> list[Spender]:
    """Return the users that are named; raise UnknownUserError for the first one whose limits may not be set."""
    found = await load_spenders(conn, authority.workspace_id, users)
    by_name: dict[UserBy, Spender] = {}
    for spender in found:
        by_name[UserBy(id=spender.id)] = spender
        by_name[UserBy(email=spender.email)] = spender
        by_name[UserBy(external_id=spender.external_id)] = spender
    named = []
    for index, user in enumerate(users):
        email = user.email.lower() if user.email is not None else None
        known = by_name.get(UserBy(user.id, email, user.external_id))
        if known is None or not _answers_for(authority, known):
            raise UnknownUserError(index)
        named.append(known)
    if not authority.everywhere and any(spender.id == authority.actor.user_id for spender in named):
        raise ForbiddenError("A group's manager sets no limit of their own.")
    return named


async def group_of(conn: Connection, authority: Authority, group: GroupNamed) -> UUID:
    """Return the group that is named; raise UnknownGroupError where it is none, or not the manager's."""
    rows = await conn.rows("group_named", workspace_id=authority.workspace_id, id=group.id, slug=group.slug)
    if not rows or not (authority.everywhere or rows[0][0] in authority.managed_groups):
        raise UnknownGroupError
    return UUID(str(rows[0][0]))


async def check_values(conn: Connection, authority: Authority, rules: Sequence[NewLimit]) -> None:
    """Raise AboveCeilingError for the first rule above the ceiling of a manager who sets it."""
    if authority.everywhere:
        return
    ceilings = await ceilings_of(conn, authority, [(rule.scope, rule.scope_id) for rule in rules])
    for rule in rules:
        # A soft limit stops nobody, so it is as good as none.
        stops = isinstance(rule.value, Limited) and rule.enforcement is Enforcement.HARD
        amount = rule.value.amount if isinstance(rule.value, Limited) and stops else None
        check_ceiling(amount, ceilings[rule.scope_id])


async def ceilings_of(
    conn: Connection, authority: Authority, scopes: Sequence[tuple[LimitScope, UUID]]
) -> dict[UUID, int | None]:
    """Return up to what a manager may set limits on users and groups; None where nothing may be set.

    For a user it is the highest of those of the managed groups that the user is in.
    """
    rows = await conn.rows(
        "manager_ceilings",
        workspace_id=authority.workspace_id,
        managed_groups=list(authority.managed_groups),
        groups=[scope_id for scope, scope_id in scopes if scope is LimitScope.GROUP],
        users=[scope_id for scope, scope_id in scopes if scope is LimitScope.USER],
    )
    found: dict[UUID, int | None] = dict(rows)
    return {scope_id: found.get(scope_id) for _, scope_id in scopes}


async def limits_in_force(
    conn: Connection, authority: Authority, scopes: Sequence[tuple[LimitScope, UUID]]
) -> LimitsInForce:
    """Read what decides about these users, and about the members of these groups."""
    groups = [scope_id for scope, scope_id in scopes if scope is LimitScope.GROUP]
    rows = await conn.rows("members_of_groups", workspace_id=authority.workspace_id, groups=groups)
    users = [scope_id for scope, scope_id in scopes if scope is LimitScope.USER] + [user_id for (user_id,) in rows]
    spenders = await load_spenders(conn, authority.workspace_id, [UserBy(id=user_id) for user_id in users])
    return LimitsInForce(await load_controls(conn, authority.workspace_id), tuple(spenders))


def check_rises(
    before: LimitsInForce,
    after: LimitsInForce,
    *,
    ceilings: Mapping[UUID, int | None],
    shapes: Sequence[Shape],
    workspace_id: UUID,
    now: datetime,
) -> None:
    """Raise AboveCeilingError where somebody will ever have more than before, and more than their manager's ceiling.

    What a rule gives way to may be higher than itself: so removing one, or letting it end earlier, is looked at too.
    `ceilings` are by user, or by the group whose members these are.
    """
    then = {spender.id: spender for spender in after.spenders}
    looked_at = set()
    for spender in before.spenders:
        changed = then[spender.id]
        of_groups = (ceilings.get(group) for group in spender.group_ids)
        highest = max((ceiling for ceiling in of_groups if ceiling is not None), default=None)
        ceiling = ceilings.get(spender.id, highest)
        case = (spender.group_ids, spender.limits, changed.limits, ceiling)
        if case in looked_at:
            continue
        looked_at.add(case)
        rules = [*spender.limits, *changed.limits]
        for one, scope_id in product((before, after), (*spender.group_ids, workspace_id)):
            rules += one.controls.limits.get(scope_id, ())
        for moment, shape in product(_moments(rules, now), shapes):
            had = _height(each_user_limit(before.controls, spender, workspace_id, shape, moment))
            has = _height(each_user_limit(after.controls, changed, workspace_id, shape, moment))
            if has > (had if ceiling is None else max(had, (False, ceiling))):
                raise AboveCeilingError(ceiling)


def _moments(rules: Iterable[Limit], now: datetime) -> Iterator[datetime]:
    """Yield now, and every moment to come at which a rule starts or expires."""
    yield from {now, *(at for rule in rules for at in (rule.starts_at, rule.expires_at) if at is not None and at > now)}


def _height(limit: EffectiveLimit) -> tuple[bool, int]:
    """Return what orders limits from low to high; what stops nobody is above every amount."""
    stops = limit.source is not None and limit.source.enforcement is Enforcement.HARD
    return (False, limit.value.amount) if isinstance(limit.value, Limited) and stops else (True, 0)


def _answers_for(authority: Authority, spender: Spender) -> bool:
    return authority.everywhere or not authority.managed_groups.isdisjoint(spender.group_ids)
