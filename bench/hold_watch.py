"""What placing holds takes: of the processor, and of transactions."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from cpu import cpu_seconds
from hold_report import Round

STATISTICS_SECONDS = 1.5
"""After this long PostgreSQL has counted what was committed."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The processes that place holds, and how to count their transactions."""

    server: int
    postmaster: int
    dsn: str

    def used(self) -> tuple[float, float, float, int]:
        """Return the seconds used by the server, PostgreSQL and clients that have ended, and the commits, so far."""
        times = os.times()
        # A backend counts what it has committed at most a second late, or when its session ends.
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            row = connection.execute(
                "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
        commits = int(row[0]) if row else 0
        clients = times.children_user + times.children_system
        return cpu_seconds(self.server), cpu_seconds(self.postmaster), clients, commits

    def bare(self, update: Callable[[], float], seconds: float) -> tuple[float, float]:
        """Make bare updates, and return how many a second, and the processor's milliseconds for each."""
        before = self.used()
        rate = update()
        _, postgres, clients, _ = (b - a for a, b in zip(before, self.used(), strict=True))
        return rate, (postgres + clients) / (rate * seconds) * 1000

    def holds(self, place: Callable[[], dict[str, Any]], seconds: float) -> Round:
        """Place holds, and return the round; bare updates are still to come."""
        before = self.used()
        placed = place()
        time.sleep(STATISTICS_SECONDS)
        server, postgres, clients, commits = (b - a for a, b in zip(before, self.used(), strict=True))
        count = placed["rate"] * seconds
        return Round(
            bare=0,
            bare_cpu=0,
            holds=placed["rate"],
            p50=placed["p50"],
            p99=placed["p99"],
            together=count / commits,
            server=server / count * 1000,
            postgres=postgres / count * 1000,
            clients=clients / count * 1000,
        )
