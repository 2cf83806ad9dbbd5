"""Granting holds that all have room in one pass over their balances."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute((Path(__file__).parents[1] / "sql" / f"{revision}_functions.sql").read_text(encoding="utf-8"))
