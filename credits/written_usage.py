"""Rows of usage as JSON that PostgreSQL writes: what is only passed on is not taken apart on the way."""

from collections.abc import Hashable, Sequence
from datetime import date
from uuid import UUID

from creditdesk.credits.kept_usage import KeptRows, KeptUsage
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.ranges import Range, next_month
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

_MOST_MONTHS = 13
"""Of a range that is kept: whether anything is new is looked up in each of its months."""


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
    permitted: PermittedScopes, users: Sequence[str], query: UsageQuery, template: str, kept: KeptUsage | None = None
) -> UsageLookup:
    """State what finds the breakdown of each of these users, its first rows as JSON by a template (see the statement).

    That can be had of whole days by products and models, without a filter. Elsewhere rows are as they always are. Those
    are read alone who have used something in these months since they were kept.
    """
    is_of_words = set(query.by).issubset(_WRITTEN) and not any(one in template for one in OF_USER)
    if query.range.edges or query.filter != ANYTHING or not is_of_words:
        return usage_rows_of_users(permitted, [UUID(user) for user in users], query)
    if len(users) == 1 and query.by == _WRITTEN and (permitted.everyone or users[0] == str(permitted.user_id)):
        return _of_one(permitted, users[0], query, template)
    months = _months_in(query.range)
    if kept is None or not kept.keeps or len(months) > _MOST_MONTHS:
        kept, months = None, []  # nobody has to know as of when it is
    question = _question(permitted, query, template)
    at_hand = kept.of(question) if kept is not None else {}
    known = {user: rows for user in users if (rows := at_hand.get(user)) is not None}  # as it is now, whatever comes

    def by_user(rows: Sequence[list[Row]]) -> list[BreakdownRows]:
        [(named, versions, written)] = rows[0]
        if not named:
            return [BreakdownRows([], NOTHING, "[]")] * len(users)
        found: dict[str, str] = {}
        new: dict[str, KeptRows] = {}
        for user, version, text in zip(named.split(","), versions.split(","), written.split("\n"), strict=True):
            found[user] = text or known[user].written
            if text:
                new[user] = KeptRows(int(version), text)
        if kept is not None and new:
            kept.keep(question, new)
        return [BreakdownRows([], NOTHING, found.get(user, "[]")) for user in users]

    return lookup(
        by_user,
        "usage_written_of_users",
        **filter_arguments(permitted, query),
        cell_users=list(users),
        known_versions=[known[user].version if user in known else None for user in users],
        months=months,
        ordering=query.ordering.name,
        first=query.first,
        template=template,
    )


def _question(permitted: PermittedScopes, query: UsageQuery, template: str) -> Hashable:
    """Return what breakdowns depend on that are the same of the same users at the same version."""
    # Whoever sees everyone is told the same; others are kept apart, lest one be told what another may see.
    caller = None if permitted.everyone else (permitted.user_id, permitted.managed_groups)
    days = query.range.first_day, query.range.last_day
    return permitted.workspace_id, caller, days, query.by, query.ordering, query.first, template


def _months_in(range_: Range) -> list[date]:
    months = [range_.first_day.replace(day=1)]
    while (following := next_month(months[-1])) <= range_.last_day:
        months.append(following)
    return months


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
