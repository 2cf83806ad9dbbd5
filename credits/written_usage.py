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
_NO_ROWS = BreakdownRows([], NOTHING, "[]")


def usage_written_of_users(
    permitted: PermittedScopes, users: Sequence[UUID], query: UsageQuery, template: str
) -> UsageLookup:
    """State what finds the breakdown of each of these users, its first rows as JSON by a template (see the statement).

    That can be had of whole days by products and models, without a filter. Elsewhere rows are as they always are.
    """
    if query.range.edges or query.filter != Filter() or not _WRITTEN.issuperset(query.by):
        return usage_rows_of_users(permitted, users, query)

    def by_user(rows: Sequence[list[Row]]) -> list[BreakdownRows]:
        found = {user_id: BreakdownRows([], NOTHING, written) for user_id, written in rows[0]}
        return [found.get(user_id, _NO_ROWS) for user_id in users]

    return lookup(
        by_user,
        "usage_written_of_users",
        **filter_arguments(permitted, query),
        cell_users=list(users),
        ordering=query.ordering.name,
        first=query.first,
        template=template,
    )
