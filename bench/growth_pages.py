"""What the benchmark of growth writes: a section of docs/benchmarks.md, and a picture of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from xml.sax.saxutils import escape

from read_dataset import DAYS, GROUPS, LARGEST, MODELS, OTHERS, WORKSPACES
from read_workloads import WORKLOADS
from write_workloads import WRITES

BILLION = 1_000_000_000
_CELLS = sum(map(len, MODELS.values()))
_COLOURS = ("#1f6feb", "#0a7e3c", "#8250df", "#d0a215", "#cf222e", "#57606a", "#bf3989", "#1b7c83")
_READS_OF: Mapping[str, str] = {
    "R1": "rollup_user_detail_day",
    "R1s": "rollup_user_detail_day",
    "R2": "rollup_user_detail_day",
    "R3": "rollup_user_month",
    "R4": "rollup_user_month",
}
"""The rollup whose rows a workload reads most of."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request takes: milliseconds of the processor, and the pages and rows that PostgreSQL goes through."""

    server_ms: float
    database_ms: float
    pages: float
    rows: float


@dataclass(frozen=True, slots=True)
class Table:
    """A table's rows, and the bytes of it and of its indexes."""

    rows: int
    heap: int
    indexes: int

    @property
    def bytes(self) -> int:
        """Return both together."""
        return self.heap + self.indexes


@dataclass(frozen=True, slots=True)
class Step:
    """What was measured at one size, with creditdesk and with the floor."""

    events: int
    costs: Mapping[str, Cost]
    floor: Mapping[str, Cost]
    tables: Mapping[str, Table]
    differences: int


@cache
def expected_rows(rollup: str, events: int) -> float:
    """Return how many rows a rollup is expected to have for so many events, as they are made up."""
    total = 0.0
    for number in range(WORKSPACES):
        people = OTHERS if number else LARGEST
        groups = 5 if number else GROUPS
        share = events / 2 if number == 0 else events / 2 / (WORKSPACES - 1)
        heavy = people // 10
        # Half of the uses are those of a tenth of the people; the other half is everybody's.
        rates = ((heavy, 0.5 / heavy + 0.5 / people), (people - heavy, 0.5 / people))
        for uses, days in _spans(share, monthly=rollup.endswith("month")):
            match rollup:
                case "rollup_user_detail_day":
                    total += sum(days * count * _met(uses * rate, _CELLS) for count, rate in rates)
                case "rollup_user_day" | "rollup_user_month":
                    total += sum(days * count * _met(uses * rate, 1) for count, rate in rates)
                case "rollup_group_day":
                    total += days * _met(uses, groups * _CELLS)
                case "rollup_group_hour":
                    total += days * 24 * _met(uses / 24, groups * _CELLS)
                case "rollup_workspace_day":
                    total += days * _met(uses, _CELLS)
                case _:
                    return float(events)
    return total


def _met(uses: float, cells: int) -> float:
    """Return how many of some cells are met by so many uses at random."""
    return cells * -math.expm1(-uses / cells)


def _spans(uses: float, *, monthly: bool) -> Sequence[tuple[float, float]]:
    """Return how many uses a day, or a month, has, and how many such there are."""
    if monthly:
        return [(uses / 12, 12)]
    weekends, workdays = DAYS * 2 / 7, DAYS * 5 / 7
    weight = weekends + 4 * workdays
    return [(uses / weight, weekends), (4 * uses / weight, workdays)]


def growth_report(steps: Sequence[Step], *, machine: str) -> str:
    """Return the section."""
    last = steps[-1]
    sizes = " and ".join(f"{step.events:,}" for step in steps)
    return f"""## Growth

`make bench-growth`, {datetime.now(UTC):%Y-%m-%d}, {machine}, embedded PostgreSQL with its durable settings.

The dataset of *Reading* with {sizes} events: the same people, groups and year, so what grows is
how much each of them uses. creditdesk with every protection on, told to keep no usage (0028), four connections, one
process; *floor* is the processor's time of the raw SQL in PostgreSQL. *Pages* (8 kB) and *rows* are those that
PostgreSQL went through for a request, indexes included, as its statistics count them; those of writing hold what
autovacuum does meanwhile. Other work ran on the machine, so the processor's times say more than rates would, and rows
and pages say most.
`creditdesk reconcile` found {sum(step.differences for step in steps)} differences in these datasets.

![Milliseconds of the database's processor time by events](growth.svg)

### What a request costs

{_costs(steps)}

### What is stored

{_stored(steps)}

What is said of more than {last.events:,} events is computed, not measured. The rows at {BILLION:,} are expected from
how the events are made up, which at {last.events:,} gives {_fit(last)}; the
bytes are those of a row at {last.events:,}, with its part of the indexes.

### What is expected at a billion

{_expected(steps)}

Expected is what lies on the line through the smallest and the largest size, by the rows of that rollup; where the two
differ by no more than measuring does, that is the same. Rollups stop growing with the events: nobody can have more rows
on a day than there are products and models. At a billion events a year, half of them of one workspace of
{LARGEST:,} people:

{_outlook(last)}
"""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(columns: Sequence[str]) -> list[str]:
    return [_row(columns), f"|{' --- |' * len(columns)}"]


def _costs(steps: Sequence[Step]) -> str:
    lines = _head(("workload", "events", "server CPU, ms", "database CPU, ms", "floor, ms", "pages", "rows"))
    for name in (*WORKLOADS, *WRITES):
        for step in steps:
            cost, floor = step.costs[name], step.floor.get(name)
            cells = [name, f"{step.events:,}", f"{cost.server_ms:.2f}", f"{cost.database_ms:.2f}"]
            cells += [f"{floor.database_ms:.2f}" if floor else "-", f"{cost.pages:,.0f}", f"{cost.rows:,.0f}"]
            lines.append(_row(cells))
    return "\n".join(lines)


