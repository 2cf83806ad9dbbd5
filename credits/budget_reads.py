"""Budgets read for many who watch: those who ask at the same time under the same permissions share one read."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from creditdesk.credits.budget_rules import Budget
from creditdesk.credits.budgets import budget_of_groups, budget_of_workspace, budgets_of_users
from creditdesk.credits.gathering import Gatherer
from creditdesk.credits.limits import LimitScope
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Database

MOST_AT_ONCE = 4
"""How many reads run at once, so that a change which concerns everybody leaves connections to others."""

MOST_SCOPES = 5_000

Subject = tuple[LimitScope, UUID]


class BudgetReads:
    """One for each process. What is asked while a read runs waits for the next: no answer is older than asked."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._gatherers: dict[PermittedScopes, Gatherer[Subject, tuple[Budget, ...]]] = {}
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def budgets(self, permitted: PermittedScopes, scope: LimitScope, id_: UUID) -> tuple[Budget, ...]:
        """Return the user's own budgets, or the one for all usage that a group or the workspace shares, if any.

        Only as far as the caller may see them: none of a user or a group that is not theirs to see.
        """
        # Whoever sees everyone sees the same as any other who does.
        shared = replace(permitted, user_id=None) if permitted.everyone else permitted
        gatherer = self._gatherers.get(shared)
        if gatherer is None:
            if len(self._gatherers) >= MOST_SCOPES:
                self._gatherers = {key: one for key, one in self._gatherers.items() if not one.is_idle}

            async def read(asked: list[Subject]) -> list[tuple[Budget, ...] | Exception]:
                async with self._turns:
                    return await self._read(shared, asked)

            gatherer = self._gatherers[shared] = Gatherer(read)
        return await gatherer.ask((scope, id_))

    async def _read(self, permitted: PermittedScopes, asked: Sequence[Subject]) -> list[tuple[Budget, ...] | Exception]:
        now, conn = self._clock(), self._database.reader(permitted.row_scope)
        found: dict[Subject, tuple[Budget, ...]] = {}
        users = {id_ for scope, id_ in asked if scope is LimitScope.USER}
        groups = {id_ for scope, id_ in asked if scope is LimitScope.GROUP}
        if users:
            for id_, budgets in (await budgets_of_users(conn, permitted, users, now=now)).items():
                own = tuple(budget for budget in budgets if budget.scope is LimitScope.USER)
                found[LimitScope.USER, id_] = own
        if groups:
            for id_, budget in (await budget_of_groups(conn, permitted, groups, now=now)).items():
                found[LimitScope.GROUP, id_] = (budget,)
        if any(scope is LimitScope.WORKSPACE for scope, _ in asked):
            whole = await budget_of_workspace(conn, permitted, now=now)
            found[LimitScope.WORKSPACE, permitted.workspace_id] = (whole,) if whole else ()
        return [found.get(one, ()) for one in asked]
