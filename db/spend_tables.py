"""What is stored of spend controls: settings, limits, balances, holds, requests and rates."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from creditdesk.db.columns import FILLFACTOR, count, moment, words

_CADENCES = "('MONTH', 'WEEK', 'DAY', 'BILLING_CYCLE')"


class WorkspaceSettings(SQLModel, table=True):
    """A workspace's choices. `controls_version` counts every change that could decide a spend otherwise."""

    __tablename__ = "workspace_settings"
    __table_args__ = (
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.CheckConstraint("multi_group IN ('HIGHEST', 'LOWEST')", name="workspace_settings_multi_group_check"),
        sa.CheckConstraint(
            "unknown_model IN ('DENY', 'DEFAULT_RATE', 'ALLOW_UNPRICED')", name="workspace_settings_unknown_model_check"
        ),
        sa.CheckConstraint("near_percent BETWEEN 1 AND 100", name="workspace_settings_near_percent_check"),
        sa.CheckConstraint(
            "cardinality(anchor_since) > 0 AND cardinality(anchor_since) = cardinality(anchor_days)",
            name="workspace_settings_anchor_check",
        ),
        sa.CheckConstraint(
            "first_sign_in IN ('REFUSE', 'ADMIT', 'LINK', 'LINK_OR_CREATE')",
            name="workspace_settings_first_sign_in_check",
        ),
        sa.CheckConstraint("group_claims IN ('OFF', 'ADD', 'MIRROR')", name="workspace_settings_group_claims_check"),
    )

    workspace_id: UUID = Field(primary_key=True)
    controls_version: int = count(sa_column_kwargs={"server_default": sa.text("1")})
    version: int = Field(sa_type=sa.Integer, sa_column_kwargs={"server_default": sa.text("1")})
    multi_group: str = words(sa_column_kwargs={"server_default": sa.text("'HIGHEST'")})
    unknown_model: str = words(sa_column_kwargs={"server_default": sa.text("'DENY'")})
    near_percent: int = Field(sa_type=sa.Integer, sa_column_kwargs={"server_default": sa.text("80")})
    manager_ceiling: int | None = count(nullable=True)
    auto_approval_per_period: int | None = count(nullable=True)
    cooldown_hours: int = Field(sa_type=sa.Integer, sa_column_kwargs={"server_default": sa.text("0")})
    request_open_days: int = Field(sa_type=sa.Integer, sa_column_kwargs={"server_default": sa.text("30")})
    anchor_since: list[date] = Field(
        sa_column=sa.Column(sa.ARRAY(sa.Date()), nullable=False, server_default=sa.text("'{1970-01-01}'"))
    )
    anchor_days: list[int] = Field(
        sa_column=sa.Column(sa.ARRAY(sa.Integer()), nullable=False, server_default=sa.text("'{1}'"))
    )
    first_sign_in: str = words(sa_column_kwargs={"server_default": sa.text("'REFUSE'")})
    group_claims: str = words(sa_column_kwargs={"server_default": sa.text("'OFF'")})


class CreditLimit(SQLModel, table=True):
    """A rule. An empty product or model stands for any; a temporary one outranks the lasting one while it is there."""

    __tablename__ = "credit_limit"
    __table_args__ = (
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.CheckConstraint("scope IN ('USER', 'GROUP', 'WORKSPACE')", name="credit_limit_scope_check"),
        sa.CheckConstraint(
            "kind IN ('EACH_USER', 'SHARED') AND (scope <> 'USER' OR kind = 'EACH_USER')",
            name="credit_limit_kind_check",
        ),
        sa.CheckConstraint(f"cadence IN {_CADENCES}", name="credit_limit_cadence_check"),
        sa.CheckConstraint("model = '' OR product <> ''", name="credit_limit_model_check"),
        sa.CheckConstraint("amount >= 0 AND (NOT unlimited OR amount = 0)", name="credit_limit_amount_check"),
        sa.CheckConstraint("enforcement IN ('HARD', 'SOFT')", name="credit_limit_enforcement_check"),
        sa.CheckConstraint("NOT temporary OR expires_at IS NOT NULL", name="credit_limit_temporary_check"),
        sa.Index(
            "credit_limit_rule_key",
            "workspace_id", "scope", "scope_id", "kind", "cadence", "product", "model", "temporary",
            unique=True,
        ),
    )  # fmt: skip

    workspace_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    scope: str = words()
    scope_id: UUID
    kind: str = words()
    cadence: str = words()
    product: str = words()
    model: str = words()
    temporary: bool
    unlimited: bool
    amount: int = count()
    enforcement: str = words()
    starts_at: datetime = moment()
    expires_at: datetime | None = moment(nullable=True)
    set_by: UUID | None = None
    set_at: datetime = moment()
    reason: str | None = words(nullable=True)
    version: int = Field(sa_type=sa.Integer)
    request_id: UUID | None = None


class BalanceKind(SQLModel, table=True):
    """What balances are kept of: every user's, group's or the workspace's use of some usage, in periods of a length.

    From `since` on, the first day of a period, every balance of the kind is the sum of the ledger.
    """

    __tablename__ = "balance_kind"
    __table_args__ = (
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.CheckConstraint("scope IN ('USER', 'GROUP', 'WORKSPACE')", name="balance_kind_scope_check"),
        sa.CheckConstraint(f"cadence IN {_CADENCES}", name="balance_kind_cadence_check"),
        sa.Index("balance_kind_key", "workspace_id", "scope", "cadence", "product", "model", unique=True),
    )

    workspace_id: UUID = Field(primary_key=True)
    id: int = Field(primary_key=True, sa_type=sa.Integer, sa_column_kwargs={"autoincrement": False})
    scope: str = words()
    cadence: str = words()
    product: str = words()
    model: str = words()
    since: date


