"""What the benchmark of holds has found, as a section of `docs/benchmarks.md`."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pages import machine

USERS, CONNECTIONS, PROCESSES = 5000, 64, 2
CLIENTS = 2
"""How many processes of ours, and threads of pgbench's, the connections are shared out to."""
BARE = "UPDATE bare SET held = held + 1 WHERE id = :id AND used + held + 1 <= lim;"


@dataclass(frozen=True, slots=True)
class Round:
    """One round: rates a second, the holds' latencies in milliseconds, and the processor's milliseconds for each."""

    bare: float
    bare_cpu: float
    holds: float
    p50: float
    p99: float
    together: float
    """How many holds a transaction placed."""
    server: float
    postgres: float
    clients: float

    @property
    def ratio(self) -> float:
        """Return how many holds there are for one bare update."""
        return self.holds / self.bare


def report(results: dict[str, list[Round]], *, command: str) -> str:
    """Return the section."""
    tables = "\n\n".join(_table(name, rounds) for name, rounds in results.items())
    hot = results["hot"]
    bare, rate = (statistics.median(getattr(one, name) for one in hot) for name in ("bare", "holds"))
    together, span = statistics.median(one.together for one in hot), 1000 / bare
    rounds, share = rate / together, rate / statistics.median(one.holds for one in results["cold"])
    return f"""## Placing holds

`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()},
embedded PostgreSQL with its durable settings.

*Holds* are placed over HTTP at `creditdesk serve` with {PROCESSES} processes: token verified, limits resolved, each
hold idempotent and durable, row-level security on, access log on. *Bare* is pgbench, prepared, with
`{BARE}` in a transaction of its own.
Each has {CONNECTIONS} clients, in {CLIENTS} processes and in {CLIENTS} threads, which share the cores with it.
On cold balances a hold locks one of {USERS:,} users' balances; on the hot one it locks the workspace's as well, which
all of them meet at, where pgbench updates a single row. The two take turns, after a round that is not counted. *At
once* is how many holds a transaction placed. Where other work runs beside them, the processor's time for a hold and for
a bare update tells more than rates do.

{tables}

### What bounds a hot balance

A row is changed by one transaction at a time, and its lock is kept until the commit is on disk: a hot balance takes one
transaction for each such span, whoever places. What counts is how many holds a transaction places. pgbench places one:
{bare:,.0f} a second here, {span:.2f} ms each. creditdesk placed {together:.0f} in each, for {CONNECTIONS} connections
at {PROCESSES} processes, so {rounds:,.0f} transactions a second were enough for {rate:,.0f} holds: {share:.0%} of what
it placed on cold balances in the same run. Where that is near 100%, the processor is the bound, as on cold balances,
and not the row. A transaction places up to 256 holds, so the row by itself would take {bare:,.0f} x 256 a second at
most; another process makes it no more transactions, but smaller ones.
"""


def _table(name: str, rounds: Sequence[Round]) -> str:
    rows = "\n".join(
        f"| {number} | {one.holds:,.0f} | {one.bare:,.0f} | {one.ratio:.2f} | {one.p50:.1f} | {one.p99:.1f} |"
        f" {one.together:.0f} | {one.server:.3f} | {one.postgres:.3f} | {one.clients:.3f} | {one.bare_cpu:.3f} |"
        for number, one in enumerate(rounds, start=1)
    )
    ratios = [one.ratio for one in rounds]
    title = {"cold": "Cold balances", "hot": "One hot balance"}[name]
    return f"""### {title}

| round | holds/s | bare/s | ratio | p50, ms | p99, ms | at once | CPU, ms: server | PostgreSQL | clients | bare |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

Ratio: median **{statistics.median(ratios):.2f}**, from {min(ratios):.2f} to {max(ratios):.2f}."""
