"""What the embedded server needs before the first migration: the owner's role, and a database that it owns."""

import psycopg
from psycopg import sql

from creditdesk.db.embedded import SUPERUSER, EmbeddedServer, ensure_database

OWNER = "creditdesk_owner"
SERVER = "creditdesk_server"

# The owner makes the other roles in the first migration, and may not bypass row-level security elsewhere.
_OWNER_ROLE = """
DO $$
BEGIN
  CREATE ROLE creditdesk_owner LOGIN CREATEROLE;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END
$$
"""


def ensure_owned_database(server: EmbeddedServer, name: str) -> None:
    """Create the owner's role and its database where they are missing; another process may do the same at once."""
    with psycopg.connect(server.dsn(user=SUPERUSER, database="postgres"), autocommit=True) as connection:
        connection.execute(_OWNER_ROLE)
        ensure_database(server, name)
        with connection.transaction():
            # Two at once would fail with "tuple concurrently updated".
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('creditdesk.ensure_owned_database'))")
            connection.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(OWNER))
            )
