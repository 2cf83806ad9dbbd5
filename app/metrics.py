"""What Prometheus is told: requests, statements and the pool."""

import os
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.values import MultiProcessValue

from creditdesk.db.readiness import PoolUse
from creditdesk.graphql.execution.executor import Outcome
from creditdesk.graphql.subscribers import Open

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


_PID = os.getpid()


def _this_process() -> int:
    """Say which process counts, without the system call that it is by default: ours never forks."""
    return _PID


_SharedValue = MultiProcessValue(_this_process)  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class _Tally:
    """Requests of one path and status that are not written out yet, and how many of them took how long."""

    count: int = 0
    seconds: float = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_SECONDS) + 1))


class Metrics:
    """The counters of this process, and with several workers the sum of them all.

    Several workers share files in the directory that `serve` names in PROMETHEUS_MULTIPROC_DIR; prometheus-client
    takes it from there when it is imported.
    """

    def __init__(self, *, shared: Path | None = None) -> None:
        self._shared = shared
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._counts: defaultdict[tuple[Counter, str], int] = defaultdict(int)
        self._registry = CollectorRegistry()
        registry = None if shared else self._registry
        if shared:
            values.ValueClass = _SharedValue
        self._requests = Counter(
            "creditdesk_requests", "Answered HTTP requests.", ("path", "status"), registry=registry
        )
        self._durations = Histogram(
            "creditdesk_request_duration_seconds",
            "How long requests took.",
            ("path",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._statements = Counter(
            "creditdesk_statements", "Statements sent to PostgreSQL.", ("statement",), registry=registry
        )
        self._executions = Counter(
            "creditdesk_executions", "GraphQL operations, by what came of their plans.", ("outcome",), registry=registry
        )
        self._connections = Gauge(
            "creditdesk_database_connections",
            "Pooled database connections.",
            ("state",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "creditdesk_database_waiting",
            "Callers that wait for a database connection.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._open = Gauge(
            "creditdesk_open",
            "Open WebSocket connections and event streams, and the subscriptions on them.",
            ("what",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._dropped = Counter(
            "creditdesk_slow_consumers", "Connections dropped because their client did not read.", registry=registry
        )
        self._dropped_before = 0
        if shared:
            MultiProcessCollector(self._registry, path=str(shared))  # type: ignore[no-untyped-call]

    def count_request(self, path: str, status: str, seconds: float) -> None:
        """Count an answered request; `path` is a route's, never what a client made up."""
        tally = self._tallies.get((path, status))
        if tally is None:
            tally = self._tallies[path, status] = _Tally()
        tally.count += 1
        tally.seconds += seconds
        tally.buckets[bisect_left(_SECONDS, seconds)] += 1

    def write_out(self) -> None:
        """Have what was counted shown: each page does, and workers who share one every second.

        prometheus-client counts under a lock and, where workers share files, into one of them each time.
        """
        counts, self._counts = self._counts, defaultdict(int)
        for (counter, label), count in counts.items():
            counter.labels(label).inc(count)
        tallies, self._tallies = self._tallies, {}
        for (path, status), tally in tallies.items():
            self._requests.labels(path, status).inc(tally.count)
            durations = self._durations.labels(path)
            # As Histogram.observe does for one.
            durations._sum.inc(tally.seconds)  # noqa: SLF001
            for bucket, count in zip(durations._buckets, tally.buckets, strict=True):  # noqa: SLF001
                if count:
                    bucket.inc(count)

    def count_statement(self, name: str) -> None:
        """Count a statement: an observer of `Database`."""
        self._counts[self._statements, name] += 1

    def count_execution(self, outcome: Outcome) -> None:
        """Count an operation, by whether a plan was followed."""
        self._counts[self._executions, outcome.name] += 1

    @property
    def is_shared(self) -> bool:
        """Tell whether another worker's page shows what this one notes."""
        return self._shared is not None

    def note_pool(self, use: PoolUse) -> None:
        """Note how busy this process's pool is."""
        self._connections.labels("in_use").set(use.in_use)
        self._connections.labels("idle").set(use.idle)
        self._waiting.set(use.waiting)

    def note_open(self, is_open: Open) -> None:
        """Note what is open, and count who was dropped: an observer of `Subscribers`."""
        self._open.labels("connections").set(is_open.connections)
        self._open.labels("subscriptions").set(is_open.subscriptions)
        self._dropped.inc(is_open.dropped - self._dropped_before)
        self._dropped_before = is_open.dropped

    def page(self) -> bytes:
        """Return the page in Prometheus's text format."""
        self.write_out()
        if self._shared:
            _forget_the_dead(self._shared)
        return generate_latest(self._registry)


def _forget_the_dead(shared: Path) -> None:
    """Take back the gauges of workers that were killed: those that end in peace are no different."""
    for file in shared.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, path=str(shared))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue
