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
from creditdesk.credits.budgets import (
    BudgetRules,
    applied,
    in_use,
    named_balances,
    reading_of,
    rules_of,
    scope_arguments,
    until_of,
    users_budgets,
)
from creditdesk.credits.controls import Control, controls_of
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.main_budgets import MainBudget, main_budgets_of_users
from creditdesk.credits.people import User, user_from
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Row
from creditdesk.db.lookups import Lookup, found_of, lookup


@dataclass(frozen=True, slots=True)
class _Limited:
    """The controls that somebody's rules make up to a moment: a period or a day ends, a rule begins or expires."""

    controls: Sequence[Control]
    main: Control | None
    reading: Reading
    until: datetime


class OwnAccount:
    """The caller's own user and what limits it, read when the user is first asked for.

    It is of the version that the caller is known as of, or of a later one: whoever comes after a change finds a later
    version in force, and has another account.
    """

    def __init__(self, permitted: PermittedScopes, user_id: UUID) -> None:
        self._permitted = permitted
        self._user_id = user_id
        self._user: User | None = None
        self._rules: BudgetRules | None = None
        self._limited: _Limited | None = None

    def known_user(self, id_: UUID | None) -> User | None:
        """Return the user with this id, if it is this one and was read before."""
        return self._user if id_ == self._user_id else None

    def user(self) -> Lookup[User | None]:
        """State what finds the user: the same as `users_by_id`.

        What limits them comes along, since it is asked for next; both are known from then on.
        """
        return lookup(
            self._user_in,
            "users_by_id",
            "controls_settings",
            "balance_kinds",
            "budget_limits",
            "budget_holders",
            ids=[self._user_id],
            users=[self._user_id],
            groups=[],
            **scope_arguments(self._permitted),
        )

    def _user_in(self, rows: Sequence[list[Row]]) -> User | None:
        users, *rules = rows
        self._user = user_from(users[0]) if users else None
        self._rules = rules_of(*rules)
        return self._user

    def budgets(self, *, now: datetime) -> Lookup[list[Budget]]:
        """State what finds every budget that applies to them: as `users_budgets`, by the rules that are known."""
        rules, id_ = self._rules, self._user_id
        if rules is None or not rules.holders:
            return found_of(users_budgets(self._permitted, [id_], now=now), lambda found: found.get(id_, []))
        limited = self._limited_by(rules, now)

        def found(taken: Sequence[tuple[int, int]]) -> list[Budget]:
            balances = {(one.kind.id, one.scope_id): pair for one, pair in zip(limited.controls, taken, strict=True)}
            return applied(self._permitted, rules, {id_: limited.controls}, balances, now=now)[id_]

        return named_balances(self._permitted, [(one, one.scope_id) for one in limited.controls], found, now=now)

    def main_budget(self, *, now: datetime) -> Lookup[MainBudget | None]:
        """State what finds their main budget: as `main_budgets_of_users`, by the rules that are known."""
        rules, id_ = self._rules, self._user_id
        limited = self._limited_by(rules, now) if rules is not None and rules.holders else None
        if limited is None or limited.main is None:
            return found_of(main_budgets_of_users(self._permitted, [str(id_)], now=now), lambda found: found[0])
        main, reading = limited.main, limited.reading

        def found(taken: Sequence[tuple[int, int]]) -> MainBudget:
            [(used, held)] = taken
            return MainBudget(id_, main, used, held, reading)

        return named_balances(self._permitted, [(main, id_)], found, now=now)

    def _limited_by(self, rules: BudgetRules, now: datetime) -> _Limited:
        if self._limited is None or self._limited.until <= now:
            [holder] = rules.holders
            every = list(controls_of(rules.controls, holder, self._permitted.workspace_id, now=now))
            controls = in_use(every)
            self._limited = _Limited(
                controls=controls,
                main=main_control(controls, LimitScope.USER),
                reading=reading_of(rules.controls, rules.shown, now=now),
                until=until_of(rules.controls, every, now=now),
            )
        return self._limited
