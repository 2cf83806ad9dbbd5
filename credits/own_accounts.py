"""What is known of the people who ask about themselves, for as long as the version that it is of is in force.

Nearly all that somebody is told of their own budget changes seldom: who they are, what limits them. It is read as they
may read it, remembered, and dropped when the version of the workspace's controls has moved; what was used and what is
held is read each time.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from creditdesk.credits.budget_rules import Budget
from creditdesk.credits.budgets import RULES, BudgetRules, applied, in_use, rules_of, scope_arguments
from creditdesk.credits.controls import Control, controls_of
from creditdesk.credits.people import User, user_of
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection

MOST_KEPT = 5_000


@dataclass(slots=True)
class OwnAccount:
    """Somebody's own user and what limits them, as of a version, as they may see it."""

    permitted: PermittedScopes
    as_of: int
    user: User | None
    rules: BudgetRules
    controls: Sequence[Control] = ()
    until: datetime | None = None
    """Up to when these controls are the ones that apply: a period ends, a rule begins or expires."""

    async def budgets(self, conn: Connection, *, now: datetime) -> list[Budget]:
        """Return every budget that applies to them: the same as `budgets_of_users`, of which only balances are read."""
        if not self.rules.holders:
            return []
        [holder] = self.rules.holders
        if self.until is None or self.until <= now:
            self._apply(now)
        rows = await conn.rows(
            "balances",
            workspace_id=self.permitted.workspace_id,
            kinds=[one.kind.id for one in self.controls],
            scopes=[one.scope_id for one in self.controls],
            first_days=[one.period.first_day for one in self.controls],
            now_seconds=int(now.timestamp()),
        )
        named = [(one.kind.id, one.scope_id) for one in self.controls]
        balances = {named[nth - 1]: (used, held) for nth, used, held in rows}
        return applied(self.permitted, self.rules, {holder.id: self.controls}, balances, now=now)[holder.id]

    def _apply(self, now: datetime) -> None:
        [holder] = self.rules.holders
        every = list(controls_of(self.rules.controls, holder, self.permitted.workspace_id, now=now))
        self.controls = in_use(every)
        changes = [moment for one in every for moment in (one.period.end, one.limit.changes_at) if moment]
        self.until = min(changes, default=None)


class OwnAccounts:
    """Remembers the accounts of those who came last: one for each process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[PermittedScopes, OwnAccount] = OrderedDict()

    async def account(self, conn: Connection, permitted: PermittedScopes, *, as_of: int) -> OwnAccount:
        """Return the account of the user whom these scopes name, as of the version in force or a later one."""
        known = self._kept.get(permitted)
        if known is None or known.as_of != as_of:
            known = self._kept[permitted] = await _read(conn, permitted)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(permitted)
        return known


async def _read(conn: Connection, permitted: PermittedScopes) -> OwnAccount:
    own = [permitted.user_id]
    # The version comes first: what is read after it is of this version, or of a later one.
    *rules, users = await conn.several(
        *RULES, "users_by_id", users=own, groups=[], ids=own, **scope_arguments(permitted)
    )
    read = rules_of(*rules)
    return OwnAccount(permitted, read.controls.version, user_of(users[0]) if users else None, read)