class Balance(SQLModel, table=True):
    """What was used in a period, named by its first day, and what is held: pairs of when holds expire, and how much.

    The moment is in seconds since 1970. Pairs of the past count for nothing.
    """

    __tablename__ = "balance"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": "50"}},)

    workspace_id: UUID = Field(primary_key=True)
    kind_id: int = Field(primary_key=True, sa_type=sa.Integer, sa_column_kwargs={"autoincrement": False})
    scope_id: UUID = Field(primary_key=True)
    first_day: date = Field(primary_key=True)
    shared: bool
    used: int = count()
    held: list[list[int]] = Field(
        sa_column=sa.Column(sa.ARRAY(sa.BigInteger()), nullable=False, server_default=sa.text("'{}'"))
    )


class Hold(SQLModel, table=True):
    """Credits set aside, or the refusal to. Its id is made of source and external id, which makes placing idempotent.

    `request_hash` is of what was asked. A hold whose `expires_at` has passed is expired, whatever its state says.
    """

    __tablename__ = "hold"
    __table_args__: ClassVar[Any] = (
        sa.CheckConstraint("state IN ('HELD', 'SETTLED', 'RELEASED', 'REFUSED')", name="hold_state_check"),
        sa.Index("hold_placed_at_idx", "workspace_id", "placed_at", postgresql_using="brin"),
        {"postgresql_with": {"fillfactor": FILLFACTOR}},
    )

    workspace_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    request_hash: UUID
    user_id: UUID
    group_id: UUID | None = None
    amount: int = count()
    placed_at: datetime = moment()
    expires_at: datetime = moment()
    ended_at: datetime | None = moment(nullable=True)
    settled_amount: int | None = count(nullable=True)
    overage: int | None = count(nullable=True)
    state: str = words()
    source: str = words()
    external_id: str = words()
    product: str = words()
    model: str = words()
    rate_ids: list[UUID] | None = Field(default=None, sa_column=sa.Column(sa.ARRAY(sa.Uuid()), nullable=True))
    passed_soft: list[UUID] | None = Field(default=None, sa_column=sa.Column(sa.ARRAY(sa.Uuid()), nullable=True))
    refusal: dict[str, str] | None = Field(default=None, sa_column=sa.Column(JSONB, nullable=True))
    settlement_hash: UUID | None = None


class CreditRequest(SQLModel, table=True):
    """A member asks for more. One that is pending when `expires_at` has passed is expired, whatever its state says."""

    __tablename__ = "credit_request"
    __table_args__ = (
        sa.ForeignKeyConstraint(["workspace_id", "user_id"], ["app_user.workspace_id", "app_user.id"]),
        sa.CheckConstraint(
            "state IN ('PENDING', 'APPROVED', 'DENIED', 'CANCELLED', 'EXPIRED')", name="credit_request_state_check"
        ),
        sa.CheckConstraint("duration IN ('THIS_PERIOD', 'UNTIL', 'PERMANENT')", name="credit_request_duration_check"),
        sa.CheckConstraint("amount > 0", name="credit_request_amount_check"),
        sa.Index(
            "credit_request_pending_key", "workspace_id", "user_id", "cadence", "product", "model",
            unique=True, postgresql_where=sa.text("state = 'PENDING'"),
        ),
        sa.Index("credit_request_created_at_idx", "workspace_id", "created_at", "id"),
        sa.Index("credit_request_user_idx", "workspace_id", "user_id", "created_at", "id"),
    )  # fmt: skip

    workspace_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    user_id: UUID
    cadence: str = words()
    product: str = words()
    model: str = words()
    amount: int = count()
    reason: str = words()
    duration: str = words()
    until: datetime | None = moment(nullable=True)
    state: str = words()
    limit_then: int = count()
    used_then: int = count()
    created_at: datetime = moment()
    expires_at: datetime = moment()
    decided_at: datetime | None = moment(nullable=True)
    decided_by: UUID | None = None
    automatic: bool
    decision_note: str | None = words(nullable=True)
    granted_amount: int | None = count(nullable=True)
    granted_until: datetime | None = moment(nullable=True)
    limit_id: UUID | None = None


class Rate(SQLModel, table=True):
    """What a meter of a product and model costs, in micro-credits per unit or per million tokens.

    An empty model is any of the product; an empty product is the default rate. With an end it is promotional.
    """

    __tablename__ = "rate"
    __table_args__ = (
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.CheckConstraint(
            "meter IN ('MESSAGE', 'TASK', 'MINUTE', 'INPUT_TOKENS', 'CACHED_INPUT_TOKENS', 'OUTPUT_TOKENS')",
            name="rate_meter_check",
        ),
        sa.CheckConstraint("price >= 0", name="rate_price_check"),
        sa.CheckConstraint("model = '' OR product <> ''", name="rate_model_check"),
        sa.CheckConstraint("effective_until > effective_from", name="rate_window_check"),
    )

    workspace_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    product: str = words()
    model: str = words()
    meter: str = words()
    price: int = count()
    effective_from: datetime = moment()
    effective_until: datetime | None = moment(nullable=True)
    set_by: UUID | None = None
    set_at: datetime = moment()


class RateMultiplier(SQLModel, table=True):
    """What a service tier multiplies prices by, in millionths. An empty product is any."""

    __tablename__ = "rate_multiplier"
    __table_args__ = (
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.CheckConstraint("millionths > 0", name="rate_multiplier_millionths_check"),
        sa.CheckConstraint("effective_until > effective_from", name="rate_multiplier_window_check"),
    )

    workspace_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    product: str = words()
    tier: str = words()
    millionths: int = count()
    effective_from: datetime = moment()
    effective_until: datetime | None = moment(nullable=True)
    set_by: UUID | None = None
    set_at: datetime = moment()
