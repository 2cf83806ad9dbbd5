"""What is stored of changes, for a short while, so that whoever waits for them in any process is told."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from creditdesk.db.columns import collated_text, moment, words

_ID = sa.Sequence("outbox_id_seq", metadata=SQLModel.metadata)
_TRANSACTION = sa.text("((pg_current_xact_id())::text)::bigint")


def _list(kind: Any) -> Any:
    return Field(default=None, sa_column=sa.Column(sa.ARRAY(kind)))


class Outbox(SQLModel, table=True):
    """What one statement of a transaction has changed: lists of one length, an entry for each thing concerned.

    `transaction` tells which rows a snapshot has not seen: numbers are given when rows are written, and rows are seen
    when their transaction commits, in another order.
    """

    __tablename__ = "outbox"
    __table_args__: ClassVar[Any] = (sa.CheckConstraint("kind IN ('USES', 'HOLDS', 'ACTS')", name="outbox_kind_check"),)

    workspace_id: UUID = Field(primary_key=True)
    transaction: int = Field(
        primary_key=True,
        sa_type=sa.BigInteger,
        sa_column_kwargs={"server_default": _TRANSACTION, "autoincrement": False},
    )
    id: int = Field(
        primary_key=True,
        sa_type=sa.BigInteger,
        sa_column_kwargs={"server_default": _ID.next_value(), "autoincrement": False},
    )
    written_at: datetime = moment()
    kind: str = words()
    users: list[UUID] | None = _list(sa.Uuid())
    groups: list[UUID] | None = _list(sa.Uuid())
    products: list[str] | None = _list(collated_text())
    models: list[str] | None = _list(collated_text())
    credits: list[int] | None = _list(sa.BigInteger())
    requests: list[int] | None = _list(sa.BigInteger())
    object_types: list[str] | None = _list(collated_text())
    object_ids: list[UUID] | None = _list(sa.Uuid())
