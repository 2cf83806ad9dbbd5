"""Runs the migrations on the connection that `db/migrate.py` hands over."""

from alembic import context
from sqlmodel import SQLModel

from creditdesk.db import audit_tables, outbox_tables, spend_tables, tables  # noqa: F401 - they declare the tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
