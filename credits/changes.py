"""Changes: what was committed, whom it concerns, and reading it from the outbox that every change is written to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from creditdesk.db.connections import Connection, Database, Row
from creditdesk.db.scopes import DatabaseRole, RowScope

KEPT = timedelta(minutes=15)
"""How long changes stay in the outbox."""

MOST_CHANGES = 2000
"""How many changes are gone through; where there are more at once, whoever waits looks at everything anew."""

EVERYBODY = None
"""Stands among ids for all of the workspace."""


class Topic(Enum):
    """What can be waited for, of somebody."""

    BUDGET = "What a budget is made of: use, holds and limits."
    USAGE = "Use that was recorded."
    REQUEST = "A credit request that was made, or has ended."
    PEOPLE = "Who somebody is: their groups, and whether they may come in."


class Use(NamedTuple):
    """What a user used in one commit, of one model, charged to one group; corrections are signed."""

    user_id: UUID
    group_id: UUID
    product: str
    model: str
    credits: int
    requests: int


Concerned = Mapping[Topic, frozenset[UUID | None]]


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit changed, and whom that concerns.

    `all_budgets` says that any budget of the workspace may be another one now.
    """

    concerned: Concerned
    requests: tuple[UUID, ...] = ()
    all_budgets: bool = False
    columns: tuple[Sequence[object], ...] = ()

    def uses(self) -> Iterator[Use]:
        """Yield what was used."""
        return map(Use._make, zip(*self.columns, strict=True))


@dataclass(frozen=True, slots=True)
class News:
    """The changes that a snapshot had not seen, and the one that has; None for more than can be gone through."""

    snapshot: str
    changes: tuple[Change, ...] | None


async def snapshot_now(conn: Connection, workspace_id: UUID) -> str:
    """Return what has been committed by now: what comes after it is news."""
    [(snapshot,)] = await conn.rows("outbox_now", workspace_id=workspace_id)
    return str(snapshot)


async def news_since(conn: Connection, workspace_id: UUID, snapshot: str) -> News:
    """Read what was committed since a snapshot."""
    rows = await conn.rows("outbox_since", workspace_id=workspace_id, seen=snapshot, most=MOST_CHANGES + 1)
    current, is_rewound = rows[0][:2]
    if is_rewound or len(rows) > MOST_CHANGES:
        return News(current, None)
    return News(current, tuple(change_of(workspace_id, row[2:]) for row in rows if row[2] is not None))


async def trim_outbox(database: Database, *, now: datetime) -> int:
    """Forget the changes that are older than they are kept, in all workspaces; return how many those were."""
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, None)) as conn:
        [(gone,)] = await conn.rows("trim_outbox", before=now - KEPT)
    return int(gone)


async def tell_of_changes(database: Database, payload: str) -> None:
    """Say something to every process that listens."""
    await database.reader(RowScope(DatabaseRole.ADMINISTRATOR, None)).rows("tell_of_changes", payload=payload)


def change_of(workspace_id: UUID, row: Row) -> Change:
    """Return what a row of the outbox says."""
    kind, users, groups, products, models, credits_, requests, object_types, object_ids = row
    if kind == "ACTS":
        return _acts(object_types, object_ids, users)
    budgets = frozenset({*users, *groups, workspace_id})
    if kind == "HOLDS":
        return Change({Topic.BUDGET: budgets})
    concerned = {Topic.BUDGET: budgets, Topic.USAGE: frozenset({*users, EVERYBODY})}
    return Change(concerned, columns=(users, groups, products, models, credits_, requests))


def _acts(object_types: Sequence[str], object_ids: Sequence[UUID], users: Sequence[UUID | None]) -> Change:
    """Return whom entries of the audit trail concern."""
    budgets: set[UUID | None] = set()
    askers: set[UUID | None] = set()
    people: set[UUID | None] = set()
    requests: list[UUID] = []
    all_budgets = False
    for object_type, object_id, user_id in zip(object_types, object_ids, users, strict=True):
        match object_type:
            case "CreditRequest":
                requests.append(object_id)
                askers |= {user_id, EVERYBODY}
            case "CreditLimit" if user_id is not None:
                budgets.add(user_id)
            case "User" if user_id is not None:
                # Whose limits count for them, and whether they may come in.
                budgets.add(user_id)
                people.add(user_id)
            case "CreditLimit" | "Workspace" | "Group" | "User":
                all_budgets = True
    return Change(
        {Topic.BUDGET: frozenset(budgets), Topic.REQUEST: frozenset(askers), Topic.PEOPLE: frozenset(people)},
        requests=tuple(requests),
        all_budgets=all_budgets,
    )
