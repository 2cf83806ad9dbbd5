"""The export of costs: what everybody used by day, user, charged group, product and model, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from creditdesk.credits.errors import InvalidPageError, InvalidRangeError
from creditdesk.db.connections import Connection

MOST_DAYS, MOST_ROWS = 400, 10_000
_NO_GROUP = UUID(int=0)


@dataclass(frozen=True, slots=True)
class CostPosition:
    """Where a row stands in the export: rows are ordered by this, and each has another."""

    user_id: UUID
    day: date
    group_id: UUID
    product: str
    model: str


@dataclass(frozen=True, slots=True)
class CostRow:
    """What one user used of one model on one day of the workspace's zone, charged to one group or to none."""

    position: CostPosition
    credits: int
    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    email: str | None
    external_id: str | None
    group_slug: str | None

    @property
    def group_id(self) -> UUID | None:
        """Return the group that was charged; None for none."""
        return None if self.position.group_id == _NO_GROUP else self.position.group_id


async def cost_page(
    conn: Connection,
    workspace_id: UUID,
    days: tuple[date, date],
    *,
    after: CostPosition | None,
    size: int,
) -> tuple[Sequence[CostRow], bool]:
    """Return a page of what was used from the first day to the last, and whether more follows: for who may see all.

    Raise InvalidRangeError or InvalidPageError.
    """
    first_day, last_day = days
    if not 0 <= (last_day - first_day).days < MOST_DAYS:
        raise InvalidRangeError(f"A range has 1 to {MOST_DAYS} days, the last not before the first.")
    if not 1 <= size <= MOST_ROWS:
        raise InvalidPageError(f"A page has 1 to {MOST_ROWS} rows.")
    rows = await conn.rows(
        "cost_page",
        workspace_id=workspace_id,
        first_day=first_day,
        last_day=last_day,
        after_user=after.user_id if after else None,
        after_day=after.day if after else None,
        after_group=after.group_id if after else None,
        after_product=after.product if after else None,
        after_model=after.model if after else None,
        # One more than asked for tells whether the list goes on.
        size=size + 1,
    )
    return [CostRow(CostPosition(*row[:5]), *row[5:]) for row in rows[:size]], len(rows) > size
