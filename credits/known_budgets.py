"""What limits those whom a caller looks at, as long as the version that the caller is known as of is in force.

Pages are looked at again and again, by the same people. Who is on them and what limits those changes seldom; what was
used and what is held is read each time. It is forgotten with all else that is kept of a caller (see own_accounts.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from creditdesk.credits.budget_rules import Budget
from creditdesk.credits.budgets import LimitedGroups, groups_budgets, main_budgets_of, named_balances
from creditdesk.credits.main_budgets import LimitedUsers, MainBudget, main_budgets_of_users
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.lookups import Lookup

MOST_PAGES = 4
"""Of users, and of groups: so many are kept of each caller, of whom there may be thousands."""

LARGEST = 100
"""Of a page that is kept: what limits thousands would be kept for every caller who looks at them."""

Subject = TypeVar("Subject")
Limited = TypeVar("Limited", LimitedUsers, LimitedGroups)


class KnownBudgets:
    """Budgets of those on pages that the caller has looked at, and of others.

    Their rules are of the version that the caller is known as of, or of a later one, as with an own account.
    """

    def __init__(self, permitted: PermittedScopes) -> None:
        self._permitted = permitted
        self._users: dict[tuple[str, ...], LimitedUsers] = {}
        self._groups: dict[tuple[UUID, ...], LimitedGroups] = {}

    def main_budgets(self, users: Sequence[str], *, now: datetime) -> Lookup[list[MainBudget | None]]:
        """State what finds each user's main budget: as `main_budgets_of_users`, by what is known to limit them."""
        page = tuple(users)
        known = self._users.get(page)
        if known is None or known.until <= now:
            return main_budgets_of_users(
                self._permitted, users, now=now, keep=lambda limited: _keep(self._users, page, limited)
            )
        reading = known.reading
        limited = [(user, control) for user, control in zip(users, known.controls, strict=True) if control is not None]

        def found(taken: Sequence[tuple[int, int]]) -> list[MainBudget | None]:
            budgets = {
                user: MainBudget(user, control, used, held, reading)
                for (user, control), (used, held) in zip(limited, taken, strict=True)
            }
            return [budgets.get(user) for user in users]

        return named_balances(self._permitted, [(control, user) for user, control in limited], found, now=now)

    def group_budgets(self, groups: Sequence[UUID], *, now: datetime) -> Lookup[dict[UUID, Budget]]:
        """State what finds the budgets that groups share: as `groups_budgets`, by what is known to limit them."""
        page = tuple(groups)
        known = self._groups.get(page)
        if known is None or known.until <= now:
            return groups_budgets(
                self._permitted, groups, now=now, keep=lambda limited: _keep(self._groups, page, limited)
            )
        controls = [control for of_group in known.controls.values() for control in of_group]

        def found(taken: Sequence[tuple[int, int]]) -> dict[UUID, Budget]:
            balances = {(one.kind.id, one.scope_id): pair for one, pair in zip(controls, taken, strict=True)}
            return main_budgets_of(self._permitted, known, balances, now=now)

        return named_balances(self._permitted, [(one, one.scope_id) for one in controls], found, now=now)


def _keep(pages: dict[tuple[Subject, ...], Limited], page: tuple[Subject, ...], limited: Limited) -> None:
    """Keep a page, the last of all; the one that was kept first goes."""
    if len(page) > LARGEST:
        return
    pages.pop(page, None)
    pages[page] = limited
    if len(pages) > MOST_PAGES:
        del pages[next(iter(pages))]
