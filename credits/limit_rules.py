"""Limits as rules that are set, changed and removed: how one must look, and what is stored and audited of it.

Everything here happens under `changing_controls`, so a rule that was read is the one that is written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from unicodedata import category
from uuid import UUID, uuid4

from creditdesk.credits.amounts import format_credits
from creditdesk.credits.audit import AuditAction, AuditRecord, audit
from creditdesk.credits.controls import Controls, ensure_balance_kind, limit_of
from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.credits.event_rules import MAX_CREDITS
from creditdesk.credits.limits import Enforcement, Limit, Limited, LimitKind, LimitScope, LimitValue, Shape
from creditdesk.credits.permitted import Actor
from creditdesk.db.connections import Connection

_LONGEST_WORD, _LONGEST_REASON = 100, 1000
_LATEST = datetime(2101, 1, 1, tzinfo=UTC)


class InvalidLimitError(CreditError):
    """A limit's parts do not go together, or its amount is negative or too large."""

    code = ErrorCode.INVALID_LIMIT


class VersionConflictError(CreditError):
    """Somebody else changed this meanwhile: read it again, and decide again."""

    code = ErrorCode.VERSION_CONFLICT

    def __init__(self, current: Limit | None = None) -> None:
        self.current = current
        super().__init__()


@dataclass(frozen=True, slots=True)
class NewLimit:
    """A rule to set. With an expiry it is temporary, and the lasting one of the same kind and shape waits behind it.

    It starts at once, unless `starts_at` says later.
    """

    scope: LimitScope
    scope_id: UUID
    kind: LimitKind
    shape: Shape
    value: LimitValue
    enforcement: Enforcement = Enforcement.HARD
    expires_at: datetime | None = None
    reason: str | None = None
    starts_at: datetime | None = None


_Key = tuple[LimitScope, UUID, LimitKind, Shape, bool]


def key_of(rule: NewLimit | Limit) -> _Key:
    """Return what only one rule of a workspace has."""
    temporary = rule.temporary if isinstance(rule, Limit) else rule.expires_at is not None
    return (rule.scope, rule.scope_id, rule.kind, rule.shape, temporary)


def check_limit(rule: NewLimit, *, now: datetime) -> None:
    """Raise InvalidLimitError, with the reason, unless the rule could be set."""
    if rule.scope is LimitScope.USER and rule.kind is LimitKind.SHARED:
        raise InvalidLimitError("One user shares a limit with nobody: a user's limit is EACH_USER.")
    if rule.shape.model and not rule.shape.product:
        raise InvalidLimitError("A limit for a model names its product too.")
    for name, word in (("product", rule.shape.product), ("model", rule.shape.model)):
        if len(word) > _LONGEST_WORD or not word.isprintable():
            raise InvalidLimitError(f"`{name}` takes up to {_LONGEST_WORD} printable characters.")
    if isinstance(rule.value, Limited) and not 0 <= rule.value.amount <= MAX_CREDITS:
        raise InvalidLimitError(f"A limit is 0 to {format_credits(MAX_CREDITS)} credits.")
    if rule.expires_at is not None and not now < rule.expires_at < _LATEST:
        raise InvalidLimitError("A limit expires in the future, and before the year 2101.")
    reason = rule.reason or ""
    # What is no letter may still be text, such as the joints of an emoji: controls and halves of a pair are none.
    is_text = all(letter in "\n\t" or category(letter) not in {"Cc", "Cs"} for letter in reason)
    if len(reason) > _LONGEST_REASON or not is_text:
        raise InvalidLimitError(f"`reason` takes up to {_LONGEST_REASON} characters of text.")


