"""Quotas of API keys, and for which key items count."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_CHARGED = sa.text("charged_to IS NOT NULL")


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("most_items", sa.BigInteger()))
    op.add_column("api_keys", sa.Column("most_bytes", sa.BigInteger()))
    op.add_column("jobs", sa.Column("charged_to", sa.String(100)))
    op.add_column("items", sa.Column("charged_to", sa.String(100)))
    op.add_column("items", sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    columns = ["charged_to", "stored_bytes"]
    op.create_index("items_by_charge", "items", columns, sqlite_where=_CHARGED, postgresql_where=_CHARGED)


def downgrade() -> None:
    op.drop_index("items_by_charge", "items")
    op.drop_column("items", "stored_bytes")
    op.drop_column("items", "charged_to")
    op.drop_column("jobs", "charged_to")
    op.drop_column("api_keys", "most_bytes")
    op.drop_column("api_keys", "most_items")
