"""Workspaces, people, usage events, rollups; two database roles and their row-level policies."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WORDS = sa.Text(collation="C")
_MOMENT = sa.DateTime(timezone=True)
_FIGURES = ("credits", "requests", "input_tokens", "cached_input_tokens", "output_tokens")


def _figures() -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in _FIGURES]


_KEY_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "user_id": sa.Uuid(), "group_id": sa.Uuid(), "product": _WORDS, "model": _WORDS,
    "day": sa.Date(), "month": sa.Date(), "hour": _MOMENT,
}  # fmt: skip


def _rollup(name: str, *key: str) -> None:
    op.create_table(
        name,
        *_figures(),
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        *(sa.Column(part, _KEY_TYPES[part], primary_key=True) for part in key),
        postgresql_with={"fillfactor": "80"},
    )


_ROLES = """
DO $$
BEGIN
  -- Roles belong to the whole server: another database's migration may have made them, or be making them now.
  BEGIN
    CREATE ROLE creditdesk_administrator LOGIN NOINHERIT;
  EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
  END;
  BEGIN
    CREATE ROLE creditdesk_member LOGIN NOINHERIT;
  EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
  END;
  BEGIN
    CREATE ROLE creditdesk_server LOGIN NOINHERIT;
  EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
  END;
  IF NOT pg_has_role('creditdesk_server', 'creditdesk_administrator', 'SET') THEN
    GRANT creditdesk_administrator TO creditdesk_server WITH INHERIT FALSE, SET TRUE;
  END IF;
  IF NOT pg_has_role('creditdesk_server', 'creditdesk_member', 'SET') THEN
    GRANT creditdesk_member TO creditdesk_server WITH INHERIT FALSE, SET TRUE;
  END IF;
END
$$
"""

# STABLE, plain SQL, so that they are inlined into the policies and planned as an index condition.
_CONTEXT = """
CREATE FUNCTION app_workspace_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT nullif(current_setting('app.workspace_id', true), '')::uuid $$;
CREATE FUNCTION app_user_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;
CREATE FUNCTION app_workspace_slug() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT nullif(current_setting('app.workspace_slug', true), '') $$
"""

_PARTITIONS = """
CREATE TABLE usage_event_default PARTITION OF usage_event DEFAULT;

