"""Usage of many users as JSON that PostgreSQL writes: what is only passed on is not taken apart on the way."""

from collections.abc import Sequence
from uuid import UUID

from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.usage import (
    NOTHING,
    BreakdownRows,
    Dimension,
    Filter,
    UsageLookup,
    UsageQuery,
    filter_arguments,
    usage_rows_of_users,
)
from creditdesk.db.connections import Row
from creditdesk.db.lookups import lookup

_WRITTEN = frozenset({Dimension.PRODUCT, Dimension.MODEL})


def usage_written_of_users(
    permitted: PermittedScopes, users: Sequence[str], query: UsageQuery, template: str
) -> UsageLookup:
    """State what finds the breakdown of each of these users, its first rows as JSON by a template (see the statement).

    That can be had of whole days by products and models, without a filter. Elsewhere rows are as they always are.
    """
    if query.range.edges or query.filter != Filter() or not _WRITTEN.issuperset(query.by):
        return usage_rows_of_users(permitted, [UUID(user) for user in users], query)

    def by_user(rows: Sequence[list[Row]]) -> list[BreakdownRows]:
        [(named, written)] = rows[0]
        found = dict(zip(named.split(","), written.split("\n"), strict=True)) if named else {}
        return [BreakdownRows([], NOTHING, found.get(user, "[]")) for user in users]

    return lookup(
        by_user,
        "usage_written_of_user" if len(users) == 1 else "usage_written_of_users",
        **filter_arguments(permitted, query),
        cell_users=list(users),
        ordering=query.ordering.name,
        first=query.first,
        template=template,
    )
