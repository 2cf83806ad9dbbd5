"""What is stored: tables, columns and constraints. `workspace_id` leads every key and index, so that it can be sharded.

Row-level policies, privileges, partitions and functions are in `db/migrations/`. Credits are micro-credits.
"""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, ForeignKeyConstraint, Index, Sequence, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

_FILLFACTOR = "80"
"""Leaves room on the page, so that a rollup's update stays on it and touches no index."""


_EVENT_ID = Sequence("usage_event_id_seq", metadata=SQLModel.metadata)
"""Only tells apart events of one user at one instant. A random key would cost a system call a row."""


def _text() -> Any:
    # Bytewise order: the same on every platform, so that cursors survive a move.
    return Text(collation="C")


def _moment(**options: Any) -> Any:
    return Field(sa_type=DateTime(timezone=True), **options)


def _count(**options: Any) -> Any:
    return Field(sa_type=BigInteger, **options)


def _words(**options: Any) -> Any:
    return Field(sa_type=_text(), **options)


class Workspace(SQLModel, table=True):
    """The tenant. Small and read by all: a reference table where the database is sharded."""

    __tablename__ = "workspace"

    id: UUID = Field(primary_key=True)
    slug: str = _words(unique=True)
    name: str = _words()
    zone: str = _words()
    created_at: datetime = _moment()


class UserGroup(SQLModel, table=True):
    """People in a workspace."""

    __tablename__ = "user_group"
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        Index("user_group_slug_key", "workspace_id", "slug", unique=True),
        Index("user_group_sort_name_idx", "workspace_id", "sort_name", "id"),
    )

    workspace_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    slug: str = _words()
    name: str = _words()
    sort_name: str = _words()
    created_at: datetime = _moment()


class AppUser(SQLModel, table=True):
    """A person or a service account. Never deleted: usage stays charged to it."""

    __tablename__ = "app_user"
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        ForeignKeyConstraint(["workspace_id", "home_group_id"], ["user_group.workspace_id", "user_group.id"]),
        CheckConstraint("kind IN ('PERSON', 'SERVICE_ACCOUNT')", name="app_user_kind_check"),
        CheckConstraint("email = lower(email)", name="app_user_email_check"),
        Index("app_user_email_key", "workspace_id", "email", unique=True),
        Index("app_user_external_id_key", "workspace_id", "external_id", unique=True),
        Index("app_user_home_group_idx", "workspace_id", "home_group_id"),
        Index("app_user_sort_name_idx", "workspace_id", "sort_name", "id"),
    )

    workspace_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    external_id: str | None = _words(nullable=True)
    email: str | None = _words(nullable=True)
    display_name: str = _words()
    sort_name: str = _words()
    kind: str = _words()
    active: bool = True
    home_group_id: UUID | None = None
    created_at: datetime = _moment()


class UserIdentity(SQLModel, table=True):
    """Who a token's subject is here. An identity is the pair of issuer and subject, never an e-mail address."""

    __tablename__ = "user_identity"
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "user_id"], ["app_user.workspace_id", "app_user.id"]),
        Index("user_identity_user_idx", "workspace_id", "user_id"),
    )

    workspace_id: UUID = Field(primary_key=True)
    issuer: str = _words(primary_key=True)
    subject: str = _words(primary_key=True)
    user_id: UUID


class GroupMember(SQLModel, table=True):
    """Who is in which group now."""

    __tablename__ = "group_member"
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "group_id"], ["user_group.workspace_id", "user_group.id"]),
        ForeignKeyConstraint(["workspace_id", "user_id"], ["app_user.workspace_id", "app_user.id"]),
        Index("group_member_user_idx", "workspace_id", "user_id", "group_id"),
    )

    workspace_id: UUID = Field(primary_key=True)
    group_id: UUID = Field(primary_key=True)
    user_id: UUID = Field(primary_key=True)


class UsageEvent(SQLModel, table=True):
    """One use. Append-only by privilege; a correction is a row of its own with signed figures and no request.

    No foreign keys: users are never deleted, the writer resolves them, and a check per row would cost as much as it.
    """

    __tablename__ = "usage_event"
    __table_args__: ClassVar[Any] = (
        Index("usage_event_at_idx", "workspace_id", "at", postgresql_using="brin"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    workspace_id: UUID = Field(primary_key=True)
    user_id: UUID = Field(primary_key=True)
    at: datetime = _moment(primary_key=True)
    id: int = Field(
        primary_key=True,
        sa_type=BigInteger,
        sa_column_kwargs={"server_default": _EVENT_ID.next_value(), "autoincrement": False},
    )
    group_id: UUID | None = None
    recorded_at: datetime = _moment()
    credits: int = _count()
    requests: int = _count()
    input_tokens: int = _count()
    cached_input_tokens: int = _count()
    output_tokens: int = _count()
    source: str = _words()
    external_id: str = _words()
    product: str = _words()
    model: str = _words()
    corrects: str | None = _words(nullable=True)
    tags: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB, nullable=True))


class UsageEventKey(SQLModel, table=True):
    """Every event's (source, id), whatever its month: what makes recording idempotent. Leads to the event itself."""

    __tablename__ = "usage_event_key"

    workspace_id: UUID = Field(primary_key=True)
    source: str = _words(primary_key=True)
    external_id: str = _words(primary_key=True)
    user_id: UUID
    at: datetime = _moment()


class _Figures(SQLModel):
    credits: int = _count()
    requests: int = _count()
    input_tokens: int = _count()
    cached_input_tokens: int = _count()
    output_tokens: int = _count()


class RollupUserDetailDay(_Figures, table=True):
    """A user's day by charged group, product and model: the finest rollup, and what breakdowns of users read."""

    __tablename__ = "rollup_user_detail_day"
    __table_args__: ClassVar[Any] = (
        Index("rollup_user_detail_day_day_idx", "workspace_id", "day", postgresql_using="brin"),
        {"postgresql_with": {"fillfactor": _FILLFACTOR}},
    )

    workspace_id: UUID = Field(primary_key=True)
    user_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    group_id: UUID = Field(primary_key=True)
    product: str = _words(primary_key=True)
    model: str = _words(primary_key=True)


class RollupUserDay(_Figures, table=True):
    """A day's users: the edges of a range that is ranked by user."""

    __tablename__ = "rollup_user_day"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": _FILLFACTOR}},)

    workspace_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    user_id: UUID = Field(primary_key=True)
    group_id: UUID = Field(primary_key=True)


class RollupUserMonth(_Figures, table=True):
    """A month's users: the whole months of a range that is ranked by user. `month` is its first day."""

    __tablename__ = "rollup_user_month"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": _FILLFACTOR}},)

    workspace_id: UUID = Field(primary_key=True)
    month: date = Field(primary_key=True)
    user_id: UUID = Field(primary_key=True)
    group_id: UUID = Field(primary_key=True)


class RollupGroupDay(_Figures, table=True):
    """A charged group's day by product and model: trends and breakdowns without users."""

    __tablename__ = "rollup_group_day"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": _FILLFACTOR}},)

    workspace_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    group_id: UUID = Field(primary_key=True)
    product: str = _words(primary_key=True)
    model: str = _words(primary_key=True)


class RollupGroupHour(_Figures, table=True):
    """A charged group's hour by product and model. `hour` starts on a full hour of the workspace's zone."""

    __tablename__ = "rollup_group_hour"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": _FILLFACTOR}},)

    workspace_id: UUID = Field(primary_key=True)
    hour: datetime = _moment(primary_key=True)
    group_id: UUID = Field(primary_key=True)
    product: str = _words(primary_key=True)
    model: str = _words(primary_key=True)
