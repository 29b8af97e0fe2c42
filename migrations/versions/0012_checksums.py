"""Checksums of items, log entries and spaces; rows from before have none until `anyseek rebuild`."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = ("spaces", "items", "log")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("checksum", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_column(table, "checksum")
