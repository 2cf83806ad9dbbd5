"""What is stored of people and usage. `workspace_id` leads every key and index, so that it can be sharded.

Spend controls are in `db/spend_tables.py`; row-level policies, privileges, partitions and functions in
`db/migrations/`. Credits are micro-credits.
"""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    Sequence,
    SmallInteger,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from creditdesk.db.columns import FILLFACTOR, collated_text, count, moment, words

_EVENT_ID = Sequence("usage_event_id_seq", metadata=SQLModel.metadata)
"""Only tells apart events of one user at one instant. A random key would cost a system call a row."""


class Workspace(SQLModel, table=True):
    """The tenant. Small and read by all: a reference table where the database is sharded."""

    __tablename__ = "workspace"

    id: UUID = Field(primary_key=True)
    slug: str = words(unique=True)
    name: str = words()
    zone: str = words()
    created_at: datetime = moment()


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
    slug: str = words()
    name: str = words()
    sort_name: str = words()
    created_at: datetime = moment()
    manager_ceiling: int | None = count(nullable=True)
    version: int = Field(sa_type=Integer, sa_column_kwargs={"server_default": text("1")})


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
    external_id: str | None = words(nullable=True)
    email: str | None = words(nullable=True)
    display_name: str = words()
    sort_name: str = words()
    kind: str = words()
    active: bool = True
    home_group_id: UUID | None = None
    created_at: datetime = moment()
    version: int = Field(sa_type=Integer, sa_column_kwargs={"server_default": text("1")})
    sessions_ended_at: datetime | None = moment(nullable=True)
    """Tokens and sessions that began before this moment are refused."""


class UserIdentity(SQLModel, table=True):
    """Who a token's subject is here. An identity is the pair of issuer and subject, never an e-mail address."""

    __tablename__ = "user_identity"
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "user_id"], ["app_user.workspace_id", "app_user.id"]),
        Index("user_identity_user_idx", "workspace_id", "user_id"),
    )

    workspace_id: UUID = Field(primary_key=True)
    issuer: str = words(primary_key=True)
    subject: str = words(primary_key=True)
    user_id: UUID


class SignIn(SQLModel, table=True):
    """When an identity came last, as far as the audit trail says so, and which groups its token has brought it into.

    Programs have a row, too. `groups_hash` is of the groups that the token named and of what that meant then: what is
    no other than last time is not looked at again. `claimed_groups` are slugs.
    """

    __tablename__ = "sign_in"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": FILLFACTOR}},)

    workspace_id: UUID = Field(primary_key=True)
    issuer: str = words(primary_key=True)
    subject: str = words(primary_key=True)
    began_at: datetime | None = moment(nullable=True)
    groups_hash: str = words(sa_column_kwargs={"server_default": text("''")})
    claimed_groups: list[str] = Field(
        sa_column=Column(ARRAY(collated_text()), nullable=False, server_default=text("'{}'"))
    )


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
    at: datetime = moment(primary_key=True)
    id: int = Field(
        primary_key=True,
        sa_type=BigInteger,
        sa_column_kwargs={"server_default": _EVENT_ID.next_value(), "autoincrement": False},
    )
    group_id: UUID | None = None
    recorded_at: datetime = moment()
    credits: int = count()
    requests: int = count()
    input_tokens: int = count()
    cached_input_tokens: int = count()
    output_tokens: int = count()
    source: str = words()
    external_id: str = words()
    product: str = words()
    model: str = words()
    corrects: str | None = words(nullable=True)
    tags: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB, nullable=True))
    rate_ids: list[UUID] | None = Field(default=None, sa_column=Column(ARRAY(Uuid()), nullable=True))
    """What it was priced with; empty where no rate is known and that is allowed, null where its source priced it."""
    measured: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB, nullable=True))
    """The messages, tasks, minutes and service tier that its source named."""


class UsageEventKey(SQLModel, table=True):
    """Every event's (source, id), whatever its month: what makes recording idempotent. Leads to the event itself."""

    __tablename__ = "usage_event_key"

    workspace_id: UUID = Field(primary_key=True)
    source: str = words(primary_key=True)
    external_id: str = words(primary_key=True)
    user_id: UUID
    at: datetime = moment()


class _Figures(SQLModel):
    credits: int = count()
    requests: int = count()
    input_tokens: int = count()
    cached_input_tokens: int = count()
    output_tokens: int = count()


class RollupUserDetailDay(_Figures, table=True):
    """A user's day by charged group, product and model: the finest rollup, and what breakdowns of users read."""

    __tablename__ = "rollup_user_detail_day"
    __table_args__: ClassVar[Any] = (
        Index("rollup_user_detail_day_day_idx", "workspace_id", "day", postgresql_using="brin"),
        {"postgresql_with": {"fillfactor": FILLFACTOR}},
    )

    workspace_id: UUID = Field(primary_key=True)
    user_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    group_id: UUID = Field(primary_key=True)
    product: str = words(primary_key=True)
    model: str = words(primary_key=True)


class RollupUserDay(_Figures, table=True):
    """A day's users: the edges of a range that is ranked by user."""

    __tablename__ = "rollup_user_day"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": FILLFACTOR}},)

    workspace_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    user_id: UUID = Field(primary_key=True)
    group_id: UUID = Field(primary_key=True)


class RollupUserMonth(_Figures, table=True):
    """A month's users: the whole months of a range that is ranked by user. `month` is its first day."""

    __tablename__ = "rollup_user_month"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": FILLFACTOR}},)

    workspace_id: UUID = Field(primary_key=True)
    month: date = Field(primary_key=True)
    user_id: UUID = Field(primary_key=True)
    group_id: UUID = Field(primary_key=True)


class RollupGroupDay(_Figures, table=True):
    """A charged group's day by product and model: trends and breakdowns without users."""

    __tablename__ = "rollup_group_day"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": FILLFACTOR}},)

    workspace_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    group_id: UUID = Field(primary_key=True)
    product: str = words(primary_key=True)
    model: str = words(primary_key=True)


class RollupGroupHour(_Figures, table=True):
    """A charged group's hour by product and model. `hour` starts on a full hour of the workspace's zone."""

    __tablename__ = "rollup_group_hour"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": FILLFACTOR}},)

    workspace_id: UUID = Field(primary_key=True)
    hour: datetime = moment(primary_key=True)
    group_id: UUID = Field(primary_key=True)
    product: str = words(primary_key=True)
    model: str = words(primary_key=True)


class RollupWorkspaceDay(_Figures, table=True):
    """A workspace's day by product and model. Its sum is in up to four slots, so that fewer writers meet in a row."""

    __tablename__ = "rollup_workspace_day"
    __table_args__: ClassVar[Any] = ({"postgresql_with": {"fillfactor": "50"}},)

    workspace_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    product: str = words(primary_key=True)
    model: str = words(primary_key=True)
    slot: int = Field(primary_key=True, sa_type=SmallInteger, sa_column_kwargs={"autoincrement": False})
