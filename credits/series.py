"""Usage as series of points in time: hours, days, weeks or months of the workspace's zone."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from creditdesk.credits.amounts import format_credits, parse_credits
from creditdesk.credits.errors import InvalidRangeError
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.ranges import (
    Range,
    Span,
    day_of,
    days_of,
    midnight,
    month_arguments,
    next_month,
    span_arguments,
)
from creditdesk.credits.usage import (
    ANYTHING,
    Cell,
    Dimension,
    Figures,
    Key,
    UsageQuery,
    cell_arguments,
    filter_arguments,
    names_users,
)
from creditdesk.db.connections import Connection, Row
from creditdesk.db.lookups import Lookup, lookup

MAX_POINTS = 1000
_OF_CREDITS = frozenset({Dimension.PRODUCT, Dimension.MODEL})
_START, _CREDITS = "%1$s", "%2$s"


class Interval(Enum):
    """The length of a point of a series, in the workspace's zone."""

    HOUR = "An hour."
    DAY = "A day, from midnight to midnight."
    WEEK = "A week, from Monday."
    MONTH = "A calendar month."


@dataclass(frozen=True, slots=True)
class Series:
    """Points in order of time, none left out. `key` is None for all beyond the first series, taken together."""

    key: Key | None
    points: tuple[tuple[datetime, Figures], ...]


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """A series for whoever reads many points: `key` as in `Series`, each point a moment and the five figures."""

    key: Key | None
    points: list[tuple[Any, ...]]
    written: str | None = None
    """The points as a JSON list, and none in `points`, where they were asked for so."""


SeriesLookup: TypeAlias = Lookup[Sequence[list[SeriesRows]]]
"""What finds the series of cells, in their order."""

Starts: TypeAlias = Sequence[tuple[object, datetime]]
"""Of every point its bucket, as statements name it, and the instant it starts."""


async def series_of(
    conn: Connection, permitted: PermittedScopes, cells: Sequence[Cell], query: UsageQuery, interval: Interval
) -> list[tuple[Series, ...]]:
    """Return each cell's series, the largest first; raise InvalidRangeError past a thousand points.

    Every point of the range is there, also where nothing was used.
    """
    [found] = await conn.look_up([series_rows_of(permitted, cells, query, interval)])
    return [tuple(map(shown_series, one)) for one in found]


def shown_series(found: SeriesRows) -> Series:
    """Return a series from its rows."""
    return Series(found.key, tuple((start, Figures(*figures)) for start, *figures in found.points))


def series_rows_of(
    permitted: PermittedScopes,
    cells: Sequence[Cell],
    query: UsageQuery,
    interval: Interval,
    template: str | None = None,
) -> SeriesLookup:
    """State what finds the same as `series_of`, as rows; points are written by a template, if there is one.

    Those that can be are credits of the whole workspace: in the template 1 is when a point starts, and 2 its credits.
    """
    starts, range_, bucket = _point_starts(query.range, interval), query.range, interval.name.lower()
    if permitted.everyone and _is_of_credits_of_workspace(cells, query, interval):
        written = None if template is None else _written_points(range_, interval, template)
        return lookup(
            partial(_series_of_lists, starts, written, query),
            "usage_series_of_credits",
            bucket=bucket,
            as_written=written is not None,
            **filter_arguments(permitted, query),
        )
    found = partial(_series_of_rows, starts, query, len(cells))
    if interval is Interval.HOUR:
        return _hours_of(permitted, cells, query, found)
    # Every point is a sum of days, so whole months are of no use here.
    arguments = cell_arguments(permitted, cells, query) | month_arguments(days_of(range_))
    if range_.edges:
        spans = span_arguments(range_, range_.edges)
        return lookup(found, "usage_series_between", bucket=bucket, **arguments, **spans)
    if arguments["on_user"]:
        return lookup(found, "usage_series_of_users", bucket=bucket, **arguments)
    if arguments["source"] == "WORKSPACE":
        return lookup(found, "usage_series_of_workspace", bucket=bucket, **arguments)
    return lookup(found, "usage_series", bucket=bucket, **arguments)


def _hours_of(
    permitted: PermittedScopes,
    cells: Sequence[Cell],
    query: UsageQuery,
    found: Callable[[Sequence[list[Row]]], list[list[SeriesRows]]],
) -> SeriesLookup:
    arguments, range_ = cell_arguments(permitted, cells, query), query.range
    if range_.edges or arguments["on_members"] or names_users(cells, query):
        spans = span_arguments(range_, (Span(range_.start, range_.end),))
        return lookup(found, "usage_hours_between", **arguments, **spans)
    return lookup(found, "usage_hours", starts=range_.start, ends=range_.end, **arguments)


def _is_of_credits_of_workspace(cells: Sequence[Cell], query: UsageQuery, interval: Interval) -> bool:
    """Tell whether credits alone are asked for, of whole days of the workspace, by product or model at most."""
    asked = (query.credits_only, query.filter, query.range.edges, *cells)
    is_of_days = interval is not Interval.HOUR and _OF_CREDITS.issuperset(query.by)
    return is_of_days and asked == (True, ANYTHING, (), Cell())


