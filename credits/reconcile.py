"""The proof that rollups and balances are the sum of the events, and that every event is there once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from creditdesk.credits.amounts import format_credits
from creditdesk.db.connections import Connection

ROLLUPS = ("user_detail_day", "user_day", "user_month", "group_day", "group_hour", "workspace_day")
_FIGURES = ("credits", "requests", "input_tokens", "cached_input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of a table where the ledger and what is derived from it do not say the same."""

    table: str
    key: str
    in_events: str
    in_table: str


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How much there is, and every difference found, up to a number for each table."""

    events: int
    credits: int
    differences: tuple[Difference, ...]


async def reconcile(conn: Connection, *, workspace_id: UUID, now: datetime, most: int = 100) -> Reconciliation:
    """Compare rollups, balances and settled holds with the events, what is held with the holds, and events with keys.

    Each comparison is one statement and so sees one moment: it may run while usage is recorded and holds are placed.
    What has expired by `now` is held no more.
    """
    [(events, total)] = await conn.rows("workspace_totals", workspace_id=workspace_id)
    differences: list[Difference] = []
    for name in ROLLUPS:
        rows = await conn.rows(f"reconcile_{name}", workspace_id=workspace_id, most=most)
        differences += [Difference(f"rollup_{name}", key, _shown(left), _shown(right)) for key, left, right in rows]
    rows = await conn.rows("reconcile_keys", workspace_id=workspace_id, most=most)
    differences += [
        Difference("usage_event_key", key, f"{events or 0} events", f"{keys or 0} keys") for key, events, keys in rows
    ]
    rows = await conn.rows("reconcile_balances", workspace_id=workspace_id, now=now, most=most)
    differences += [Difference("balance", key, _taken(*sums[:2]), _taken(*sums[2:])) for key, *sums in rows]
    rows = await conn.rows("reconcile_holds", workspace_id=workspace_id, most=most)
    differences += [
        Difference("hold", key, ", ".join(map(_credits, found)) or "nothing", _credits(settled))
        for key, found, settled in rows
    ]
    return Reconciliation(events, total, tuple(differences))


def _credits(amount: int) -> str:
    return f"credits {format_credits(amount)}"


def _taken(used: int | None, held: int | None) -> str:
    return "nothing" if used is None else f"used {format_credits(used)}, held {format_credits(held or 0)}"


def _shown(figures: Sequence[int] | None) -> str:
    if figures is None:
        return "nothing"
    amount, *counts = figures
    return ", ".join(
        [f"credits {format_credits(amount)}"]
        + [f"{name} {count}" for name, count in zip(_FIGURES[1:], counts, strict=True)]
    )