def _stored(steps: Sequence[Step]) -> str:
    last = steps[-1]
    columns = [f"rows at {step.events:,}" for step in steps]
    lines = _head(
        ("table", *columns, f"expected at {BILLION:,}", "bytes a row", f"GB at {last.events:,}", f"GB at {BILLION:,}")
    )
    for name, table in last.tables.items():
        counts = [f"{step.tables[name].rows:,}" for step in steps]
        each = table.bytes / max(table.rows, 1)
        expected = expected_rows(name, BILLION)
        cells = [f"`{name}`", *counts, f"{expected:,.0f}", f"{each:.0f}", f"{table.bytes / 1e9:.2f}"]
        lines.append(_row([*cells, f"{each * expected / 1e9:,.1f}"]))
    now = sum(table.bytes for table in last.tables.values())
    then = sum(table.bytes / max(table.rows, 1) * expected_rows(name, BILLION) for name, table in last.tables.items())
    lines.append(_row(["all", *[""] * len(steps), "", "", f"{now / 1e9:.2f}", f"{then / 1e9:,.1f}"]))
    return "\n".join(lines)


def _fit(step: Step) -> str:
    parts = [
        expected_rows(name, step.events) / table.rows
        for name, table in step.tables.items()
        if name.startswith("rollup") and table.rows
    ]
    return f"{min(parts):.2f} to {max(parts):.2f} times the rows that are there"


def _expected(steps: Sequence[Step]) -> str:
    first, last = steps[0], steps[-1]
    lines = _head(("workload", "reads most rows of", f"database CPU at {last.events:,}, ms", "expected, ms"))
    for name, rollup in _READS_OF.items():
        now = last.costs[name].database_ms
        more = expected_rows(rollup, BILLION) - last.tables[rollup].rows
        grown = last.tables[rollup].rows - first.tables[rollup].rows
        each = (now - first.costs[name].database_ms) / grown if grown else 0
        then = now + max(each, 0) * max(more, 0)
        lines.append(_row([name, f"`{rollup}`", f"{now:.1f}", f"{then:,.1f}"]))
    return "\n".join(lines)


def _outlook(last: Step) -> str:
    events, keys = last.tables["usage_event"], last.tables["usage_event_key"]
    month = events.bytes / events.rows * BILLION / 12 / 1e9
    key = keys.bytes / keys.rows * BILLION / 1e9
    detail = last.tables["rollup_user_detail_day"]
    days = detail.bytes / detail.rows * expected_rows("rollup_user_detail_day", BILLION) / 1e9
    return f"""- **Sizes.** A month's partition of events has {BILLION / 12 / 1e6:,.0f} million rows in {month:,.0f} GB.
  It is written at its end, and read for parts of days alone. An old one is detached and dropped at once; reports lose
  nothing by it, since rollups stay.
- **First to change: `usage_event_key`.** One table and one btree by source and id, {key:,.0f} GB, in no order of time.
  Once it is larger than memory, each event recorded reads a page from disk. It is to be cut into some dozens of
  partitions by a hash of workspace and id, or kept only as long as sources send again.
- **Second: `rollup_user_detail_day`,** {days:,.0f} GB, of which reports read the last months: to be partitioned by
  month, as events are. That changes no statement, since each of them says which days it reads.
- **Then the nested reads.** R1 reads every row of 2,500 people's 30 days. A rollup of a user's month by product and
  model takes {_CELLS * 12} rows a person and year; whole months would come from there, as they do in rankings.
- **Not to change:** trends and rankings (R3, R4) read rollups that are as large as they will be, and holds (W2) read
  balances, of which there is one for each limit and period, however many events there are.
- **More than one machine:** the workspace leads every key, and every statement says which one it asks about, so
  workspaces can be spread over machines as they are."""


def growth_picture(steps: Sequence[Step]) -> str:
    """Return a picture: the database's milliseconds for each workload, both axes logarithmic."""
    width, height, left, right, top, bottom = 760, 420, 70, 130, 20, 50
    names = [*WORKLOADS, *WRITES]
    costs = [step.costs[name].database_ms for step in steps for name in names]
    low, high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))
    first, last = math.log10(steps[0].events), math.log10(steps[-1].events)

    def across(events: int) -> float:
        return left + (math.log10(events) - first) / max(last - first, 0.01) * (width - left - right)

    def up(cost: float) -> float:
        return height - bottom - (math.log10(cost) - low) / (high - low) * (height - top - bottom)

    parts = []
    for power in range(low, high + 1):
        y = up(10.0**power)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} ms</text>')
    for step in steps:
        x = across(step.events)
        parts.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{height - bottom}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{step.events:,}</text>')
    ends: list[float] = []
    for name, colour in sorted(zip(names, _COLOURS, strict=True), key=lambda one: -steps[-1].costs[one[0]].database_ms):
        points = [(across(step.events), up(step.costs[name].database_ms)) for step in steps]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        y = max(points[-1][1] + 4, ends[-1] + 14 if ends else 0)
        ends.append(y)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(f'<text x="{points[-1][0] + 10:.1f}" y="{y:.1f}" fill="{colour}">{escape(name)}</text>')
    parts.append(f'<text x="{(left + width - right) / 2:.1f}" y="{height - 10}" text-anchor="middle">events</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        f' font-size="12"><title>Milliseconds of the database\'s processor time by events</title>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )
