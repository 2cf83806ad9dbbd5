"""Placing holds in fewer and shorter statements; only what was not simply granted is answered."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute((Path(__file__).parents[1] / "sql" / f"{revision}_functions.sql").read_text(encoding="utf-8"))
