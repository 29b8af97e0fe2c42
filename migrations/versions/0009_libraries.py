"""Libraries that move: a prefix of the keys of a source, and what tells that the files of an item are unchanged."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sources", sa.Column("key_prefix", sa.Text(), nullable=True))
    op.add_column("items", sa.Column("stamp", sa.String(32), nullable=True))


def downgrade() -> None:
    op.drop_column("items", "stamp")
    op.drop_column("sources", "key_prefix")
