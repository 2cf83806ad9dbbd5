"""Limits, balances, holds, requests, rates, settings and the audit trail; placing holds as one function."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


_WORDS = sa.Text(collation="C")
_MOMENT = sa.DateTime(timezone=True)
_CADENCES = "cadence IN ('MONTH', 'WEEK', 'DAY', 'BILLING_CYCLE')"


def _statements(name: str) -> str:
    return (Path(__file__).parents[1] / "sql" / f"{revision}_{name}.sql").read_text(encoding="utf-8")


def _workspace() -> sa.Column[object]:
    return sa.Column("workspace_id", sa.Uuid(), sa.ForeignKey("workspace.id"), primary_key=True)


def _words(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, _WORDS, nullable=nullable) for name in names]


def _set_by() -> list[sa.Column[object]]:
    return [sa.Column("set_by", sa.Uuid()), sa.Column("set_at", _MOMENT, nullable=False)]


def _check(table: str, part: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=f"{table}_{part}_check")


def _settings() -> None:
    op.create_table(
        "workspace_settings",
        _workspace(),
        sa.Column("controls_version", sa.BigInteger(), nullable=False, server_default=sa.text("1")),
        sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("multi_group", _WORDS, nullable=False, server_default=sa.text("'HIGHEST'")),
        sa.Column("unknown_model", _WORDS, nullable=False, server_default=sa.text("'DENY'")),
        sa.Column("near_percent", sa.Integer(), nullable=False, server_default=sa.text("80")),
        sa.Column("manager_ceiling", sa.BigInteger()),
        sa.Column("auto_approval_per_period", sa.BigInteger()),
        sa.Column("cooldown_hours", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("request_open_days", sa.Integer(), nullable=False, server_default=sa.text("30")),
        sa.Column(
            "anchor_since", postgresql.ARRAY(sa.Date()), nullable=False, server_default=sa.text("'{1970-01-01}'")
        ),
        sa.Column("anchor_days", postgresql.ARRAY(sa.Integer()), nullable=False, server_default=sa.text("'{1}'")),
        _check("workspace_settings", "multi_group", "multi_group IN ('HIGHEST', 'LOWEST')"),
        _check("workspace_settings", "unknown_model", "unknown_model IN ('DENY', 'DEFAULT_RATE', 'ALLOW_UNPRICED')"),
        _check("workspace_settings", "near_percent", "near_percent BETWEEN 1 AND 100"),
        _check(
            "workspace_settings",
            "anchor",
            "cardinality(anchor_since) > 0 AND cardinality(anchor_since) = cardinality(anchor_days)",
        ),
    )


def _limits() -> None:
    op.create_table(
        "credit_limit",
        _workspace(),
        sa.Column("id", sa.Uuid(), primary_key=True),
        *_words("scope"),
        sa.Column("scope_id", sa.Uuid(), nullable=False),
        *_words("kind", "cadence", "product", "model"),
        sa.Column("temporary", sa.Boolean(), nullable=False),
        sa.Column("unlimited", sa.Boolean(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        *_words("enforcement"),
        sa.Column("starts_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT),
        *_set_by(),
        *_words("reason", nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Uuid()),
        _check("credit_limit", "scope", "scope IN ('USER', 'GROUP', 'WORKSPACE')"),
        _check("credit_limit", "kind", "kind IN ('EACH_USER', 'SHARED') AND (scope <> 'USER' OR kind = 'EACH_USER')"),
        _check("credit_limit", "cadence", _CADENCES),
        _check("credit_limit", "model", "model = '' OR product <> ''"),
        _check("credit_limit", "amount", "amount >= 0 AND (NOT unlimited OR amount = 0)"),
        _check("credit_limit", "enforcement", "enforcement IN ('HARD', 'SOFT')"),
        _check("credit_limit", "temporary", "NOT temporary OR expires_at IS NOT NULL"),
    )
    op.create_index(
        "credit_limit_rule_key",
        "credit_limit",
        ["workspace_id", "scope", "scope_id", "kind", "cadence", "product", "model", "temporary"],
        unique=True,
    )


def _balances() -> None:
    op.create_table(
        "balance_kind",
        _workspace(),
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        *_words("scope", "cadence", "product", "model"),
        sa.Column("since", sa.Date(), nullable=False),
        _check("balance_kind", "scope", "scope IN ('USER', 'GROUP', 'WORKSPACE')"),
        _check("balance_kind", "cadence", _CADENCES),
    )
    op.create_index(
        "balance_kind_key", "balance_kind", ["workspace_id", "scope", "cadence", "product", "model"], unique=True
    )
    op.create_table(
        "balance",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("kind_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("scope_id", sa.Uuid(), primary_key=True),
        sa.Column("first_day", sa.Date(), primary_key=True),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("held", postgresql.ARRAY(sa.BigInteger()), nullable=False, server_default=sa.text("'{}'")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "hold",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("request_hash", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.Uuid()),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("placed_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.Column("settled_amount", sa.BigInteger()),
        sa.Column("overage", sa.BigInteger()),
        *_words("state", "source", "external_id", "product", "model"),
        sa.Column("rate_ids", postgresql.ARRAY(sa.Uuid())),
        sa.Column("passed_soft", postgresql.ARRAY(sa.Uuid())),
        sa.Column("refusal", postgresql.JSONB()),
        sa.Column("settlement_hash", sa.Uuid()),
        _check("hold", "state", "state IN ('HELD', 'SETTLED', 'RELEASED', 'REFUSED')"),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index("hold_placed_at_idx", "hold", ["workspace_id", "placed_at"], postgresql_using="brin")


def _requests() -> None:
    op.create_table(
        "credit_request",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        *_words("cadence", "product", "model"),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        *_words("reason", "duration"),
        sa.Column("until", _MOMENT),
        *_words("state"),
        sa.Column("limit_then", sa.BigInteger(), nullable=False),
        sa.Column("used_then", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("decided_at", _MOMENT),
        sa.Column("decided_by", sa.Uuid()),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        *_words("decision_note", nullable=True),
        sa.Column("granted_amount", sa.BigInteger()),
        sa.Column("granted_until", _MOMENT),
        sa.Column("limit_id", sa.Uuid()),
        sa.ForeignKeyConstraint(["workspace_id", "user_id"], ["app_user.workspace_id", "app_user.id"]),
        _check("credit_request", "state", "state IN ('PENDING', 'APPROVED', 'DENIED', 'CANCELLED', 'EXPIRED')"),
        _check("credit_request", "duration", "duration IN ('THIS_PERIOD', 'UNTIL', 'PERMANENT')"),
        _check("credit_request", "amount", "amount > 0"),
    )
    op.create_index(
        "credit_request_pending_key",
        "credit_request",
        ["workspace_id", "user_id", "cadence", "product", "model"],
        unique=True,
        postgresql_where=sa.text("state = 'PENDING'"),
    )
    op.create_index("credit_request_created_at_idx", "credit_request", ["workspace_id", "created_at", "id"])
    op.create_index("credit_request_user_idx", "credit_request", ["workspace_id", "user_id", "created_at", "id"])


def _rates() -> None:
    op.create_table(
        "rate",
        _workspace(),
        sa.Column("id", sa.Uuid(), primary_key=True),
        *_words("product", "model", "meter"),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("effective_from", _MOMENT, nullable=False),
        sa.Column("effective_until", _MOMENT),
        *_set_by(),
        _check(
            "rate",
            "meter",
            "meter IN ('MESSAGE', 'TASK', 'MINUTE', 'INPUT_TOKENS', 'CACHED_INPUT_TOKENS', 'OUTPUT_TOKENS')",
        ),
        _check("rate", "price", "price >= 0"),
        _check("rate", "model", "model = '' OR product <> ''"),
        _check("rate", "window", "effective_until > effective_from"),
    )
    op.create_table(
        "rate_multiplier",
        _workspace(),
        sa.Column("id", sa.Uuid(), primary_key=True),
        *_words("product", "tier"),
        sa.Column("millionths", sa.BigInteger(), nullable=False),
        sa.Column("effective_from", _MOMENT, nullable=False),
        sa.Column("effective_until", _MOMENT),
        *_set_by(),
        _check("rate_multiplier", "millionths", "millionths > 0"),
        _check("rate_multiplier", "window", "effective_until > effective_from"),
    )
    op.add_column("usage_event", sa.Column("rate_ids", postgresql.ARRAY(sa.Uuid())))
    op.add_column("usage_event", sa.Column("measured", postgresql.JSONB()))


def _audit() -> None:
    entry_id = sa.Sequence("audit_entry_id_seq")
    op.execute(sa.schema.CreateSequence(entry_id))
    op.create_table(
        "audit_entry",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("id", sa.BigInteger(), server_default=entry_id.next_value(), primary_key=True, autoincrement=False),
        sa.Column("at", _MOMENT, nullable=False),
        *_words("actor_kind", "actor_subject"),
        sa.Column("actor_user_id", sa.Uuid()),
        *_words("action", "object_type"),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("group_id", sa.Uuid()),
        sa.Column("before", postgresql.JSONB()),
        sa.Column("after", postgresql.JSONB()),
    )
    op.create_index("audit_entry_object_idx", "audit_entry", ["workspace_id", "object_id", "id"])
    op.create_index("audit_entry_user_idx", "audit_entry", ["workspace_id", "user_id", "id"])


# Workspaces that are there already start with the balance that every workspace has: each user's month.
_EXISTING = """
INSERT INTO workspace_settings (workspace_id)
SELECT w.id FROM workspace AS w;

INSERT INTO balance_kind (workspace_id, id, scope, cadence, product, model, since)
SELECT w.id, 1, 'USER', 'MONTH', '', '', date_trunc('month', now() AT TIME ZONE w.zone)::date
FROM workspace AS w;

INSERT INTO balance (workspace_id, kind_id, scope_id, first_day, shared, used)
SELECT w.id, 1, r.user_id, r.month, false, sum(r.credits)
FROM workspace AS w
JOIN balance_kind AS k ON k.workspace_id = w.id
JOIN rollup_user_month AS r ON r.workspace_id = w.id AND r.month >= k.since
GROUP BY w.id, r.user_id, r.month
"""

_TABLES = (
    "workspace_settings", "credit_limit", "balance_kind", "balance", "hold", "credit_request", "rate",
    "rate_multiplier", "audit_entry",
)  # fmt: skip


def upgrade() -> None:
    op.add_column("user_group", sa.Column("manager_ceiling", sa.BigInteger()))
    _settings()
    _limits()
    _balances()
    _requests()
    _rates()
    _audit()
    op.execute(_statements("functions"))
    op.execute(_EXISTING)
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(_statements("policies"))
