"""Rows of usage as JSON that PostgreSQL writes: what is only passed on is not taken apart on the way."""

from collections.abc import Sequence
from uuid import UUID

from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.usage import (
    ANYTHING,
    NOTHING,
    BreakdownRows,
    Cell,
    Dimension,
    UsageLookup,
    UsageQuery,
    cell_arguments,
    filter_arguments,
    is_ranking,
    usage_rows_of,
    usage_rows_of_users,
)
from creditdesk.db.connections import Row
from creditdesk.db.lookups import lookup

OF_USER = ("%8$s", "%9$s", "%10$s")
"""What templates take of a row's user: the id, the name and the e-mail address."""

_WRITTEN = (Dimension.PRODUCT, Dimension.MODEL)


def usage_written_of(
    permitted: PermittedScopes, cells: Sequence[Cell], query: UsageQuery, template: str
) -> UsageLookup:
    """State what finds the breakdowns of cells, the first rows as JSON where that can be had: of who used most."""
    if not permitted.everyone or not is_ranking(cells, query):
        return usage_rows_of(permitted, cells, query)

    def found(rows: Sequence[list[Row]]) -> list[BreakdownRows]:
        [[written]] = rows[0]
        if written is None:
            raise LookupError("somebody who used most is not there")
        return [BreakdownRows([], NOTHING, written)]

    return lookup(found, "usage_most_written", **cell_arguments(permitted, cells, query), template=template)


def usage_written_of_users(
    permitted: PermittedScopes, users: Sequence[str], query: UsageQuery, template: str
) -> UsageLookup:
    """State what finds the breakdown of each of these users, its first rows as JSON by a template (see the statement).

    That can be had of whole days by products and models, without a filter. Elsewhere rows are as they always are.
    """
    is_of_words = set(query.by).issubset(_WRITTEN) and not any(one in template for one in OF_USER)
    if query.range.edges or query.filter != ANYTHING or not is_of_words:
        return usage_rows_of_users(permitted, [UUID(user) for user in users], query)
    if len(users) == 1 and query.by == _WRITTEN and (permitted.everyone or users[0] == str(permitted.user_id)):
        return _of_one(permitted, users[0], query, template)

    def by_user(rows: Sequence[list[Row]]) -> list[BreakdownRows]:
        [(named, written)] = rows[0]
        found = dict(zip(named.split(","), written.split("\n"), strict=True)) if named else {}
        return [BreakdownRows([], NOTHING, found.get(user, "[]")) for user in users]

    return lookup(
        by_user,
        "usage_written_of_users",
        **filter_arguments(permitted, query),
        cell_users=list(users),
        ordering=query.ordering.name,
        first=query.first,
        template=template,
    )


def _of_one(permitted: PermittedScopes, user: str, query: UsageQuery, template: str) -> UsageLookup:
    def found(rows: Sequence[list[Row]]) -> list[BreakdownRows]:
        return [BreakdownRows([], NOTHING, rows[0][0][0] if rows[0] else "[]")]

    return lookup(
        found,
        "usage_written_of_one",
        workspace_id=permitted.workspace_id,
        everyone=permitted.everyone,
        own_user=permitted.user_id,
        user_id=user,
        first_day=query.range.first_day,
        last_day=query.range.last_day,
        ordering=query.ordering.name,
        first=query.first,
        template=template,
    )
