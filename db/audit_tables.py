"""What is stored of the audit trail: its entries, each chained to the one before it, and where the chain ends."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from creditdesk.db.columns import count, moment, words

_AUDIT_ID = sa.Sequence("audit_entry_id_seq", metadata=SQLModel.metadata)


class AuditEntry(SQLModel, table=True):
    """Who did what to what, when, and what it was before and after. Append-only by privilege, and chained by hashes.

    `previous` is the hash of the workspace's entry before it, `hash` that of this one: of `previous`, the id and the
    content. Entries are added by the function `add_audit_entries` only.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (
        sa.Index("audit_entry_object_idx", "workspace_id", "object_id", "id"),
        sa.Index("audit_entry_user_idx", "workspace_id", "user_id", "id"),
    )

    workspace_id: UUID = Field(primary_key=True)
    id: int = Field(
        primary_key=True,
        sa_type=sa.BigInteger,
        sa_column_kwargs={"server_default": _AUDIT_ID.next_value(), "autoincrement": False},
    )
    at: datetime = moment()
    actor_kind: str = words()
    actor_subject: str = words()
    actor_user_id: UUID | None = None
    action: str = words()
    object_type: str = words()
    object_id: UUID
    user_id: UUID | None = None
    group_id: UUID | None = None
    before: dict[str, str] | None = Field(default=None, sa_column=sa.Column(JSONB, nullable=True))
    after: dict[str, str] | None = Field(default=None, sa_column=sa.Column(JSONB, nullable=True))
    previous: bytes = Field(sa_type=sa.LargeBinary)
    hash: bytes = Field(sa_type=sa.LargeBinary)


class AuditHead(SQLModel, table=True):
    """The end of a workspace's chain: whoever adds to it holds this row, so that there is one chain and no two ends."""

    __tablename__ = "audit_head"

    workspace_id: UUID = Field(primary_key=True)
    entries: int = count()
    hash: bytes = Field(sa_type=sa.LargeBinary)
