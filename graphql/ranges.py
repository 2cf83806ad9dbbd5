"""Ranges, as they are asked for and as they are answered."""

from datetime import date, datetime

import strawberry

from creditdesk.credits import ranges
from creditdesk.graphql.context import Context
from creditdesk.graphql.enums import RangePreset


@strawberry.input(description="Days in the workspace's zone, both included.")
class DayRange:
    """Two days."""

    first: date = strawberry.field(description="The first day.")
    last: date = strawberry.field(description="The last day, which is in the range.")


@strawberry.input(description="A half-open span of time.")
class InstantRange:
    """Two moments."""

    start: datetime = strawberry.field(description="The first moment.")
    end: datetime = strawberry.field(description="The moment just past the span, which is not in it.")


@strawberry.input(one_of=True, description="The range of a report: a named one, days, or instants.")
class RangeInput:
    """One of three ways to name a range."""

    preset: RangePreset | None = strawberry.field(default=strawberry.UNSET, description="A range by its name.")
    days: DayRange | None = strawberry.field(default=strawberry.UNSET, description="Days, the first and the last one.")
    instants: InstantRange | None = strawberry.field(
        default=strawberry.UNSET,
        description="Moments. Whole days are read from rollups and the rest from the events, so any moments will do.",
    )

    def resolved(self, context: Context) -> ranges.Range:
        """Return the range in the workspace's zone; raise InvalidRangeError where it is none."""
        if self.preset:
            return ranges.range_of_preset(self.preset, zone=context.zone, now=context.now)
        if self.days:
            days = self.days
            today = ranges.day_of(context.now, context.zone)
            return ranges.range_of_days(days.first, days.last, zone=context.zone, today=today)
        assert self.instants  # noqa: S101 - exactly one is given: that is what @oneOf means
        instants = self.instants
        return ranges.range_of_instants(instants.start, instants.end, zone=context.zone)


@strawberry.type(description="The half-open span of time that a report covers.")
class Range:
    """A range that was resolved."""

    start: datetime = strawberry.field(description="The first moment.")
    end: datetime = strawberry.field(description="The moment just past the range, which is not in it.")

    @classmethod
    def of(cls, range_: ranges.Range) -> "Range":
        """Show a range."""
        return cls(start=range_.start, end=range_.end)
