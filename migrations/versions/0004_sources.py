"""Sources of every kind: how far a scan is, and what has the same content."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("items", sa.Column("sample_hash", sa.String(64), nullable=True))
    op.create_index("items_by_sample", "items", ["collection_id", "sample_hash"])
    op.add_column("jobs", sa.Column("on_duplicate", sa.String(8), nullable=False, server_default="link"))
    op.add_column("jobs", sa.Column("position", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("skipped", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    for column in ("skipped", "position", "on_duplicate"):
        op.drop_column("jobs", column)
    op.drop_index("items_by_sample", "items")
    op.drop_column("items", "sample_hash")
