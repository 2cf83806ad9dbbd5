"""What the benchmark of reading writes: a section of docs/benchmarks.md, and a picture of it."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias
from xml.sax.saxutils import escape

from loads import Measured
from read_workloads import WORKLOADS
from write_workloads import CONNECTIONS, WRITES

OURS, OURS_ANEW, FLOOR = "creditdesk", "creditdesk, all read anew", "raw SQL"
_COLOURS = {OURS: "#1f6feb", OURS_ANEW: "#79b0f5", FLOOR: "#8b949e"}
_OTHERS = "#d0a215"
_COLUMNS = (
    "candidate", "requests/s", "creditdesk is", "p50, ms", "p99, ms", "server CPU, ms", "database CPU, ms",
    "MB after", "MB at most",
)  # fmt: skip
_MORE_COLUMNS = (
    "workload", "candidate", "1 connection: requests/s", "creditdesk is", "p50, ms", "2 processes: requests/s",
    "creditdesk is", "server CPU, ms", "database CPU, ms",
)  # fmt: skip
_WRITE_COLUMNS = (
    "workload", "connections", "processes", "a second", "p50, ms", "p99, ms", "server CPU, ms", "database CPU, ms",
    "MB after", "MB at most",
)  # fmt: skip


Rounds: TypeAlias = Mapping[str, Sequence[Measured]]
Results: TypeAlias = dict[tuple[int, int], dict[str, dict[str, list[Measured]]]]
"""By connections and processes, by workload, by candidate."""
Writes: TypeAlias = Mapping[str, Mapping[int, Measured]]
"""By workload, by processes."""

MAIN, ALONE, TWO = (16, 1), (1, 1), (16, 2)


def report(results: Results, writes: Writes, *, events: int, machine: str) -> str:
    """Return the section."""
    parts = "\n\n".join(_table(workload, found) for workload, found in results[MAIN].items())
    return f"""## Reading

`make bench-reads`, {datetime.now(UTC):%Y-%m-%d}, {machine}, embedded PostgreSQL with its durable settings.

Ten workspaces with 10,000 people, the largest with half of them in 50 groups; {events:,} events in a year, recorded
by the product's own statement. 16 connections, one process each, all on the same tables of one database, planned with
the same settings; candidates take turns after a round that is not counted and lasts three times as long, since Node is
at its best only then. All have answered alike, in full, before they are timed. A peer that takes more than eight
seconds for an answer is timed once.

*creditdesk* runs with every protection: a token for each caller, limits on documents, row-level security, access log.
It keeps who is on a page, and what limits them, for callers who ask again while nothing changes, as all do here (0023),
and what people on pages used, of which it asks each time whether it is so still (0028): those alone are read anew who
have used something meanwhile, who are none here. *creditdesk, all read anew* is told to keep no usage, and shows
what the first one to ask waits for; in R1 and R1s alone that is not the same. In R1, R1s, R3 and R4 all connections
ask the same.
*raw SQL* is the floor: one hand-written statement that returns JSON behind a bare handler, without any of that, on the
rollups that answer with the fewest rows; *user days only* is the same where there is only a daily rollup by user.
*plain Strawberry* has DataLoaders and SQLModel, and *PostGraphile* views and functions, both as their documentation
teaches, and neither has tokens, limits on documents or row-level security. Ratios are medians over the rounds, with the
smallest and the largest. *Database CPU* is that of all of PostgreSQL's processes. *MB* are those of the largest process
of a server: its share of what is in memory (PSS) after the load, and the most it has had (RSS).