async def write_limit(
    conn: Connection,
    controls: Controls,
    *,
    workspace_id: UUID,
    actor: Actor,
    rule: NewLimit,
    now: datetime,
    expected_version: int | None = None,
    request_id: UUID | None = None,
) -> Limit:
    """Set a rule, and return it: a new one, or the existing one of the same kind and shape changed.

    A lasting rule also takes away the temporary one that would go before it, so that the change bites at once.
    `controls` were loaded under `changing_controls`. Raise InvalidLimitError or VersionConflictError.
    """
    [limit] = await write_limits(
        conn,
        controls,
        workspace_id=workspace_id,
        actor=actor,
        rules=[rule],
        now=now,
        expected_version=expected_version,
        request_id=request_id,
    )
    return limit


async def write_limits(
    conn: Connection,
    controls: Controls,
    *,
    workspace_id: UUID,
    actor: Actor,
    rules: Sequence[NewLimit],
    now: datetime,
    expected_version: int | None = None,
    request_id: UUID | None = None,
) -> list[Limit]:
    """Set rules, each as `write_limit` does, in a number of statements that does not grow with theirs."""
    for rule in rules:
        check_limit(rule, now=now)
    before = {key_of(limit): limit for limit in await limits_set_on(conn, workspace_id, rules)}
    if expected_version is not None:
        for rule in rules:
            check_version(before.get(key_of(rule)), expected_version, now)
    for scope, shape in dict.fromkeys((balance_scope(rule), rule.shape) for rule in rules):
        await ensure_balance_kind(conn, controls, workspace_id, scope=scope, shape=shape, now=now)
    after = [_written(rule, before.get(key_of(rule)), actor, now) for rule in rules]
    ousted = [_temporary_of(rule, before) for rule in rules if rule.expires_at is None and rule.starts_at is None]
    removed = [limit for limit in ousted if limit is not None]
    await put_limits(conn, workspace_id=workspace_id, limits=after, request_id=request_id)
    if removed:
        await conn.rows("remove_limits", workspace_id=workspace_id, ids=[limit.id for limit in removed])
    records = [_record(AuditAction.LIMIT_SET, limit, before.get(key_of(limit)), limit) for limit in after]
    # One that has expired went out of force by itself, which is not for this actor to answer for.
    records += [_record(AuditAction.LIMIT_REMOVED, one, one, None) for one in removed if not has_ended(one, now)]
    await audit(conn, workspace_id=workspace_id, actor=actor, records=records, now=now)
    return after


async def end_limits(
    conn: Connection, *, workspace_id: UUID, actor: Actor, limits: Sequence[Limit], at: datetime, now: datetime
) -> list[Limit]:
    """Let rules go out of force at a moment to come, those that would last longer."""
    longer = [limit for limit in limits if limit.expires_at is None or limit.expires_at > at]
    ended = [
        replace(limit, expires_at=at, set_by=actor.user_id, set_at=now, version=limit.version + 1) for limit in longer
    ]
    await put_limits(conn, workspace_id=workspace_id, limits=ended, request_id=None)
    records = [
        _record(AuditAction.LIMIT_SET, after, before, after) for before, after in zip(longer, ended, strict=True)
    ]
    await audit(conn, workspace_id=workspace_id, actor=actor, records=records, now=now)
    return ended


async def erase_limit(conn: Connection, *, workspace_id: UUID, actor: Actor, limit: Limit, now: datetime) -> None:
    """Remove a rule, which was read under `changing_controls`."""
    await conn.rows("remove_limits", workspace_id=workspace_id, ids=[limit.id])
    record = _record(AuditAction.LIMIT_REMOVED, limit, limit, None)
    await audit(conn, workspace_id=workspace_id, actor=actor, records=[record], now=now)


async def limits_set_on(conn: Connection, workspace_id: UUID, rules: Iterable[NewLimit | Limit]) -> list[Limit]:
    """Read all rules of the users, groups or workspace that these are for."""
    scopes = list(dict.fromkeys((rule.scope.name, rule.scope_id) for rule in rules))
    rows = await conn.rows(
        "limits_set_on",
        workspace_id=workspace_id,
        scopes=[scope for scope, _ in scopes],
        scope_ids=[scope_id for _, scope_id in scopes],
    )
    return [limit_of(row) for row in rows]


