"""What is known of somebody who asks about themselves, as long as the version that they are known as of is in force.

Nearly all that somebody is told of their own budget changes seldom: who they are, what limits them. It is read as they
may read it, kept with what is known of the caller, and forgotten with it once the version of the workspace's controls
has moved; what was used and what is held is read each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from creditdesk.credits.budget_rules import Budget, Reading, main_control
from creditdesk.credits.budgets import BudgetRules, applied, in_use, reading_of, rules_of, scope_arguments
from creditdesk.credits.controls import Control, controls_of
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.main_budgets import MainBudget
from creditdesk.credits.people import User, users_by_id
from creditdesk.credits.periods import Cadence, period_of
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection


@dataclass(frozen=True, slots=True)
class _Limited:
    """The controls that somebody's rules make up to a moment: a period or a day ends, a rule begins or expires."""

    controls: Sequence[Control]
    main: Control | None
    reading: Reading
    until: datetime


class OwnAccount:
    """The caller's own user and what limits it, each read when it is first asked for.

    It is of the version that the caller is known as of, or of a later one: whoever comes after a change finds a later
    version in force, and has another account.
    """

    def __init__(self, conn: Connection, permitted: PermittedScopes, user_id: UUID) -> None:
        self._conn = conn
        self._permitted = permitted
        self._user_id = user_id
        self._user: User | None = None
        self._rules: BudgetRules | None = None
        self._limited: _Limited | None = None

    def known_user(self, id_: UUID | None) -> User | None:
        """Return the user with this id, if it is this one and was read before."""
        return self._user if id_ == self._user_id else None

    async def user(self) -> User | None:
        """Return the user: the same as `users_by_id`."""
        if self._user is None:
            self._user = (await users_by_id(self._conn, self._permitted, [self._user_id])).get(self._user_id)
        return self._user

    async def budgets(self, *, now: datetime) -> list[Budget]:
        """Return every budget that applies to them: the same as `budgets_of_users`, of which only balances are read."""
        rules = await self._known_rules()
        if not rules.holders:
            return []
        limited = self._limited_by(rules, now)
        found = await self._balances(limited.controls, now)
        return applied(self._permitted, rules, {self._user_id: limited.controls}, found, now=now)[self._user_id]

    async def main_budget(self, *, now: datetime) -> MainBudget | None:
        """Return their main budget: the same as `main_budgets_of_users`, of which only its balance is read."""
        rules = await self._known_rules()
        limited = self._limited_by(rules, now) if rules.holders else None
        if limited is None or limited.main is None:
            return None
        found = await self._balances([limited.main], now)
        used, held = found.get((limited.main.kind.id, self._user_id), (0, 0))
        return MainBudget(self._user_id, limited.main, used, held, limited.reading)

    async def _known_rules(self) -> BudgetRules:
        if self._rules is None:
            rows = await self._conn.several(
                "controls_settings",
                "balance_kinds",
                "budget_limits",
                "budget_holders",
                users=[self._user_id],
                groups=[],
                **scope_arguments(self._permitted),
            )
            self._rules = rules_of(*rows)
        return self._rules

    def _limited_by(self, rules: BudgetRules, now: datetime) -> _Limited:
        if self._limited is None or self._limited.until <= now:
            [holder] = rules.holders
            every = list(controls_of(rules.controls, holder, self._permitted.workspace_id, now=now))
            controls = in_use(every)
            today = period_of(Cadence.DAY, now, zone=rules.controls.zone, anchors=())
            changes = [moment for one in every for moment in (one.period.end, one.limit.changes_at) if moment]
            self._limited = _Limited(
                controls=controls,
                main=main_control(controls, LimitScope.USER),
                reading=reading_of(rules.controls, rules.shown, now=now),
                until=min([today.end, *changes]),
            )
        return self._limited

    async def _balances(self, controls: Sequence[Control], now: datetime) -> dict[tuple[int, UUID], tuple[int, int]]:
        """Return what was used and what is held of controls' balances; those that are not there are left out."""
        rows = await self._conn.rows(
            "balances",
            workspace_id=self._permitted.workspace_id,
            kinds=[one.kind.id for one in controls],
            scopes=[one.scope_id for one in controls],
            first_days=[one.period.first_day for one in controls],
            now_seconds=int(now.timestamp()),
        )
        named = [(one.kind.id, one.scope_id) for one in controls]
        return {named[nth - 1]: (used, held) for nth, used, held in rows}
