"""A rollup by workspace, day, product and model: trends without the rows of every group."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_WORDS = sa.Text(collation="C")
_FIGURES = ("credits", "requests", "input_tokens", "cached_input_tokens", "output_tokens")


def upgrade() -> None:
    op.create_table(
        "rollup_workspace_day",
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _FIGURES),
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("product", _WORDS, primary_key=True),
        sa.Column("model", _WORDS, primary_key=True),
        sa.Column("slot", sa.SmallInteger(), primary_key=True, autoincrement=False),
        postgresql_with={"fillfactor": "50"},
    )
    # What is recorded meanwhile waits, or it would be in the events and not in the new rollup.
    op.execute("LOCK TABLE rollup_group_day IN SHARE ROW EXCLUSIVE MODE")
    op.execute(
        "INSERT INTO rollup_workspace_day"
        " SELECT sum(credits), sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens),"
        " workspace_id, day, product, model, 0"
        " FROM rollup_group_day GROUP BY workspace_id, day, product, model ORDER BY workspace_id, day, product, model"
    )
    op.execute("ALTER TABLE rollup_workspace_day ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY administrator ON rollup_workspace_day TO creditdesk_administrator"
        " USING (workspace_id = app_workspace_id())"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON rollup_workspace_day TO creditdesk_administrator")
    op.execute("GRANT SELECT ON rollup_workspace_day TO creditdesk_member")
