"""Browsers that are signed in."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WORDS = sa.Text(collation="C")
_MOMENT = sa.DateTime(timezone=True)

# The server's role reads and writes one workspace's sessions at a time. Removing those that have expired runs as the
# owner, for all workspaces, and can do nothing else. A member's role has no business here.
_POLICIES = """
ALTER TABLE browser_session ENABLE ROW LEVEL SECURITY;
CREATE POLICY administrator ON browser_session TO creditdesk_administrator USING (workspace_id = app_workspace_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON browser_session TO creditdesk_administrator;

CREATE FUNCTION remove_expired_sessions(p_now timestamptz, p_seen_since timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  WITH removed AS (
    DELETE FROM public.browser_session
    WHERE expires_at <= p_now OR seen_at <= p_seen_since
    RETURNING 1
  )
  SELECT count(*) FROM removed
$$;
REVOKE ALL ON FUNCTION remove_expired_sessions(timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION remove_expired_sessions(timestamptz, timestamptz) TO creditdesk_administrator
"""


def upgrade() -> None:
    op.create_table(
        "browser_session",
        sa.Column("workspace_id", sa.Uuid(), sa.ForeignKey("workspace.id"), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("issuer", _WORDS, nullable=False),
        sa.Column("subject", _WORDS, nullable=False),
        sa.Column("issuer_session", _WORDS),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("next_secret_hash", sa.LargeBinary()),
        sa.Column("next_given_at", _MOMENT),
        sa.Column("previous_secret_hash", sa.LargeBinary()),
        sa.Column("previous_until", _MOMENT),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("renewed_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("tokens", _WORDS, nullable=False),
        sa.Column("tokens_version", sa.Integer(), nullable=False),
        sa.Column("tokens_expire_at", _MOMENT, nullable=False),
        sa.Column("refresh_id", sa.Uuid()),
        sa.Column("refresh_until", _MOMENT),
        sa.ForeignKeyConstraint(["workspace_id", "user_id"], ["app_user.workspace_id", "app_user.id"]),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index("browser_session_user_idx", "browser_session", ["workspace_id", "user_id"])
    op.execute(_POLICIES)
