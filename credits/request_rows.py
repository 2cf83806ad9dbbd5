"""Requests as they are stored and audited: added once, ended once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from creditdesk.credits.amounts import format_credits
from creditdesk.credits.audit import AuditAction, AuditRecord, audit
from creditdesk.credits.controls import Controls
from creditdesk.credits.limits import LimitScope, Shape
from creditdesk.credits.periods import Cadence, Period
from creditdesk.credits.permitted import Actor
from creditdesk.credits.request_rules import CreditRequest, DurationKind, RequestState
from creditdesk.db.connections import Connection, Row

_ENDED = {
    RequestState.APPROVED: AuditAction.REQUEST_APPROVED,
    RequestState.DENIED: AuditAction.REQUEST_DENIED,
    RequestState.CANCELLED: AuditAction.REQUEST_CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ends: what is granted, until when, and by which rule, where it is approved."""

    request: CreditRequest
    amount: int | None = None
    until: datetime | None = None
    limit_id: UUID | None = None


def request_of(row: Row) -> CreditRequest:
    """Return the request that a row of `request_columns` holds."""
    (
        id_, user_id, cadence, product, model, amount, reason, duration, until, state, limit_then, used_then,
        created_at, expires_at, decided_at, decided_by, automatic, decision_note, granted_amount, granted_until,
        limit_id,
    ) = row  # fmt: skip
    return CreditRequest(
        id=id_,
        user_id=user_id,
        shape=Shape(Cadence[cadence], product, model),
        amount=amount,
        reason=reason,
        duration=DurationKind[duration],
        until=until,
        state=RequestState[state],
        limit_then=limit_then,
        used_then=used_then,
        created_at=created_at,
        expires_at=expires_at,
        decided_at=decided_at,
        decided_by=decided_by,
        automatic=automatic,
        decision_note=decision_note,
        granted_amount=granted_amount,
        granted_until=granted_until,
        limit_id=limit_id,
    )


def limit_key(workspace_id: UUID, user_id: UUID, shape: Shape) -> dict[str, object]:
    """Return what names the one limit of a user that a request is to raise."""
    return {
        "workspace_id": workspace_id,
        "user_id": user_id,
        "cadence": shape.cadence.name,
        "product": shape.product,
        "model": shape.model,
    }


async def find_request(
    conn: Connection,
    workspace_id: UUID,
    request_id: UUID,
    *,
    everyone: bool = False,
    own_user: UUID | None,
    managed_groups: frozenset[UUID] = frozenset(),
) -> CreditRequest | None:
    """Return a request of whoever may be seen, as it is stored."""
    rows = await conn.rows(
        "requests_by_id",
        workspace_id=workspace_id,
        ids=[request_id],
        everyone=everyone,
        own_user=own_user,
        managed_groups=list(managed_groups),
    )
    return request_of(rows[0]) if rows else None


async def used_in(
    conn: Connection,
    controls: Controls,
    period: Period,
    *,
    workspace_id: UUID,
    user_id: UUID,
    shape: Shape,
    now: datetime,
) -> int:
    """Return what a user has used of a limit in a period."""
    kinds = [kind.id for kind in controls.kinds if kind.scope is LimitScope.USER and kind.shape == shape]
    rows = await conn.rows(
        "balances",
        workspace_id=workspace_id,
        kinds=kinds,
        scopes=[user_id] * len(kinds),
        first_days=[period.first_day] * len(kinds),
        now_seconds=int(now.timestamp()),
    )
    return sum(used for _, used, _ in rows)


async def granted_automatically(conn: Connection, workspace_id: UUID, request: CreditRequest, period: Period) -> int:
    """Return how much was granted without anybody's doing to the same user, of the same limit, in a period."""
    key = limit_key(workspace_id, request.user_id, request.shape)
    [(granted,)] = await conn.rows("granted_automatically", **key, period_start=period.start, period_end=period.end)
    return int(granted)


async def add_request(conn: Connection, *, workspace_id: UUID, actor: Actor, request: CreditRequest) -> None:
    """Store a request that is pending, and audit it."""
    await conn.rows(
        "add_request",
        **limit_key(workspace_id, request.user_id, request.shape),
        id=request.id,
        amount=request.amount,
        reason=request.reason,
        duration=request.duration.name,
        until=request.until,
        limit_then=request.limit_then,
        used_then=request.used_then,
        now=request.created_at,
        expires_at=request.expires_at,
    )
    record = _record(AuditAction.REQUEST_MADE, None, request)
    await audit(conn, workspace_id=workspace_id, actor=actor, records=[record], now=request.created_at)


async def end_requests(
    conn: Connection,
    endings: Sequence[Ending],
    state: RequestState,
    *,
    workspace_id: UUID,
    actor: Actor,
    automatic: bool = False,
    note: str | None = None,
    now: datetime,
) -> list[CreditRequest]:
    """End requests that are pending, all in one way, audit it, and return them as they are then."""
    rows = await conn.rows(
        "end_requests",
        workspace_id=workspace_id,
        ids=[ending.request.id for ending in endings],
        amounts=[ending.amount for ending in endings],
        untils=[ending.until for ending in endings],
        limits=[ending.limit_id for ending in endings],
        state=state.name,
        # Nobody decides what is granted automatically, least of all whoever asked.
        decided_by=None if automatic else actor.user_id,
        automatic=automatic,
        note=note,
        now=now,
    )
    ended = {row[0]: request_of(row) for row in rows}
    records = [_record(_ENDED[state], ending.request, ended[ending.request.id]) for ending in endings]
    await audit(conn, workspace_id=workspace_id, actor=actor, records=records, now=now)
    return [ended[ending.request.id] for ending in endings]


def _record(action: AuditAction, before: CreditRequest | None, after: CreditRequest) -> AuditRecord:
    return AuditRecord(
        action,
        "CreditRequest",
        after.id,
        _state(before) if before else None,
        _state(after),
        user_id=after.user_id,
    )


def _state(request: CreditRequest) -> dict[str, str | None]:
    """Return a request as the audit trail shows it, by the API's names of its fields."""
    return {
        "state": request.state.name,
        "amount": format_credits(request.amount),
        "reason": request.reason,
        "duration": request.duration.name,
        "until": _moment(request.until),
        "product": request.shape.product or None,
        "model": request.shape.model or None,
        "cadence": request.shape.cadence.name,
        "limitThen": format_credits(request.limit_then),
        "automatic": "true" if request.automatic else "false",
        "decisionNote": request.decision_note,
        "grantedAmount": None if request.granted_amount is None else format_credits(request.granted_amount),
        "grantedUntil": _moment(request.granted_until),
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
