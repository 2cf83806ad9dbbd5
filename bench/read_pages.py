"""What the benchmark of reading writes: a section of docs/benchmarks.md, and a picture of it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from read_workloads import WORKLOADS

OURS, FLOOR = "creditdesk", "raw SQL"
_COLOURS = {OURS: "#1f6feb", FLOOR: "#8b949e"}
_OTHERS = "#d0a215"
_COLUMNS = (
    "candidate", "requests/s", "creditdesk is", "p50, ms", "p99, ms", "server CPU, ms", "database CPU, ms", "peak MB",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """A candidate's round: requests a second, milliseconds, and the peak of a process's memory."""

    rate: float
    p50: float
    p99: float
    server_ms: float
    database_ms: float
    megabytes: float


Results = Mapping[str, Mapping[str, Sequence[Measured]]]


def report(results: Results, *, events: int, connections: int, machine: str) -> str:
    """Return the section."""
    parts = "\n\n".join(_table(workload, found) for workload, found in results.items())
    return f"""## Reading

`make bench-reads`, {datetime.now(UTC):%Y-%m-%d}, {machine}, embedded PostgreSQL with its durable settings.

Ten workspaces with 10,000 people, the largest with half of them in 50 groups; {events:,} events in a year, recorded
by the product. {connections} connections, one process each, all on the same tables of one database; candidates take
turns after a round that is not counted, and have answered alike, in full, before they are timed.

*creditdesk* runs with every protection: a token for each caller, limits on documents, row-level security, access log.
*raw SQL* is the floor: one hand-written statement that returns JSON behind a bare handler, without any of that. *plain
Strawberry* has DataLoaders and SQLModel, and *PostGraphile* views and functions, both as their documentation teaches,
and neither has tokens, limits on documents or row-level security. Ratios are medians over the rounds, with the smallest
and the largest.

![Requests a second, as a part of the floor's](reading.svg)

{parts}
"""


def _table(workload: str, found: Mapping[str, Sequence[Measured]]) -> str:
    lines = [
        f"### {workload}: {WORKLOADS[workload]}",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"|{' --- |' * len(_COLUMNS)}",
    ]
    for name, rounds in found.items():
        ratios = [ours.rate / one.rate for ours, one in zip(found[OURS], rounds, strict=True)]
        against = (
            "" if name == OURS else f"**{statistics.median(ratios):.2f}x** ({min(ratios):.2f} to {max(ratios):.2f})"
        )
        figures = [
            f"{statistics.median(one.rate for one in rounds):,.1f}",
            against,
            f"{statistics.median(one.p50 for one in rounds):.1f}",
            f"{statistics.median(one.p99 for one in rounds):.1f}",
            f"{statistics.median(one.server_ms for one in rounds):.2f}",
            f"{statistics.median(one.database_ms for one in rounds):.2f}",
            f"{max(one.megabytes for one in rounds):.0f}",
        ]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


def picture(results: Results) -> str:
    """Return a picture: each candidate's requests a second as a part of the floor's, for each workload."""
    width, bar, gap, left = 760, 16, 26, 210
    rows, top = [], 20
    for workload, found in results.items():
        rows.append(f'<text x="8" y="{top + 12}" font-weight="bold">{escape(workload)}</text>')
        for name, rounds in found.items():
            parts = [one.rate / floor.rate for one, floor in zip(rounds, found[FLOOR], strict=True)]
            part = statistics.median(parts)
            length = min(part, 1.2) / 1.2 * (width - left - 70)
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
