"""A sum of whole numbers that stays one: what adds up figures makes no numeric of each finished sum."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # sum(bigint) is a numeric, which costs more to make and to turn back than a day's figures cost to add up. This one
    # raises 22003 where bigint ends, as the cast of a sum does.
    op.execute(
        "CREATE AGGREGATE app_total (bigint) (SFUNC = int8pl, STYPE = bigint, COMBINEFUNC = int8pl, PARALLEL = SAFE)"
    )
    op.execute("REVOKE EXECUTE ON FUNCTION app_total (bigint) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION app_total (bigint) TO creditdesk_administrator, creditdesk_member")
