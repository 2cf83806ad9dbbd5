"""`creditdesk reconcile`: proof that rollups and balances add up to the events, or the name of every difference."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime

from creditdesk.app.database import running_database
from creditdesk.app.settings import Settings
from creditdesk.credits.amounts import format_credits
from creditdesk.credits.directory import workspace_by_slug
from creditdesk.credits.reconcile import Reconciliation, reconcile
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope

_TIMEOUT_SECONDS = 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the workspaces to look at."""
    parser.add_argument("workspaces", nargs="+", metavar="SLUG", help="the workspace's short name")
    parser.add_argument("--most", type=int, default=100, help="differences to show for each table (default 100)")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Reconcile each workspace; 0 where all add up, 4 where one does not, 1 where one is not there."""
    with running_database(settings, today=datetime.now(UTC).date()) as database:
        return asyncio.run(_reconcile_all(database.dsn, arguments.workspaces, most=arguments.most))


async def _reconcile_all(dsn: str, slugs: list[str], *, most: int) -> int:
    database = Database(dsn, max_connections=1, statement_timeout_seconds=_TIMEOUT_SECONDS)
    await database.open()
    try:
        return max([await _reconcile_one(database, slug, most=most) for slug in slugs])
    finally:
        await database.close()


async def _reconcile_one(database: Database, slug: str, *, most: int) -> int:
    workspace = await workspace_by_slug(database, slug)
    if workspace is None:
        sys.stderr.write(f"creditdesk: there is no workspace {slug}\n")
        return 1
    conn = database.reader(RowScope(DatabaseRole.ADMINISTRATOR, workspace.id))
    return _told(slug, await reconcile(conn, workspace_id=workspace.id, now=datetime.now(UTC), most=most))


def _told(slug: str, found: Reconciliation) -> int:
    verdict = f"{len(found.differences)} DIFFERENCES" if found.differences else "everything adds up"
    sys.stdout.write(f"{slug}: {found.events} events, {format_credits(found.credits)} credits: {verdict}\n")
    for one in found.differences:
        sys.stdout.write(f"  {one.table} at {one.key}: events say {one.in_events}; it says {one.in_table}\n")
    return 4 if found.differences else 0