def _series_of_lists(
    starts: Starts, written: "_Written | None", query: UsageQuery, rows: Sequence[list[Row]]
) -> list[list[SeriesRows]]:
    """Return the one cell's series, of which the statement has buckets and credits as two lists."""

    def series(key: Key | None, credits_in: Mapping[str, str]) -> SeriesRows:
        if written is not None:
            return SeriesRows(key, [], written.filled(credits_in))
        return SeriesRows(key, [(start, int(credits_in.get(str(bucket), 0)), 0, 0, 0, 0) for bucket, start in starts])

    found = [
        series(Key(product=product, model=model), dict(_points(buckets, amounts)))
        for product, model, buckets, amounts in rows[0][: query.first]
    ]
    if rest := rows[0][query.first :]:
        read, told = (int, str) if written is None else (parse_credits, format_credits)
        together: Counter[str] = Counter()
        for *_, buckets, amounts in rest:
            for bucket, amount in _points(buckets, amounts):
                together[bucket] += read(amount)
        found.append(series(None, {bucket: told(amount) for bucket, amount in together.items()}))
    return [found if query.by or found else [series(Key(), {})]]


def _points(buckets: str, amounts: str) -> Iterator[tuple[str, str]]:
    return zip(buckets.split(","), amounts.split(","), strict=True)


class _Written(NamedTuple):
    """All points as a JSON list, with a place for the credits of each: they are the same for all series of a range."""

    buckets: Sequence[str]
    text: str

    def filled(self, credits_in: Mapping[str, str]) -> str:
        """Return the list with the credits of each bucket."""
        return self.text % tuple([credits_in.get(bucket, "0") for bucket in self.buckets])


@lru_cache(maxsize=64)
def _written_points(range_: Range, interval: Interval, template: str) -> _Written | None:
    """Return all points by a template, or None for one that does not take a point's credits exactly once."""
    if template.count(_CREDITS) != 1:
        return None
    starts = _point_starts(range_, interval)
    shown = [start.astimezone(UTC).isoformat().replace("+00:00", "Z") for _, start in starts]
    points = ",".join(template.replace(_START, start).replace(_CREDITS, "%s") for start in shown)
    return _Written([str(bucket) for bucket, _ in starts], f"[{points}]")


def _series_of_rows(starts: Starts, query: UsageQuery, cells: int, rows: Sequence[list[Row]]) -> list[list[SeriesRows]]:
    """Return each cell's series, of which each point is a row."""
    nothing = [(start, 0, 0, 0, 0, 0) for _, start in starts]
    place_of = {bucket: (place, start) for place, (bucket, start) in enumerate(starts)}
    found: list[dict[int | None, SeriesRows]] = [{} for _ in range(cells)]
    for row in rows[0]:
        series, place = found[row[0] - 1], row[5]
        if place not in series:
            series[place] = SeriesRows(None if place is None else Key(*row[1:5]), nothing.copy())
        point, start = place_of[row[6]]
        series[place].points[point] = (start, *row[7:])
    if not query.by:
        for series in found:
            series.setdefault(1, SeriesRows(Key(), nothing))
    return [list(series.values()) for series in found]


@lru_cache(maxsize=256)
def _point_starts(range_: Range, interval: Interval) -> Starts:
    """Return every point's bucket, as the statement names it, and the instant it starts."""
    if interval is Interval.HOUR:
        return _hours(range_)
    first, last = day_of(range_.start, range_.zone), day_of(range_.end - timedelta(microseconds=1), range_.zone)
    days: list[date] = []
    day = first
    if interval is Interval.WEEK:
        day = first - timedelta(days=first.weekday())
    elif interval is Interval.MONTH:
        day = first.replace(day=1)
    while day <= last:
        days.append(day)
        match interval:
            case Interval.WEEK:
                day += timedelta(days=7)
            case Interval.MONTH:
                day = next_month(day)
            case _:
                day += timedelta(days=1)
    _bounded(len(days))
    return [(day, midnight(day, range_.zone)) for day in days]


def _bounded(points: int) -> None:
    if points > MAX_POINTS:
        raise InvalidRangeError(f"A series has at most {MAX_POINTS} points: take a longer interval or a shorter range.")


def _hours(range_: Range) -> Starts:
    """Return the full hours of the zone, as PostgreSQL's `date_trunc('hour', at, zone)` cuts them.

    They are stepped through in UTC and cut again, since a zone may change its clocks by half an hour.
    """
    zone = ZoneInfo(range_.zone)
    _bounded(int((range_.end - range_.start).total_seconds()) // 3600)
    hours: list[tuple[object, datetime]] = []
    hour = _full_hour(range_.start, zone)
    while hour < range_.end:
        hours.append((hour, hour))
        hour = _full_hour(hour + timedelta(hours=1), zone)
    return hours


def _full_hour(moment: datetime, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    return moment - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
