"""The audit trail is a chain: each entry holds the hash of the one before it. Those that are there are chained."""

import hashlib
import json
from datetime import UTC
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BATCH = 1000
_COLUMNS = (
    "workspace_id, id, at, actor_kind, actor_subject, actor_user_id, action, object_type, object_id, user_id, group_id,"
    ' before, "after"'
)


def _content(row: sa.Row[Any]) -> bytes:
    """Return an entry as it is hashed, for good: what the application does later does not change what was done here."""
    at = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    ids = {name: str(value) if (value := getattr(row, name)) else None for name in ("actor_user_id", "user_id")}
    parts = [
        str(row.workspace_id), at, row.actor_kind, row.actor_subject, ids["actor_user_id"], row.action,
        row.object_type, str(row.object_id), ids["user_id"], str(row.group_id) if row.group_id else None, row.before,
        row.after,
    ]  # fmt: skip
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def _chain() -> None:
    connection = op.get_bind()
    rows = connection.execute(
        sa.text(f"SELECT {_COLUMNS} FROM audit_entry ORDER BY workspace_id, id"),  # noqa: S608 - our own columns
        execution_options={"yield_per": _BATCH},
    )
    write = sa.text(
        "UPDATE audit_entry SET previous = :previous, hash = :hash WHERE workspace_id = :workspace_id AND id = :id"
    )
    end = sa.text("INSERT INTO audit_head (workspace_id, entries, hash) VALUES (:workspace_id, :entries, :hash)")
    for workspace_id, entries in groupby(rows, key=lambda row: row.workspace_id):
        last, chained = bytes(32), []
        for row in entries:
            digest = hashlib.sha256(last + row.id.to_bytes(8, "big") + _content(row)).digest()
            chained.append({"workspace_id": workspace_id, "id": row.id, "previous": last, "hash": digest})
            last = digest
        connection.execute(write, chained)
        connection.execute(end, {"workspace_id": workspace_id, "entries": len(chained), "hash": last})


def upgrade() -> None:
    for name in ("previous", "hash"):
        op.add_column("audit_entry", sa.Column(name, sa.LargeBinary()))
    op.create_table(
        "audit_head",
        sa.Column("workspace_id", sa.Uuid(), primary_key=True),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
    )
    _chain()
    for name in ("previous", "hash"):
        op.alter_column("audit_entry", name, nullable=False)
    op.execute("ALTER TABLE audit_head ENABLE ROW LEVEL SECURITY")
    op.execute((Path(__file__).parents[1] / "sql" / f"{revision}_audit_chain.sql").read_text(encoding="utf-8"))
