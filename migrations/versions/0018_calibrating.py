"""How large a collection was when a job fitted its probabilities, and whether a job may."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("spaces", sa.Column("calibrated_count", sa.BigInteger(), server_default="0", nullable=True))
    op.execute("UPDATE spaces SET calibrated_count = NULL WHERE tuning_version > 0")  # only users have tuned so far
    op.add_column("jobs", sa.Column("calibrates", sa.Boolean(), server_default=sa.true(), nullable=False))


def downgrade() -> None:
    # Those of five numbers are read as before; a sixth was unknown. The ids of spaces stay, so caches must learn of it.
    longer = "SELECT space_id FROM own_curves WHERE length(numbers) > 20"
    op.execute(f"UPDATE spaces SET tuning_version = tuning_version + 1 WHERE id IN ({longer})")
    op.execute("DELETE FROM own_curves WHERE length(numbers) > 20")
    op.drop_column("jobs", "calibrates")
    op.drop_column("spaces", "calibrated_count")
