"""Who may sign in that is not known yet, what a token's groups mean, and when each identity came last."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_WORDS = sa.Text(collation="C")
_CHOICES = {
    "first_sign_in": ("REFUSE", "ADMIT", "LINK", "LINK_OR_CREATE"),
    "group_claims": ("OFF", "ADD", "MIRROR"),
}


def upgrade() -> None:
    for name, values in _CHOICES.items():
        default = sa.text(f"'{values[0]}'")
        op.add_column("workspace_settings", sa.Column(name, _WORDS, nullable=False, server_default=default))
        op.create_check_constraint(f"workspace_settings_{name}_check", "workspace_settings", f"{name} IN {values}")
    op.create_table(
        "sign_in",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("issuer", _WORDS, primary_key=True),
        sa.Column("subject", _WORDS, primary_key=True),
        sa.Column("began_at", sa.DateTime(timezone=True)),
        sa.Column("groups_hash", _WORDS, nullable=False, server_default=sa.text("''")),
        sa.Column("claimed_groups", postgresql.ARRAY(_WORDS), nullable=False, server_default=sa.text("'{}'")),
        postgresql_with={"fillfactor": "80"},
    )
    op.execute("ALTER TABLE sign_in ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY administrator ON sign_in TO creditdesk_administrator USING (workspace_id = app_workspace_id())"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON sign_in TO creditdesk_administrator")
