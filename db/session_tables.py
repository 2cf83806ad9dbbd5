"""What is stored of browsers that are signed in. Of what would let somebody in, only hashes and sealed tokens."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlmodel import Field, SQLModel

from creditdesk.db.columns import FILLFACTOR, moment, words


class BrowserSession(SQLModel, table=True):
    """A browser that is signed in to one workspace."""

    __tablename__ = "browser_session"
    __table_args__: ClassVar[Any] = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        ForeignKeyConstraint(["workspace_id", "user_id"], ["app_user.workspace_id", "app_user.id"]),
        Index("browser_session_user_idx", "workspace_id", "user_id"),
        {"postgresql_with": {"fillfactor": FILLFACTOR}},
    )

    workspace_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    user_id: UUID | None = None
    issuer: str = words()
    subject: str = words()
    issuer_session: str | None = words(nullable=True)
    """What the identity provider calls the session that this one came of."""
    secret_hash: bytes
    """Of the secret that the browser shows, as of the next two, there is only the SHA-256."""
    next_secret_hash: bytes | None = None
    """Given to the browser, and not shown by it yet."""
    next_given_at: datetime | None = moment(nullable=True)
    previous_secret_hash: bytes | None = None
    previous_until: datetime | None = moment(nullable=True)
    created_at: datetime = moment()
    renewed_at: datetime = moment()
    seen_at: datetime = moment()
    expires_at: datetime = moment()
    tokens: str = words()
    """The identity provider's tokens, encrypted."""
    tokens_version: int
    tokens_expire_at: datetime = moment()
    refresh_id: UUID | None = None
    """Of the attempt to refresh the tokens that is under way."""
    refresh_until: datetime | None = moment(nullable=True)
