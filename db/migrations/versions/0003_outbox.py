"""The outbox: what a transaction has changed, for whoever is waiting to be told."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_WORDS = sa.Text(collation="C")


def _list(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[object]:
    return sa.Column(name, postgresql.ARRAY(kind))


def upgrade() -> None:
    number = sa.Sequence("outbox_id_seq")
    op.execute(sa.schema.CreateSequence(number))
    op.create_table(
        "outbox",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column(
            "transaction",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("id", sa.BigInteger(), server_default=number.next_value(), primary_key=True, autoincrement=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", _WORDS, nullable=False),
        _list("users", sa.Uuid()),
        _list("groups", sa.Uuid()),
        _list("products", _WORDS),
        _list("models", _WORDS),
        _list("credits", sa.BigInteger()),
        _list("requests", sa.BigInteger()),
        _list("object_types", _WORDS),
        _list("object_ids", sa.Uuid()),
        sa.CheckConstraint("kind IN ('USES', 'HOLDS', 'ACTS')", name="outbox_kind_check"),
    )
    op.execute("ALTER TABLE outbox ENABLE ROW LEVEL SECURITY")
    op.execute((Path(__file__).parents[1] / "sql" / f"{revision}_outbox.sql").read_text(encoding="utf-8"))