-- Runs as the owner, since the server's role may not make tables; it takes months and nothing else.
-- Rows that waited in the default partition move into the month's own, so an event outside them is never lost.
CREATE FUNCTION ensure_usage_partitions(p_first date, p_last date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  v_month date := date_trunc('month', p_first)::date;
  v_name text;
  v_made integer := 0;
BEGIN
  IF p_first < DATE '2000-01-01' OR p_last >= DATE '2101-01-01' OR p_last - p_first > 4000 THEN
    RAISE EXCEPTION 'months run from 2000-01 to 2100-12, at most 130 at once' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('creditdesk.ensure_usage_partitions'));
  WHILE v_month <= p_last LOOP
    v_name := 'usage_event_' || to_char(v_month, 'YYYY_MM');
    IF to_regclass('public.' || v_name) IS NULL THEN
      SET LOCAL lock_timeout = '5s';
      -- Writers wait at the table itself, or they would find themselves in the default partition with a row that by
      -- then belongs into the month's own. They take the two locks in this order too.
      LOCK TABLE public.usage_event IN SHARE ROW EXCLUSIVE MODE;
      LOCK TABLE public.usage_event_default IN ACCESS EXCLUSIVE MODE;
      EXECUTE format('CREATE TABLE public.%I (LIKE public.usage_event INCLUDING DEFAULTS)', v_name);
      EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', v_name);
      EXECUTE format(
        'WITH moved AS (DELETE FROM public.usage_event_default WHERE at >= %L AND at < %L RETURNING *)'
        ' INSERT INTO public.%I SELECT * FROM moved',
        v_month::timestamp AT TIME ZONE 'UTC', (v_month + interval '1 month') AT TIME ZONE 'UTC', v_name);
      EXECUTE format(
        'ALTER TABLE public.usage_event ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        v_name, v_month::timestamp AT TIME ZONE 'UTC', (v_month + interval '1 month') AT TIME ZONE 'UTC');
      v_made := v_made + 1;
    END IF;
    v_month := (v_month + interval '1 month')::date;
  END LOOP;
  RETURN v_made;
END
$$;
REVOKE ALL ON FUNCTION ensure_usage_partitions(date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_usage_partitions(date, date) TO creditdesk_administrator
"""

_POLICIES = """
-- Administrators: every row of the workspace in context.
CREATE POLICY administrator ON workspace TO creditdesk_administrator
  USING (id = app_workspace_id() OR slug = app_workspace_slug()) WITH CHECK (id = app_workspace_id());
CREATE POLICY administrator ON user_group TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON app_user TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON user_identity TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON group_member TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON usage_event TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON usage_event_key TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON rollup_user_detail_day TO creditdesk_administrator
  USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON rollup_user_day TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON rollup_user_month TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON rollup_group_day TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON rollup_group_hour TO creditdesk_administrator USING (workspace_id = app_workspace_id());

-- Members: the workspace's name, the names of its groups, and their own row everywhere else. Groups' rollups have no
-- policy for them, so they hold nothing for them to see.
CREATE POLICY member ON workspace FOR SELECT TO creditdesk_member USING (id = app_workspace_id());
CREATE POLICY member ON user_group FOR SELECT TO creditdesk_member USING (workspace_id = app_workspace_id());
CREATE POLICY member ON app_user FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND id = app_user_id());
CREATE POLICY member ON user_identity FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND user_id = app_user_id());
CREATE POLICY member ON group_member FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND user_id = app_user_id());
CREATE POLICY member ON usage_event FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND user_id = app_user_id());
CREATE POLICY member ON rollup_user_detail_day FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND user_id = app_user_id());
CREATE POLICY member ON rollup_user_day FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND user_id = app_user_id());
CREATE POLICY member ON rollup_user_month FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND user_id = app_user_id())
"""

# Usage is append-only: nobody but the owner may change or delete an event or its key.
_PRIVILEGES = """
GRANT USAGE ON SCHEMA public TO creditdesk_administrator, creditdesk_member, creditdesk_server;
GRANT SELECT, INSERT, UPDATE ON workspace, user_group, app_user, user_identity TO creditdesk_administrator;
GRANT SELECT, INSERT, DELETE ON group_member TO creditdesk_administrator;
GRANT SELECT, INSERT ON usage_event, usage_event_key TO creditdesk_administrator;
GRANT USAGE ON SEQUENCE usage_event_id_seq TO creditdesk_administrator;
GRANT SELECT, INSERT, UPDATE ON rollup_user_detail_day, rollup_user_day, rollup_user_month, rollup_group_day,
  rollup_group_hour TO creditdesk_administrator;
GRANT SELECT ON workspace, user_group, app_user, user_identity, group_member, usage_event, rollup_user_detail_day,
  rollup_user_day, rollup_user_month, rollup_group_day, rollup_group_hour TO creditdesk_member;
