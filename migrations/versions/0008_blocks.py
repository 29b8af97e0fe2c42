"""The blocks of a space's vectors, each of which is centred by itself."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("spaces", sa.Column("blocks", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("spaces", "blocks")
