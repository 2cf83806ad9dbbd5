"""People and groups are changed in turns that are counted, and a user's sessions can be ended at a moment."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("user_group", "app_user"):
        op.add_column(table, sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")))
    op.add_column("app_user", sa.Column("sessions_ended_at", sa.DateTime(timezone=True)))
    op.execute("GRANT DELETE ON user_identity TO creditdesk_administrator")