GRANT SELECT ON alembic_version TO creditdesk_server
"""

_TABLES = (
    "workspace", "user_group", "app_user", "user_identity", "group_member", "usage_event", "usage_event_default",
    "usage_event_key", "rollup_user_detail_day", "rollup_user_day", "rollup_user_month", "rollup_group_day",
    "rollup_group_hour",
)  # fmt: skip


def _people() -> None:
    op.create_table(
        "workspace",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("slug", _WORDS, nullable=False, unique=True),
        sa.Column("name", _WORDS, nullable=False),
        sa.Column("zone", _WORDS, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "user_group",
        sa.Column("workspace_id", sa.Uuid(), sa.ForeignKey("workspace.id"), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("slug", _WORDS, nullable=False),
        sa.Column("name", _WORDS, nullable=False),
        sa.Column("sort_name", _WORDS, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
    )
    op.create_index("user_group_slug_key", "user_group", ["workspace_id", "slug"], unique=True)
    op.create_index("user_group_sort_name_idx", "user_group", ["workspace_id", "sort_name", "id"])
    op.create_table(
        "app_user",
        sa.Column("workspace_id", sa.Uuid(), sa.ForeignKey("workspace.id"), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("external_id", _WORDS),
        sa.Column("email", _WORDS),
        sa.Column("display_name", _WORDS, nullable=False),
        sa.Column("sort_name", _WORDS, nullable=False),
        sa.Column("kind", _WORDS, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("home_group_id", sa.Uuid()),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["workspace_id", "home_group_id"], ["user_group.workspace_id", "user_group.id"]),
        sa.CheckConstraint("kind IN ('PERSON', 'SERVICE_ACCOUNT')", name="app_user_kind_check"),
        sa.CheckConstraint("email = lower(email)", name="app_user_email_check"),
    )
    op.create_index("app_user_email_key", "app_user", ["workspace_id", "email"], unique=True)
    op.create_index("app_user_external_id_key", "app_user", ["workspace_id", "external_id"], unique=True)
    op.create_index("app_user_home_group_idx", "app_user", ["workspace_id", "home_group_id"])
    op.create_index("app_user_sort_name_idx", "app_user", ["workspace_id", "sort_name", "id"])
    op.create_table(
        "user_identity",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("issuer", _WORDS, primary_key=True),
        sa.Column("subject", _WORDS, primary_key=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id", "user_id"], ["app_user.workspace_id", "app_user.id"]),
    )
    op.create_index("user_identity_user_idx", "user_identity", ["workspace_id", "user_id"])
    op.create_table(
        "group_member",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("group_id", sa.Uuid(), primary_key=True),
        sa.Column("user_id", sa.Uuid(), primary_key=True),
        sa.ForeignKeyConstraint(["workspace_id", "group_id"], ["user_group.workspace_id", "user_group.id"]),
        sa.ForeignKeyConstraint(["workspace_id", "user_id"], ["app_user.workspace_id", "app_user.id"]),
    )
    op.create_index("group_member_user_idx", "group_member", ["workspace_id", "user_id", "group_id"])


def _usage() -> None:
    event_id = sa.Sequence("usage_event_id_seq")
    op.execute(sa.schema.CreateSequence(event_id))
    op.create_table(
        "usage_event",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("user_id", sa.Uuid(), primary_key=True),
        sa.Column("at", _MOMENT, primary_key=True),
        sa.Column("id", sa.BigInteger(), server_default=event_id.next_value(), primary_key=True, autoincrement=False),
        sa.Column("group_id", sa.Uuid()),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        *_figures(),
        sa.Column("source", _WORDS, nullable=False),
        sa.Column("external_id", _WORDS, nullable=False),
        sa.Column("product", _WORDS, nullable=False),
        sa.Column("model", _WORDS, nullable=False),
        sa.Column("corrects", _WORDS),
        sa.Column("tags", postgresql.JSONB()),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("usage_event_at_idx", "usage_event", ["workspace_id", "at"], postgresql_using="brin")
    op.create_table(
        "usage_event_key",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("source", _WORDS, primary_key=True),
        sa.Column("external_id", _WORDS, primary_key=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
    )
    _rollup("rollup_user_detail_day", "user_id", "day", "group_id", "product", "model")
    _rollup("rollup_user_day", "day", "user_id", "group_id")
    _rollup("rollup_user_month", "month", "user_id", "group_id")
    _rollup("rollup_group_day", "day", "group_id", "product", "model")
    _rollup("rollup_group_hour", "hour", "group_id", "product", "model")
    op.create_index(
        "rollup_user_detail_day_day_idx", "rollup_user_detail_day", ["workspace_id", "day"], postgresql_using="brin"
    )


def upgrade() -> None:
    op.execute(_ROLES)
    _people()
    _usage()
    for block in (_CONTEXT, _PARTITIONS):
        op.execute(block)
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(_POLICIES)
    op.execute(_PRIVILEGES)
