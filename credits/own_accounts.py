"""What is known of people who ask about themselves, for as long as the version that it is of is in force.

Nearly all that somebody is told of their own budget changes seldom: who they are, what limits them. It is read as they
may read it, remembered, and read again once the version of the workspace's controls has moved; what was used and what
is held is read each time.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from creditdesk.credits.budget_rules import Budget
from creditdesk.credits.budgets import BudgetRules, applied, in_use, rules_of, scope_arguments
from creditdesk.credits.controls import Control, controls_of
from creditdesk.credits.people import User, users_by_id
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection

MOST_KEPT = 5_000

Known = TypeVar("Known")


class _Kept(Generic[Known]):
    """What was read for those who came last, each with the version that was in force before it was read.

    It is of that version, or of a later one: whoever comes after a change finds a later version in force.
    """

    def __init__(self, read: Callable[[Connection, PermittedScopes], Awaitable[Known]]) -> None:
        self._read = read
        self._kept: OrderedDict[PermittedScopes, tuple[int, Known]] = OrderedDict()

    def known(self, permitted: PermittedScopes, as_of: int) -> Known | None:
        """Return what was read before, if it was and is of this version."""
        kept = self._kept.get(permitted)
        if kept is None or kept[0] != as_of:
            return None
        self._kept.move_to_end(permitted)
        return kept[1]

    async def get(self, conn: Connection, permitted: PermittedScopes, as_of: int) -> Known:
        """Return what was read before, or read it."""
        known = self.known(permitted, as_of)
        if known is not None:
            return known
        known = await self._read(conn, permitted)
        self._kept[permitted] = (as_of, known)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return known


@dataclass(slots=True)
class _Limits:
    """What limits somebody, and the controls that it makes up to a moment: a period ends, a rule begins or expires."""

    rules: BudgetRules
    controls: Sequence[Control] = ()
    until: datetime | None = None


class OwnAccounts:
    """What a process knows of people and of what limits them."""

    def __init__(self) -> None:
        self._users: _Kept[User | None] = _Kept(_read_user)
        self._limits: _Kept[_Limits] = _Kept(_read_limits)

    def of(self, conn: Connection, permitted: PermittedScopes, *, as_of: int) -> "OwnAccount":
        """Return the account of the user whom these scopes name; the version `as_of` was found in force just now."""
        return OwnAccount(self._users, self._limits, conn, permitted, as_of)


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """One request's view of its caller's own user."""

    users: _Kept[User | None]
    limits: _Kept[_Limits]
    conn: Connection
    permitted: PermittedScopes
    as_of: int

    def known_user(self, id_: UUID | None) -> User | None:
        """Return the user with this id, if it is this one and was read before."""
        return self.users.known(self.permitted, self.as_of) if id_ == self.permitted.user_id else None

    async def user(self) -> User | None:
        """Return the user: the same as `users_by_id`."""
        return await self.users.get(self.conn, self.permitted, self.as_of)

    async def budgets(self, *, now: datetime) -> list[Budget]:
        """Return every budget that applies to them: the same as `budgets_of_users`, of which only balances are read."""
        permitted = self.permitted
        limits = await self.limits.get(self.conn, permitted, self.as_of)
        if not limits.rules.holders:
            return []
        [holder] = limits.rules.holders
        if limits.until is None or limits.until <= now:
            every = list(controls_of(limits.rules.controls, holder, permitted.workspace_id, now=now))
            changes = [moment for one in every for moment in (one.period.end, one.limit.changes_at) if moment]
            limits.controls, limits.until = in_use(every), min(changes, default=None)
        controls = limits.controls
        rows = await self.conn.rows(
            "balances",
            workspace_id=permitted.workspace_id,
            kinds=[one.kind.id for one in controls],
            scopes=[one.scope_id for one in controls],
            first_days=[one.period.first_day for one in controls],
            now_seconds=int(now.timestamp()),
        )
        named = [(one.kind.id, one.scope_id) for one in controls]
        balances = {named[nth - 1]: (used, held) for nth, used, held in rows}
        return applied(permitted, limits.rules, {holder.id: controls}, balances, now=now)[holder.id]


async def _read_user(conn: Connection, permitted: PermittedScopes) -> User | None:
    assert permitted.user_id is not None  # noqa: S101 - whose account it is
    return (await users_by_id(conn, permitted, [permitted.user_id])).get(permitted.user_id)


async def _read_limits(conn: Connection, permitted: PermittedScopes) -> _Limits:
    rows = await conn.several(
        "controls_settings",
        "balance_kinds",
        "budget_limits",
        "budget_holders",
        users=[permitted.user_id],
        groups=[],
        **scope_arguments(permitted),
    )
    return _Limits(rules_of(*rows))
