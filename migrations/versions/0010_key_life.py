"""When API keys end, and when they were last used."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("expires_at", "last_used_at"):
        op.add_column("api_keys", sa.Column(column, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for column in ("last_used_at", "expires_at"):
        op.drop_column("api_keys", column)
