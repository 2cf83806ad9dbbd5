"""Asking for more credits, and deciding about it: the decision, the override and the audit entries are one change.

All of it happens under `changing_controls`: of two who decide, one comes first, and the other is told.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from creditdesk.credits.controls import (
    Controls,
    changing_controls,
    each_user_limit,
    load_controls,
    load_spenders,
)
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.limit_rules import NewLimit, write_limit
from creditdesk.credits.limit_targets import ceilings_of, check_rises, limits_in_force
from creditdesk.credits.limits import EffectiveLimit, Enforcement, Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Period, period_of
from creditdesk.credits.permitted import Actor, Authority
from creditdesk.credits.request_rows import (
    Ending,
    add_request,
    end_requests,
    find_request,
    granted_automatically,
    limit_key,
    request_of,
    used_in,
)
from creditdesk.credits.request_rules import (
    Approval,
    Ask,
    CoolingDownError,
    CreditRequest,
    DurationKind,
    NothingToRaiseError,
    NoUserError,
    OwnRequestError,
    RequestEndedError,
    RequestPendingError,
    RequestState,
    UnknownRequestError,
    check_amount,
    check_ceiling,
    checked_ask,
    checked_text,
    fits_automatically,
    is_covered,
    lasting_value,
    raised_to,
    stops,
    waits_until,
)
from creditdesk.db.connections import Connection


async def request_credits(conn: Connection, authority: Authority, ask: Ask, *, now: datetime) -> CreditRequest:
    """Ask for more; where the workspace allows it, a small amount is granted at once.

    Raise InvalidInputError, NoUserError, NothingToRaiseError, RequestPendingError or CoolingDownError.
    """
    ask = checked_ask(ask)
    workspace_id, actor = authority.workspace_id, authority.actor
    if actor.user_id is None:
        raise NoUserError
    await changing_controls(conn, workspace_id)
    controls = await load_controls(conn, workspace_id)
    [asker] = await load_spenders(conn, workspace_id, [UserBy(id=actor.user_id)])
    limit = each_user_limit(controls, asker, workspace_id, ask.shape, now)
    if not isinstance(limit.value, Limited):
        raise NothingToRaiseError
    period = _period(controls, ask.shape, now)
    until = ask.duration.ends_at(period, zone=controls.zone, now=now)
    [(per_period, cooldown_hours, open_days)] = await conn.rows("request_settings", workspace_id=workspace_id)
    await _check_free(conn, workspace_id, asker.id, ask.shape, cooldown=timedelta(hours=cooldown_hours), now=now)
    request = CreditRequest(
        id=uuid4(),
        user_id=asker.id,
        shape=ask.shape,
        amount=ask.amount,
        reason=ask.reason,
        duration=ask.duration.kind,
        until=until if ask.duration.kind is DurationKind.UNTIL else None,
        state=RequestState.PENDING,
        limit_then=limit.value.amount,
        used_then=await used_in(
            conn, controls, period, workspace_id=workspace_id, user_id=asker.id, shape=ask.shape, now=now
        ),
        created_at=now,
        expires_at=waits_until(until, open_days=open_days, now=now),
    )
    await add_request(conn, workspace_id=workspace_id, actor=actor, request=request)
    granted = await granted_automatically(conn, workspace_id, request, period)
    if not fits_automatically(request, limit, per_period=per_period, granted=granted, period=period):
        return request
    ending = Ending(request, request.amount, period.end)
    return await _approve(
        conn, controls, limit, ending, workspace_id=workspace_id, actor=actor, automatic=True, now=now
    )


async def approve_request(
    conn: Connection, authority: Authority, approval: Approval, *, now: datetime
) -> CreditRequest:
    """Grant a request: write the override, which never lowers the limit, and end the request.

    Raise InvalidInputError, InvalidLimitError, UnknownRequestError, OwnRequestError, RequestEndedError or
    AboveCeilingError.
    """
    note = checked_text("note", approval.note)
    if approval.amount is not None:
        check_amount(approval.amount)
    workspace_id = authority.workspace_id
    await changing_controls(conn, workspace_id)
    request = await _to_decide(conn, authority, approval.request_id, now)
    controls = await load_controls(conn, workspace_id)
    [asker] = await load_spenders(conn, workspace_id, [UserBy(id=request.user_id)])
    limit = each_user_limit(controls, asker, workspace_id, request.shape, now)
    amount = request.amount if approval.amount is None else approval.amount
    ending = Ending(request, amount, _granted_until(request, approval, controls, now))
    if authority.everywhere:
        return await _approve(
            conn, controls, limit, ending, authority.actor, workspace_id=workspace_id, note=note, now=now
        )
    scopes = [(LimitScope.USER, asker.id)]
    ceilings = await ceilings_of(conn, authority, scopes)
    check_ceiling(raised_to(request, amount, limit) if stops(limit) else None, ceilings[asker.id])
    before = await limits_in_force(conn, authority, scopes)
    approved = await _approve(
        conn, controls, limit, ending, authority.actor, workspace_id=workspace_id, note=note, now=now
    )
    # An override may end earlier than the one it replaces, and give way to more.
    after = await limits_in_force(conn, authority, scopes)
    check_rises(before, after, ceilings=ceilings, shapes=[request.shape], workspace_id=workspace_id, now=now)
    return approved


async def deny_request(
    conn: Connection, authority: Authority, request_id: UUID, *, note: str | None, now: datetime
) -> CreditRequest:
    """Deny a request. Raise InvalidInputError, UnknownRequestError, OwnRequestError or RequestEndedError."""
    note = checked_text("note", note)
    workspace_id, actor = authority.workspace_id, authority.actor
    await changing_controls(conn, workspace_id)
    ending = Ending(await _to_decide(conn, authority, request_id, now))
    [denied] = await end_requests(
        conn, [ending], RequestState.DENIED, workspace_id=workspace_id, actor=actor, note=note, now=now
    )
    return denied


async def cancel_request(conn: Connection, authority: Authority, request_id: UUID, *, now: datetime) -> CreditRequest:
    """Take one's own request back. Raise NoUserError, UnknownRequestError or RequestEndedError."""
    workspace_id, actor = authority.workspace_id, authority.actor
    if actor.user_id is None:
        raise NoUserError
    await changing_controls(conn, workspace_id)
    request = await find_request(conn, workspace_id, request_id, own_user=actor.user_id)
    if request is None:
        raise UnknownRequestError
    ending = Ending(_still_pending(request, now))
    [cancelled] = await end_requests(
        conn, [ending], RequestState.CANCELLED, workspace_id=workspace_id, actor=actor, now=now
    )
    return cancelled