![Requests a second, as a part of the floor's](reading.svg)

{parts}

### One connection, and two processes

Clients, servers and PostgreSQL share the machine's cores, so on two of them a second process shows what a request
costs, not how servers scale.

{_more(results)}

### Writing

What a gateway does, through the same server with every protection on; the peers have no such doors.

{_writing(writes)}
"""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(columns: Sequence[str]) -> list[str]:
    return [_row(columns), f"|{' --- |' * len(columns)}"]


def _median(rounds: Sequence[Measured], name: str) -> float:
    return statistics.median([float(getattr(one, name)) for one in rounds])


def _ratios(found: Rounds, name: str) -> list[float]:
    """Return creditdesk's requests a second as a part of another's, in each round that both were timed in."""
    return [ours.rate / one.rate for ours, one in zip(found[OURS], found[name], strict=False)]


def _against(found: Rounds, name: str) -> str:
    ratios = _ratios(found, name)
    if name == OURS or not ratios:
        return ""
    spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
    return f"**{statistics.median(ratios):.2f}x**{spread}"


def _table(workload: str, found: Rounds) -> str:
    lines = [f"### {workload}: {WORKLOADS[workload]}", "", *_head(_COLUMNS)]
    for name, rounds in found.items():
        figures = [
            f"{_median(rounds, 'rate'):,.1f}",
            _against(found, name),
            f"{_median(rounds, 'p50'):.1f}",
            f"{_median(rounds, 'p99'):.1f}",
            f"{_median(rounds, 'server_ms'):.2f}",
            f"{_median(rounds, 'database_ms'):.2f}",
            f"{rounds[-1].memory.share:.0f}",
            f"{max(one.memory.peak for one in rounds):.0f}",
        ]
        lines.append(_row([name, *figures]))
    return "\n".join(lines)


def _more(results: Results) -> str:
    lines = _head(_MORE_COLUMNS)
    for workload, found in results[MAIN].items():
        alone, two = results[ALONE][workload], results[TWO][workload]
        for name in found:
            cells = [workload, name, *_cells(alone, name, ("rate", "p50"))]
            lines.append(_row([*cells, *_cells(two, name, ("rate", "server_ms", "database_ms"))]))
    return "\n".join(lines)


def _cells(found: Rounds, name: str, columns: Sequence[str]) -> Iterator[str]:
    rounds = found.get(name)
    yield f"{_median(rounds, columns[0]):,.1f}" if rounds else "-"
    yield _against(found, name) if rounds else "-"
    for column in columns[1:]:
        yield f"{_median(rounds, column):.2f}" if rounds else "-"


def _writing(writes: Writes) -> str:
    lines = _head(_WRITE_COLUMNS)
    for workload, found in writes.items():
        for processes, one in found.items():
            figures = [f"{one.rate:,.1f}", f"{one.p50:.1f}", f"{one.p99:.1f}"]
            costs = [f"{one.server_ms:.2f}", f"{one.database_ms:.2f}"]
            memory = [f"{one.memory.share:.0f}", f"{one.memory.peak:.0f}"]
            named = [f"{workload}: {WRITES[workload]}", str(CONNECTIONS[workload]), str(processes)]
            lines.append(_row([*named, *figures, *costs, *memory]))
    return "\n".join(lines)


def picture(results: Results) -> str:
    """Return a picture: each candidate's requests a second as a part of the floor's, for each workload."""
    width, bar, gap, left = 760, 16, 26, 210
    rows, top = [], 20
    for workload, found in results[MAIN].items():
        rows.append(f'<text x="8" y="{top + 12}" font-weight="bold">{escape(workload)}</text>')
        for name, rounds in found.items():
            parts = [one.rate / floor.rate for one, floor in zip(rounds, found[FLOOR], strict=False)]
            part = statistics.median(parts)
            length = min(part, 1.6) / 1.6 * (width - left - 70)
            colour = _COLOURS.get(name, _OTHERS)
            rows += [
                f'<text x="40" y="{top + 12}">{escape(name)}</text>',
                f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{bar - 4}" fill="{colour}"/>',
                f'<text x="{left + length + 6:.1f}" y="{top + 11}">{part:.2f}</text>',
            ]
            top += bar
        top += gap - bar
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" font-family="sans-serif"'
        f' font-size="12"><title>Requests a second, as a part of the floor\'s</title>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(rows)}</svg>\n'
    )
