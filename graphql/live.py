"""What subscriptions share within a process: the feed of changes, and the reads of those who watch the same."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from creditdesk.credits.budget_reads import BudgetReads
from creditdesk.credits.feed import Feed
from creditdesk.db.connections import Database


@dataclass(frozen=True, slots=True)
class Live:
    """One for each process."""

    feed: Feed
    budgets: BudgetReads
    clock: Callable[[], datetime]

    @classmethod
    def over(cls, database: Database, clock: Callable[[], datetime]) -> "Live":
        """Return what watches this database; nobody is told anything until its feed runs."""
        return cls(Feed(database), BudgetReads(database, clock), clock)
