"""The first budget of each of many users to look at: their own for all usage, by rules that many of them share."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from creditdesk.credits.budget_rules import Budget, Reading, Standing, applied_budget, main_control
from creditdesk.credits.budgets import in_use, reading_of, scope_arguments
from creditdesk.credits.controls import Control, Controls, Spender, by_scope, controls_of, limit_of, ruleless_controls
from creditdesk.credits.limits import LimitScope, LimitValue
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection

_NOTHING = (0, 0)


class MainBudget(NamedTuple):
    """A user's main budget, not yet worked out: most who read many want no more of it than its limit and its use.

    `control` is one that the user shares with others, so its balance may be another's.
    """

    user_id: UUID
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
        control = replace(self.control, scope_id=self.user_id)
        return applied_budget(Standing(control, self.used, self.held, whole=True), self.reading, binding=False)


async def main_budgets_of_users(
    conn: Connection, permitted: PermittedScopes, users: Collection[UUID], *, now: datetime
) -> dict[UUID, MainBudget]:
    """Return the main budget of each of these users whom the caller may see."""
    settings, kinds, limit_rows, balance_rows, holders = await conn.several(
        "controls_settings",
        "balance_kinds",
        "rules_of_users",
        "balances_of_users",
        "groups_of_holders",
        users=list(users),
        now_seconds=int(now.timestamp()),
        **scope_arguments(permitted),
    )
    limits = by_scope([limit_of(row[:-1]) for row in limit_rows])
    controls = replace(ruleless_controls(settings, kinds), limits=limits)
    reading = reading_of(controls, frozenset(row[0] for row in limit_rows if row[-1]), now=now)
    balances = {(kind_id, user_id): (used, held) for kind_id, user_id, used, held in balance_rows}
    # Users who are in the same groups, and have no limit of their own, have the same control but for whose it is.
    shared: dict[str, Control | None] = {}
    found: dict[UUID, MainBudget] = {}
    for user_id, groups in holders:
        if user_id in limits:
            control = _main_control(controls, permitted, user_id, groups, now)
        elif groups in shared:
            control = shared[groups]
        else:
            control = shared[groups] = _main_control(controls, permitted, user_id, groups, now)
        if control is not None:
            used, held = balances.get((control.kind.id, user_id), _NOTHING)
            found[user_id] = MainBudget(user_id, control, used, held, reading)
    return found


def _main_control(
    controls: Controls, permitted: PermittedScopes, user_id: UUID, groups: str, now: datetime
) -> Control | None:
    """Return the control of a user whose groups are given as PostgreSQL writes an array."""
    ids = tuple(UUID(id_) for id_ in groups.strip("{}").split(",") if id_)
    holder = Spender(
        id=user_id,
        email=None,
        external_id=None,
        active=True,
        home_group_id=None,
        group_ids=ids,
        limits=controls.limits.get(user_id, ()),
    )
    return main_control(in_use(controls_of(controls, holder, permitted.workspace_id, now=now)), LimitScope.USER)
