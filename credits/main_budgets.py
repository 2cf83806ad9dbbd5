"""The first budget of each of many users to look at: their own for all usage, by rules that many of them share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from creditdesk.credits.budget_rules import Budget, Reading, Standing, applied_budget, main_control
from creditdesk.credits.budgets import in_use, reading_of, scope_arguments, until_of
from creditdesk.credits.controls import (
    Control,
    Controls,
    Spender,
    by_scope,
    controls_of,
    limit_of,
    periods_now,
    ruleless_controls,
)
from creditdesk.credits.limits import LimitScope, LimitValue
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Row
from creditdesk.db.lookups import Lookup, lookup

_NOTHING = (0, 0)
_USER = LimitScope.USER


class MainBudget(NamedTuple):
    """A user's main budget, not yet worked out: most who read many want no more of it than its limit and its use.

    `control` is one that the user shares with others, so its balance may be another's.
    """

    user_id: UUID | str
    control: Control
    used: int
    held: int
    reading: Reading

    @property
    def limit(self) -> LimitValue:
        """Return how much may be used."""
        return self.control.limit.value

    @property
    def whole(self) -> Budget:
        """Return the budget. Whether it binds is not known: that depends on the others that the user has."""
        control = replace(self.control, scope_id=UUID(str(self.user_id)))
        return applied_budget(Standing(control, self.used, self.held, whole=True), self.reading, binding=False)


class LimitedUsers(NamedTuple):
    """What limits users until a moment, in their order: each one's main control, None for whoever may not be seen."""

    controls: Sequence[Control | None]
    reading: Reading
    until: datetime


def main_budgets_of_users(
    permitted: PermittedScopes,
    users: Sequence[str],
    *,
    now: datetime,
    keep: Callable[[LimitedUsers], None] = lambda _: None,
) -> Lookup[list[MainBudget | None]]:
    """State what finds the main budget of each of these users, None for those whom the caller may not see.

    What limits them is given to whoever keeps it.
    """

    def found(rows: Sequence[list[Row]]) -> list[MainBudget | None]:
        return _main_budgets(rows, permitted, users, keep, now=now)

    return lookup(
        found,
        "controls_settings",
        "balance_kinds",
        "rules_of_users",
        "balances_of_users",
        users=list(users),
        now_seconds=int(now.timestamp()),
        **scope_arguments(permitted),
    )


def _main_budgets(
    rows: Sequence[list[Row]],
    permitted: PermittedScopes,
    users: Sequence[str],
    keep: Callable[[LimitedUsers], None],
    *,
    now: datetime,
) -> list[MainBudget | None]:
    settings, kinds, rule_rows, balance_rows = rows
    rules = [limit_of(row[:-2]) for row in rule_rows]
    controls = replace(ruleless_controls(settings, kinds), limits=by_scope(rules))
    reading = reading_of(controls, frozenset(row[0] for row in rule_rows if row[-2]), now=now)
    members = {rule.scope_id: row[-1] for rule, row in zip(rules, rule_rows, strict=True) if row[-1] is not None}
    main_controls = _MainControls(controls, permitted.workspace_id, members, now)
    visible, balances = _balances(balance_rows)
    found: list[MainBudget | None] = []
    limited = [main_controls.of(user) if user in visible else None for user in users]
    keep(LimitedUsers(limited, reading, main_controls.until))
    for user, control in zip(users, limited, strict=True):
        if control is None:
            found.append(None)
        else:
            used, held = balances.get((control.kind.id, user), _NOTHING)
            found.append(MainBudget(user, control, used, held, reading))
    return found


def _balances(rows: Sequence[Row]) -> tuple[frozenset[str], dict[tuple[int | None, str], tuple[int, int]]]:
    """Return who may be seen, and the balances by their kind and user, as `balances_of_users` reads them."""
    found = {(kind_id, user): (used, held) for kind_id, user, used, held in rows}
    visible = next((users for kind_id, users in found if kind_id is None), None)
    return frozenset(visible.split(",") if visible else ()), found


class _MainControls:
    """The controls of users' main budgets, worked out once for all who have the same.

    Users who are in the same groups, and have no limit of their own, have the same control but for whose it is. People
    are looked up by their ids as text: the hash of a UUID takes longer than all else that is done for one of them.
    """

    def __init__(
        self, controls: Controls, workspace_id: UUID, members: Mapping[UUID, Sequence[str]], now: datetime
    ) -> None:
        """`members` are who is in each group that has rules."""
        self._controls = replace(controls, kinds=tuple(kind for kind in controls.kinds if kind.scope is _USER))
        self._workspace_id = workspace_id
        self._periods = periods_now(self._controls, now)
        self.until = until_of(controls, (), now=now)
        """Until when all that were worked out stay as they are, if nobody changes anything."""
        self._now = now
        self._limited = {str(id_) for id_, rules in controls.limits.items() if rules[0].scope is _USER}
        self._groups_of: dict[str, tuple[UUID, ...]] = {}
        for group_id, users in members.items():
            for user in users:
                self._groups_of[user] = (*self._groups_of.get(user, ()), group_id)
        self._shared: dict[tuple[UUID, ...], Control | None] = {}

    def of(self, user: str) -> Control | None:
        """Return a user's control."""
        groups = self._groups_of.get(user, ())
        if user in self._limited:
            return self._worked_out(UUID(user), groups)
        if groups not in self._shared:
            self._shared[groups] = self._worked_out(UUID(user), groups)
        return self._shared[groups]

    def _worked_out(self, user_id: UUID, groups: tuple[UUID, ...]) -> Control | None:
        holder = Spender(
            id=user_id,
            email=None,
            external_id=None,
            active=True,
            home_group_id=None,
            group_ids=groups,
            limits=self._controls.limits.get(user_id, ()),
        )
        found = [*controls_of(self._controls, holder, self._workspace_id, now=self._now, periods=self._periods)]
        self.until = min(self.until, until_of(self._controls, found, now=self._now))
        return main_control(in_use(found), _USER)