async def approve_covered(
    conn: Connection,
    controls: Controls,
    *,
    workspace_id: UUID,
    users: Sequence[UUID] | None,
    actor: Actor,
    now: datetime,
) -> int:
    """Approve the pending requests, of these users or of all, that the limits in force now give all of; count them.

    For whoever has just raised a limit, in the same transaction; `controls` are as they were before it, so the rules
    are read again. Nobody approves their own request: the actor's is left pending.
    """
    asked = None if users is None else list(users)
    rows = await conn.rows("requests_waiting", workspace_id=workspace_id, users=asked, now=now)
    waiting = [request for request in map(request_of, rows) if request.user_id != actor.user_id]
    if not waiting:
        return 0
    controls = await load_controls(conn, workspace_id)
    askers = await load_spenders(conn, workspace_id, [UserBy(id=request.user_id) for request in waiting])
    by_id = {asker.id: asker for asker in askers}
    endings = []
    for request in waiting:
        limit = each_user_limit(controls, by_id[request.user_id], workspace_id, request.shape, now)
        if is_covered(request, limit):
            rule = limit.source
            endings.append(
                Ending(request, request.amount, rule.expires_at if rule else None, rule.id if rule else None)
            )
    ended = await end_requests(conn, endings, RequestState.APPROVED, workspace_id=workspace_id, actor=actor, now=now)
    return len(ended)


def _period(controls: Controls, shape: Shape, now: datetime) -> Period:
    return period_of(shape.cadence, now, zone=controls.zone, anchors=controls.anchors)


async def _check_free(
    conn: Connection, workspace_id: UUID, user_id: UUID, shape: Shape, *, cooldown: timedelta, now: datetime
) -> None:
    """Raise RequestPendingError or CoolingDownError unless the user may ask to have this limit raised."""
    key = limit_key(workspace_id, user_id, shape)
    await conn.rows("expire_requests", **key, now=now)
    if rows := await conn.rows("pending_request", **key):
        raise RequestPendingError(request_of(rows[0]))
    [(denied_at,)] = await conn.rows("last_denial", **key)
    if denied_at is not None and now < denied_at + cooldown:
        raise CoolingDownError(denied_at + cooldown)


async def _to_decide(conn: Connection, authority: Authority, request_id: UUID, now: datetime) -> CreditRequest:
    """Return a request that is pending, in the decider's reach, and somebody else's."""
    actor = authority.actor
    request = await find_request(
        conn,
        authority.workspace_id,
        request_id,
        everyone=authority.everywhere,
        own_user=actor.user_id,
        managed_groups=authority.managed_groups,
    )
    if request is None:
        raise UnknownRequestError
    if request.user_id == actor.user_id:
        raise OwnRequestError
    return _still_pending(request, now)


def _still_pending(request: CreditRequest, now: datetime) -> CreditRequest:
    found = request.at(now)
    if found.state is not RequestState.PENDING:
        raise RequestEndedError(found)
    return found


def _granted_until(request: CreditRequest, approval: Approval, controls: Controls, now: datetime) -> datetime | None:
    """Return when what is granted ends, None for never: as the approver says, or else as it was asked."""
    period = _period(controls, request.shape, now)
    if approval.duration is not None:
        return approval.duration.ends_at(period, zone=controls.zone, now=now)
    return period.end if request.duration is DurationKind.THIS_PERIOD else request.until


async def _approve(
    conn: Connection,
    controls: Controls,
    limit: EffectiveLimit,
    ending: Ending,
    actor: Actor,
    *,
    workspace_id: UUID,
    automatic: bool = False,
    note: str | None = None,
    now: datetime,
) -> CreditRequest:
    """Write the override that grants this much, unless there is no limit any more, and end the request."""
    request, amount = ending.request, ending.amount or 0
    raised = raised_to(request, amount, limit)
    if raised is not None:
        rule = NewLimit(
            LimitScope.USER,
            request.user_id,
            LimitKind.EACH_USER,
            request.shape,
            Limited(raised) if ending.until else lasting_value(raised, limit),
            # What did not stop before does not stop now.
            enforcement=limit.source.enforcement if limit.source else Enforcement.HARD,
            expires_at=ending.until,
            reason=note or request.reason,
        )
        written = await write_limit(
            conn, controls, workspace_id=workspace_id, actor=actor, rule=rule, now=now, request_id=request.id
        )
        ending = Ending(request, amount, ending.until, written.id)
    [approved] = await end_requests(
        conn,
        [ending],
        RequestState.APPROVED,
        workspace_id=workspace_id,
        actor=actor,
        automatic=automatic,
        note=note,
        now=now,
    )
    return approved