async def put_limits(conn: Connection, *, workspace_id: UUID, limits: Sequence[Limit], request_id: UUID | None) -> None:
    """Store rules as they are, over those of the same kind and shape."""
    await conn.rows(
        "put_limits",
        workspace_id=workspace_id,
        ids=[limit.id for limit in limits],
        scopes=[limit.scope.name for limit in limits],
        scope_ids=[limit.scope_id for limit in limits],
        kinds=[limit.kind.name for limit in limits],
        cadences=[limit.shape.cadence.name for limit in limits],
        products=[limit.shape.product for limit in limits],
        models=[limit.shape.model for limit in limits],
        temporary=[limit.temporary for limit in limits],
        unlimited=[not isinstance(limit.value, Limited) for limit in limits],
        amounts=[limit.value.amount if isinstance(limit.value, Limited) else 0 for limit in limits],
        enforcements=[limit.enforcement.name for limit in limits],
        starts=[limit.starts_at for limit in limits],
        expiries=[limit.expires_at for limit in limits],
        set_by=[limit.set_by for limit in limits],
        set_at=[limit.set_at for limit in limits],
        reasons=[limit.reason for limit in limits],
        versions=[limit.version for limit in limits],
        request_id=request_id,
    )


def balance_scope(rule: NewLimit | Limit) -> LimitScope:
    """Return whose balances a rule counts in: each user's, or those of what shares it."""
    return LimitScope.USER if rule.kind is LimitKind.EACH_USER else rule.scope


def has_ended(limit: Limit, now: datetime) -> bool:
    """Tell whether a rule has expired; one that starts later has not."""
    return limit.expires_at is not None and limit.expires_at <= now


def check_version(existing: Limit | None, expected: int, now: datetime) -> None:
    """Raise VersionConflictError unless the rule is as expected; version 0 is of one that is not there, or expired."""
    current = None if existing is not None and expected == 0 and has_ended(existing, now) else existing
    if expected != (current.version if current else 0):
        raise VersionConflictError(current)


def _written(rule: NewLimit, existing: Limit | None, actor: Actor, now: datetime) -> Limit:
    # A rule that waits for its start goes on waiting: the one that it follows is in force until then.
    starts_at = rule.starts_at or (existing.starts_at if existing and existing.starts_at > now else now)
    return Limit(
        id=existing.id if existing else uuid4(),
        scope=rule.scope,
        scope_id=rule.scope_id,
        kind=rule.kind,
        shape=rule.shape,
        value=rule.value,
        enforcement=rule.enforcement,
        starts_at=starts_at,
        expires_at=rule.expires_at,
        temporary=rule.expires_at is not None,
        set_by=actor.user_id,
        set_at=now,
        reason=rule.reason or None,
        version=existing.version + 1 if existing else 1,
    )


def _temporary_of(rule: NewLimit, existing: Mapping[_Key, Limit]) -> Limit | None:
    return existing.get((rule.scope, rule.scope_id, rule.kind, rule.shape, True))


def _record(action: AuditAction, limit: Limit, before: Limit | None, after: Limit | None) -> AuditRecord:
    return AuditRecord(
        action,
        "CreditLimit",
        limit.id,
        _state(before) if before else None,
        _state(after) if after else None,
        user_id=limit.scope_id if limit.scope is LimitScope.USER else None,
        group_id=limit.scope_id if limit.scope is LimitScope.GROUP else None,
    )


def _state(limit: Limit) -> dict[str, str | None]:
    """Return a rule as the audit trail shows it, by the API's names of its fields."""
    return {
        "appliesTo": limit.scope.name,
        "kind": limit.kind.name,
        "cadence": limit.shape.cadence.name,
        "product": limit.shape.product or None,
        "model": limit.shape.model or None,
        "value": format_credits(limit.value.amount) if isinstance(limit.value, Limited) else "UNLIMITED",
        "enforcement": limit.enforcement.name,
        "startsAt": _moment(limit.starts_at),
        "expiresAt": _moment(limit.expires_at),
        "reason": limit.reason,
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
