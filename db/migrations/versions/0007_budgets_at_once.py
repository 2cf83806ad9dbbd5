"""Let members cut days into periods, so that their budgets are read in one message."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT EXECUTE ON FUNCTION period_first_day, billing_first_day TO creditdesk_member")


def downgrade() -> None:
    op.execute("REVOKE EXECUTE ON FUNCTION period_first_day, billing_first_day FROM creditdesk_member")
